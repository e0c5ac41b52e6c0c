// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"

	"podid/internal/policy"
)

// RunLines decides a file of cases in the JSONL form for a report. Cases
// without want, and with either, are shown and not graded. A line that is no
// case is an error of the file; the others are decided all the same.
func RunLines(name string, in io.Reader, filter *regexp.Regexp) FileReport {
	out := FileReport{File: name}
	r := runner{cache: policy.NewCache(cacheBytes)}
	r.sum.ByFamily = map[string]Count{}
	scan := bufio.NewScanner(in)
	scan.Buffer(make([]byte, 0, 64<<10), maxLine)
	line := 0
	for scan.Scan() {
		line++
		content := bytes.TrimSpace(scan.Bytes())
		if len(content) == 0 {
			continue
		}
		c, err := parseCase(content)
		var res Result
		if err == nil {
			if filter != nil && !filter.MatchString(c.label()) {
				continue
			}
			res, err = c.decide(r.cache)
		}
		if err != nil {
			out.fail(line, err)
			continue
		}
		out.Checks = append(out.Checks, c.report(name, line, res))
	}
	if err := scan.Err(); err != nil {
		out.fail(line+1, err)
	}
	return out
}

func (f *FileReport) fail(line int, err error) {
	if len(f.Errors) < maxLineErrors {
		f.Errors = append(f.Errors, f.File+":"+strconv.Itoa(line)+": "+err.Error())
	}
}

// label is how reports call a case.
func (c *testCase) label() string { return strings.TrimSpace(c.ID + " " + c.Name) }

func (c *testCase) report(file string, line int, res Result) Check {
	ask := strings.Join(c.Action.items, ", ") + " on " + c.Resource
	if c.AssumeRole != nil {
		ask = "assume " + c.AssumeRole.RoleARN
	}
	out := Check{
		File: file, Line: line, Case: c.label(), Ask: ask, Expected: c.Want, Verdict: res.Verdict,
		Passed: c.Want == res.Verdict, Ungraded: c.Want == "" || c.Want == Either, Reason: res.Verdict, Failed: res.Detail,
	}
	if !out.Passed && !out.Ungraded {
		out.Problem = "expected " + c.Want + ", got " + res.Verdict + ": " + res.Detail
	}
	return out
}
