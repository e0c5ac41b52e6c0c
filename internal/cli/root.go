// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cli owns the commands of podid that talk to a control plane: one
// more client of the wire, so what it does anybody may do with AWS' tools. It
// owns flags, output, hints and exit statuses; rules live in the server, and
// it refuses to guess them. Commands that change several things take back what
// they did when a later step fails, and say so.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

// The exit statuses of every command. `podid exec` passes on its command's.
const (
	ExitOK       = 0
	ExitError    = 1
	ExitUsage    = 2
	ExitRefused  = 3 // a decision was no: explain, or access denied
	ExitNotFound = 4
	ExitConflict = 5
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what every command shares.
type app struct {
	Streams
	options clients.Options
	output  string // table, json, yaml
	environ []string
	now     func() time.Time
}

// Config is what a CLI is made of.
type Config struct {
	Streams
	Version string   // printed by `podid version`
	Environ []string // of the process, for podid exec
	Now     func() time.Time
	// Extra are commands of the same binary that are not clients (server, dev).
	Extra []*cobra.Command
}

// New returns the root command.
func New(cfg Config) *cobra.Command {
	a := &app{Streams: cfg.Streams, environ: cfg.Environ, now: cfg.Now}
	root := &cobra.Command{
		Use:   "podid",
		Short: "EKS Pod Identity for any Kubernetes",
		Long: `podid gives pods of any Kubernetes AWS credentials by their service account, in the way of EKS
Pod Identity. This is its command line: it runs the control plane (server, dev) and talks to one.

Endpoint, CA, region and credentials are found as every AWS SDK finds them: AWS_ENDPOINT_URL,
AWS_CA_BUNDLE, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile. The file
env that podid dev leaves sets all of them.

Exit statuses: 0 done, 1 failed, 2 wrong usage, 3 refused (access denied, or explain says no),
4 not found, 5 exists already or is in use.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetIn(cfg.In)
	root.SetOut(cfg.Out)
	root.SetErr(cfg.Err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.AddCommand(
		a.group("create", "Create an association, a role or a token", a.createAssociation(), a.createRole(), a.createToken()),
		a.group("get", "Show associations, clusters and roles", a.getAssociations(), a.getClusters(), a.getRoles()),
		a.group("update", "Change an association, a cluster or a role", a.updateAssociation(), a.updateCluster(), a.updateRole()),
		a.group("delete", "Delete an association, a cluster or a role", a.deleteAssociation(), a.deleteCluster(), a.deleteRole()),
		a.group("register", "Register a cluster", a.registerCluster()),
		a.execCommand(), a.explainCommand(), a.whoami(), versionCommand(cfg.Version),
	)
	root.AddCommand(cfg.Extra...)
	return root
}

func (a *app) group(name, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Long: short + ".", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return usage(c, errors.New("say what to "+name))
	}}
	for _, sub := range commands {
		a.addConnection(sub)
	}
	c.AddCommand(commands...)
	return c
}

// addConnection adds the flags by which a command finds its control plane.
func (a *app) addConnection(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&a.options.EndpointURL, "endpoint-url", "", "`URL` of the control plane (AWS_ENDPOINT_URL)")
	f.StringVar(&a.options.Region, "region", "", "`region` of the control plane (AWS_REGION)")
	f.StringVar(&a.options.Profile, "profile", "", "`profile` of the shared credentials file (AWS_PROFILE)")
	f.StringVar(&a.options.CABundle, "ca-bundle", "", "`file` of certificates to trust (AWS_CA_BUNDLE)")
}

func (a *app) addOutput(c *cobra.Command) {
	c.Flags().StringVarP(&a.output, "output", "o", "table", "`form` of the output: table, json or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)) // fails only without the flag
}

func (a *app) connect(ctx context.Context) (*clients.Clients, error) {
	return clients.Load(ctx, a.options)
}

func versionCommand(version string) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Long: "Print the version of this binary.", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), version)
			return err
		},
	}
}

// usageError is a wrong use of a command.
type usageError struct {
	err  error
	path string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(c *cobra.Command, err error) error { return &usageError{err, c.CommandPath()} }

// statusError ends the process with a status; what there is to say has been
// said.
type statusError struct{ status int }

func (e *statusError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// Report prints an error for people and returns the exit status.
func Report(w io.Writer, err error) int {
	var status *statusError
	if err == nil {
		return ExitOK
	}
	if errors.As(err, &status) {
		return status.status
	}
	fmt.Fprintln(w, "podid:", describe(err))
	var u *usageError
	if errors.As(err, &u) {
		fmt.Fprintf(w, "  `%s --help` tells more\n", u.path)
		return ExitUsage
	}
	if h := hintOf(err); h != "" {
		fmt.Fprintln(w, "  hint:", h)
	}
	switch {
	case clients.IsNotFound(err), errors.Is(err, setup.ErrNoAssociation):
		return ExitNotFound
	case clients.IsConflict(err), errors.Is(err, setup.ErrRoleExists), setup.IsInUse(err):
		return ExitConflict
	case clients.IsRefused(err):
		return ExitRefused
	}
	return ExitError
}

// describe says what a service answered in its own words, without the SDK's
// frame around it, and keeps what commands put before it.
func describe(err error) string {
	text := err.Error()
	var api smithy.APIError
	if !errors.As(err, &api) {
		return text
	}
	said := api.ErrorCode() + ": " + api.ErrorMessage()
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return strings.Replace(text, op.Error(), said, 1)
	}
	return strings.Replace(text, api.Error(), said, 1)
}

func hintOf(err error) string {
	var f *setup.Failure
	if errors.As(err, &f) {
		return f.Hint
	}
	var s *clients.SetupError
	if errors.As(err, &s) {
		return s.Hint
	}
	switch clients.Code(err) {
	case "MissingAuthenticationToken", "MissingAuthenticationTokenException", "InvalidClientTokenId", "UnrecognizedClientException":
		return "the control plane does not know these credentials; for `podid dev`: . DIR/env"
	case "SignatureDoesNotMatch", "InvalidSignatureException":
		return "check the secret access key, the region and this machine's clock"
	case "AccessDenied", "AccessDeniedException":
		return "`podid whoami` shows who you are; an administrator has to allow the action"
	}
	return ""
}

// required refuses when a flag that the command cannot do without is empty.
func required(c *cobra.Command, names ...string) error {
	var missing []string
	for _, n := range names {
		if f := c.Flags().Lookup(n); f.Value.String() == "" || f.Value.String() == "[]" {
			missing = append(missing, "--"+n)
		}
	}
	if len(missing) > 0 {
		return usage(c, errors.New(strings.Join(missing, ", ")+" must be given"))
	}
	return nil
}

// textOrFile returns the value, or for "@path" what the file holds.
func textOrFile(value string) (string, error) {
	path, ok := strings.CutPrefix(value, "@")
	if !ok {
		return value, nil
	}
	text, err := os.ReadFile(path)
	return string(text), err
}
