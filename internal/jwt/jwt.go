// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package jwt verifies compact JSON Web Signatures (RFC 7515) against a set of
// public keys (RFC 7517).
//
// It owns the grammar of key sets and of the token's header, and the choice of
// key and algorithm. It says who signed, not what the claims mean: satoken and
// the web-identity verb read the payload.
//
// It refuses by default: algorithms other than RS256/384/512, PS256 and
// ES256/384/512, so "none" and every symmetric one; an algorithm that does not
// fit the key's type or its own "alg"; headers that bring or point to keys
// (jwk, jku, x5c, x5u) or demand extensions (crit); repeated header members;
// padded or non-canonical base64; tokens above 20,000 characters. In key sets:
// private and symmetric keys, OKP, RSA below 2048 or above 8192 bits, curves
// other than P-256, P-384 and P-521.
//
// Signatures are checked by the standard library, but for RSASSA-PKCS1-v1_5,
// which is checked here with a modulus prepared once (ADR 0006). The package's
// tests hold it against go-jose as an independent signer and judge, and that
// check against crypto/rsa.
package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"unicode/utf8"
)

const (
	// MaxTokenLen is the longest token in characters, AWS' limit for a WebIdentityToken.
	MaxTokenLen = 20000

	maxHeaderLen = 4096
	maxKeyIDLen  = 512
)

// Errors of Verify; each refusal wraps exactly one. None carries the token.
var (
	ErrMalformed  = errors.New("token is malformed")
	ErrHeader     = errors.New("token header is not acceptable")
	ErrAlgorithm  = errors.New("token algorithm is not acceptable")
	ErrUnknownKey = errors.New("token is signed by an unknown key")
	ErrSignature  = errors.New("token signature is not valid")
)

// UnknownKeyError says which key id was not found. It wraps ErrUnknownKey. A
// caller that can fetch keys anew does so on this error, and on no other.
type UnknownKeyError struct{ KeyID string }

// Error names the key id, quoted and shortened: it comes from an unverified token.
func (e *UnknownKeyError) Error() string {
	if e.KeyID == "" {
		return ErrUnknownKey.Error() + ": the token names none and no key fits its algorithm"
	}
	return fmt.Sprintf("%s: kid %.100q", ErrUnknownKey.Error(), e.KeyID)
}

// Unwrap returns ErrUnknownKey.
func (e *UnknownKeyError) Unwrap() error { return ErrUnknownKey }

// Header is the part of a token's header that matters.
type Header struct {
	Algorithm string // alg
	KeyID     string // kid, may be empty
	Type      string // typ, may be empty; not checked
}

// Verify checks the signature of a compact token and returns its payload. A
// token with kid is held against the keys of that id only, one without against
// every key that fits its algorithm.
func (s *KeySet) Verify(token string) (payload []byte, header Header, err error) {
	p, err := split(token)
	if err != nil {
		return nil, Header{}, err
	}
	c, err := s.choose(p.header)
	if err != nil {
		return nil, Header{}, err
	}
	signature, err := decode(p.signature)
	if err != nil {
		return nil, Header{}, err
	}
	digest := c.alg.digest(token[:len(p.header)+1+len(p.payload)])
	for _, key := range c.keys {
		if c.alg.verify(key, digest, signature) {
			payload, err := decode(p.payload)
			return payload, c.header, err
		}
	}
	return nil, Header{}, ErrSignature
}

// PeekUnverified returns header and payload of a token whose signature nobody
// has checked. For diagnostics only: anybody can write such a token.
func PeekUnverified(token string) (Header, []byte, error) {
	p, err := split(token)
	if err != nil {
		return Header{}, nil, err
	}
	h, err := parseHeader(p.header)
	if err != nil {
		return Header{}, nil, err
	}
	payload, err := decode(p.payload)
	return h, payload, err
}

// candidates are the keys that may have signed a token with this header.
type candidates struct {
	raw    string // the header as it stands in the token
	header Header
	alg    *algorithm
	keys   []candidate
}

// candidate is a key, with what was prepared of it.
type candidate struct {
	public crypto.PublicKey
	rsa    *pkcs1Key // nil: the standard library does the work
}

// choose finds the candidates for a header. The tokens of one issuer nearly all
// carry the same header, so the last choice is kept.
func (s *KeySet) choose(rawHeader string) (*candidates, error) {
	if c := s.last.Load(); c != nil && c.raw == rawHeader {
		return c, nil
	}
	h, err := parseHeader(rawHeader)
	if err != nil {
		return nil, err
	}
	alg := algorithmOf(h.Algorithm)
	if alg == nil {
		return nil, fmt.Errorf("%w: %.20q is none of RS256, RS384, RS512, PS256, ES256, ES384, ES512", ErrAlgorithm, h.Algorithm)
	}
	c := &candidates{raw: strings.Clone(rawHeader), header: h, alg: alg}
	named := false
	for i, key := range s.keys {
		if h.KeyID != "" && key.ID != h.KeyID {
			continue
		}
		named = true
		if (key.Alg == "" || key.Alg == h.Algorithm) && alg.fits(key.Public) {
			c.keys = append(c.keys, candidate{key.Public, s.rsa[i]})
		}
	}
	switch {
	case len(c.keys) > 0:
		s.last.Store(c)
		return c, nil
	case named && h.KeyID != "":
		return nil, fmt.Errorf("%w: %s does not fit the key that the token names", ErrAlgorithm, h.Algorithm)
	}
	return nil, &UnknownKeyError{KeyID: h.KeyID}
}

