// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

// table is what -o table shows of a result.
type table struct {
	head []string
	rows [][]string
}

// print writes value as JSON or YAML, or t as a table.
func (a *app) print(value any, t table) error {
	switch a.output {
	case "json":
		e := json.NewEncoder(a.Out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(value)
	case "yaml":
		text, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = a.Out.Write(text)
		return err
	case "table", "":
		w := tabwriter.NewWriter(a.Out, 0, 4, 3, ' ', 0)
		fmt.Fprintln(w, strings.Join(t.head, "\t"))
		for _, r := range t.rows {
			fmt.Fprintln(w, strings.Join(r, "\t"))
		}
		return w.Flush()
	}
	return &usageError{fmt.Errorf("-o %s is not table, json or yaml", a.output), "podid"}
}

// dash stands for nothing in a table.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func showTags(tags map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, k+"="+tags[k])
	}
	return dash(strings.Join(out, ","))
}

// roleName is the last part of a role's ARN, for tables.
func roleName(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
