// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// asAgent makes the test's own binary be the agent.
const asAgent = "PODID_TEST_AS_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

// node is where agents run one after the other: ports, folders and EKS Auth.
type node struct {
	t                    *testing.T
	port, probe, metrics string
	run, state           string
	calls                atomic.Int64
	outage               atomic.Bool
	auth                 *httptest.Server
	log                  lines
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, port: freePort(t), probe: freePort(t), metrics: freePort(t)}
	for _, dir := range []*string{&n.run, &n.state} {
		d, err := os.MkdirTemp("/dev/shm", "podid")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(d) })
		*dir = d
	}
	n.auth = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			http.NotFound(w, r) // no feed
		case n.outage.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprintf(w, `{"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/r/eks-x"},"credentials":{"accessKeyId":"ASIA%d","secretAccessKey":"s","sessionToken":"t","expiration":%d}}`, //nolint:errcheck // a test server
				n.calls.Add(1), time.Now().Add(6*time.Hour).Unix())
		}
	}))
	t.Cleanup(n.auth.Close)
	t.Cleanup(func() {
		if t.Failed() {
			n.log.mu.Lock()
			defer n.log.mu.Unlock()
			t.Log(n.log.text.String())
		}
	})
	return n
}

type process struct {
	*exec.Cmd
	t    *testing.T
	done chan error
}

// start starts an agent, and returns when it serves.
func (n *node) start() *process {
	n.t.Helper()
	served := n.log.count("serving credentials")
	p := n.begin()
	n.until("the agent serves", func() bool { return n.log.count("serving credentials") > served })
	return p
}

// begin starts an agent.
func (n *node) begin() *process {
	n.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	p := &process{t: n.t, done: make(chan error, 1)}
	p.Cmd = exec.Command(exe, "server", "--cluster-name", "c", "--region", "r", "--endpoint", n.auth.URL, "--jwks-source", "none", //nolint:gosec // the test itself
		"-b", "127.0.0.1", "--port", n.port, "--probe-port", n.probe, "--metrics-port", n.metrics, "--handover-dir", n.run, "--state-dir", n.state)
	p.Env = append(os.Environ(), asAgent+"=1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_EC2_METADATA_DISABLED=true")
	p.Stdout, p.Stderr = &n.log, &n.log
	if err := p.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() { p.done <- p.Wait() }()
	n.t.Cleanup(func() { _ = p.Process.Kill() })
	return p
}

func (n *node) until(what string, met func() bool) {
	n.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(40 * time.Second)
	defer end.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-end.C:
			n.t.Fatalf("never came about: %s", what)
		}
	}
}

// end tells the process to end, which it does without an error.
func (p *process) end() {
	p.t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := <-p.done; err != nil {
		p.t.Errorf("ended: %v", err)
	}
}

func podToken(pod int) string {
	enc := base64.RawURLEncoding
	claims, err := json.Marshal(map[string]any{
		"exp": time.Now().Add(time.Hour).Unix(), "kubernetes.io": map[string]any{
			"namespace": "ns", "pod": map[string]any{"uid": fmt.Sprint("uid-", pod)}, "serviceaccount": map[string]any{"name": "sa"},
		},
	})
	if err != nil {
		panic(err)
	}
	return enc.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + enc.EncodeToString(claims) + "." + enc.EncodeToString([]byte("s"))
}

// client is a pod that forgives nothing: it has no connection but its own, uses that as long as the agent does not say
// that it ends, and repeats no request.
type client struct {
	address string
	keep    bool
	conn    net.Conn
	from    *bufio.Reader
}

func (c *client) ask(token string) (err error) {
	if c.conn == nil {
		if c.conn, err = net.Dial("tcp", c.address); err != nil {
			return err
		}
		c.from = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c.conn, "GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: "+token+"\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.from, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("%d %s", resp.StatusCode, body))
	}
	if resp.Close || !c.keep {
		err = c.conn.Close()
		c.conn = nil
	}
	return err
}

