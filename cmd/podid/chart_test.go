// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"testing"

	"github.com/spf13/cobra"

	"podid/internal/cli"
	"podid/test/chartargs"
)

// TestChartArguments: what the chart starts this program with are flags that it has.
func TestChartArguments(t *testing.T) {
	chartargs.Check(t, "../../test/chart/testdata/golden", "podid.dev/podid", func() *cobra.Command {
		return newRoot(nil, cli.Streams{Out: io.Discard, Err: io.Discard})
	})
}
