// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func nothing(http.ResponseWriter, *http.Request) {}

// BenchmarkMiddleware is what a request costs beyond its handler.
func BenchmarkMiddleware(b *testing.B) {
	s := mustNew(b, testConfig(b, nothing))
	h := s.middleware()
	r := httptest.NewRequest(http.MethodPost, "/clusters/my-cluster/assume-role-for-pod-identity", nil)
	r = r.WithContext(b.Context()) // it can be cancelled, as that of a connection
	r.RemoteAddr = "192.0.2.1:40000"
	r.Header.Set("User-Agent", "aws-sdk-go-v2/1.47.7")
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func BenchmarkObserve(b *testing.B) {
	s := mustNew(b, testConfig(b, nothing))
	b.ReportAllocs()
	for b.Loop() {
		s.Metrics().Observe("eks-auth", "AssumeRoleForPodIdentity", "", 200, 1000)
	}
}

// BenchmarkKeepAlive compares a request over TLS with net/http alone.
func BenchmarkKeepAlive(b *testing.B) {
	s := mustNew(b, testConfig(b, nothing))
	run(b, s)
	plain := httptest.NewUnstartedServer(http.HandlerFunc(nothing))
	plain.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	plain.StartTLS()
	b.Cleanup(plain.Close)
	for name, target := range map[string]struct {
		client *http.Client
		url    string
	}{"podid": {client(b, s, false), url(s, "/")}, "net/http": {plain.Client(), plain.URL}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				resp, err := target.client.Get(target.url)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
