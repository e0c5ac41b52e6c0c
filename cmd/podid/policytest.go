// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"podid/internal/cli"
	"podid/internal/cli/clients"
	"podid/internal/cli/liveroles"
	"podid/internal/policy/policytest"
)

// policyTest is one run of `podid policy test`.
type policyTest struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	output         choice
	filter         *regexp.Regexp
	verbose        bool
	live           *roleReader
	// invalid are files that could not be read as what they should be.
	invalid []error
}

func policyTestCommand(stdin io.Reader, stdout io.Writer) *cobra.Command {
	t := &policyTest{stdin: stdin, stdout: stdout, output: choice{"human", []string{"human", "json", "junit"}}}
	var options clients.Options
	var against bool
	var run string
	cmd := &cobra.Command{
		Use:   "test FILE|DIRECTORY...",
		Short: "Run unit tests of policies",
		Long: `Run unit tests of policies with the evaluator of the control plane: who may do what on which resource,
which pods may assume a role, and which statement decides. docs/policy-tests.md is the guide.

A test file is YAML: roles with their documents, and cases with what must be allowed and denied.

  roles:
    app:
      trust: trust.json                # a file beside this one, or the document itself
      identity: [read.json]
  cases:
    - name: pods of web read their own prefix
      as: app
      podIdentity: {cluster: prod, namespace: web, serviceAccount: frontend}
      allow:
        - s3:GetObject arn:aws:s3:::bucket/web/key
      deny:
        - {action: s3:GetObject, resource: arn:aws:s3:::bucket/other/key, because: implicit}
    - name: only web's pods may assume it
      allow:
        - assumeRole: {role: app, podIdentity: {cluster: prod, namespace: web, serviceAccount: frontend}}

In a directory, files named *_test.yaml, *-test.yaml, *.test.yaml (or .yml) and *.jsonl are run. Other
files are of the JSONL form: one case a line, and without -o and --run, for each line a JSON line
{"id":…,"verdict":"allow|deny|error","detail":…} on standard output and the count on standard error.
FILE - is standard input in that form.

With --against the roles of the files are replaced by a live control plane's roles of the same name,
read by IAM's calls with your own rights; differences to the files' documents are reported.

The exit status is 0 when every case passes, 1 when one fails, 2 when a file cannot be read or is
invalid, 3 when the control plane refuses to show a role and 4 when it has no such role. Cases without
"want", or with "either", are not graded.`,
		Example: `  podid policy test policies/
  podid policy test app_test.yaml --run 'only web' -v
  podid policy test policies/ -o junit > report.xml
  podid policy test policies/ --against --endpoint-url https://podid.example.com:8443
  podid policy test cases.jsonl`,
		ValidArgsFunction: completeFiles("yaml", "yml", "jsonl"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.stderr = cmd.ErrOrStderr()
			if len(args) == 0 {
				return cli.UsageError(errors.New("name a file or a directory with tests"))
			}
			var err error
			if run != "" {
				if t.filter, err = regexp.Compile(run); err != nil {
					return cli.UsageError(fmt.Errorf("--run: %w", err))
				}
			}
			if against {
				if t.live, err = newRoleReader(cmd.Context(), options); err != nil {
					return err
				}
			}
			return t.run(cmd.Context(), args, cmd.Flags().Changed("output"))
		},
	}
	choose(cmd, &t.output, "output", "o", "form of the report: human, json or junit")
	f := cmd.Flags()
	f.BoolVarP(&t.verbose, "verbose", "v", false, "show every check with the statement that decided")
	f.StringVar(&run, "run", "", "only cases whose name matches this `regexp`")
	f.BoolVar(&against, "against", false, "test the roles of the control plane instead of the files' own")
	liveFlags(cmd, &options)
	return cmd
}

// isTest says which files of a directory hold tests.
func isTest(name string) bool {
	switch ext := filepath.Ext(name); ext {
	case ".jsonl":
		return true
	case ".yaml", ".yml":
		stem := strings.TrimSuffix(name, ext)
		return strings.HasSuffix(stem, "_test") || strings.HasSuffix(stem, "-test") || strings.HasSuffix(stem, ".test")
	}
	return false
}

func isYAML(name string) bool { return filepath.Ext(name) == ".yaml" || filepath.Ext(name) == ".yml" }

