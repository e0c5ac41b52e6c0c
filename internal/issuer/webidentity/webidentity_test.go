// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webidentity_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"podid/internal/fault"
	"podid/internal/issuer"
	"podid/internal/issuer/webidentity"
	"podid/internal/jwt"
	"podid/internal/session"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const account = "111122223333"

// sealer binds by prefix, which is enough to see that it is used.
type sealer struct{}

func (sealer) Seal(plaintext, aad []byte) ([]byte, error) {
	return append(append([]byte("sealed:"), aad...), plaintext...), nil
}

func (sealer) Open(sealed, aad []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, append([]byte("sealed:"), aad...))
	if !ok {
		return nil, errors.New("not sealed under that name")
	}
	return rest, nil
}

type fixture struct {
	*webidentity.Provider
	now time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	f.Provider = &webidentity.Provider{
		Store: storetest.NewMemory(store.NewSchema(issuer.Choices, webidentity.Keys)), Sealer: sealer{}, Now: func() time.Time { return f.now }, Rand: rand.Reader,
		URL: "https://podid.example.com/oidc", Partition: "aws",
	}
	err := f.Store.Update(t.Context(), func(tx *store.Tx) error {
		issuer.Choices.Put(tx, store.Scope{Account: account, Region: store.Global}, "choice", &issuer.Choice{Kind: issuer.WebIdentity})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) get(method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(method, "https://podid.example.com"+path, nil))
	return w
}

// keys are those that a reader of the documents finds.
func (f *fixture) keys(t *testing.T) *jwt.KeySet {
	t.Helper()
	set, err := jwt.ParseKeySet(f.get(http.MethodGet, "/oidc/"+account+"/keys").Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// The claims are what AWS reads, and the published keys verify the token.
func TestToken(t *testing.T) {
	f := newFixture(t)
	token, err := f.Token(account, "sts.amazonaws.com", "us-west-2/111122223333/c1/ns/sa", []session.Tag{
		{Key: "kubernetes-namespace", Value: "ns", Transitive: true}, {Key: "own", Value: "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	payload, header, err := f.keys(t).Verify(token.Reveal())
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	if id, _ := got["jti"].(string); len(id) != 32 {
		t.Errorf("jti %v", got["jti"])
	}
	delete(got, "jti")
	want := map[string]any{
		"iss": "https://podid.example.com/oidc/111122223333", "aud": "sts.amazonaws.com", "sub": "us-west-2/111122223333/c1/ns/sa",
		"iat": float64(f.now.Unix()), "exp": float64(f.now.Add(5 * time.Minute).Unix()),
		"https://aws.amazon.com/tags": map[string]any{
			"principal_tags":      map[string]any{"kubernetes-namespace": []any{"ns"}, "own": []any{"x"}},
			"transitive_tag_keys": []any{"kubernetes-namespace"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || header.Algorithm != "RS256" {
		t.Errorf("%+v\n%s", header, diff)
	}
	plain, err := f.Token(account, "a", "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	if payload, _, err = f.keys(t).Verify(plain.Reveal()); err != nil || strings.Contains(string(payload), "aws.amazon.com") {
		t.Errorf("without tags: %s, %v", payload, err)
	}
	if arn, err := f.ProviderARN(account); err != nil || arn != "arn:aws:iam::111122223333:oidc-provider/podid.example.com/oidc/111122223333" {
		t.Errorf("%s, %v", arn, err)
	}
}

func TestTokenRefuses(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Token(account, "a", strings.Repeat("s", 256), nil); !fault.Is(err, fault.InvalidRequest) {
		t.Errorf("long subject: %v", err)
	}
	f.Sealer = brokenSealer{}
	if _, err := f.Token(account, "a", "s", nil); err == nil {
		t.Error("a key that cannot be opened signs")
	}
	f.URL = ""
	if _, err := f.Token(account, "a", "s", nil); !fault.Is(err, fault.Unavailable) || fault.As(err).Reason != "oidc-issuer-url-missing" {
		t.Errorf("without a URL: %v", err)
	}
	if _, err := f.ProviderARN(account); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without a URL: %v", err)
	}
	f.URL, f.Store = "https://x", storetest.NewMemory(store.NewSchema(webidentity.Keys))
	if _, err := f.Token(account, "a", "s", nil); !fault.Is(err, fault.Unavailable) || fault.As(err).Reason != "oidc-key-missing" {
		t.Errorf("without a key: %v", err)
	}
}

type brokenSealer struct{ sealer }

func (brokenSealer) Open([]byte, []byte) ([]byte, error) { return nil, errors.New("another root key") }

func TestDocuments(t *testing.T) {
	f := newFixture(t)
	const base = "/oidc/" + account
	w := f.get(http.MethodGet, base+"/.well-known/openid-configuration")
	var d map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	if d["issuer"] != "https://podid.example.com/oidc/111122223333" || d["jwks_uri"] != "https://podid.example.com/oidc/111122223333/keys" {
		t.Errorf("%v", d)
	}
	if strings.Contains(f.get(http.MethodGet, base+"/keys").Body.String(), `"d"`) {
		t.Error("a private key is published")
	}
	for _, tc := range []struct {
		method, path string
		handled      bool
		status       int
	}{
		{http.MethodHead, base + "/keys", true, http.StatusOK},
		{http.MethodPost, base + "/keys", true, http.StatusMethodNotAllowed},
		{http.MethodGet, "/oidc/444455556666/keys", true, http.StatusNotFound}, // has not chosen it
		{http.MethodGet, "/oidc/x/keys", false, http.StatusNotFound},
		{http.MethodGet, base + "/other/keys", false, http.StatusNotFound},
		{http.MethodGet, base, false, http.StatusNotFound},
		{http.MethodGet, "/" + account + "/keys", false, http.StatusNotFound},
		{http.MethodGet, "/", false, http.StatusNotFound},
	} {
		if got := f.Handles(tc.path); got != tc.handled {
			t.Errorf("%s is handled: %v", tc.path, got)
		}
		if w := f.get(tc.method, tc.path); w.Code != tc.status {
			t.Errorf("%s %s: %d, want %d", tc.method, tc.path, w.Code, tc.status)
		}
	}
}

// A new key is published before it signs, and an old one after it has signed.
func TestRotation(t *testing.T) {
	f := newFixture(t)
	sign := func() (kid, token string) {
		t.Helper()
		tok, err := f.Token(account, "a", "s", nil)
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := jwt.PeekUnverified(tok.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		return h.KeyID, tok.Reveal()
	}
	step := func(d time.Duration) {
		t.Helper()
		f.now = f.now.Add(d)
		for range 2 { // replicas
			if err := f.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, old := sign()
	step(29 * 24 * time.Hour)
	if n := f.keys(t).Len(); n != 1 {
		t.Errorf("%d keys after 29 days", n)
	}
	step(24 * time.Hour)
	if kid, _ := sign(); kid != first || f.keys(t).Len() != 2 {
		t.Errorf("signed with %s, %d keys; the new key has just been published", kid, f.keys(t).Len())
	}
	step(24 * time.Hour)
	second, _ := sign()
	if second == first {
		t.Error("the new key does not sign after a day")
	}
	step(47 * time.Hour)
	if _, _, err := f.keys(t).Verify(old); err != nil {
		t.Errorf("the old key is gone too early: %v", err)
	}
	step(2 * time.Hour)
	if _, _, err := f.keys(t).Verify(old); err == nil || f.keys(t).Len() != 1 {
		t.Error("the old key stays")
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.NewMemory(store.NewSchema(webidentity.Keys))
		p := &webidentity.Provider{Store: db, Sealer: sealer{}, Now: time.Now, Rand: rand.Reader, URL: "https://x", Partition: "aws"}
		var reported error
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		db.Fail(store.ErrUnavailable)
		go func() { done <- p.Run(ctx, func(err error) { reported = err }) }()
		synctest.Wait()
		if !errors.Is(reported, store.ErrUnavailable) {
			t.Errorf("reported %v", reported)
		}
		db.Fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := p.Token(account, "a", "s", nil); err != nil {
			t.Error(err)
		}
		off := &webidentity.Provider{Store: db}
		go func() { done <- off.Run(ctx, nil) }()
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func BenchmarkToken(b *testing.B) {
	db := storetest.NewMemory(store.NewSchema(webidentity.Keys))
	p := &webidentity.Provider{Store: db, Sealer: sealer{}, Now: time.Now, Rand: rand.Reader, URL: "https://x", Partition: "aws"}
	if err := p.Rotate(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Token(account, "sts.amazonaws.com", "s", nil); err != nil {
			b.Fatal(err)
		}
	}
}
