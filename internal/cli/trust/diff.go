// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"fmt"
	"strings"
)

// context is the number of unchanged lines around a change.
const context = 3

type edit struct {
	op   byte // ' ', '-' or '+'
	line string
}

// Diff is the unified diff of the documents, "" when they are equal.
func (x *Extension) Diff(oldName, newName string) string {
	if x.Old == x.New {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", oldName, newName)
	edits := compare(strings.Split(x.Old, "\n"), strings.Split(x.New, "\n"))
	for start := 0; start < len(edits); {
		first := start
		for first < len(edits) && edits[first].op == ' ' {
			first++
		}
		if first == len(edits) {
			break
		}
		from := max(start, first-context)
		to := first + 1
		for i := to; i < len(edits) && i <= to+2*context; i++ {
			if edits[i].op != ' ' {
				to = i + 1
			}
		}
		to = min(len(edits), to+context)
		hunk(&b, edits, from, to)
		start = to
	}
	return b.String()
}

func hunk(b *strings.Builder, edits []edit, from, to int) {
	oldStart, newStart := 1, 1
	for _, e := range edits[:from] {
		oldStart += btoi(e.op != '+')
		newStart += btoi(e.op != '-')
	}
	oldLen, newLen := 0, 0
	for _, e := range edits[from:to] {
		oldLen += btoi(e.op != '+')
		newLen += btoi(e.op != '-')
	}
	fmt.Fprintf(b, "@@ -%d,%d +%d,%d @@\n", oldStart, oldLen, newStart, newLen)
	for _, e := range edits[from:to] {
		fmt.Fprintf(b, "%c%s\n", e.op, e.line)
	}
}

// compare finds a shortest list of edits by the longest common subsequence;
// a trust policy has at most some hundred lines.
func compare(a, b []string) []edit {
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []edit
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return out
}
