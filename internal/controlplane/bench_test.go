// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"podid/internal/controlplane/controlplanetest"
)

// discard is an answer that nobody reads.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// received is a signed request as the listener hands it to the handler.
func received(b *testing.B, p aws.CredentialsProvider, service, path, content string, body []byte) *http.Request {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "https://localhost"+path, bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	cred, err := p.Retrieve(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", content)
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(b.Context(), cred, r, hex.EncodeToString(sum[:]), service, controlplanetest.Region, time.Now()); err != nil {
		b.Fatal(err)
	}
	r.RemoteAddr = "127.0.0.1:40000"
	return r
}

// BenchmarkRequest is all that a request costs in the handler, audit included:
// what is left out is net/http, TLS and the system calls of the connection.
func BenchmarkRequest(b *testing.B) {
	cp := controlplanetest.Start(b, controlplanetest.Options{})
	cl := cp.Register("my-cluster", nil)
	node := cl.Node(cl.NodeRole(), "node-1")
	cl.Associate("s3-app-sa", cp.Role("app", cl.PodTrust(), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"), nil)
	plain := cp.Role("plain", controlplanetest.Document(map[string]any{
		"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"AWS": controlplanetest.Account},
	}))
	const some = 64
	var exchanges, assumes [some][]byte
	for i := range some {
		token := cl.Token(controlplanetest.Pod{Name: fmt.Sprintf("p-%d", i), Node: "node-1"})
		exchanges[i] = []byte(`{"token":"` + token + `"}`)
		assumes[i] = []byte(url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {plain}, "RoleSessionName": {fmt.Sprintf("bench-%d", i)}}.Encode())
	}
	for _, c := range []struct {
		name, service, path, content string
		who                          aws.CredentialsProvider
		bodies                       [some][]byte
	}{
		{"exchange", "eks-auth", "/clusters/my-cluster/assume-role-for-pod-identity", "application/json", node, exchanges},
		{"AssumeRole", "sts", "/", "application/x-www-form-urlencoded", cp.Admin, assumes},
	} {
		b.Run(c.name, func(b *testing.B) {
			var requests [some]*http.Request
			for i, body := range c.bodies {
				requests[i] = received(b, c.who, c.service, c.path, c.content, body)
			}
			h := cp.Plane.Handler()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r := requests[i%some].Clone(b.Context())
				r.Body, r.RequestURI = readCloser{bytes.NewReader(c.bodies[i%some])}, c.path
				w := &discard{header: http.Header{}}
				if h.ServeHTTP(w, r); w.status != http.StatusOK {
					b.Fatalf("status %d", w.status)
				}
				i++
			}
		})
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }
