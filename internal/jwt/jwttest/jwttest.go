// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package jwttest signs tokens for tests of whoever verifies them. It owns no
// claims and no keys: both are the test's, and it signs what it is given, good
// or bad. It refuses to be linked by the product.
package jwttest

import (
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Sign returns payload as a compact JSON Web Signature. The key is a private
// key, or a jose.JSONWebKey whose KeyID becomes the header's kid; header adds
// members and may be nil. It ends the test when the key does not fit alg.
func Sign(tb testing.TB, alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, payload []byte) string {
	tb.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		tb.Fatal(err)
	}
	object, err := signer.Sign(payload)
	if err != nil {
		tb.Fatal(err)
	}
	token, err := object.CompactSerialize()
	if err != nil {
		tb.Fatal(err)
	}
	return token
}
