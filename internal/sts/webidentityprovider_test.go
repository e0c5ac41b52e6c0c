// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"podid/internal/controlplane/controlplanetest/roomstest"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/jwks"
	"podid/internal/jwt/jwttest"
	"podid/internal/session"
	"podid/internal/store"
	"podid/internal/sts"
)

const (
	idpHost  = "idp.example.com/realms/a"
	idpARN   = "arn:aws:iam::" + roomstest.Account + ":oidc-provider/" + idpHost
	tagClaim = "https://aws.amazon.com/tags"
)

// idp is an OIDC provider that is registered in a world.
type idp struct {
	*iam.OIDCProvider
	w       *roomstest.World
	keys    map[string]*ecdsa.PrivateKey
	more    []any // keys of other kinds that it publishes
	fetches int
	failing error
	ahead   time.Duration
}

func newIDP(t *testing.T, w *roomstest.World) *idp {
	t.Helper()
	p := &idp{w: w, keys: map[string]*ecdsa.PrivateKey{}, OIDCProvider: &iam.OIDCProvider{
		ID: "one", Partition: "aws", Account: roomstest.Account, URL: idpHost, ClientIDs: []string{"app", "other-app"}, Created: w.Now(),
	}}
	p.rotate(t, "k1")
	p.put()
	w.STS.Providers = &sts.ProviderKeys{Now: p.now, Fetch: p.fetch}
	w.STS.Now = p.now
	return p
}

func (p *idp) now() time.Time { return p.w.Now().Add(p.ahead) }

func (p *idp) put() {
	p.w.Update(func(tx *store.Tx) {
		iam.OIDCProviders.Put(tx, store.Scope{Account: roomstest.Account, Region: store.Global}, p.URL, p.OIDCProvider)
	})
}

func (p *idp) rotate(t *testing.T, kid string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	clear(p.keys)
	p.keys[kid] = key
}

func (p *idp) fetch(_ context.Context, issuer string, _ []string) ([]byte, error) {
	p.fetches++
	if p.failing != nil {
		return nil, p.failing
	}
	if issuer != "https://"+idpHost {
		return nil, errors.New("another issuer: " + issuer)
	}
	set := []any{}
	for kid, key := range p.keys {
		set = append(set, jose.JSONWebKey{Key: key.Public(), KeyID: kid, Use: "sig"})
	}
	return json.Marshal(map[string]any{"keys": append(set, p.more...)})
}

