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
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// stage is where the demo plays: a running `podid dev` and the environment
// that it wrote.
type stage struct {
	dir, podid, app string
	env             []string
	roleARN         string
}

// start runs podid dev and waits for its env file.
func (s *stage) start(ctx context.Context) (stop func() error, err error) {
	cmd := exec.Command(s.podid, "dev", "--dir", s.dir, "--clusters", cluster+",other")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	say(cmd.Args)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start podid dev (run `make build`): %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	stop = func() error {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			return err
		}
		if err := <-done; err != nil {
			return fmt.Errorf("podid dev did not stop cleanly: %w\n%s", err, log.String())
		}
		return nil
	}
	path := filepath.Join(s.dir, "env")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return nil, fmt.Errorf("podid dev ended: %w\n%s", err, log.String())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), stop())
		case <-tick.C:
		}
		if _, err := os.Stat(path); err == nil {
			break
		}
	}
	fmt.Printf("  ready after %d ms; . %s\n", time.Since(began).Milliseconds(), path)
	if s.env, err = readEnv(path); err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// readEnv is what `. DIR/env` does to a shell without AWS settings.
func readEnv(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if v, ok := strings.CutPrefix(sc.Text(), "export "); ok {
			k, quoted, _ := strings.Cut(v, "=")
			env = append(env, k+"="+strings.Trim(quoted, "'"))
		}
	}
	return env, sc.Err()
}

func say(args []string) {
	shown := slices.Clone(args)
	shown[0] = filepath.Base(shown[0])
	for i, a := range shown {
		if strings.ContainsAny(a, " {}\"") {
			shown[i] = "'" + a + "'"
		}
	}
	fmt.Println("  $", strings.Join(shown, " "))
}

// result is what a command came to.
type result struct {
	status         int
	stdout, stderr string
}

// do runs podid with the stage's environment and shows what it did.
func (s *stage) do(ctx context.Context, args ...string) (result, error) {
	return s.run(ctx, true, args...)
}

// ask runs podid and keeps what it prints to itself.
func (s *stage) ask(ctx context.Context, args ...string) (result, error) {
	return s.run(ctx, false, args...)
}

func (s *stage) run(ctx context.Context, show bool, args ...string) (result, error) {
	cmd := exec.CommandContext(ctx, s.podid, args...)
	cmd.Env = s.env
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	say(cmd.Args)
	err := cmd.Run()
	r := result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return r, err
	}
	if show {
		indent(r.stdout + r.stderr)
	}
	return r, nil
}

func indent(text string) {
	for line := range strings.Lines(text) {
		fmt.Print("    ", line)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		fmt.Println()
	}
}

// must runs podid and wants it to do well.
func (s *stage) must(ctx context.Context, args ...string) (result, error) {
	r, err := s.do(ctx, args...)
	if err == nil && r.status != 0 {
		err = fmt.Errorf("exit status %d", r.status)
	}
	return r, err
}

// auditEvent is what the demo reads of an audit line.
type auditEvent struct {
	EventName string `json:"eventName"`
	Podid     struct {
		AccessKeyIDIssued string `json:"accessKeyIdIssued"`
		SessionTags       []struct {
			Key   string `json:"key"`
			Value string `json:"value"`
		} `json:"sessionTags"`
	} `json:"podid"`
}

// issued finds the audit line of the exchange that issued an access key id.
func (s *stage) issued(accessKeyID string) (auditEvent, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "server", "audit", "audit.log"))
	if err != nil {
		return auditEvent{}, err
	}
	for line := range bytes.Lines(text) {
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return e, fmt.Errorf("audit line %.80q: %w", line, err)
		}
		if e.Podid.AccessKeyIDIssued == accessKeyID && e.EventName == "AssumeRoleForPodIdentity" {
			return e, nil
		}
	}
	return auditEvent{}, fmt.Errorf("the audit log has no line about %s", accessKeyID)
}
