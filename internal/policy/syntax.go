// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
)

// rawDocument is a document whose syntax is right and whose content is not yet
// looked at.
type rawDocument struct {
	kind       DocumentKind
	version    string
	statements []rawStatement
}

type rawStatement struct {
	sid          string
	hasSid       bool
	effect       string
	actions      []string
	hasAction    bool
	notAction    bool
	resources    []string
	hasResource  bool
	notResource  bool
	principal    *node
	notPrincipal bool
	conditions   []rawCondition
}

type rawCondition struct {
	operator, key string
	values        []string
}

func syntaxError(format string, args ...any) error {
	return &MalformedError{Message: msgSyntax, Cause: fmt.Sprintf(format, args...)}
}

// readDocument checks the syntax: the elements and the types of their values.
func readDocument(root *node) (*rawDocument, error) {
	if root.kind != nodeObject {
		return nil, syntaxError("document is no JSON object")
	}
	doc := &rawDocument{}
	var statements *node
	for i, name := range root.members {
		value := &root.items[i]
		switch name {
		case "Version":
			if value.kind != nodeString || value.text != VersionOld && value.text != VersionCurrent {
				return nil, syntaxError("Version is neither %s nor %s", VersionCurrent, VersionOld)
			}
			doc.version = value.text
		case "Id":
			if value.kind != nodeString {
				return nil, syntaxError("Id is no string")
			}
		case "Statement":
			statements = value
		default:
			return nil, syntaxError("unknown element %q", name)
		}
	}
	if statements == nil {
		return nil, syntaxError("Statement is missing")
	}
	list := []node{*statements}
	if statements.kind == nodeList {
		list = statements.items
	}
	if len(list) == 0 {
		return nil, syntaxError("Statement is empty")
	}
	for i := range list {
		s, err := readStatement(&list[i])
		if err != nil {
			return nil, syntaxError("statement %d: %v", i, err)
		}
		doc.statements = append(doc.statements, s)
	}
	return doc, nil
}

func readStatement(n *node) (rawStatement, error) {
	var s rawStatement
	if n.kind != nodeObject {
		return s, errors.New("no JSON object")
	}
	for i, name := range n.members {
		if err := s.readElement(name, &n.items[i]); err != nil {
			return s, err
		}
	}
	for _, pair := range [][2]string{{"Action", "NotAction"}, {"Resource", "NotResource"}, {"Principal", "NotPrincipal"}} {
		if n.get(pair[0]) != nil && n.get(pair[1]) != nil {
			return s, fmt.Errorf("has both %s and %s", pair[0], pair[1])
		}
	}
	switch fold(s.effect) {
	case "allow", "deny":
		return s, nil
	case "":
		return s, errors.New("element Effect is missing")
	}
	return s, errors.New("element Effect is neither Allow nor Deny")
}

func (s *rawStatement) readElement(name string, value *node) error {
	var ok bool
	switch name {
	case "Sid":
		s.sid, s.hasSid, ok = value.text, true, value.kind == nodeString
	case "Effect":
		s.effect, ok = value.text, value.kind == nodeString
	case "Action", "NotAction":
		s.actions, ok = value.strings(false)
		s.hasAction, s.notAction = true, name == "NotAction"
	case "Resource", "NotResource":
		s.resources, ok = value.strings(false)
		s.hasResource, s.notResource = true, name == "NotResource"
	case "Principal", "NotPrincipal":
		s.principal, s.notPrincipal = value, name == "NotPrincipal"
		ok = value.kind == nodeObject || value.kind == nodeString
	case "Condition":
		return s.readConditions(value)
	default:
		return fmt.Errorf("unknown element %q", name)
	}
	if !ok {
		return fmt.Errorf("element %s is of the wrong type", name)
	}
	return nil
}

// readConditions checks operators and values. An operator without keys says
// nothing and is not looked at, as AWS does.
func (s *rawStatement) readConditions(n *node) error {
	if n.kind != nodeObject {
		return errors.New("element Condition is no JSON object")
	}
	for i, op := range n.members {
		keys := &n.items[i]
		if keys.kind != nodeObject {
			return fmt.Errorf("condition %s is no JSON object", op)
		}
		if _, ok := parseOperator(op); !ok && len(keys.members) > 0 {
			return fmt.Errorf("unknown condition operator %q", op)
		}
		for j, key := range keys.members {
			values, ok := keys.items[j].strings(true)
			if !ok {
				return fmt.Errorf("condition %s %s has a value that is no string", op, key)
			}
			s.conditions = append(s.conditions, rawCondition{operator: op, key: key, values: values})
		}
	}
	return nil
}

func alphanumeric(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
