// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"podid/internal/policy"
	"podid/internal/policy/source"
)

// formChecks are about the document's text: what AWS refuses, sizes, repetition.
func formChecks() []Check {
	return []Check{
		{
			"malformed", Error, "AWS refuses the document",
			"correct the document: it would be refused with MalformedPolicyDocument and this message", checkMalformed,
		},
		{
			"element-case", Error, "An element is written in the wrong case",
			"write the element exactly as AWS does: names and Effect depend on case", checkElementCase,
		},
		{
			"size", Warning, "The document is near its quota, or above it",
			"split the document, or shorten it with wildcards; white space does not count", checkSize,
		},
		{
			"version-missing", Note, "The document has no Version, or the old one",
			`add "Version": "2012-10-17": without it ${...} is literal text`, checkVersion,
		},
		{
			"old-version-variable", Error, "Variables in a document of version 2008-10-17",
			`set "Version": "2012-10-17": in the old version ${...} is compared as literal text`, checkOldVariables,
		},
		{
			"duplicate-statement", Warning, "Two statements say the same",
			"remove one of them", checkDuplicateStatements,
		},
		{
			"duplicate-value", Note, "A value of a list is covered by another",
			"remove the value: the other one matches all that it matches", checkDuplicateValues,
		},
	}
}

func checkMalformed(d *document, r *reporter) {
	_, err := policy.Parse(d.kind, d.text)
	var malformed *policy.MalformedError
	if !errors.As(err, &malformed) {
		return
	}
	message := malformed.Message
	if malformed.Cause != "" {
		message += " (" + malformed.Cause + ")"
	}
	// A syntax error says which statement it is in; of other faults it is the
	// statement that is refused by itself for the same.
	for _, s := range d.statements {
		if in := fmt.Sprintf("(statement %d: ", s.index); strings.Contains(message, in) {
			r.add(s.Pos, s, "%s", strings.Replace(message, in, "(", 1))
			return
		}
		alone := fmt.Sprintf(`{"Version":%q,"Statement":[%s]}`, d.version, s.node.JSON())
		var own *policy.MalformedError
		if _, err := policy.Parse(d.kind, alone); errors.As(err, &own) && *own == *malformed {
			r.add(s.Pos, s, "%s", message)
			return
		}
	}
	r.add(d.node.Pos, nil, "%s", message)
}

var (
	documentElements  = []string{"Version", "Id", "Statement"}
	statementElements = []string{"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition"}
	principalKinds    = []string{"AWS", "Service", "Federated", "CanonicalUser"}
)

// miscased returns the name among names that differs in case only.
func miscased(name string, names []string) (string, bool) {
	for _, n := range names {
		if n != name && strings.EqualFold(n, name) {
			return n, true
		}
	}
	return "", false
}

func checkElementCase(d *document, r *reporter) {
	names := func(n *source.Node, s *statement, known []string) {
		for i := range n.Members {
			m := &n.Members[i]
			if want, ok := miscased(m.Name, known); ok {
				r.add(m.Pos, s, "%q is written %q", m.Name, want)
			}
		}
	}
	names(d.node, nil, documentElements)
	for _, s := range d.statements {
		names(s.node, s, statementElements)
		for i := range s.node.Members {
			m := &s.node.Members[i]
			switch strings.ToLower(m.Name) {
			case "effect":
				if want, ok := miscased(m.Value.Text, []string{"Allow", "Deny"}); ok {
					r.add(m.Value.Pos, s, "Effect %q is written %q", m.Value.Text, want)
				}
			case "principal", "notprincipal":
				names(m.Value, s, principalKinds)
			}
		}
	}
}

// quota is a kind's size in characters, and one that is the end for any.
func quota(k policy.DocumentKind) (soft, hard int, what string) {
	switch k {
	case policy.Trust:
		return policy.TrustPolicyMax, policy.TrustPolicyCeiling, "a role's trust policy"
	case policy.SessionPolicy:
		return policy.SessionPolicyMax, policy.SessionPolicyMax, "a session policy"
	case policy.SCP, policy.RCP:
		return 5120, 5120, "an organisation's policy"
	case policy.Boundary:
		return policy.ManagedPolicyMax, policy.ManagedPolicyMax, "a managed policy"
	case policy.Identity:
		return policy.ManagedPolicyMax, policy.RoleInlineMax, "a managed policy"
	}
	return 0, 0, ""
}

