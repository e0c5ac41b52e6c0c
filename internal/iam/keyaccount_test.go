// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"crypto/rand"
	"testing"
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
	} {
		if got := AccountOfKey(keyID); got != "" {
			t.Errorf("%s: account %q", name, got)
		}
	}
}
