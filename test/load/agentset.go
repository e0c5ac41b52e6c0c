// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// agentBench measures an agent by itself, before a stub of EKS Auth; podid-agent with tokens that it verifies.
type agentBench struct {
	o      options
	dir    string
	stub   *stub
	tokens *signer
	agent  subject
	figures
}

// subject is an agent: ours, or AWS' beside it.
type subject struct {
	name, path string
	flags      []string // beside those that both have
}

// without is the agent without these flags and their values.
func (s subject) without(flags ...string) subject {
	s.flags = slices.Clone(s.flags)
	for _, flag := range flags {
		if i := slices.Index(s.flags, flag); i >= 0 {
			s.flags = slices.Delete(s.flags, i, i+2)
		}
	}
	return s
}

// measureAgent makes the figures of the agent and prints them.
func measureAgent(ctx context.Context, o options, stdout, note io.Writer) (err error) {
	b := &agentBench{o: o}
	if b.dir, err = os.MkdirTemp("", "podid-load-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.tokens, err = newSigner(); err != nil {
		return err
	}
	keys, err := json.Marshal(b.tokens.jwks())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "jwks"), keys, 0o600); err != nil {
		return err
	}
	if b.stub, err = newStub(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stub.close()) }()
	b.agent = subject{"podid-agent", o.agent, []string{
		"--region", region, "--max-request-rate", "0", "--jwks-file", filepath.Join(b.dir, "jwks"), "--issuer", issuer,
	}}
	for _, part := range append(b.parts(), part{"Kubernetes", b.kubernetes}, part{"hostile pods", b.hostile}) {
		fmt.Fprintln(note, "load: agent:", part.name) //nolint:errcheck // progress
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if o.awsAgent != "" {
		b.beside(ctx, note)
	}
	return b.write(stdout, "podid-agent", o.check)
}

// part is one of the things that are measured.
type part struct {
	name string
	run  func(context.Context) error
}

// parts are those that every agent can be measured by.
func (b *agentBench) parts() []part {
	return []part{
		{"size and start", b.start},
		{"hits", b.hits},
		{"cold", b.cold},
		{"herd", b.herd},
		{"slow client", b.slow},
		{"backlog", b.backlog},
		{"outage", b.outage},
		{"denial", b.denial},
	}
}

// beside measures AWS' own agent in the same way and puts its figures beside ours. What it cannot
// be measured by, such as more requests than it lets through, is told and keeps nothing else.
func (b *agentBench) beside(ctx context.Context, note io.Writer) {
	aws := &agentBench{o: b.o, dir: b.dir, stub: b.stub, tokens: b.tokens, agent: subject{
		"AWS' agent", b.o.awsAgent, []string{"--metrics-address", "127.0.0.1", "--max-service-qps", "10"}, // or it does not start with a renewal this soon
	}}
	for _, part := range aws.parts() {
		fmt.Fprintln(note, "load: AWS' agent:", part.name) //nolint:errcheck // progress
		aws.stub.set(stubGrant, 6*time.Hour)
		if err := part.run(ctx); err != nil {
			fmt.Fprintf(note, "load: AWS' agent: %s: %v\n", part.name, err) //nolint:errcheck // progress
		}
	}
	b.compare(aws.agent.name, aws.rows)
	fmt.Fprintln(note, "load: both agents: cold") //nolint:errcheck // progress
	b.stub.set(stubGrant, 6*time.Hour)
	err := b.coldBeside(ctx, b.agent, aws.agent, "cold fetch: CPU, in turns")
	trusting := b.agent.without("--jwks-file", "--issuer") // as AWS' agent, which verifies nothing
	if err = errors.Join(err, b.coldBeside(ctx, trusting, aws.agent, "the same without verification")); err != nil {
		fmt.Fprintf(note, "load: both agents: cold: %v\n", err) //nolint:errcheck // progress
	}
}

