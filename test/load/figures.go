// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// figures are those of one program that is measured by itself, and where there is one of another beside it.
type figures struct {
	rows  []figure
	other string // name of the other program
}

// figure is one of them with its bound; over tells whether it is missed.
type figure struct {
	Name  string `json:"name"`
	Got   string `json:"got"`
	Bound string `json:"bound"`
	Over  bool   `json:"over"`
	Other string `json:"other,omitempty"`
}

func (f *figures) row(over bool, name, bound, format string, args ...any) {
	f.rows = append(f.rows, figure{Name: name, Got: fmt.Sprintf(format, args...), Bound: bound, Over: over})
}

// compare puts the figures of another program beside those of the same name.
func (f *figures) compare(name string, rows []figure) {
	f.other = name
	for i := range f.rows {
		f.rows[i].Other = "-"
		if j := slices.IndexFunc(rows, func(r figure) bool { return r.Name == f.rows[i].Name }); j >= 0 {
			f.rows[i].Other = rows[j].Got
		}
	}
}

// write prints one line of JSON and a table; with check it is an error that a bound is missed.
func (f *figures) write(w io.Writer, program string, check bool) error {
	text, err := json.Marshal(struct {
		Load    string   `json:"loadAverage"`
		Figures []figure `json:"figures"`
	}{loadAverage(), f.rows})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s\n\n", text); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	heads := []string{"figure", program, "bound", ""}
	if f.other != "" {
		heads = append(heads, f.other)
	}
	fmt.Fprintln(t, strings.Join(heads, "\t"))
	for _, r := range f.rows {
		missed := ""
		if r.Over {
			missed = "NOT MET"
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join([]string{r.Name, r.Got, r.Bound, missed, r.Other}, "\t"), "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if i := slices.IndexFunc(f.rows, func(r figure) bool { return r.Over }); check && i >= 0 {
		return fmt.Errorf("%s: %s, at most %s", f.rows[i].Name, f.rows[i].Got, f.rows[i].Bound)
	}
	return nil
}
