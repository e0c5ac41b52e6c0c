// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command podid-operator is podid's part in each cluster: the mutating webhook
// that gives pods what AWS' SDKs look for, and the controllers around it.
//
// This package owns flags, environment and signals, and nothing else; what the
// operator does is in internal/operator. It refuses to start with any flag
// problem, and names all of them at once.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version and commit are set by the linker.
var (
	version = "dev"
	commit  = "unknown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

// run is the program: its exit status is 0, 1 for a failure, or 2 for wrong usage.
func run(ctx context.Context, args []string, env lookup, stdout, stderr io.Writer) int {
	root := newRoot(env, stdout, stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "podid-operator: %v\n", err) //nolint:errcheck // there is no other place to tell
	if isUsage(err) {
		return 2
	}
	return 1
}