type parts struct{ header, payload, signature string }

func split(token string) (parts, error) {
	if len(token) > MaxTokenLen {
		return parts{}, fmt.Errorf("%w: longer than %d characters", ErrMalformed, MaxTokenLen)
	}
	header, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return parts{}, fmt.Errorf("%w: want three parts separated by dots", ErrMalformed)
	}
	if header == "" || payload == "" || signature == "" {
		return parts{}, fmt.Errorf("%w: a part is empty", ErrMalformed)
	}
	if len(header) > maxHeaderLen {
		return parts{}, fmt.Errorf("%w: header longer than %d characters", ErrMalformed, maxHeaderLen)
	}
	return parts{header, payload, signature}, nil
}

// decode takes canonical unpadded base64url only.
func decode(part string) ([]byte, error) {
	if strings.IndexByte(part, '\r') >= 0 || strings.IndexByte(part, '\n') >= 0 { // the decoder would skip them
		return nil, fmt.Errorf("%w: not base64url", ErrMalformed)
	}
	out, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, fmt.Errorf("%w: not base64url", ErrMalformed)
	}
	return out, nil
}

func parseHeader(raw string) (Header, error) {
	data, err := decode(raw)
	if err != nil {
		return Header{}, err
	}
	m, err := members(data)
	if err != nil {
		return Header{}, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	for _, name := range []string{"jku", "x5u", "x5c", "jwk", "crit"} {
		if _, ok := m[name]; ok {
			return Header{}, fmt.Errorf("%w: member %q is refused", ErrHeader, name)
		}
	}
	var h Header
	for name, into := range map[string]*string{"alg": &h.Algorithm, "kid": &h.KeyID, "typ": &h.Type} {
		if value, ok := m[name]; ok {
			if value[0] != '"' || json.Unmarshal(value, into) != nil {
				return Header{}, fmt.Errorf("%w: member %q is no string", ErrHeader, name)
			}
		}
	}
	if h.Algorithm == "" {
		return Header{}, fmt.Errorf("%w: the header names none", ErrAlgorithm)
	}
	if len(h.KeyID) > maxKeyIDLen {
		return Header{}, fmt.Errorf("%w: kid longer than %d bytes", ErrHeader, maxKeyIDLen)
	}
	return h, nil
}

// members reads one JSON object, exactly: names compare with their case, none
// may come twice, nothing may follow. encoding/json alone is laxer.
func members(data []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("not a JSON object")
		}
		if _, again := out[name]; again {
			return nil, fmt.Errorf("member %.50q comes twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errors.New("not a JSON object")
		}
		out[name] = value
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return nil, errors.New("not a JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the JSON object")
	}
	return out, nil
}

// algorithm is one of RFC 7518 section 3.1.
type algorithm struct {
	hash crypto.Hash
	bits int // of the curve; 0 for RSA
	pss  bool
}

func algorithmOf(name string) *algorithm {
	switch name {
	case "RS256":
		return &algorithm{hash: crypto.SHA256}
	case "RS384":
		return &algorithm{hash: crypto.SHA384}
	case "RS512":
		return &algorithm{hash: crypto.SHA512}
	case "PS256":
		return &algorithm{hash: crypto.SHA256, pss: true}
	case "ES256":
		return &algorithm{hash: crypto.SHA256, bits: 256}
	case "ES384":
		return &algorithm{hash: crypto.SHA384, bits: 384}
	case "ES512":
		return &algorithm{hash: crypto.SHA512, bits: 521}
	}
	return nil
}

// digest hashes what is signed. SHA-256, which nearly all tokens have, needs
// neither a state on the heap nor a copy of the token.
func (a *algorithm) digest(signed string) []byte {
	if a.hash == crypto.SHA256 {
		sum := sha256.Sum256([]byte(signed))
		return sum[:]
	}
	hash := a.hash.New()
	hash.Write([]byte(signed))
	return hash.Sum(nil)
}

func (a *algorithm) fits(key crypto.PublicKey) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return a.bits == 0
	case *ecdsa.PublicKey:
		return a.bits == key.Curve.Params().BitSize
	}
	return false
}

func (a *algorithm) verify(c candidate, digest, signature []byte) bool {
	if c.rsa != nil && !a.pss {
		return c.rsa.verify(a.hash, digest, signature)
	}
	switch key := c.public.(type) {
	case *rsa.PublicKey:
		if a.pss { // RFC 7518 section 3.5: the salt is as long as the hash
			return rsa.VerifyPSS(key, a.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(key, a.hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		size := (a.bits + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(key, digest, r, s)
	}
	return false
}
