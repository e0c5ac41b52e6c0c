// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command manifest copies the definitions of the CRDs into the chart and renders the static manifest from it. It is run from
// anywhere with the root of the repository as its argument; a test holds that both are up to date.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	chart "podid/test/chart"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manifest ROOT")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "manifest: %v\n", err)
		os.Exit(1)
	}
}

func run(root string) error {
	if err := copyCRDs(root); err != nil {
		return fmt.Errorf("copy definitions: %w", err)
	}
	var out bytes.Buffer
	if err := chart.Manifest(filepath.Join(root, chart.ChartDir), &out); err != nil {
		return err
	}
	file := filepath.Join(root, chart.ManifestFile)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // a directory of the repository
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644) //nolint:gosec // a file of the repository
}

func copyCRDs(root string) error {
	to := filepath.Join(root, chart.CRDCopy)
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(filepath.Join(root, chart.CRDSource)))
}
