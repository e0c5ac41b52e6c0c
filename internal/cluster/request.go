// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"

	"podid/internal/fault"
)

// maxToken is the longest clientRequestToken, in bytes; of podid's own
// choosing, EKS documents none.
const maxToken = 256

// CheckToken judges a clientRequestToken.
func CheckToken(token string) error {
	if len(token) > maxToken {
		return invalid("client-request-token", "The clientRequestToken is longer than %d characters.", maxToken)
	}
	return nil
}

// Request is what a call is known by when it is repeated. That of a call
// without a clientRequestToken is the zero Request, which repeats nothing.
type Request struct {
	Token []byte `cbor:"1,keyasint,omitempty"` // SHA-256 of the caller's account and the token
	Input []byte `cbor:"2,keyasint,omitempty"` // SHA-256 of what came with it
}

// NewRequest is the request of an account's call. The input has to be
// marshalable as JSON, and holds no token.
func NewRequest(account, token string, input any) Request {
	if token == "" {
		return Request{}
	}
	text, err := json.Marshal(input)
	if err != nil {
		panic(err) // verbs' inputs are structs of strings, booleans, and lists and maps of them
	}
	t, i := sha256.Sum256([]byte(account+"\x00"+token)), sha256.Sum256(text)
	return Request{t[:], i[:]}
}

// Repeats reports whether a call has the token of one before. A token that
// comes again with other input is refused.
func (r Request) Repeats(before Request) (bool, error) {
	if r.Token == nil || !bytes.Equal(r.Token, before.Token) {
		return false, nil
	}
	if !bytes.Equal(r.Input, before.Input) {
		return false, fault.New(fault.InvalidParameter, "The clientRequestToken was used before with other parameters.").WithReason("client-request-token")
	}
	return true, nil
}
