// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readYAML reads one document. Aliases are refused, as AWS does: they are how a small text becomes a large value.
func readYAML(text string) (n *node, err error) {
	dec := yaml.NewDecoder(strings.NewReader(text))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, refuse(reasonFormat, "Template format error: unsupported structure.")
		}
		return nil, brokenYAML(err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, brokenYAML(err)
		}
		return nil, refuse(reasonFormat, "Template format error: YAML not well-formed: more than one document. (line %d, column %d)", more.Line, more.Column)
	}
	return fromYAML(&doc, &path{}, 0)
}

func brokenYAML(err error) error {
	line := 0
	if _, after, ok := strings.Cut(err.Error(), "line "); ok {
		digits, _, _ := strings.Cut(after, ":")
		line, _ = strconv.Atoi(digits) // 0 when the library names none
	}
	if line == 0 {
		return refuse(reasonFormat, "Template format error: YAML not well-formed.")
	}
	return refuse(reasonFormat, "Template format error: YAML not well-formed. (line %d)", line)
}

func fromYAML(y *yaml.Node, p *path, depth int) (*node, error) {
	n := &node{line: y.Line, column: y.Column}
	if depth > maxDepth {
		return nil, tooDeep(n)
	}
	switch y.Kind {
	case yaml.DocumentNode:
		return fromYAML(y.Content[0], p, depth)
	case yaml.AliasNode:
		return nil, refuse(reasonUnsupported, "Template error: YAML aliases are not allowed in CloudFormation templates. (line %d, column %d)", y.Line, y.Column)
	}
	if tag := y.Tag; strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!") && tag != "!" {
		return shortForm(y, n, p, depth)
	}
	return plainYAML(y, n, p, depth)
}

// shortForm makes the call that a tag such as !Sub stands for.
func shortForm(y *yaml.Node, n *node, p *path, depth int) (*node, error) {
	name := y.Tag[1:]
	switch name {
	case "Ref":
	case "Condition": // stays an object: see asCall
	case "GetAtt", "Sub", "Join", "If", "Equals", "And", "Or", "Not", "FindInMap", "Select", "Split", "Base64":
		name = "Fn::" + name
	default:
		return nil, unsupportedFunction("Fn::"+name, n)
	}
	bare := *y
	bare.Tag = ""
	arg, err := plainYAML(&bare, &node{line: y.Line, column: y.Column}, p.child(name), depth)
	if err != nil {
		return nil, err
	}
	if arg.kind == numberNode || arg.kind == boolNode {
		arg.kind = textNode
	}
	if name == "Condition" {
		n.kind, n.keys, n.items = objectNode, []string{name}, []*node{arg}
		return n, nil
	}
	n.kind, n.text, n.items = callNode, name, []*node{arg}
	return n, nil
}

func plainYAML(y *yaml.Node, n *node, p *path, depth int) (*node, error) {
	switch y.Kind {
	case yaml.ScalarNode:
		return n, scalarYAML(y, n, p)
	case yaml.SequenceNode:
		n.kind = listNode
		for i, item := range y.Content {
			child, err := fromYAML(item, p.index(i), depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, child)
		}
		return n, nil
	case yaml.MappingNode:
		return mapYAML(y, n, p, depth)
	}
	return nil, refuse(reasonFormat, "Template format error: unsupported structure. (line %d, column %d)", n.line, n.column)
}

func mapYAML(y *yaml.Node, n *node, p *path, depth int) (*node, error) {
	n.kind = objectNode
	known := map[string]bool{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		switch {
		case key.Kind == yaml.AliasNode || key.ShortTag() == "!!merge":
			return nil, refuse(reasonUnsupported, "Template error: YAML aliases are not allowed in CloudFormation templates. (line %d, column %d)", key.Line, key.Column)
		case key.Kind != yaml.ScalarNode:
			return nil, refuse(reasonFormat, "Template format error: a key must be a string. (line %d, column %d)", key.Line, key.Column)
		case known[key.Value]:
			return nil, duplicate(key.Value, key.Line, key.Column)
		}
		known[key.Value] = true
		item, err := fromYAML(y.Content[i+1], p.child(key.Value), depth+1)
		if err != nil {
			return nil, err
		}
		n.keys, n.items = append(n.keys, key.Value), append(n.items, item)
	}
	return asCall(n)
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// scalarYAML keeps a scalar's text: a date is the text that it was written as (Version: 2012-10-17), and so is a number that
// JSON could not write (0x10, 007).
func scalarYAML(y *yaml.Node, n *node, p *path) error {
	n.kind, n.text = textNode, y.Value
	switch y.ShortTag() {
	case "!!null":
		return nullValue(p)
	case "!!bool":
		n.kind, n.text = boolNode, strings.ToLower(y.Value)
	case "!!int", "!!float":
		if jsonNumber.MatchString(y.Value) {
			n.kind = numberNode
		}
	case "!!str", "!!timestamp":
	default:
		return refuse(reasonUnsupported, "Template format error: the tag %s is not supported. (line %d, column %d)", y.ShortTag(), y.Line, y.Column)
	}
	return nil
}
