// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"podid/internal/controlplane"
	"podid/internal/homecluster"
	"podid/internal/resident"
	"podid/internal/seal"
	"podid/internal/serverconfig"
)

// serverCommand is `podid server` and what works on its data directory.
func serverCommand(stdout, stderr io.Writer) *cobra.Command {
	flags := serverconfig.NewFlags()
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the control plane",
		Long: `Run the control plane: the EKS API for pod identity associations, EKS Auth, IAM and STS
on one listener, with an embedded etcd as its store unless --etcd-endpoints names another.

The first start makes the account and an IAM user, podid-admin, whose key it leaves in
the file admin-credentials of the data directory. Clients need three settings:

  export AWS_ENDPOINT_URL=https://HOST:8443
  export AWS_CA_BUNDLE=DATA-DIR/tls/ca.crt
  export AWS_SHARED_CREDENTIALS_FILE=DATA-DIR/admin-credentials
`,
		Example: `  podid server --account-id 111122223333 --region us-west-2
  podid server --config /etc/podid/server.yaml`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags.AddTo(cmd.PersistentFlags())
	// The settings in their groups, in place of cobra's list of flags.
	cmd.SetUsageFunc(func(c *cobra.Command) error {
		if c != cmd {
			c.SetUsageFunc(nil)
			return c.Root().UsageFunc()(c)
		}
		_, err := fmt.Fprintf(c.OutOrStderr(), "Usage:\n  %s\n  %s COMMAND\n\nExamples:\n%s\n\nCommands:\n", c.UseLine(), c.CommandPath(), c.Example)
		for _, sub := range c.Commands() {
			_, err = fmt.Fprintf(c.OutOrStderr(), "  %-14s %s\n", sub.Name(), sub.Short)
		}
		if err == nil {
			_, err = fmt.Fprint(c.OutOrStderr(), "\n", flags.Usage())
		}
		return err
	})
	load := func(env serverconfig.Env) (controlplane.Config, error) {
		settings, err := flags.Load(env)
		if err != nil {
			return controlplane.Config{}, err
		}
		return controlplane.Config{
			Settings: settings, Release: version, Log: newLog(stderr, settings), Now: time.Now, Rand: rand.Reader, Stdout: stdout,
		}, nil
	}
	loadData := func() (controlplane.Config, error) { return load(dataEnv()) }
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(serverconfig.OS())
		if err != nil {
			return err
		}
		pacing, stop := context.WithCancel(cmd.Context())
		defer stop()
		go resident.Pace{Headroom: 48 << 20, Min: 100, Max: 800}.Keep(pacing)
		cp, err := controlplane.Open(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		own, err := homeCluster(cfg, cp)
		if err != nil {
			return errors.Join(err, cp.Close())
		}
		cfg.Log.Info("podid server is ready", "address", cp.Addr().String(), "account", cp.Account().ID, "region", cp.Account().Region, "ca", cp.CAFile(), "release", version)
		g, ctx := errgroup.WithContext(cmd.Context())
		g.Go(func() error { return cp.Run(ctx) })
		if own != nil {
			g.Go(func() error { return own.Run(ctx) })
		}
		return g.Wait()
	}
	cmd.AddCommand(newRootKeyCommand(stdout), resetAdminCommand(loadData, stdout), snapshotCommand(loadData, stdout))
	return cmd
}

// homeCluster is what the server does for the cluster that it runs in, nil
// where the settings ask for nothing.
func homeCluster(cfg controlplane.Config, cp *controlplane.ControlPlane) (*homecluster.Config, error) {
	if !homecluster.Wanted(cfg.Settings) {
		return nil, nil //nolint:nilnil // nothing is wanted
	}
	return homecluster.New(cfg.Settings, cp, os.Environ(), cfg.Log)
}

// dataEnv is the environment for commands that work on data which names its
// account and region itself: neither has to be given.
func dataEnv() serverconfig.Env {
	env := serverconfig.OS()
	given := env.Lookup
	env.Lookup = func(name string) (string, bool) {
		if v, ok := given(name); ok {
			return v, true
		}
		v, ok := map[string]string{"PODID_ACCOUNT_ID": "000000000000", "PODID_REGION": "us-east-1"}[name]
		return v, ok
	}
	return env
}

func newLog(w io.Writer, s serverconfig.Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: s.LogLevel}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

type loader func() (controlplane.Config, error)

func newRootKeyCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "new-root-key FILE",
		Short: "Make a root key for replicas to share",
		Long: `Make a root key, which seals the secrets in the store, for --root-key-file. With an embedded store the
first start makes one; replicas over an etcd cluster need the same, and it has to be there before
they start. FILE is made with mode 0600 and never replaced; - is standard output.`,
		Example: `  podid server new-root-key root.key
  podid server new-root-key - | kubectl -n podid-system create secret generic podid-root-key --from-file=root.key=/dev/stdin`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "-" {
				return seal.WriteRootKey(stdout, rand.Reader)
			}
			key, err := seal.CreateRootKey(args[0], rand.Reader)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(stdout, "Root key %s is in %s. Keep a copy apart from backups of the store: without it they cannot be read.\n", key.ID(), args[0])
			return err
		},
	}
}

func resetAdminCommand(load loader, stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "reset-admin",
		Short: "Give podid-admin a new key and AdministratorAccess back",
		Long: `Give podid-admin a new key and AdministratorAccess back. All other keys and policies of the
user are taken away. It works on the data directory only, while the server is stopped:
whoever holds the data directory holds the root key, and needs no other permission.
Of several accounts it is the first one's, or that of --account-id.`,
		Example: `  podid server reset-admin --data-dir /var/lib/podid
  podid server reset-admin --data-dir /var/lib/podid --account-id 444455556666`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			file, err := controlplane.ResetAdmin(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(stdout, "The new key of %s is in %s\n", controlplane.AdminUser, file)
			return err
		},
	}
}

func snapshotCommand(load loader, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Save and restore the store",
		Long: `Save and restore the store. A snapshot holds every record, secrets sealed; to use it elsewhere
the root key file is needed as well. Keep the two apart.`,
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "save FILE",
		Short:   "Write a consistent copy of the store to a file",
		Long:    "Write a consistent copy of the store to FILE: of a stopped server's data directory, or of the etcd at --etcd-endpoints at any time.",
		Example: `  podid server snapshot save backup.db --data-dir /var/lib/podid`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			if err := controlplane.SaveSnapshot(cmd.Context(), cfg, args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(stdout, "Saved to %s. The root key, %s, is not in it.\n", args[0], cfg.Settings.RootKeyFile)
			return err
		},
	}, &cobra.Command{
		Use:     "restore FILE",
		Short:   "Make the store of an empty data directory from a snapshot",
		Long:    "Make the store of a data directory from FILE. The directory must not hold a store; put the root key in place first or after.",
		Example: `  podid server snapshot restore backup.db --data-dir /var/lib/podid`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			if err := controlplane.RestoreSnapshot(cfg, args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(stdout, "Restored to %s\n", cfg.Settings.DataDir)
			return err
		},
	})
	return cmd
}
