// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"podid/internal/cli/clusterconfig"
	"podid/internal/cli/export"
)

func (a *app) export() *cobra.Command {
	var clusters []string
	var dir string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write associations and their roles as files",
		Long: `Write every association, the roles that associations name, and the managed policies and boundaries
of those, in the form that podid create podidentityassociation -f takes back: on a new control plane
of the same account and region, whose clusters are registered, that makes the same again.

Clusters are written as eksctl's ClusterConfig. A role that has one association and nothing but what
that schema can say is written there; any other role stands in a document of podid's own, IAMConfig,
in the same output. -o json writes one List of all documents. With --dir each cluster has a file,
cluster-NAME.yaml, and roles and policies are in iam.yaml.

What is not exported is told on standard error: associations that belong to an add-on, roles of other
accounts, versions of managed policies other than the default one.`,
		Example: `  podid export > podid.yaml
  podid export --cluster my-cluster --dir ./podid
  podid create podidentityassociation -f podid.yaml --dry-run`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			out, err := export.Read(cmd.Context(), c, clusters...)
			if err != nil {
				return err
			}
			for _, n := range out.Notes {
				a.say("%s", n)
			}
			if dir != "" {
				return a.exportFiles(dir, out.Set)
			}
			text, err := a.encoded(out.Set)
			if err != nil {
				return err
			}
			_, err = a.Out.Write(text)
			return err
		},
	}
	cmd.Flags().StringSliceVar(&clusters, "cluster", nil, "`names` of clusters; all of them without it")
	cmd.Flags().StringVar(&dir, "dir", "", "write files into this `directory`, made if need be; files of the same names are replaced")
	register(cmd, "cluster", a.completeClusters)
	return cmd
}

// encoded is YAML unless JSON is asked for: there is no table of this.
func (a *app) encoded(set *clusterconfig.Set) ([]byte, error) {
	if a.output == formatJSON {
		return set.JSON()
	}
	return set.YAML()
}

func (a *app) exportFiles(dir string, set *clusterconfig.Set) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	extension := ".yaml"
	if a.output == formatJSON {
		extension = ".json"
	}
	for _, c := range set.Clusters {
		if err := a.exportFile(filepath.Join(dir, "cluster-"+c.Name+extension), &clusterconfig.Set{Clusters: []*clusterconfig.ClusterConfig{c}}); err != nil {
			return err
		}
	}
	if len(set.IAM) == 0 {
		return nil
	}
	return a.exportFile(filepath.Join(dir, "iam"+extension), &clusterconfig.Set{IAM: set.IAM})
}

// exportFile replaces a file whole: a reader sees the old text or the new.
func (a *app) exportFile(name string, set *clusterconfig.Set) error {
	text, err := a.encoded(set)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".podid-export-*")
	if err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write export: %w", err), os.Remove(f.Name()))
	}
	a.say("wrote %s", name)
	return nil
}
