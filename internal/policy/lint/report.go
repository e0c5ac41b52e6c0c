// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"io"
	"strings"

	"podid/internal/policy/report"
)

// A Report is the outcome of a run.
type Report struct {
	Findings  []Finding `json:"findings"`
	Documents int       `json:"documents"`
	// Files are the names of all files, those without findings included.
	Files []string `json:"files"`
}

// Count returns the number of findings of a severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

// Worst returns the highest severity, 0 without findings.
func (r *Report) Worst() Severity {
	var worst Severity
	for i := range r.Findings {
		worst = max(worst, r.Findings[i].Severity)
	}
	return worst
}

// String sums the report up in a line.
func (r *Report) String() string {
	return fmt.Sprintf("%s: %s, %s, %s", report.Count(r.Documents, "document"), report.Count(r.Count(Error), "error"), report.Count(r.Count(Warning), "warning"), report.Count(r.Count(Note), "note"))
}

// Place is file:line:column as compilers write it, as far as it is known.
func (f *Finding) Place() string {
	switch {
	case f.Line == 0:
		return f.File
	case f.Column == 0:
		return fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

// Where names the document in the file and the statement.
func (f *Finding) Where() string {
	out := f.Kind
	if f.Document != "" {
		out = strings.TrimSpace(out + " " + f.Document)
	}
	if f.Statement > 0 {
		out += fmt.Sprintf(", statement %d", f.Statement)
	}
	if f.Sid != "" {
		out += " (" + f.Sid + ")"
	}
	return strings.TrimPrefix(out, ", ")
}

// WriteTable writes the findings for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	for i := range r.Findings {
		f := &r.Findings[i]
		fmt.Fprintf(&b, "%s: %s: %s [%s]\n", f.Place(), f.Severity, f.Message, f.Code)
		if where := f.Where(); where != "" {
			fmt.Fprintf(&b, "    in   %s\n", where)
		}
		fmt.Fprintf(&b, "    fix  %s\n", f.Fix)
	}
	fmt.Fprintf(&b, "%s\n", r)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	out := *r
	if out.Findings == nil {
		out.Findings = []Finding{}
	}
	return report.WriteJSON(w, struct {
		Report
		Errors   int `json:"errors"`
		Warnings int `json:"warnings"`
		Notes    int `json:"notes"`
	}{out, r.Count(Error), r.Count(Warning), r.Count(Note)})
}

// WriteJUnit writes the report as JUnit XML: a suite for each file, a case for
// each finding, and one that passes for a file without. Findings of the severity
// or above are failures, the others are output of cases that pass.
func (r *Report) WriteJUnit(w io.Writer, failOn Severity) error {
	var suites []report.Suite
	for _, file := range r.Files {
		s := report.Suite{File: file}
		for i := range r.Findings {
			if f := &r.Findings[i]; f.File == file {
				s.Cases = append(s.Cases, f.junit(failOn))
			}
		}
		if len(s.Cases) == 0 {
			s.Cases = []report.Case{{Name: "no findings"}}
		}
		suites = append(suites, s)
	}
	return report.WriteJUnit(w, "podid policy lint", suites)
}

func (f *Finding) junit(failOn Severity) report.Case {
	c := report.Case{Name: fmt.Sprintf("%s at %d:%d", f.Code, f.Line, f.Column), Line: f.Line}
	text := fmt.Sprintf("%s: %s: %s\nin %s\nfix: %s\n", f.Place(), f.Severity, f.Message, f.Where(), f.Fix)
	if f.Severity >= failOn {
		c.Failure = &report.Fault{Message: f.Message, Type: f.Code, Text: text}
	} else {
		c.Output = text
	}
	return c
}
