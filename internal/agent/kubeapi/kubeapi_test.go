// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func caOf(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestDo(t *testing.T) {
	var seen *http.Request
	var body string
	answer := func(w http.ResponseWriter) { _, _ = io.WriteString(w, "fine") }
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		seen, body = r, string(text)
		answer(w)
	}))
	defer server.Close()
	dir := t.TempDir()
	token, ca := filepath.Join(dir, "token"), filepath.Join(dir, "ca.crt")
	write(t, token, "first\n")
	write(t, ca, caOf(server))
	c, err := New(Config{Address: server.URL + "/", TokenFile: token, CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	resp, err := c.Do(t.Context(), Request{Method: http.MethodPatch, Path: "/api/v1/nodes/a%2Fb", Query: url.Values{"x": {"1"}}, ContentType: "application/json-patch+json", Body: []byte("[]")})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if string(text) != "fine" || body != "[]" || seen.URL.RequestURI() != "/api/v1/nodes/a%2Fb?x=1" || seen.Proto != "HTTP/1.1" {
		t.Errorf("%q %q %s %s", text, body, seen.URL.RequestURI(), seen.Proto)
	}
	if h := seen.Header; h.Get("Authorization") != "Bearer first" || h.Get("Content-Type") != "application/json-patch+json" || h.Get("Accept") != "application/json" {
		t.Errorf("headers %v", h)
	}

	write(t, token, "second")
	answer = func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"kind":"Status","reason":"Conflict","message":"changed"}`)
	}
	_, err = c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/x"})
	if !IsStatus(err, http.StatusConflict) || IsStatus(err, http.StatusGone) || !strings.Contains(err.Error(), "409 Conflict: changed") {
		t.Errorf("error %v", err)
	}
	if seen.Header.Get("Authorization") != "Bearer second" || seen.Header.Get("Content-Type") != "" {
		t.Errorf("headers %v", seen.Header)
	}
	answer = func(w http.ResponseWriter) { w.Header().Set("Location", "/y"); w.WriteHeader(http.StatusFound) }
	if _, err = c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/x"}); !IsStatus(err, http.StatusFound) {
		t.Errorf("redirect: %v", err)
	}
}

// TestCAChanges: another CA is trusted from the next request on, and the one before is not.
func TestCAChanges(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	write(t, ca, "nothing")
	c, err := New(Config{Address: server.URL, CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func() error { _, err := c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/"}); return err }
	if err := ask(); err == nil || !strings.Contains(err.Error(), "no PEM certificate") {
		t.Errorf("error %v", err)
	}
	write(t, ca, caOf(server))
	if err := ask(); !IsStatus(err, http.StatusNotFound) {
		t.Errorf("error %v", err)
	}
	c.cfg.CAFile = "" // the system's do not know the test's
	if err := ask(); err == nil || IsStatus(err, http.StatusNotFound) {
		t.Errorf("error %v", err)
	}
	c.cfg.TokenFile = ca + ".absent"
	if err := ask(); err == nil || !strings.Contains(err.Error(), "read the agent's token") {
		t.Errorf("error %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, address := range []string{"", "http://host", "https://", "https://u:p@host", "https://host/path", "https://host?q=1", "https://host#f", ":"} {
		if _, err := New(Config{Address: address}); err == nil {
			t.Errorf("%q is accepted", address)
		}
	}
}
