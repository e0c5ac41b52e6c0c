// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command podid is podid's control plane, its development mode and its
// command line in one static binary. It wires rooms by name and holds no rule.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"podid/internal/cli"
)

// Set by the linker.
var (
	version = "devel"
	commit  = "unknown"
)

func main() { os.Exit(podid()) }

func podid() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
}

func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(environ, cli.Streams{In: stdin, Out: stdout, Err: stderr})
	root.SetArgs(args)
	return cli.Report(stderr, root.ExecuteContext(ctx))
}

// newRoot joins the client commands and those that package cli may not import.
func newRoot(environ []string, s cli.Streams) *cobra.Command {
	return cli.New(cli.Config{
		Streams: s, Version: version + " (" + commit + ")", Environ: environ, Now: time.Now,
		Extra: []*cobra.Command{serverCommand(s.Out, s.Err), devCommand(s.Out, s.Err), policyCommand(s.In, s.Out), adminCommand(s.Out, s.Err)},
	})
}