// token signs good claims with changes; a nil value takes a claim away.
func (p *idp) token(t *testing.T, change map[string]any) string {
	t.Helper()
	now := p.now()
	claims := map[string]any{"iss": p.Issuer(), "sub": "user-1", "aud": "app", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	for kid, key := range p.keys {
		return jwttest.Sign(t, jose.ES256, jose.JSONWebKey{Key: key, KeyID: kid}, nil, payload)
	}
	t.Fatal("no key")
	return ""
}

func trustIDP(actions, conditions string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"` + idpARN + `"},"Action":[` + actions + `],"Condition":{` + conditions + `}}}`
}

const (
	webAction  = `"sts:AssumeRoleWithWebIdentity"`
	allActions = webAction + `,"sts:TagSession","sts:SetSourceIdentity"`
)

func TestProviderIdentity(t *testing.T) {
	w := roomstest.New(t)
	p := newIDP(t, w)
	plain := w.Role("plain", trustIDP(webAction, `"StringEquals":{"`+idpHost+`:sub":"user-1","`+idpHost+`:aud":"app"}`), "", nil)
	tagged := w.Role("tagged", trustIDP(allActions, `"StringEquals":{"aws:RequestTag/team":"blue"}`), "", nil)
	anything := w.Role("anything", trustIDP(allActions, ``), "", nil)
	amr := w.Role("amr", trustIDP(webAction, `"ForAnyValue:StringEquals":{"`+idpHost+`:amr":"mfa"}`), "", nil)
	oaud := w.Role("oaud", trustIDP(webAction, `"StringEquals":{"`+idpHost+`:aud":"other-app","`+idpHost+`:azp":"other-app","`+idpHost+`:oaud":"x"}`), "", nil)
	nested := func(tags map[string]any, keys ...string) map[string]any {
		return map[string]any{tagClaim: map[string]any{"principal_tags": tags, "transitive_tag_keys": keys}}
	}
	blue := map[string]any{"team": []string{"blue"}}
	unix := func(d time.Duration) int64 { return w.Now().Add(d).Unix() }
	for _, tc := range []struct {
		name   string
		role   *iam.Role
		change map[string]any
		kind   fault.Kind
		reason string // "" = allowed
	}{
		{"good", plain, nil, 0, ""},
		{"audiences", plain, map[string]any{"aud": []string{"x", "app"}}, 0, ""},
		{"another subject", plain, map[string]any{"sub": "user-2"}, fault.AccessDenied, "trust-policy-denied"},
		{"another audience that is known", plain, map[string]any{"aud": "other-app"}, fault.AccessDenied, "trust-policy-denied"},
		{"an unknown audience", plain, map[string]any{"aud": "x"}, fault.InvalidToken, "token-audience"},
		{"a pod's token for EKS Auth", anything, map[string]any{"aud": []string{"app", "pods.eks.amazonaws.com"}}, fault.InvalidToken, "token-audience"},
		{"azp is the audience", oaud, map[string]any{"aud": "x", "azp": "other-app"}, 0, ""},
		{"azp unknown", anything, map[string]any{"aud": "app", "azp": "y"}, fault.InvalidToken, "token-audience"},
		{"amr", amr, map[string]any{"amr": []string{"pwd", "mfa"}}, 0, ""},
		{"amr of one", amr, map[string]any{"amr": "mfa"}, 0, ""},
		{"no amr", amr, nil, fault.AccessDenied, "trust-policy-denied"},
		{"expired", plain, map[string]any{"iat": unix(-2 * time.Hour), "exp": unix(-time.Hour)}, fault.ExpiredToken, "token-expired"},
		{"issued later", plain, map[string]any{"iat": unix(time.Hour), "exp": unix(2 * time.Hour)}, fault.InvalidToken, "token-not-yet-valid"},
		{"begins later", plain, map[string]any{"nbf": unix(time.Hour)}, fault.InvalidToken, "token-not-yet-valid"},
		{"lives too long", plain, map[string]any{"exp": unix(25 * time.Hour)}, fault.InvalidToken, "token-life-too-long"},
		{"no sub", plain, map[string]any{"sub": nil}, fault.InvalidToken, "token-claim-missing"},
		{"no aud", plain, map[string]any{"aud": nil}, fault.InvalidToken, "token-claim-missing"},
		{"no exp", plain, map[string]any{"exp": nil}, fault.InvalidToken, "token-claim-missing"},
		{"no iat", plain, map[string]any{"iat": nil}, fault.InvalidToken, "token-claim-missing"},
		{"exp no number", plain, map[string]any{"exp": "soon"}, fault.InvalidToken, "token-malformed"},
		{"another issuer", plain, map[string]any{"iss": "https://idp.example.com"}, fault.InvalidToken, "token-issuer"},
		{"tags", tagged, nested(blue, "team"), 0, ""},
		{"tags, flat", tagged, map[string]any{tagClaim + "/principal_tags/team": "blue", tagClaim + "/transitive_tag_keys": []string{"team"}}, 0, ""},
		{"tags not demanded", tagged, nested(map[string]any{"team": []string{"red"}}), fault.AccessDenied, "trust-policy-denied"},
		{"tags without sts:TagSession", plain, nested(blue), fault.AccessDenied, "trust-policy-denied-tag-session"},
		{"two values", anything, nested(map[string]any{"team": []string{"blue", "red"}}), fault.IdPRejected, "token-claim-rejected"},
		{"no value", anything, nested(map[string]any{"team": []string{}}), fault.IdPRejected, "token-claim-rejected"},
		{"a number", anything, nested(map[string]any{"team": []int{1}}), fault.IdPRejected, "token-claim-rejected"},
		{"transitive key without tag", anything, nested(blue, "x"), fault.IdPRejected, "token-claim-rejected"},
		{"reserved key", anything, nested(map[string]any{"aws:x": []string{"a"}}), fault.IdPRejected, "token-claim-rejected"},
		{"keys that differ in case", anything, nested(map[string]any{"team": []string{"a"}, "Team": []string{"b"}}), fault.IdPRejected, "token-claim-rejected"},
		{"bad character", anything, nested(map[string]any{"team": []string{"a!"}}), fault.IdPRejected, "token-claim-rejected"},
		{"long value", anything, nested(map[string]any{"team": []string{strings.Repeat("a", 257)}}), fault.IdPRejected, "token-claim-rejected"},
		{"tags no object", anything, map[string]any{tagClaim: "team"}, fault.IdPRejected, "token-claim-rejected"},
		{"source identity", anything, map[string]any{"https://aws.amazon.com/source_identity": "ann"}, 0, ""},
		{"source identity not allowed", plain, map[string]any{"https://aws.amazon.com/source_identity": "ann"}, fault.AccessDenied, "trust-policy-denied-source-identity"},
		{"source identity with a space", anything, map[string]any{"https://aws.amazon.com/source_identity": "a b"}, fault.IdPRejected, "token-claim-rejected"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := w.STS.AssumeRoleWithWebIdentity(t.Context(), web(tc.role.ARN(), p.token(t, tc.change)))
			if tc.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				if out.Provider != idpARN || out.Session.FederatedProvider != idpARN || out.Session.Node != (session.Node{}) || out.Subject != "user-1" {
					t.Errorf("answer = %+v, session %+v", out, out.Session)
				}
				return
			}
			if f := fault.As(err); f.Kind != tc.kind || f.Reason != tc.reason {
				t.Errorf("err = %v (%v, %s), want %v, %s", err, f.Kind, f.Reason, tc.kind, tc.reason)
			}
		})
	}
	if p.fetches != 1 {
		t.Errorf("%d fetches, want 1", p.fetches)
	}
}

func TestProviderSessionCarriesClaims(t *testing.T) {
	w := roomstest.New(t)
	p := newIDP(t, w)
	r := w.Role("r", trustIDP(allActions, ``), "", nil)
	out, err := w.STS.AssumeRoleWithWebIdentity(t.Context(), web(r.ARN(), p.token(t, map[string]any{
		"azp": "app", "aud": []string{"x", "y"}, "https://aws.amazon.com/source_identity": "ann",
		tagClaim: map[string]any{"principal_tags": map[string]any{"team": []string{"blue"}, "cost": []string{"1"}}, "transitive_tag_keys": []string{"Team"}},
	})))
	if err != nil {
		t.Fatal(err)
	}
	want := []session.Tag{{Key: "cost", Value: "1"}, {Key: "team", Value: "blue", Transitive: true}}
	if !slices.Equal(out.Session.Tags, want) || out.Session.SourceIdentity != "ann" || out.Audience != "app" {
		t.Errorf("session = %+v, audience %s", out.Session, out.Audience)
	}
}

// TestProviderKeys: nothing is fetched before the first token, an unknown key
// is looked for once in 30 seconds, and what was fetched outlives an outage.
func TestProviderKeys(t *testing.T) {
	w := roomstest.New(t)
	p := newIDP(t, w)
	r := w.Role("r", trustIDP(webAction, ``), "", nil)
	ask := func(token string) error {
		_, err := w.STS.AssumeRoleWithWebIdentity(t.Context(), web(r.ARN(), token))
		return err
	}
	want := func(what string, err error, kind fault.Kind, reason string, fetches int) {
		t.Helper()
		if reason == "" && err != nil || reason != "" && (fault.As(err).Kind != kind || fault.As(err).Reason != reason) {
			t.Errorf("%s: err = %v (%s), want %s", what, err, fault.As(err).Reason, reason)
		}
		if p.fetches != fetches {
			t.Errorf("%s: %d fetches, want %d", what, p.fetches, fetches)
		}
	}
	p.failing = errors.New("no route")
	want("unreachable", ask(p.token(t, nil)), fault.IdPUnavailable, "idp-unreachable", 1)
	p.failing = nil
	want("too soon", ask(p.token(t, nil)), fault.IdPUnavailable, "idp-unreachable", 1)
	p.ahead += jwks.MinInterval
	p.more = []any{map[string]any{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, map[string]any{"kty": "oct", "k": "AAAA"}}
	want("reachable", ask(p.token(t, nil)), 0, "", 2)
	p.rotate(t, "k2")
	want("rotated, too soon", ask(p.token(t, nil)), fault.InvalidToken, "token-unknown-key", 2)
	p.ahead += jwks.MinInterval
	want("rotated", ask(p.token(t, nil)), 0, "", 3)
	p.ahead += 20 * time.Minute
	p.failing = errors.New("no route")
	want("stale, unreachable", ask(p.token(t, nil)), 0, "", 4)
	p.ahead += 24 * time.Hour
	want("old, unreachable", ask(p.token(t, nil)), fault.IdPUnavailable, "idp-unreachable", 5)
	p.failing = jwks.ErrThumbprint
	p.ahead += jwks.MinInterval
	want("certificate", ask(p.token(t, nil)), fault.InvalidToken, "idp-thumbprint", 6)
	p.failing = jwks.ErrIssuer
	p.ahead += jwks.MinInterval
	want("document", ask(p.token(t, nil)), fault.InvalidToken, "idp-document", 7)
	p.failing = nil
	p.ahead += jwks.MinInterval
	signed, kept := p.token(t, nil), maps.Clone(p.keys)
	clear(p.keys)
	want("no usable key", ask(signed), fault.InvalidToken, "idp-document", 8)
	p.keys = kept
	p.Thumbprints = []string{strings.Repeat("a", 40)}
	p.put()
	want("other thumbprints", ask(p.token(t, nil)), 0, "", 9)
	good := p.token(t, nil)
	want("tampered", ask(good[:len(good)-4]+"AAAA"), fault.InvalidToken, "token-signature", 9)
	p.w.Update(func(tx *store.Tx) {
		iam.OIDCProviders.Delete(tx, store.Scope{Account: roomstest.Account, Region: store.Global}, p.URL)
	})
	want("deleted", ask(good), fault.InvalidToken, "token-issuer", 9)
}

// TestProviderBesideCluster: a provider may be registered for the issuer of a
// cluster, as tools for IRSA do. The cluster's tokens stay the cluster's; what
// it refuses is the provider's to judge, but for those that must be refused.
func TestProviderBesideCluster(t *testing.T) {
	w := roomstest.New(t)
	p := newIDP(t, w)
	c := w.Cluster("my-cluster", nil)
	host := strings.TrimPrefix(roomstest.Issuer, "https://")
	p.URL = host
	p.ClientIDs = []string{"vault", sts.AudienceSTS, "pods.eks.amazonaws.com"}
	p.put()
	p.w.STS.Providers = &sts.ProviderKeys{Now: p.now, Fetch: func(context.Context, string, []string) ([]byte, error) {
		p.fetches++
		return c.JWKS, nil
	}}
	r := w.Role("r", ofIssuer(sts.AudienceSTS), "", nil)
	vault := w.Role("vault", ofIssuer("vault"), "", nil)
	out, err := w.STS.AssumeRoleWithWebIdentity(t.Context(), web(r.ARN(), c.Sign(c.Claims(sts.AudienceSTS))))
	if err != nil || out.Session.Node.Name != "node-1" || p.fetches != 0 {
		t.Errorf("by the cluster: %v, %d fetches", err, p.fetches)
	}
	out, err = w.STS.AssumeRoleWithWebIdentity(t.Context(), web(vault.ARN(), c.Sign(c.Claims("vault"))))
	if err != nil || out.Session.Node.Name != "" || p.fetches != 1 {
		t.Errorf("by the provider: %v, %d fetches", err, p.fetches)
	}
	_, err = w.STS.AssumeRoleWithWebIdentity(t.Context(), web(vault.ARN(), c.Sign(c.Claims("pods.eks.amazonaws.com"))))
	if fault.As(err).Reason != "token-audience" {
		t.Errorf("a pod's token: %v", err)
	}
}
