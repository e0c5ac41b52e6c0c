// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package source reads policy documents out of the files that people keep them
// in, JSON or YAML, and keeps for each value the line and column where it
// stands. It owns the tree (Node), the search for documents in a larger file
// (a template, an answer of the AWS CLI, a file of policy tests) and nothing of
// what a document means: package policy parses the text that Node.JSON gives.
//
// It refuses text that is neither JSON nor YAML, YAML anchors that refer to
// themselves, trees of more than a hundred levels and files above 4 MiB. It
// stands before package policy/lint and package policy/policytest.
package source

import (
	"errors"
	"fmt"
	"strings"
)

// MaxFile bounds a file in bytes.
const MaxFile = 4 << 20

// maxDepth bounds the nesting of a tree.
const maxDepth = 100

// maxNodes bounds a tree, so that a YAML file whose aliases multiply ends as an error.
const maxNodes = 500_000

// Kind tells values apart.
type Kind uint8

// The kinds of values.
const (
	Null Kind = iota
	String
	Scalar // a number or a boolean, as text
	List
	Object
)

// String names the kind for people.
func (k Kind) String() string {
	return [...]string{"null", "string", "number or boolean", "list", "object"}[k]
}

// A Pos is a place in a file. Lines and columns count from 1; columns count characters.
type Pos struct{ Line, Col int }

// String gives line:column.
func (p Pos) String() string { return fmt.Sprintf("%d:%d", p.Line, p.Col) }

// A Node is a value with its place.
type Node struct {
	Pos
	Kind    Kind
	Text    string // of a String or Scalar
	Items   []*Node
	Members []Member // of an Object, in the order of the file, repetitions included
	block   int      // of a YAML block of text: the column of its content, else 0
}

// A Member is a name and a value of an object; Pos is that of the name.
type Member struct {
	Pos
	Name  string
	Value *Node
}

// Get returns the member of an object, the first if there are several; nil
// without one, and for nodes that are no object.
func (n *Node) Get(name string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Members {
		if n.Members[i].Name == name {
			return n.Members[i].Value
		}
	}
	return nil
}

// Strings returns a list's items or the single value, whatever it is.
func (n *Node) Strings() []*Node {
	switch {
	case n == nil:
		return nil
	case n.Kind == List:
		return n.Items
	}
	return []*Node{n}
}

// JSON writes the tree as JSON text. Repeated members stay repeated, so that
// who reads the text refuses what it would refuse in the file.
func (n *Node) JSON() string {
	var b strings.Builder
	n.write(&b)
	return b.String()
}

func (n *Node) write(b *strings.Builder) {
	switch n.Kind {
	case Null:
		b.WriteString("null")
	case Scalar:
		b.WriteString(n.Text)
	case String:
		b.WriteString(quote(n.Text))
	case List:
		b.WriteByte('[')
		for i, item := range n.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.write(b)
		}
		b.WriteByte(']')
	case Object:
		b.WriteByte('{')
		for i := range n.Members {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quote(n.Members[i].Name))
			b.WriteByte(':')
			n.Members[i].Value.write(b)
		}
		b.WriteByte('}')
	}
}

// A SyntaxError is text that cannot be read, with the place where that shows.
type SyntaxError struct {
	Pos
	Message string
}

// Error gives place and message.
func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return e.Pos.String() + ": " + e.Message
}

// Parse reads a file: JSON when it begins as JSON does, YAML otherwise. A YAML
// file may hold several documents; an empty one holds none.
func Parse(text string) ([]*Node, error) {
	if len(text) > MaxFile {
		return nil, &SyntaxError{Message: fmt.Sprintf("file is longer than %d bytes", MaxFile)}
	}
	text = strings.TrimPrefix(text, "\ufeff")
	trimmed := strings.TrimLeft(text, " \t\r\n")
	if strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		n, err := parseJSON(text)
		if err == nil {
			return []*Node{n}, nil
		}
		// Flow style YAML begins as JSON does, but comments and bare words are not
		// JSON; what is neither is most likely broken JSON.
		if roots, yamlErr := parseYAML(text); yamlErr == nil && !strings.Contains(trimmed, "\"Statement\"") {
			return roots, nil
		}
		return nil, err
	}
	return parseYAML(text)
}

var errTooDeep = errors.New("nested too deeply")
