// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A request is one line to a driver: an operation of a service by the model's names, its input with the model's members.
// The service "credentials" is the client's default chain: "resolve" builds it anew, asks it as many
// times as the input's member "times" says, and gives what it found last.
type request struct {
	Service   string `json:"service"`
	Operation string `json:"operation"`
	Input     M      `json:"input"`
	Paginate  bool   `json:"paginate,omitempty"` // by the client's own paginator; output is {"pages": […]}
	Attempts  int    `json:"attempts,omitempty"` // of the client's own retries; 0: the client's default
}

// A reply is one line from a driver.
type reply struct {
	Output M        `json:"output,omitempty"`
	Error  *refusal `json:"error,omitempty"`
}

// A refusal is an error as a client shows it.
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Status  int    `json:"status,omitempty"` // 0 where the client does not say
	Typed   string `json:"typed,omitempty"`  // name of the client's type for it; "" where it has none
}

func (r *refusal) Error() string { return fmt.Sprintf("%s (%d): %s", r.Code, r.Status, r.Message) }

// lacking is the code of a driver whose client has no such service or operation.
const lacking = "ClientLacksOperation"

// A caller makes calls as one client with one identity.
type caller interface {
	call(ctx context.Context, r request) (M, error)
	close() error
}

// child is a driver that runs as a process of its own and speaks lines of JSON.
type child struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan []byte
	stderr *limited
	kill   context.CancelFunc

	mu sync.Mutex // one call at a time
}

// limited keeps the end of what is written to it.
type limited struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() > 64<<10 {
		l.buf.Reset()
	}
	return l.buf.Write(p)
}

func (l *limited) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return tail(strings.TrimSpace(l.buf.String()), 2000)
}

// startChild starts a driver. It lives until close, longer than the row that started it.
func startChild(ctx context.Context, name string, env []string, command ...string) (*child, error) {
	ctx, kill := context.WithCancel(context.WithoutCancel(ctx))
	c := &child{name: name, cmd: exec.CommandContext(ctx, command[0], command[1:]...), lines: make(chan []byte), stderr: new(limited), kill: kill}
	c.cmd.Env, c.cmd.Stderr, c.cmd.WaitDelay = env, c.stderr, 5*time.Second
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		kill()
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		kill()
		return nil, err
	}
	c.stdin = stdin
	if err := c.cmd.Start(); err != nil {
		kill()
		return nil, fmt.Errorf("start the driver of %s: %w", name, err)
	}
	go func() {
		defer close(c.lines)
		sc := bufio.NewScanner(stdout)
		sc.Buffer(nil, 16<<20)
		for sc.Scan() {
			select {
			case c.lines <- bytes.Clone(sc.Bytes()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return c, nil
}

func (c *child) call(ctx context.Context, r request) (M, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Input == nil {
		r.Input = M{}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("driver of %s: %w\n%s", c.name, err, c.stderr)
	}
	select {
	case answer, ok := <-c.lines:
		if !ok {
			return nil, fmt.Errorf("the driver of %s ended\n%s", c.name, c.stderr)
		}
		var got reply
		if err := decode(answer, &got); err != nil {
			return nil, fmt.Errorf("driver of %s: %w", c.name, err)
		}
		if got.Error != nil {
			return nil, got.Error
		}
		return got.Output, nil
	case <-ctx.Done():
		c.kill() // a late answer would be taken for the next one's
		return nil, ctx.Err()
	}
}

func (c *child) close() error {
	err := c.stdin.Close()
	late := time.AfterFunc(10*time.Second, c.kill)
	defer late.Stop()
	defer c.kill()
	for range c.lines { // the driver ends when there is nothing to read
	}
	if waited := c.cmd.Wait(); waited != nil {
		err = errors.Join(err, fmt.Errorf("driver of %s: %w\n%s", c.name, waited, c.stderr))
	}
	return err
}

func decode(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read %q: %w", tail(string(text), 200), err)
	}
	return nil
}
