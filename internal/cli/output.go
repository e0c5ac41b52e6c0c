// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

// format is the form of the output.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *format) Type() string { return "format" }

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	if !slices.Contains([]format{formatTable, formatJSON, formatYAML}, format(s)) {
		return fmt.Errorf("%q is none of table, json and yaml", s)
	}
	*f = format(s)
	return nil
}

// print writes v as JSON or YAML, or calls table.
func (a *app) print(v any, table func(io.Writer) error) error {
	switch a.output {
	case formatJSON:
		enc := json.NewEncoder(a.Out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	case formatYAML:
		text, err := yaml.Marshal(v)
		if err != nil {
			return fmt.Errorf("write YAML: %w", err)
		}
		_, err = a.Out.Write(text)
		return err
	default:
		return table(a.Out)
	}
}

// rows writes a table with a head line.
func rows(w io.Writer, head string, lines [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.ReplaceAll(head, " ", "\t"))
	for _, l := range lines {
		for i, cell := range l {
			if cell == "" {
				l[i] = "-"
			}
		}
		fmt.Fprintln(tw, strings.Join(l, "\t"))
	}
	return tw.Flush()
}

// fields writes one thing, a field a line; empty values are left out.
func fields(w io.Writer, pairs ...string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(tw, "%s\t%s\n", pairs[i], strings.ReplaceAll(pairs[i+1], "\n", "\n\t"))
		}
	}
	return tw.Flush()
}

func tagText(tags map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, k+"="+tags[k])
	}
	return strings.Join(out, ",")
}
