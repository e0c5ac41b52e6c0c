// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"podid/internal/operator/kubetest"
)

const (
	usual   = "podid-operator.podid-system.svc"
	another = "podid-operator"
)

var start = time.Now().Truncate(time.Second)

// trusted verifies what is served as an API server does.
func trusted(t *testing.T, authorities []byte, leaf *x509.Certificate, at time.Time) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authorities) {
		t.Fatal("no authorities")
	}
	for _, name := range []string{usual, another} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: at}); err != nil {
			t.Fatal(err)
		}
	}
}

func leafOf(t *testing.T, data map[string][]byte) *x509.Certificate {
	t.Helper()
	c, err := parse(data[keyServer])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// step makes one and requires that it was made, or that none was.
func step(t *testing.T, m *maker, data map[string][]byte, at time.Time, want bool) map[string][]byte {
	t.Helper()
	out, why, err := m.next(data, at)
	if err != nil {
		t.Fatal(err)
	}
	if (out != nil) != want || want && why == "" {
		t.Fatalf("a step was made: %t, because %q", out != nil, why)
	}
	if out == nil {
		return data
	}
	return out
}

// TestLife follows certificates through half a year, and through the months in
// which the authority is replaced: whatever is served is trusted by the
// authorities of the step before, too.
func TestLife(t *testing.T) {
	m := newMaker([]string{usual, another})
	data := step(t, m, nil, start, true)
	leaves, authorities := map[string]bool{}, map[string]bool{}
	follow := func(now, end time.Time) {
		for ; now.Before(end); now = now.Add(10 * 24 * time.Hour) {
			for range 3 { // what is looked at every ten minutes
				now = now.Add(settle + time.Minute)
				before := data
				if out, _, err := m.next(data, now); err != nil {
					t.Fatal(err)
				} else if out != nil {
					data = out
				}
				trusted(t, data[keyAuthority], leafOf(t, data), now)
				trusted(t, before[keyAuthority], leafOf(t, data), now)
				trusted(t, data[keyAuthority], leafOf(t, before), now)
			}
			leaves[string(data[keyServer])], authorities[string(splitPEM(data[keyAuthority])[0])] = true, true
			if n := len(splitPEM(data[keyAuthority])); n > 2 {
				t.Fatalf("%d authorities are trusted", n)
			}
		}
	}
	follow(start, start.AddDate(0, 6, 0))
	later := start.Add(authorityLife - authorityAhead - 40*24*time.Hour)
	data = step(t, m, data, later, true) // the operator was away for years
	follow(later, later.AddDate(0, 3, 0))
	if len(leaves) != 6 || len(authorities) != 2 {
		t.Errorf("%d certificates of %d authorities", len(leaves), len(authorities))
	}
	if n := len(splitPEM(step(t, m, data, start.Add(authorityLife+time.Hour), true)[keyAuthority])); n != 1 {
		t.Errorf("%d authorities are trusted after the first one's end", n)
	}
}

func TestSteps(t *testing.T) {
	m := newMaker([]string{usual, another})
	good := step(t, m, nil, start, true)
	other := step(t, newMaker([]string{"other.svc"}), nil, start, true)
	with := func(change map[string][]byte) map[string][]byte {
		out := maps.Clone(good)
		maps.Copy(out, change)
		return out
	}
	for _, tt := range []struct {
		name          string
		data          map[string][]byte
		want          bool // a step
		keepsServed   bool
		keepsTrust    bool
		sameAuthority bool
	}{
		{"nothing to do", good, false, true, true, true},
		{"empty Secret", map[string][]byte{}, true, false, false, false},
		{"garbage", map[string][]byte{keyAuthority: []byte("x"), keyAuthorityKey: []byte("y"), keyServer: []byte("z"), keyServerKey: []byte("-----BEGIN")}, true, false, false, false},
		{"authority's key lost", with(map[string][]byte{keyAuthorityKey: nil}), true, true, true, false},
		{"key of another authority", with(map[string][]byte{keyAuthorityKey: other[keyAuthorityKey]}), true, true, true, false},
		{"certificate lost", with(map[string][]byte{keyServer: nil}), true, false, true, true},
		{"certificate's key lost", with(map[string][]byte{keyServerKey: nil}), true, false, true, true},
		{"certificate of another", with(map[string][]byte{keyServer: other[keyServer], keyServerKey: other[keyServerKey]}), true, false, true, true},
		{"other names", other, true, false, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := step(t, m, tt.data, start, tt.want)
			if got := bytes.Equal(out[keyServer], tt.data[keyServer]); got != tt.keepsServed {
				t.Errorf("served as before: %t", got)
			}
			if first := splitPEM(tt.data[keyAuthority]); len(first) > 0 {
				if got := bytes.Contains(out[keyAuthority], first[0]); got != tt.keepsTrust {
					t.Errorf("trusted as before: %t", got)
				}
				if got := bytes.HasPrefix(out[keyAuthority], first[0]); got != tt.sameAuthority {
					t.Errorf("same authority: %t", got)
				}
			}
			trusted(t, out[keyAuthority], leafOf(t, out), start)
		})
	}
}

