// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"podid/internal/dev"
)

// devCommand is `podid dev`.
func devCommand(stdout, stderr io.Writer) *cobra.Command {
	cfg := dev.Config{Release: version, Out: stdout, Now: time.Now, Rand: rand.Reader}
	verbose := false
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run control plane, local clusters and agents in one process, without Kubernetes",
		Long: `Run control plane, local clusters and their node agents in one process on loopback, to try
roles, trust policies and associations without Kubernetes. Everything is the real thing but the
clusters' API servers, for which an issuer of service account tokens stands, and a keeper of
namespaces and service accounts: what eksctl looks for in a cluster.

With --dir the state is kept, and DIR/env appears when all is ready: shell exports that make the
AWS CLI, the SDKs, eksctl and podid talk to this process. Without --dir everything goes when it stops.`,
		Example: `  podid dev --dir ./state
  podid dev --dir ./state --clusters my-cluster,other

  # in another shell
  . ./state/env
  podid whoami`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelDebug
			}
			cfg.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
			return dev.Run(cmd.Context(), cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Dir, "dir", "", "`directory` that keeps the state and receives the file env")
	f.StringSliceVar(&cfg.Clusters, "clusters", []string{"my-cluster"}, "`names` of the local clusters; the first is the default")
	f.StringVar(&cfg.AccountID, "account-id", "111122223333", "the account's 12-digit `number`")
	f.StringVar(&cfg.Region, "region", "us-west-2", "the `region` that is stood for")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "loopback `address` of the API; port 0 is any free one")
	f.IntVar(&cfg.Limit, "association-limit", 5000, "pod identity associations of one cluster, to try out what happens at the quota")
	f.BoolVarP(&verbose, "verbose", "v", false, "log everything to standard error")
	return cmd
}
