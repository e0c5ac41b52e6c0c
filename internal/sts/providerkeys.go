// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/jwks"
	"podid/internal/jwt"
)

// How long fetched keys of an OIDC provider are good: after freshKeys they are
// fetched again at the next token, and while that fails the last ones go on
// counting until oldKeys, so that an outage of a provider is not at once one of
// its users. A key that a provider has taken back counts no longer than that.
const (
	freshKeys = 15 * time.Minute
	oldKeys   = 24 * time.Hour
	patience  = time.Second // with a provider whose last keys are still good
)

// ProviderKeys fetches and keeps the keys of OIDC providers, in memory: each
// replica asks a provider itself, first when its first token comes. At most
// one fetch in jwks.MinInterval is made for a provider, whoever asks. Fields
// are set once, before use; it is safe for concurrent use.
type ProviderKeys struct {
	// Fetch returns the key set of an issuer as JSON, taking servers that
	// thumbprints vouch for.
	Fetch func(ctx context.Context, issuer string, thumbprints []string) ([]byte, error)
	Now   func() time.Time

	mu    sync.Mutex
	known map[string]*providerKeys // by ARN
}

// providerKeys is what is known of one provider, as it was made.
type providerKeys struct {
	providerID  string
	thumbprints []string
	fetch       func(ctx context.Context, issuer string, thumbprints []string) ([]byte, error)
	now         func() time.Time
	source      *jwks.Source

	mu      sync.Mutex
	keys    *jwt.KeySet
	fetched time.Time
	failed  error // of the last fetch, nil when it was good
}

// of returns what is known of a provider. One that was made again, or has
// other thumbprints, is another.
func (k *ProviderKeys) of(p *iam.OIDCProvider) (*providerKeys, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, ok := k.known[p.ARN()]; ok && e.providerID == p.ID && slices.Equal(e.thumbprints, p.Thumbprints) {
		return e, nil
	}
	e := &providerKeys{providerID: p.ID, thumbprints: slices.Clone(p.Thumbprints), fetch: k.Fetch, now: k.Now}
	var err error
	e.source, err = jwks.NewSource(p.Issuer(), e, jwks.SourceOptions{Now: k.Now, Check: e.keep})
	if err != nil {
		return nil, fmt.Errorf("make key source of %s: %w", p.ARN(), err)
	}
	if k.known == nil {
		k.known = map[string]*providerKeys{}
	}
	k.known[p.ARN()] = e
	return e, nil
}

// Discover implements jwks.Discoverer.
func (e *providerKeys) Discover(ctx context.Context, issuer string) (raw []byte, uri string, err error) {
	raw, err = e.fetch(ctx, issuer, e.thumbprints)
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.failed = err
	}
	return raw, "", err
}

// keep keeps what was fetched, also when nobody waits for it any more.
func (e *providerKeys) keep(raw []byte) error {
	keys, err := verifyingKeys(raw)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed = err; err != nil {
		return err
	}
	e.keys, e.fetched = keys, e.now()
	return nil
}

// verify checks a token's signature with the provider's keys and returns its
// payload. Its errors are faults.
func (k *ProviderKeys) verify(ctx context.Context, p *iam.OIDCProvider, token string) ([]byte, error) {
	e, err := k.of(p)
	if err != nil {
		return nil, err
	}
	keys, age := e.current(k.Now())
	switch {
	case keys == nil || age >= oldKeys:
		if keys, err = e.refresh(ctx); err != nil {
			return nil, keysFault(p, err)
		}
	case age >= freshKeys:
		// There are keys to go on with: a provider that does not answer may not
		// hold everybody up. What it answers later counts from then on.
		soon, cancel := context.WithTimeout(ctx, patience)
		fetched, err := e.refresh(soon)
		cancel()
		if err == nil {
			keys = fetched
		}
	}
	payload, err := checkSignature(keys, token)
	var unknown *jwt.UnknownKeyError
	if errors.As(err, &unknown) {
		if fetched, ferr := e.refresh(ctx); ferr == nil {
			payload, err = checkSignature(fetched, token)
		}
	}
	if err != nil {
		return nil, signatureFault(err)
	}
	return payload, nil
}

