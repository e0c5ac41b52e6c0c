// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"

	"podid/internal/secret"
)

// Prefixes of unique ids: IAM User Guide, "IAM identifiers".
const (
	prefixRole   = "AROA"
	prefixUser   = "AIDA"
	prefixGroup  = "AGPA"
	prefixPolicy = "ANPA"
	prefixKey    = "AKIA"
)

var base32ID = base32.StdEncoding.WithPadding(base32.NoPadding)

// newID draws a unique id of 21 characters.
func newID(rand io.Reader, prefix string) (string, error) {
	var b [11]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("draw id: %w", err)
	}
	return prefix + base32ID.EncodeToString(b[:])[:17], nil
}

// newAccessKey draws an access key: an id of 20 characters whose first 40
// bits are the account, as AWS' own, and a secret of 40.
func newAccessKey(rand io.Reader, account string) (keyID string, key secret.String, err error) {
	n, err := strconv.ParseUint(account, 10, 40)
	if err != nil {
		return "", key, fmt.Errorf("read account id: %w", err)
	}
	var b [5 + 30]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", key, fmt.Errorf("draw access key: %w", err)
	}
	raw := [10]byte{byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	copy(raw[5:], b[:5])
	return prefixKey + base32ID.EncodeToString(raw[:]), secret.New(base64.StdEncoding.EncodeToString(b[5:])), nil
}
