// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package process runs the daemons of a test cluster: each writes its log into
// a file, ends with the test program even when that is killed, and is waited
// for. It owns no knowledge of what the daemons do.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// grace is how long a daemon may take to end after SIGTERM.
const grace = 10 * time.Second

// tail is how much of a log an error shows.
const tail = 4096

// A Process is a running daemon.
type Process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; read after done
}

// Start runs a program as a daemon with its output in logDir/NAME.log, to which a restart appends.
func Start(logDir, name, program string, args ...string) (*Process, error) {
	if err := os.MkdirAll(logDir, 0o700); err != nil {
		return nil, err
	}
	p := &Process{name: name, log: filepath.Join(logDir, name+".log"), done: make(chan struct{})}
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	// A group of its own: a Ctrl-C at the terminal stops the test, which stops the daemons in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Log is the path of the log file.
func (p *Process) Log() string { return p.log }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Ready asks every 50 ms until ask does well. It gives up when ctx ends, or at
// once when the process does; the error then shows the end of the log.
func (p *Process) Ready(ctx context.Context, what string, ask func(context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended (%w) before %s\n%s", p.name, p.err, what, p.Tail())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last answer: %w\n%s", what, ctx.Err(), err, p.Tail())
		case <-tick.C:
		}
	}
}

// Stop ends the process with SIGTERM, or with SIGKILL after ten seconds, and waits for it.
func (p *Process) Stop() error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return p.Kill()
	}
}

// Kill ends the process at once and waits for it.
func (p *Process) Kill() error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

// Tail is the end of the log.
func (p *Process) Tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(text) > tail {
		text = text[len(text)-tail:]
	}
	return fmt.Sprintf("--- %s\n%s\n---", p.log, strings.TrimSpace(string(text)))
}
