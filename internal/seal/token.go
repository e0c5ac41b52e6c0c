// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
)

const (
	tokenVersion = 1
	tokenHeader  = 1 + 4 + saltSize
	secretBytes  = 30 // 40 base64 characters, as AWS' secret access keys have

	infoToken  = "token/v1"
	infoSecret = "secret/v1"

	accessKeyPrefix = "ASIA"
	longLivedPrefix = "AKIA"
	accessKeyLen    = 20
	accountBytes    = 5 // 12 decimal digits need 40 bits

	// MaxTokenLen is the longest session token in characters.
	MaxTokenLen = 4096
	// TokenOverhead is what a token has beside its payload, in bytes, before all
	// of it is written in base64.
	TokenOverhead = tokenHeader + tagSize
	// MaxPayload is the longest payload that fits into a session token, in bytes.
	MaxPayload = MaxTokenLen/4*3 - TokenOverhead
)

// TokenKey seals session tokens: one root for the tokens' keys, one for the
// secret access keys. It cannot print itself. The zero value opens nothing.
type TokenKey struct {
	// ID names the key in every token that it sealed; it is public.
	ID uint32
	k  *tokenKey
}

type tokenKey struct{ token, secret [keySize]byte }

// NewTokenKey makes a key of its two roots, each 32 random bytes. The id names
// it in tokens, so it may belong to no other key.
func NewTokenKey(id uint32, token, secret []byte) (TokenKey, error) {
	if len(token) != keySize || len(secret) != keySize {
		return TokenKey{}, fmt.Errorf("token key %08x: roots have %d and %d bytes, want %d each", id, len(token), len(secret), keySize)
	}
	return TokenKey{ID: id, k: &tokenKey{[keySize]byte(token), [keySize]byte(secret)}}, nil
}

// String names the key by its id.
func (k TokenKey) String() string { return fmt.Sprintf("token key %08x", k.ID) }

// GoString is String.
func (k TokenKey) GoString() string { return k.String() }

// LogValue is String.
func (k TokenKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Sealed is a set of temporary credentials.
type Sealed struct {
	AccessKeyID     string // ASIA and 16 characters of base32: account number and token salt
	SecretAccessKey string // 40 characters of base64
	Token           string // at most MaxTokenLen characters of base64
}

// String shows the access key id only.
func (s Sealed) String() string { return s.AccessKeyID + " " + hidden }

// GoString is String.
func (s Sealed) GoString() string { return s.String() }

// LogValue is String.
func (s Sealed) LogValue() slog.Value { return slog.StringValue(s.String()) }

// SealToken makes temporary credentials whose token carries payload:
//
//	version(1) | key id(4) | salt(16) | AES-256-GCM(subkey, payload) | tag(16)
//
// The token opens only together with its access key id and the same aad, which
// the caller makes of issuer and partition. accountID is 12 digits.
func SealToken(k TokenKey, random io.Reader, accountID string, aad, payload []byte) (Sealed, error) {
	if k.k == nil {
		return Sealed{}, fmt.Errorf("seal token: %w", ErrOtherKey)
	}
	if len(payload) > MaxPayload {
		return Sealed{}, fmt.Errorf("seal token: %w: %d bytes, at most %d", ErrTooLong, len(payload), MaxPayload)
	}
	account, err := packAccount(accountID)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal token: %w", err)
	}
	raw := make([]byte, tokenHeader, tokenHeader+len(payload)+tagSize)
	raw[0] = tokenVersion
	binary.BigEndian.PutUint32(raw[1:], k.ID)
	salt := raw[5:tokenHeader]
	if err := readRandom(random, salt); err != nil {
		return Sealed{}, err
	}
	accessKeyID := accessKeyID(account, salt)
	key := k.subkey(salt)
	aead, err := gcm(key[:])
	if err != nil {
		return Sealed{}, err
	}
	var nonce [12]byte
	raw = aead.Seal(raw, nonce[:], payload, tokenAAD(raw, accessKeyID, aad))
	return Sealed{AccessKeyID: accessKeyID, SecretAccessKey: k.secretAccessKey(salt), Token: encode(raw)}, nil
}

// TokenKeyID returns the id of the key that a token claims to be sealed under.
func TokenKeyID(token string) (uint32, error) {
	if len(token) < 8 {
		return 0, ErrMalformed
	}
	head, err := decodeToken(token[:8])
	if err != nil {
		return 0, err
	}
	if len(head) != 6 { // it ends in padding: a token that is over already
		return 0, ErrMalformed
	}
	if head[0] != tokenVersion {
		return 0, ErrVersion
	}
	return binary.BigEndian.Uint32(head[1:]), nil
}

