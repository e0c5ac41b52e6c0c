// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"podid/internal/controlplane/controlplanetest"
)

// TestAlgorithms: keys and algorithms that the issue allows, and no others.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	register := func(keys ...jose.JSONWebKey) controlplanetest.Answer {
		return rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPatch, "/podid/v1/clusters/my-cluster", object{"jwks": jose.JSONWebKeySet{Keys: keys}})
	}
	public := func(kid string, key crypto.Signer) jose.JSONWebKey {
		return jose.JSONWebKey{Key: key.Public(), KeyID: kid, Use: "sig"}
	}
	for name, key := range map[string]jose.JSONWebKey{
		"RSA of 1024 bits": public("k", small),
		"Ed25519":          public("k", ed),
		"symmetric":        {Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "k"},
		"private":          {Key: w.cl.Key, KeyID: "k"},
	} {
		t.Run(name, func(t *testing.T) {
			register(key).Want(t, 400, "InvalidParameterException", "")
		})
	}
	keys := map[jose.SignatureAlgorithm]crypto.Signer{
		jose.RS256: w.cl.Key, jose.RS384: w.cl.Key, jose.RS512: w.cl.Key, jose.PS256: w.cl.Key,
		jose.ES256: ec(elliptic.P256()), jose.ES384: ec(elliptic.P384()), jose.ES512: ec(elliptic.P521()),
	}
	var set []jose.JSONWebKey
	for alg, key := range keys {
		set = append(set, public(string(alg), key))
	}
	if a := register(set...); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	for alg, key := range keys {
		t.Run(string(alg), func(t *testing.T) {
			w.cl.Exchange(w.node, signed(t, alg, jose.JSONWebKey{Key: key, KeyID: string(alg)}, nil, w.cl.Claims(pod{}))).Credentials(t)
		})
	}
	t.Run("key of another curve", func(t *testing.T) {
		w.cl.Exchange(w.node, signed(t, jose.ES256, jose.JSONWebKey{Key: keys[jose.ES256], KeyID: string(jose.ES384)}, nil, w.cl.Claims(pod{}))).
			Want(t, 400, "InvalidTokenException", "")
	})
	t.Run("RS256 under a key for EC", func(t *testing.T) {
		w.cl.Exchange(w.node, signed(t, jose.RS256, jose.JSONWebKey{Key: w.cl.Key, KeyID: string(jose.ES256)}, nil, w.cl.Claims(pod{}))).
			Want(t, 400, "InvalidTokenException", "")
	})
}
