// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"regexp"
	"slices"
	"strings"
)

// A Template is a template's text understood: its sections are well-formed, its types and functions known, and its references
// lead somewhere. It is safe for concurrent use.
type Template struct {
	description string
	metadata    *node
	parameters  []parameter
	mappings    map[string]map[string]map[string]*node
	conditions  map[string]*node
	resources   map[string]*resource
	outputs     []output
}

type resource struct {
	id, kind            string
	properties          *node // an object, never nil
	dependsOn           []string
	condition           string
	onDelete, onReplace RetentionPolicy
}

type output struct {
	key, condition, description string
	value, export               *node // export may be nil
}

// A RetentionPolicy says what happens to a resource that its stack no longer has.
type RetentionPolicy string

// The retention policies. Snapshots are refused: no resource type here has them.
const (
	Delete RetentionPolicy = "Delete"
	Retain RetentionPolicy = "Retain"
)

var (
	alphanumeric = regexp.MustCompile(`^[A-Za-z0-9]{1,255}$`)
	mappingKey   = regexp.MustCompile(`^[A-Za-z0-9.-]{1,255}$`)
)

// Parse reads a template of at most [MaxTemplate] bytes.
func Parse(text string) (*Template, error) {
	root, err := readText(text)
	if err != nil {
		return nil, err
	}
	if root.kind != objectNode {
		return nil, refuse(reasonFormat, "Template format error: unsupported structure.")
	}
	t := &Template{}
	var unknown []string
	for i, key := range root.keys {
		read, ok := t.section(key)
		if !ok {
			unknown = append(unknown, key)
			continue
		}
		if err := read(root.items[i]); err != nil {
			return nil, err
		}
	}
	if len(unknown) > 0 {
		return nil, refuse(reasonFormat, "Invalid template property or properties [%s]", strings.Join(unknown, ", "))
	}
	if len(t.resources) == 0 {
		return nil, refuse(reasonFormat, "Template format error: At least one Resources member must be defined.")
	}
	return t, t.check()
}

// section returns the reader of a top-level key.
func (t *Template) section(key string) (func(*node) error, bool) {
	switch key {
	case "AWSTemplateFormatVersion":
		return readVersion, true
	case "Description":
		return t.readDescription, true
	case "Metadata":
		return func(n *node) error { t.metadata = n; return wantObject(n, "Metadata") }, true
	case "Parameters":
		return t.readParameters, true
	case "Mappings":
		return t.readMappings, true
	case "Conditions":
		return t.readConditions, true
	case "Resources":
		return t.readResources, true
	case "Outputs":
		return t.readOutputs, true
	case "Transform", "Rules", "Hooks":
		return func(*node) error {
			return refuse(reasonUnsupported, "Template format error: %s is not supported.", key)
		}, true
	}
	return nil, false
}

func readVersion(n *node) error {
	if v, ok := n.scalar(); !ok || v != "2010-09-09" {
		return refuse(reasonFormat, "Template format error: unsupported value for AWSTemplateFormatVersion, want 2010-09-09.")
	}
	return nil
}

func (t *Template) readDescription(n *node) error {
	if n.kind != textNode {
		return refuse(reasonFormat, "Template format error: Description must be a string.")
	}
	if len(n.text) > maxDescription {
		return refuse(reasonFormat, "Template format error: Description length exceeds the limit of %d bytes.", maxDescription)
	}
	t.description = n.text
	return nil
}

func wantObject(n *node, what string) error {
	if n.kind != objectNode {
		return refuse(reasonFormat, "Template format error: Every %s member must be an object. (line %d, column %d)", what, n.line, n.column)
	}
	return nil
}

// wantSection checks the shape of a section whose members have names of our grammar.
func wantSection(n *node, section, member string, limit int) error {
	if n.kind != objectNode {
		return refuse(reasonFormat, "Template format error: [/%s] must be an object. (line %d, column %d)", section, n.line, n.column)
	}
	if len(n.keys) > limit {
		return refuse(reasonFormat, "Template format error: Number of %s, %d, is greater than maximum allowed, %d", strings.ToLower(section), len(n.keys), limit)
	}
	for _, name := range n.keys {
		if !alphanumeric.MatchString(name) {
			return refuse(reasonFormat, "Template format error: %s name %s is non alphanumeric.", member, name)
		}
	}
	return nil
}

func (t *Template) readMappings(n *node) error {
	if err := wantSection(n, "Mappings", "Mapping", maxMappings); err != nil {
		return err
	}
	t.mappings = map[string]map[string]map[string]*node{}
	for i, name := range n.keys {
		if err := wantObject(n.items[i], "Mappings"); err != nil {
			return err
		}
		tops := map[string]map[string]*node{}
		for j, top := range n.items[i].keys {
			values, err := mappingValues(n.items[i].items[j], name, top)
			if err != nil {
				return err
			}
			tops[top] = values
		}
		t.mappings[name] = tops
	}
	return nil
}

