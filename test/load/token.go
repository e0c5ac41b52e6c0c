// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	issuer       = "https://kubernetes.default.svc.cluster.local"
	podAudience  = "pods.eks.amazonaws.com"
	nodeAudience = "podid.dev/control-plane"
	node         = "ip-192-168-8-12.us-west-2.compute.internal"
	namespace    = "bench"
	keyID        = "bench-key-0"
)

// signer stands for the API server of the cluster under load.
type signer struct{ key *rsa.PrivateKey }

func newSigner() (*signer, error) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make issuer key: %w", err)
	}
	return &signer{k}, nil
}

// jwks is the key set to register.
func (s *signer) jwks() map[string]any {
	return map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": keyID, "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(s.key.N.Bytes()),
	}}}
}

// token is a projected service account token as kube-apiserver makes it.
func (s *signer) token(audience, ns, account, pod string) (string, error) {
	return s.sign(`{"alg":"RS256","kid":"`+keyID+`"}`, claims(audience, ns, account, pod))
}

func claims(audience, ns, account, pod string) map[string]any {
	now := time.Now().Unix()
	return map[string]any{
		"aud": []string{audience}, "exp": now + 86400, "iat": now, "nbf": now, "iss": issuer, "jti": rand.Text(),
		"sub": "system:serviceaccount:" + ns + ":" + account,
		"kubernetes.io": map[string]any{
			"namespace":      ns,
			"node":           map[string]string{"name": node, "uid": "91c0c9a4-6f10-4a39-8d7f-0d6c1b6f9a01"},
			"pod":            map[string]string{"name": pod, "uid": "0b1c2d3e-0000-4000-8000-" + rand.Text()[:12]},
			"serviceaccount": map[string]string{"name": account, "uid": "5a5a5a5a-0000-4000-8000-1234567890ab"},
		},
	}
}

func (s *signer) sign(header string, claims map[string]any) (string, error) {
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return text + "." + enc.EncodeToString(sig), nil
}

// podTokens mints n tokens, of a pod each, spread over the service accounts.
func (s *signer) podTokens(n int, accounts []string) ([]string, error) {
	out := make([]string, n)
	workers := min(runtime.NumCPU(), n)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				a := accounts[i%len(accounts)]
				out[i], errs[w] = s.token(podAudience, namespace, a, a+"-56b9f94b4-dvd5c")
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
