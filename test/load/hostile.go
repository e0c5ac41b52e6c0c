// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// hostileAddr is the address of the pod that means harm; the others are at 127.0.0.1.
	hostileAddr = "127.0.0.66"
	// othersRate is how often the others ask together, in a second.
	othersRate = 400
	// maxSlower bounds the others' p99 while somebody means harm, beside a quiet time's in the same minute.
	maxSlower = 2.0
	// maxHostileRSS is the limit of memory that the chart gives an agent.
	maxHostileRSS = 128 << 20
)

// attack is what a hostile pod does until ctx ends; it counts its attempts.
type attack struct {
	name string
	run  func(ctx context.Context, addr string, tried *atomic.Int64)
}

// hostile measures what other pods notice of one that means harm: their p99, the agent's memory, calls upstream.
func (b *agentBench) hostile(ctx context.Context) error {
	pods, err := b.pods(17)
	if err != nil {
		return err
	}
	flooder, pods := pods[16], pods[:16]
	attacks, err := b.attacks(flooder)
	if err != nil {
		return err
	}
	b.stub.set(stubGrant, 6*time.Hour)
	asItComes := b.agent.without("--max-request-rate")
	return b.run(ctx, asItComes, nil, func(a *process, base string) error {
		conns := newPool(len(pods), plain1)
		defer conns.close()
		if _, err := conns.drive(ctx, a, base, append(slices.Clone(pods), flooder)); err != nil {
			return err
		}
		conns.rate = othersRate
		requests := slices.Repeat(pods, 1+min(b.o.requests, 800)/len(pods))
		legitimate, most := len(b.stub.seen()), int64(0)
		for _, attack := range attacks {
			rss, err := b.suffer(ctx, a, base, conns, requests, attack)
			if err != nil {
				return fmt.Errorf("%s: %w", attack.name, err)
			}
			most = max(most, rss)
		}
		b.row(most > maxHostileRSS, "hostile pods: resident at most", mega(maxHostileRSS), "%s", mega(most))
		calls := len(b.stub.seen()) - legitimate
		b.row(calls > 0, "hostile pods: calls upstream for them", "0", "%d", calls)
		return nil
	})
}

// suffer drives the others in a quiet time and under the attack, in turns, and returns the agent's memory under it.
func (b *agentBench) suffer(ctx context.Context, a *process, base string, conns *pool, requests []request, attack attack) (rss int64, err error) {
	var slower []float64
	var quiets, louds []time.Duration
	tries := int64(0)
	for range min(b.o.rounds, 3) {
		quiet, err := conns.drive(ctx, a, base, requests)
		if err != nil {
			return 0, err
		}
		var tried atomic.Int64
		attacking, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { attack.run(attacking, strings.TrimPrefix(base, "http://"), &tried) })
		err = pause(ctx, 500*time.Millisecond) // until it is at its height
		var loud result
		if err == nil {
			loud, err = conns.drive(ctx, a, base, requests)
		}
		now, rssErr := a.rss()
		stop()
		wg.Wait()
		if err != nil || rssErr != nil {
			return 0, fmt.Errorf("others are not served: %w", errors.Join(err, rssErr))
		}
		rss = max(rss, now)
		tries += tried.Load()
		quiets, louds = append(quiets, quiet.p99), append(louds, loud.p99)
		slower = append(slower, float64(loud.p99)/float64(quiet.p99))
	}
	slices.Sort(slower)
	slices.Sort(quiets)
	slices.Sort(louds)
	ratio, n := slower[len(slower)/2], len(slower)/2
	b.row(ratio > maxSlower, "hostile pods: others' p99, "+attack.name, fmt.Sprintf("%.1f x quiet", maxSlower), "%.1f x quiet (%.1f of %.1f ms), %d attempts",
		ratio, millis(louds[n]), millis(quiets[n]), tries)
	return rss, nil
}

// attacks are of one pod; each has a rate, since what eats this machine's CPUs by itself says nothing about the agent.
func (b *agentBench) attacks(flooder request) ([]attack, error) {
	forged, err := b.forged()
	if err != nil {
		return nil, err
	}
	long := []byte("GET /v1/credentials HTTP/1.1\r\nHost: 169.254.170.23\r\nAuthorization: " + strings.Repeat("x", 2<<20) + "\r\n\r\n")
	return []attack{
		{"slow requests on 1,000 connections", dribble(1000)},
		{"headers of 2 MB", shout(20, long)},
		{"forged tokens", pester(1000, forged)},
		{"10,000 connections", hoard(10_000)},
		{"a flood with its own token", pester(2000, []http.Header{flooder.header})}, // twice what one pod may ask
	}, nil
}

