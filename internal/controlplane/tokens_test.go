// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"podid/internal/controlplane/controlplanetest"
	"podid/internal/jwt/jwttest"
)

// signed signs claims with any key, algorithm and header.
func signed(t *testing.T, alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, claims map[string]any) string {
	t.Helper()
	return jwttest.Sign(t, alg, key, header, []byte(controlplanetest.JSON(t, claims)))
}

// with returns claims with one of them replaced; nil removes it.
func with(claims map[string]any, name string, value any) map[string]any {
	out := maps.Clone(claims)
	if out[name] = value; value == nil {
		delete(out, name)
	}
	return out
}

// unsignedToken has the algorithm "none".
func unsignedToken(t *testing.T, claims map[string]any) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + enc([]byte(controlplanetest.JSON(t, claims))) + "." + enc([]byte("x"))
}

// testExchangeTokens: every bad token gets its exception, and audit its reason.
func testExchangeTokens(t *testing.T, w *world) {
	good := w.cl.Claims(pod{})
	kid := jose.JSONWebKey{Key: w.cl.Key, KeyID: w.cl.Kid}
	foreign := controlplanetest.NewKey(t)
	k8s := func(name string, value any) map[string]any {
		return with(good, "kubernetes.io", with(good["kubernetes.io"].(map[string]any), name, value))
	}
	cut := w.cl.Token(pod{})
	const invalid, expired, parameter = "InvalidTokenException", "ExpiredTokenException", "InvalidParameterException"
	hour := time.Hour
	for name, tc := range map[string]struct{ token, code, reason string }{
		"audience":             {w.cl.Token(pod{Audience: "sts.amazonaws.com"}), invalid, "token-audience"},
		"agent's audience":     {w.cl.Token(pod{Audience: controlplanetest.NodeAudience}), invalid, "token-audience"},
		"expired":              {w.cl.Token(pod{Issued: time.Now().Add(-2 * hour), Life: hour}), expired, "token-expired"},
		"expired in leeway":    {w.cl.Token(pod{Issued: time.Now().Add(-hour - 30*time.Second), Life: hour}), "", ""},
		"not yet valid":        {w.cl.Sign(with(good, "nbf", time.Now().Add(hour).Unix())), invalid, "token-not-yet-valid"},
		"issued in the future": {w.cl.Token(pod{Issued: time.Now().Add(hour)}), invalid, "token-not-yet-valid"},
		"alg none":             {unsignedToken(t, good), invalid, "token-algorithm"},
		"hmac of public key":   {signed(t, jose.HS256, []byte("secret secret secret secret secr"), map[jose.HeaderKey]any{"kid": w.cl.Kid}, good), invalid, "token-algorithm"},
		"algorithm not fit":    {signed(t, jose.PS256, kid, nil, good), invalid, "token-algorithm"},
		"other key, same kid":  {signed(t, jose.RS256, jose.JSONWebKey{Key: foreign, KeyID: w.cl.Kid}, nil, good), invalid, "token-signature"},
		"other key, other kid": {signed(t, jose.RS256, jose.JSONWebKey{Key: foreign, KeyID: "x"}, nil, good), invalid, "token-unknown-key"},
		"other issuer":         {w.cl.Token(pod{Issuer: "https://oidc.example.com"}), invalid, "token-issuer"},
		"jku":                  {signed(t, jose.RS256, kid, map[jose.HeaderKey]any{"jku": "https://evil.example.com/keys"}, good), invalid, "token-header"},
		"x5u":                  {signed(t, jose.RS256, kid, map[jose.HeaderKey]any{"x5u": "https://evil.example.com/c"}, good), invalid, "token-header"},
		"life of 25 h":         {w.cl.Token(pod{Life: 25 * hour}), invalid, "token-life-too-long"},
		"no end":               {w.cl.Sign(with(good, "exp", nil)), invalid, "token-malformed"},
		"not bound to a pod":   {w.cl.Sign(k8s("pod", nil)), invalid, "token-not-pod-bound"},
		"subject mismatch":     {w.cl.Sign(with(good, "sub", "system:serviceaccount:kube-system:admin")), invalid, "token-subject"},
		"legacy token":         {w.cl.Sign(with(good, "kubernetes.io", nil)), invalid, "token-subject"},
		"namespace mismatch":   {w.cl.Sign(k8s("namespace", "kube-system")), invalid, "token-subject"},
		"truncated":            {cut[:len(cut)-21], invalid, "token-malformed"},
		"payload cut":          {strings.Join([]string{strings.Split(cut, ".")[0], "e30", strings.Split(cut, ".")[2]}, "."), invalid, "token-signature"},
		"two parts":            {cut[:strings.LastIndexByte(cut, '.')], parameter, "token-form"},
		"not a token":          {"hello", parameter, "token-form"},
		"empty":                {"", parameter, "token-missing"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.cl.Exchange(w.node, tc.token)
			if tc.code == "" {
				a.Credentials(t)
				return
			}
			a.Want(t, 400, tc.code, "")
			if a.Message() == "" || tc.token != "" && strings.Contains(a.Message(), tc.token) {
				t.Errorf("message %q", a.Message())
			}
			if got := w.LastReason("AssumeRoleForPodIdentity"); got != tc.reason {
				t.Errorf("reason %q, want %q", got, tc.reason)
			}
		})
	}
}
