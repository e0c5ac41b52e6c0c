// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/internal/operator/uninstall"
)

func newUninstall(env lookup, logger func() (*slog.Logger, error)) *cobra.Command {
	var o options
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Take away what would wait for an operator that is gone",
		Long: `Delete the webhook's configuration, stop the operator, lift the finalizers of PodIdentityAssociation and
PodIdentityRolePolicy objects and delete what the operator kept in its namespace. Run it before the rest of
podid is deleted; the chart does so by itself. Objects stay, and so do the associations that they made.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, logErr := logger()
			err := errors.Join(logErr, resolve(env, cmd.Flags().Changed, []needed{{"namespace", &o.namespace, true}}))
			if timeout <= 0 {
				err = errors.Join(err, fmt.Errorf("--timeout %s: want more than nothing", timeout))
			}
			if err != nil {
				return usageError{err}
			}
			ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
			cfg, err := o.kubernetes()
			if err != nil {
				return usageError{err}
			}
			c, err := client.New(cfg, client.Options{})
			if err != nil {
				return fmt.Errorf("make a client of the API server: %w", err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return uninstall.Run(ctx, uninstall.Config{Client: c, Namespace: o.namespace, Poll: time.Second, Log: log})
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	text := texts(f)
	text(&o.namespace, "namespace", "", "the operator's namespace (required)")
	text(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the API server, where this runs outside of the cluster")
	f.DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait for the operator's pods to end")
	return cmd
}
