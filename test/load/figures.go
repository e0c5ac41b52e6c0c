// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// figures are those of one program that is measured by itself.
type figures struct{ rows []figure }

// figure is one of them with its bound; over tells whether it is missed.
type figure struct {
	Name  string `json:"name"`
	Got   string `json:"got"`
	Bound string `json:"bound"`
	Over  bool   `json:"over"`
}

func (f *figures) row(over bool, name, bound, format string, args ...any) {
	f.rows = append(f.rows, figure{Name: name, Got: fmt.Sprintf(format, args...), Bound: bound, Over: over})
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
	fmt.Fprintf(t, "figure\t%s\tbound\t\n", program)
	for _, r := range f.rows {
		missed := ""
		if r.Over {
			missed = "NOT MET"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.Name, r.Got, r.Bound, missed)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if i := slices.IndexFunc(f.rows, func(r figure) bool { return r.Over }); check && i >= 0 {
		return fmt.Errorf("%s: %s, at most %s", f.rows[i].Name, f.rows[i].Got, f.rows[i].Bound)
	}
	return nil
}
