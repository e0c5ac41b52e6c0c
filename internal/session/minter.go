// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"podid/internal/fault"
	"podid/internal/seal"
	"podid/internal/secret"
)

// MaxTokenBytes is the longest session token: AWS' limit since September 2026.
const MaxTokenBytes = seal.MaxTokenLen

// Keys holds the keyset that tokens are sealed under.
type Keys interface {
	// Primary is the key for new tokens.
	Primary() (seal.TokenKey, error)
	// Lookup finds a key by id. It asks the store before it says that there is
	// none. The error is for a store that cannot be asked.
	Lookup(ctx context.Context, id uint32) (seal.TokenKey, bool, error)
}

// Minter turns sessions into credentials and back. It is safe for concurrent
// use; Rand must be.
type Minter struct {
	Keys      Keys
	Rand      io.Reader
	Now       func() time.Time
	Account   string // 12 digits; part of the access key id of sessions that name none
	Partition string
	Opened    *OpenCache // of this Minter alone; nil: every token is opened anew
}

// aad binds a token to this issuer: a token of another installation's form
// does not open even under the same key.
func (m *Minter) aad() []byte { return []byte("podid/sts/" + m.Partition) }

// Mint seals s. It refuses with PackedPolicyTooLarge what does not fit
// MaxTokenBytes.
func (m *Minter) Mint(s *Session) (Credentials, error) {
	k, err := m.Keys.Primary()
	if err != nil {
		return Credentials{}, fmt.Errorf("find primary session key: %w", err)
	}
	payload := encode(make([]byte, 0, 768), s, payloadFor(s.MinTokenSize))
	sealed, err := seal.SealToken(k, m.Rand, cmp.Or(s.Account, m.Account), m.aad(), payload)
	if errors.Is(err, seal.ErrTooLong) {
		size := tokenSize(len(payload))
		return Credentials{}, fault.New(fault.PackedPolicyTooLarge,
			"Packed size of session tags and session policies consumes %d%% of allotted space: the session token would have %d bytes, %d more than the %d that are allowed.",
			(len(payload)*100+seal.MaxPayload-1)/seal.MaxPayload, size, size-MaxTokenBytes, MaxTokenBytes).WithReason("session-too-large")
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("seal session: %w", err)
	}
	return Credentials{
		AccessKeyID: sealed.AccessKeyID, SecretAccessKey: secret.New(sealed.SecretAccessKey),
		SessionToken: secret.New(sealed.Token), Expires: s.Expires,
	}, nil
}

// tokenSize is the length of the token of a payload.
func tokenSize(payload int) int { return (payload + seal.TokenOverhead + 2) / 3 * 4 }

// payloadFor is the payload whose token has at least so many bytes.
func payloadFor(token int) int { return max(0, (token+3)/4*3-2-seal.TokenOverhead) }

// Utilization is how much of MaxTokenBytes the credentials' token takes, in
// percent, rounded up: STS' SessionTokenUtilization.
func Utilization(c Credentials) int {
	return (len(c.SessionToken.Reveal())*100 + MaxTokenBytes - 1) / MaxTokenBytes
}

// Open reads a token that came with an access key id. The secret it returns
// is proven only when the request's signature fits it. Faults: InvalidToken
// for a token that no key here opens, ExpiredCredentials. The session is shared with
// later callers: it must not be changed.
func (m *Minter) Open(ctx context.Context, accessKeyID, token string) (*Session, secret.String, error) {
	none := secret.String{}
	if len(token) > MaxTokenBytes {
		return nil, none, invalid("session-token-malformed", nil)
	}
	id, err := seal.TokenKeyID(token)
	if err != nil {
		return nil, none, invalid("session-token-malformed", err)
	}
	k, ok, err := m.Keys.Lookup(ctx, id)
	if err != nil {
		return nil, none, fault.New(fault.Unavailable, "The session keys cannot be read.").WithReason("store-unavailable").Because(err)
	}
	if !ok {
		return nil, none, invalid("session-token-key-unknown", nil)
	}
	o, known := m.Opened.get(k, accessKeyID, token)
	if !known {
		if o, err = m.open(k, accessKeyID, token); err != nil {
			return nil, none, err
		}
		m.Opened.put(accessKeyID, token, o)
	}
	if !m.Now().Before(o.session.Expires) {
		return nil, none, fault.New(fault.ExpiredCredentials, "The security token included in the request is expired").WithReason("session-expired")
	}
	return o.session, o.secret, nil
}

func (m *Minter) open(k seal.TokenKey, accessKeyID, token string) (openedSession, error) {
	payload, sec, err := seal.OpenToken(k, token, accessKeyID, m.aad())
	if err != nil {
		return openedSession{}, invalid("session-token-forged", err)
	}
	s, err := decode(payload)
	if err != nil {
		return openedSession{}, invalid("session-token-malformed", errors.Join(errors.New("authentic token"), err))
	}
	return openedSession{k, s, secret.New(sec)}, nil
}

func invalid(reason string, err error) error {
	return fault.New(fault.UnknownAccessKey, "The security token included in the request is invalid.").WithReason(reason).Because(err)
}
