// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import "fmt"

// AccountOfKey reads the account from an access key id, whose first 40 bits
// after the prefix are its number, of a long-lived key as of a session's; ""
// when the id carries none. It proves nothing: there need be no such key.
func AccountOfKey(keyID string) string {
	if len(keyID) != len(prefixKey)+16 {
		return ""
	}
	raw, err := base32ID.DecodeString(keyID[len(prefixKey):])
	if err != nil || len(raw) != 10 { // the decoder skips line ends
		return ""
	}
	n := uint64(0)
	for _, b := range raw[:5] {
		n = n<<8 | uint64(b)
	}
	if n > 999999999999 {
		return ""
	}
	return fmt.Sprintf("%012d", n)
}
