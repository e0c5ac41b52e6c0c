// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"podid/internal/controlplane"
	"podid/internal/secret"
	"podid/internal/serverconfig"
)

// adminCommand is `podid admin`, for those who can reach the data directory.
func adminCommand(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Help the administrator of a server, beside its data directory",
		Long:  `Help the administrator of a server. These commands read the server's data directory, and need no other permission.`,
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(adminCredentials(stdout, stderr))
	return cmd
}

func adminCredentials(stdout, stderr io.Writer) *cobra.Command {
	flags := serverconfig.NewFlags()
	format := ""
	cmd := &cobra.Command{
		Use:   "credentials",
		Short: "Print the admin's access key",
		Long: `Print the access key of podid-admin, which the first start of podid server left in its data directory.
It is the one that whoever may run a command beside the server can have; no Secret holds it.

--format env is shell exports, json is what AWS' SDKs take from a credential_process, and profile is
the text of a shared credentials file. The data directory is that of --data-dir, of PODID_DATA_DIR
or /var/lib/podid. With PODID_ETCD_ENDPOINTS the key is looked up in the store where this replica
was not the first to start. podid server reset-admin makes a new key.`,
		Example: `  eval "$(kubectl exec -n podid-system podid-0 -- podid admin credentials)"

  # in ~/.aws/config
  credential_process = kubectl exec -n podid-system podid-0 -- podid admin credentials --format json`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write, ok := credentialForms[format]
			if !ok {
				return fmt.Errorf("--format %q: want env, json or profile", format)
			}
			env := dataEnv()
			if env.Home == "" { // a container's
				env.Root = true
			}
			settings, err := flags.Load(env)
			if err != nil {
				return err
			}
			id, key, err := controlplane.AdminCredentials(cmd.Context(), controlplane.Config{Settings: settings, Release: version, Log: newLog(stderr, settings), Now: time.Now, Rand: rand.Reader})
			if err != nil {
				return fmt.Errorf("read the admin's credentials: %w", err)
			}
			return write(stdout, id, key)
		},
	}
	flags.AddTo(cmd.Flags())
	for _, hidden := range flags.Names() {
		if hidden != "data-dir" {
			cmd.Flags().Lookup(hidden).Hidden = true // taken, so that a server's own arguments can be given
		}
	}
	cmd.Flags().StringVar(&format, "format", "env", "`form`: env, json or profile")
	return cmd
}

var credentialForms = map[string]func(w io.Writer, id string, key secret.String) error{
	"env": func(w io.Writer, id string, key secret.String) error {
		_, err := fmt.Fprintf(w, "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nunset AWS_SESSION_TOKEN\n", id, key.Reveal())
		return err
	},
	// Source: AWS SDKs and Tools Reference Guide, "Process credential provider".
	"json": func(w io.Writer, id string, key secret.String) error {
		return json.NewEncoder(w).Encode(map[string]any{"Version": 1, "AccessKeyId": id, "SecretAccessKey": key.Reveal()})
	},
	"profile": func(w io.Writer, id string, key secret.String) error {
		_, err := fmt.Fprintf(w, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", id, key.Reveal())
		return err
	},
}
