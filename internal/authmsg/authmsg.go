// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package authmsg owns encoded authorization messages: what a refused caller is
// handed to show to somebody who may know why, and what
// sts:DecodeAuthorizationMessage makes of it. A message is sealed under the root
// key and bound to the account of the refused caller; it ends after a day, and
// nothing of it is kept. All messages are of one size, so that a caller learns
// nothing from his own: neither which policies there are nor whether a role is.
// It refuses messages that are altered, of another account, or over. It stands
// between the gate, which hands messages out, and sts, which reads them.
package authmsg

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
)

// Life is how long a message can be decoded.
const Life = 24 * time.Hour

const (
	// payload is the size of every message before it is sealed, in bytes: with
	// what sealing and base64 add a header of some 1,800, which proxies pass.
	payload   = 1280
	maxSkew   = 5 * time.Minute
	aadPrefix = "podid/authorization-message/v1/"
)

// ErrInvalid refuses a message; it does not say why.
var ErrInvalid = errors.New("authorization message is not valid")

// Sealer encrypts under the root key.
type Sealer interface {
	Seal(plaintext, aad []byte) ([]byte, error)
	Open(sealed, aad []byte) ([]byte, error)
}

// Codec writes and reads messages. Fields are set once, before use.
type Codec struct {
	Sealer Sealer
	Now    func() time.Time
}

// refusal is the detail of a fault that knows what was refused; x is nil when
// there was nothing to evaluate.
type refusal interface {
	Refused() (action, resource string, x *policy.Explanation)
}

// Encode makes the message for a caller who was refused. action is that of the
// operation, for refusals that say no more.
func (c *Codec) Encode(caller iam.Caller, action string, f *fault.Error) (string, error) {
	m := &record{Issued: c.Now().Unix(), ARN: caller.ARN, ID: caller.UserID, Action: action, Resource: "*"}
	if caller.Kind == iam.CallerUser && caller.User != nil {
		m.Name = caller.User.Name
	}
	var x *policy.Explanation
	switch d := f.Detail.(type) {
	case policy.Explanation:
		m.Action, m.Resource, x = d.Action, d.Resource(), &d
	case refusal:
		m.Action, m.Resource, x = d.Refused()
		// What another account's policies say, and whether its role is there at
		// all, is not for the caller's account.
		if r, err := arn.Parse(m.Resource); err != nil || r.Account != caller.Account {
			x = nil
		}
	}
	m.fill(x)
	return c.seal(m, caller.Account)
}

func (c *Codec) seal(m *record, account string) (string, error) {
	text, err := m.marshal()
	if err != nil {
		return "", fmt.Errorf("encode authorization message: %w", err)
	}
	plain := make([]byte, payload)
	binary.BigEndian.PutUint16(plain, uint16(len(text)))
	copy(plain[2:], text)
	sealed, err := c.Sealer.Seal(plain, []byte(aadPrefix+account))
	if err != nil {
		return "", fmt.Errorf("seal authorization message: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// Decode reads a message that a caller of the account was handed.
func (c *Codec) Decode(account, text string) (*Message, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || base64.RawURLEncoding.EncodedLen(len(sealed)) != len(text) { // the decoder skips line ends
		return nil, ErrInvalid
	}
	plain, err := c.Sealer.Open(sealed, []byte(aadPrefix+account))
	if err != nil || len(plain) != payload {
		return nil, ErrInvalid
	}
	n := int(binary.BigEndian.Uint16(plain))
	var m record
	if n > payload-2 || cbor.Unmarshal(plain[2:2+n], &m) != nil {
		return nil, ErrInvalid
	}
	age := c.Now().Sub(time.Unix(m.Issued, 0))
	if age > Life || age < -maxSkew {
		return nil, ErrInvalid
	}
	return m.message(), nil
}
