// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"testing"

	"github.com/spf13/cobra"

	"podid/test/chartargs"
)

// TestChartArguments: what the chart starts this program with are flags that it has.
func TestChartArguments(t *testing.T) {
	chartargs.Check(t, "../../test/chart/testdata/golden", "podid.dev/podid-operator", func() *cobra.Command {
		return newRoot(environ(), io.Discard, io.Discard)
	})
}
