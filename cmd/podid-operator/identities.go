// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"podid/internal/operator/feed"
	"podid/internal/operator/identities"
)

func newWriteIdentities(env lookup, logger func() (*slog.Logger, error)) *cobra.Command {
	var c connection
	var file string
	var once bool
	cmd := &cobra.Command{
		Use:   "write-identities",
		Short: "Keep the file that AWS' own pod identity webhook watches",
		Long: `Keep the file of AWS' own pod identity webhook (its --watch-container-credentials-config) as the associations of a cluster
are, until SIGTERM or SIGINT. No Kubernetes is needed. Outside of a cluster AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY may
stand in for the operator's role and token; their principal needs podid:FollowAssociations on the cluster.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, logErr := logger()
			c.keys = keysOf(env)
			err := errors.Join(logErr, c.resolve(env, cmd.Flags().Changed))
			if file == "" {
				err = errors.Join(err, errors.New("--file is required"))
			}
			if err != nil {
				return usageError{err}
			}
			client, err := c.client()
			if err != nil {
				return usageError{err}
			}
			defer client.Close()
			return writeIdentities(cmd.Context(), feed.Config{Cluster: c.cluster, Caller: client, Log: log}, file, once)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	c.register(f)
	f.StringVar(&file, "file", "", "the file (required)")
	f.BoolVar(&once, "once", false, "write it once and end")
	return cmd
}

// writeIdentities follows the feed and writes the file, once or until ctx ends.
func writeIdentities(ctx context.Context, cfg feed.Config, file string, once bool) error {
	m, err := feed.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	cfg.Metrics = m
	f := feed.New(cfg)
	w := &identities.Writer{Feed: f, Path: file, Log: cfg.Log}
	ctx, stop := context.WithCancel(ctx)
	following := make(chan error, 1)
	go func() { following <- f.Run(ctx) }()
	if !once {
		err = w.Start(ctx)
	} else {
		select {
		case <-f.Synced():
			err = w.Write(ctx)
		case <-ctx.Done():
			err = errors.New("ended before the associations were known")
		}
	}
	stop()
	return errors.Join(err, <-following)
}
