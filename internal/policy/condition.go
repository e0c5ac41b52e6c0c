// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/base64"
	"net/netip"
	"strings"
)

// family is the type of value that a condition operator compares.
type family uint8

const (
	famString family = iota
	famNumeric
	famDate
	famBool
	famBinary
	famIP
	famARN
	famNull
)

// relation is how a number or date is compared.
type relation uint8

const (
	relEqual relation = iota
	relLess
	relLessEqual
	relGreater
	relGreaterEqual
)

// quantifier is the set operator before an operator's name.
type quantifier uint8

const (
	single quantifier = iota
	forAllValues
	forAnyValue
)

// operator is a condition operator without prefix and suffix.
type operator struct {
	family    family
	relation  relation
	negated   bool
	foldCase  bool
	wildcards bool
}

// findOperator knows the operators by their names in small letters.
func findOperator(folded string) (operator, bool) {
	switch folded {
	case "stringequals":
		return operator{family: famString}, true
	case "stringnotequals":
		return operator{family: famString, negated: true}, true
	case "stringequalsignorecase":
		return operator{family: famString, foldCase: true}, true
	case "stringnotequalsignorecase":
		return operator{family: famString, foldCase: true, negated: true}, true
	case "stringlike":
		return operator{family: famString, wildcards: true}, true
	case "stringnotlike":
		return operator{family: famString, wildcards: true, negated: true}, true
	case "bool":
		return operator{family: famBool}, true
	case "binaryequals":
		return operator{family: famBinary}, true
	case "ipaddress":
		return operator{family: famIP}, true
	case "notipaddress":
		return operator{family: famIP, negated: true}, true
	case "arnequals", "arnlike":
		return operator{family: famARN}, true
	case "arnnotequals", "arnnotlike":
		return operator{family: famARN, negated: true}, true
	case "null":
		return operator{family: famNull}, true
	}
	if rest, ok := strings.CutPrefix(folded, "numeric"); ok {
		return ordered(famNumeric, rest)
	}
	if rest, ok := strings.CutPrefix(folded, "date"); ok {
		return ordered(famDate, rest)
	}
	return operator{}, false
}

func ordered(f family, name string) (operator, bool) {
	op := operator{family: f}
	switch name {
	case "equals":
	case "notequals":
		op.negated = true
	case "lessthan":
		op.relation = relLess
	case "lessthanequals":
		op.relation = relLessEqual
	case "greaterthan":
		op.relation = relGreater
	case "greaterthanequals":
		op.relation = relGreaterEqual
	default:
		return operator{}, false
	}
	return op, true
}

// holds reports whether a comparison's outcome c satisfies the relation.
func (r relation) holds(c int) bool {
	switch r {
	case relLess:
		return c < 0
	case relLessEqual:
		return c <= 0
	case relGreater:
		return c > 0
	case relGreaterEqual:
		return c >= 0
	}
	return c == 0
}

// condition is one key under one operator with its values.
type condition struct {
	operator
	quantifier quantifier
	ifExists   bool
	deny       bool   // stands in a Deny statement
	name       string // the operator as written
	key        keyRef
	values     []conditionValue
}

// conditionValue is one wanted value; only the member of the operator's family
// is set. broken values could not be read and never compare.
type conditionValue struct {
	text   string
	broken bool

	pattern pattern
	arn     *arnPattern
	number  decimal
	date    instant
	truth   bool
	bytes   []byte
	network netip.Prefix
}

// parseOperator reads [ForAllValues:|ForAnyValue:]Operator[IfExists], in any case.
func parseOperator(name string) (condition, bool) {
	c := condition{name: name}
	folded := fold(name)
	if rest, ok := strings.CutPrefix(folded, "forallvalues:"); ok {
		c.quantifier, folded = forAllValues, rest
	} else if rest, ok := strings.CutPrefix(folded, "foranyvalue:"); ok {
		c.quantifier, folded = forAnyValue, rest
	}
	folded, c.ifExists = strings.CutSuffix(folded, "ifexists")
	var ok bool
	c.operator, ok = findOperator(folded)
	if c.family == famNull && (c.ifExists || c.quantifier != single) {
		return condition{}, false
	}
	return c, ok
}

