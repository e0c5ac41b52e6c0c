// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlReader turns YAML's nodes into ours.
type yamlReader struct {
	lines []string
	nodes int
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func parseYAML(text string) ([]*Node, error) {
	r := &yamlReader{lines: strings.Split(text, "\n")}
	dec := yaml.NewDecoder(strings.NewReader(text))
	var roots []*Node
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			return nil, yamlError(err)
		}
		n, err := r.node(&doc, 0)
		if err != nil {
			return nil, err
		}
		roots = append(roots, n)
	}
}

// yamlError takes the line out of the library's text.
func yamlError(err error) error {
	text := err.Error()
	m := yamlLine.FindStringSubmatch(text)
	if m == nil {
		return &SyntaxError{Message: "read YAML: " + text}
	}
	line, _ := strconv.Atoi(m[1]) // "" is line 0: not known
	p := Pos{line, 1}
	if line == 0 {
		p = Pos{}
	}
	return &SyntaxError{p, "read YAML: " + strings.TrimPrefix(text, m[0])}
}

func (r *yamlReader) node(y *yaml.Node, depth int) (*Node, error) {
	n := &Node{Pos: Pos{y.Line, y.Column}}
	r.nodes++
	switch {
	case depth > maxDepth:
		return nil, &SyntaxError{n.Pos, errTooDeep.Error()}
	case r.nodes > maxNodes:
		return nil, &SyntaxError{n.Pos, "the file holds too many values"}
	}
	switch y.Kind {
	case yaml.DocumentNode:
		return r.node(y.Content[0], depth)
	case yaml.AliasNode:
		return r.node(y.Alias, depth+1)
	case yaml.ScalarNode:
		r.scalar(n, y)
		return n, nil
	case yaml.SequenceNode:
		n.Kind = List
		for _, item := range y.Content {
			value, err := r.node(item, depth+1)
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, value)
		}
		return n, nil
	}
	n.Kind = Object
	for i := 0; i+1 < len(y.Content); i += 2 {
		name := y.Content[i]
		at := Pos{name.Line, name.Column}
		if name.Kind != yaml.ScalarNode {
			return nil, &SyntaxError{at, "a name is no text"}
		}
		if name.Tag == "!!merge" {
			return nil, &SyntaxError{at, "merge keys (<<) are not read: write the members out"}
		}
		value, err := r.node(y.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		n.Members = append(n.Members, Member{at, name.Value, value})
	}
	return n, nil
}

// scalar reads text. Numbers keep their form where JSON has it too; what only
// YAML calls a number or a date, as 2012-10-17, is text.
func (r *yamlReader) scalar(n *Node, y *yaml.Node) {
	n.Kind, n.Text = String, y.Value
	switch {
	case y.Tag == "!!null":
		n.Kind, n.Text = Null, ""
	case y.Tag == "!!bool":
		n.Kind, n.Text = Scalar, strings.ToLower(y.Value)
	case (y.Tag == "!!int" || y.Tag == "!!float") && json.Valid([]byte(y.Value)):
		n.Kind = Scalar
	}
	if y.Style == yaml.LiteralStyle && y.Line < len(r.lines) {
		content := r.lines[y.Line] // the line after the one with the bar
		n.block = len(content) - len(strings.TrimLeft(content, " ")) + 1
	}
}
