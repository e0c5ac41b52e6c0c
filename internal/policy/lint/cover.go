// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"slices"
	"strings"
	"unicode"

	"podid/internal/policy"
	"podid/internal/policy/source"
)

// A symbol is a piece of a pattern: a character, a wildcard, or a variable as a whole.
type symbol struct {
	char     rune
	variable string
}

const (
	symStar rune = -1 - iota
	symAny
	symVariable
)

// maxSymbols bounds the patterns that are compared; longer ones are never said
// to cover or to miss each other.
const maxSymbols = 512

func symbols(text string, fold bool) []symbol {
	var out []symbol
	for i := 0; i < len(text); {
		if strings.HasPrefix(text[i:], "${") {
			if end := strings.IndexByte(text[i:], '}'); end > 0 {
				out = append(out, symbol{symVariable, strings.ToLower(text[i : i+end+1])})
				i += end + 1
				continue
			}
		}
		r, size := rune(text[i]), 1
		for _, c := range text[i:] {
			r, size = c, len(string(c))
			break
		}
		switch r {
		case '*':
			r = symStar
		case '?':
			r = symAny
		default:
			if fold {
				r = unicode.ToLower(r)
			}
		}
		out = append(out, symbol{char: r})
		i += size
	}
	return out
}

// contains reports whether every text that q matches is matched by p. It errs
// on the side of no: a variable is covered by a star or by itself only.
func contains(p, q string, fold bool) bool {
	if p == "*" || p == q {
		return true
	}
	a, b := symbols(p, fold), symbols(q, fold)
	if len(a) > maxSymbols || len(b) > maxSymbols {
		return false
	}
	// ok[j] is whether the rest of a, from i, covers the rest of b, from j.
	ok := make([]bool, len(b)+1)
	ok[len(b)] = true
	for i := len(a) - 1; i >= 0; i-- {
		next := make([]bool, len(b)+1)
		for j := len(b); j >= 0; j-- {
			switch {
			case a[i].char == symStar:
				next[j] = ok[j] || j < len(b) && next[j+1]
			case j == len(b) || b[j].char == symStar:
			case a[i].char == symAny:
				next[j] = b[j].char != symVariable && ok[j+1]
			default:
				next[j] = a[i] == b[j] && ok[j+1]
			}
		}
		ok = next
	}
	return ok[0]
}

// overlaps reports whether some text is matched by both. It errs on the side of
// yes: a variable may have any value.
func overlaps(p, q string, fold bool) bool {
	a, b := symbols(p, fold), symbols(q, fold)
	if len(a) > maxSymbols || len(b) > maxSymbols {
		return true
	}
	open := func(s symbol) bool { return s.char == symStar || s.char == symVariable }
	ok := make([]bool, len(b)+1)
	for i := len(a); i >= 0; i-- {
		next := make([]bool, len(b)+1)
		for j := len(b); j >= 0; j-- {
			switch {
			case i == len(a) && j == len(b):
				next[j] = true
			case i < len(a) && open(a[i]):
				next[j] = ok[j] || j < len(b) && next[j+1]
			case j < len(b) && open(b[j]):
				next[j] = next[j+1] || i < len(a) && ok[j]
			case i == len(a) || j == len(b):
			default:
				next[j] = (a[i].char == symAny || b[j].char == symAny || a[i] == b[j]) && ok[j+1]
			}
		}
		ok = next
	}
	return ok[0]
}

// maxCompared bounds the documents, in characters, whose statements and values
// are compared with each other: no quota allows a longer one.
const maxCompared = 20480

// comparable reports whether comparing each with each is worth its time.
func (d *document) comparable() bool { return policy.Size(d.text) <= maxCompared }

const arnParts = 6

// arnOf splits at the first five colons outside of variables; missing parts are stars.
func arnOf(text string) []string {
	var out []string
	depth, start := 0, 0
	for i := 0; i < len(text) && len(out) < arnParts-1; i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			depth--
		case ':':
			if depth == 0 {
				out = append(out, text[start:i])
				start = i + 1
			}
		}
	}
	out = append(out, text[start:])
	for len(out) < arnParts {
		out = append(out, "*")
	}
	return out
}

