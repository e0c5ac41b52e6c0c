// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// maxNearMisses bounds the list of an explanation.
const maxNearMisses = 8

// Element names the part of a statement that did not match.
type Element string

// The elements, in the order in which they are tested.
const (
	ElementAction    Element = "Action"
	ElementPrincipal Element = "Principal"
	ElementResource  Element = "Resource"
	ElementCondition Element = "Condition"
)

// rank orders near misses: the later the element that failed, the nearer.
func (e Element) rank() int {
	switch e {
	case ElementPrincipal:
		return 1
	case ElementResource:
		return 2
	case ElementCondition:
		return 3
	}
	return 0
}

// FailedCondition is a condition that was not met. Wanted and Actual are values
// and not for everybody's eyes; Operator, Key and Problem are.
type FailedCondition struct {
	Operator string   `json:"operator"`
	Key      string   `json:"key"`
	Wanted   []string `json:"wanted"`
	Actual   []string `json:"actual,omitempty"`
	Absent   bool     `json:"absent,omitempty"` // the request has no such key
	// Problem says why the comparison was not possible: a variable without a
	// value, a value of another type, several values where one is compared.
	Problem string `json:"problem,omitempty"`
}

// NearMiss is an Allow statement for the action that did not match, with the
// first of its elements or conditions that failed.
type NearMiss struct {
	Kind      string           `json:"kind"`
	Document  string           `json:"document,omitempty"`
	ARN       string           `json:"arn,omitempty"`
	Statement int              `json:"statement"`
	Sid       string           `json:"sid,omitempty"`
	Element   Element          `json:"element"`
	Wanted    []string         `json:"wanted,omitempty"` // of Principal or Resource
	Actual    string           `json:"actual,omitempty"`
	Condition *FailedCondition `json:"condition,omitempty"`
	// Absent is a variable of Resource for which the request has no value.
	Absent string `json:"absentVariable,omitempty"`
}

// Explanation is a decision with what it takes to understand it. The members of
// NearMisses hold values; show Reason to those who may not see them.
type Explanation struct {
	Action     string     `json:"action"`
	Decision   Decision   `json:"decision"`
	NearMisses []NearMiss `json:"nearMisses,omitempty"` // nearest first
	kind       string     // of the document that decided
	evidence   evidence
}

// Kind is the kind of document that decided, or that had to allow and did not:
// "identity policy", "permissions boundary", "session policy", "trust policy"
// and the like; "" when no document did.
func (x *Explanation) Kind() string { return x.kind }

// Explain evaluates a request again and says why. It is meant for refusals and
// for people; it allocates.
func Explain(in *Input) Explanation {
	x := Explanation{Action: in.Action, Decision: Evaluate(in)}
	x.evidence = gather(in, &x.Decision)
	x.kind = x.evidence.kind(&x.Decision)
	if x.Decision.Allowed || x.Decision.Explicit {
		return x
	}
	for _, n := range candidates(in, x.Decision.Cause) {
		for i := range n.Doc.statements {
			s := &n.Doc.statements[i]
			if s.deny {
				continue
			}
			if miss, ok := nearMiss(in, n, s); ok {
				x.NearMisses = append(x.NearMisses, miss)
			}
		}
	}
	slices.SortStableFunc(x.NearMisses, func(a, b NearMiss) int { return b.Element.rank() - a.Element.rank() })
	x.NearMisses = x.NearMisses[:min(len(x.NearMisses), maxNearMisses)]
	return x
}

// candidates are the documents in which an Allow was missing.
func candidates(in *Input, cause Cause) []*Named {
	var out []*Named
	add := func(docs ...Named) {
		for i := range docs {
			if docs[i].Doc != nil {
				out = append(out, &docs[i])
			}
		}
	}
	resource := func() {
		if in.ResourcePolicy != nil {
			add(*in.ResourcePolicy)
		}
	}
	switch cause {
	case NoIdentityAllow:
		add(in.Identity...)
		resource()
	case NoBoundaryAllow:
		add(*in.Boundary)
	case NoSessionAllow:
		add(in.Session...)
	case NoTrustAllow, NoResourceAllow:
		resource()
	case NoSCPAllow:
		add(closedLevel(in, in.SCPs, false)...)
	case NoRCPAllow:
		add(closedLevel(in, in.RCPs, true)...)
	}
	return out
}

