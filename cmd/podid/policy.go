// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"podid/internal/policy/policytest"
)

// policyCommand is `podid policy`.
func policyCommand(stdin io.Reader, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Work on policies without a control plane",
		Long:  "Work on policies without a control plane.",
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "test FILE",
		Short: "Evaluate policy test cases",
		Long: `Evaluate policy test cases, one JSON object a line, with the evaluator of the control plane. For each
line a JSON line {"id":…,"verdict":"allow|deny|error","detail":…} goes to standard output, and the count to
standard error. FILE - is standard input.

The exit status is 1 when a case that has "want" disagrees; cases with want "either" are not graded.`,
		Example: `  podid policy test cases.jsonl
  podid policy test - < cases.jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return testPolicies(args[0], stdin, stdout, cmd.ErrOrStderr())
		},
	})
	return cmd
}

func testPolicies(name string, stdin io.Reader, stdout, stderr io.Writer) error {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("open cases: %w", err)
		}
		defer func() { _ = f.Close() }() // only read from
		in = f
	}
	sum, err := policytest.Run(in, stdout)
	if err != nil {
		return fmt.Errorf("test policies: %w", err)
	}
	fmt.Fprintf(stderr, "%d cases: %d agree, %d disagree, %d not graded\n", sum.Cases, sum.Agreed, sum.Disagreed, sum.Ungraded)
	for _, m := range sum.Mismatches {
		fmt.Fprintf(stderr, "%s: want %s, got %s: %s\n", m.ID, m.Want, m.Verdict, m.Detail)
	}
	if !sum.OK() {
		return fmt.Errorf("%d of %d graded cases disagree", sum.Disagreed, sum.Agreed+sum.Disagreed)
	}
	return nil
}
