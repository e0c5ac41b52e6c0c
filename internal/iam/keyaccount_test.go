// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"crypto/rand"
	"testing"

	"podid/internal/arn"
)

func TestAccountOfKey(t *testing.T) {
	for _, account := range []string{"000000000000", "000000000001", "111122223333", "999999999999"} {
		keyID, _, err := newAccessKey(rand.Reader, account)
		if err != nil || AccountOfKey(keyID) != account {
			t.Errorf("key %s of %s: account %q, %v", keyID, account, AccountOfKey(keyID), err)
		}
	}
	for name, keyID := range map[string]string{
		"empty": "", "short": "AKIA", "no base32": "AKIA01890189018901890", "lower case": "AKIAabcdabcdabcdabcd",
		"beyond 12 digits": "AKIA7777777777777777", "too long": "AKIAAAAAAAAAAAAAAAAAAAAA",
		"line ends": "AKIA\n\nAAAAAAAAAAAAAA",
	} {
		if got := AccountOfKey(keyID); got != "" {
			t.Errorf("%s: account %q", name, got)
		}
	}
}

func FuzzAccountOfKey(f *testing.F) {
	for _, s := range []string{"", "AKIAIOSFODNN7EXAMPLE", "ASIA7777777777777777", "AKIA\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, keyID string) {
		if got := AccountOfKey(keyID); got != "" && !arn.IsAccount(got) {
			t.Errorf("AccountOfKey(%q) = %q", keyID, got)
		}
	})
}
