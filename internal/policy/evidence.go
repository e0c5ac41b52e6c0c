// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import "slices"

// KeyValues is a condition key of a request with its values.
type KeyValues struct {
	Key    string
	Values []string
	Named  bool // a policy of the request looks at the key
}

// StatementText is a statement as its document has it. Lists are of Action or
// NotAction and so on; what is empty is not in the statement.
type StatementText struct {
	Kind      string // of the document
	Document  string
	Statement int // from 0
	Sid       string
	Deny      bool

	Principals, Actions, Resources       []string
	NotPrincipal, NotAction, NotResource bool
	Conditions                           []KeyValues // without operators
}

// evidence is what a decision was made on, kept beside it for those who may
// see it: it is not part of an explanation's JSON.
type evidence struct {
	stmt   *statement
	doc    *Named
	keys   []entry
	named  []uint32
	hashes []uint32

	resource string
}

// gather copies what outlives the evaluation: contexts are used again.
func gather(in *Input, d *Decision) evidence {
	e := evidence{resource: in.Resource}
	if in.Context != nil {
		e.keys, e.hashes = slices.Clone(in.Context.entries), slices.Clone(in.Context.hashes)
	}
	ev := evaluation{in: in}
	eachDocument(in, func(n *Named) {
		e.named = append(e.named, n.Doc.keys...)
		i := d.Source.Statement
		if e.stmt != nil || i < 0 || i >= len(n.Doc.statements) || n.Name != d.Source.Document || n.ARN != d.Source.ARN {
			return
		}
		// Inline policies of a user and of a group may have one name.
		s := &n.Doc.statements[i]
		if _, ok := ev.applies(s); ok && s.deny == d.Explicit && s.sid == d.Source.Sid {
			e.doc, e.stmt = n, s
		}
	})
	return e
}

// Resource is the resource of the request that was explained.
func (x *Explanation) Resource() string { return x.evidence.resource }

// Request returns the keys of the request that was explained, those first that
// a policy looks at. Keys whose values are not known are left out.
func (x *Explanation) Request() []KeyValues {
	out := make([]KeyValues, 0, len(x.evidence.keys))
	values := make([]string, 0, len(x.evidence.keys))
	for i := range x.evidence.keys {
		k := &x.evidence.keys[i]
		if k.unknown || k.empty() {
			continue
		}
		kv := KeyValues{Key: k.prefix + k.name, Named: slices.Contains(x.evidence.named, x.evidence.hashes[i])}
		from := len(values)
		for j := range k.count() {
			values = append(values, k.at(j))
		}
		kv.Values = values[from:len(values):len(values)]
		out = append(out, kv)
	}
	slices.SortStableFunc(out, func(a, b KeyValues) int {
		switch {
		case a.Named == b.Named:
			return 0
		case a.Named:
			return -1
		}
		return 1
	})
	return out
}

// Deciding returns the statement that decided; false when none did, as of an
// implicit denial.
func (x *Explanation) Deciding() (StatementText, bool) {
	s := x.evidence.stmt
	if s == nil {
		return StatementText{}, false
	}
	t := StatementText{
		Kind: x.kind, Document: x.evidence.doc.Name, Statement: s.index, Sid: s.sid, Deny: s.deny,
		Principals: s.principals.texts(), Resources: s.resourceTexts(),
		NotPrincipal: s.notPrincipal, NotAction: s.notAction, NotResource: s.notResource,
	}
	for i := range s.actions {
		t.Actions = append(t.Actions, s.actions[i].source)
	}
	for i := range s.conditions {
		t.Conditions = append(t.Conditions, KeyValues{Key: s.conditions[i].key.text, Values: s.conditions[i].texts(), Named: true})
	}
	return t, true
}
