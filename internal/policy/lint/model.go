// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"strings"

	"podid/internal/policy"
	"podid/internal/policy/source"
)

// document is a policy as the checks see it. It is read leniently, so that one
// fault does not hide the others.
type document struct {
	node       *source.Node
	text, path string
	kind       policy.DocumentKind
	version    string
	statements []*statement
}

// variables reports whether ${...} are variables in it.
func (d *document) variables() bool { return d.version == policy.VersionCurrent }

// elements are the values of an element or of its Not form.
type elements struct {
	not    bool
	values []*source.Node
}

type principal struct {
	source.Pos
	kind, value string
}

type statement struct {
	source.Pos
	node         *source.Node
	index        int
	sid          string
	deny         bool
	actions      elements
	resources    elements
	hasResource  bool
	principals   []principal
	notPrincipal bool
	hasPrincipal bool
	conditions   []condition
}

// family is the type of value that an operator compares.
type family uint8

const (
	famUnknown family = iota
	famString
	famARN
	famNumeric
	famDate
	famBool
	famIP
	famBinary
	famNull
)

// setOperator stands before an operator.
type setOperator uint8

const (
	setNone setOperator = iota
	setAll
	setAny
)

type condition struct {
	source.Pos
	name     string // the operator as written
	base     string // in small letters, without set operator and IfExists
	set      setOperator
	ifExists bool
	negated  bool
	family   family
	key      string
	folded   string
	values   []*source.Node
}

func readModel(found source.Found, kind policy.DocumentKind) *document {
	d := &document{node: found.Node, text: found.Text, path: found.Path, kind: kind, version: policy.VersionOld}
	if v := found.Node.Get("Version"); v != nil {
		d.version = v.Text
	}
	for i, n := range found.Node.Get("Statement").Strings() {
		d.statements = append(d.statements, readStatement(i, n))
	}
	return d
}

func readStatement(index int, n *source.Node) *statement {
	s := &statement{Pos: n.Pos, node: n, index: index}
	for i := range n.Members {
		m := &n.Members[i]
		switch strings.ToLower(m.Name) {
		case "sid":
			s.sid = m.Value.Text
		case "effect":
			s.deny = strings.EqualFold(m.Value.Text, "deny")
		case "action", "notaction":
			s.actions = elements{len(m.Name) > len("action"), m.Value.Strings()}
		case "resource", "notresource":
			s.hasResource = true
			s.resources = elements{len(m.Name) > len("resource"), m.Value.Strings()}
		case "principal", "notprincipal":
			s.hasPrincipal, s.notPrincipal = true, len(m.Name) > len("principal")
			s.principals = readPrincipals(m.Value)
		case "condition":
			s.conditions = readConditions(m.Value)
		}
	}
	return s
}

func readPrincipals(n *source.Node) []principal {
	if n.Kind == source.String {
		return []principal{{n.Pos, "AWS", n.Text}}
	}
	var out []principal
	for i := range n.Members {
		for _, v := range n.Members[i].Value.Strings() {
			out = append(out, principal{v.Pos, n.Members[i].Name, v.Text})
		}
	}
	return out
}

func readConditions(n *source.Node) []condition {
	var out []condition
	for i := range n.Members {
		op := &n.Members[i]
		for j := range op.Value.Members {
			key := &op.Value.Members[j]
			c := readOperator(op.Name)
			c.Pos, c.key, c.folded, c.values = key.Pos, key.Name, strings.ToLower(key.Name), key.Value.Strings()
			out = append(out, c)
		}
	}
	return out
}

func readOperator(name string) condition {
	c := condition{name: name, base: strings.ToLower(name)}
	if rest, ok := strings.CutPrefix(c.base, "forallvalues:"); ok {
		c.set, c.base = setAll, rest
	} else if rest, ok := strings.CutPrefix(c.base, "foranyvalue:"); ok {
		c.set, c.base = setAny, rest
	}
	c.base, c.ifExists = strings.CutSuffix(c.base, "ifexists")
	c.negated = strings.Contains(c.base, "not")
	for _, f := range []struct {
		prefix string
		family family
	}{
		{"string", famString},
		{"arn", famARN},
		{"numeric", famNumeric},
		{"date", famDate},
		{"bool", famBool},
		{"ipaddress", famIP},
		{"notipaddress", famIP},
		{"binary", famBinary},
		{"null", famNull},
	} {
		if strings.HasPrefix(c.base, f.prefix) {
			c.family = f.family
			break
		}
	}
	return c
}

// like reports whether wildcards in the operator's values are wildcards.
func (c *condition) like() bool { return strings.HasSuffix(c.base, "like") || c.family == famARN }

// demands reports whether the condition fails for requests without the key:
// an operator that is neither negated nor IfExists, nor ForAllValues.
func (c *condition) demands() bool {
	return !c.negated && !c.ifExists && c.set != setAll && c.family != famNull
}

// null reports whether it is Null with the value.
func (c *condition) null(value string) bool {
	if c.family != famNull {
		return false
	}
	for _, v := range c.values {
		if !strings.EqualFold(v.Text, value) {
			return false
		}
	}
	return len(c.values) > 0
}

// guarded reports whether the statement wants the key to be there.
func (s *statement) guarded(key string) bool {
	for i := range s.conditions {
		c := &s.conditions[i]
		if c.folded == key && (c.null("false") || c.demands()) {
			return true
		}
	}
	return false
}

// grants reports whether an action is among the statement's.
func (s *statement) grants(action string) bool {
	for _, a := range s.actions.values {
		if contains(a.Text, action, true) {
			return !s.actions.not
		}
	}
	return s.actions.not && len(s.actions.values) > 0
}

// services are the services that the statement names as principals.
func (s *statement) services() []principal {
	var out []principal
	if s.notPrincipal {
		return nil
	}
	for _, p := range s.principals {
		if p.kind == "Service" {
			out = append(out, p)
		}
	}
	return out
}

// onlyServices reports whether every principal is a service.
func (s *statement) onlyServices() bool {
	return len(s.principals) > 0 && len(s.services()) == len(s.principals)
}

// everybody returns the principal that is "*" for all callers.
func (s *statement) everybody() (principal, bool) {
	for _, p := range s.principals {
		if p.kind == "AWS" && p.value == "*" {
			return p, true
		}
	}
	return principal{}, false
}
