// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"testing"
)

// TestHMAC holds hmacSHA256 against the standard library, with messages
// shorter and longer than its room on the stack.
func TestHMAC(t *testing.T) {
	for n := range 700 {
		var key [sha256.Size]byte
		message := make([]byte, n)
		rand.Read(key[:])
		rand.Read(message)
		mac := hmac.New(sha256.New, key[:])
		mac.Write(message)
		if got, want := hmacSHA256(&key, message), [sha256.Size]byte(mac.Sum(nil)); got != want {
			t.Fatalf("HMAC of %d bytes is %x, want %x", n, got, want)
		}
	}
}
