// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webidentity

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"strings"

	"podid/internal/arn"
	"podid/internal/issuer"
)

// The documents of an account's issuer, below its URL.
const (
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/keys"
)

// discovery is what AWS wants of a provider's document. Source: IAM User
// Guide, "Create an OpenID Connect identity provider"; the authorization
// endpoint is what EKS and Kubernetes write where nobody can log in.
type discovery struct {
	Issuer        string   `json:"issuer"`
	JWKSURI       string   `json:"jwks_uri"`
	Authorization string   `json:"authorization_endpoint"`
	ResponseTypes []string `json:"response_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Claims        []string `json:"claims_supported"`
}

type jwk struct {
	Kty string `json:"kty"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Kid string `json:"kid"`
	N   string `json:"n"`
	E   string `json:"e"`
}

// Handles reports whether a path is that of one of the documents, in form.
func (p *Provider) Handles(path string) bool {
	account, document := p.split(path)
	return account != "" && document != ""
}

// split takes a path apart into account and document.
func (p *Provider) split(path string) (account, document string) {
	if p.URL == "" || !strings.HasSuffix(path, discoveryPath) && !strings.HasSuffix(path, keysPath) {
		return "", ""
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return "", ""
	}
	rest, ok := strings.CutPrefix(path, u.Path+"/")
	account, document, _ = strings.Cut(rest, "/")
	document = "/" + document
	if !ok || !arn.IsAccount(account) || document != discoveryPath && document != keysPath {
		return "", ""
	}
	return account, document
}

// ServeHTTP serves the documents to everybody, for accounts that have chosen
// this issuer. Readers fetch them often, some at every call.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	account, document := p.split(r.URL.Path)
	switch {
	case account == "" || issuer.Find(p.Store.View(), account).Kind != issuer.WebIdentity:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	var body any
	if document == keysPath {
		body = map[string][]jwk{"keys": p.publicKeys()}
	} else {
		iss := p.IssuerURL(account)
		body = discovery{
			Issuer: iss, JWKSURI: iss + keysPath, Authorization: "urn:kubernetes:programmatic_authorization", ResponseTypes: []string{"id_token"},
			SubjectTypes: []string{"public"}, Algorithms: []string{"RS256"}, Claims: []string{"iss", "aud", "sub", "iat", "exp", TagsClaim},
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	if r.Method == http.MethodGet {
		_, _ = w.Write(text) // the peer is gone: nobody is left to tell
	}
}

// publicKeys are all that may verify a token, those to come included. A record
// that cannot be read is left out: the others are good.
func (p *Provider) publicKeys() []jwk {
	out := []jwk{}
	for id, rec := range Keys.List(p.Store.View(), scope, "", "") {
		parsed, err := x509.ParsePKIXPublicKey(rec.Public)
		key, ok := parsed.(*rsa.PublicKey)
		if err != nil || !ok {
			continue
		}
		b64 := base64.RawURLEncoding
		out = append(out, jwk{"RSA", "sig", "RS256", id, b64.EncodeToString(key.N.Bytes()), b64.EncodeToString(big.NewInt(int64(key.E)).Bytes())})
	}
	return out
}