// closedLevel is the first level that does not let the request pass: what the
// others hold has nothing to do with the refusal.
func closedLevel(in *Input, levels [][]Named, openWithoutAllow bool) []Named {
	ev := evaluation{in: in}
	for i := range levels {
		if _, ok := ev.levelsAllow(levels[i:i+1], openWithoutAllow); !ok {
			return levels[i]
		}
	}
	return nil
}

// kind returns the kind of the document that decided, or that had to allow.
func (e *evidence) kind(d *Decision) string {
	if e.doc != nil {
		return e.doc.Doc.kind.String()
	}
	switch d.Cause {
	case NoIdentityAllow:
		return "identity policy"
	case NoBoundaryAllow:
		return "permissions boundary"
	case NoSessionAllow:
		return "session policy"
	case NoTrustAllow:
		return "trust policy"
	case NoResourceAllow:
		return "resource policy"
	case NoSCPAllow:
		return "service control policy"
	case NoRCPAllow:
		return "resource control policy"
	}
	return ""
}

// nearMiss returns the first part of an Allow statement that fails; false when
// nothing fails, or when the statement is about other actions.
func nearMiss(in *Input, n *Named, s *statement) (NearMiss, bool) {
	if !s.matchAction(in.Action) {
		return NearMiss{}, false
	}
	miss := NearMiss{Kind: n.Doc.kind.String(), Document: n.Name, ARN: n.ARN, Statement: s.index, Sid: s.sid}
	if s.matchPrincipal(in) == grantNone {
		miss.Element, miss.Wanted, miss.Actual = ElementPrincipal, s.principals.texts(), in.Principal.String()
		return miss, true
	}
	if v := s.matchResource(in); v == no || v == broken {
		miss.Element, miss.Wanted, miss.Actual, miss.Absent = ElementResource, s.resourceTexts(), in.Resource, s.absentVariable(in)
		return miss, true
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		if v := c.eval(in.Context); v == no || v == broken {
			miss.Element, miss.Condition = ElementCondition, c.failure(in.Context)
			return miss, true
		}
	}
	return NearMiss{}, false
}

// absentVariable is the first variable without a value of a resource that would
// otherwise stand a chance.
func (s *statement) absentVariable(in *Input) string {
	for i := range s.resources {
		p := &s.resources[i]
		if !p.mayMatch(in.Resource) || p.matchResource(in.Resource, in.Context) != broken {
			continue
		}
		absent := ""
		p.eachKey(func(k keyRef) {
			if e := in.Context.lookup(&k); absent == "" && (e == nil || e.empty()) {
				absent = k.text
			}
		})
		if absent != "" {
			return absent
		}
	}
	return ""
}

func (s *statement) resourceTexts() []string {
	out := make([]string, len(s.resources))
	for i := range s.resources {
		out[i] = s.resources[i].source
	}
	return out
}

// texts lists the set's members for people.
func (s *principalSet) texts() []string {
	var out []string
	if s.everybody {
		out = append(out, "*")
	}
	for _, p := range s.aws {
		out = append(out, p.text)
	}
	if s.anyService {
		out = append(out, "Service:*")
	}
	out = append(out, s.services...)
	if s.anyFederated {
		out = append(out, "Federated:*")
	}
	out = append(out, s.federated...)
	return append(out, s.canonical...)
}

// failure describes a condition that was not met.
func (c *condition) failure(ctx *Context) *FailedCondition {
	f := &FailedCondition{Operator: c.name, Key: c.key.text, Wanted: c.texts()}
	e := ctx.lookup(&c.key)
	if e == nil || e.empty() {
		f.Absent = true
		return f
	}
	for i := range e.count() {
		f.Actual = append(f.Actual, e.at(i))
	}
	if c.family == famNull {
		return f
	}
	if e.multi && c.quantifier == single {
		f.Problem = "the key has several values and the operator compares one"
		return f
	}
	for i := range c.values {
		if c.values[i].broken {
			f.Problem = "a wanted value is not of the operator's type"
		} else if c.compare(&c.values[i], e.at(0), ctx) == broken {
			f.Problem = "a variable has no value, or the actual value is not of the operator's type"
		}
	}
	return f
}

