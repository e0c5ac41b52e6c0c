// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"podid/internal/cli"
	"podid/internal/cli/clients"
	"podid/internal/cli/liveroles"
)

// policyCommand is `podid policy`.
func policyCommand(stdin io.Reader, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Test and check policies, with or without a control plane",
		Long: `Test and check policies where they are written: before they are deployed, and in CI. Both commands
evaluate and parse with the control plane's own code and need none; with --against they read the
roles of one.`,
		Example: `  podid policy test policies/
  podid policy lint policies/*.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.UsageError(fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()))
			}
			return cli.UsageError(errors.New("say what to do: podid policy test or podid policy lint"))
		},
	}
	cmd.AddCommand(policyTestCommand(stdin, stdout), policyLintCommand(stdin, stdout))
	return cmd
}

// liveFlags are the flags of a client for commands that may do without.
func liveFlags(cmd *cobra.Command, o *clients.Options) {
	f := cmd.Flags()
	f.StringVar(&o.EndpointURL, "endpoint-url", "", "`URL` of the control plane for --against (AWS_ENDPOINT_URL)")
	f.StringVar(&o.Region, "region", "", "`region` of the control plane (AWS_REGION)")
	f.StringVar(&o.Profile, "profile", "", "`name` of a profile in the shared AWS files (AWS_PROFILE)")
	f.StringVar(&o.CABundle, "ca-bundle", "", "`file` of PEM certificates to trust (AWS_CA_BUNDLE)")
}

// choice is a flag with few values.
type choice struct {
	value   string
	allowed []string
}

// String implements pflag.Value.
func (c *choice) String() string { return c.value }

// Type implements pflag.Value.
func (c *choice) Type() string { return "form" }

// Set implements pflag.Value.
func (c *choice) Set(s string) error {
	if !slices.Contains(c.allowed, s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(c.allowed, ", "))
	}
	c.value = s
	return nil
}

// choose adds a flag with its completion.
func choose(cmd *cobra.Command, c *choice, name, short, usage string) {
	cmd.Flags().VarP(c, name, short, usage)
	if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(c.allowed, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("podid: completion: " + err.Error()) // a flag that is not there
	}
}

// completeFiles completes arguments by the names of files with an extension.
func completeFiles(extensions ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return extensions, cobra.ShellCompDirectiveFilterFileExt
	}
}

// files expands arguments: a directory stands for the files in and below it of
// which inDirectory says yes, and a pattern that the shell left alone for what
// it matches. "-" is standard input. A name that stands for nothing is an error.
func files(args []string, inDirectory func(name string) bool) ([]string, []error) {
	var out []string
	var errs []error
	for _, arg := range args {
		found, err := expand(arg, inDirectory)
		if err != nil {
			errs = append(errs, err)
		}
		for _, name := range found {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out, errs
}

func expand(arg string, inDirectory func(string) bool) ([]string, error) {
	if arg == "-" {
		return []string{arg}, nil
	}
	info, err := os.Stat(arg)
	if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(arg, "*?[") {
		found, err := filepath.Glob(arg)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", arg, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s matches no file", arg)
		}
		return found, nil
	}
	if err != nil || !info.IsDir() {
		return []string{arg}, nil // reading it says what is wrong
	}
	var out []string
	err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != arg && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return fs.SkipDir
		case !d.IsDir() && inDirectory(d.Name()):
			out = append(out, path)
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("read directory: %w", err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no file of the expected name, see --help", arg)
	}
	return out, nil
}

// maxPolicyFile bounds a file of policies or tests in bytes.
const maxPolicyFile = 64 << 20

// readInput reads a file, or standard input for "-".
func readInput(name string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("open file: %w", err)
		}
		defer func() { _ = f.Close() }() // only read from
		in = f
	}
	content, err := io.ReadAll(io.LimitReader(in, maxPolicyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(content) > maxPolicyFile {
		return nil, fmt.Errorf("read %s: longer than %d bytes", name, maxPolicyFile)
	}
	return content, nil
}

// roleReader fetches each role once.
type roleReader struct {
	clients *clients.Clients
	seen    map[string]*liveroles.Role
}

func newRoleReader(ctx context.Context, o clients.Options) (*roleReader, error) {
	c, err := clients.Load(ctx, o)
	if err != nil {
		return nil, err
	}
	return &roleReader{clients: c, seen: map[string]*liveroles.Role{}}, nil
}

func (r *roleReader) role(ctx context.Context, name string) (*liveroles.Role, error) {
	if role, ok := r.seen[name]; ok {
		return role, nil
	}
	role, err := liveroles.Fetch(ctx, r.clients, name)
	if err != nil {
		return nil, err
	}
	r.seen[name] = role
	return role, nil
}
