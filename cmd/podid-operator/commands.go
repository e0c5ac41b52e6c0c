// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"podid/internal/operator"
)

// usageError is a mistake in flags, arguments or environment.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

func newRoot(env lookup, stdout, stderr io.Writer) *cobra.Command {
	var level string
	root := &cobra.Command{
		Use:   "podid-operator",
		Short: "EKS Pod Identity's webhook and controllers, for any Kubernetes",
		Long: `podid-operator runs in each cluster. Its webhook gives the pods of service accounts with a pod identity
association the variables, the token and the label that AWS' SDKs and the node agent look for.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q: want server, write-identities, uninstall or version", args[0])}
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.PersistentFlags().StringVar(&level, "log-level", "info", "what is logged: debug, info, warn or error")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	logger := func() (*slog.Logger, error) { return newLogger(stderr, level) }
	root.AddCommand(newServer(env, logger), newWriteIdentities(env, logger), newUninstall(env, logger), newVersion())
	return root
}

func newServer(env lookup, logger func() (*slog.Logger, error)) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Serve the webhook and run the controllers",
		Long:  "Serve the webhook and run the controllers of this cluster until SIGTERM or SIGINT.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, logErr := logger()
			if err := errors.Join(logErr, o.resolve(env, cmd.Flags().Changed)); err != nil {
				return usageError{err}
			}
			ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
			cfg, err := o.config(log)
			if err != nil {
				return usageError{err}
			}
			return withSettling(cmd.Context(), log, func(ctx context.Context) error { return operator.Run(ctx, cfg) })
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "podid-operator %s (%s)\n", version, commit)
			return err
		},
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, got %q", cmd.Name(), args)}
	}
	return nil
}

func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})), nil
}