func (t *policyTest) run(ctx context.Context, args []string, formGiven bool) error {
	names, errs := files(args, isTest)
	t.invalid = errs
	lines := !formGiven && t.filter == nil && !t.verbose && t.live == nil
	for _, name := range names {
		lines = lines && !isYAML(name)
	}
	if lines && len(names) > 0 {
		return t.runLines(names)
	}
	var report policytest.Report
	for _, name := range names {
		f, err := t.file(ctx, name)
		if err != nil {
			return err
		}
		report.Files = append(report.Files, f)
	}
	for _, err := range t.invalid {
		report.Files = append(report.Files, policytest.FileReport{File: "arguments", Errors: []string{err.Error()}})
	}
	if err := t.write(&report); err != nil {
		return err
	}
	switch totals := report.Totals(); {
	case totals.Failed > 0:
		return cli.Ending(cli.StatusError, nil)
	case totals.Invalid > 0:
		return cli.Ending(cli.StatusUsage, nil)
	case totals.Checks == 0:
		return cli.Ending(cli.StatusUsage, errors.New("no case was run: --run matches none"))
	}
	return nil
}

func (t *policyTest) write(report *policytest.Report) error {
	switch t.output.value {
	case "json":
		return report.WriteJSON(t.stdout)
	case "junit":
		return report.WriteJUnit(t.stdout)
	}
	return report.WriteHuman(t.stdout, t.verbose)
}

// file runs one file. An error is one of the control plane; faults of the file
// are part of its report.
func (t *policyTest) file(ctx context.Context, name string) (policytest.FileReport, error) {
	content, err := readInput(name, t.stdin)
	if err != nil {
		return policytest.FileReport{File: name, Errors: []string{err.Error()}}, nil
	}
	if !isYAML(name) {
		return policytest.RunLines(name, bytes.NewReader(content), t.filter), nil
	}
	suite, err := policytest.Load(name, content, func(document string) ([]byte, error) {
		if !filepath.IsAbs(document) {
			document = filepath.Join(filepath.Dir(name), filepath.FromSlash(document))
		}
		return os.ReadFile(document)
	})
	if err != nil {
		return policytest.FileReport{File: name, Errors: strings.Split(err.Error(), "\n")}, nil
	}
	if t.live == nil {
		return suite.Run(t.filter), nil
	}
	roles := map[string]policytest.LiveRole{}
	for _, role := range suite.RoleNames() {
		live, err := t.live.role(ctx, role)
		if err != nil {
			return policytest.FileReport{}, err
		}
		roles[role] = liveRole(live)
	}
	return suite.RunLive(t.filter, roles), nil
}

// liveRole turns what the wire gave into what the tests take.
func liveRole(r *liveroles.Role) policytest.LiveRole {
	out := policytest.LiveRole{ARN: r.ARN, Trust: r.Trust, Tags: r.Tags}
	if r.Boundary != nil {
		out.Boundary = &policytest.LiveDocument{Name: r.Boundary.Name, ARN: r.Boundary.ARN, Text: r.Boundary.Text}
	}
	for _, list := range [][]liveroles.Document{r.Inline, r.Attached} {
		for _, d := range list {
			out.Identity = append(out.Identity, policytest.LiveDocument{Name: d.Name, ARN: d.ARN, Text: d.Text})
		}
	}
	return out
}

// runLines is the JSONL form: lines in, lines out.
func (t *policyTest) runLines(names []string) error {
	var all policytest.Summary
	invalid := t.invalid
	for _, name := range names {
		content, err := readInput(name, t.stdin)
		if err != nil {
			invalid = append(invalid, err)
			continue
		}
		sum, err := policytest.Run(bytes.NewReader(content), t.stdout)
		if err != nil {
			invalid = append(invalid, fmt.Errorf("%s: %w", name, err))
		}
		all.Cases += sum.Cases
		all.Agreed += sum.Agreed
		all.Disagreed += sum.Disagreed
		all.Ungraded += sum.Ungraded
		all.Mismatches = append(all.Mismatches, sum.Mismatches...)
	}
	fmt.Fprintf(t.stderr, "%d cases: %d agree, %d disagree, %d not graded\n", all.Cases, all.Agreed, all.Disagreed, all.Ungraded)
	for _, m := range all.Mismatches {
		fmt.Fprintf(t.stderr, "%s: want %s, got %s: %s\n", m.ID, m.Want, m.Verdict, m.Detail)
	}
	var failed error
	if all.Disagreed > 0 {
		failed = fmt.Errorf("%d of %d graded cases disagree", all.Disagreed, all.Agreed+all.Disagreed)
	}
	switch err := errors.Join(append([]error{failed}, invalid...)...); {
	case failed != nil:
		return cli.Ending(cli.StatusError, err)
	case err != nil:
		return cli.Ending(cli.StatusUsage, fmt.Errorf("test policies: %w", err))
	}
	return nil
}