// OpenToken opens a token with the key that TokenKeyID names and returns its
// payload and the secret access key that goes with it. ErrNotAuthentic covers
// an altered token, another access key id, issuer or partition.
func OpenToken(k TokenKey, token, accessKeyID string, aad []byte) (payload []byte, secretAccessKey string, err error) {
	if len(token) > MaxTokenLen || len(accessKeyID) != accessKeyLen {
		return nil, "", ErrMalformed
	}
	raw, err := decodeToken(token)
	if err != nil {
		return nil, "", err
	}
	if len(raw) == 0 || raw[0] != tokenVersion {
		return nil, "", ErrVersion
	}
	if len(raw) < tokenHeader+tagSize {
		return nil, "", ErrMalformed
	}
	if k.k == nil || binary.BigEndian.Uint32(raw[1:]) != k.ID {
		return nil, "", ErrOtherKey
	}
	salt := raw[5:tokenHeader]
	key := k.subkey(salt)
	aead, err := gcm(key[:])
	if err != nil {
		return nil, "", err
	}
	var nonce [12]byte
	payload, err = aead.Open(raw[tokenHeader:tokenHeader], nonce[:], raw[tokenHeader:], tokenAAD(raw, accessKeyID, aad)) // in place
	if err != nil {
		return nil, "", ErrNotAuthentic
	}
	return payload, k.secretAccessKey(salt), nil
}

// canonical takes one spelling of what it decodes.
var canonical = base64.StdEncoding.Strict()

// decodeToken takes canonical standard base64 only: one token has one spelling.
func decodeToken(token string) ([]byte, error) {
	if strings.IndexByte(token, '\r') >= 0 || strings.IndexByte(token, '\n') >= 0 { // the decoder would skip them
		return nil, ErrMalformed
	}
	raw, err := canonical.DecodeString(token)
	if err != nil {
		return nil, ErrMalformed
	}
	return raw, nil
}

func (k TokenKey) subkey(salt []byte) [keySize]byte { return expand(k.k.token[:], infoToken, salt) }

func (k TokenKey) secretAccessKey(salt []byte) string {
	raw := expand(k.k.secret[:], infoSecret, salt)
	return encode(raw[:secretBytes])
}

// encode is base64 with one allocation, for what an ordinary token is.
func encode(raw []byte) string {
	var stack [1024]byte
	return string(base64.StdEncoding.AppendEncode(stack[:0], raw))
}

// tokenAAD is version, key id, access key id (of fixed length) and the caller's aad.
func tokenAAD(raw []byte, accessKeyID string, aad []byte) []byte {
	out := make([]byte, 0, 5+accessKeyLen+len(aad))
	out = append(out, raw[:5]...)
	out = append(out, accessKeyID...)
	return append(out, aad...)
}

func packAccount(accountID string) (out [accountBytes]byte, err error) {
	n, err := strconv.ParseUint(accountID, 10, 64)
	if err != nil || len(accountID) != 12 {
		return out, fmt.Errorf("account id is not 12 digits")
	}
	var wide [8]byte
	binary.BigEndian.PutUint64(wide[:], n)
	copy(out[:], wide[8-accountBytes:])
	return out, nil
}

func accessKeyID(account [accountBytes]byte, salt []byte) string {
	raw := append(account[:], salt[:accountBytes]...)
	return accessKeyPrefix + base32.StdEncoding.EncodeToString(raw)
}

// AccountID returns the account number that a temporary access key id carries;
// false when it is not one of ours in form. It proves nothing about the key.
func AccountID(accessKeyID string) (string, bool) {
	if !strings.HasPrefix(accessKeyID, accessKeyPrefix) {
		return "", false
	}
	return AccessKeyAccount(accessKeyID)
}

// AccessKeyAccount is AccountID for the ids of long-lived keys (AKIA…) as well,
// which carry the account in the same place.
func AccessKeyAccount(accessKeyID string) (string, bool) {
	encoded, ok := strings.CutPrefix(accessKeyID, accessKeyPrefix)
	if !ok {
		encoded, ok = strings.CutPrefix(accessKeyID, longLivedPrefix)
	}
	if !ok || len(accessKeyID) != accessKeyLen {
		return "", false
	}
	var raw [2*accountBytes + 1]byte
	if n, err := base32.StdEncoding.Decode(raw[:], []byte(encoded)); err != nil || n != 2*accountBytes { // line ends are skipped, so count
		return "", false
	}
	var wide [8]byte
	copy(wide[8-accountBytes:], raw[:accountBytes])
	n := binary.BigEndian.Uint64(wide[:])
	if n > 999_999_999_999 {
		return "", false
	}
	var text [13]byte
	return string(strconv.AppendUint(text[:0], n+1_000_000_000_000, 10)[1:]), true
}
