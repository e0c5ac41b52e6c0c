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
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// attackCommand is the first argument of the process that means harm.
	attackCommand = "attack"
	// hostileAddr is the address of the pod that means harm; the others are at 127.0.0.1.
	hostileAddr = "127.0.0.66"
)

// attack is what a hostile pod does.
type attack struct {
	Name        string
	Kind        string
	Rate        int // of requests or new connections, in a second
	Connections int
	Tokens      []string
	Rise        time.Duration // until it is at its height
}

// Kinds of attack.
const (
	pestering = "pester"  // requests with the tokens in turn, whatever the answer is
	shouting  = "shout"   // a request with the first token on a new connection, written at once
	dribbling = "dribble" // requests on many connections, byte by byte
	hoarding  = "hoard"   // connections that are opened and kept
)

// attacker is a process of its own: what it takes must not delay those who measure, but by the machine that all share.
type attacker struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *strings.Builder
}

// begin starts the attack on the address and waits until it is at its height.
func (a attack) begin(ctx context.Context, addr string) (*attacker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &attacker{cmd: exec.CommandContext(ctx, self, attackCommand, addr), out: new(strings.Builder)}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the attack: %w", err)
	}
	if err = errors.Join(json.NewEncoder(stdin).Encode(a), pause(ctx, a.Rise)); err != nil {
		_, endErr := p.end()
		return nil, fmt.Errorf("attack: %w", errors.Join(err, endErr))
	}
	return p, nil
}

// end ends the attack and returns the number of attempts.
func (p *attacker) end() (tried int, err error) {
	if err = errors.Join(p.stdin.Close(), p.cmd.Wait()); err == nil {
		_, err = fmt.Sscan(p.out.String(), &tried)
	}
	if err != nil {
		err = fmt.Errorf("end the attack: %w: %s", err, p.out)
	}
	return tried, err
}

// attackUntilEOF does what standard input says to the address of its argument until that ends, and prints how many attempts it was.
func attackUntilEOF(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("%s: want an address", attackCommand)
	}
	in := json.NewDecoder(stdin)
	var a attack
	if err := in.Decode(&a); err != nil {
		return fmt.Errorf("%s: %w", attackCommand, err)
	}
	kinds := map[string]func(attack, context.Context, string, *atomic.Int64){
		pestering: attack.pester, shouting: attack.shout, dribbling: attack.dribble, hoarding: attack.hoard,
	}
	run := kinds[a.Kind]
	if run == nil || a.Rate < 1 || len(a.Tokens) == 0 && (a.Kind == pestering || a.Kind == shouting) {
		return fmt.Errorf("%s: no such attack: %q with %d tokens, %d a second", attackCommand, a.Kind, len(a.Tokens), a.Rate)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_ = in.Decode(new(struct{})) // its end, of whatever kind
		stop()
	}()
	var tried atomic.Int64
	run(a, ctx, args[0], &tried)
	_, err := fmt.Fprintln(stdout, tried.Load())
	return err
}

// every waits until the n-th attempt since begin is due; it is false when ctx has ended.
func (a attack) every(ctx context.Context, begin time.Time, n int) bool {
	return pause(ctx, time.Until(begin.Add(time.Duration(n)*time.Second/time.Duration(a.Rate)))) == nil
}

// hostileDialer connects from the hostile pod's address.
func hostileDialer() *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(hostileAddr)}, Timeout: time.Second}
}

// pester uses 16 connections.
func (a attack) pester(ctx context.Context, addr string, tried *atomic.Int64) {
	tr := &http.Transport{DialContext: hostileDialer().DialContext, MaxConnsPerHost: 16, MaxIdleConnsPerHost: 16}
	defer tr.CloseIdleConnections()
	begin := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for n := int(next.Add(1)); a.every(ctx, begin, n); n = int(next.Add(1)) {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/credentials", nil)
				if err != nil {
					return
				}
				r.Header, r.Host = http.Header{"Authorization": {a.Tokens[n%len(a.Tokens)]}}, "169.254.170.23"
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

// shout writes the request's text as it is: net/http's client would spend more on so long a header than the agent.
func (a attack) shout(ctx context.Context, addr string, tried *atomic.Int64) {
	text := []byte("GET /v1/credentials HTTP/1.1\r\nHost: 169.254.170.23\r\nAuthorization: " + a.Tokens[0] + "\r\n\r\n")
	begin := time.Now()
	var wg sync.WaitGroup
	for n := 0; a.every(ctx, begin, n); n++ {
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

// dribble writes a byte a second on each of its connections.
func (a attack) dribble(ctx context.Context, addr string, tried *atomic.Int64) {
	const text = "GET /v1/credentials HTTP/1.1\r\nHost: 169.254.170.23\r\nAuthorization: "
	begin := time.Now()
	var wg sync.WaitGroup
	for n := range a.Connections {
		wg.Go(func() {
			if !a.every(ctx, begin, n) { // not all in one moment
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

// hoard opens its connections and keeps them.
func (a attack) hoard(ctx context.Context, addr string, tried *atomic.Int64) {
	const workers = 8
	begin := time.Now()
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			var kept []net.Conn
			for n := worker; n < a.Connections && a.every(ctx, begin, n); n += workers {
				conn, err := hostileDialer().DialContext(ctx, "tcp", addr)
				tried.Add(1)
				if err == nil {
					kept = append(kept, conn)
				}
			}
			<-ctx.Done()
			for _, conn := range kept {
				_ = conn.(*net.TCPConn).SetLinger(0) // or the kernel keeps the port, and looks long for one that is free
				_ = conn.Close()                     // most are closed by the agent
			}
		})
	}
	wg.Wait()
}
