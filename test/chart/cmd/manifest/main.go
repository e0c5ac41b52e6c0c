// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command manifest copies the definitions of the CRDs into the chart and renders the static manifests from it. It is run from
// anywhere with the root of the repository as its argument; a test holds that they are up to date.
package main

import (
	"bytes"
	"fmt"
	"io"
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
	for file, render := range map[string]func(string, io.Writer) error{chart.ManifestFile: chart.Manifest, chart.UninstallFile: chart.Uninstall} {
		var out bytes.Buffer
		if err := render(filepath.Join(root, chart.ChartDir), &out); err != nil {
			return err
		}
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // a directory of the repository
			return err
		}
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil { //nolint:gosec // a file of the repository
			return err
		}
	}
	return nil
}

func copyCRDs(root string) error {
	to := filepath.Join(root, chart.CRDCopy)
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(filepath.Join(root, chart.CRDSource)))
}
