// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"crypto"
	"net/netip"
	"time"

	"podid/internal/fault"
	"podid/internal/jwt"
	"podid/internal/secret"
	"podid/internal/store"
)

// Activator makes PENDING clusters of all accounts ACTIVE. Whoever calls it
// signs nothing: the activation code is the one credential, good once and for
// one cluster. Who has no good code learns nothing, not even whether there is
// a cluster of the name. Make it with NewActivator.
type Activator struct {
	store    store.Store
	now      func() time.Time
	region   string
	attempts *attempts
}

// NewActivator returns an Activator for the clusters of a region.
func NewActivator(s store.Store, now func() time.Time, region string) *Activator {
	return &Activator{store: s, now: now, region: region, attempts: newAttempts()}
}

// ActivateInput is what a cluster says of itself. Empty Version, Endpoint and
// CA leave what an administrator has set.
type ActivateInput struct {
	Name     string
	Code     secret.String
	Issuer   string // the iss of its tokens, an https URL; never changes
	JWKS     []byte // the public keys that sign them
	Version  string // Kubernetes "1.34", optional
	Endpoint string // API server's https URL, optional
	CA       string // base64 of PEM certificates, optional
	// Enrolment is the public half of the key that the operator brings keys with
	// from now on, a JWK; optional.
	Enrolment []byte

	enrolment *Enrolment
}

// Activate gives the cluster its issuer and keys. From names the source of the
// request, whose wrong codes are counted. The cluster is returned beside an
// error too when the code was its own: the record of the refusal may name it.
// Errors: AccessDenied for a code that is none of a cluster of the name,
// Throttled after too many of them, AlreadyExists for a code that was used,
// ExpiredToken for one that is over, InvalidParameter for what a cluster must
// not be.
func (a *Activator) Activate(ctx context.Context, from netip.Addr, in ActivateInput) (*Cluster, error) {
	c, err := a.find(ctx, from, &in)
	if err != nil {
		return nil, err
	}
	if err := c.Activation.usable(a.now()); err != nil {
		return c, err
	}
	keys, err := in.check(c, a.now().UTC().Truncate(time.Millisecond))
	if err != nil {
		return c, err
	}
	var out *Cluster
	err = Commit(ctx, a.store, "activate cluster", func(tx *store.Tx) error {
		out, err = a.activate(tx, c.Scope(), &in, keys)
		return err
	})
	if err != nil {
		return c, err
	}
	return out, nil
}

// find returns the cluster that the code was made for. A good code is found
// without a look at the limit, so that nobody can keep a cluster out by wrong
// ones.
func (a *Activator) find(ctx context.Context, from netip.Addr, in *ActivateInput) (*Cluster, error) {
	if c, ok := a.proven(a.store.View(), in); ok {
		return c, nil
	}
	if wait := a.attempts.wait(from, a.now()); wait > 0 {
		return nil, fault.New(fault.Throttled, "Too many wrong activation codes came from this address. Try again later.").WithReason("activation-throttled").After(wait)
	}
	if accountOfCode(in.Code.Reveal()) != "" {
		// Another replica may have made the code a moment ago.
		v, err := a.store.Fence(ctx)
		if err != nil {
			return nil, fault.StoreUnread(err)
		}
		if c, ok := a.proven(v, in); ok {
			return c, nil
		}
	}
	return nil, badCode()
}

func badCode() error {
	return fault.New(fault.AccessDenied, "The activation code is none of a cluster of this name.").WithReason("activation-code")
}

func (a *Activator) proven(r store.Reader, in *ActivateInput) (*Cluster, bool) {
	account := accountOfCode(in.Code.Reveal())
	if account == "" || !ValidName(in.Name) {
		return nil, false
	}
	c, ok := Clusters.Get(r, store.Scope{Account: account, Region: a.region}, in.Name)
	return c, ok && c.provenBy(in.Code.Reveal())
}

// check judges what the cluster says of itself, and returns its keys.
func (in *ActivateInput) check(c *Cluster, now time.Time) (*jwt.KeySet, error) {
	if err := checkURL("issuer", in.Issuer); err != nil {
		return nil, err
	}
	if pinned := c.Activation.Issuer; pinned != "" && pinned != in.Issuer {
		return nil, invalid("issuer-other", "The cluster was registered for the issuer %.200s and names %.200s.", pinned, in.Issuer)
	}
	if err := checkSettings(nil, &in.Version, &in.Endpoint, &in.CA); err != nil {
		return nil, err
	}
	if len(in.JWKS) == 0 {
		return nil, fault.New(fault.MissingParameter, "The cluster's keys are missing: give jwks.").WithReason("keys-missing")
	}
	var set *jwt.KeySet
	var err error
	if in.Enrolment != nil {
		if in.enrolment, err = newEnrolment(in.Enrolment, now); err != nil {
			return nil, err
		}
	}
	in.JWKS, set, err = checkKeySet(in.JWKS)
	return set, err
}

// activate runs in the transaction: the record that it sees is the one that
// the code has to be good for.
func (a *Activator) activate(tx *store.Tx, s store.Scope, in *ActivateInput, keys *jwt.KeySet) (*Cluster, error) {
	c, ok := Clusters.Get(tx, s, in.Name)
	if !ok || !c.provenBy(in.Code.Reveal()) {
		return nil, badCode()
	}
	now := a.now().UTC().Truncate(time.Millisecond)
	if err := c.Activation.usable(now); err != nil {
		return nil, err
	}
	if pinned := c.Activation.Issuer; pinned != "" && pinned != in.Issuer {
		return nil, ChangedMeanwhile("cluster")
	}
	if err := checkOwnKeys(tx, c, in.Issuer, keys); err != nil {
		return nil, err
	}
	n, used := *c, *c.Activation
	used.Used = now
	n.Activation, n.Modified, n.Issuer, n.JWKS = &used, now, in.Issuer, bytes.Clone(in.JWKS)
	n.Enrolment = in.enrolment
	for _, f := range []struct {
		to   *string
		from string
	}{{&n.Version, in.Version}, {&n.Endpoint, in.Endpoint}, {&n.CA, in.CA}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	Clusters.Put(tx, s, in.Name, &n)
	return &n, nil
}

// checkOwnKeys refuses the keys of another cluster of the issuer. Public keys
// are no secret: with those of another cluster, whoever holds a code could make
// tokens of that one be tokens of two, which are then good for none.
func checkOwnKeys(r store.Reader, c *Cluster, issuer string, keys *jwt.KeySet) error {
	for _, other := range ByIssuer(r, c.Scope(), issuer) {
		if other.UID == c.UID {
			continue
		}
		set, err := jwt.ParseKeySet(other.AcceptedKeys(time.Time{}))
		if err != nil {
			continue // nothing verifies against them either
		}
		if shareKey(keys, set) {
			return invalid("keys-of-another", "A key of the set belongs to another cluster of the issuer.")
		}
	}
	return nil
}

func shareKey(a, b *jwt.KeySet) bool {
	for _, x := range a.Keys() {
		public, ok := x.Public.(interface{ Equal(crypto.PublicKey) bool })
		if !ok {
			continue
		}
		for _, y := range b.Keys() {
			if public.Equal(y.Public) {
				return true
			}
		}
	}
	return false
}
