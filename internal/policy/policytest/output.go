// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
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
		fmt.Fprintf(b, "FAIL  %s: %s (%d of %s)\n", first.File, first.Case, failed, count(len(checks), "check"))
	default:
		fmt.Fprintf(b, "ok    %s: %s (%s)\n", first.File, first.Case, count(len(checks), "check"))
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
	line := func(label, text string) { fmt.Fprintf(b, "          %-9s %s\n", label, text) }
	for _, l := range c.details() {
		line(l[0], l[1])
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
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// The elements of a JUnit report, as GitLab's and GitHub's readers take them:
// a suite for each file, a case for each check.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		File     string      `xml:"file,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string      `xml:"name,attr"`
		ClassName string      `xml:"classname,attr"`
		File      string      `xml:"file,attr"`
		Line      int         `xml:"line,attr,omitempty"`
		Time      string      `xml:"time,attr"`
		Failure   *junitFault `xml:"failure"`
		Error     *junitFault `xml:"error"`
		Skipped   *junitSkip  `xml:"skipped"`
	}
	junitFault struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	junitSkip struct {
		Message string `xml:"message,attr"`
	}
)

// WriteJUnit writes the report as JUnit XML. Deciding takes microseconds, so
// every time is 0.
func (r *Report) WriteJUnit(w io.Writer) error {
	all := junitSuites{Name: "podid policy test"}
	for i := range r.Files {
		s := r.Files[i].junit()
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Suites = append(all.Suites, s)
	}
	return writeXML(w, all)
}

// writeXML writes a document with its declaration and indented.
func writeXML(w io.Writer, v any) error {
	body, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write XML: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, body)
	return err
}

func (f *FileReport) junit() junitSuite {
	s := junitSuite{Name: f.File, File: f.File}
	for _, e := range f.Errors {
		s.Errors++
		s.Cases = append(s.Cases, junitCase{Name: "read file", ClassName: f.File, File: f.File, Time: "0", Error: &junitFault{e, "invalid", e}})
	}
	for i := range f.Checks {
		c := &f.Checks[i]
		jc := junitCase{Name: c.Case + ": " + c.Expected + " " + c.Ask, ClassName: f.File, File: f.File, Line: c.Line, Time: "0"}
		switch {
		case c.Ungraded:
			s.Skipped++
			jc.Name = c.Case + ": " + c.Ask
			jc.Skipped = &junitSkip{"nothing is wanted; the verdict is " + c.Verdict}
		case !c.Passed:
			s.Failures++
			var text strings.Builder
			fmt.Fprintf(&text, "%s:%d\n", c.File, c.Line)
			for _, l := range c.details() {
				fmt.Fprintf(&text, "%s: %s\n", l[0], l[1])
			}
			jc.Failure = &junitFault{c.Problem, c.Reason, text.String()}
		}
		s.Cases = append(s.Cases, jc)
	}
	s.Tests = len(s.Cases)
	return s
}
