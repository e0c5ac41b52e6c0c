// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package jwks_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"podid/internal/jwks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const keys = `{"keys":[]}`

// site is an issuer under test: example.com, which resolves to 127.0.0.1.
type site struct {
	*httptest.Server
	issuer string
	hits   atomic.Int64
	doc    func() string // the discovery document
	jwks   http.HandlerFunc
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{jwks: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(keys)) }}
	mux := http.NewServeMux()
	mux.HandleFunc("/id/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		s.hits.Add(1)
		_, _ = w.Write([]byte(s.doc()))
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, r *http.Request) { s.jwks(w, r) })
	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	s.StartTLS()
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	base := "https://example.com:" + u.Port()
	s.issuer = base + "/id"
	s.doc = func() string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, s.issuer, base+"/jwks") }
	return s
}

func (s *site) options() jwks.Options {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return jwks.Options{
		AllowedPrefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		RootCAs:         roots,
		Resolve:         resolveTo("127.0.0.1"),
	}
}

func resolveTo(addrs ...string) func(context.Context, string) ([]netip.Addr, error) {
	return func(context.Context, string) ([]netip.Addr, error) {
		var out []netip.Addr
		for _, a := range addrs {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	}
}

func fetcher(t *testing.T, o jwks.Options) *jwks.Fetcher {
	t.Helper()
	f, err := jwks.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDiscover(t *testing.T) {
	s := newSite(t)
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // must not be heeded
	got, uri, err := fetcher(t, s.options()).Discover(t.Context(), s.issuer)
	if err != nil || string(got) != keys || !strings.HasSuffix(uri, "/jwks") {
		t.Errorf("Discover = %q, %q, %v", got, uri, err)
	}
	o := s.options()
	o.Resolve = resolveTo("169.254.169.254", "127.0.0.1") // a refused address does not hide a good one
	if _, _, err := fetcher(t, o).Discover(t.Context(), s.issuer); err != nil {
		t.Errorf("Discover = %v", err)
	}
}

func TestDiscoverRefuses(t *testing.T) {
	big := strings.Repeat(" ", jwks.MaxBytes+1)
	cases := []struct {
		name string
		edit func(*site, *jwks.Options)
		want error
	}{
		{"loopback", func(_ *site, o *jwks.Options) { o.AllowedPrefixes = nil }, jwks.ErrAddress},
		{"metadata", func(_ *site, o *jwks.Options) { o.Resolve = resolveTo("169.254.169.254") }, jwks.ErrAddress},
		{"mapped metadata", func(_ *site, o *jwks.Options) { o.Resolve = resolveTo("::ffff:169.254.169.254") }, jwks.ErrAddress},
		{"issuer http", func(s *site, _ *jwks.Options) { s.issuer = "http://example.com" }, jwks.ErrURL},
		{"issuer with a query", func(s *site, _ *jwks.Options) { s.issuer += "?a=1" }, jwks.ErrURL},
		{"issuer with a user", func(s *site, _ *jwks.Options) { s.issuer = "https://u:p@example.com" }, jwks.ErrURL},
		{"issuer with a fragment", func(s *site, _ *jwks.Options) { s.issuer += "#x" }, jwks.ErrURL},
		{"issuer without host", func(s *site, _ *jwks.Options) { s.issuer = "https:///x" }, jwks.ErrURL},
		{"issuer too long", func(s *site, _ *jwks.Options) { s.issuer += strings.Repeat("x", 3000) }, jwks.ErrURL},
		{"another issuer", func(s *site, _ *jwks.Options) {
			s.doc = func() string { return `{"issuer":"https://other","jwks_uri":"https://example.com/jwks"}` }
		}, jwks.ErrIssuer},
		{"issuer with a slash more", func(s *site, _ *jwks.Options) { s.issuer += "/" }, jwks.ErrIssuer},
		{"document no JSON", func(s *site, _ *jwks.Options) { s.doc = func() string { return "<html>" } }, jwks.ErrDocument},
		{"jwks_uri missing", func(s *site, _ *jwks.Options) {
			s.doc = func() string { return fmt.Sprintf(`{"issuer":%q}`, s.issuer) }
		}, jwks.ErrURL},
		{"jwks_uri http", func(s *site, _ *jwks.Options) {
			s.doc = func() string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":"http://example.com/jwks"}`, s.issuer) }
		}, jwks.ErrURL},
		{"jwks_uri file", func(s *site, _ *jwks.Options) {
			s.doc = func() string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":"file:///etc/passwd"}`, s.issuer) }
		}, jwks.ErrURL},
		{"jwks_uri on another host", func(s *site, _ *jwks.Options) {
			s.doc = func() string {
				return fmt.Sprintf(`{"issuer":%q,"jwks_uri":"https://evil.example.com/jwks"}`, s.issuer)
			}
		}, jwks.ErrOrigin},
		{"jwks_uri on another port", func(s *site, _ *jwks.Options) {
			s.doc = func() string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":"https://example.com/jwks"}`, s.issuer) }
		}, jwks.ErrOrigin},
		{"redirect", func(s *site, _ *jwks.Options) {
			s.jwks = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/jwks2", http.StatusFound) }
		}, jwks.ErrRedirect},
		{"too large", func(s *site, _ *jwks.Options) {
			s.jwks = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(big)) }
		}, jwks.ErrTooLarge},
		{"not found", func(s *site, _ *jwks.Options) {
			s.jwks = func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
		}, jwks.ErrDocument},
		{"web page", func(s *site, _ *jwks.Options) {
			s.jwks = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_, _ = w.Write([]byte("<html>"))
			}
		}, jwks.ErrDocument},
		{"no address", func(_ *site, o *jwks.Options) { o.Resolve = resolveTo() }, nil},
		{"unknown authority", func(_ *site, o *jwks.Options) { o.RootCAs = x509.NewCertPool() }, nil},
		{"other name", func(s *site, _ *jwks.Options) {
			s.issuer = strings.Replace(s.issuer, "example.com", "example.net", 1)
		}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			o := s.options()
			c.edit(s, &o)
			if s.issuer[len(s.issuer)-1] == '/' {
				s.doc = func() string { return fmt.Sprintf(`{"issuer":%q}`, strings.TrimSuffix(s.issuer, "/")) }
			}
			got, _, err := fetcher(t, o).Discover(t.Context(), s.issuer)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || got != nil {
				t.Errorf("Discover = %q, %v, want %v", got, err, c.want)
			}
		})
	}
}

