// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"podid/internal/policy"
	"podid/internal/policy/source"
)

// reader turns the tree of a file into a suite and collects what is wrong.
type reader struct {
	file  string
	read  ReadFile
	suite *Suite
	errs  []error
}

func (r *reader) fail(at source.Pos, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s:%s: %s", r.file, at, fmt.Sprintf(format, args...)))
}

// members of an object by name.
type members map[string]func(n *source.Node)

// object reads an object strictly: each member known and given once.
func (r *reader) object(n *source.Node, what string, known members) bool {
	if n.Kind != source.Object {
		r.fail(n.Pos, "%s is a %s, want an object", what, n.Kind)
		return false
	}
	seen := map[string]bool{}
	for i := range n.Members {
		m := &n.Members[i]
		read, ok := known[m.Name]
		switch {
		case !ok:
			r.fail(m.Pos, "%s has no member %q; it has %s", what, m.Name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case seen[m.Name]:
			r.fail(m.Pos, "%s has member %q twice", what, m.Name)
		default:
			seen[m.Name] = true
			read(m.Value)
		}
	}
	return true
}

// each reads an object whose names the file chooses.
func (r *reader) each(n *source.Node, what string, read func(name string, at source.Pos, n *source.Node)) {
	if n.Kind != source.Object {
		r.fail(n.Pos, "%s is a %s, want an object with a name for each", what, n.Kind)
		return
	}
	seen := map[string]bool{}
	for i := range n.Members {
		m := &n.Members[i]
		if seen[m.Name] {
			r.fail(m.Pos, "%s has %q twice", what, m.Name)
			continue
		}
		seen[m.Name] = true
		read(m.Name, m.Pos, m.Value)
	}
}

func (r *reader) string(what string, into *string) func(*source.Node) {
	return func(n *source.Node) {
		if n.Kind != source.String && n.Kind != source.Scalar || n.Text == "" {
			r.fail(n.Pos, "%s is a %s, want text", what, n.Kind)
			return
		}
		*into = n.Text
	}
}

func (r *reader) bool(what string, into *bool) func(*source.Node) {
	return func(n *source.Node) {
		if n.Kind != source.Scalar || n.Text != "true" && n.Text != "false" {
			r.fail(n.Pos, "%s is neither true nor false", what)
			return
		}
		*into = n.Text == "true"
	}
}

func (r *reader) strings(what string, into *[]string) func(*source.Node) {
	return func(n *source.Node) {
		for _, item := range n.Strings() {
			var s string
			r.string(what, &s)(item)
			*into = append(*into, s)
		}
	}
}

func (r *reader) tags(what string, into *map[string]string) func(*source.Node) {
	return func(n *source.Node) {
		*into = map[string]string{}
		r.each(n, what, func(name string, _ source.Pos, v *source.Node) {
			if v.Kind != source.String && v.Kind != source.Scalar {
				r.fail(v.Pos, "%s: tag %s is a %s, want text", what, name, v.Kind)
				return
			}
			(*into)[name] = v.Text
		})
	}
}

// context reads condition keys: a value, a list for a key with several, or null
// for a key that the request does not have.
func (r *reader) context(into *map[string]value) func(*source.Node) {
	return func(n *source.Node) {
		out := maps.Clone(*into)
		if out == nil {
			out = map[string]value{}
		}
		r.each(n, "context", func(key string, _ source.Pos, n *source.Node) {
			v := value{multi: n.Kind == source.List}
			if n.Kind == source.Null {
				out[key] = value{multi: true} // an empty set counts as absent
				return
			}
			for _, item := range n.Strings() {
				if item.Kind != source.String && item.Kind != source.Scalar {
					r.fail(item.Pos, "context: %s is a %s, want text, a number, a boolean or a list of them", key, item.Kind)
					return
				}
				v.values = append(v.values, item.Text)
			}
			out[key] = v
		})
		*into = out
	}
}

// readSuite reads what names refer to before what refers to it, in whatever
// order the file has them.
func (r *reader) readSuite(root *source.Node) {
	s := r.suite
	nothing := func(*source.Node) {}
	passes := []members{
		{
			"account": r.string("account", &s.account), "partition": r.string("partition", &s.partition),
			"region": r.string("region", &s.region), "organizationId": r.string("organizationId", &s.orgID),
		},
		{"documents": r.documents},
		{"scps": r.levels(policy.SCP, "scps", &s.scps), "rcps": r.levels(policy.RCP, "rcps", &s.rcps)},
		{"roles": r.roles, "principals": r.principals, "resources": r.resourceMap},
		{"cases": r.cases},
	}
	all := members{}
	for _, pass := range passes {
		for name := range pass {
			all[name] = nothing
		}
	}
	if !r.object(root, "a test file", all) {
		return
	}
	for _, pass := range passes {
		for i := range root.Members {
			if read := pass[root.Members[i].Name]; read != nil {
				read(root.Members[i].Value)
			}
		}
	}
}

func (r *reader) documents(n *source.Node) {
	r.each(n, "documents", func(name string, _ source.Pos, v *source.Node) {
		if t, ok := r.text(v, name); ok {
			t.name = name
			r.suite.texts[name] = t
		}
	})
}

// text finds a document: an object is one itself; text is the name of one,
// JSON, or a file.
func (r *reader) text(n *source.Node, label string) (text, bool) {
	switch {
	case n.Kind == source.Object:
		return text{label, n.JSON()}, true
	case n.Kind != source.String:
		r.fail(n.Pos, "%s is a %s, want a document, the name of one, or a file", label, n.Kind)
		return text{}, false
	case strings.HasPrefix(strings.TrimSpace(n.Text), "{"):
		return text{label, n.Text}, true
	}
	if t, ok := r.suite.texts[n.Text]; ok {
		return t, true
	}
	if strings.HasPrefix(n.Text, "arn:") {
		r.fail(n.Pos, "%s: the document of %s is not here: name a file that holds it; with --against the role needs no documents in this file", label, n.Text)
		return text{}, false
	}
	return r.textOfFile(n)
}

func (r *reader) textOfFile(n *source.Node) (text, bool) {
	content, err := r.read(n.Text)
	if err != nil {
		r.fail(n.Pos, "%q names no document and no file: %v", n.Text, err)
		return text{}, false
	}
	if path.Ext(n.Text) == ".json" {
		return text{n.Text, string(content)}, true
	}
	roots, err := source.Parse(string(content))
	if err != nil {
		r.fail(n.Pos, "%v", located(n.Text, err))
		return text{}, false
	}
	if len(roots) != 1 {
		r.fail(n.Pos, "%s holds %d documents, want one", n.Text, len(roots))
		return text{}, false
	}
	return text{n.Text, roots[0].JSON()}, true
}

// document parses a document as a kind.
func (r *reader) document(kind policy.DocumentKind, n *source.Node, label string) (policy.Named, bool) {
	t, ok := r.text(n, label)
	if !ok {
		return policy.Named{}, false
	}
	doc, err := r.suite.cache.Get(kind, t.json)
	if err != nil {
		var malformed *policy.MalformedError
		if errors.As(err, &malformed) {
			r.fail(n.Pos, "%s (%s): %s", t.name, kind, strings.TrimPrefix(err.Error(), "malformed policy document: "))
		} else {
			r.fail(n.Pos, "%s: %v", t.name, err)
		}
		return policy.Named{}, false
	}
	return policy.Named{Name: t.name, Doc: doc}, true
}

func (r *reader) one(kind policy.DocumentKind, label string, into **policy.Named) func(*source.Node) {
	return func(n *source.Node) {
		if doc, ok := r.document(kind, n, label); ok {
			*into = &doc
		}
	}
}

func (r *reader) list(kind policy.DocumentKind, label string, into *[]policy.Named) func(*source.Node) {
	return func(n *source.Node) {
		items := n.Strings()
		for i, item := range items {
			name := label
			if len(items) > 1 {
				name = fmt.Sprintf("%s[%d]", label, i)
			}
			if doc, ok := r.document(kind, item, name); ok {
				*into = append(*into, doc)
			}
		}
	}
}

// levels reads organisation policies: a list of levels, each a document or a
// list of them.
func (r *reader) levels(kind policy.DocumentKind, label string, into *[][]policy.Named) func(*source.Node) {
	return func(n *source.Node) {
		*into = [][]policy.Named{}
		for i, item := range n.Strings() {
			var level []policy.Named
			r.list(kind, fmt.Sprintf("%s[%d]", label, i), &level)(item)
			*into = append(*into, level)
		}
	}
}
