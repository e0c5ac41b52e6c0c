// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package glob_test

import (
	"testing"

	"podid/internal/operator/glob"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "anything/at:all", true},
		{"a", "a", true},
		{"a", "A", false},
		{"a", "ab", false},
		{"a*", "a", true},
		{"a*c", "abcbc", true},
		{"a*c", "abcb", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*b*", "abc", true},
		{"**", "x", true},
		{"a.c", "abc", false},
		{"[ab]", "a", false},
	} {
		if got := glob.Match(tc.pattern, tc.text); got != tc.want {
			t.Errorf("Match(%q, %q) = %v", tc.pattern, tc.text, got)
		}
	}
}

// FuzzMatch compares with a matcher that tries everything.
func FuzzMatch(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 8 || len(text) > 14 {
			return
		}
		if got, want := glob.Match(pattern, text), slowly(pattern, text); got != want {
			t.Errorf("Match(%q, %q) = %v", pattern, text, got)
		}
	})
}

func slowly(p, t string) bool {
	switch {
	case p == "":
		return t == ""
	case p[0] == '*':
		return slowly(p[1:], t) || t != "" && slowly(p, t[1:])
	}
	return t != "" && (p[0] == '?' || p[0] == t[0]) && slowly(p[1:], t[1:])
}
