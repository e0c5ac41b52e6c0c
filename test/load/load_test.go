// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is the floor or the attack when the measurement runs this program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == floorCommand || os.Args[1] == attackCommand) {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestSmoke makes every figure once, on little work and with no bound: that
// the measurement works is a matter for tests, how fast podid is is not.
func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "../../cmd/podid", "../../cmd/podid-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var out bytes.Buffer
	args := []string{"-podid", filepath.Join(dir, "podid"), "-agent", filepath.Join(dir, "podid-agent"), "-n", "40", "-rounds", "1", "-c", "4", "-settle", "10ms"}
	if err := run(t.Context(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	line, table, _ := strings.Cut(out.String(), "\n")
	var got struct {
		ServerIdleBytes, AgentIdleBytes int64
		Comparisons                     []comparison
	}
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("%v\n%s", err, line)
	}
	if len(got.Comparisons) != 5 || got.ServerIdleBytes == 0 || got.AgentIdleBytes == 0 {
		t.Errorf("figures are missing:\n%s", line)
	}
	for _, want := range []string{"exchange, CPU, HTTP/1.1", "exchange, CPU, h2", "AssumeRole, CPU, HTTP/1.1", "agent hit", "empty directory to ready", "agent, resident, idle"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in the table:\n%s", want, table)
		}
	}
}

// TestAgentSet makes the agent's figures once, on little work and with no bound.
func TestAgentSet(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "podid-agent")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../cmd/podid-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var out bytes.Buffer
	args := []string{"-set", "agent", "-agent", bin, "-n", "40", "-rounds", "1", "-pods", "20", "-settle", "10ms"}
	if err := run(t.Context(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"hit, 64 connections", "hit, paced", "cold fetch", "resident, 20 pods", "with Kubernetes features", "one new token, hang", "slow client", "renewals due at once", "outage: served", "denial honoured",
		"hostile pods: others' p99, forged tokens", "hostile pods: resident",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

// TestOperatorSet makes the operator's figures once, on little work and with no bound.
func TestOperatorSet(t *testing.T) {
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", dir+"/", "../../cmd/podid", "../../cmd/podid-operator")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var out bytes.Buffer
	args := []string{"-set", "operator", "-podid", filepath.Join(dir, "podid"), "-operator", filepath.Join(dir, "podid-operator"), "-n", "40", "-rounds", "1", "-c", "4", "-settle", "10ms", "-associations", "20", "-many", "200"}
	if err := run(t.Context(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"start to ready", "resident, idle, 20 associations", "review, 20 associations, HTTP/1.1: CPU", "review, 20 associations, h2: CPU", "acknowledged to honoured", "resident, idle, 200 associations", "review, 200 associations",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func rounds(cpu ...time.Duration) (out []result) {
	for _, c := range cpu {
		out = append(out, result{requests: 10, cpu: 10 * c, wall: time.Second})
	}
	return out
}

func TestVerdict(t *testing.T) {
	const us = time.Microsecond
	fine := report{readyWall: time.Second, idleRSS: 1 << 20, agentRSS: 1 << 20, pairs: []*pair{
		{name: exchange, proto: http2, got: rounds(300*us, 100*us, 900*us), base: rounds(100*us, 50*us, 100*us)},
	}}
	if err := fine.verdict(); err != nil {
		t.Errorf("a median of 3 times the floor is refused: %v", err)
	}
	over := report{readyWall: 2 * time.Second, idleRSS: 90 << 20, agentRSS: 16 << 20, pairs: []*pair{
		{name: agentHit, proto: plain1, got: rounds(17 * us), base: rounds(10 * us)},
	}}
	err := over.verdict()
	for _, want := range []string{"agent hit", "ready after 2s", "idle server", "idle agent"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestRefusesBadBounds(t *testing.T) {
	for _, args := range [][]string{{"-n", "0"}, {"-rounds", "21"}, {"-c", "1000"}, {"-nonsense"}, {"-only", "nothing"}, {"-podid", "/nonexistent/podid"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
