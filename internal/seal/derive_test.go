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
	for _, info := range []string{infoRootIdent, infoRecord, infoToken1, infoSecret1, ""} {
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

func TestExpand(t *testing.T) {
	for _, info := range []string{infoToken, infoSecret} {
		secret, salt := make([]byte, keySize), []byte(rand.Text()[:saltSize])
		if _, err := rand.Read(secret); err != nil {
			t.Fatal(err)
		}
		want, err := hkdf.Expand(sha256.New, secret, info+string(salt), keySize)
		if err != nil {
			t.Fatal(err)
		}
		if got := expand(secret, info, salt); !bytes.Equal(got[:], want) {
			t.Errorf("expand with info %q: %x, want %x", info, got, want)
		}
	}
}

// TestVersion1: tokens that were sealed by a release before version 2 open.
func TestVersion1(t *testing.T) {
	k, err := NewTokenKey(7, bytes.Repeat([]byte{1}, keySize), bytes.Repeat([]byte{2}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	const (
		accessKeyID = "ASIADHPWNEHFAMBQGAYD"
		token       = "AQAAAAcDAwMDAwMDAwMDAwMDAwMDJw5l5WdYErz9N/u5RcsyNcYV63DgkKU="
		secretKey   = "LBqNtKZ6eKGf/N51P6dU7aLn6oDnKvYAFUIYkHSo"
	)
	payload, got, err := OpenToken(k, token, accessKeyID, []byte("aad"))
	if err != nil || string(payload) != "payload" || got != secretKey {
		t.Errorf("%q, %q, %v", payload, got, err)
	}
	if id, err := TokenKeyID(token); err != nil || id != 7 {
		t.Errorf("key %d, %v", id, err)
	}
}
