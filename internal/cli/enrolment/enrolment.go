// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package enrolment makes the key pair that a cluster's operator brings the
// cluster's keys with: the public half for the control plane, the private half
// for one Secret in the cluster. The private half leaves the process in that
// form only, and the control plane never sees it. It signs nothing itself.
package enrolment

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
)

// The Secret that the operator reads.
const (
	SecretName = "podid-operator-enrolment"
	SecretKey  = "key"
)

// Pair is a key pair that is bound to no cluster yet. It prints as [secret].
type Pair struct{ key *ecdsa.PrivateKey }

// String hides the key.
func (*Pair) String() string { return "[secret]" }

// GoString hides the key.
func (*Pair) GoString() string { return "[secret]" }

// LogValue hides the key.
func (*Pair) LogValue() slog.Value { return slog.StringValue("[secret]") }

// New makes a pair.
func New() (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the enrolment key: %w", err)
	}
	return &Pair{key}, nil
}

// Public is the public half, a JWK.
func (p *Pair) Public() (json.RawMessage, error) {
	point, err := p.key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("write the enrolment key: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return json.Marshal(map[string]string{"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:]), "alg": "ES256", "use": "sig"})
}

// Private is the private half for the cluster, as the operator reads it.
// Source: docs/operations/enrolment.md.
func (p *Pair) Private(clusterARN, uid string) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, fmt.Errorf("write the enrolment key: %w", err)
	}
	return json.Marshal(map[string]string{
		"cluster": clusterARN, "uid": uid, "privateKey": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
}

// Read tells which key of which cluster a private half is, as Private has
// written it: the key's RFC 7638 thumbprint, which the control plane shows.
func Read(private []byte) (keyID, clusterARN, uid string, err error) {
	var in struct{ Cluster, UID, PrivateKey string }
	bad := errors.New("the Secret holds no enrolment key") // its text is a secret
	if json.Unmarshal(private, &in) != nil {
		return "", "", "", bad
	}
	block, _ := pem.Decode([]byte(in.PrivateKey))
	if block == nil || block.Type != "PRIVATE KEY" {
		return "", "", "", bad
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return "", "", "", bad
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return "", "", "", bad
	}
	encode := base64.RawURLEncoding.EncodeToString
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, encode(point[1:33]), encode(point[33:])))
	return encode(sum[:]), in.Cluster, in.UID, nil
}

// Manifest is the Secret as YAML, for kubectl apply.
func Manifest(namespace string, private []byte) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Secret
metadata:
  name: %s
  namespace: %s
type: Opaque
data:
  %s: %s
`, SecretName, namespace, SecretKey, base64.StdEncoding.EncodeToString(private))
}
