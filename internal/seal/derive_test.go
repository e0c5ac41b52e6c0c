// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"testing"
)

// TestDerive holds derive against the standard library's HKDF, for every use
// that this package has of it.
func TestDerive(t *testing.T) {
	for _, info := range []string{infoRootIdent, infoRecord, infoToken, infoSecret, ""} {
		for _, salted := range []bool{true, false} {
			secret, salt := make([]byte, keySize), []byte(nil)
			if _, err := rand.Read(secret); err != nil {
				t.Fatal(err)
			}
			if salted {
				salt = []byte(rand.Text()[:saltSize])
			}
			want, err := hkdf.Key(sha256.New, secret, salt, info, keySize)
			if err != nil {
				t.Fatal(err)
			}
			if got := derive(secret, salt, info); !bytes.Equal(got[:], want) {
				t.Errorf("derive with info %q, salted %v: %x, want %x", info, salted, got, want)
			}
		}
	}
}
