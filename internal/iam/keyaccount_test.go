// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"crypto/rand"
	"testing"

	"podid/internal/seal"
)

// A long-lived key names its account where a session's does.
func TestKeyNamesItsAccount(t *testing.T) {
	for _, account := range []string{"000000000000", "000000000001", "111122223333", "999999999999"} {
		keyID, _, err := newAccessKey(rand.Reader, account)
		if got, ok := seal.AccessKeyAccount(keyID); err != nil || !ok || got != account {
			t.Errorf("key %s of %s: account %q, %v", keyID, account, got, err)
		}
	}
}
