// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
)

// shownNames bounds the names of a kind in the table; JSON and YAML have all.
const shownNames = 10

func (a *app) importPolicies() *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "managed-policies FILE",
		Short: "Import AWS' own managed policies",
		Long: `Take over the managed policies of AWS (arn:aws:iam::aws:policy/…) from FILE, which is what the AWS
CLI prints of an account at AWS; - is standard input. Several such documents may stand in one file.
podid knows some policies itself; imported ones count before them, in all accounts of the installation.

It is all or nothing: a file with a policy that cannot be read changes nothing, and each fault is named.
Roles, users and groups that have a policy attached get the document of the file at once. Versions and
policies that are not in the file stay. Importing the same file again changes nothing.

Only callers of the first account may, with the action podid:ImportManagedPolicies.`,
		Example: `  aws iam get-account-authorization-details --filter AWSManagedPolicy > policies.json
  podid import managed-policies policies.json --dry-run
  podid import managed-policies policies.json`,
		Args: exactly(1, "the FILE of policies"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := readImport(args[0], a.In)
			if err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.Podid.ImportManagedPolicies(cmd.Context(), file, dry)
			if err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) error { return importFields(w, out) })
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "check the file and show what would change, without changing anything")
	return cmd
}

func importFields(w io.Writer, r *clients.ImportResult) error {
	done := "imported"
	if r.DryRun {
		done = "nothing, as this is a dry run"
	}
	return fields(w, "done", done, "in the file", fmt.Sprintf("%d policies, %d versions", r.Policies, r.Versions),
		"added", counted(r.Added), "updated", counted(r.Updated), "unchanged", strconv.Itoa(r.Unchanged), "policies of AWS", strconv.Itoa(r.Total))
}

// counted is a number and the first of the names.
func counted(names []string) string {
	n := len(names)
	switch {
	case n == 0:
		return "0"
	case n > shownNames:
		return fmt.Sprintf("%d: %s, …", n, strings.Join(names[:shownNames], ", "))
	}
	return fmt.Sprintf("%d: %s", n, strings.Join(names, ", "))
}

func readImport(name string, stdin io.Reader) (text []byte, err error) {
	from := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usagef("open file of policies: %w", err)
		}
		defer func() { _ = f.Close() }() // only read
		from = f
	}
	if text, err = io.ReadAll(io.LimitReader(from, clients.MaxImport+1)); err != nil {
		return nil, fmt.Errorf("read file of policies: %w", err)
	}
	if len(text) > clients.MaxImport {
		return nil, usagef("%s is longer than %d bytes", name, clients.MaxImport)
	}
	if len(text) == 0 {
		return nil, usagef("%s is empty", name)
	}
	return text, nil
}
