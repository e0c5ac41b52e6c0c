// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"podid/internal/agent"
	"podid/internal/agent/handover"
	"podid/internal/agent/linklocal"
)

// usageError is a mistake in flags, arguments or environment.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

func newRoot(env lookup, stdout io.Writer) *cobra.Command {
	var verbosity string
	root := &cobra.Command{
		Use:   "podid-agent",
		Short: "EKS Pod Identity's node agent, for any Kubernetes",
		Long: `podid-agent runs on every node. Pods whose service account has a pod identity association ask it for
credentials at http://169.254.170.23/v1/credentials (IPv6: http://[fd00:ec2::23]/v1/credentials); it
exchanges their service account token at EKS Auth, caches the answer and renews it in time.

A node needs two steps, the first once and with the right to administer its network:

  podid-agent initialize
  podid-agent server --cluster-name my-cluster --region eu-west-1 --endpoint https://podid.example:8443`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q: want server, initialize, arrived or version", args[0])}
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.PersistentFlags().StringVarP(&verbosity, "verbosity", "v", "info", "what is logged: panic, error, info or trace")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	logger := func() (*slog.Logger, error) { return newLogger(stdout, verbosity) }
	root.AddCommand(newServer(env, logger), newInitialize(logger), newArrived(), newVersion())
	return root
}

func newServer(env lookup, logger func() (*slog.Logger, error)) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Serve credentials to the pods of this node",
		Long: `Serve credentials to the pods of this node until SIGTERM or SIGINT.

The agent signs its calls as, in this order: the shared credentials file (--rotate-credentials); the node
role (--node-role-arn with --node-token-file, a projected token of audience podid.dev/control-plane); else
whatever the AWS SDK's default chain finds.

Endpoints: --endpoint, else AWS_ENDPOINT_URL_EKS_AUTH, else AWS_ENDPOINT_URL, else AWS' own of the region.
The same for STS with --sts-endpoint and AWS_ENDPOINT_URL_STS.

Metrics: Prometheus reads them at --metrics-address. They are pushed to an OpenTelemetry collector, too, where
--otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT names one; OpenTelemetry's other variables of OTLP metrics count then.`,
		Example: `  podid-agent server --cluster-name my-cluster --region eu-west-1 --endpoint https://podid.example:8443 \
    --ca-file /etc/podid/ca.crt --node-role-arn arn:aws:iam::111122223333:role/podid-node \
    --node-token-file /var/run/secrets/podid.dev/token`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, logErr := logger()
			err := errors.Join(logErr, o.resolve(env, cmd.Flags().Changed))
			if err != nil {
				return usageError{err}
			}
			return serve(cmd.Context(), &o, log)
		},
	}
	o.register(cmd.Flags())
	return cmd
}

// serve assembles the agent and runs it.
func serve(ctx context.Context, o *options, log *slog.Logger) error {
	cfg, err := o.agentConfig(ctx, log)
	if err != nil {
		return usageError{err}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	cfg.Registerer, cfg.Gatherer = registry, registry
	a, err := agent.New(cfg)
	if err != nil {
		return usageError{err}
	}
	if o.setUpLink {
		if err := setUpLink(log); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case <-a.Ready():
			settle(log)
			keepSettled(ctx, a.Work, func() { settle(log) })
		case <-ctx.Done():
		}
		return nil
	})
	if o.setUpLink {
		group.Go(func() error { return linklocal.Watch(ctx, linkConfig(log)) })
	}
	group.Go(func() error { return a.Run(ctx) })
	return group.Wait()
}

func newInitialize(logger func() (*slog.Logger, error)) *cobra.Command {
	return &cobra.Command{
		Use:   "initialize",
		Short: "Give this node the link-local addresses, then exit",
		Long: `Make the interface pod-id-link0 with 169.254.170.23/32 and fd00:ec2::23/128 and a route to each, then exit.
Running it again changes nothing. It needs the right to administer the network (NET_ADMIN). Where the kernel
has no dummy interfaces the addresses go to lo; where it has no IPv6 only IPv4 is set up.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			log, err := logger()
			if err != nil {
				return usageError{err}
			}
			return setUpLink(log)
		},
	}
}

func newArrived() *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use:   "arrived",
		Short: "Tell whether the server of this container has arrived",
		Long: `Exit with status 0 if a server with this --state-dir serves, or is ready to as soon as the one before it ends.
It is the startup probe of a server that takes over from another one (--handover-dir): until it has, /healthz and
/readyz are answered by the one before, which is on the same network.`,
		Example: `  podid-agent arrived --state-dir /run/podid-state`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if stateDir == "" {
				return usageError{errors.New("--state-dir is required")}
			}
			return handover.Arrived(stateDir)
		},
	}
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "that of the server")
	return cmd
}

func linkConfig(log *slog.Logger) linklocal.Config {
	return linklocal.Config{IPv4: netip.MustParseAddr(agent.DefaultIPv4Host), IPv6: netip.MustParseAddr(agent.DefaultIPv6Host), Log: log}
}

func setUpLink(log *slog.Logger) error {
	if err := linklocal.Setup(linkConfig(log)); err != nil {
		return err
	}
	log.Info("link-local addresses are set up")
	return nil
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "podid-agent %s (%s)\n", version, commit)
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

// newLogger writes JSON lines. AWS' agent's four words are levels: trace is everything, panic nearly nothing.
func newLogger(w io.Writer, verbosity string) (*slog.Logger, error) {
	levels := map[string]slog.Level{
		"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo,
		"warn": slog.LevelWarn, "error": slog.LevelError, "panic": slog.LevelError + 4,
	}
	level, ok := levels[verbosity]
	if !ok {
		return nil, fmt.Errorf("--verbosity %q: want panic, error, info or trace", verbosity)
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
}
