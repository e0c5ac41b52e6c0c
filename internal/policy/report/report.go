// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package report writes what the commands about policies found in the forms
// that machines read: JUnit XML, as GitLab's and GitHub's readers take it, and
// JSON. It owns these forms and the counts in them, and refuses nothing: what a
// failure is, its callers decide. It stands behind package policy/lint and
// package policy/policytest, and imports nothing of ours.
package report

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
)

// A Suite is what was found in one file.
type Suite struct {
	File  string
	Cases []Case
}

// A Case is one thing that was checked. Without Failure, Error and Skipped it
// passed.
type Case struct {
	Name    string
	Line    int // from 1; 0 is not known
	Failure *Fault
	Error   *Fault
	Skipped string // why, when it was not checked
	Output  string // what is worth knowing of a case that passed
}

// A Fault says why a case did not pass: in a line, by a code, and at length.
type Fault struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// The elements of a JUnit report.
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
		Name      string     `xml:"name,attr"`
		ClassName string     `xml:"classname,attr"`
		File      string     `xml:"file,attr"`
		Line      int        `xml:"line,attr,omitempty"`
		Time      string     `xml:"time,attr"`
		Failure   *Fault     `xml:"failure"`
		Error     *Fault     `xml:"error"`
		Skipped   *junitSkip `xml:"skipped"`
		Output    string     `xml:"system-out,omitempty"`
	}
	junitSkip struct {
		Message string `xml:"message,attr"`
	}
)

// WriteJUnit writes a report of the name as JUnit XML: a suite for each file.
// Deciding takes microseconds, so every time is 0.
func WriteJUnit(w io.Writer, name string, suites []Suite) error {
	all := junitSuites{Name: name}
	for i := range suites {
		s := suites[i].junit()
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Suites = append(all.Suites, s)
	}
	body, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write XML: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, body)
	return err
}

func (s *Suite) junit() junitSuite {
	out := junitSuite{Name: s.File, File: s.File, Tests: len(s.Cases)}
	for i := range s.Cases {
		c := &s.Cases[i]
		jc := junitCase{
			Name: c.Name, ClassName: s.File, File: s.File, Line: c.Line, Time: "0",
			Failure: c.Failure, Error: c.Error, Output: c.Output,
		}
		if c.Failure != nil {
			out.Failures++
		}
		if c.Error != nil {
			out.Errors++
		}
		if c.Skipped != "" {
			out.Skipped++
			jc.Skipped = &junitSkip{c.Skipped}
		}
		out.Cases = append(out.Cases, jc)
	}
	return out
}

// WriteJSON writes a value as one indented JSON object; <, > and & stay as they are.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Count is a number with its noun, which takes an s but for one.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