// nearPercent of a quota is near it.
const nearPercent = 90

func checkSize(d *document, r *reporter) {
	soft, hard, what := quota(d.kind)
	size := policy.Size(d.text)
	switch {
	case soft == 0 || size*100 < soft*nearPercent:
	case size > hard:
		r.add(d.node.Pos, nil, "the document has %d characters, more than the %d that any quota allows", size, hard).Severity = Error
	case size > soft && d.kind == policy.Identity:
		r.add(d.node.Pos, nil, "the document has %d characters: too long for %s (%d); as inline policy of a role it fits (%d for all of them)", size, what, soft, hard)
	case size > soft:
		r.add(d.node.Pos, nil, "the document has %d characters, more than the %d of %s by default; a quota of up to %d can be asked for", size, soft, what, hard)
	default:
		r.add(d.node.Pos, nil, "the document has %d of the %d characters of %s", size, soft, what)
	}
}

func checkVersion(d *document, r *reporter) {
	if d.variables() {
		return
	}
	if v := d.node.Get("Version"); v != nil {
		r.add(v.Pos, nil, "the document is of version %s", v.Text)
		return
	}
	r.add(d.node.Pos, nil, "the document has no Version, which means %s", policy.VersionOld)
}

func checkOldVariables(d *document, r *reporter) {
	if d.variables() {
		return
	}
	for _, s := range d.statements {
		for _, v := range s.resources.values {
			if strings.Contains(v.Text, "${") {
				r.add(v.Pos, s, "resource %q: the variable is literal text", v.Text)
			}
		}
		for i := range s.conditions {
			for _, v := range s.conditions[i].values {
				if strings.Contains(v.Text, "${") {
					r.add(v.Pos, s, "condition %s %s: %q is literal text", s.conditions[i].name, s.conditions[i].key, v.Text)
				}
			}
		}
	}
}

func checkDuplicateStatements(d *document, r *reporter) {
	if !d.comparable() {
		return
	}
	for i, s := range d.statements {
		for _, before := range d.statements[:i] {
			if s.same(before) {
				r.add(s.Pos, s, "the statement says what statement %s says", before.label())
				break
			}
		}
	}
}

// same reports whether the statements match the same requests with the same effect.
func (s *statement) same(o *statement) bool {
	return s.deny == o.deny && s.covers(o) && o.covers(s)
}

// label is how messages call a statement.
func (s *statement) label() string {
	if s.sid != "" {
		return fmt.Sprintf("%d (%s)", s.index+1, s.sid)
	}
	return fmt.Sprint(s.index + 1)
}

func checkDuplicateValues(d *document, r *reporter) {
	if !d.comparable() {
		return
	}
	fold := func(p, q string) bool { return contains(p, q, true) }
	exact := func(p, q string) bool { return p == q }
	for _, s := range d.statements {
		duplicates(s.actions.values, r, s, "action", fold)
		duplicates(s.resources.values, r, s, "resource", arnContains)
		for i := range s.conditions {
			duplicates(s.conditions[i].values, r, s, "value", exact)
		}
		for i, p := range s.principals {
			if slices.ContainsFunc(s.principals[:i], func(q principal) bool { return q.kind == p.kind && q.value == p.value }) {
				r.add(p.Pos, s, "principal %q is there twice", p.value)
			}
		}
	}
}

// duplicates reports each value that another covers: of equal ones the later.
func duplicates(values []*source.Node, r *reporter, s *statement, what string, covers func(p, q string) bool) {
	for i, v := range values {
		for j, w := range values {
			if i == j || !covers(w.Text, v.Text) || covers(v.Text, w.Text) && i < j {
				continue
			}
			r.add(v.Pos, s, "%s %q is covered by %q", what, v.Text, w.Text)
			break
		}
	}
}