// TestRebinding: the name's second answer points inward, between the discovery
// document and the key set.
func TestRebinding(t *testing.T) {
	s := newSite(t)
	for _, inward := range []string{"127.0.0.2", "169.254.169.254", "::1", "fd00:ec2::254", "::ffff:127.0.0.2"} {
		o := s.options()
		var asked int
		o.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			if asked++; asked == 1 {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}
			return []netip.Addr{netip.MustParseAddr(inward)}, nil
		}
		_, _, err := fetcher(t, o).Discover(t.Context(), s.issuer)
		if !errors.Is(err, jwks.ErrAddress) || asked != 2 {
			t.Errorf("%s: %v after %d look-ups", inward, err, asked)
		}
	}
}

func TestOtherOriginAllowed(t *testing.T) {
	s, other := newSite(t), newSite(t)
	s.doc = func() string {
		return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, s.issuer, strings.TrimSuffix(other.issuer, "/id")+"/jwks")
	}
	o := s.options()
	if _, _, err := fetcher(t, o).Discover(t.Context(), s.issuer); !errors.Is(err, jwks.ErrOrigin) {
		t.Errorf("not allowed: %v", err)
	}
	o.JWKSOrigins = []string{strings.TrimSuffix(other.issuer, "/id")}
	if _, _, err := fetcher(t, o).Discover(t.Context(), s.issuer); err != nil {
		t.Errorf("allowed: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	_, err := jwks.New(jwks.Options{JWKSOrigins: []string{"http://a", "https://a/path"}, AllowedPrefixes: []netip.Prefix{{}}})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("New = %v, want three problems", err)
	}
}

// TestHangingServer: an issuer that never answers costs the caller's patience, no more.
func TestHangingServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	f := fetcher(t, jwks.Options{AllowedPrefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := listener.Accept()
		cancel()
		if err == nil {
			_ = conn.Close()
		}
	}()
	if _, _, err := f.Discover(ctx, "https://"+listener.Addr().String()); err == nil {
		t.Error("an answer from a server that gives none")
	}
}
