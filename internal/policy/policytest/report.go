// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"fmt"
	"strconv"
	"strings"

	"podid/internal/policy"
	"podid/internal/policy/report"
)

// The reasons of a verdict in reports.
const (
	ReasonAllowed  = "allowed"
	ReasonExplicit = becauseExplicit // a Deny statement matched
	ReasonImplicit = becauseImplicit // no Allow statement matched
)

// A Place is a statement of a document. Statements count from 1.
type Place struct {
	Kind      string `json:"kind,omitempty"` // "trust policy" and the like
	Document  string `json:"document,omitempty"`
	Statement int    `json:"statement,omitempty"`
	Sid       string `json:"sid,omitempty"`
}

// String names the place for people.
func (p *Place) String() string {
	out := p.Kind
	if p.Document != "" && p.Document != p.Kind {
		out = strings.TrimSpace(out + " " + p.Document)
	}
	if p.Statement > 0 {
		out += " statement " + strconv.Itoa(p.Statement)
	}
	if p.Sid != "" {
		out += " (" + p.Sid + ")"
	}
	return out
}

// A Check is one question and how it was answered.
type Check struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Case     string `json:"case"`
	Ask      string `json:"ask"` // "s3:GetObject on arn:…"
	Passed   bool   `json:"passed"`
	Ungraded bool   `json:"ungraded,omitempty"` // nothing was wanted
	Expected string `json:"expected"`
	Verdict  string `json:"verdict"` // allow, deny or error
	Reason   string `json:"reason"`  // allowed, explicit or implicit
	Cause    string `json:"cause,omitempty"`
	// Decided is the statement that decided, or the document without an Allow.
	Decided *Place `json:"decided,omitempty"`
	// Nearest is the Allow statement that came nearest, Failed what it lacked.
	Nearest *Place `json:"nearest,omitempty"`
	Failed  string `json:"failed,omitempty"`
	// Problem says why the check did not pass.
	Problem string `json:"problem,omitempty"`
	// InFile is the verdict with the file's own documents, where the server's
	// give another.
	InFile string `json:"inFile,omitempty"`
}

// A FileReport is the outcome of one file.
type FileReport struct {
	File        string   `json:"file"`
	Checks      []Check  `json:"checks"`
	Errors      []string `json:"errors,omitempty"`      // why the file cannot be run
	Differences []string `json:"differences,omitempty"` // of the server's roles to the file's
}

// A Report is the outcome of a run.
type Report struct {
	Files []FileReport `json:"files"`
}

// Totals are the figures of a report.
type Totals struct {
	Files, Cases, Checks, Passed, Failed, Ungraded, Invalid int
}

// Totals counts. A case is failed by one of its checks.
func (r *Report) Totals() Totals {
	t := Totals{Files: len(r.Files)}
	for i := range r.Files {
		f := &r.Files[i]
		if len(f.Errors) > 0 {
			t.Invalid++
		}
		last := ""
		for j := range f.Checks {
			c := &f.Checks[j]
			if j == 0 || c.Case != last {
				t.Cases++
				last = c.Case
			}
			t.Checks++
			switch {
			case c.Ungraded:
				t.Ungraded++
			case c.Passed:
				t.Passed++
			default:
				t.Failed++
			}
		}
	}
	return t
}

// String is the last line of a report for people.
func (t Totals) String() string {
	out := fmt.Sprintf("%s in %s: %s, %d passed, %d failed", report.Count(t.Cases, "case"), report.Count(t.Files, "file"), report.Count(t.Checks, "check"), t.Passed, t.Failed)
	if t.Ungraded > 0 {
		out += fmt.Sprintf(", %d not graded", t.Ungraded)
	}
	if t.Invalid > 0 {
		out += fmt.Sprintf("; %s could not be run", report.Count(t.Invalid, "file"))
	}
	return out
}

// describe fills in what the explanation says.
func (c *Check) describe(x *policy.Explanation) {
	d := &x.Decision
	c.Cause = d.Cause.String()
	switch {
	case d.Allowed:
		c.Reason = ReasonAllowed
	case d.Explicit:
		c.Reason = ReasonExplicit
	default:
		c.Reason = ReasonImplicit
	}
	if place := (Place{x.Kind(), d.Source.Document, d.Source.Statement + 1, d.Source.Sid}); place != (Place{}) {
		c.Decided = &place
	}
	if len(x.NearMisses) > 0 {
		m := &x.NearMisses[0]
		c.Nearest, c.Failed = &Place{m.Kind, m.Document, m.Statement + 1, m.Sid}, lacked(m)
	}
}

// lacked says what of a statement did not match.
func lacked(m *policy.NearMiss) string {
	f := m.Condition
	if f == nil {
		return fmt.Sprintf("%s wants %s, is %q", m.Element, quoted(m.Wanted), m.Actual)
	}
	text := fmt.Sprintf("%s %s wants %s, ", f.Operator, f.Key, quoted(f.Wanted))
	if f.Absent {
		text += "the request has no such key"
	} else {
		text += "is " + quoted(f.Actual)
	}
	if f.Problem != "" {
		text += " (" + f.Problem + ")"
	}
	return text
}

// maxQuoted bounds the values that a report shows of one list.
const maxQuoted = 8

func quoted(values []string) string {
	var out []string
	for i, v := range values {
		if i == maxQuoted {
			out = append(out, fmt.Sprintf("… (%d more)", len(values)-i))
			break
		}
		out = append(out, strconv.Quote(v))
	}
	return strings.Join(out, " or ")
}

// judge compares with what is wanted: the verdict first, then its reason.
func (c *Check) judge(e *expectation, x *policy.Explanation) {
	place := c.Decided
	if c.Reason == ReasonImplicit && c.Nearest != nil {
		place = c.Nearest
	}
	switch {
	case c.Verdict != c.Expected:
		c.Problem = fmt.Sprintf("expected %s, got %s", c.Expected, c.Verdict)
	case !because(e.because, c.Reason, x.Decision.Cause):
		c.Problem = fmt.Sprintf("denied as expected, but because of %s, not %s", x.Decision.Cause, e.because)
	case e.statement != "" && !place.isStatement(e.statement):
		c.Problem = fmt.Sprintf("%s as expected, but not by statement %s", c.Verdict, e.statement)
	case e.document != "" && (place == nil || place.Document != e.document):
		c.Problem = fmt.Sprintf("%s as expected, but not by document %s", c.Verdict, e.document)
	default:
		c.Passed = true
	}
}

func because(want, reason string, cause policy.Cause) bool {
	if want == "" || want == reason {
		return true
	}
	missing, ok := missingIn[want]
	return ok && missing == cause
}

// isStatement compares with a Sid or a number.
func (p *Place) isStatement(want string) bool {
	return p != nil && (p.Sid == want || p.Statement > 0 && strconv.Itoa(p.Statement) == want)
}
