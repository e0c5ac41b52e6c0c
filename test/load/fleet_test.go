// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFleetSet starts a few pods on three nodes, with no bound.
func TestFleetSet(t *testing.T) {
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+"/", "../../cmd/podid", "../../cmd/podid-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var out bytes.Buffer
	args := []string{"-set", "fleet", "-podid", filepath.Join(dir, "podid"), "-agent", filepath.Join(dir, "podid-agent"), "-nodes", "3", "-fleet-pods", "30", "-fleet-time", "1s", "-settle", "10ms"}
	if err := run(t.Context(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"30 pods in 1s over 3 nodes: first requests that failed", "p99", "server's CPU"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	for _, args := range [][]string{{"-set", "fleet", "-nodes", "0"}, {"-set", "fleet", "-fleet-time", "1h"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