// coldBeside compares fetches for pods that are new, in turns: of two agents one after the other, each meets a machine of
// its own mood.
func (b *agentBench) coldBeside(ctx context.Context, one, other subject, name string) error {
	const rounds, pods, bound = 15, 100, 0.40 // together fewer pods than either agent keeps
	return b.run(ctx, one, nil, func(a *process, base string) error {
		return b.run(ctx, other, nil, func(otherA *process, otherBase string) error {
			mine, theirs := side{a, base, newPool(16, plain1)}, side{otherA, otherBase, newPool(16, plain1)}
			defer mine.conns.close()
			defer theirs.conns.close()
			p := &pair{name: "cold"}
			for range rounds {
				requests, err := b.pods(pods)
				if err != nil {
					return err
				}
				if err := p.round(ctx, mine, theirs, requests, 1); err != nil {
					return err
				}
			}
			got, least := median(p.got), median(p.base)
			b.row(p.ratio() > bound, name, fmt.Sprintf("%.2f x %s", bound, other.name), "%.2f x %s (%.0f of %.0f us)",
				p.ratio(), other.name, micro(got.cpuPerRequest()), micro(least.cpuPerRequest()))
			return nil
		})
	})
}

// with runs the agent while f measures it.
func (b *agentBench) with(ctx context.Context, flags []string, f func(a *process, base string) error) error {
	return b.run(ctx, b.agent, flags, f)
}

