// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package webidentity owns podid as an OpenID Connect provider: the RSA keys
// that sign tokens for pods (sealed in the store, rotated), the tokens, and the
// discovery document and key set that AWS reads to check them. With such a
// token a role is assumed by AssumeRoleWithWebIdentity, so no credentials of
// AWS' are needed anywhere. Each account is an issuer of its own below one
// public URL. It stands below awssts, which makes the calls. It refuses to sign
// with a key that its readers cannot have seen, and serves nothing for accounts
// that have not chosen it.
package webidentity

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"podid/internal/fault"
	"podid/internal/secret"
	"podid/internal/session"
	"podid/internal/store"
)

// TokenLife is how long a token is good. It is used once, at once.
const TokenLife = 5 * time.Minute

// MaxSubject is the longest subject that STS takes, by its API model
// (SubjectFromWebIdentityToken).
const MaxSubject = 255

// TagsClaim is the claim that STS takes session tags from. Source: IAM User
// Guide, "Passing session tags using AssumeRoleWithWebIdentity".
const TagsClaim = "https://aws.amazon.com/tags"

// Sealer protects keys at rest. aad binds a sealed value to its record.
type Sealer interface {
	Seal(plaintext, aad []byte) ([]byte, error)
	Open(sealed, aad []byte) ([]byte, error)
}

// Provider is the OpenID Connect provider of an installation. All fields are
// required; with an empty URL it issues nothing.
type Provider struct {
	Store     store.Store
	Sealer    Sealer
	Now       func() time.Time
	Rand      io.Reader
	URL       string // https, without a slash at the end; below it each account's issuer
	Partition string

	opened openedKeys
}

// IssuerURL is the iss of an account's tokens.
func (p *Provider) IssuerURL(account string) string { return p.URL + "/" + account }

// ProviderARN is the name that IAM has for an account's issuer: what trust
// policies name.
func (p *Provider) ProviderARN(account string) (string, error) {
	if p.URL == "" {
		return "", notSet()
	}
	return "arn:" + p.Partition + ":iam::" + account + ":oidc-provider/" + strings.TrimPrefix(p.IssuerURL(account), "https://"), nil
}

func notSet() error {
	return fault.New(fault.Unavailable, "The server has no public issuer URL, and cannot issue tokens: set oidc-issuer-url.").WithReason("oidc-issuer-url-missing")
}

// claims of a token. Source: AWS' rules for OIDC providers (iss, aud, sub, iat,
// exp) and for session tags.
type claims struct {
	Issuer   string     `json:"iss"`
	Audience string     `json:"aud"`
	Subject  string     `json:"sub"`
	Issued   int64      `json:"iat"`
	Expires  int64      `json:"exp"`
	ID       string     `json:"jti"`
	Tags     *tagsClaim `json:"https://aws.amazon.com/tags,omitempty"`
}

type tagsClaim struct {
	PrincipalTags     map[string][]string `json:"principal_tags"`
	TransitiveTagKeys []string            `json:"transitive_tag_keys"`
}

// Token signs a token of the account's issuer.
func (p *Provider) Token(account, audience, subject string, tags []session.Tag) (secret.String, error) {
	if p.URL == "" {
		return secret.String{}, notSet()
	}
	if len(subject) > MaxSubject {
		return secret.String{}, fault.New(fault.InvalidRequest, "The names of cluster, namespace and service account are together too long for a token's subject of %d characters.", MaxSubject).
			WithReason("subject-too-long")
	}
	kid, key, err := p.primary()
	if err != nil {
		return secret.String{}, err
	}
	var id [16]byte
	if _, err := io.ReadFull(p.Rand, id[:]); err != nil {
		return secret.String{}, fmt.Errorf("read randomness: %w", err)
	}
	now := p.Now()
	c := claims{
		Issuer: p.IssuerURL(account), Audience: audience, Subject: subject, Issued: now.Unix(), Expires: now.Add(TokenLife).Unix(),
		ID: hex.EncodeToString(id[:]), Tags: newTags(tags),
	}
	return sign(kid, key, c)
}

func newTags(tags []session.Tag) *tagsClaim {
	if len(tags) == 0 {
		return nil
	}
	out := &tagsClaim{PrincipalTags: make(map[string][]string, len(tags))}
	for _, t := range tags {
		out.PrincipalTags[t.Key] = []string{t.Value}
		if t.Transitive {
			out.TransitiveTagKeys = append(out.TransitiveTagKeys, t.Key)
		}
	}
	return out
}

// sign makes an RS256 JWT: of what AWS accepts, what everybody else does too.
func sign(kid string, key *rsa.PrivateKey, c claims) (secret.String, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return secret.String{}, fmt.Errorf("encode claims: %w", err)
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString([]byte(`{"alg":"RS256","kid":"`+kid+`","typ":"JWT"}`)) + "." + b64.EncodeToString(payload)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		return secret.String{}, fmt.Errorf("sign token: %w", err)
	}
	return secret.New(signed + "." + b64.EncodeToString(signature)), nil
}
