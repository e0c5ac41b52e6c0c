// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podtoken

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"podid/internal/jwt/jwttest"
	"podid/internal/satoken"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const issuer = "https://kubernetes.default.svc.cluster.local"

// cluster signs tokens as an API server does; its key can be rotated.
type cluster struct {
	t    testing.TB
	kid  string
	key  *ecdsa.PrivateKey
	keys []jose.JSONWebKey
}

func newCluster(t testing.TB) *cluster {
	c := &cluster{t: t}
	c.rotate("key-1")
	return c
}

func (c *cluster) rotate(kid string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	c.kid, c.key = kid, key
	c.keys = append(c.keys, jose.JSONWebKey{KeyID: kid, Key: key.Public(), Use: "sig", Algorithm: "ES256"})
}

func (c *cluster) jwks() []byte {
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: c.keys})
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

type claims map[string]any

func (c *cluster) token(change ...func(claims)) string {
	now := time.Now()
	m := claims{
		"iss": issuer, "sub": "system:serviceaccount:ns:sa", "aud": []string{Audience},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{
			"namespace": "ns", "serviceaccount": map[string]string{"name": "sa", "uid": "sa-uid"},
			"pod": map[string]string{"name": "pod", "uid": "pod-uid"}, "node": map[string]string{"name": "node-1", "uid": "node-uid"},
		},
	}
	for _, f := range change {
		f(m)
	}
	payload, err := json.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	return jwttest.Sign(c.t, jose.ES256, c.key, map[jose.HeaderKey]any{"kid": c.kid}, payload)
}

// scripted is a Source whose answers a test chooses.
type scripted struct {
	mu    sync.Mutex
	keys  KeySet
	err   error
	delay time.Duration
	calls int
}

func (s *scripted) Keys(ctx context.Context) (KeySet, error) {
	s.mu.Lock()
	s.calls++
	keys, err, delay := s.keys, s.err, s.delay
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return KeySet{}, ctx.Err()
	}
	return keys, err
}

func (s *scripted) String() string { return "script" }

func (s *scripted) set(change func(*scripted)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *scripted) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

var discard = slog.New(slog.DiscardHandler)

// running starts a verifier; stop ends it and waits.
func running(t *testing.T, cfg Config) (v *Verifier, stop func()) {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = discard
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	return v, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stranger := newCluster(t), newCluster(t)
		v, stop := running(t, Config{Source: &scripted{keys: KeySet{JWKS: c.jwks()}}, Issuer: issuer, Node: "node-1", NodeUID: "node-uid"})
		defer stop()
		synctest.Wait()
		got, err := v.Verify(t.Context(), c.token())
		if err != nil || got.Namespace != "ns" || got.ServiceAccount != "sa" || got.PodUID != "pod-uid" || got.Expires.Sub(got.NotBefore) != time.Hour {
			t.Fatalf("%+v, %v", got, err)
		}
		put := func(name string, value any) func(claims) { return func(m claims) { m[name] = value } }
		part := func(name string, value any) func(claims) {
			return func(m claims) { m["kubernetes.io"].(map[string]any)[name] = value }
		}
		header, rest, _ := strings.Cut(c.token(), ".")
		tests := []struct {
			name, token, reason string
		}{
			{"another cluster's key", stranger.token(), satoken.ReasonSignature},
			{"no signature", header + "." + strings.Split(rest, ".")[0] + ".", satoken.ReasonMalformed},
			{"alg none", "eyJhbGciOiJub25lIn0." + strings.Split(rest, ".")[0] + ".AA", satoken.ReasonAlgorithm},
			{"garbage", "garbage", satoken.ReasonMalformed},
			{"another issuer", c.token(put("iss", "https://elsewhere")), satoken.ReasonIssuer},
			{"another audience", c.token(put("aud", []string{"sts.amazonaws.com"})), satoken.ReasonAudience},
			{"expired", c.token(put("iat", time.Now().Add(-2*time.Hour).Unix()), put("nbf", 0), put("exp", time.Now().Add(-time.Hour).Unix())), satoken.ReasonExpired},
			{"not yet", c.token(put("nbf", time.Now().Add(time.Hour).Unix())), satoken.ReasonNotYetValid},
			{"no pod", c.token(part("pod", nil)), satoken.ReasonNotPodBound},
			{"another node", c.token(part("node", map[string]string{"name": "node-2", "uid": "node-uid"})), ReasonNode},
			{"a node of the same name before", c.token(part("node", map[string]string{"name": "node-1", "uid": "older"})), ReasonNode},
			{"another subject", c.token(put("sub", "system:serviceaccount:ns:root")), satoken.ReasonSubject},
		}
		for _, tc := range tests {
			var refused *Refusal
			got, err := v.Verify(t.Context(), tc.token)
			if !errors.As(err, &refused) || refused.Reason != tc.reason || got != (Claims{}) {
				t.Errorf("%s: %+v, %v, want reason %s", tc.name, got, err, tc.reason)
			}
			if refused != nil && (refused.Expired() != (tc.name == "expired") || strings.Contains(err.Error(), tc.token)) {
				t.Errorf("%s: expired %v, text %q", tc.name, refused.Expired(), err)
			}
		}
		if _, err := v.Verify(t.Context(), c.token(part("node", nil))); err != nil {
			t.Errorf("a token that names no node (Kubernetes below 1.32): %v", err)
		}
	})
}

func TestIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for name, tc := range map[string]struct {
			cfg, source string
			ok          bool
		}{
			"configured": {issuer, "https://other", true}, "of the source": {"", issuer, true}, "of nobody": {"", "", true},
			"another configured": {"https://other", issuer, false}, "another of the source": {"", "https://other", false},
		} {
			v, stop := running(t, Config{Source: &scripted{keys: KeySet{JWKS: c.jwks(), Issuer: tc.source}}, Issuer: tc.cfg})
			synctest.Wait()
			if _, err := v.Verify(t.Context(), c.token()); (err == nil) != tc.ok {
				t.Errorf("%s: %v", name, err)
			}
			stop()
		}
	})
}

// A rotated signing key: one fetch for all who ask, and then no more than one in MinInterval, whatever tokens come.
func TestUnknownKeyIsFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stranger := newCluster(t), newCluster(t)
		source := &scripted{keys: KeySet{JWKS: c.jwks()}}
		changes := 0
		v, stop := running(t, Config{Source: source, Changed: func() { changes++ }})
		defer stop()
		synctest.Wait()
		time.Sleep(time.Minute)
		c.rotate("key-2")
		source.set(func(s *scripted) { s.keys.JWKS, s.delay = c.jwks(), time.Second })
		token := c.token()
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Errorf("Verify: %v", err)
				}
			})
		}
		wg.Wait()
		if source.count() != 2 || changes != 1 {
			t.Errorf("%d fetches and %d changes, want 2 and 1", source.count(), changes)
		}
		for i := range 20 {
			stranger.kid = fmt.Sprint(i)
			var refused *Refusal
			if _, err := v.Verify(t.Context(), stranger.token()); !errors.As(err, &refused) || refused.Reason != satoken.ReasonUnknownKey {
				t.Errorf("a stranger's token: %v", err)
			}
		}
		if source.count() != 2 {
			t.Errorf("%d fetches, want none more within the interval", source.count())
		}
		time.Sleep(DefaultMinInterval)
		if _, err := v.Verify(t.Context(), stranger.token()); err == nil || source.count() != 3 {
			t.Errorf("%v after %d fetches, want a refusal after one more", err, source.count())
		}
	})
}

