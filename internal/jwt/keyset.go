// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync/atomic"
)

const (
	minRSABits = 2048
	maxRSABits = 8192
	maxKeys    = 100 // AWS' limit for an OIDC provider, per kind of key
)

// Key is a public key that may sign tokens.
type Key struct {
	ID     string           // kid, may be empty
	Alg    string           // the only algorithm that it may be used with; empty: any that fits its type
	Public crypto.PublicKey // *rsa.PublicKey or *ecdsa.PublicKey
}

// KeySet is an unchangeable set of keys, safe for concurrent use.
type KeySet struct {
	keys []Key
	rsa  []*pkcs1Key // of the key at the same place, nil where there is none
	last atomic.Pointer[candidates]
}

// NewKeySet checks keys and makes a set of them. The error lists every key
// that is refused.
func NewKeySet(keys ...Key) (*KeySet, error) {
	var problems []error
	for i, key := range keys {
		if err := checkKey(key); err != nil {
			problems = append(problems, keyError(i, key.ID, err))
		}
		for _, earlier := range keys[:i] {
			if key.ID != "" && key.ID == earlier.ID && (key.Alg == "" || earlier.Alg == "" || key.Alg == earlier.Alg) {
				problems = append(problems, keyError(i, key.ID, errors.New("an earlier key has the same kid and no other alg")))
				break
			}
		}
	}
	switch {
	case len(problems) > 0:
		return nil, fmt.Errorf("key set: %w", errors.Join(problems...))
	case len(keys) == 0:
		return nil, errors.New("key set: holds no key that can verify a token")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("key set: holds %d keys, at most %d", len(keys), maxKeys)
	}
	s := &KeySet{keys: append([]Key(nil), keys...), rsa: make([]*pkcs1Key, len(keys))}
	for i, key := range keys {
		s.rsa[i] = newPKCS1Key(key.Public)
	}
	return s, nil
}

// ParseKeySet reads a JWK set. Keys that are not for signatures ("use" or
// "key_ops" say so) are left out; any other key that is refused fails the whole
// set, and the error lists them all.
func ParseKeySet(jwks []byte) (*KeySet, error) {
	top, err := members(jwks)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	var raw []json.RawMessage
	if list := top["keys"]; len(list) == 0 || list[0] != '[' || json.Unmarshal(list, &raw) != nil {
		return nil, errors.New(`key set: "keys" is no array`)
	}
	var keys []Key
	var problems []error
	for i, item := range raw {
		key, use, err := parseKey(item)
		if err != nil {
			problems = append(problems, keyError(i, key.ID, err))
		} else if use {
			keys = append(keys, key)
		}
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("key set: %w", errors.Join(problems...))
	}
	return NewKeySet(keys...)
}

// Keys returns the keys of the set.
func (s *KeySet) Keys() []Key { return append([]Key(nil), s.keys...) }

// Len returns the number of keys.
func (s *KeySet) Len() int { return len(s.keys) }

func keyError(i int, kid string, err error) error {
	if kid == "" {
		return fmt.Errorf("key %d: %w", i+1, err)
	}
	return fmt.Errorf("key %d (kid %.100q): %w", i+1, kid, err)
}

func checkKey(key Key) error {
	if len(key.ID) > maxKeyIDLen {
		return fmt.Errorf("kid longer than %d bytes", maxKeyIDLen)
	}
	switch public := key.Public.(type) {
	case *rsa.PublicKey:
		if public == nil || public.N == nil {
			return errors.New("no key")
		}
		if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("RSA modulus of %d bits, want %d to %d", bits, minRSABits, maxRSABits)
		}
		if public.N.Bit(0) == 0 || public.E < 3 || public.E&1 == 0 || public.E > 1<<31-1 {
			return errors.New("RSA modulus and exponent must be odd, the exponent from 3 to 2147483647")
		}
	case *ecdsa.PublicKey:
		if public == nil || public.Curve == nil {
			return errors.New("no key")
		}
		if _, err := curveOf(public.Curve.Params().Name); err != nil {
			return err
		}
		if _, err := public.Bytes(); err != nil {
			return errors.New("EC point is not on its curve")
		}
	default:
		return errors.New("key is neither RSA nor EC")
	}
	if key.Alg == "" {
		return nil
	}
	alg := algorithmOf(key.Alg)
	if alg == nil {
		return fmt.Errorf("alg %.20q is none of RS256, RS384, RS512, PS256, ES256, ES384, ES512", key.Alg)
	}
	if !alg.fits(key.Public) {
		return fmt.Errorf("alg %s does not fit the type of the key", key.Alg)
	}
	return nil
}