// compileValue prepares a wanted value. Only string and ARN operators take
// variables.
func (o operator) compileValue(text string, variables bool) conditionValue {
	v := conditionValue{text: text}
	ok := true
	switch o.family {
	case famString:
		v.pattern = compilePattern(text, patternStyle{wildcards: o.wildcards, variables: variables, foldCase: o.foldCase})
	case famARN:
		arn := compileARN(text, variables)
		v.arn = &arn
	case famNumeric:
		v.number, ok = parseDecimal(text)
	case famDate:
		v.date, ok = parseInstant(text)
	case famBool, famNull:
		v.truth, ok = parseBool(text)
	case famBinary:
		var err error
		v.bytes, err = base64.StdEncoding.DecodeString(text)
		ok = err == nil
	case famIP:
		v.network, ok = parsePrefix(text)
	}
	v.broken = !ok
	return v
}

// eval tests the condition against the request's keys.
func (c *condition) eval(ctx *Context) verdict {
	e := ctx.lookup(&c.key)
	if e != nil && e.unknown {
		return open
	}
	if c.family == famNull {
		return c.evalNull(e == nil || e.empty())
	}
	switch c.quantifier {
	case forAllValues:
		return c.evalAll(e, ctx)
	case forAnyValue:
		return c.evalAny(e, ctx)
	}
	switch {
	case e == nil || e.empty():
		return verdictOf(c.ifExists || c.negated)
	case e.multi:
		return no
	}
	return c.evalOne(e.value, ctx)
}

func (c *condition) evalNull(absent bool) verdict {
	for i := range c.values {
		if v := &c.values[i]; !v.broken && v.truth == absent {
			return yes
		}
	}
	return no
}

func (c *condition) evalAll(e *entry, ctx *Context) verdict {
	if e == nil || e.null() {
		return yes
	}
	result := yes
	for i := range e.count() {
		switch c.evalOne(e.at(i), ctx) {
		case no:
			return no
		case open:
			result = open
		}
	}
	return result
}

func (c *condition) evalAny(e *entry, ctx *Context) verdict {
	if e == nil || e.empty() {
		return verdictOf(c.ifExists)
	}
	if e.null() {
		return no
	}
	result := no
	for i := range e.count() {
		switch c.evalOne(e.at(i), ctx) {
		case yes:
			return yes
		case open:
			result = open
		}
	}
	return result
}

// evalOne tests one value of the request: against any wanted value for a
// positive operator, against none for a negated one. It never returns broken.
func (c *condition) evalOne(value string, ctx *Context) verdict {
	if c.negated {
		return c.evalNone(value, ctx)
	}
	result := no
	for i := range c.values {
		switch c.compare(&c.values[i], value, ctx) {
		case yes:
			return yes
		case open:
			result = open
		}
	}
	return result
}

// evalNone is the negated form. A wanted value that cannot be compared counts
// against the caller: in an Allow the condition fails, so that a variable without
// a value never turns "not equal" into a grant; in a Deny it is not equal, as AWS
// documents for variables without a value.
func (c *condition) evalNone(value string, ctx *Context) verdict {
	result := yes
	for i := range c.values {
		switch c.compare(&c.values[i], value, ctx) {
		case yes:
			return no
		case broken:
			if !c.deny {
				return no
			}
		case open:
			result = open
		}
	}
	return result
}

// compare tests a request's value against one wanted value, ignoring negation.
func (c *condition) compare(want *conditionValue, value string, ctx *Context) verdict {
	if want.broken {
		return broken
	}
	switch c.family {
	case famString:
		return want.pattern.match(value, ctx)
	case famARN:
		if !isARN(value) {
			return broken
		}
		return want.arn.match(value, ctx)
	case famNumeric:
		if n, ok := parseDecimal(value); ok {
			return verdictOf(c.relation.holds(n.compare(want.number)))
		}
	case famDate:
		if t, ok := parseInstant(value); ok {
			return verdictOf(c.relation.holds(t.compare(want.date)))
		}
	case famBool:
		if b, ok := parseBool(value); ok {
			return verdictOf(b == want.truth)
		}
	case famBinary:
		if b, err := base64.StdEncoding.DecodeString(value); err == nil {
			return verdictOf(string(b) == string(want.bytes))
		}
	case famIP:
		if addr, ok := parseAddr(value); ok {
			return verdictOf(want.network.Contains(addr))
		}
	}
	return broken
}

// openKeys appends the unknown keys that the condition depends on.
func (c *condition) openKeys(keys []string, ctx *Context) []string {
	if e := ctx.lookup(&c.key); e != nil && e.unknown {
		return append(keys, c.key.text)
	}
	for i := range c.values {
		v := &c.values[i]
		keys = v.pattern.openKeys(keys, ctx)
		if v.arn != nil {
			keys = v.arn.openKeys(keys, ctx)
		}
	}
	return keys
}