// arnContains is contains for ARNs, whose wildcards do not cross colons.
func arnContains(p, q string) bool {
	if p == "*" || p == q {
		return true
	}
	if q == "*" {
		return false
	}
	a, b := arnOf(p), arnOf(q)
	for i := range a {
		if !contains(a[i], b[i], false) {
			return false
		}
	}
	return true
}

func arnOverlaps(p, q string) bool {
	if p == "*" || q == "*" {
		return true
	}
	a, b := arnOf(p), arnOf(q)
	for i := range a {
		if !overlaps(a[i], b[i], false) {
			return false
		}
	}
	return true
}

// coversElements reports whether b's set of actions or resources lies in a's. A
// variable without a value keeps a Not element from matching, so that one in a
// covers nothing unless b has it, too.
func coversElements(a, b elements, contains, overlaps func(p, q string) bool) bool {
	within := func(v *source.Node, list []*source.Node) bool {
		for _, w := range list {
			if contains(w.Text, v.Text) {
				return true
			}
		}
		return false
	}
	same := func(v *source.Node) bool {
		return slices.ContainsFunc(b.values, func(w *source.Node) bool { return w.Text == v.Text })
	}
	if a.not {
		for _, v := range a.values {
			if strings.Contains(v.Text, "${") && !(b.not && same(v)) {
				return false
			}
		}
	}
	switch {
	case a.not && b.not: // what a leaves out, b leaves out
		for _, v := range a.values {
			if !within(v, b.values) {
				return false
			}
		}
	case a.not:
		for _, v := range b.values {
			for _, w := range a.values {
				if overlaps(w.Text, v.Text) {
					return false
				}
			}
		}
	case b.not:
		for _, v := range a.values {
			if v.Text == "*" {
				return true
			}
		}
		return false
	default:
		for _, v := range b.values {
			if !within(v, a.values) {
				return false
			}
		}
	}
	return true
}

// coversPrincipals compares principals as text; only "*" stands for others.
func coversPrincipals(a, b *statement) bool {
	if a.hasPrincipal != b.hasPrincipal || a.notPrincipal != b.notPrincipal {
		return false
	}
	if _, all := a.everybody(); all && !a.notPrincipal {
		return true
	}
	small, large := b.principals, a.principals
	if a.notPrincipal {
		small, large = large, small
	}
	for _, p := range small {
		found := false
		for _, q := range large {
			found = found || p.kind == q.kind && p.value == q.value
		}
		if !found {
			return false
		}
	}
	return true
}

// covers reports whether a matches every request that b matches.
func (s *statement) covers(b *statement) bool {
	fold := func(p, q string) bool { return contains(p, q, true) }
	foldOver := func(p, q string) bool { return overlaps(p, q, true) }
	if len(s.actions.values) == 0 || len(b.actions.values) == 0 || s.hasResource != b.hasResource {
		return false
	}
	if !coversElements(s.actions, b.actions, fold, foldOver) || !coversElements(s.resources, b.resources, arnContains, arnOverlaps) {
		return false
	}
	if !coversPrincipals(s, b) {
		return false
	}
	for i := range s.conditions {
		if !impliedBy(&s.conditions[i], b.conditions) {
			return false
		}
	}
	return true
}

// impliedBy reports whether one of the conditions holds only where c holds.
func impliedBy(c *condition, others []condition) bool {
	for i := range others {
		o := &others[i]
		if o.folded != c.folded || o.base != c.base || o.set != c.set || o.ifExists && !c.ifExists {
			continue
		}
		small, large := o.values, c.values
		if c.negated {
			small, large = large, small
		}
		if valuesWithin(small, large, c.like() && !c.negated) {
			return true
		}
	}
	return false
}

func valuesWithin(small, large []*source.Node, like bool) bool {
	for _, v := range small {
		found := false
		for _, w := range large {
			found = found || v.Text == w.Text || like && contains(w.Text, v.Text, false)
		}
		if !found {
			return false
		}
	}
	return true
}