// jwk holds the members of RFC 7517 section 4 and RFC 7518 section 6 that matter.
type jwk struct {
	kty, kid, alg, use, crv, n, e, x, y string
}

// parseKey reads one JWK. use is false for a well-formed key that is not for
// verifying signatures.
func parseKey(data []byte) (key Key, use bool, err error) {
	m, err := members(data)
	if err != nil {
		return Key{}, false, err
	}
	var j jwk
	for _, field := range []struct {
		name string
		into *string
	}{
		{"kid", &j.kid},
		{"kty", &j.kty},
		{"alg", &j.alg},
		{"use", &j.use},
		{"crv", &j.crv},
		{"n", &j.n},
		{"e", &j.e},
		{"x", &j.x},
		{"y", &j.y},
	} {
		if value, ok := m[field.name]; ok && (value[0] != '"' || json.Unmarshal(value, field.into) != nil) {
			return Key{ID: j.kid}, false, fmt.Errorf("member %q is no string", field.name)
		}
	}
	key = Key{ID: j.kid, Alg: j.alg}
	for _, name := range []string{"k", "d", "p", "q", "dp", "dq", "qi", "oth"} {
		if _, ok := m[name]; ok {
			return key, false, fmt.Errorf("holds secret key material (member %q): only public keys may be registered", name)
		}
	}
	verifies, err := forVerifying(j.use, m["key_ops"])
	if err != nil || !verifies {
		return key, false, err
	}
	switch j.kty {
	case "RSA":
		key.Public, err = rsaKey(j)
	case "EC":
		key.Public, err = ecKey(j)
	case "":
		err = errors.New("kty is missing")
	default:
		err = fmt.Errorf("kty %.20q is refused, want RSA or EC", j.kty)
	}
	return key, true, err
}

func forVerifying(use string, keyOps json.RawMessage) (bool, error) {
	if use != "" && use != "sig" {
		return false, nil
	}
	if keyOps == nil {
		return true, nil
	}
	var ops []string
	if err := json.Unmarshal(keyOps, &ops); err != nil {
		return false, errors.New("key_ops is no list of strings")
	}
	for _, op := range ops {
		if op == "verify" {
			return true, nil
		}
	}
	return false, nil
}

func rsaKey(j jwk) (crypto.PublicKey, error) {
	n, err := decode(j.n)
	if err != nil || len(n) == 0 {
		return nil, errors.New("n is no base64url number")
	}
	e, err := decode(j.e)
	if err != nil || len(e) == 0 || len(e) > 4 {
		return nil, errors.New("e is no base64url number of 1 to 4 bytes")
	}
	if len(n) > maxRSABits/8+1 { // before big.Int takes it
		return nil, fmt.Errorf("RSA modulus of more than %d bits", maxRSABits)
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	return key, checkKey(Key{Public: key})
}

func ecKey(j jwk) (crypto.PublicKey, error) {
	curve, err := curveOf(j.crv)
	if err != nil {
		return nil, err
	}
	size := (curve.Params().BitSize + 7) / 8
	x, errX := decode(j.x)
	y, errY := decode(j.y)
	if errX != nil || errY != nil || len(x) != size || len(y) != size {
		return nil, fmt.Errorf("x and y must be base64url of %d bytes each", size)
	}
	point := append(append([]byte{4}, x...), y...)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, errors.New("EC point is not on its curve")
	}
	return key, nil
}

func curveOf(name string) (elliptic.Curve, error) {
	switch name {
	case "P-256":
		return elliptic.P256(), nil
	case "P-384":
		return elliptic.P384(), nil
	case "P-521":
		return elliptic.P521(), nil
	}
	return nil, fmt.Errorf("curve %.20q is refused, want P-256, P-384 or P-521", name)
}
