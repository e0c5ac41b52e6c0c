// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// readText reads JSON where the text begins as an object does, else YAML.
func readText(text string) (*node, error) {
	switch {
	case len(text) > MaxTemplate:
		return nil, refuse(reasonTooLarge, "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to %d", MaxTemplate)
	case text == "":
		return nil, refuse(reasonFormat, "1 validation error detected: Value '' at 'templateBody' failed to satisfy constraint: Member must have length greater than or equal to 1")
	case !utf8.ValidString(text):
		return nil, refuse(reasonFormat, "Template format error: the template is not valid UTF-8.")
	}
	if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
		return readJSON(text)
	}
	return readYAML(text)
}

// jsonReader makes nodes from tokens, because encoding/json keeps neither order, nor places, nor the first of two equal keys.
type jsonReader struct {
	text string
	dec  *json.Decoder
	// seen and line, start: newlines are counted once, as far as asked for.
	seen, line, start int
}

func readJSON(text string) (*node, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	r := &jsonReader{text: text, dec: dec, line: 1}
	n, err := r.value(&path{})
	if err != nil {
		return nil, err
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, r.broken()
	}
	return n, nil
}

func (r *jsonReader) broken() error {
	line, column := r.at()
	return refuse(reasonFormat, "Template format error: JSON not well-formed. (line %d, column %d)", line, column)
}

// at says where the last token ends.
func (r *jsonReader) at() (line, column int) {
	offset := min(int(r.dec.InputOffset()), len(r.text))
	for ; r.seen < offset; r.seen++ {
		if r.text[r.seen] == '\n' {
			r.line++
			r.start = r.seen + 1
		}
	}
	return r.line, max(1, offset-r.start)
}

func (r *jsonReader) value(p *path) (*node, error) {
	token, err := r.dec.Token()
	if err != nil {
		return nil, r.broken()
	}
	return r.fromToken(token, p, 0)
}

func (r *jsonReader) fromToken(token json.Token, p *path, depth int) (*node, error) {
	n := &node{}
	n.line, n.column = r.at()
	if depth > maxDepth {
		return nil, tooDeep(n)
	}
	switch v := token.(type) {
	case nil:
		return nil, nullValue(p)
	case bool:
		n.kind, n.text = boolNode, "false"
		if v {
			n.text = "true"
		}
	case json.Number:
		n.kind, n.text = numberNode, v.String()
	case string:
		n.kind, n.text = textNode, v
	case json.Delim:
		if v == '[' {
			return n, r.list(n, p, depth)
		}
		if err := r.object(n, p, depth); err != nil {
			return nil, err
		}
		return asCall(n)
	}
	return n, nil
}

func (r *jsonReader) list(n *node, p *path, depth int) error {
	n.kind = listNode
	for {
		token, err := r.dec.Token()
		if err != nil {
			return r.broken()
		}
		if token == json.Delim(']') {
			return nil
		}
		item, err := r.fromToken(token, p.index(len(n.items)), depth+1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
}

func (r *jsonReader) object(n *node, p *path, depth int) error {
	n.kind = objectNode
	known := map[string]bool{}
	for {
		token, err := r.dec.Token()
		if err != nil {
			return r.broken()
		}
		if token == json.Delim('}') {
			return nil
		}
		key, ok := token.(string)
		if !ok {
			return r.broken()
		}
		if known[key] {
			line, column := r.at()
			return duplicate(key, line, column)
		}
		known[key] = true
		if token, err = r.dec.Token(); err != nil {
			return r.broken()
		}
		item, err := r.fromToken(token, p.child(key), depth+1)
		if err != nil {
			return err
		}
		n.keys, n.items = append(n.keys, key), append(n.items, item)
	}
}

func duplicate(key string, line, column int) error {
	return refuse(reasonFormat, "Template format error: duplicate key %q. (line %d, column %d)", key, line, column)
}

func tooDeep(n *node) error {
	return refuse(reasonFormat, "Template format error: values are nested more than %d deep. (line %d, column %d)", maxDepth, n.line, n.column)
}

func nullValue(p *path) error {
	return refuse(reasonFormat, "Template format error: [%s] 'null' values are not allowed in templates", p)
}

// asCall makes a call of an object whose one key is Ref or begins with Fn::. "Condition" is a function in few places only,
// because policy documents have it as a key; those places look for it themselves.
func asCall(n *node) (*node, error) {
	for i, key := range n.keys {
		if key != "Ref" && !strings.HasPrefix(key, "Fn::") {
			continue
		}
		if len(n.keys) != 1 {
			return nil, refuse(reasonFunction, "Template format error: %s must be the only key of its object. (line %d, column %d)", key, n.line, n.column)
		}
		return &node{kind: callNode, text: key, items: n.items[i : i+1], line: n.line, column: n.column}, nil
	}
	return n, nil
}
