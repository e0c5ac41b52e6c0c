// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command podid-agent is podid's node agent: a DaemonSet pod on the host's network that serves pods their credentials at
// http://169.254.170.23/v1/credentials and gets them from EKS Auth.
//
// This package owns flags, environment and signals, and nothing else; what the agent does is in internal/agent. It
// refuses to start with any flag problem, and names all of them at once.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version and commit are set by the linker.
var (
	version = "dev"
	commit  = "unknown"
)

// gcPercent halves the collections of a heap of few megabytes, which are most of what a cache hit costs beyond net/http.
// It adds some megabytes under load and none when idle, since settle gives back what the start left behind.
const gcPercent = 200

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

// run is the program: its exit status is 0, 1 for a failure, or 2 for wrong usage.
func run(ctx context.Context, args []string, env lookup, stdout, stderr io.Writer) int {
	root := newRoot(env, stdout)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "podid-agent: %v\n", err) //nolint:errcheck // there is no other place to tell
	if isUsage(err) {
		return 2
	}
	return 1
}
