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
	for _, info := range []string{infoRootIdent, infoRecord, ""} {
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

// TestTokenFormat: replicas of two releases open each other's tokens, so what a
// token is changes with its version only.
func TestTokenFormat(t *testing.T) {
	k, err := NewTokenKey(7, bytes.Repeat([]byte{1}, keySize), bytes.Repeat([]byte{2}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	want := Sealed{
		AccessKeyID:     "ASIADHPWNEHFAMBQGAYD",
		Token:           "AQAAAAcDAwMDAwMDAwMDAwMDAwMDVInlqIrBiJAoF1a36wEnNoABnY+6cxY=",
		SecretAccessKey: "8mWFT7+7OZfC/9BPULK+wAdWN2jUb5xgdJhzgNQn",
	}
	got, err := SealToken(k, bytes.NewReader(bytes.Repeat([]byte{3}, saltSize)), "111122223333", []byte("aad"), []byte("payload"))
	if err != nil || got != want {
		t.Errorf("%s, %s, %v", got.Token, got.SecretAccessKey, err)
	}
	payload, secret, err := OpenToken(k, want.Token, want.AccessKeyID, []byte("aad"))
	if err != nil || string(payload) != "payload" || secret != want.SecretAccessKey {
		t.Errorf("%q, %q, %v", payload, secret, err)
	}
}
