// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"podid/internal/policy/policytest"
)

// policyCommand is `podid policy`.
func policyCommand(stdin io.Reader, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Work on policies without a control plane", Long: "Work on policies without a control plane."}
	cmd.AddCommand(&cobra.Command{
		Use:   "test FILE",
		Short: "Evaluate test cases and compare the verdicts",
		Long: `Evaluate test cases, one JSON object a line, and print for each line the verdict: allow, deny or
error (the document would be refused when written). FILE - is standard input.

A case has principal, action, resource, context and documents (identityPolicies, trustPolicy, boundary,
sessionPolicy, …), or assumeRole for what STS asks. With "want" the verdict is compared.

Exit status 1 when a verdict differs from what a case wants, or a line cannot be read.`,
		Example: "  podid policy test cases.jsonl",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			in := stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer func() { _ = f.Close() }() // only read from
				in = f
			}
			sum, err := policytest.Run(in, stdout)
			if err != nil {
				return err
			}
			if !sum.OK() {
				return errors.New(fmt.Sprint(sum))
			}
			return nil
		},
	})
	return cmd
}
