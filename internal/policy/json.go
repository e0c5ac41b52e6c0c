// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a document; the language needs six levels.
const maxDepth = 16

type nodeKind uint8

const (
	nodeString nodeKind = iota
	nodeScalar          // a number or a boolean, as text
	nodeNull
	nodeList
	nodeObject
)

// node is a JSON value with the order of its members kept. encoding/json would
// accept a member given twice and keep the last, which hides a condition.
type node struct {
	kind    nodeKind
	text    string
	items   []node // of a list, or the values of an object
	members []string
}

// get returns a member of an object.
func (n *node) get(name string) *node {
	for i, m := range n.members {
		if m == name {
			return &n.items[i]
		}
	}
	return nil
}

// parseJSON reads exactly one JSON value.
func parseJSON(text string) (node, error) {
	if !utf8.ValidString(text) {
		return node{}, errors.New("text is not UTF-8")
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	n, err := readNode(dec, 0)
	if err != nil {
		return node{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return node{}, errors.New("text follows the document")
	}
	return n, nil
}

func readNode(dec *json.Decoder, depth int) (node, error) {
	if depth > maxDepth {
		return node{}, errors.New("document is nested too deeply")
	}
	tok, err := dec.Token()
	if err != nil {
		return node{}, fmt.Errorf("read JSON: %w", err)
	}
	switch v := tok.(type) {
	case string:
		return node{kind: nodeString, text: v}, nil
	case json.Number:
		return node{kind: nodeScalar, text: v.String()}, nil
	case bool:
		return node{kind: nodeScalar, text: fmt.Sprint(v)}, nil
	case json.Delim:
		if v == '{' {
			return readObject(dec, depth)
		}
		return readList(dec, depth)
	}
	return node{kind: nodeNull}, nil
}

func readObject(dec *json.Decoder, depth int) (node, error) {
	n := node{kind: nodeObject}
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return node{}, fmt.Errorf("read JSON: %w", err)
		}
		name, ok := tok.(string)
		if !ok || seen[name] {
			return node{}, fmt.Errorf("member %v is given twice", tok)
		}
		seen[name] = true
		value, err := readNode(dec, depth+1)
		if err != nil {
			return node{}, err
		}
		n.members = append(n.members, name)
		n.items = append(n.items, value)
	}
	_, err := dec.Token()
	return n, err
}

func readList(dec *json.Decoder, depth int) (node, error) {
	n := node{kind: nodeList}
	for dec.More() {
		value, err := readNode(dec, depth+1)
		if err != nil {
			return node{}, err
		}
		n.items = append(n.items, value)
	}
	_, err := dec.Token()
	return n, err
}

// strings returns a string or a list of strings. Scalars are taken as text
// where allowed, as in condition values.
func (n *node) strings(scalars bool) ([]string, bool) {
	switch n.kind {
	case nodeString:
		return []string{n.text}, true
	case nodeScalar:
		return []string{n.text}, scalars
	case nodeList:
		out := make([]string, 0, len(n.items))
		for i := range n.items {
			item := &n.items[i]
			if item.kind != nodeString && (item.kind != nodeScalar || !scalars) {
				return nil, false
			}
			out = append(out, item.text)
		}
		return out, true
	}
	return nil, false
}
