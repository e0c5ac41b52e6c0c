// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A node is a JSON value that keeps the order of its members.
type node struct {
	members []member        // of an object
	items   []*node         // of an array
	kind    byte            // '{', '[' or 'v'
	scalar  json.RawMessage // of anything else
}

type member struct {
	name  string
	value *node
}

// maxDepth bounds nesting: policies have no more than six levels.
const maxDepth = 32

func parse(text string) (*node, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	n, err := decode(dec, maxDepth)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read policy: data after the document")
	}
	return n, nil
}

func decode(dec *json.Decoder, depth int) (*node, error) {
	if depth == 0 {
		return nil, errors.New("nested too deeply")
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	d, ok := t.(json.Delim)
	if !ok {
		raw, err := marshal(t)
		return &node{kind: 'v', scalar: raw}, err
	}
	n := &node{kind: byte(d)}
	for dec.More() {
		if d == '[' {
			item, err := decode(dec, depth-1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
			continue
		}
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		value, err := decode(dec, depth-1)
		if err != nil {
			return nil, err
		}
		n.members = append(n.members, member{fmt.Sprint(name), value})
	}
	_, err = dec.Token()
	return n, err
}

// marshal writes <, > and & as they are: policies are shown to people.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

func text(s string) *node {
	raw, err := marshal(s)
	if err != nil {
		panic("trust: a string is always JSON: " + err.Error())
	}
	return &node{kind: 'v', scalar: raw}
}

// get returns the member of that name, in any case when fold is set.
func (n *node) get(name string, fold bool) *node {
	for _, m := range n.members {
		if m.name == name || fold && strings.EqualFold(m.name, name) {
			return m.value
		}
	}
	return nil
}

// strings lists the strings of a scalar or array.
func (n *node) strings() []string {
	if n == nil {
		return nil
	}
	var out []string
	for _, v := range n.list() {
		var s string
		if v.kind == 'v' && json.Unmarshal(v.scalar, &s) == nil {
			out = append(out, s)
		}
	}
	return out
}

// list is the items of an array, or the one value that stands for itself.
func (n *node) list() []*node {
	if n == nil {
		return nil
	}
	if n.kind == '[' {
		return n.items
	}
	return []*node{n}
}

// add makes an array of the value, if it is none, and appends.
func (n *node) add(v *node) {
	if n.kind != '[' {
		old := *n
		*n = node{kind: '[', items: []*node{&old}}
	}
	n.items = append(n.items, v)
}

// write formats with an indent of four spaces; an array of up to two short
// scalars stays on its line.
func (n *node) write(b *strings.Builder, indent string) {
	inner := indent + "    "
	switch {
	case n.kind == 'v':
		b.Write(n.scalar)
	case n.kind == '{' && len(n.members) == 0:
		b.WriteString("{}")
	case n.kind == '[' && len(n.items) == 0:
		b.WriteString("[]")
	case n.kind == '{':
		b.WriteString("{")
		for i, m := range n.members {
			b.WriteString(separator(i, inner))
			b.Write(text(m.name).scalar)
			b.WriteString(": ")
			m.value.write(b, inner)
		}
		b.WriteString("\n" + indent + "}")
	case n.inline():
		for i, v := range n.items {
			b.WriteString([]string{", ", "["}[btoi(i == 0)])
			b.Write(v.scalar)
		}
		b.WriteString("]")
	default:
		b.WriteString("[")
		for i, v := range n.items {
			b.WriteString(separator(i, inner))
			v.write(b, inner)
		}
		b.WriteString("\n" + indent + "]")
	}
}

func (n *node) inline() bool {
	size := 0
	for _, v := range n.items {
		size += len(v.scalar)
	}
	return size <= 60 && !slices.ContainsFunc(n.items, func(v *node) bool { return v.kind != 'v' })
}

func separator(i int, indent string) string {
	if i == 0 {
		return "\n" + indent
	}
	return ",\n" + indent
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (n *node) String() string {
	var b strings.Builder
	n.write(&b, "")
	return b.String()
}

// Format indents a document and keeps its order. It refuses what is not JSON.
func Format(document string) (string, error) {
	n, err := parse(document)
	if err != nil {
		return "", err
	}
	return n.String(), nil
}

func mustFormat(document string) string {
	s, err := Format(document)
	if err != nil {
		panic("trust: a document of our own is not JSON: " + err.Error())
	}
	return s
}
