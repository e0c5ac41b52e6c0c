// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"unicode"
)

// DocumentKind says where a document is attached, which decides the elements
// that it must and must not have.
type DocumentKind uint8

// The kinds of documents. Boundaries are written like identity policies.
const (
	Identity DocumentKind = iota
	Trust
	Resource
	SessionPolicy
	Boundary
	SCP
	RCP
)

// String names the kind for people.
func (k DocumentKind) String() string {
	switch k {
	case Identity:
		return "identity policy"
	case Trust:
		return "trust policy"
	case Resource:
		return "resource policy"
	case SessionPolicy:
		return "session policy"
	case Boundary:
		return "permissions boundary"
	case SCP:
		return "service control policy"
	case RCP:
		return "resource control policy"
	}
	return fmt.Sprintf("DocumentKind(%d)", uint8(k))
}

// attachedToResource reports whether documents of this kind name principals.
func (k DocumentKind) attachedToResource() bool { return k == Trust || k == Resource || k == RCP }

// Sizes in characters, white space not counted, as AWS sets them by default
// (TrustPolicyMax may be raised to TrustPolicyCeiling by quota).
const (
	TrustPolicyMax     = 2048
	TrustPolicyCeiling = 4096
	ManagedPolicyMax   = 6144
	RoleInlineMax      = 10240 // all inline policies of a role together
	SessionPolicyMax   = 2048
	// TextMax bounds the text, white space included, that Parse looks at.
	TextMax = 131072
)

// Versions of the policy language. A document without Version has VersionOld, in
// which ${...} is literal text.
const (
	VersionOld     = "2008-10-17"
	VersionCurrent = "2012-10-17"
)

