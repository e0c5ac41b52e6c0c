// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"crypto"
	"crypto/fips140"
	"crypto/rsa"
	"crypto/subtle"

	"filippo.io/bigmod"
)

// pkcs1Key verifies RSASSA-PKCS1-v1_5 signatures of one public key. Unlike
// crypto/rsa it prepares the modulus once and not for every signature, which
// is a third of the work (ADR 0006). It is immutable.
type pkcs1Key struct {
	n *bigmod.Modulus
	e uint
}

// newPKCS1Key prepares a key that checkKey accepted. It returns nil where the
// standard library has to do the work: for other kinds of key, and in FIPS
// 140-3 mode, whose module this code is no part of.
func newPKCS1Key(public crypto.PublicKey) *pkcs1Key {
	key, ok := public.(*rsa.PublicKey)
	if !ok || fips140.Enabled() {
		return nil
	}
	n, err := bigmod.NewModulus(key.N.Bytes())
	if err != nil {
		return nil
	}
	return &pkcs1Key{n: n, e: uint(key.E)}
}

// verify is RSASSA-PKCS1-V1_5-VERIFY (RFC 8017 section 8.2.2). It builds the
// whole encoded message that the digest must have and compares; it never
// parses the one in the signature, where forgeries have hidden.
func (k *pkcs1Key) verify(hash crypto.Hash, digest, signature []byte) bool {
	size := k.n.Size()
	if len(signature) != size || len(digest) != hash.Size() {
		return false
	}
	s, err := bigmod.NewNat().SetBytes(signature, k.n) // refuses s >= n
	if err != nil {
		return false
	}
	var stack [maxRSABits / 8]byte
	want := appendEncodedMessage(stack[:0], hash, digest, size)
	got := bigmod.NewNat().ExpShortVarTime(s, k.e, k.n).Bytes(k.n)
	return want != nil && subtle.ConstantTimeCompare(got, want) == 1
}

// appendEncodedMessage appends EMSA-PKCS1-v1_5 (RFC 8017 section 9.2), size
// bytes in all; nil for a hash that no algorithm of ours has.
func appendEncodedMessage(dst []byte, hash crypto.Hash, digest []byte, size int) []byte {
	prefix := digestInfo(hash)
	padding := size - len(prefix) - len(digest) - 3
	if prefix == "" || padding < 8 {
		return nil
	}
	dst = append(dst, 0, 1)
	for range padding {
		dst = append(dst, 0xff)
	}
	dst = append(append(dst, 0), prefix...)
	return append(dst, digest...)
}

// digestInfo is the DER of DigestInfo up to the digest itself (RFC 8017
// section 9.2, note 1).
func digestInfo(hash crypto.Hash) string {
	switch hash {
	case crypto.SHA256:
		return "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
	case crypto.SHA384:
		return "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"
	case crypto.SHA512:
		return "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"
	}
	return ""
}
