// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// measure makes all figures of one run. What it says on progress goes to note.
func measure(ctx context.Context, o options, note io.Writer) (rep *report, err error) {
	dir, err := os.MkdirTemp("", "podid-load-")
	if err != nil {
		return nil, err
	}
	if o.keep {
		fmt.Fprintln(note, "load: data in", dir) //nolint:errcheck // progress
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	rep = newReport(o)
	w, err := openWorld(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.server.stop()) }()
	rep.ready(w)
	if err := w.warm(ctx, o); err != nil {
		return nil, err
	}
	for _, k := range []kind{{exchange, w.exchanges}, {assumeRole, w.assumes}} {
		if o.only != "" && o.only != k.name {
			continue
		}
		for _, proto := range []protocol{http1, http2} {
			if err := w.compare(ctx, o, k, proto, rep); err != nil {
				return nil, err
			}
		}
	}
	if rep.loadRSS, err = w.server.rss(); err != nil {
		return nil, err
	}
	if o.agent != "" && o.only == "" {
		if err := w.compareHit(ctx, o, filepath.Join(dir, "agent"), rep); err != nil {
			return nil, err
		}
	}
	return rep, nil
}

// floorTimes is how often the floor answers each request: it is fast, and a
// short round scatters.
const floorTimes = 2

// warmUp is what each target answers before the clock starts.
func warmUp(n int) int { return min(500, n) }

// The names of what is compared.
const (
	exchange   = "exchange"
	assumeRole = "AssumeRole"
	agentHit   = "agent hit"
)

// kind is requests of one kind, ready to be sent.
type kind struct {
	name string
	make func(ctx context.Context, n int) ([]request, error)
}

// warm lets the server's heap grow to where it stays: the kernel clears a page for it once, which is no part of a request. The
// floor's heap is there after the first few hundred.
func (w *world) warm(ctx context.Context, o options) error {
	requests, err := w.assumes(ctx, min(10_000, 4*o.requests))
	if err != nil {
		return err
	}
	server := side{w.server, w.base, newPool(o.connections, http2)}
	defer server.conns.close()
	_, err = server.drive(ctx, requests)
	return err
}

// compare drives server and floor in turns.
func (w *world) compare(ctx context.Context, o options, k kind, proto protocol, rep *report) error {
	server := side{w.server, w.base, newPool(o.connections, proto)}
	defer server.conns.close()
	first, err := k.make(ctx, warmUp(o.requests))
	if err != nil {
		return err
	}
	return besideFloor(ctx, server, first, func(floor side) error {
		p := rep.pair(k.name, proto)
		for range o.rounds {
			requests, err := k.make(ctx, o.requests)
			if err != nil {
				return err
			}
			if err := p.round(ctx, server, floor, requests, floorTimes); err != nil {
				return err
			}
		}
		return nil
	})
}

// startFloor runs this program again as the floor.
func startFloor(ctx context.Context, size int, secure bool) (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	p, err := start(ctx, "floor", nil, true, self, floorCommand, "-size", strconv.Itoa(size), "-tls="+strconv.FormatBool(secure))
	if err != nil {
		return nil, "", err
	}
	addr, err := p.stdout.ReadString('\n')
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("start the floor: %w", err), p.stop())
	}
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	return p, scheme + strings.TrimSpace(addr), nil
}

// compareHit runs an agent on the node and asks it again and again for the
// credentials of pods that it knows.
func (w *world) compareHit(ctx context.Context, o options, dir string, rep *report) (err error) {
	a, base, err := w.startAgent(ctx, o, dir, "--max-request-rate", "0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	if err := pause(ctx, o.settle); err != nil {
		return err
	}
	if rep.agentRSS, err = a.rss(); err != nil {
		return err
	}
	hits, err := w.hits(o.requests)
	if err != nil {
		return err
	}
	known := side{a, base, newPool(o.connections, plain1)}
	defer known.conns.close()
	return besideFloor(ctx, known, hits[:warmUp(o.requests)], func(floor side) error {
		p := rep.pair(agentHit, plain1)
		for range o.rounds {
			if err := p.round(ctx, known, floor, hits, floorTimes); err != nil {
				return err
			}
		}
		return nil
	})
}

// startAgent runs podid-agent as it runs on a node, but on loopback and
// without the limit of requests that would end a flat-out round.
func (w *world) startAgent(ctx context.Context, o options, dir string, flags ...string) (*process, string, error) {
	token, err := w.tokens.token(nodeAudience, "podid-system", "podid-agent", "podid-agent-x")
	if err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	tokenFile := filepath.Join(dir, "token")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		return nil, "", err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, "", err
	}
	args := append([]string{
		"server", "--cluster-name", cluster, "--region", region,
		"--endpoint", w.base, "--sts-endpoint", w.base, "--ca-file", filepath.Join(w.dir, "tls", "ca.crt"), "--node-role-arn", w.nodeRole,
		"--node-token-file", tokenFile, "--node-name", node, "--bind-hosts", "127.0.0.1", "--port", ports[0], "--probe-port", ports[1],
		"--metrics-port", ports[2],
	}, flags...)
	a, err := start(ctx, "podid-agent", nil, false, o.agent, args...)
	if err != nil {
		return nil, "", err
	}
	if err := ready(ctx, &http.Client{Timeout: time.Second}, a, "http://127.0.0.1:"+ports[1]+"/readyz"); err != nil {
		return nil, "", errors.Join(err, a.stop())
	}
	return a, "http://127.0.0.1:" + ports[0], nil
}

// hits are requests of a few pods, over and over.
func (w *world) hits(n int) ([]request, error) {
	tokens, err := w.tokens.podTokens(serviceAccounts, w.accounts)
	if err != nil {
		return nil, err
	}
	out := make([]request, n)
	for i := range out {
		out[i] = request{
			method: http.MethodGet, path: "/v1/credentials", host: "169.254.170.23",
			header: http.Header{"Authorization": {tokens[i%len(tokens)]}, "User-Agent": {"aws-sdk-go-v2/1.47.7"}},
		}
	}
	return out, nil
}