// Reason says why in one sentence without any value: kind of document,
// statement, Sid, operator and condition key only.
func (x *Explanation) Reason() string {
	var b strings.Builder
	d := &x.Decision
	switch {
	case d.Cause == AlwaysAllowed:
		return x.Action + " is always allowed"
	case d.Cause == RootMayNotAssume:
		return "a root user may not assume roles"
	case d.Allowed && d.Source.Statement < 0:
		return x.Action + " is allowed to the root user of the account"
	case d.Allowed:
		fmt.Fprintf(&b, "%s is allowed by %s", x.Action, describe(x.kind, d.Source.Statement, d.Source.Sid))
	case d.Explicit:
		fmt.Fprintf(&b, "%s is explicitly denied by %s", x.Action, describe(x.kind, d.Source.Statement, d.Source.Sid))
	default:
		fmt.Fprintf(&b, "no %s allows %s", x.kind, x.Action)
		if len(x.NearMisses) > 0 {
			b.WriteString(": " + x.NearMisses[0].reason())
		}
	}
	if len(d.Open) > 0 {
		fmt.Fprintf(&b, "; depends on %s", strings.Join(d.Open, ", "))
	}
	return b.String()
}

func (m *NearMiss) reason() string {
	where := describe(m.Kind, m.Statement, m.Sid)
	switch m.Element {
	case ElementPrincipal:
		return where + " does not name the caller"
	case ElementResource:
		if m.Absent != "" {
			return where + " does not name the resource (the request has no " + m.Absent + ")"
		}
		return where + " does not name the resource"
	}
	c := m.Condition
	text := fmt.Sprintf("%s: condition %s on %s is not met", where, c.Operator, c.Key)
	switch {
	case c.Absent:
		text += " (the request has no such key)"
	case c.Problem != "":
		text += " (" + c.Problem + ")"
	}
	return text
}

// describe names a statement; people count statements from 1, records from 0.
func describe(kind string, statement int, sid string) string {
	if kind == "" {
		kind = "policy"
	}
	switch {
	case statement < 0:
		return kind
	case sid != "":
		return fmt.Sprintf("%s statement %d (%s)", kind, statement+1, sid)
	}
	return fmt.Sprintf("%s statement %d", kind, statement+1)
}

// MarshalJSON writes the explanation with its sentence, which has no values, and
// the kind of the document that decided.
func (x Explanation) MarshalJSON() ([]byte, error) {
	type members Explanation
	return json.Marshal(struct {
		Reason string `json:"reason"`
		Kind   string `json:"policyType,omitempty"`
		members
	}{x.Reason(), x.kind, members(x)})
}

// Detail is Reason with the names of documents and all values, one near miss a
// line. It is for audit and for callers who may read the policies.
func (x *Explanation) Detail() string {
	var b strings.Builder
	b.WriteString(x.Reason())
	if src := x.Decision.Source; src.Document != "" || src.ARN != "" {
		fmt.Fprintf(&b, " [%s]", strings.TrimSpace(src.Document+" "+src.ARN))
	}
	for i := range x.NearMisses {
		m := &x.NearMisses[i]
		fmt.Fprintf(&b, "\n  %s", describe(m.Kind, m.Statement, m.Sid))
		if m.Document != "" {
			fmt.Fprintf(&b, " of %s", m.Document)
		}
		if c := m.Condition; c != nil {
			fmt.Fprintf(&b, ": %s %s wants %q, ", c.Operator, c.Key, c.Wanted)
			if c.Absent {
				b.WriteString("is absent")
			} else {
				fmt.Fprintf(&b, "is %q", c.Actual)
			}
			continue
		}
		fmt.Fprintf(&b, ": %s wants %q, is %q", m.Element, m.Wanted, m.Actual)
	}
	return b.String()
}
