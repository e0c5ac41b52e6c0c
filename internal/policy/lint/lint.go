// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package lint finds what is wrong, suspicious or useless in policy documents
// before they are deployed: what AWS refuses, statements that can never match,
// trust that is wider than it looks. It owns the checks, each with a code, a
// severity and what to do, and the report; docs/policy-lint.md describes each.
//
// It refuses to guess about values: a finding that depends on what a request
// holds is made only where no request at all could hold it, or it is a note. It
// reads no files and decides no request; it stands beside package policy, whose
// parser is its first check, and behind `podid policy lint`.
package lint

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"podid/internal/policy"
	"podid/internal/policy/source"
)

// Severity says how sure and how bad a finding is.
type Severity uint8

// The severities: a note is worth knowing, a warning worth changing, an error
// is refused by AWS or does not do what it says.
const (
	Note Severity = iota + 1
	Warning
	Error
)

// String names the severity: note, warning or error.
func (s Severity) String() string { return [...]string{"none", "note", "warning", "error"}[s] }

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Finding is one thing in one document.
type Finding struct {
	Code      string   `json:"code"`
	Severity  Severity `json:"severity"`
	File      string   `json:"file"`
	Line      int      `json:"line,omitempty"`   // from 1
	Column    int      `json:"column,omitempty"` // from 1, in characters
	Document  string   `json:"document,omitempty"`
	Kind      string   `json:"kind,omitempty"`
	Statement int      `json:"statement,omitempty"` // from 1; 0 is the document as a whole
	Sid       string   `json:"sid,omitempty"`
	Message   string   `json:"message"`
	Fix       string   `json:"fix"`
}

// A Check is one rule.
type Check struct {
	Code     string
	Severity Severity // of most of its findings
	Title    string
	Fix      string
	run      func(d *document, r *reporter)
}

// Checks lists every rule in the order of the documentation.
func Checks() []Check {
	return slices.Concat(formChecks(), reachChecks(), trustChecks(), widthChecks(), conditionChecks())
}

// codeUnreadable is of files that are neither JSON nor YAML.
const codeUnreadable = "unreadable"

// Options choose what is checked.
type Options struct {
	// Kind is the kind of all documents; nil guesses it for each.
	Kind *policy.DocumentKind
	// Disabled are codes of checks that are left out.
	Disabled []string
}

// ParseKind reads the kind of document from its short name.
func ParseKind(name string) (policy.DocumentKind, error) {
	for i, n := range KindNames() {
		if n == name {
			return policy.DocumentKind(i), nil
		}
	}
	return 0, fmt.Errorf("%q is none of %s", name, strings.Join(KindNames(), ", "))
}

// KindNames are the short names of kinds, in the order of their values.
func KindNames() []string {
	return []string{"identity", "trust", "resource", "session", "boundary", "scp", "rcp"}
}

// Text checks every document in a file and returns the findings in the order of
// the file, and how many documents there are. A file without any document is an
// error; text that cannot be read is a finding.
func Text(file, text string, o Options) ([]Finding, int, error) {
	roots, err := source.Parse(text)
	if err != nil {
		f := Finding{Code: codeUnreadable, Severity: Error, File: file, Message: err.Error(), Fix: "write the file as JSON or YAML"}
		var at *source.SyntaxError
		if errors.As(err, &at) {
			f.Line, f.Column, f.Message = at.Line, at.Col, at.Message
		}
		return []Finding{f}, 1, nil
	}
	found := source.Find(roots)
	if len(found) == 0 {
		return nil, 0, fmt.Errorf("%s holds no policy document: nothing in it has a Statement", file)
	}
	var out []Finding
	for _, doc := range found {
		kind := guessKind(doc)
		if o.Kind != nil {
			kind = *o.Kind
		}
		out = append(out, lintDocument(file, doc, kind, o.Disabled)...)
	}
	return out, len(found), nil
}

func lintDocument(file string, found source.Found, kind policy.DocumentKind, disabled []string) []Finding {
	d := readModel(found, kind)
	r := &reporter{file: file, doc: d}
	for _, c := range Checks() {
		if !slices.Contains(disabled, c.Code) {
			r.check = c
			c.run(d, r)
		}
	}
	slices.SortStableFunc(r.out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(b.Severity, a.Severity))
	})
	return r.out
}

// reporter collects the findings of one document.
type reporter struct {
	file  string
	doc   *document
	check Check
	out   []Finding
}

// add reports at a place, of a statement or, with nil, of the document.
func (r *reporter) add(at source.Pos, s *statement, format string, args ...any) *Finding {
	f := Finding{
		Code: r.check.Code, Severity: r.check.Severity, File: r.file, Line: at.Line, Column: at.Col,
		Document: r.doc.path, Kind: r.doc.kind.String(), Message: fmt.Sprintf(format, args...), Fix: r.check.Fix,
	}
	if s != nil {
		f.Statement, f.Sid = s.index+1, s.sid
	}
	r.out = append(r.out, f)
	return &r.out[len(r.out)-1]
}

// guessKind takes the kind from the name of the member that holds the document,
// and otherwise from its statements: without principals it is an identity
// policy, with actions of STS only and no resource a trust policy.
func guessKind(found source.Found) policy.DocumentKind {
	for _, h := range []struct {
		part string
		kind policy.DocumentKind
	}{
		{"assumerole", policy.Trust},
		{"trust", policy.Trust},
		{"sessionpolicy", policy.SessionPolicy},
		{"boundary", policy.Boundary},
		{"scps", policy.SCP},
		{"rcps", policy.RCP},
	} {
		if strings.Contains(strings.ToLower(lastParts(found.Path)), h.part) {
			return h.kind
		}
	}
	d := readModel(found, policy.Identity)
	named, resources := false, false
	assumes := len(d.statements) > 0
	for _, s := range d.statements {
		named = named || s.hasPrincipal
		resources = resources || s.hasResource
		for _, a := range s.actions.values {
			assumes = assumes && strings.HasPrefix(strings.ToLower(a.Text), "sts:")
		}
	}
	switch {
	case !named && assumes && !resources:
		return policy.Trust // whose Principal was forgotten
	case !named:
		return policy.Identity
	case resources || !assumes:
		return policy.Resource
	}
	return policy.Trust
}

// lastParts is the end of a path: what is further up says nothing of the kind.
func lastParts(path string) string {
	parts := strings.Split(path, ".")
	return strings.Join(parts[max(0, len(parts)-2):], ".")
}
