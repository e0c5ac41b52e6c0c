// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// results of a cell.
const (
	pass    = "pass"
	differs = "differs"
	absent  = "absent"
	left    = "left" // not asked for; the page keeps what it has
)

// A report is what a run found.
type report struct {
	mu sync.Mutex

	Seconds  int             `json:"seconds"`
	Clients  []reportClient  `json:"clients"`
	Sections []reportSection `json:"sections"`
}

type reportClient struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Version string `json:"version,omitempty"`
	Absent  string `json:"absent,omitempty"` // why it did not run
}

type reportSection struct {
	ID    string      `json:"id"`
	Title string      `json:"title"`
	Note  string      `json:"-"`
	Rows  []reportRow `json:"rows"`

	clients []string
}

type reportRow struct {
	ID    string          `json:"id"`
	Title string          `json:"title"`
	Cells map[string]cell `json:"cells"` // by client
}

type cell struct {
	Result string `json:"result"`
	Detail string `json:"detail,omitempty"`
	Millis int64  `json:"millis,omitempty"`
}

func newReport(sections []section) *report {
	r := &report{}
	for _, s := range sections {
		out := reportSection{ID: s.ID, Title: s.Title, Note: s.Note, clients: s.Clients}
		for _, row := range s.Rows {
			out.Rows = append(out.Rows, reportRow{ID: row.ID, Title: row.Title, Cells: map[string]cell{}})
		}
		r.Sections = append(r.Sections, out)
	}
	return r
}

func (r *report) present(p player, version string) {
	r.Clients = append(r.Clients, reportClient{ID: p.ID, Title: p.Title, Version: version})
}

func (r *report) absent(p player, why string) {
	r.Clients = append(r.Clients, reportClient{ID: p.ID, Title: p.Title, Absent: why})
	for i := range r.Sections {
		if s := &r.Sections[i]; slices.Contains(s.clients, p.ID) {
			for j := range s.Rows {
				s.Rows[j].Cells[p.ID] = cell{Result: absent, Detail: "client: " + why}
			}
		}
	}
}

// add writes down how a row went with a client.
func (r *report) add(s section, played row, client string, err error, took time.Duration) {
	c := cell{Result: pass, Millis: took.Milliseconds()}
	switch {
	case errors.Is(err, errAbsent):
		c.Result, c.Detail = absent, strings.TrimPrefix(err.Error(), "absent: ")
	case err != nil:
		c.Result, c.Detail = differs, err.Error()
	}
	r.set(s, played, client, c)
}

// leave writes down that a row was not asked for.
func (r *report) leave(s section, row row, client string) { r.set(s, row, client, cell{Result: left}) }

func (r *report) set(s section, played row, client string, c cell) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.Sections {
		for j := range r.Sections[i].Rows {
			if r.Sections[i].ID == s.ID && r.Sections[i].Rows[j].ID == played.ID {
				r.Sections[i].Rows[j].Cells[client] = c
			}
		}
	}
}

func (r *report) client(id string) reportClient {
	i := slices.IndexFunc(r.Clients, func(c reportClient) bool { return c.ID == id })
	return r.Clients[i]
}

// print writes the report for people: one line a row, what differs with how.
func (r *report) print(w io.Writer, verbose bool) {
	count := map[string]int{}
	for _, s := range r.Sections {
		fmt.Fprintf(w, "\n%s\n", s.Title)
		for _, row := range s.Rows {
			var cells []string
			var notes []string
			for _, id := range s.clients {
				c := row.Cells[id]
				if r.client(id).Absent == "" {
					count[c.Result]++
				}
				cells = append(cells, id+" "+c.Result)
				if c.Result == differs || verbose {
					notes = append(notes, strings.TrimSpace(fmt.Sprintf("%s: %d ms %s", id, c.Millis, c.Detail)))
				}
			}
			fmt.Fprintf(w, "  %-20s %s\n", row.ID, strings.Join(cells, ", "))
			for _, n := range notes {
				fmt.Fprintf(w, "      %s\n", strings.ReplaceAll(n, "\n", "\n      "))
			}
		}
	}
	fmt.Fprintln(w)
	for _, c := range r.Clients {
		if c.Absent != "" {
			fmt.Fprintf(w, "ABSENT %s: %s\n", c.Title, c.Absent)
		} else {
			fmt.Fprintf(w, "ran    %s (%s)\n", c.Title, c.Version)
		}
	}
	fmt.Fprintf(w, "conformance: %d pass, %d differ, %d absent, in %d s\n", count[pass], count[differs], count[absent], r.Seconds)
}

// write writes what the options ask for.
func (r *report) write(o options) error {
	var errs []error
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", " ")
		if err == nil {
			err = os.WriteFile(o.json, append(text, '\n'), 0o644)
		}
		errs = append(errs, err)
	}
	if o.matrix != "" {
		errs = append(errs, r.writeMatrix(o.matrix))
	}
	return errors.Join(errs...)
}

// verdict is an error when anything differs, or was not played.
func (r *report) verdict() error {
	var wrong []string
	for _, s := range r.Sections {
		for _, row := range s.Rows {
			for _, id := range s.clients {
				if c := row.Cells[id]; !slices.Contains([]string{pass, absent, left}, c.Result) {
					wrong = append(wrong, row.ID+" ("+id+")")
				}
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d cells differ: %s", len(wrong), strings.Join(wrong, ", "))
	}
	return nil
}
