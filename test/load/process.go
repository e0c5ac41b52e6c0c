// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program under measurement.
type process struct {
	cmd    *exec.Cmd
	name   string
	log    *bytes.Buffer // standard error, and standard output where it is not read; only looked at when it has ended
	stdout *bufio.Reader
	pipe   io.Closer
}

// start runs a program. Its standard output is read by the caller if asked for.
func start(ctx context.Context, name string, env []string, readStdout bool, path string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, path, args...), name: name, log: new(bytes.Buffer)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 5 * time.Second
	if readStdout {
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		p.stdout, p.pipe = bufio.NewReader(out), out
	} else {
		p.cmd.Stdout = p.log
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// stop ends the program and waits for it.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	err := p.cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM {
		return nil // the floor has no handler for it
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w\n%s", p.name, err, p.log)
	}
	return nil
}

// cpu is the user and system time that the process has used so far, to the nanosecond: /proc counts in hundredths of a
// second, which is a twentieth of a short round.
func (p *process) cpu() (time.Duration, error) {
	var t unix.Timespec
	clock := ^int32(p.cmd.Process.Pid)<<3 | 2 // clock_getcpuclockid(3)
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("read CPU time of %s: %w", p.name, err)
	}
	return time.Duration(t.Nano()), nil
}

// rss is the resident memory in bytes.
func (p *process) rss() (int64, error) {
	f, err := p.stat()
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(f[21], 10, 64) // field 24
	if err != nil {
		return 0, fmt.Errorf("read memory of %s: %w", p.name, err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// stat returns the fields after the program's name, which may hold blanks.
func (p *process) stat() ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", p.name, err)
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 22 {
		return nil, fmt.Errorf("look at %s: /proc/PID/stat has %d fields", p.name, len(f))
	}
	return f, nil
}

// ready waits until the URL answers 200.
func ready(ctx context.Context, c *http.Client, p *process, url string) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := c.Do(r)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if gone := p.cmd.Process.Signal(syscall.Signal(0)); gone != nil {
			return fmt.Errorf("%s ended before it was ready: %w", p.name, gone)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", p.name, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}
