// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"podid/internal/cli"
	"podid/internal/cli/clients"
	"podid/internal/cli/liveroles"
	"podid/internal/policy"
	"podid/internal/policy/lint"
)

// policyLint is one run of `podid policy lint`.
type policyLint struct {
	stdin           io.Reader
	stdout, stderr  io.Writer
	output, failOn  choice
	kind            choice
	disabled, roles []string
	report          lint.Report
	invalid         []error
}

// unguessed is the kind of documents of which each says itself what it is.
const unguessed = "guess"

func policyLintCommand(stdin io.Reader, stdout io.Writer) *cobra.Command {
	l := &policyLint{
		stdin: stdin, stdout: stdout, output: choice{"table", []string{"table", "json", "junit"}},
		failOn: choice{"error", []string{"error", "warning", "note"}}, kind: choice{unguessed, append([]string{unguessed}, lint.KindNames()...)},
	}
	var options clients.Options
	cmd := &cobra.Command{
		Use:   "lint [FILE|DIRECTORY...]",
		Short: "Find mistakes in policy documents",
		Long: `Find mistakes in policy documents: what AWS refuses, statements that can never match, trust that is
wider than it looks. Each finding has a code, a severity, the place in the file, and what to do;
docs/policy-lint.md describes every check with an example.

Files are JSON or YAML. A document is found wherever it stands: a file of its own, a template of
CloudFormation, an answer of aws iam get-role, a file of podid policy test. In a directory, all .json,
.yaml and .yml files are read, and those without a document are passed over. FILE - is standard input.

The kind of a document follows from the name of the member that holds it and from its statements:
with actions of sts: only and a principal it is a trust policy, with other actions a resource policy,
without a principal an identity policy. --type sets it.

With --against the documents of live roles are checked, alone or beside files: they are read by IAM's
calls with your own rights. AWS managed policies are passed over.

The exit status is 1 when there is an error, or with --fail-on a finding of that severity; 2 when a
file cannot be read or a file that was named holds no document; 3 and 4 when the control plane refuses
to show a role or has none of the name.`,
		Example: `  podid policy lint trust.json read.json
  podid policy lint policies/ --fail-on warning -o junit > report.xml
  podid policy lint --type scp guardrails.json
  podid policy lint --against s3-app-role,ci --disable if-exists-in-allow
  aws iam get-role --role-name app | podid policy lint -`,
		ValidArgsFunction: completeFiles("json", "yaml", "yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.stderr = cmd.ErrOrStderr()
			if err := l.check(args); err != nil {
				return err
			}
			return l.run(cmd.Context(), args, options)
		},
	}
	choose(cmd, &l.output, "output", "o", "form of the report: table, json or junit")
	choose(cmd, &l.failOn, "fail-on", "", "least severity that fails: error, warning or note")
	choose(cmd, &l.kind, "type", "", "kind of the documents: "+strings.Join(lint.KindNames(), ", ")+" or guess")
	f := cmd.Flags()
	f.StringSliceVar(&l.disabled, "disable", nil, "`codes` of checks to leave out, separated by commas")
	f.StringSliceVar(&l.roles, "against", nil, "`names` of live roles whose documents are checked")
	if err := cmd.RegisterFlagCompletionFunc("disable", cobra.FixedCompletions(lintCodes(), cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("podid: completion: " + err.Error()) // a flag that is not there
	}
	liveFlags(cmd, &options)
	return cmd
}

func lintCodes() []string {
	var out []string
	for _, c := range lint.Checks() {
		out = append(out, c.Code)
	}
	return out
}

func (l *policyLint) check(args []string) error {
	if len(args) == 0 && len(l.roles) == 0 {
		return cli.UsageError(errors.New("name a file or a directory with policies, or roles with --against"))
	}
	for _, code := range l.disabled {
		if !slices.Contains(lintCodes(), code) {
			return cli.UsageError(fmt.Errorf("--disable: there is no check %q; there are %s", code, strings.Join(lintCodes(), ", ")))
		}
	}
	return nil
}

func (l *policyLint) run(ctx context.Context, args []string, options clients.Options) error {
	opt := lint.Options{Disabled: l.disabled}
	if l.kind.value != unguessed {
		kind, err := lint.ParseKind(l.kind.value)
		if err != nil {
			return cli.UsageError(err)
		}
		opt.Kind = &kind
	}
	isDocument := func(name string) bool {
		return slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(name))
	}
	for _, arg := range args {
		names, errs := files([]string{arg}, isDocument)
		l.invalid = append(l.invalid, errs...)
		named := len(names) == 1 && names[0] == arg
		for _, name := range names {
			if !slices.Contains(l.report.Files, name) {
				l.file(name, named, opt)
			}
		}
	}
	if err := l.live(ctx, options, opt); err != nil {
		return err
	}
	if err := l.write(); err != nil {
		return err
	}
	failed := l.report.Worst() > 0 && l.report.Worst() >= l.severity()
	err := errors.Join(l.invalid...)
	switch {
	case failed:
		return cli.Ending(cli.StatusError, err)
	case err != nil:
		return cli.Ending(cli.StatusUsage, err)
	case l.report.Documents == 0:
		return cli.Ending(cli.StatusUsage, errors.New("no file holds a policy document"))
	}
	return nil
}

func (l *policyLint) severity() lint.Severity {
	switch l.failOn.value {
	case "note":
		return lint.Note
	case "warning":
		return lint.Warning
	}
	return lint.Error
}

func (l *policyLint) write() error {
	switch l.output.value {
	case "json":
		return l.report.WriteJSON(l.stdout)
	case "junit":
		return l.report.WriteJUnit(l.stdout, l.severity())
	}
	return l.report.WriteTable(l.stdout)
}

// file checks one file; named is one that was given by its name.
func (l *policyLint) file(name string, named bool, opt lint.Options) {
	content, err := readInput(name, l.stdin)
	if err != nil {
		l.invalid = append(l.invalid, err)
		return
	}
	found, documents, err := lint.Text(name, string(content), opt)
	if err != nil {
		if named {
			l.invalid = append(l.invalid, err)
		}
		return
	}
	l.add(name, found, documents)
}

func (l *policyLint) add(name string, found []lint.Finding, documents int) {
	l.report.Files = append(l.report.Files, name)
	l.report.Findings = append(l.report.Findings, found...)
	l.report.Documents += documents
}

// live checks the documents of live roles. What kind each is, is known.
func (l *policyLint) live(ctx context.Context, options clients.Options, opt lint.Options) error {
	if len(l.roles) == 0 {
		return nil
	}
	reader, err := newRoleReader(ctx, options)
	if err != nil {
		return err
	}
	for _, name := range l.roles {
		role, err := reader.role(ctx, name)
		if err != nil {
			return err
		}
		documents := []liveroles.Document{{Name: "trust policy", Text: role.Trust}}
		kinds := []policy.DocumentKind{policy.Trust}
		for _, d := range slices.Concat(role.Inline, role.Attached) {
			documents, kinds = append(documents, d), append(kinds, policy.Identity)
		}
		if role.Boundary != nil {
			documents, kinds = append(documents, *role.Boundary), append(kinds, policy.Boundary)
		}
		for i, d := range documents {
			if strings.Contains(d.ARN, "::aws:policy/") {
				continue // AWS' own: nobody here can change it
			}
			of := opt
			of.Kind = &kinds[i]
			file := "role/" + name + " " + d.Name
			found, n, err := lint.Text(file, d.Text, of)
			if err != nil {
				return fmt.Errorf("check role %s: %w", name, err)
			}
			l.add(file, found, n)
		}
	}
	return nil
}
