// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package satoken_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"podid/internal/jwt"
	"podid/internal/jwt/jwttest"
	"podid/internal/satoken"
)

const (
	issuer   = "https://oidc.example.com/id/0123456789ABCDEF"
	audience = "pods.eks.amazonaws.com"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

type object = map[string]any

// claims are those of a projected token of Kubernetes 1.33.
func claims() object {
	return object{
		"iss": issuer, "aud": []string{audience}, "sub": "system:serviceaccount:s3-app-ns:s3-app-sa", "jti": "0b2d4cb5-2c8b-4b6f-9a74-0d7a3e3c7a11",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(),
		"kubernetes.io": object{
			"namespace":      "s3-app-ns",
			"serviceaccount": object{"name": "s3-app-sa", "uid": "11111111-1111-1111-1111-111111111111"},
			"pod":            object{"name": "s3-app-0", "uid": "22222222-2222-2222-2222-222222222222"},
			"node":           object{"name": "node-1", "uid": "33333333-3333-3333-3333-333333333333"},
		},
	}
}

func kubernetes(c object) object { return c["kubernetes.io"].(object) }

func sign(t testing.TB, key *rsa.PrivateKey, payload any) string {
	t.Helper()
	raw, ok := payload.(string)
	if !ok {
		data, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		raw = string(data)
	}
	return jwttest.Sign(t, jose.RS256, key, map[jose.HeaderKey]any{"kid": "k"}, []byte(raw))
}

func params(t testing.TB) satoken.Params {
	t.Helper()
	keys, err := jwt.NewKeySet(jwt.Key{ID: "k", Public: signingKey().Public()})
	if err != nil {
		t.Fatal(err)
	}
	return satoken.Params{Keys: keys, Issuer: issuer, Audience: audience, RequirePod: true, Now: func() time.Time { return now }}
}

func TestVerify(t *testing.T) {
	c, err := satoken.Verify(sign(t, signingKey(), claims()), params(t))
	if err != nil {
		t.Fatal(err)
	}
	if c.Namespace != "s3-app-ns" || c.ServiceAccount != "s3-app-sa" || c.PodName != "s3-app-0" || c.NodeName != "node-1" ||
		!strings.HasPrefix(c.PodUID, "2222") || !strings.HasPrefix(c.NodeUID, "3333") || !strings.HasPrefix(c.ServiceAccountUID, "1111") ||
		c.Issuer != issuer || c.ID == "" || !c.IssuedAt.Equal(now) || !c.NotBefore.Equal(now) || !c.Expires.Equal(now.Add(24*time.Hour)) {
		t.Errorf("claims = %+v", c)
	}
}

func TestRules(t *testing.T) {
	cases := []struct {
		name string
		edit func(object)
		want string
	}{
		{"audience as a string", func(c object) { c["aud"] = audience }, ""},
		{"several audiences", func(c object) { c["aud"] = []string{"x", audience} }, ""},
		{"no node (before 1.32)", func(c object) { delete(kubernetes(c), "node") }, ""},
		{"no nbf", func(c object) { delete(c, "nbf") }, ""},
		{"dotted account", func(c object) {
			kubernetes(c)["serviceaccount"], c["sub"] = object{"name": "a.b-c.d"}, "system:serviceaccount:s3-app-ns:a.b-c.d"
		}, ""},
		{"fractions of seconds", func(c object) { c["exp"] = float64(now.Unix()) + 600.5 }, ""},
		{"expired within the leeway", func(c object) { c["iat"], c["exp"] = now.Unix()-600, now.Unix()-60 }, ""},
		{"early within the leeway", func(c object) { c["iat"], c["nbf"] = now.Unix()+60, now.Unix()+60 }, ""},
		{"expired", func(c object) { c["iat"], c["exp"] = now.Unix()-600, now.Unix()-61 }, "token-expired"},
		{"nbf ahead", func(c object) { c["nbf"] = now.Unix() + 61 }, "token-not-yet-valid"},
		{"iat ahead", func(c object) { c["iat"] = now.Unix() + 61 }, "token-not-yet-valid"},
		{"lives too long", func(c object) { c["exp"] = now.Unix() + 86400 + 11 }, "token-life-too-long"},
		{"no exp", func(c object) { delete(c, "exp") }, "token-malformed"},
		{"no iat", func(c object) { delete(c, "iat") }, "token-malformed"},
		{"exp a string", func(c object) { c["exp"] = "1" }, "token-malformed"},
		{"exp beyond time", func(c object) { c["exp"] = 1e300 }, "token-malformed"},
		{"exp negative", func(c object) { c["exp"] = -1 }, "token-malformed"},
		{"ends before it begins", func(c object) { c["exp"] = now.Unix() - 1 }, "token-malformed"},
		{"another issuer", func(c object) { c["iss"] = issuer + "/" }, "token-issuer"},
		{"no issuer", func(c object) { delete(c, "iss") }, "token-issuer"},
		{"another audience", func(c object) { c["aud"] = []string{"sts.amazonaws.com"} }, "token-audience"},
		{"no audience", func(c object) { delete(c, "aud") }, "token-audience"},
		{"audience a number", func(c object) { c["aud"] = 1 }, "token-malformed"},
		{"too many audiences", func(c object) { c["aud"] = strings.Split(strings.Repeat(audience+",", 65), ",") }, "token-malformed"},
		{"sub of another account", func(c object) { c["sub"] = "system:serviceaccount:s3-app-ns:other" }, "token-subject"},
		{"sub of another namespace", func(c object) { c["sub"] = "system:serviceaccount:kube-system:s3-app-sa" }, "token-subject"},
		{"sub of a node", func(c object) { c["sub"] = "system:node:n" }, "token-subject"},
		{"separator in the namespace", func(c object) {
			kubernetes(c)["namespace"], c["sub"] = "a:b", "system:serviceaccount:a:b:s3-app-sa"
		}, "token-subject"},
		{"slash in the account", func(c object) {
			kubernetes(c)["serviceaccount"], c["sub"] = object{"name": "a/b"}, "system:serviceaccount:s3-app-ns:a/b"
		}, "token-subject"},
		{"legacy token", func(c object) { delete(c, "kubernetes.io") }, "token-subject"},
		{"no pod", func(c object) { delete(kubernetes(c), "pod") }, "token-not-pod-bound"},
		{"bound to a secret", func(c object) { delete(kubernetes(c), "pod"); kubernetes(c)["secret"] = object{"name": "s"} }, "token-not-pod-bound"},
		{"pod without uid", func(c object) { kubernetes(c)["pod"] = object{"name": "p"} }, "token-not-pod-bound"},
		{"impossible pod", func(c object) { kubernetes(c)["pod"] = object{"name": "P/x", "uid": "u"} }, "token-malformed"},
		{"impossible uid", func(c object) { kubernetes(c)["pod"] = object{"name": "p", "uid": "u u"} }, "token-malformed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			body := claims()
			c.edit(body)
			token := sign(t, signingKey(), body)
			got, err := satoken.Verify(token, params(t))
			check(t, token, got, err, c.want)
		})
	}
}

