// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
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
	return fmt.Sprintf("%s: %s, %s, %s", plural(r.Documents, "document"), plural(r.Count(Error), "error"), plural(r.Count(Warning), "warning"), plural(r.Count(Note), "note"))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
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
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(struct {
		Report
		Errors   int `json:"errors"`
		Warnings int `json:"warnings"`
		Notes    int `json:"notes"`
	}{out, r.Count(Error), r.Count(Warning), r.Count(Note)})
}

// The elements of a JUnit report: a suite for each file, a case for each
// finding, and one that passes for a file without.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		File     string      `xml:"file,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		ClassName string        `xml:"classname,attr"`
		File      string        `xml:"file,attr"`
		Line      int           `xml:"line,attr,omitempty"`
		Time      string        `xml:"time,attr"`
		Failure   *junitFailure `xml:"failure"`
		Output    string        `xml:"system-out,omitempty"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit XML. Findings of the severity or above
// are failures, the others are output of cases that pass.
func (r *Report) WriteJUnit(w io.Writer, failOn Severity) error {
	all := junitSuites{Name: "podid policy lint"}
	for _, file := range r.Files {
		s := junitSuite{Name: file, File: file}
		for i := range r.Findings {
			f := &r.Findings[i]
			if f.File != file {
				continue
			}
			c := junitCase{Name: fmt.Sprintf("%s at %d:%d", f.Code, f.Line, f.Column), ClassName: file, File: file, Line: f.Line, Time: "0"}
			text := fmt.Sprintf("%s: %s: %s\nin %s\nfix: %s\n", f.Place(), f.Severity, f.Message, f.Where(), f.Fix)
			if f.Severity >= failOn {
				s.Failures++
				c.Failure = &junitFailure{f.Message, f.Code, text}
			} else {
				c.Output = text
			}
			s.Cases = append(s.Cases, c)
		}
		if len(s.Cases) == 0 {
			s.Cases = append(s.Cases, junitCase{Name: "no findings", ClassName: file, File: file, Time: "0"})
		}
		s.Tests = len(s.Cases)
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Suites = append(all.Suites, s)
	}
	body, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write XML: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, body)
	return err
}
