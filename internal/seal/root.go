// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

const (
	rootVersion   = 1
	fingerprint   = 8
	rootHeader    = 1 + fingerprint + saltSize
	infoRecord    = "podid/record/v1"
	infoRootIdent = "podid/root-id/v1"
)

// RootKey seals what a control plane stores. It cannot print itself; its ID is
// public. The zero value seals and opens nothing.
type RootKey struct{ k *rootKey }

type rootKey struct {
	key [keySize]byte
	id  [fingerprint]byte
}

// NewRootKey takes 32 bytes of key. A key of zeros is refused: it is an
// uninitialised one.
func NewRootKey(key []byte) (RootKey, error) {
	if len(key) != keySize {
		return RootKey{}, fmt.Errorf("root key has %d bytes, want %d", len(key), keySize)
	}
	var zero [keySize]byte
	if subtle.ConstantTimeCompare(key, zero[:]) == 1 {
		return RootKey{}, fmt.Errorf("root key is all zeros")
	}
	id := derive(key, nil, infoRootIdent)
	return RootKey{&rootKey{key: [keySize]byte(key), id: [fingerprint]byte(id[:])}}, nil
}

// GenerateRootKey draws a new key.
func GenerateRootKey(random io.Reader) (RootKey, error) {
	key := make([]byte, keySize)
	if err := readRandom(random, key); err != nil {
		return RootKey{}, err
	}
	return NewRootKey(key)
}

// ID is the key's public fingerprint, 16 hexadecimal digits of a keyed hash:
// equal ids mean equal keys, and an id tells nothing of its key.
func (r RootKey) ID() string {
	if r.k == nil {
		return ""
	}
	return hex.EncodeToString(r.k.id[:])
}

// IsZero reports whether there is no key.
func (r RootKey) IsZero() bool { return r.k == nil }

// String names the key by its fingerprint.
func (r RootKey) String() string { return "root key " + r.ID() }

// GoString is String.
func (r RootKey) GoString() string { return r.String() }

// LogValue is String.
func (r RootKey) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Seal encrypts plaintext. The envelope
//
//	version(1) | fingerprint(8) | salt(16) | AES-256-GCM | tag(16)
//
// opens only with the same key and the same aad.
func (r RootKey) Seal(random io.Reader, plaintext, aad []byte) ([]byte, error) {
	if r.k == nil {
		return nil, fmt.Errorf("seal record: %w", ErrOtherKey)
	}
	out := make([]byte, rootHeader, rootHeader+len(plaintext)+tagSize)
	out[0] = rootVersion
	copy(out[1:], r.k.id[:])
	salt := out[1+fingerprint : rootHeader]
	if err := readRandom(random, salt); err != nil {
		return nil, err
	}
	key := derive(r.k.key[:], salt, infoRecord)
	aead, err := gcm(key[:])
	if err != nil {
		return nil, err
	}
	var nonce [12]byte
	return aead.Seal(out, nonce[:], plaintext, recordAAD(out, aad)), nil
}

// Open decrypts what Seal made with the same key and aad. ErrOtherKey tells a
// record of another control plane, ErrVersion one of another release,
// ErrNotAuthentic one that was altered or moved.
func (r RootKey) Open(sealed, aad []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, ErrMalformed
	}
	if sealed[0] != rootVersion {
		return nil, ErrVersion
	}
	if len(sealed) < rootHeader+tagSize {
		return nil, ErrMalformed
	}
	if r.k == nil || !bytes.Equal(sealed[1:1+fingerprint], r.k.id[:]) {
		return nil, ErrOtherKey
	}
	key := derive(r.k.key[:], sealed[1+fingerprint:rootHeader], infoRecord)
	aead, err := gcm(key[:])
	if err != nil {
		return nil, err
	}
	var nonce [12]byte
	plaintext, err := aead.Open(nil, nonce[:], sealed[rootHeader:], recordAAD(sealed, aad))
	if err != nil {
		return nil, ErrNotAuthentic
	}
	return plaintext, nil
}

// recordAAD puts version and fingerprint under the tag too.
func recordAAD(envelope, aad []byte) []byte {
	out := make([]byte, 0, 1+fingerprint+len(aad))
	return append(append(out, envelope[:1+fingerprint]...), aad...)
}
