// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The types of parameters.
const (
	typeString  = "String"
	typeNumber  = "Number"
	typeList    = "CommaDelimitedList"
	typeNumbers = "List<Number>"
)

// A ParameterDecl is what a template says about one of its parameters.
type ParameterDecl struct {
	Key, Type             string
	Default               string
	HasDefault            bool
	NoEcho                bool // the value is a secret: never shown
	Description           string
	ConstraintDescription string // what a person is told when the value breaks a rule
	AllowedValues         []string
}

type parameter struct {
	ParameterDecl

	pattern              string
	match                *regexp.Regexp
	minLength, maxLength *float64
	minValue, maxValue   *float64
}

func (t *Template) readParameters(n *node) error {
	if err := wantSection(n, "Parameters", "Parameter", maxParameters); err != nil {
		return err
	}
	for i, key := range n.keys {
		p, err := readParameter(key, n.items[i])
		if err != nil {
			return err
		}
		t.parameters = append(t.parameters, p)
	}
	return nil
}

func readParameter(key string, n *node) (parameter, error) {
	p := parameter{ParameterDecl: ParameterDecl{Key: key}}
	if n.kind != objectNode {
		return p, refuse(reasonFormat, "Template format error: Every Parameters object must contain a Type member.")
	}
	for i, name := range n.keys {
		if err := p.member(name, n.items[i]); err != nil {
			return p, err
		}
	}
	switch p.Type {
	case typeString, typeNumber, typeList, typeNumbers:
	case "":
		return p, refuse(reasonFormat, "Template format error: Every Parameters object must contain a Type member.")
	default:
		return p, refuse(reasonUnsupported, "Template format error: Unrecognized parameter type: %s", p.Type)
	}
	if p.HasDefault {
		if err := p.validate(p.Default); err != nil {
			return p, err
		}
	}
	return p, nil
}

// member reads one attribute of a parameter.
func (p *parameter) member(name string, n *node) error {
	text, plain := n.scalar()
	if name == "AllowedValues" {
		if n.kind != listNode {
			return p.malformed(name)
		}
		for _, item := range n.items {
			v, ok := item.scalar()
			if !ok {
				return p.malformed(name)
			}
			p.AllowedValues = append(p.AllowedValues, v)
		}
		return nil
	}
	if !plain {
		return p.malformed(name)
	}
	switch name {
	case "Type":
		p.Type = text
	case "Default":
		p.Default, p.HasDefault = text, true
	case "Description":
		p.Description = text
	case "ConstraintDescription":
		p.ConstraintDescription = text
	case "NoEcho":
		v, ok := asBool(text)
		p.NoEcho = v
		if !ok {
			return p.malformed(name)
		}
	case "AllowedPattern":
		match, err := regexp.Compile(`^(?:` + text + `)$`)
		if err != nil {
			return refuse(reasonFormat, "Template format error: Parameter '%s' has an AllowedPattern that is not a regular expression of RE2.", p.Key)
		}
		p.pattern, p.match = text, match
	case "MinLength", "MaxLength", "MinValue", "MaxValue":
		return p.bound(name, text)
	default:
		return refuse(reasonFormat, "Template format error: Invalid template parameter property '%s'", name)
	}
	return nil
}

func (p *parameter) bound(name, text string) error {
	v, ok := asNumber(text)
	if !ok {
		return p.malformed(name)
	}
	switch name {
	case "MinLength":
		p.minLength = &v
	case "MaxLength":
		p.maxLength = &v
	case "MinValue":
		p.minValue = &v
	case "MaxValue":
		p.maxValue = &v
	}
	return nil
}

func (p *parameter) malformed(name string) error {
	return refuse(reasonFormat, "Template format error: Parameter '%s' has a malformed %s.", p.Key, name)
}

// validate checks a value. No message holds the value: it may be a secret.
func (p *parameter) validate(value string) error {
	if len(value) > maxParamValue {
		return refuse(reasonParameter, "Parameter '%s' must not be longer than %d bytes", p.Key, maxParamValue)
	}
	for _, item := range p.split(value) {
		rule := p.broken(item)
		switch {
		case rule == "":
		case p.ConstraintDescription != "":
			return refuse(reasonParameter, "Parameter '%s' failed to satisfy constraint: %s", p.Key, p.ConstraintDescription)
		default:
			return refuse(reasonParameter, "Parameter '%s' %s", p.Key, rule)
		}
	}
	return nil
}

// broken names the rule that a value, or an item of a list, breaks.
func (p *parameter) broken(value string) string {
	number, isNumber := asNumber(value)
	length := float64(utf8.RuneCountInString(value))
	numeric := p.Type == typeNumber || p.Type == typeNumbers
	switch {
	case numeric && !isNumber:
		return "must be a number"
	case p.AllowedValues != nil && !slices.Contains(p.AllowedValues, value):
		return "must be one of AllowedValues"
	case p.match != nil && !p.match.MatchString(value):
		return "must match pattern " + p.pattern
	case p.minLength != nil && length < *p.minLength:
		return "must contain at least " + show(*p.minLength) + " characters"
	case p.maxLength != nil && length > *p.maxLength:
		return "must contain at most " + show(*p.maxLength) + " characters"
	case numeric && p.minValue != nil && number < *p.minValue:
		return "must be a number not less than " + show(*p.minValue)
	case numeric && p.maxValue != nil && number > *p.maxValue:
		return "must be a number not greater than " + show(*p.maxValue)
	}
	return ""
}

// split returns a list parameter's items without the spaces around them, and another's one value.
func (p *parameter) split(value string) []string {
	if p.Type != typeList && p.Type != typeNumbers {
		return []string{value}
	}
	if value == "" {
		return nil
	}
	items := strings.Split(value, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// node makes the value that a Ref of the parameter gives.
func (p *parameter) node(value string) *node {
	at := &node{}
	if p.Type != typeList && p.Type != typeNumbers {
		return newText(at, value)
	}
	list := &node{kind: listNode, weight: 1}
	for _, item := range p.split(value) {
		n := newText(at, item)
		list.items = append(list.items, n)
		list.weight += n.weight
	}
	return list
}

func asBool(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// asNumber reads a finite decimal number.
func asNumber(text string) (float64, bool) {
	if !jsonNumber.MatchString(text) {
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil
}

func show(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// bindParameters gives each parameter its value: what is given, or its default.
func (t *Template) bindParameters(given map[string]string) (values map[string]string, err error) {
	values = map[string]string{}
	var missing, unknown []string
	for i := range t.parameters {
		p := &t.parameters[i]
		value, ok := given[p.Key]
		if !ok {
			value, ok = p.Default, p.HasDefault
		}
		if !ok {
			missing = append(missing, p.Key)
		}
		values[p.Key] = value
	}
	for key := range given {
		if _, ok := values[key]; !ok {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	switch {
	case len(unknown) > 0:
		return nil, refuse(reasonParameter, "Parameters: [%s] do not exist in the template", strings.Join(unknown, ", "))
	case len(missing) > 0:
		return nil, refuse(reasonParameter, "Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	for i := range t.parameters {
		if err := t.parameters[i].validate(values[t.parameters[i].Key]); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// parameter returns the parameter of the name, or nil.
func (t *Template) parameter(key string) *parameter {
	for i := range t.parameters {
		if t.parameters[i].Key == key {
			return &t.parameters[i]
		}
	}
	return nil
}