// forged are tokens that nobody may be given credentials for.
func (b *agentBench) forged() ([]http.Header, error) {
	other, err := newSigner()
	if err != nil {
		return nil, err
	}
	const rs256 = `{"alg":"RS256","kid":"` + keyID + `"}`
	of := func(change func(claims map[string]any)) map[string]any {
		c := claims(podAudience, namespace, "sa", "sa-0")
		change(c)
		return c
	}
	var out []http.Header
	for _, f := range []struct {
		by     *signer
		header string
		change func(map[string]any)
	}{
		{other, rs256, func(map[string]any) {}}, // another cluster's key
		{b.tokens, `{"alg":"none"}`, func(map[string]any) {}},
		{b.tokens, `{"alg":"RS256","kid":"unknown"}`, func(map[string]any) {}},
		{b.tokens, rs256, func(c map[string]any) { c["iss"] = "https://another.example" }},
		{b.tokens, rs256, func(c map[string]any) { c["aud"] = []string{"sts.amazonaws.com"} }},
		{b.tokens, rs256, func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() }},
		{b.tokens, rs256, func(c map[string]any) {
			c["kubernetes.io"].(map[string]any)["node"] = map[string]string{"name": "another-node", "uid": "u"}
		}},
	} {
		token, err := f.by.sign(f.header, of(f.change))
		if err != nil {
			return nil, err
		}
		out = append(out, http.Header{"Authorization": {token}})
	}
	return append(out, http.Header{"Authorization": {"garbage"}}, http.Header{"Authorization": {strings.Repeat("a.", 4000)}}), nil
}

// hostileDialer connects from the hostile pod's address.
func hostileDialer() *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(hostileAddr)}, Timeout: time.Second}
}

// pester sends requests with these headers in turn, so many a second over 16 connections, whatever the answer is.
func pester(rate int, headers []http.Header) func(context.Context, string, *atomic.Int64) {
	return func(ctx context.Context, addr string, tried *atomic.Int64) {
		tr := &http.Transport{DialContext: hostileDialer().DialContext, MaxConnsPerHost: 16, MaxIdleConnsPerHost: 16}
		defer tr.CloseIdleConnections()
		begin := time.Now()
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for {
					n := next.Add(1)
					if pause(ctx, time.Until(begin.Add(time.Duration(n)*time.Second/time.Duration(rate)))) != nil {
						return
					}
					r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/credentials", nil)
					if err != nil {
						return
					}
					r.Header, r.Host = headers[n%int64(len(headers))], "169.254.170.23"
					tried.Add(1)
					if resp, err := tr.RoundTrip(r); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close() // nothing of it is wanted
					}
				}
			})
		}
		wg.Wait()
	}
}

// shout writes the text on a new connection, so many times a second, at once: net/http's client would spend more on so
// long a header than the agent.
func shout(rate int, text []byte) func(context.Context, string, *atomic.Int64) {
	return func(ctx context.Context, addr string, tried *atomic.Int64) {
		var wg sync.WaitGroup
		for pause(ctx, time.Second/time.Duration(rate)) == nil {
			wg.Go(func() {
				conn, err := hostileDialer().DialContext(ctx, "tcp", addr)
				if err != nil {
					return
				}
				tried.Add(1)
				defer conn.Close() //nolint:errcheck // whatever became of it
				if conn.SetDeadline(time.Now().Add(2*time.Second)) == nil {
					_, _ = conn.Write(text) // the agent hangs up long before its end
					_, _ = io.Copy(io.Discard, conn)
				}
			})
		}
		wg.Wait()
	}
}

// dribble keeps so many connections that send a request byte by byte.
func dribble(connections int) func(context.Context, string, *atomic.Int64) {
	return func(ctx context.Context, addr string, tried *atomic.Int64) {
		const text = "GET /v1/credentials HTTP/1.1\r\nHost: 169.254.170.23\r\nAuthorization: "
		var wg sync.WaitGroup
		for n := range connections {
			wg.Go(func() {
				if pause(ctx, time.Duration(n)*time.Second/time.Duration(2*connections)) != nil { // not all in one moment
					return
				}
				for ctx.Err() == nil {
					conn, err := hostileDialer().DialContext(ctx, "tcp", addr)
					if err != nil {
						_ = pause(ctx, time.Second)
						continue
					}
					tried.Add(1)
					for i := 0; err == nil && pause(ctx, time.Second) == nil; i++ {
						_, err = io.WriteString(conn, text[i%len(text):i%len(text)+1])
					}
					_ = conn.Close() // whatever became of it
				}
			})
		}
		wg.Wait()
	}
}

// hoard opens connections and keeps them, in the first half second.
func hoard(connections int) func(context.Context, string, *atomic.Int64) {
	return func(ctx context.Context, addr string, tried *atomic.Int64) {
		const workers = 8
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				kept := make([]net.Conn, 0, connections/workers)
				for range connections / workers {
					conn, err := hostileDialer().DialContext(ctx, "tcp", addr)
					if ctx.Err() != nil {
						break
					}
					tried.Add(1)
					if err == nil {
						kept = append(kept, conn)
					}
				}
				<-ctx.Done()
				for _, conn := range kept {
					_ = conn.Close() // most are closed by the agent
				}
			})
		}
		wg.Wait()
	}
}
