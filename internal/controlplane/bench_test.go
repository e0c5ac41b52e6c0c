// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
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
func received(b *testing.B, p aws.CredentialsProvider, service, url, content string, body []byte) *http.Request {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body))
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

// some is how many requests of a kind are made before the clock starts.
const some = 64

// traffic is requests of one kind; refused are those of AssumeRole by a user who may not.
type traffic struct {
	name, service, path, content string
	who                          aws.CredentialsProvider
	bodies                       [some][]byte
	status                       int // of the answers
}

// busy is a control plane with the requests that it gets most.
func busy(b *testing.B) (*controlplanetest.ControlPlane, []*traffic) {
	cp := controlplanetest.Start(b, controlplanetest.Options{})
	cl := cp.Register("my-cluster", nil)
	node := cl.Node(cl.NodeRole(), "node-1")
	cl.Associate("s3-app-sa", cp.Role("app", cl.PodTrust(), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"), nil)
	plain := cp.Role("plain", controlplanetest.Document(map[string]any{
		"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"AWS": controlplanetest.Account},
		"Condition": map[string]any{"StringLike": map[string]any{"sts:RoleSessionName": "bench-*"}},
	}))
	reader := cp.User("reader", controlplanetest.Document(map[string]any{"Effect": "Allow", "Action": "iam:Get*", "Resource": "*"}))
	exchange := &traffic{status: http.StatusOK, name: "exchange", service: "eks-auth", path: "/clusters/my-cluster/assume-role-for-pod-identity", content: "application/json", who: node}
	assume := &traffic{status: http.StatusOK, name: "AssumeRole", service: "sts", path: "/", content: "application/x-www-form-urlencoded", who: cp.Admin}
	refused := &traffic{status: http.StatusForbidden, name: "refused", service: "sts", path: "/", content: assume.content, who: reader}
	for i := range some {
		token := cl.Token(controlplanetest.Pod{Name: fmt.Sprintf("p-%d", i), Node: "node-1"})
		exchange.bodies[i] = []byte(`{"token":"` + token + `"}`)
		assume.bodies[i] = []byte(url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {plain}, "RoleSessionName": {fmt.Sprintf("bench-%d", i)}}.Encode())
	}
	refused.bodies = assume.bodies
	return cp, []*traffic{exchange, assume, refused}
}

func (c *traffic) requests(b *testing.B, base string) (out [some]*http.Request) {
	for i, body := range c.bodies {
		out[i] = received(b, c.who, c.service, base+c.path, c.content, body)
	}
	return out
}

// BenchmarkRequest is all that a request costs in the handler, audit included:
// what is left out is net/http, TLS and the system calls of the connection.
func BenchmarkRequest(b *testing.B) {
	cp, kinds := busy(b)
	h := cp.Plane.Handler()
	for _, c := range kinds {
		b.Run(c.name, func(b *testing.B) {
			requests := c.requests(b, "https://localhost")
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r := requests[i%some].Clone(b.Context())
				r.Body, r.RequestURI = io.NopCloser(bytes.NewReader(c.bodies[i%some])), c.path
				w := &discard{header: http.Header{}}
				if h.ServeHTTP(w, r); w.status != c.status {
					b.Fatalf("status %d", w.status)
				}
				i++
			}
		})
	}
}

// BenchmarkListener is the same over TLS, client included: it is what profiles
// are taken from.
func BenchmarkListener(b *testing.B) {
	cp, kinds := busy(b)
	for _, h2 := range []bool{false, true} {
		ca := cp.HTTP.Transport.(*http.Transport).TLSClientConfig.RootCAs
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca}, Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(!h2)
		tr.Protocols.SetHTTP2(h2)
		client := &http.Client{Transport: tr}
		for _, c := range kinds[:2] { // refusals are not what to optimise for
			b.Run(fmt.Sprintf("%s/h2=%v", c.name, h2), func(b *testing.B) {
				requests := c.requests(b, cp.Endpoint)
				i := 0
				for b.Loop() {
					r := requests[i%some].Clone(b.Context())
					r.Body = io.NopCloser(bytes.NewReader(c.bodies[i%some]))
					resp, err := client.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					if _, err = io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != c.status {
						b.Fatal(resp.Status, err)
					}
					if err := resp.Body.Close(); err != nil {
						b.Fatal(err)
					}
					i++
				}
			})
		}
		client.CloseIdleConnections()
	}
}
