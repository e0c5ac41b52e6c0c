// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"fmt"
	"io"
	"strings"

	"podid/internal/policy/report"
)

// WriteHuman writes a report for people: a line for each case, and for each
// check that failed what was expected, what came and which statement was
// nearest. verbose shows every check with the statement that decided.
func (r *Report) WriteHuman(w io.Writer, verbose bool) error {
	var b strings.Builder
	for i := range r.Files {
		f := &r.Files[i]
		for _, e := range f.Errors {
			fmt.Fprintf(&b, "ERROR %s\n", e)
		}
		for _, d := range f.Differences {
			fmt.Fprintf(&b, "diff  %s: %s\n", f.File, d)
		}
		for start := 0; start < len(f.Checks); {
			end := start + 1
			for end < len(f.Checks) && f.Checks[end].Case == f.Checks[start].Case {
				end++
			}
			writeCase(&b, f.Checks[start:end], verbose)
			start = end
		}
	}
	fmt.Fprintf(&b, "%s\n", r.Totals())
	_, err := io.WriteString(w, b.String())
	return err
}

func writeCase(b *strings.Builder, checks []Check, verbose bool) {
	failed := 0
	for i := range checks {
		if !checks[i].Passed && !checks[i].Ungraded {
			failed++
		}
	}
	first := &checks[0]
	switch {
	case failed > 0:
		fmt.Fprintf(b, "FAIL  %s: %s (%d of %s)\n", first.File, first.Case, failed, report.Count(len(checks), "check"))
	default:
		fmt.Fprintf(b, "ok    %s: %s (%s)\n", first.File, first.Case, report.Count(len(checks), "check"))
	}
	for i := range checks {
		c := &checks[i]
		switch {
		case !c.Passed && !c.Ungraded:
			fmt.Fprintf(b, "  FAIL  %s:%d: %s %s\n", c.File, c.Line, c.Expected, c.Ask)
			c.writeDetails(b)
		case verbose:
			fmt.Fprintf(b, "  ok    %s:%d: %s %s\n", c.File, c.Line, c.Verdict, c.Ask)
			c.writeDetails(b)
		case c.InFile != "":
			fmt.Fprintf(b, "  live  %s:%d: %s %s, with the file's documents %s\n", c.File, c.Line, c.Verdict, c.Ask, c.InFile)
		}
	}
}

func (c *Check) writeDetails(b *strings.Builder) {
	for _, l := range c.details() {
		fmt.Fprintf(b, "          %-9s %s\n", l[0], l[1])
	}
}

// details are label and text of what is known of a check.
func (c *Check) details() [][2]string {
	var out [][2]string
	add := func(label, text string) { out = append(out, [2]string{label, text}) }
	switch {
	case c.Passed || c.Ungraded:
	case c.Verdict != c.Expected:
		add("expected", c.Expected)
	default:
		add("problem", c.Problem)
	}
	got := c.Verdict
	switch c.Reason {
	case ReasonExplicit:
		got += ", explicitly"
	case ReasonImplicit:
		got += ", for nothing allows it"
		if c.Cause != "" {
			got += " (" + c.Cause + ")"
		}
	}
	add("got", got)
	switch {
	case c.Decided == nil:
	case c.Reason == ReasonImplicit:
		add("missing", "an Allow in the "+c.Decided.String())
	default:
		add("decided", c.Decided.String())
	}
	if c.Nearest != nil {
		add("nearest", c.Nearest.String())
		add("lacks", c.Failed)
	}
	if c.InFile != "" {
		add("in file", c.InFile+" with the file's own documents")
	}
	return out
}

// WriteJSON writes the report as one JSON object: files with their checks, and totals.
func (r *Report) WriteJSON(w io.Writer) error {
	t := r.Totals()
	out := struct {
		*Report
		Totals map[string]int `json:"totals"`
	}{r, map[string]int{
		"files": t.Files, "cases": t.Cases, "checks": t.Checks, "passed": t.Passed, "failed": t.Failed,
		"ungraded": t.Ungraded, "invalidFiles": t.Invalid,
	}}
	return report.WriteJSON(w, out)
}

// WriteJUnit writes the report as JUnit XML: a suite for each file, a case for
// each check and for each reason why a file cannot be run.
func (r *Report) WriteJUnit(w io.Writer) error {
	suites := make([]report.Suite, 0, len(r.Files))
	for i := range r.Files {
		f := &r.Files[i]
		s := report.Suite{File: f.File}
		for _, e := range f.Errors {
			s.Cases = append(s.Cases, report.Case{Name: "read file", Error: &report.Fault{Message: e, Type: "invalid", Text: e}})
		}
		for j := range f.Checks {
			s.Cases = append(s.Cases, f.Checks[j].junit())
		}
		suites = append(suites, s)
	}
	return report.WriteJUnit(w, "podid policy test", suites)
}

func (c *Check) junit() report.Case {
	out := report.Case{Name: c.Case + ": " + c.Expected + " " + c.Ask, Line: c.Line}
	switch {
	case c.Ungraded:
		out.Name = c.Case + ": " + c.Ask
		out.Skipped = "nothing is wanted; the verdict is " + c.Verdict
	case !c.Passed:
		var text strings.Builder
		fmt.Fprintf(&text, "%s:%d\n", c.File, c.Line)
		for _, l := range c.details() {
			fmt.Fprintf(&text, "%s: %s\n", l[0], l[1])
		}
		out.Failure = &report.Fault{Message: c.Problem, Type: c.Reason, Text: text.String()}
	}
	return out
}
