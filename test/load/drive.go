// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// protocol is what the connections speak.
type protocol string

const (
	http1  protocol = "HTTP/1.1"
	http2  protocol = "h2"
	plain1 protocol = "HTTP/1.1 without TLS"
)

// request is one request, complete but for the address.
type request struct {
	method, path, host string
	header             http.Header
	body               []byte
}

// pool is a number of connections, each with a client of its own: a round uses
// every one of them, and each keeps its connection from round to round.
type pool struct {
	clients []*http.Client
	proto   protocol
	rate    int // requests a second, all clients together; 0: flat out
}

func newPool(n int, proto protocol) *pool {
	p := &pool{proto: proto}
	for range n {
		// The certificates are those of programs that this one has started.
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxConnsPerHost: 1, DisableCompression: true} //nolint:gosec // loopback
		tr.Protocols = new(http.Protocols)
		tr.Protocols.SetHTTP1(proto != http2)
		tr.Protocols.SetHTTP2(proto == http2)
		p.clients = append(p.clients, &http.Client{Transport: tr, Timeout: 15 * time.Second})
	}
	return p
}

func (p *pool) close() {
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

// result is one round against one target.
type result struct {
	requests  int
	wall, cpu time.Duration
	took      []time.Duration // by each request, sorted
	answer    int             // bytes of the last body
}

// percentile is the time that so many of a hundred requests stayed below; took is sorted.
func percentile(took []time.Duration, of100 int) time.Duration { return took[len(took)*of100/100] }

func (r result) cpuPerRequest() time.Duration { return r.cpu / time.Duration(r.requests) }

// drive sends every request once and returns what that cost the process.
func (p *pool) drive(ctx context.Context, target *process, base string, requests []request) (result, error) {
	before, err := target.cpu()
	if err != nil {
		return result{}, err
	}
	begin := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	took := make([]time.Duration, len(requests))
	errs := make([]error, len(p.clients))
	sizes := make([]int, len(p.clients))
	for i, c := range p.clients {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(requests) {
					return
				}
				if errs[i] = p.turn(ctx, begin, n); errs[i] != nil {
					return
				}
				at := time.Now()
				if sizes[i], errs[i] = send(ctx, c, base, &requests[n]); errs[i] != nil {
					return
				}
				took[n] = time.Since(at)
			}
		})
	}
	wg.Wait()
	wall := time.Since(begin)
	after, err := target.cpu()
	if err = errors.Join(append(errs, err)...); err != nil {
		return result{}, fmt.Errorf("%s over %s: %w", target.name, p.proto, err)
	}
	slices.Sort(took)
	return result{
		requests: len(requests), wall: wall, cpu: after - before, took: took, answer: slices.Max(sizes),
	}, nil
}

// turn waits until request n is to be sent.
func (p *pool) turn(ctx context.Context, begin time.Time, n int) error {
	if p.rate == 0 {
		return nil
	}
	return pause(ctx, time.Until(begin.Add(time.Duration(n)*time.Second/time.Duration(p.rate))))
}

// send sends one request and returns the size of the answer, which must be 200.
func send(ctx context.Context, c *http.Client, base string, in *request) (int, error) {
	r, err := http.NewRequestWithContext(ctx, in.method, base+in.path, bytes.NewReader(in.body))
	if err != nil {
		return 0, err
	}
	r.Header, r.Host = in.header, in.host
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s %s: %s: %.300s", in.method, in.path, resp.Status, body)
	}
	return len(body), nil
}
