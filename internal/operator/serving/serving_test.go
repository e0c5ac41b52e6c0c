// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package serving_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"podid/internal/operator/kubetest"
	"podid/internal/operator/serving"
)

// pair borrows a certificate for 127.0.0.1, and what trusts it.
func pair(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.TLS.Certificates[0], roots
}

type harness struct {
	*serving.Server
	client *http.Client
	stop   context.CancelFunc
	done   chan error
}

func serve(t *testing.T, cfg serving.Config) *harness {
	t.Helper()
	c, roots := pair(t)
	cfg.Address, cfg.Log = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	cfg.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c, nil }
	s, err := serving.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	h := &harness{Server: s, stop: stop, done: make(chan error, 1), client: &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}}
	if s.Ready(nil) == nil {
		t.Error("ready before it serves")
	}
	go func() { h.done <- s.Start(ctx) }()
	kubetest.Eventually(t, "it serves", func() bool { err := s.Ready(nil); return err == nil || !strings.Contains(err.Error(), "serving") })
	t.Cleanup(func() {
		stop()
		h.client.CloseIdleConnections()
		if err := <-h.done; err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *harness) post(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+h.Address().String()+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestServe(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("", func(t *testing.T) {
		h := serve(t, serving.Config{Handler: http.HandlerFunc(hello)})
		if resp, text := h.post(t, serving.Path); resp.StatusCode != http.StatusOK || text != "hello" || resp.ProtoMajor != 2 {
			t.Error(resp, text)
		}
		if resp, _ := h.post(t, "/"); resp.StatusCode != http.StatusNotFound {
			t.Error(resp)
		}
	})
}

func TestVersions(t *testing.T) {
	if _, err := serving.New(t.Context(), serving.Config{Address: "127.0.0.1:0", MinVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	h := serve(t, serving.Config{Handler: http.HandlerFunc(hello), MinVersion: tls.VersionTLS13})
	for version, want := range map[uint16]bool{tls.VersionTLS12: false, tls.VersionTLS13: true} {
		d := tls.Dialer{Config: &tls.Config{MaxVersion: version, InsecureSkipVerify: true}} //nolint:gosec // what is tested is the version
		c, err := d.DialContext(t.Context(), "tcp", h.Address().String())
		if (err == nil) != want {
			t.Errorf("version %x: %v", version, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

func TestReady(t *testing.T) {
	var there atomic.Bool
	h := serve(t, serving.Config{Handler: http.HandlerFunc(hello), Ready: []serving.Condition{
		{Name: "the index", Met: there.Load}, {Name: "the weather", Met: func() bool { return true }},
	}})
	if err := h.Ready(nil); err == nil || err.Error() != "the index is not there yet" {
		t.Error(err)
	}
	there.Store(true)
	if err := h.Ready(nil); err != nil {
		t.Error(err)
	}
}

// TestStop: a replica that stops is not ready at once, answers on, and ends what is under way.
func TestStop(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := serve(t, serving.Config{Drain: 300 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "slow" {
			close(entered)
			<-leave
		}
		hello(w, r)
	})})
	slow := make(chan string, 1)
	go func() { _, text := h.post(t, serving.Path+"?slow"); slow <- text }()
	<-entered
	h.stop()
	kubetest.Eventually(t, "it is not ready", func() bool { err := h.Ready(nil); return err != nil && err.Error() == "stopping" })
	if _, text := h.post(t, serving.Path); text != "hello" {
		t.Error("it did not answer on")
	}
	time.AfterFunc(600*time.Millisecond, func() { close(leave) })
	if text := <-slow; text != "hello" {
		t.Error("what was under way was cut off")
	}
}

func TestAddressTaken(t *testing.T) {
	h := serve(t, serving.Config{Handler: http.HandlerFunc(hello)})
	_, err := serving.New(t.Context(), serving.Config{Address: h.Address().String()})
	if err == nil || errors.Unwrap(err) == nil {
		t.Error(err)
	}
}
