// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cli owns the commands of podid that are clients of a control plane:
// associations, clusters, roles, exec, explain. It is one more client of the
// wire and imports nothing of the server: what it cannot do, nobody can over
// the wire. It turns flags into calls, and answers into tables, JSON or YAML
// and an exit status. It refuses to guess: no endpoint, no call; a change that
// others would feel is shown and confirmed first.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
)

// Streams are standard input, output and error.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Config is what the command line is made of.
type Config struct {
	Streams
	Version string   // shown by `podid version`
	Environ []string // of the process; exec passes it on
	Now     func() time.Time
	// Extra are commands of the same program that are no clients: server, dev.
	Extra []*cobra.Command
}

// app is what all commands share. One is made per run.
type app struct {
	Streams
	environ []string
	now     func() time.Time
	options clients.Options
	output  format
}

// New makes the command podid with all client commands and the extra ones.
func New(cfg Config) *cobra.Command {
	a := &app{Streams: cfg.Streams, environ: cfg.Environ, now: cfg.Now, output: formatTable}
	root := &cobra.Command{
		Use:   "podid",
		Short: "EKS Pod Identity for any Kubernetes",
		Long: `podid gives the pods of any Kubernetes cluster AWS-shaped credentials through EKS Pod Identity
associations: who runs as a service account gets the role that is associated with it.

Client commands find the control plane and their credentials as every AWS SDK does:
AWS_ENDPOINT_URL, AWS_CA_BUNDLE, AWS_REGION, AWS_ACCESS_KEY_ID or AWS_PROFILE and so on.`,
		Example: `  # try it on one machine: control plane, cluster and agent in one process
  podid dev --dir ./state
  . ./state/env

  # give a service account a role that reads S3
  podid create podidentityassociation --cluster my-cluster --namespace s3-app-ns \
    --service-account-name s3-app-sa --role-name s3-app-role \
    --permission-policy-arns arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess

  # run a command as a pod of it
  podid exec --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa -- aws sts get-caller-identity`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(cfg.In)
	root.SetOut(cfg.Out)
	root.SetErr(cfg.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageOf(cmd, err) })
	root.AddCommand(
		a.verb("create", "Create associations, roles, accounts, tokens, add-ons and access entries", a.createAssociation(), a.createRole(), a.createAccount(), a.createToken(), a.createAddon(), a.createAccessEntry()),
		a.verb("get", "Show associations, clusters, roles, accounts, add-ons, access entries and more", a.getAssociations(), a.getClusters(), a.getRoles(), a.getAccounts(), a.getIssuer(), a.getRevocations(),
			a.getAddons(), a.getAccessEntries(), a.getAccessPolicies(), a.getPods()),
		a.verb("update", "Change associations, clusters, roles, accounts, add-ons and access entries", a.updateAssociation(), a.updateCluster(), a.updateRole(), a.updateAccount(), a.updateAddon(), a.updateAccessEntry()),
		a.verb("delete", "Delete associations, clusters, roles, accounts, add-ons and access entries", a.deleteAssociation(), a.deleteCluster(), a.deleteRole(), a.deleteAccount(), a.deleteAddon(), a.deleteAccessEntry()),
		a.verb("associate", "Associate access policies", a.associateAccessPolicy()),
		a.verb("disassociate", "Disassociate access policies", a.disassociateAccessPolicy()),
		a.verb("revoke", "Revoke sessions", a.revokeSessions()),
		a.verb("import", "Import managed policies, service accounts and associations", a.importPolicies(), a.importIRSA(), a.importEKS()),
		a.verb("register", "Register clusters", a.registerCluster()),
		a.verb("activate", "Activate clusters that were registered without keys", a.activateCluster()),
		a.client(a.whoami()), a.client(a.export()), a.client(a.exec()), a.client(a.explain()), a.client(a.token()), a.version(cfg.Version),
		exitCodesTopic(), environmentTopic(),
	)
	root.AddCommand(cfg.Extra...)
	root.InitDefaultCompletionCmd()
	return root
}

// verb is a command that only has commands under it.
func (a *app) verb(name, short string, nouns ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Long: short + ". Each kind has a command of its own.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageOf(cmd, fmt.Errorf("unknown kind %q", args[0]))
			}
			return usageOf(cmd, errors.New("say what to "+name))
		},
	}
	var examples []string
	for _, n := range nouns {
		examples = append(examples, "  podid "+name+" "+n.Name()+" --help")
		cmd.AddCommand(n)
	}
	cmd.Example = strings.Join(examples, "\n")
	return a.client(cmd)
}

// client gives a command, and those under it, the flags of a client.
func (a *app) client(cmd *cobra.Command) *cobra.Command {
	f := cmd.PersistentFlags()
	f.StringVar(&a.options.EndpointURL, "endpoint-url", "", "`URL` of the control plane (AWS_ENDPOINT_URL)")
	f.StringVar(&a.options.Region, "region", "", "`region` of the control plane (AWS_REGION)")
	f.StringVar(&a.options.Profile, "profile", "", "`name` of a profile in the shared AWS files (AWS_PROFILE)")
	f.StringVar(&a.options.CABundle, "ca-bundle", "", "`file` of PEM certificates to trust (AWS_CA_BUNDLE)")
	a.outputFlag(cmd)
	return cmd
}

func (a *app) outputFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().VarP(&a.output, "output", "o", "form of the output: table, json or yaml")
	register(cmd, "output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

// register adds a completion. An error would be a flag that is not there,
// which the tests of completion see.
func register(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic("cli: completion: " + err.Error())
	}
}

func (a *app) clients(ctx context.Context) (*clients.Clients, error) {
	return clients.Load(ctx, a.options)
}

// say tells a person what was done. In JSON and YAML standard output holds
// the result only.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.Err, format+"\n", args...) }

func (a *app) progress(done string) { a.say("%s", done) }

func (a *app) lookup(name string) string {
	value := ""
	for _, v := range a.environ {
		if after, ok := strings.CutPrefix(v, name+"="); ok {
			value = after
		}
	}
	return value
}

// document reads JSON text, or @file.
func document(flag, value string) (string, error) {
	name, isFile := strings.CutPrefix(value, "@")
	if !isFile {
		return value, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", usagef("--%s: %w", flag, err)
	}
	return string(text), nil
}

// exactly wants n arguments and says which.
func exactly(n int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < n:
			return usageOf(cmd, fmt.Errorf("%s is missing", names))
		case len(args) > n:
			return usageOf(cmd, fmt.Errorf("unexpected argument %q", args[n]))
		}
		return nil
	}
}

// upTo allows at most n arguments.
func upTo(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usageOf(cmd, fmt.Errorf("unexpected argument %q", args[n]))
		}
		return nil
	}
}

// missing names all flags that are needed and empty, at once.
func missing(pairs ...string) error {
	var names []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			names = append(names, "--"+pairs[i])
		}
	}
	switch len(names) {
	case 0:
		return nil
	case 1:
		return usagef("%s is needed", names[0])
	}
	return usagef("%s and %s are needed", strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
}