func (e *providerKeys) current(now time.Time) (keys *jwt.KeySet, age time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keys, now.Sub(e.fetched)
}

// refresh fetches, unless that was done too recently: then the error is that
// of the last fetch, or says so.
func (e *providerKeys) refresh(ctx context.Context) (*jwt.KeySet, error) {
	_, err := e.source.Refresh(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case errors.Is(err, jwks.ErrTooSoon) && e.failed != nil:
		return nil, e.failed
	case err != nil:
		return nil, err
	}
	return e.keys, nil
}

// errKeySet: what a provider publishes as its keys cannot be used.
var errKeySet = errors.New("key set cannot be used")

// verifyingKeys reads the RSA and EC keys of a key set. Providers publish
// keys of other kinds beside them, which AWS does not take either.
func verifyingKeys(raw []byte) (*jwt.KeySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, fmt.Errorf("%w: %w", errKeySet, err)
	}
	set.Keys = slices.DeleteFunc(set.Keys, func(key json.RawMessage) bool {
		var k struct {
			Kind string `json:"kty"`
		}
		return json.Unmarshal(key, &k) == nil && k.Kind != "RSA" && k.Kind != "EC"
	})
	rest, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKeySet, err)
	}
	keys, err := jwt.ParseKeySet(rest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKeySet, err)
	}
	return keys, nil
}

// checkSignature takes the algorithms that AWS takes: RS256/384/512 and
// ES256/384/512.
func checkSignature(keys *jwt.KeySet, token string) ([]byte, error) {
	payload, header, err := keys.Verify(token)
	if err == nil && header.Algorithm == "PS256" {
		return nil, fmt.Errorf("%w: PS256 is none of RS256, RS384, RS512, ES256, ES384, ES512", jwt.ErrAlgorithm)
	}
	return payload, err
}

// keysFault says why there are no keys to check a token with.
func keysFault(p *iam.OIDCProvider, err error) error {
	switch {
	case errors.Is(err, jwks.ErrThumbprint):
		return fault.New(fault.InvalidToken, "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint").WithReason("idp-thumbprint").Because(err)
	case errors.Is(err, jwks.ErrIssuer), errors.Is(err, jwks.ErrOrigin), errors.Is(err, jwks.ErrDocument), errors.Is(err, jwks.ErrTooLarge), errors.Is(err, jwks.ErrURL), errors.Is(err, errKeySet):
		return noVerificationKey("idp-document").Because(err)
	}
	return fault.New(fault.IdPUnavailable, "Could not retrieve the keys of the identity provider https://%s: it cannot be reached. Try again.", p.URL).WithReason("idp-unreachable").Because(err)
}

func noVerificationKey(reason string) *fault.Error {
	return fault.New(fault.InvalidToken, "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements").WithReason(reason)
}

func signatureFault(err error) error {
	switch {
	case errors.Is(err, jwt.ErrUnknownKey):
		return noVerificationKey("token-unknown-key").Because(err)
	case errors.Is(err, jwt.ErrSignature):
		return fault.New(fault.InvalidToken, "The ID Token provided has an invalid signature.").WithReason("token-signature").Because(err)
	case errors.Is(err, jwt.ErrAlgorithm):
		return fault.New(fault.InvalidToken, "The ID Token provided is signed by an algorithm that is not supported: use RS256, RS384, RS512, ES256, ES384 or ES512.").WithReason("token-algorithm").Because(err)
	}
	return notAJWT(err)
}

func notAJWT(err error) error {
	return fault.New(fault.InvalidToken, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)").WithReason("token-malformed").Because(err)
}