func mappingValues(n *node, name, top string) (map[string]*node, error) {
	if n.kind != objectNode {
		return nil, refuse(reasonFormat, "Template format error: Every Mappings member %s must be a map", top)
	}
	values := map[string]*node{}
	for i, key := range n.keys {
		v := n.items[i]
		_, plain := v.scalar()
		if v.kind == listNode {
			plain = !slices.ContainsFunc(v.items, func(i *node) bool { _, ok := i.scalar(); return !ok })
		}
		switch {
		case !mappingKey.MatchString(key) || !mappingKey.MatchString(top):
			return nil, refuse(reasonFormat, "Template format error: Mappings attribute name '%s' must contain only alphanumeric characters, dashes and periods.", key)
		case !plain:
			return nil, refuse(reasonFormat, "Template format error: Every Mappings attribute must be a String or a List. (/Mappings/%s/%s/%s)", name, top, key)
		}
		values[key] = v
	}
	return values, nil
}

func (t *Template) readConditions(n *node) error {
	if err := wantSection(n, "Conditions", "Condition", maxResources); err != nil {
		return err
	}
	t.conditions = map[string]*node{}
	for i, name := range n.keys {
		t.conditions[name] = n.items[i]
	}
	return nil
}

func (t *Template) readResources(n *node) error {
	if err := wantSection(n, "Resources", "Resource", maxResources); err != nil {
		return err
	}
	t.resources = map[string]*resource{}
	var unknown []string
	for i, id := range n.keys {
		r, err := readResource(id, n.items[i])
		if err != nil {
			return err
		}
		if _, ok := typeOf(r.kind); !ok && !slices.Contains(unknown, r.kind) {
			unknown = append(unknown, r.kind)
		}
		t.resources[id] = r
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return refuse(reasonResourceType, "Template format error: Unrecognized resource types: [%s]", strings.Join(unknown, ", "))
	}
	return nil
}

func readResource(id string, n *node) (*resource, error) {
	if n.kind != objectNode {
		return nil, refuse(reasonFormat, "Template format error: [/Resources/%s] Every Resources member must be an object.", id)
	}
	r := &resource{id: id, properties: &node{kind: objectNode, line: n.line, column: n.column}, onDelete: Delete, onReplace: Delete}
	for i, key := range n.keys {
		v := n.items[i]
		var err error
		switch key {
		case "Type":
			if v.kind != textNode {
				return nil, refuse(reasonFormat, "Template format error: [/Resources/%s/Type] must be a string.", id)
			}
			r.kind = v.text
		case "Properties":
			if v.kind != objectNode {
				return nil, refuse(reasonFormat, "Template format error: [/Resources/%s/Properties] must be an object.", id)
			}
			r.properties = v
		case "DependsOn":
			r.dependsOn, err = readDependsOn(id, v)
		case "Condition":
			if v.kind != textNode {
				return nil, refuse(reasonFormat, "Template format error: Every Condition member must be a string.")
			}
			r.condition = v.text
		case "DeletionPolicy":
			r.onDelete, err = readRetention(id, key, v)
		case "UpdateReplacePolicy":
			r.onReplace, err = readRetention(id, key, v)
		case "Metadata":
			err = wantObject(v, "Metadata")
		default:
			err = refuse(reasonFormat, "Invalid template resource property '%s'", key)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.kind == "" {
		return nil, refuse(reasonFormat, "Template format error: [/Resources/%s] Every Resources object must contain a Type member.", id)
	}
	return r, nil
}

func readDependsOn(id string, n *node) ([]string, error) {
	items := []*node{n}
	if n.kind == listNode {
		items = n.items
	}
	var names []string
	for _, item := range items {
		if item.kind != textNode {
			return nil, refuse(reasonFormat, "Template format error: [/Resources/%s/DependsOn] Every DependsOn value must be a string.", id)
		}
		if !slices.Contains(names, item.text) {
			names = append(names, item.text)
		}
	}
	return names, nil
}

func readRetention(id, key string, n *node) (RetentionPolicy, error) {
	switch p := RetentionPolicy(n.text); {
	case n.kind == textNode && (p == Delete || p == Retain):
		return p, nil
	case n.kind == textNode && key == "DeletionPolicy" && p == "RetainExceptOnCreate":
		return "", refuse(reasonUnsupported, "Template error: [/Resources/%s] DeletionPolicy RetainExceptOnCreate is not supported.", id)
	}
	return "", refuse(reasonFormat, "Template error: [/Resources/%s] %s must be one of [Delete, Retain].", id, key)
}

func (t *Template) readOutputs(n *node) error {
	if err := wantSection(n, "Outputs", "Output", maxOutputs); err != nil {
		return err
	}
	for i, key := range n.keys {
		o, err := readOutput(key, n.items[i])
		if err != nil {
			return err
		}
		t.outputs = append(t.outputs, o)
	}
	return nil
}

func readOutput(key string, n *node) (output, error) {
	o := output{key: key}
	if n.kind != objectNode {
		return o, refuse(reasonFormat, "Template format error: Output %s is malformed.", key)
	}
	for i, name := range n.keys {
		v := n.items[i]
		switch {
		case name == "Value":
			o.value = v
		case name == "Description" && v.kind == textNode && len(v.text) <= maxDescription:
			o.description = v.text
		case name == "Condition" && v.kind == textNode:
			o.condition = v.text
		case name == "Export" && v.kind == objectNode && len(v.keys) == 1 && v.keys[0] == "Name":
			o.export = v.items[0]
		default:
			return o, refuse(reasonFormat, "Template format error: Output %s is malformed: member %s.", key, name)
		}
	}
	if o.value == nil {
		return o, refuse(reasonFormat, "Template format error: Output %s is malformed. Every Outputs member must contain a Value object.", key)
	}
	return o, nil
}
