// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

// accountJSON is an account in JSON and YAML.
type accountJSON struct {
	AccountID string    `json:"accountId"`
	Name      string    `json:"name,omitempty"`
	Partition string    `json:"partition"`
	Region    string    `json:"region"`
	First     bool      `json:"first"`
	CreatedAt time.Time `json:"createdAt"`
	Admin     *adminKey `json:"admin,omitempty"` // of create only
}

// adminKey is the key of a new account's first user.
type adminKey struct {
	UserArn         string `json:"userArn"`
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey,omitempty"` // only when asked for
	CredentialsFile string `json:"credentialsFile,omitempty"`
	Profile         string `json:"profile,omitempty"`
}

func newAccount(a *clients.Account) accountJSON {
	return accountJSON{AccountID: a.AccountID, Name: a.Name, Partition: a.Partition, Region: a.Region, First: a.First, CreatedAt: clients.Epoch(a.CreatedAt)}
}

func (x accountJSON) fields(w io.Writer) error {
	first := ""
	if x.First {
		first = "yes: it may create accounts"
	}
	pairs := []string{"account", x.AccountID, "name", x.Name, "partition", x.Partition, "region", x.Region, "first", first, "created", x.CreatedAt.Format(time.RFC3339)}
	if k := x.Admin; k != nil {
		pairs = append(pairs, "admin", k.UserArn, "access key", k.AccessKeyID, "secret key", k.SecretAccessKey, "credentials file", k.CredentialsFile, "profile", k.Profile)
	}
	return fields(w, pairs...)
}

func (a *app) createAccount() *cobra.Command {
	var id, name, file, profile string
	var show bool
	cmd := &cobra.Command{
		Use:   "account",
		Short: "Create a further account and its first user",
		Long: `Create an account in the control plane, with the user podid-admin who has AdministratorAccess.
Only callers of the first account, which the control plane was made with, may do that.

The user's access key is seen this once. It is added as a profile to an AWS shared credentials
file that only you can read, podid-ACCOUNT-credentials in the current directory unless
--credentials-file names another, and is not printed unless --show-secret asks for it.

An account has its own roles, users, policies, clusters and associations; the same names may be
in several accounts. The number of an account that was deleted is not used again.`,
		Example: `  podid create account --account-id 444455556666 --name staging
  AWS_SHARED_CREDENTIALS_FILE=podid-444455556666-credentials AWS_PROFILE=podid-444455556666 podid whoami

  # a profile among your others
  podid create account --account-id 444455556666 --credentials-file ~/.aws/credentials --credentials-profile staging`,
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := missing("account-id", id); err != nil {
				return err
			}
			if file == "" {
				file = "podid-" + id + "-credentials"
			}
			if profile == "" {
				profile = "podid-" + id
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			keep, err := openCredentialsFile(file, profile)
			if err != nil {
				return err
			}
			made, err := c.Podid.CreateAccount(cmd.Context(), id, name)
			if err != nil {
				return errors.Join(err, keep.giveUp())
			}
			a.say("created account %s", made.Account.AccountID)
			x := newAccount(&made.Account)
			x.Admin = &adminKey{UserArn: made.Admin.UserARN, AccessKeyID: made.Admin.AccessKeyID, CredentialsFile: file, Profile: profile}
			if show {
				x.Admin.SecretAccessKey = string(made.Admin.SecretAccessKey)
			}
			if err := keep.write(made.Admin.AccessKeyID, made.Admin.SecretAccessKey, made.Account.Region); err != nil {
				x.Admin.CredentialsFile, x.Admin.Profile = "", ""
				return &setup.Failure{
					Err:  errors.Join(err, a.print(x, x.fields)),
					Hint: fmt.Sprintf("the account is there, its key was not kept: podid delete account %s, and create one under another number", id),
				}
			}
			a.say("wrote profile %s to %s", profile, file)
			return a.print(x, x.fields)
		},
	}
	f := cmd.Flags()
	f.StringVar(&id, "account-id", "", "`number` of the account, 12 digits")
	f.StringVar(&name, "name", "", "`name` of the account, for people")
	f.StringVar(&file, "credentials-file", "", "shared credentials `file` to add the key to")
	f.StringVar(&profile, "credentials-profile", "", "`name` of the profile for the key; podid-ACCOUNT by default")
	f.BoolVar(&show, "show-secret", false, "print the secret key, too")
	return cmd
}

func (a *app) getAccounts() *cobra.Command {
	return &cobra.Command{
		Use: "account [NUMBER]", Aliases: []string{"accounts"},
		Short: "Show the accounts of the control plane, or one",
		Long: `Show the accounts of the control plane, or one. Callers of the first account see all, others
their own.`,
		Example: `  podid get accounts
  podid get account 444455556666 -o json`,
		Args:              upTo(1),
		ValidArgsFunction: a.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				found, err := c.Podid.DescribeAccount(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				x := newAccount(found)
				return a.print(x, x.fields)
			}
			found, err := c.Podid.ListAccounts(cmd.Context())
			if err != nil {
				return err
			}
			all, lines := []accountJSON{}, [][]string{}
			for i := range found {
				x := newAccount(&found[i])
				first := ""
				if x.First {
					first = "yes"
				}
				all = append(all, x)
				lines = append(lines, []string{x.AccountID, x.Name, x.Region, first, x.CreatedAt.Format(time.RFC3339)})
			}
			return a.print(all, func(w io.Writer) error { return rows(w, "ACCOUNT NAME REGION FIRST CREATED", lines) })
		},
	}
}

func (a *app) deleteAccount() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "account NUMBER",
		Short: "Delete an account that holds nothing",
		Long: `Delete an account and its first user. An account that holds clusters, roles, policies or other
users is not deleted; the refusal names them. The number is not used again. Only callers of
the first account may do that; the first account itself cannot be deleted.`,
		Example: `  podid delete account 444455556666
  podid delete account 444455556666 --yes`,
		Args:              exactly(1, "the NUMBER of the account"),
		ValidArgsFunction: a.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			ok, err := a.confirm(cmd.Context(), yes, fmt.Sprintf("Delete account %s for good?", args[0]))
			if err != nil {
				return err
			}
			if !ok {
				return setup.ErrDeclined
			}
			if err := c.Podid.DeleteAccount(cmd.Context(), args[0]); err != nil {
				return err
			}
			a.say("deleted account %s", args[0])
			return nil
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) completeAccounts(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	c, err := a.clients(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, err := c.Podid.ListAccounts(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, x := range found {
		out = append(out, x.AccountID)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