// TestNewAuthorityWaits: it is trusted for a while before it signs.
func TestNewAuthorityWaits(t *testing.T) {
	m := newMaker([]string{usual, another})
	data := step(t, m, nil, start, true)
	data[keyAuthorityKey] = nil
	data = step(t, m, data, start, true)
	data = step(t, m, data, start.Add(settle-time.Second), false)
	after := step(t, m, data, start.Add(settle), true)
	if bytes.Equal(after[keyServer], data[keyServer]) || len(splitPEM(after[keyAuthority])) != 2 {
		t.Error("the new authority did not sign")
	}
	step(t, m, after, start.Add(2*settle), false)
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var secretKey = client.ObjectKey{Namespace: "podid-system", Name: "podid-operator-webhook"}

// kept runs a replica until the test ends.
func kept(t *testing.T, c client.WithWatch, at *clock) *Kept {
	t.Helper()
	k := NewKept(KeptConfig{
		Client: c, Secret: secretKey, Names: []string{usual, another}, Now: at.Now, Log: slog.New(slog.DiscardHandler),
		Owner: func(context.Context) []metav1.OwnerReference {
			return []metav1.OwnerReference{{APIVersion: "v1", Kind: "X", Name: "o", UID: "u"}}
		},
	})
	run(t, k.Start)
	return k
}

func run(t *testing.T, start func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func served(t *testing.T, c *Current) *x509.Certificate {
	t.Helper()
	pair, err := c.Certificate(nil)
	if err != nil {
		return nil
	}
	return pair.Leaf
}

func TestReplicas(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("share one certificate and take over a new one", func(t *testing.T) {
		at, api := &clock{now: start}, kubetest.New(t, interceptor.Funcs{})
		a, b := kept(t, api, at), kept(t, api, at)
		same := func() bool { return a.Ready() && b.Ready() && served(t, &a.Current).Equal(served(t, &b.Current)) }
		kubetest.Eventually(t, "both serve the same", same)
		first := served(t, &a.Current)
		trusted(t, b.Authorities(), first, start)
		secret := &corev1.Secret{}
		if err := api.Get(t.Context(), secretKey, secret); err != nil || len(secret.OwnerReferences) != 1 {
			t.Fatal(err, secret.OwnerReferences)
		}
		at.forward(serverLife - serverAhead + time.Hour)
		secret.Annotations = map[string]string{"touched": "true"} // instead of ten minutes
		if err := api.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		kubetest.Eventually(t, "both serve the next", func() bool { return same() && !served(t, &a.Current).Equal(first) })
		trusted(t, b.Authorities(), served(t, &a.Current), at.Now())
	})
	t.Run("make anew what was deleted", func(t *testing.T) {
		at, api := &clock{now: start}, kubetest.New(t, interceptor.Funcs{})
		a := kept(t, api, at)
		kubetest.Eventually(t, "it serves", a.Ready)
		first := served(t, &a.Current)
		if err := api.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretKey.Namespace, Name: secretKey.Name}}); err != nil {
			t.Fatal(err)
		}
		kubetest.Eventually(t, "it serves the next", func() bool { return !served(t, &a.Current).Equal(first) })
	})
}

func TestKeptRefuses(t *testing.T) {
	k := NewKept(KeptConfig{Client: kubetest.New(t, interceptor.Funcs{}), Secret: secretKey, Names: []string{usual, another}, Now: (&clock{now: start}).Now, Log: slog.New(slog.DiscardHandler)})
	if _, err := k.Certificate(nil); err == nil || k.Ready() || k.Authorities() != nil {
		t.Error("there is a certificate before there is one")
	}
	good := step(t, k.make, nil, start, true)
	if err := k.take(good); err != nil {
		t.Fatal(err)
	}
	first := served(t, &k.Current)
	other := step(t, newMaker([]string{"other.svc"}), nil, start, true)
	for name, data := range map[string]map[string][]byte{"other name": other, "nothing": {}, "untrusted": {keyAuthority: other[keyAuthority], keyServer: good[keyServer], keyServerKey: good[keyServerKey]}} {
		if err := k.take(data); err == nil || !served(t, &k.Current).Equal(first) {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestFiles(t *testing.T) {
	dir, at := t.TempDir(), &clock{now: start}
	f := &Files{Dir: dir, Now: at.Now, Log: slog.New(slog.DiscardHandler)}
	woken := 0
	f.OnChange(func() { woken++ })
	put := func(data map[string][]byte) {
		for _, k := range []string{keyServer, keyServerKey} {
			if err := os.WriteFile(filepath.Join(dir, k), data[k], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if f.read() == nil || f.Ready() {
		t.Error("read what is not there")
	}
	m := newMaker([]string{usual})
	one, two := step(t, m, nil, start, true), step(t, m, nil, start, true)
	put(one)
	if err := f.read(); err != nil || !f.Ready() || f.Authorities() != nil {
		t.Fatal(err)
	}
	first := served(t, &f.Current)
	put(map[string][]byte{keyServer: one[keyServer], keyServerKey: two[keyServerKey]})
	if f.read() == nil || !served(t, &f.Current).Equal(first) {
		t.Error("took halves of two")
	}
	put(two)
	if err := f.read(); err != nil || served(t, &f.Current).Equal(first) {
		t.Error("did not take the new one", err)
	}
	if err := f.read(); err != nil || woken != 2 {
		t.Errorf("told of %d changes: %v", woken, err)
	}
	at.forward(serverLife + time.Hour)
	put(one)
	if f.read() == nil {
		t.Error("took one that has ended")
	}
	run(t, f.Start)
}