// While the source is away, known keys go on, and a token of an unknown key is not called bad.
func TestSourceOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		source := &scripted{keys: KeySet{JWKS: c.jwks()}}
		var log bytes.Buffer
		v, stop := running(t, Config{Source: source, Log: slog.New(slog.NewTextHandler(&log, nil))})
		defer stop()
		synctest.Wait()
		for _, outage := range []func(*scripted){
			func(s *scripted) { s.err = errors.New("connection refused") },
			func(s *scripted) { s.err, s.delay = nil, time.Hour },
			func(s *scripted) { s.delay, s.keys.JWKS = 0, []byte(`{"keys":[]}`) },
			func(s *scripted) { s.keys.JWKS = []byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`) },
		} {
			source.set(outage)
			time.Sleep(DefaultInterval)
			began := time.Now()
			if _, err := v.Verify(t.Context(), c.token()); err != nil || time.Since(began) != 0 {
				t.Errorf("a token of a known key: %v after %s", err, time.Since(began))
			}
			stranger := newCluster(t)
			stranger.kid = "key-2"
			if _, err := v.Verify(t.Context(), stranger.token()); !errors.Is(err, ErrNoKeys) || time.Since(began) > DefaultPatience {
				t.Errorf("a token of an unknown key: %v after %s, want ErrNoKeys in time", err, time.Since(began))
			}
		}
		if !strings.Contains(log.String(), "connection refused") {
			t.Error("the log does not say why")
		}
	})
}

// Keys that were never had: tokens wait for the fetch, and are refused without judgement when it fails.
func TestBeforeTheFirstKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		source := &scripted{keys: KeySet{JWKS: c.jwks()}, delay: time.Second}
		v, stop := running(t, Config{Source: source})
		if _, err := v.Verify(t.Context(), c.token()); err != nil || source.count() != 1 {
			t.Errorf("%v after %d fetches, want the token to wait for the first", err, source.count())
		}
		stop()
		source = &scripted{err: errors.New("away")}
		v, stop = running(t, Config{Source: source})
		defer stop()
		if _, err := v.Verify(t.Context(), c.token()); !errors.Is(err, ErrNoKeys) {
			t.Errorf("%v, want ErrNoKeys", err)
		}
		source.set(func(s *scripted) { s.err, s.keys.JWKS = nil, c.jwks() })
		time.Sleep(DefaultMinInterval + time.Second)
		if _, err := v.Verify(t.Context(), c.token()); err != nil {
			t.Errorf("%v after the source came back", err)
		}
	})
}

func TestFetchOutlivesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		source := &scripted{keys: KeySet{JWKS: c.jwks()}, delay: 5 * time.Second}
		v, stop := running(t, Config{Source: source})
		defer stop()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Verify(ctx, c.token()); !errors.Is(err, ErrNoKeys) {
			t.Errorf("%v, want ErrNoKeys", err)
		}
		time.Sleep(5 * time.Second)
		if _, err := v.Verify(t.Context(), c.token()); err != nil || source.count() != 1 {
			t.Errorf("%v after %d fetches", err, source.count())
		}
	})
}

// The last good keys come back after a restart while the source is away; the file holds no more than public keys.
func TestLastKnownGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		dir := t.TempDir()
		path := filepath.Join(dir, "jwks.json")
		_, stop := running(t, Config{Source: &scripted{keys: KeySet{JWKS: c.jwks(), Issuer: issuer}}, CacheFile: path})
		synctest.Wait()
		stop()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		text, err := os.ReadFile(path)
		if err != nil || !json.Valid(text) || strings.Contains(string(text), `"d"`) {
			t.Errorf("the file: %s, %v", text, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("%d files, %v", len(left), err)
		}
		away := &scripted{err: errors.New("away")}
		v, stop := running(t, Config{Source: away, CacheFile: path})
		synctest.Wait()
		if _, err := v.Verify(t.Context(), c.token()); err != nil {
			t.Errorf("%v with the keys of before", err)
		}
		if _, err := v.Verify(t.Context(), c.token(func(m claims) { m["iss"] = "https://other" })); err == nil {
			t.Error("the issuer is not kept")
		}
		stop()
		if err := os.WriteFile(path, []byte(`{"keys":[{"kty":"EC","d":"AA"}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		v, stop = running(t, Config{Source: away, CacheFile: path})
		defer stop()
		if _, err := v.Verify(t.Context(), c.token()); !errors.Is(err, ErrNoKeys) {
			t.Errorf("%v with a spoilt file", err)
		}
	})
}

func TestKeysCannotBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var log bytes.Buffer
		v, stop := running(t, Config{Source: &scripted{keys: KeySet{JWKS: c.jwks()}}, CacheFile: filepath.Join(t.TempDir(), "none", "x"), Log: slog.New(slog.NewTextHandler(&log, nil))})
		synctest.Wait()
		if _, err := v.Verify(t.Context(), c.token()); err != nil {
			t.Error(err)
		}
		stop()
		if !strings.Contains(log.String(), "keep the cluster's keys") {
			t.Errorf("log %q", log.String())
		}
	})
}

func TestSpread(t *testing.T) {
	v, err := New(Config{Source: &scripted{}, Log: discard, Rand: bytes.NewReader([]byte{0, 255})})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := v.spread(time.Minute), v.spread(time.Minute); a != time.Minute || b <= a || b > 75*time.Second {
		t.Errorf("%s and %s", a, b)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{{}, {Source: File{}}, {Source: File{}, Log: discard, Interval: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v accepted", cfg)
		}
	}
}

func TestFileSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jwks")
	if _, err := (File{Path: path}).Keys(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := (File{Path: path}).Keys(t.Context()); err != nil || string(got.JWKS) != "{}" {
		t.Errorf("%s, %v", got.JWKS, err)
	}
	if err := os.WriteFile(path, make([]byte, maxKeySetBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (File{Path: path}).Keys(t.Context()); err == nil {
		t.Error("a huge file is accepted")
	}
}

func BenchmarkVerify(b *testing.B) {
	c := newCluster(b)
	v, err := New(Config{Source: &scripted{keys: KeySet{JWKS: c.jwks()}}, Log: discard})
	if err != nil {
		b.Fatal(err)
	}
	token := c.token()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzVerify: nothing but what the cluster signed is ever accepted, and no error quotes the token.
func FuzzVerify(f *testing.F) {
	c, stranger := newCluster(f), newCluster(f)
	v, err := New(Config{Source: &scripted{keys: KeySet{JWKS: c.jwks()}}, Log: discard})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stranger.token())
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := v.Verify(context.Background(), raw)
		if err == nil {
			t.Fatalf("accepted %q", raw)
		}
		if len(raw) > 40 && strings.Contains(err.Error(), raw) {
			t.Error("the error quotes the token")
		}
	})
}