// Size returns the characters of text that count towards a quota.
func Size(text string) int {
	n := 0
	for _, r := range text {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// MalformedError refuses a document. Message is what AWS answers with its
// MalformedPolicyDocument exception; Cause, for people, says where the fault is.
type MalformedError struct {
	Message string
	Cause   string
}

// Error gives the message and the cause.
func (e *MalformedError) Error() string {
	if e.Cause == "" {
		return "malformed policy document: " + e.Message
	}
	return "malformed policy document: " + e.Message + " (" + e.Cause + ")"
}

// Document is a compiled policy document. It is immutable and safe for
// concurrent use.
type Document struct {
	kind       DocumentKind
	text       string
	version    string
	statements []statement
	allows     int
	keys       []uint32 // hashes of the condition keys that the document names
}

// Text returns the document as it was given.
func (d *Document) Text() string { return d.text }

// Kind returns the kind that the document was parsed as.
func (d *Document) Kind() DocumentKind { return d.kind }

// Version returns the version of the language that the document is written in.
func (d *Document) Version() string { return d.version }

// Len returns the number of statements.
func (d *Document) Len() int { return len(d.statements) }

// Keys returns the condition keys that the document refers to, in conditions and
// variables, as written, each once.
func (d *Document) Keys() []string {
	var keys []string
	seen := map[string]bool{}
	add := func(k keyRef) {
		if !seen[k.folded] {
			seen[k.folded] = true
			keys = append(keys, k.text)
		}
	}
	for i := range d.statements {
		d.statements[i].eachKey(add)
	}
	return keys
}

// Actions returns every pattern in Action and NotAction, as written.
func (d *Document) Actions() []string {
	var out []string
	for i := range d.statements {
		for j := range d.statements[i].actions {
			out = append(out, d.statements[i].actions[j].source)
		}
	}
	return out
}

// Principals returns every AWS principal that the document names by ARN or by
// unique id, for checks that they exist.
func (d *Document) Principals() []string {
	var out []string
	for i := range d.statements {
		for _, p := range d.statements[i].principals.aws {
			if p.kind == namedARN || p.kind == namedID || p.kind == namedSession {
				out = append(out, p.text)
			}
		}
	}
	return out
}

// Parse compiles a document. It refuses with a *MalformedError that carries AWS'
// message; where a document has several faults, the message is the one that AWS
// reports first. Sizes are the caller's to check, see Size; text above TextMax is
// refused unread.
func Parse(kind DocumentKind, text string) (*Document, error) {
	return parse(kind, text, false)
}

// ParseManaged is Parse for managed policies, which AWS takes in version
// 2012-10-17 only.
func ParseManaged(text string) (*Document, error) {
	return parse(Identity, text, true)
}

func parse(kind DocumentKind, text string, current bool) (*Document, error) {
	if len(text) > TextMax {
		return nil, &MalformedError{Message: msgSyntax, Cause: "document is longer than any quota allows"}
	}
	root, err := parseJSON(text)
	if err != nil {
		return nil, &MalformedError{Message: msgSyntax, Cause: err.Error()}
	}
	raw, err := readDocument(&root)
	if err != nil {
		return nil, err
	}
	raw.kind = kind
	if err := raw.validate(current); err != nil {
		return nil, err
	}
	return compile(raw, text)
}

func compile(raw *rawDocument, text string) (*Document, error) {
	d := &Document{kind: raw.kind, text: text, version: raw.version}
	if d.version == "" {
		d.version = VersionOld
	}
	for i := range raw.statements {
		s, err := compileStatement(&raw.statements[i], d, i)
		if err != nil {
			return nil, err
		}
		if !s.deny {
			d.allows++
		}
		d.statements = append(d.statements, s)
		s.eachKey(func(k keyRef) {
			if !slices.Contains(d.keys, k.hash) {
				d.keys = append(d.keys, k.hash)
			}
		})
	}
	return d, nil
}

// statement is a compiled statement.
type statement struct {
	index        int
	sid          string
	deny         bool
	notAction    bool
	notResource  bool
	notPrincipal bool
	hasPrincipal bool
	actions      []pattern
	resources    []arnPattern
	principals   principalSet
	conditions   []condition
}

func compileStatement(raw *rawStatement, d *Document, index int) (statement, error) {
	s := statement{
		index: index, sid: raw.sid, deny: raw.effect == "Deny",
		notAction: raw.notAction, notResource: raw.notResource,
	}
	for _, a := range raw.actions {
		s.actions = append(s.actions, compilePattern(a, patternStyle{wildcards: true, foldCase: true}))
	}
	variables := d.version == VersionCurrent
	for _, r := range raw.resources {
		s.resources = append(s.resources, compileResource(r, variables, d.kind == Resource || d.kind == RCP))
	}
	if raw.principal != nil {
		set, err := compilePrincipals(raw.principal)
		if err != nil {
			return statement{}, err
		}
		s.principals, s.notPrincipal, s.hasPrincipal = set, raw.notPrincipal, true
	}
	for _, rc := range raw.conditions {
		c, _ := parseOperator(rc.operator) // validated
		c.key, c.deny = newKeyRef(rc.key), s.deny
		for _, v := range rc.values {
			c.values = append(c.values, c.compileValue(v, variables))
		}
		s.conditions = append(s.conditions, c)
	}
	return s, nil
}

func (p *pattern) eachKey(add func(keyRef)) {
	for i := range p.tokens {
		if p.tokens[i].kind == tokVariable {
			add(p.tokens[i].key)
		}
	}
}

func (p *arnPattern) eachKey(add func(keyRef)) {
	for i := range p.parts {
		p.parts[i].eachKey(add)
	}
}

// eachKey visits the condition keys of conditions and variables.
func (s *statement) eachKey(add func(keyRef)) {
	for i := range s.resources {
		s.resources[i].eachKey(add)
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		add(c.key)
		for j := range c.values {
			c.values[j].pattern.eachKey(add)
			if c.values[j].arn != nil {
				c.values[j].arn.eachKey(add)
			}
		}
	}
}

// texts returns the wanted values as written.
func (c *condition) texts() []string {
	out := make([]string, len(c.values))
	for i := range c.values {
		out[i] = c.values[i].text
	}
	return out
}