func check(t *testing.T, token string, got satoken.Claims, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("Verify = %v", err)
		}
		return
	}
	var e *satoken.Error
	if !errors.As(err, &e) || e.Reason != want || got.Subject != "" {
		t.Fatalf("Verify = %v, want reason %s", err, want)
	}
	if errors.Is(err, satoken.ErrExpired) != (want == "token-expired") || errors.Is(err, satoken.ErrInvalid) == (want == "token-expired") {
		t.Errorf("wrong kind of %v", err)
	}
	if strings.Contains(err.Error(), "s3-app") || token != "" && strings.Contains(err.Error(), token) {
		t.Errorf("the refusal shows the token's claims: %v", err)
	}
}

func TestSignatureReasons(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, signingKey(), claims())
	_, rest, _ := strings.Cut(good, ".")
	cases := []struct{ name, token, want string }{
		{"forged", sign(t, other, claims()), "token-signature"},
		{"none", "eyJhbGciOiJub25lIn0." + rest, "token-algorithm"},
		{"unknown key", "eyJhbGciOiJSUzI1NiIsImtpZCI6ImcifQ." + rest, "token-unknown-key"},
		{"jku", "eyJhbGciOiJSUzI1NiIsImprdSI6IngifQ." + rest, "token-header"},
		{"garbage", "x", "token-malformed"},
		{"too long", strings.Repeat("a", 30000), "token-malformed"},
		{"claims no object", sign(t, signingKey(), `"x"`), "token-malformed"},
		{"claims and more", sign(t, signingKey(), "{} {}"), "token-malformed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := satoken.Verify(c.token, params(t))
			check(t, "", got, err, c.want)
			var unknown *jwt.UnknownKeyError
			if errors.As(err, &unknown) != (c.want == "token-unknown-key") {
				t.Errorf("cause of %v", err)
			}
		})
	}
}

func TestParams(t *testing.T) {
	token := sign(t, signingKey(), claims())
	for name, edit := range map[string]func(*satoken.Params){
		"no keys":     func(p *satoken.Params) { p.Keys = nil },
		"no issuer":   func(p *satoken.Params) { p.Issuer = "" },
		"no audience": func(p *satoken.Params) { p.Audience = "" },
		"no clock":    func(p *satoken.Params) { p.Now = nil },
	} {
		p := params(t)
		edit(&p)
		if _, err := satoken.Verify(token, p); err == nil || errors.Is(err, satoken.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := params(t)
	p.MaxLife = time.Hour
	if _, err := satoken.Verify(token, p); err == nil {
		t.Error("MaxLife is not heeded")
	}
	body := claims()
	delete(kubernetes(body), "pod")
	p = params(t)
	p.RequirePod = false
	if c, err := satoken.Verify(sign(t, signingKey(), body), p); err != nil || c.PodUID != "" {
		t.Errorf("a token without pod: %v", err)
	}
}

// FuzzClaims signs whatever payload and checks what every accepted one must be.
func FuzzClaims(f *testing.F) {
	good, err := json.Marshal(claims())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good))
	f.Add(`{"iss":"x","kubernetes.io":null}`)
	p := params(f)
	f.Fuzz(func(t *testing.T, payload string) {
		c, err := satoken.Verify(sign(t, signingKey(), payload), p)
		if err != nil {
			if !errors.Is(err, satoken.ErrInvalid) && !errors.Is(err, satoken.ErrExpired) {
				t.Errorf("untyped refusal: %v", err)
			}
			return
		}
		if c.Issuer != issuer || c.PodUID == "" || c.Subject != "system:serviceaccount:"+c.Namespace+":"+c.ServiceAccount ||
			strings.ContainsAny(c.Namespace+c.ServiceAccount+c.PodName, ":/ \n") {
			t.Errorf("accepted %+v", c)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	p := params(b)
	tokens := make([]string, 64)
	for i := range tokens {
		body := claims()
		body["jti"] = fmt.Sprint(i)
		tokens[i] = sign(b, signingKey(), body)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := satoken.Verify(tokens[i%len(tokens)], p); err != nil {
			b.Fatal(err)
		}
	}
}
