// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package seal owns authenticated encryption: of secrets at rest under the
// root key of a control plane, and of session tokens under the keys of the
// token keyset.
//
// Everything is AES-256-GCM under a key derived by HKDF-SHA256 for that one
// message from a random 128-bit salt, so that no count of messages wears a key
// out and no nonce can come twice. Envelopes begin with a version byte. The
// additional data ties an envelope to its place: the record's key for a stored
// secret; access key id, issuer and partition for a session token.
//
// It refuses unknown versions, other keys (told apart by a public fingerprint),
// anything altered or moved, base64 that is not canonical, root key files that
// others can read, and tokens above 4,096 characters. It keeps no state and
// knows nothing of what it seals: session and keyring stand above it.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

const (
	keySize  = 32
	saltSize = 16
	tagSize  = 16

	hidden = "[secret]"
)

// Errors of opening. They never carry a part of the envelope.
var (
	// ErrMalformed: the envelope is too short, too long or not canonically encoded.
	ErrMalformed = errors.New("sealed value is malformed")
	// ErrVersion: the first byte names a format that this release does not know.
	ErrVersion = errors.New("sealed value has an unknown version")
	// ErrOtherKey: the envelope was sealed under a key with another fingerprint or id.
	ErrOtherKey = errors.New("sealed value belongs to another key")
	// ErrNotAuthentic: the value was altered, moved to another place, or made under another key.
	ErrNotAuthentic = errors.New("sealed value is not authentic")
	// ErrTooLong: the payload does not fit into a session token.
	ErrTooLong = errors.New("payload is too long for a session token")
)

// derive returns 32 bytes of HKDF-SHA256 (RFC 5869): extract, then expand. It
// gives what crypto/hkdf gives, without its ten allocations.
func derive(secret, salt []byte, info string) [keySize]byte {
	prk := hmacSHA256(salt, secret)
	return expand(prk[:], info, nil)
}

// expand returns 32 bytes of HKDF-Expand, which is one block of it; info is
// text and salt. Alone it does for a secret of 32 random bytes, which needs no
// extraction (RFC 5869, section 3.3).
func expand(secret []byte, info string, salt []byte) [keySize]byte {
	var buf [64]byte // enough for every info here
	return hmacSHA256(secret, append(append(append(buf[:0], info...), salt...), 1))
}

// hmacSHA256 is RFC 2104 on the stack, for keys of at most one block.
func hmacSHA256(key, message []byte) [sha256.Size]byte {
	var stack [2 * sha256.BlockSize]byte
	pad := stack[:sha256.BlockSize]
	copy(pad, key)
	for i := range pad {
		pad[i] ^= 0x36
	}
	inner := sha256.Sum256(append(pad, message...))
	for i := range pad {
		pad[i] ^= 0x36 ^ 0x5c
	}
	return sha256.Sum256(append(pad, inner[:]...))
}

// gcm returns the cipher for one message: its key is used once, with the zero nonce.
func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("set up cipher: %w", err)
	}
	return aead, nil
}

func readRandom(random io.Reader, into []byte) error {
	if _, err := io.ReadFull(random, into); err != nil {
		return fmt.Errorf("read randomness: %w", err)
	}
	return nil
}