// run runs an agent while f measures it.
func (b *agentBench) run(ctx context.Context, agent subject, flags []string, f func(a *process, base string) error) (err error) {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	args := append([]string{
		"server", "--cluster-name", "c", "--endpoint", b.stub.base, "--bind-hosts", "127.0.0.1",
		"--port", ports[0], "--probe-port", ports[1], "--metrics-port", ports[2],
	}, append(slices.Clone(agent.flags), flags...)...)
	env := []string{"AWS_ACCESS_KEY_ID=ASIABENCH", "AWS_SECRET_ACCESS_KEY=bench", "AWS_REGION=" + region, "NODE_NAME=" + node}
	a, err := start(ctx, agent.name, env, false, agent.path, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	starting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := ready(starting, &http.Client{Timeout: time.Second}, a, "http://127.0.0.1:"+ports[1]+"/readyz"); err != nil {
		return err
	}
	return f(a, "http://127.0.0.1:"+ports[0])
}

// pods are requests of n pods, all new.
func (b *agentBench) pods(n int) ([]request, error) {
	tokens, err := b.tokens.podTokens(n, []string{"bench"})
	if err != nil {
		return nil, err
	}
	out := make([]request, n)
	for i, token := range tokens {
		out[i] = request{
			method: http.MethodGet, path: "/v1/credentials", host: "169.254.170.23",
			header: http.Header{"Authorization": {token}, "User-Agent": {"aws-sdk-go-v2/1.47.7"}},
		}
	}
	return out, nil
}

// start measures the binary and the time from its start to ready, the best of a few: the machine's mood only adds.
func (b *agentBench) start(ctx context.Context) error {
	info, err := os.Stat(b.agent.path)
	if err != nil {
		return err
	}
	b.row(info.Size() > 14e6, "binary", "14 MB", "%s", mega(info.Size()))
	best := time.Hour
	for range 5 {
		begin := time.Now()
		err := b.with(ctx, nil, func(*process, string) error {
			best = min(best, time.Since(begin))
			return nil
		})
		if err != nil {
			return err
		}
	}
	b.row(best > 30*time.Millisecond, "start to ready", "30 ms", "%d ms", best.Milliseconds())
	return nil
}

// hits compares answers from the cache with an empty handler.
func (b *agentBench) hits(ctx context.Context) error {
	pods, err := b.pods(16)
	if err != nil {
		return err
	}
	requests := make([]request, b.o.requests)
	for i := range requests {
		requests[i] = pods[i%len(pods)]
	}
	return b.with(ctx, nil, func(a *process, base string) error {
		for _, c := range []struct {
			connections, rate int
			bound             float64
		}{{16, 0, 1.25}, {64, 0, 1.25}, {16, 800, 1.15}} {
			err = errors.Join(err, b.compareHits(ctx, a, base, requests, c.connections, c.rate, c.bound))
		}
		return err
	})
}

func (b *agentBench) compareHits(ctx context.Context, a *process, base string, requests []request, connections, rate int, bound float64) error {
	name := fmt.Sprintf("hit, %d connections, flat out", connections)
	if rate > 0 {
		name = fmt.Sprintf("hit, paced at %d/s", rate)
	}
	known := side{a, base, newPool(connections, plain1)}
	defer known.conns.close()
	return besideFloor(ctx, known, requests[:warmUp(len(requests))], func(floor side) error {
		known.conns.rate, floor.conns.rate = rate, rate
		rounds, requests := b.o.rounds, requests
		if rate > 0 { // most of the CPU is going to sleep and waking up, which scatters: more rounds, each shorter
			rounds, requests = 4*rounds, requests[:(len(requests)+3)/4]
		}
		p := &pair{name: agentHit}
		for range rounds {
			if err := p.round(ctx, known, floor, requests, 1); err != nil {
				return err
			}
		}
		got, least := median(p.got), median(p.base)
		b.row(p.ratio() > bound, name+": CPU", fmt.Sprintf("%.2f x empty", bound), "%.2f x empty (%.0f us)", p.ratio(), micro(got.cpuPerRequest()))
		if rate == 0 {
			share := least.wall.Seconds() / got.wall.Seconds()
			b.row(share < 0.8, name+": hits/s", "0.80 x empty", "%.2f x empty (%.0f)", share, float64(got.requests)/got.wall.Seconds())
		}
		return nil
	})
}

// cold measures fetches for pods that are new, and memory before and after.
func (b *agentBench) cold(ctx context.Context) error {
	pods, err := b.pods(b.o.pods)
	if err != nil {
		return err
	}
	return b.with(ctx, nil, func(a *process, base string) error {
		if err := pause(ctx, b.o.settle); err != nil {
			return err
		}
		idle, err := a.rss()
		if err != nil {
			return err
		}
		conns := newPool(16, plain1)
		defer conns.close()
		got, err := conns.drive(ctx, a, base, pods)
		if err != nil {
			return err
		}
		if err := pause(ctx, b.o.settle); err != nil {
			return err
		}
		full, err := a.rss()
		if err != nil {
			return err
		}
		b.row(false, "cold fetch: CPU", "", "%.0f us", micro(got.cpuPerRequest()))
		b.row(idle > 13e6, "resident, idle", "13 MB", "%s", mega(idle))
		b.row(full > 20e6, fmt.Sprintf("resident, %d pods", len(pods)), "20 MB", "%s", mega(full))
		return nil
	})
}

// herd: 64 callers at once with one new token.
func (b *agentBench) herd(ctx context.Context) error {
	return b.with(ctx, nil, func(_ *process, base string) error {
		for _, mode := range []struct {
			name string
			mode stubMode
		}{{"healthy", stubGrant}, {"500", stubFail}, {"hang", stubHang}} {
			pods, err := b.pods(1)
			if err != nil {
				return err
			}
			b.stub.set(mode.mode, 6*time.Hour)
			var wg sync.WaitGroup
			var slowest time.Duration
			var mu sync.Mutex
			for range 64 {
				wg.Go(func() {
					begin := time.Now()
					_, _ = b.ask(ctx, base, &pods[0])
					mu.Lock()
					defer mu.Unlock()
					slowest = max(slowest, time.Since(begin))
				})
			}
			wg.Wait()
			calls := len(b.stub.seen())
			b.row(calls != 1, "64 callers, one new token, "+mode.name, "1 call", "%d call, slowest answer %.1f s", calls, slowest.Seconds())
		}
		b.stub.set(stubGrant, 6*time.Hour)
		return nil
	})
}

// ask makes one request on a connection of its own and returns the status.
func (b *agentBench) ask(ctx context.Context, base string, in *request) (int, error) {
	r, err := http.NewRequestWithContext(ctx, in.method, base+in.path, nil)
	if err != nil {
		return 0, err
	}
	r.Header, r.Host = in.header, in.host
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second}
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// slow is a client that begins a request and says no more.
func (b *agentBench) slow(ctx context.Context) error {
	return b.with(ctx, nil, func(_ *process, base string) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", base[len("http://"):])
		if err != nil {
			return err
		}
		defer conn.Close()
		begin := time.Now()
		if _, err := io.WriteString(conn, "GET /v1/cred"); err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, conn) // until the agent hangs up
		took := time.Since(begin)
		b.row(took > 10*time.Second, "slow client closed after", "10 s", "%.1f s", took.Seconds())
		return nil
	})
}

