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
	Cases      int // lines read, blank ones not counted
	Agreed     int // verdict equals want
	Disagreed  int // verdict differs from want
	Ungraded   int // no want, or either
	ByFamily   map[string]Count
	Mismatches []Mismatch
}

// Count is the grade of one family.
type Count struct{ Agreed, Graded int }

// Mismatch is a case whose verdict is not the wanted one.
type Mismatch struct{ ID, Want, Verdict, Detail string }

// OK reports whether no graded case disagreed.
func (s Summary) OK() bool { return s.Disagreed == 0 }

// Result is one line of output.
type Result struct {
	ID      string `json:"id"`
	Verdict string `json:"verdict"`
	Detail  string `json:"detail"`
}

// Run reads cases from in, one JSON object a line, and writes a Result for each
// to out as soon as it is decided. A line that is no case ends the run with an
// error that names the line; results before it are written.
func Run(in io.Reader, out io.Writer) (Summary, error) {
	sum := Summary{ByFamily: map[string]Count{}}
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	scan := bufio.NewScanner(in)
	scan.Buffer(make([]byte, 0, 64<<10), maxLine)
	cache := policy.NewCache(4 << 20)
	line := 0
	for scan.Scan() {
		line++
		text := bytes.TrimSpace(scan.Bytes())
		if len(text) == 0 {
			continue
		}
		c, err := parseCase(text)
		if err != nil {
			return sum, errors.Join(fmt.Errorf("line %d: %w", line, err), w.Flush())
		}
		res, err := c.decide(cache)
		if err != nil {
			return sum, errors.Join(fmt.Errorf("line %d: case %q: %w", line, c.ID, err), w.Flush())
		}
		sum.count(c, res)
		if err := enc.Encode(res); err != nil {
			return sum, fmt.Errorf("write result: %w", err)
		}
		if err := w.Flush(); err != nil {
			return sum, fmt.Errorf("write result: %w", err)
		}
	}
	if err := scan.Err(); err != nil {
		return sum, fmt.Errorf("line %d: read case: %w", line+1, err)
	}
	return sum, nil
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
