// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package restjson

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"podid/internal/fault"
)

// Pages makes and reads the opaque nextToken of paged lists. A token holds
// the key after which the next page begins, so pages survive inserts and
// deletes between them, and is authenticated together with the list it
// belongs to. Tokens hold nothing that the list does not show; they are not
// encrypted. Replicas that share Key read each other's tokens.
type Pages struct{ Key []byte }

const (
	pageVersion = 1
	pageMAC     = 16 // bytes of HMAC-SHA-256 kept
)

// Token returns the token for the page after the key last of a list. list
// names the list: operation, account, filters.
func (p Pages) Token(last string, list ...string) string {
	if last == "" {
		return ""
	}
	b := append([]byte{pageVersion}, p.sum(last, list)...)
	return base64.RawURLEncoding.EncodeToString(append(b, last...))
}

// After returns the key that a token holds. It refuses, with InvalidParameter,
// a token that was changed, or made for another list. An empty token is the
// beginning.
func (p Pages) After(token string, list ...string) (string, error) {
	if token == "" {
		return "", nil
	}
	if strings.ContainsAny(token, "\r\n") { // the decoder would skip line ends
		return "", badPage()
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) <= 1+pageMAC || b[0] != pageVersion {
		return "", badPage()
	}
	last := string(b[1+pageMAC:])
	if !hmac.Equal(b[1:1+pageMAC], p.sum(last, list)) {
		return "", badPage()
	}
	return last, nil
}

func badPage() error {
	return fault.New(fault.InvalidParameter, "The nextToken is not valid for this request. Repeat the list with the same filters, or begin without a token.").
		WithReason("page-token")
}

// sum authenticates last and list; lengths keep their parts apart.
func (p Pages) sum(last string, list []string) []byte {
	h := hmac.New(sha256.New, p.Key)
	for _, s := range append([]string{last}, list...) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return h.Sum(nil)[:pageMAC]
}
