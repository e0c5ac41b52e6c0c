// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/policy/report"
)

func TestWriteJUnit(t *testing.T) {
	suites := []report.Suite{
		{File: "a.json", Cases: []report.Case{
			{Name: "passes", Output: "a note"},
			{Name: "fails", Line: 3, Failure: &report.Fault{Message: "no <tag>", Type: "code", Text: "at\nlength"}},
			{Name: "open", Skipped: "nothing is wanted"},
		}},
		{File: "b.json", Cases: []report.Case{{Name: "broken", Error: &report.Fault{Message: "m", Type: "t", Text: "x"}}}},
	}
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="all" tests="4" failures="1" errors="1">
  <testsuite name="a.json" file="a.json" tests="3" failures="1" errors="0" skipped="1">
    <testcase name="passes" classname="a.json" file="a.json" time="0">
      <system-out>a note</system-out>
    </testcase>
    <testcase name="fails" classname="a.json" file="a.json" line="3" time="0">
      <failure message="no &lt;tag&gt;" type="code">at&#xA;length</failure>
    </testcase>
    <testcase name="open" classname="a.json" file="a.json" time="0">
      <skipped message="nothing is wanted"></skipped>
    </testcase>
  </testsuite>
  <testsuite name="b.json" file="b.json" tests="1" failures="0" errors="1" skipped="0">
    <testcase name="broken" classname="b.json" file="b.json" time="0">
      <error message="m" type="t">x</error>
    </testcase>
  </testsuite>
</testsuites>
`
	var got strings.Builder
	if err := report.WriteJUnit(&got, "all", suites); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestWriteJSON(t *testing.T) {
	var got strings.Builder
	if err := report.WriteJSON(&got, map[string]string{"a": "<&>"}); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"a\": \"<&>\"\n}\n"; got.String() != want {
		t.Errorf("got %q, want %q", got.String(), want)
	}
}

func TestCount(t *testing.T) {
	for want, n := range map[string]int{"0 files": 0, "1 file": 1, "2 files": 2} {
		if got := report.Count(n, "file"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
