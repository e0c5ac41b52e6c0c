// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/ekssource"
	"podid/internal/cli/ekssource/live"
	"podid/internal/cli/migrate"
)

// eksSource is where a cluster is read.
type eksSource struct {
	cluster   string
	namespace string
	files     string
	fromAWS   bool
	aws       clients.SourceOptions
}

// eksSourceFlags are their names.
var eksSourceFlags = []string{"from-cluster", "namespace", "files", "from-aws", "from-profile", "from-region", "from-endpoint", "from-ca-bundle"}

func (a *app) importEKS() *cobra.Command {
	var t takeover
	var s eksSource
	cmd := &cobra.Command{
		Use:   "eks",
		Short: "Take over associations and their roles from EKS",
		Long: `Take over the pod identity associations of an EKS cluster with the roles that they name and the
policies of these, for the cluster --cluster of this control plane.

With --from-aws they are read through AWS' API, by reading calls only, as --from-profile says. What
the environment says about endpoint and CA is the control plane's and does not count for AWS; with
--from-profile its credentials and region do not either. With --files DIR they are read from answers
that the AWS CLI has written to *.json files; docs/migration.md lists the commands.

Names and paths stay. Account and cluster become those of this control plane, in the ARNs of roles and
of the account's own policies and in trust policies, of which only statements for pods are taken over.
Every such change is shown. Permissions are kept word by word, and AWS' own policies by ARN; one that
this control plane does not know refuses its role (podid import managed-policies brings it).

Without --approve the plan is shown and nothing is changed. With it each line is done by itself: one
that fails takes along those that need it and no others, and the exit status is 1, as it is when a line
is refused. What is there and differs is never changed. Importing again does what is left to do.

Before each change the undo file says what is about to be done, so --revert FILE takes an import back
after a crash as well. It leaves what somebody else has changed since, and says so.`,
		Example: `  podid import eks --cluster my-cluster --from-aws --from-profile prod --from-cluster prod-1
  podid import eks --cluster my-cluster --from-aws --from-profile prod --from-cluster prod-1 --approve --undo eks.undo
  podid import eks --cluster my-cluster --files ./answers
  podid import eks --revert eks.undo`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := t.check(cmd, eksSourceFlags...); err != nil {
				return err
			}
			if t.revert != "" {
				return a.revert(cmd.Context(), &t, "eks")
			}
			if err := s.check(cmd); err != nil {
				return err
			}
			found, err := s.read(cmd.Context(), t.cluster)
			if err != nil {
				return err
			}
			return a.takeOver(cmd.Context(), &t, func(ctx context.Context, c *clients.Clients, target migrate.Target) (*migrate.Plan, error) {
				return migrate.EKS(ctx, c, target, found)
			})
		},
	}
	a.takeoverFlags(cmd, &t)
	f := cmd.Flags()
	f.StringVar(&s.cluster, "from-cluster", "", "`name` of the cluster to take over; that of --cluster without it")
	f.StringVar(&s.namespace, "namespace", "", "only associations of this `namespace`")
	f.StringVar(&s.files, "files", "", "`directory` with answers of the AWS CLI")
	f.BoolVar(&s.fromAWS, "from-aws", false, "read from AWS")
	f.StringVar(&s.aws.Profile, "from-profile", "", "`name` of the profile in the shared AWS files to read AWS with")
	f.StringVar(&s.aws.Region, "from-region", "", "`region` of the cluster at AWS")
	f.StringVar(&s.aws.EndpointURL, "from-endpoint", "", "`URL` to read from instead of AWS, as of another control plane")
	f.StringVar(&s.aws.CABundle, "from-ca-bundle", "", "`file` of PEM certificates to trust when reading")
	return cmd
}

func (s *eksSource) check(cmd *cobra.Command) error {
	if s.fromAWS == (s.files != "") {
		return usagef("--from-aws or --files is needed, one of them")
	}
	for _, name := range []string{"from-profile", "from-region", "from-endpoint", "from-ca-bundle"} {
		if !s.fromAWS && cmd.Flags().Changed(name) {
			return usagef("--%s belongs to --from-aws", name)
		}
	}
	return nil
}

func (s *eksSource) read(ctx context.Context, cluster string) (found *ekssource.Snapshot, err error) {
	if s.cluster != "" {
		cluster = s.cluster
	}
	if s.files != "" {
		about, err := os.Stat(s.files)
		if err != nil {
			return nil, usagef("open directory of answers: %w", err)
		}
		if !about.IsDir() {
			return nil, usagef("--files %s is not a directory", s.files)
		}
		if found, err = ekssource.FromFiles(os.DirFS(s.files), cluster); err != nil {
			return nil, fmt.Errorf("read answers in %s: %w", s.files, err)
		}
	} else {
		c, err := clients.LoadSource(ctx, s.aws)
		if err != nil {
			return nil, err
		}
		if found, err = live.Read(ctx, c, cluster); err != nil {
			return nil, fmt.Errorf("read from AWS: %w", err)
		}
	}
	if s.namespace != "" {
		found.Associations = slices.DeleteFunc(found.Associations, func(a ekssource.Association) bool { return a.Namespace != s.namespace })
	}
	return found, nil
}
