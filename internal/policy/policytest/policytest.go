// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package policytest runs policy test cases in JSONL form: it owns the form of a
// case and its verdict, and refuses lines that it does not understand instead of
// guessing. It stands between `podid policy test` and package policy, and reads
// nothing but its input: a case carries its own documents and condition keys.
package policytest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"podid/internal/policy"
)

// The verdicts. Either, only in want, stands for cases that AWS' documentation
// leaves open.
const (
	Allow  = "allow"
	Deny   = "deny"
	Error  = "error"
	Either = "either"
)

// maxLine bounds one case in bytes.
const maxLine = 4 << 20

// Summary counts the cases of a run.
type Summary struct {
	Cases      int // cases decided
	Agreed     int // verdict equals want
	Disagreed  int // verdict differs from want
	Ungraded   int // no want, or either
	Broken     int // lines that are no case
	ByFamily   map[string]Count
	Mismatches []Mismatch
}

// Count is the grade of one family.
type Count struct{ Agreed, Graded int }

// Mismatch is a case whose verdict is not the wanted one.
type Mismatch struct{ ID, Want, Verdict, Detail string }

// OK reports whether no graded case disagreed and no line was broken.
func (s Summary) OK() bool { return s.Disagreed == 0 && s.Broken == 0 }

// Result is one line of output.
type Result struct {
	ID      string `json:"id"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
}

// maxLineErrors bounds the line errors that Run reports.
const maxLineErrors = 20

// Run reads cases from in, one JSON object a line, and writes a Result for each
// to out as soon as it is decided. A line that is no case has no Result; the
// others are decided all the same, and the error names every such line, up to
// twenty. Labels and other members that Run does not know are named in the detail.
func Run(in io.Reader, out io.Writer) (Summary, error) {
	r := runner{cache: policy.NewCache(4 << 20), enc: json.NewEncoder(out)}
	r.sum.ByFamily = map[string]Count{}
	r.enc.SetEscapeHTML(false)
	scan := bufio.NewScanner(in)
	scan.Buffer(make([]byte, 0, 64<<10), maxLine)
	line := 0
	for scan.Scan() {
		line++
		text := bytes.TrimSpace(scan.Bytes())
		if len(text) == 0 {
			continue
		}
		res, ok := r.line(line, text)
		if !ok {
			continue
		}
		if err := r.enc.Encode(res); err != nil {
			return r.sum, fmt.Errorf("write result: %w", err)
		}
	}
	if err := scan.Err(); err != nil {
		r.fail(line+1, fmt.Errorf("read case: %w", err))
	}
	return r.sum, errors.Join(r.errs...)
}

type runner struct {
	cache *policy.Cache
	enc   *json.Encoder
	sum   Summary
	errs  []error
}

// line decides one case; false when it is none.
func (r *runner) line(number int, text []byte) (Result, bool) {
	c, err := parseCase(text)
	if err != nil {
		r.fail(number, err)
		return Result{}, false
	}
	res, err := c.decide(r.cache)
	if err != nil {
		r.fail(number, fmt.Errorf("case %q: %w", c.ID, err))
		return Result{}, false
	}
	for _, name := range c.unknown {
		res.Detail += fmt.Sprintf("\nunknown member %q is ignored", name)
	}
	r.sum.count(c, res)
	return res, true
}

func (r *runner) fail(line int, err error) {
	r.sum.Broken++
	if len(r.errs) < maxLineErrors {
		r.errs = append(r.errs, fmt.Errorf("line %d: %w", line, err))
	}
}

func (s *Summary) count(c *testCase, res Result) {
	s.Cases++
	if c.Want == "" || c.Want == Either {
		s.Ungraded++
		return
	}
	n := s.ByFamily[c.Family]
	n.Graded++
	if c.Want == res.Verdict {
		s.Agreed++
		n.Agreed++
	} else {
		s.Disagreed++
		s.Mismatches = append(s.Mismatches, Mismatch{c.ID, c.Want, res.Verdict, res.Detail})
	}
	s.ByFamily[c.Family] = n
}
