// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func slogTo(l *logs) *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// served returns the leaf that a client of that name is shown and accepts.
func served(t *testing.T, s *Server, name string, pool *x509.CertPool, now time.Time) (*x509.Certificate, error) {
	t.Helper()
	c := tls.Client(dial(t, s), &tls.Config{RootCAs: pool, ServerName: name, Time: func() time.Time { return now }})
	if err := c.HandshakeContext(t.Context()); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

func TestSelfMade(t *testing.T) {
	c := newClock()
	cfg := testConfig(t, ok)
	cfg.Now, cfg.TLS.Names = c.now, []string{"podid.example.com", "192.0.2.7", "*.pods.example.com"}
	s := mustNew(t, cfg)
	run(t, s)
	pool := roots(t, s)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", hostName(), "podid.example.com", "192.0.2.7", "a.pods.example.com"} {
		leaf, err := served(t, s, name, pool, c.now())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if life := leaf.NotAfter.Sub(c.now()); life > leafLife || life < leafLife-time.Minute {
			t.Errorf("the certificate lives %v", life)
		}
	}
	if _, err := served(t, s, "other.example.com", pool, c.now()); err == nil {
		t.Error("a foreign name was accepted")
	}
	for name, want := range map[string]os.FileMode{"ca.key": 0o600, "ca.crt": 0o644} {
		if info, err := os.Stat(filepath.Join(cfg.TLS.Dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want mode %v", name, info.Mode(), err, want)
		}
	}
	if entries, err := os.ReadDir(cfg.TLS.Dir); err != nil || len(entries) != 2 {
		t.Errorf("directory holds %v (%v)", entries, err)
	}
}

func TestSelfMadeRenews(t *testing.T) {
	c := newClock()
	cfg := testConfig(t, ok)
	cfg.Now = c.now
	s := mustNew(t, cfg)
	run(t, s)
	pool := roots(t, s)
	first, err := served(t, s, "localhost", pool, c.now())
	if err != nil {
		t.Fatal(err)
	}
	c.add(59 * 24 * time.Hour)
	s.refreshCertificates()
	if same, err := served(t, s, "localhost", pool, c.now()); err != nil || !same.Equal(first) {
		t.Errorf("renewed too early (%v)", err)
	}
	c.add(2 * 24 * time.Hour)
	s.refreshCertificates()
	second, err := served(t, s, "localhost", pool, c.now())
	if err != nil || second.Equal(first) {
		t.Fatalf("not renewed (%v)", err)
	}
	c.add(caLife - 70*24*time.Hour) // the CA's end bounds the leaf
	s.refreshCertificates()
	last, err := served(t, s, "localhost", pool, c.now())
	if err != nil || c.now().Add(leafLife).Before(last.NotAfter) {
		t.Fatalf("last leaf: %v", err)
	}
	c.add(leafLife)
	if changed, err := s.certs.refresh(); changed || err == nil || !strings.Contains(err.Error(), "remove ca.crt and ca.key") {
		t.Errorf("a CA that is over: %v, %v", changed, err)
	}
}

func TestSelfMadeStaysTheSame(t *testing.T) {
	cfg := testConfig(t, ok)
	first := mustNew(t, cfg)
	before := roots(t, first)
	cfg.Registry = testConfig(t, ok).Registry
	if err := os.Remove(first.CAFile()); err != nil { // as after a start that was cut short
		t.Fatal(err)
	}
	s := mustNew(t, cfg)
	run(t, s)
	if _, err := served(t, s, "localhost", before, time.Now()); err != nil {
		t.Errorf("an old copy of the CA's certificate is worth nothing: %v", err)
	}
	after := roots(t, s)
	cfg.Registry = testConfig(t, ok).Registry
	third := mustNew(t, cfg)
	run(t, third)
	if _, err := served(t, third, "localhost", after, time.Now()); err != nil {
		t.Errorf("a restart changed the CA: %v", err)
	}
}

func TestSelfMadeRefuses(t *testing.T) {
	write := func(name, text string, mode os.FileMode) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name string
		do   func(t *testing.T, dir string)
		want string
	}{
		{"key is lost", func(t *testing.T, dir string) {
			write("ca.key", "", 0o600)(t, dir)
			_ = os.Remove(filepath.Join(dir, "ca.key"))
		}, "lost its key"},
		{"key is open", func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "ca.key"), 0o640); err != nil {
				t.Fatal(err)
			}
		}, "chmod 600"},
		{"key is no PEM", write("ca.key", "x", 0o600), "no PEM private key"},
		{"key is no key", write("ca.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600), "read CA key"},
		{"certificate is no PEM", write("ca.crt", "x", 0o600), "no PEM certificate"},
		{"certificate is none", write("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600), "read CA"},
		{"another CA's key", func(t *testing.T, dir string) {
			other := &selfMade{dir: t.TempDir(), now: time.Now, rand: rand.Reader}
			if _, err := other.makeKey(); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(other.keyFile())
			if err != nil {
				t.Fatal(err)
			}
			write("ca.key", string(text), 0o600)(t, dir)
		}, "does not belong"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig(t, ok)
			mustNew(t, cfg)
			tc.do(t, cfg.TLS.Dir)
			cfg.Registry = testConfig(t, ok).Registry
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v does not say %q", err, tc.want)
			}
		})
	}
}

// issue writes a pair of files as an operator's own CA would.
func issue(t *testing.T, dir, name string, ca *selfMade) (certFile, keyFile string) {
	t.Helper()
	ca.names = []string{name}
	leaf, err := ca.makeLeaf(time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestGivenFilesAreReadAgain(t *testing.T) {
	ca := &selfMade{dir: t.TempDir(), now: time.Now, rand: rand.Reader}
	if err := ca.openCA(); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.ca)
	out := &logs{}
	cfg := testConfig(t, ok)
	dir := t.TempDir()
	cfg.Log = slogTo(out)
	cfg.TLS.CertFile, cfg.TLS.KeyFile = issue(t, dir, "one.example.com", ca)
	s := mustNew(t, cfg)
	run(t, s)
	if _, err := served(t, s, "one.example.com", pool, time.Now()); err != nil || s.CAFile() != "" {
		t.Fatalf("first pair: %v, CA %q", err, s.CAFile())
	}
	key, err := os.ReadFile(cfg.TLS.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	issue(t, dir, "second.example.com", ca)
	good, err := os.ReadFile(cfg.TLS.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Second)
	replace := func(text []byte) {
		t.Helper()
		later = later.Add(time.Second)
		if err := os.WriteFile(cfg.TLS.KeyFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(cfg.TLS.KeyFile, later, later); err != nil {
			t.Fatal(err)
		}
	}
	replace(key) // the certificate is new, its key not yet
	s.refreshCertificates()
	if _, err := served(t, s, "one.example.com", pool, time.Now()); err != nil || !strings.Contains(out.String(), "the one in use stays") {
		t.Errorf("in the middle of a renewal: %v, log %s", err, out)
	}
	replace(good)
	s.refreshCertificates()
	if _, err := served(t, s, "second.example.com", pool, time.Now()); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
	if changed, err := s.certs.refresh(); changed || err != nil {
		t.Errorf("read again without a change: %v, %v", changed, err)
	}
	if bytes.Contains([]byte(out.String()), good) {
		t.Error("the log holds a key")
	}
}
