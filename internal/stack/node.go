// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

type nodeKind uint8

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	textNode
	listNode
	objectNode
	callNode   // a function: text is its name, items[0] its argument
	absentNode // AWS::NoValue
)

// A node is a value of a template, with the place where it was written.
// Nodes are never changed once made: bound templates share them.
type node struct {
	kind   nodeKind
	text   string // of text, numbers, booleans; a call's function
	keys   []string
	items  []*node // a list's items, an object's values in the order of keys, a call's argument
	line   int
	column int
	weight int // rough size of the value written out; 0 until an evaluator has made it
}

// scalar returns the text of a string, number or boolean.
func (n *node) scalar() (string, bool) {
	switch n.kind {
	case textNode, numberNode, boolNode:
		return n.text, true
	}
	return "", false
}

// get returns the value of an object's key, or nil.
func (n *node) get(key string) *node {
	if n == nil || n.kind != objectNode {
		return nil
	}
	if i := slices.Index(n.keys, key); i >= 0 {
		return n.items[i]
	}
	return nil
}

// isCall reports whether n is a call of the function.
func (n *node) isCall(name string) bool { return n.kind == callNode && n.text == name }

// settled reports whether no function is left in n.
func (n *node) settled() bool {
	if n.kind == callNode {
		return false
	}
	return !slices.ContainsFunc(n.items, func(i *node) bool { return !i.settled() })
}

// appendJSON writes n as JSON. Functions are written in their long form, so that unresolved values can be compared.
func (n *node) appendJSON(b *bytes.Buffer) {
	switch n.kind {
	case nullNode, absentNode:
		b.WriteString("null")
	case boolNode, numberNode:
		b.WriteString(n.text)
	case textNode:
		appendText(b, n.text)
	case callNode:
		b.WriteByte('{')
		appendText(b, n.text)
		b.WriteByte(':')
		n.items[0].appendJSON(b)
		b.WriteByte('}')
	case listNode:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.appendJSON(b)
		}
		b.WriteByte(']')
	case objectNode:
		b.WriteByte('{')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			appendText(b, n.keys[i])
			b.WriteByte(':')
			item.appendJSON(b)
		}
		b.WriteByte('}')
	}
}

func (n *node) json() string {
	var b bytes.Buffer
	n.appendJSON(&b)
	return b.String()
}

func appendText(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err == nil { // a string and a buffer cannot fail
		b.Truncate(b.Len() - 1) // the newline
	}
}

// equal reports whether two values say the same; the order of keys says nothing.
func equal(a, b *node) bool {
	switch {
	case a == b:
		return true
	case a == nil || b == nil || a.kind != b.kind || a.text != b.text || len(a.items) != len(b.items):
		return false
	case a.kind == objectNode:
		for i, key := range a.keys {
			other := b.get(key)
			if other == nil || !equal(a.items[i], other) {
				return false
			}
		}
		return true
	}
	return slices.EqualFunc(a.items, b.items, equal)
}

func newText(at *node, s string) *node {
	return &node{kind: textNode, text: s, line: at.line, column: at.column, weight: 1 + len(s)}
}

// A path says where in the template a value stands, as AWS' messages do: /Resources/Role1.
type path struct {
	up   *path
	name string
}

func (p *path) child(name string) *path { return &path{p, name} }

func (p *path) index(i int) *path { return &path{p, strconv.Itoa(i)} }

func (p *path) String() string {
	var parts []string
	for ; p != nil && p.name != ""; p = p.up {
		parts = append(parts, p.name)
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}
