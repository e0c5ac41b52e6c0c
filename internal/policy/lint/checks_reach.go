// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"strconv"
	"strings"
	"time"

	"podid/internal/policy/source"
)

// reachChecks find statements that no request reaches.
func reachChecks() []Check {
	return []Check{
		{
			"shadowed", Warning, "A statement is covered by a broader one of the same effect",
			"remove the statement, or narrow the broader one if this is what was meant", checkShadowed,
		},
		{
			"allow-denied", Warning, "An Allow is wholly covered by a Deny",
			"remove the Allow, or take what it grants out of the Deny: an explicit Deny always wins", checkAllowDenied,
		},
		{
			"contradiction", Error, "Two conditions cannot hold together",
			"correct one of the conditions, or write two statements: the conditions of one statement must all hold", checkContradictions,
		},
	}
}

func checkShadowed(d *document, r *reporter) {
	if !d.comparable() {
		return
	}
	for i, s := range d.statements {
		for j, o := range d.statements {
			if i == j || o.deny != s.deny || !o.covers(s) || s.same(o) {
				continue
			}
			r.add(s.Pos, s, "the statement changes nothing: statement %s matches all that it matches", o.label())
			break
		}
	}
}

func checkAllowDenied(d *document, r *reporter) {
	if !d.comparable() {
		return
	}
	for _, s := range d.statements {
		for _, o := range d.statements {
			if !s.deny && o.deny && o.covers(s) {
				r.add(s.Pos, s, "the statement allows nothing: statement %s denies all that it matches", o.label())
				break
			}
		}
	}
}

func checkContradictions(d *document, r *reporter) {
	for _, s := range d.statements {
		for i := range s.conditions {
			for j := range i {
				a, b := &s.conditions[j], &s.conditions[i]
				if a.folded == b.folded && contradict(a, b) {
					r.add(b.Pos, s, "the statement never matches: %s and %s on %s cannot both hold", a.name, b.name, b.key)
				}
			}
		}
	}
}

// contradict reports whether no value of the key satisfies both. With a set
// operator each condition may speak of another value of the key.
func contradict(a, b *condition) bool {
	switch {
	case a.null("true") && (b.demands() || b.null("false")), b.null("true") && (a.demands() || a.null("false")):
		return true
	case a.set != setNone || b.set != setNone || a.ifExists || b.ifExists || a.family != b.family:
		return false
	}
	switch a.family {
	case famString, famARN:
		return stringsContradict(a, b)
	case famNumeric, famDate:
		return rangesContradict(a, b)
	}
	return false
}

func stringsContradict(a, b *condition) bool {
	if a.negated && b.negated {
		return false
	}
	if a.negated {
		a, b = b, a
	}
	fold := strings.Contains(a.base, "ignorecase") || strings.Contains(b.base, "ignorecase")
	if !b.negated {
		return !anyPair(a, b, func(v, w string) bool {
			if a.family == famARN {
				return arnOverlaps(v, w)
			}
			return overlaps(literal(a, v), literal(b, w), fold)
		})
	}
	if strings.Contains(a.base, "ignorecase") && !strings.Contains(b.base, "ignorecase") {
		return false // a value in another case passes both
	}
	// b leaves out every value that a asks for.
	for _, v := range a.values {
		out := false
		for _, w := range b.values {
			switch {
			case strings.Contains(v.Text+w.Text, "${"): // a variable may have any value
			case b.family == famARN:
				out = out || arnContains(w.Text, v.Text)
			default:
				out = out || contains(literal(b, w.Text), literal(a, v.Text), strings.Contains(b.base, "ignorecase"))
			}
		}
		if !out {
			return false
		}
	}
	return len(a.values) > 0
}

// literal keeps wildcards of values that are compared as text from being wildcards.
func literal(c *condition, value string) string {
	if c.like() {
		return value
	}
	return strings.NewReplacer("*", "\x00", "?", "\x01").Replace(value)
}

func anyPair(a, b *condition, ok func(v, w string) bool) bool {
	for _, v := range a.values {
		for _, w := range b.values {
			if ok(v.Text, w.Text) {
				return true
			}
		}
	}
	return false
}

// rangesContradict compares one lower with one upper bound, and bounds with
// equal values; of several values the widest counts.
func rangesContradict(a, b *condition) bool {
	low, lowOpen, hasLow := bound(a, "greaterthan", false)
	if !hasLow {
		a, b = b, a
		low, lowOpen, hasLow = bound(a, "greaterthan", false)
	}
	if hasLow {
		if high, highOpen, ok := bound(b, "lessthan", true); ok {
			return high < low || high == low && (lowOpen || highOpen)
		}
		if high, _, ok := bound(b, "equals", true); ok {
			return high < low || high == low && lowOpen
		}
		return false
	}
	for range 2 {
		high, highOpen, hasHigh := bound(a, "lessthan", true)
		if equal, _, ok := bound(b, "equals", false); ok && hasHigh {
			return equal > high || equal == high && highOpen
		}
		a, b = b, a
	}
	return false
}

// bound is the greatest or least of a condition's values, if its operator is of
// the relation, and whether the value itself is left out.
func bound(c *condition, relation string, greatest bool) (value float64, open, ok bool) {
	rest := strings.TrimPrefix(strings.TrimPrefix(c.base, "numeric"), "date")
	if !strings.HasPrefix(rest, relation) {
		return 0, false, false
	}
	for i, v := range c.values {
		n, good := number(c.family, v)
		if !good {
			return 0, false, false
		}
		if i == 0 || greatest == (n > value) {
			value = n
		}
	}
	return value, rest == relation && relation != "equals", len(c.values) > 0
}

func number(f family, n *source.Node) (float64, bool) {
	if v, err := strconv.ParseFloat(n.Text, 64); err == nil {
		return v, true
	}
	if f != famDate {
		return 0, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, n.Text); err == nil {
			return float64(t.UnixMilli()) / 1000, true
		}
	}
	return 0, false
}
