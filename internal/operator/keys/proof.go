// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// audience is what a proof says that it is for.
const audience = "podid.dev/put-cluster-keys"

// Key is the private half of an enrolment key and the cluster that it is of.
// It prints as [secret].
type Key struct {
	cluster, name, uid, id string
	key                    *ecdsa.PrivateKey
}

// String hides the key.
func (*Key) String() string { return "[secret]" }

// GoString hides the key.
func (*Key) GoString() string { return "[secret]" }

// LogValue hides the key.
func (*Key) LogValue() slog.Value { return slog.StringValue("[secret]") }

// ID is the key's RFC 7638 thumbprint, as `podid get cluster` shows it.
func (k *Key) ID() string { return k.id }

// ParseKey reads what `podid register cluster` has put into the Secret.
func ParseKey(text []byte) (*Key, error) {
	var file struct {
		Cluster    string `json:"cluster"` // ARN
		UID        string `json:"uid"`
		PrivateKey string `json:"privateKey"` // PKCS #8 in PEM
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, errors.New("read enrolment key: it is no JSON object of strings") // its text is a secret
	}
	_, name, ok := strings.Cut(file.Cluster, ":cluster/")
	if !ok || name == "" || strings.ContainsAny(name, "/?#") || file.UID == "" {
		return nil, errors.New("read enrolment key: cluster or uid is missing")
	}
	block, rest := pem.Decode([]byte(file.PrivateKey))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("read enrolment key: privateKey is not one key in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("read enrolment key: privateKey is no EC key on P-256 in PKCS #8")
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, errors.New("read enrolment key: privateKey has no point")
	}
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, encode(point[1:33]), encode(point[33:])))
	return &Key{file.Cluster, name, file.UID, encode(sum[:]), key}, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Proof signs a request: a compact JWS over what it is for, when it was made
// and the SHA-256 of its body.
func (k *Key) Proof(body []byte, at time.Time) (string, error) {
	sum := sha256.Sum256(body)
	payload, err := json.Marshal(struct {
		Audience string `json:"aud"`
		Cluster  string `json:"sub"`
		UID      string `json:"uid"`
		IssuedAt int64  `json:"issuedAtMs"`
		Body     string `json:"bodySha256"`
	}{audience, k.cluster, k.uid, at.UnixMilli(), hex.EncodeToString(sum[:])})
	if err != nil {
		return "", fmt.Errorf("write proof: %w", err)
	}
	signed := encode(fmt.Appendf(nil, `{"alg":"ES256","kid":%q}`, k.id)) + "." + encode(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, k.key, digest[:])
	if err != nil {
		return "", fmt.Errorf("sign proof: %w", err)
	}
	var signature [64]byte // RFC 7518 section 3.4
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature[:]), nil
}