// backlog: renewals that are all due at once.
func (b *agentBench) backlog(ctx context.Context) error {
	const pods, age = 150, 10 * time.Second
	requests, err := b.pods(pods)
	if err != nil {
		return err
	}
	b.stub.set(stubGrant, 6*time.Hour)
	flags := []string{"--max-credential-retention-before-renewal", age.String(), "--max-cache-size", "200"}
	return b.with(ctx, flags, func(a *process, base string) error {
		conns := newPool(16, plain1)
		defer conns.close()
		if _, err := conns.drive(ctx, a, base, requests); err != nil {
			return err
		}
		due := time.Now().Add(age)
		for limit := due.Add(time.Minute); ; {
			if calls := b.stub.seen(); len(calls) >= 2*pods {
				took := calls[2*pods-1].Sub(due)
				b.row(took > 30*time.Second, fmt.Sprintf("%d renewals due at once", pods), "30 s", "%.1f s", took.Seconds())
				return nil
			}
			if time.Now().After(limit) {
				b.row(true, fmt.Sprintf("%d renewals due at once", pods), "30 s", "%d in a minute", len(b.stub.seen())-pods)
				return nil
			}
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	})
}

// outage: EKS Auth answers 500 from the first renewal on; until when are credentials served?
func (b *agentBench) outage(ctx context.Context) error {
	const life = 30 * time.Second
	return b.lastServed(ctx, stubFail, life, nil, func(_, served time.Time) {
		early := b.stub.end().Sub(served)
		b.row(early > 1100*time.Millisecond, "outage: served until", "the last second", "%.2f s before the end", early.Seconds())
	})
}

// denial: EKS Auth denies from the first renewal on, 10 s after the start.
func (b *agentBench) denial(ctx context.Context) error {
	flags := []string{"--max-credential-retention-before-renewal", "10s", "--max-cache-size", "100"}
	return b.lastServed(ctx, stubDeny, time.Hour, flags, func(began, served time.Time) {
		took := served.Sub(began)
		b.row(took > 13*time.Second, "denial honoured at the renewal after 10 s", "13 s", "%.1f s", took.Seconds())
	})
}

// lastServed fetches credentials with that life, switches the stub, and asks until the pod is refused.
func (b *agentBench) lastServed(ctx context.Context, mode stubMode, life time.Duration, flags []string, report func(began, served time.Time)) error {
	pods, err := b.pods(1)
	if err != nil {
		return err
	}
	b.stub.set(stubGrant, life)
	defer b.stub.set(stubGrant, 6*time.Hour)
	return b.with(ctx, flags, func(_ *process, base string) error {
		begin, served := time.Now(), time.Time{}
		for time.Since(begin) < time.Minute {
			status, err := b.ask(ctx, base, &pods[0])
			if err != nil {
				return err
			}
			if status != http.StatusOK {
				report(begin, served)
				return nil
			}
			served = time.Now()
			if len(b.stub.seen()) == 1 {
				b.stub.set(mode, life)
			}
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
		return errors.New("the pod is served for a minute on end")
	})
}