// load asks all the time, as pods do; the returned function ends that and tells what failed.
func (n *node) load(tokens []string) func() (asked int64, failed []error) {
	var asked atomic.Int64
	var mu sync.Mutex
	var failed []error
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			c := &client{address: "127.0.0.1:" + n.port, keep: i%2 == 0}
			pace := time.NewTicker(time.Duration(1+i) * time.Millisecond)
			defer pace.Stop()
			for k := i; ; k++ {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				asked.Add(1)
				if err := c.ask(tokens[k%len(tokens)]); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
					c.conn = nil
				}
			}
		})
	}
	return func() (int64, []error) {
		close(stop)
		clients.Wait()
		return asked.Load(), failed
	}
}

// TestUpgrade: two upgrades and a failed one under load. No request fails, and none goes upstream twice.
func TestUpgrade(t *testing.T) {
	n := newNode(t)
	first := n.start()
	var tokens []string
	for pod := range 20 {
		tokens = append(tokens, podToken(pod))
	}
	end := n.load(tokens)
	n.until("every pod has asked", func() bool { return n.calls.Load() == int64(len(tokens)) })
	n.outage.Store(true) // from now on nothing but what was handed over can be served

	second := n.start()
	n.until("the first stands by", func() bool { return n.log.count("standing by") == 1 })
	if err := get(t.Context(), "http://127.0.0.1:"+n.probe+"/readyz"); err != nil {
		t.Errorf("probe after the first hand-over: %v", err)
	}
	first.end()

	// One that comes and goes before the one before has been told to end: that one serves again.
	third := n.start()
	n.until("the second stands by", func() bool { return n.log.count("standing by") == 2 })
	third.end()
	n.until("the second serves again", func() bool { return n.log.count("serving again") == 1 })

	fourth := n.start()
	n.until("the second stands by again", func() bool { return n.log.count("standing by") == 3 })
	second.end()
	asked, failed := end()
	if len(failed) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(failed), asked, failed[0])
	}
	if asked < 500 || n.calls.Load() != int64(len(tokens)) {
		t.Errorf("%d requests, %d calls upstream", asked, n.calls.Load())
	}
	t.Logf("%d requests across four processes, none failed", asked)
	fourth.end()
}

// TestRestart: a container that was killed and starts anew serves what it had, although EKS Auth is away.
func TestRestart(t *testing.T) {
	n := newNode(t)
	first := n.start()
	c := &client{address: "127.0.0.1:" + n.port}
	token := podToken(1)
	if err := c.ask(token); err != nil {
		t.Fatal(err)
	}
	n.outage.Store(true)
	first.end() // which keeps the state at once; after a kill it is that of 10 s before
	second := n.start()
	if err := c.ask(token); err != nil {
		t.Error(err)
	}
	if n.calls.Load() != 1 {
		t.Errorf("%d calls upstream", n.calls.Load())
	}
	if err := second.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-second.done; err == nil {
		t.Error("ended in an orderly way although it was killed")
	}
	third := n.start()
	if err := c.ask(token); err != nil {
		t.Errorf("after a kill: %v", err)
	}
	third.end()
}

// TestArrived: the startup probe is told of this container's process, not of the one that answers on its network; and a
// process that waits for one that hands nothing over has arrived, since that one is told to end only then.
func TestArrived(t *testing.T) {
	n := newNode(t)
	probe := func() int {
		return run(t.Context(), []string{"arrived", "--state-dir", n.state}, environ(), io.Discard, io.Discard)
	}
	before, err := net.Listen("tcp", "127.0.0.1:"+n.port)
	if err != nil {
		t.Fatal(err)
	}
	if status := probe(); status != 1 {
		t.Errorf("status %d before there is a process", status)
	}
	p := n.begin()
	n.until("the process has arrived", func() bool { return probe() == 0 })
	if n.log.count("serving credentials") > 0 {
		t.Error("it serves on an address that another one has")
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	n.until("it serves", func() bool { return n.log.count("serving credentials") == 1 })
	if status := probe(); status != 0 {
		t.Errorf("status %d while it serves", status)
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-p.done; err == nil {
		t.Error("ended in an orderly way although it was killed")
	}
	if status := probe(); status != 1 {
		t.Errorf("status %d after it was killed", status)
	}
	if status := run(t.Context(), []string{"arrived"}, environ(), io.Discard, io.Discard); status != 2 {
		t.Errorf("status %d without a folder", status)
	}
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%d %s", resp.StatusCode, body))
	}
	return errors.Join(err, resp.Body.Close())
}
