// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package uuid owns ids in the form of RFC 9562: those of requests, of
// sessions' names, and of what EKS' ARNs end in. They are random (version 4)
// and come from the reader that the caller has; it refuses to make one of less
// than 16 bytes.
package uuid

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
)

// New draws an id from r.
func New(r io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return "", fmt.Errorf("read random id: %w", err)
	}
	return Format(version4(b)), nil
}

// Random is New of the system's randomness, which never fails.
func Random() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return Format(version4(b))
}

func version4(b [16]byte) [16]byte {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return b
}

// Format writes 16 bytes as they are in the form of an id.
func Format(b [16]byte) string {
	var d [36]byte
	hex.Encode(d[:8], b[:4])
	hex.Encode(d[9:13], b[4:6])
	hex.Encode(d[14:18], b[6:8])
	hex.Encode(d[19:23], b[8:10])
	hex.Encode(d[24:], b[10:])
	d[8], d[13], d[18], d[23] = '-', '-', '-', '-'
	return string(d[:])
}
