// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// RefAttr is the attribute that a Ref asks for.
const RefAttr = ""

// Attrs returns what a resource gives for an attribute, or for a Ref; false when the resource does not exist yet.
type Attrs func(logicalID, attr string) (string, bool)

// An Env is what the pseudo parameters stand for.
type Env struct {
	Partition, Account, Region string
	StackName, StackID         string
	NotificationARNs           []string
}

func isPseudo(name string) bool {
	switch name {
	case "AWS::AccountId", "AWS::Region", "AWS::Partition", "AWS::StackName", "AWS::StackId", "AWS::NoValue", "AWS::URLSuffix", "AWS::NotificationARNs":
		return true
	}
	return false
}

// suffix is the domain of a partition's services.
func (v Env) suffix() string {
	if v.Partition == "aws-cn" {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// An evaluator replaces functions by their values. Without attrs it leaves those that need a resource: what is left is
// evaluated once more, when the resource exists.
type evaluator struct {
	t          *Template
	env        Env
	values     map[string]string
	conditions map[string]bool
	attrs      Attrs
	spent      int
}

func weightOf(n *node) int {
	if n.weight > 0 {
		return n.weight
	}
	return 1 + len(n.text)
}

// made accounts for a value that costs work to make.
func (e *evaluator) made(n *node, work int) (*node, error) {
	n.weight = 1 + len(n.text)
	for _, key := range n.keys {
		n.weight += len(key)
	}
	for _, item := range n.items {
		n.weight += weightOf(item)
	}
	e.spent += work
	if n.weight > maxWeight || e.spent > maxSpent {
		return nil, refuse(reasonTooLarge, "Template error: a resolved value is larger than the limit of %d bytes. (line %d, column %d)", maxWeight, n.line, n.column)
	}
	return n, nil
}

func (e *evaluator) text(at *node, s string) (*node, error) { return e.made(newText(at, s), len(s)) }

// call makes a call that is left for later.
func (e *evaluator) call(at *node, name string, args ...*node) (*node, error) {
	list, err := e.list(at, args)
	if err != nil {
		return nil, err
	}
	return e.made(&node{kind: callNode, text: name, items: []*node{list}, line: at.line, column: at.column}, 1)
}

// list makes a list without the absent items.
func (e *evaluator) list(at *node, items []*node) (*node, error) {
	items = slices.DeleteFunc(items, func(n *node) bool { return n.kind == absentNode })
	return e.made(&node{kind: listNode, items: items, line: at.line, column: at.column}, 1+len(items))
}

func (e *evaluator) value(n *node) (*node, error) {
	switch n.kind {
	case callNode:
		return e.function(n)
	case listNode:
		items, err := e.all(n.items)
		if err != nil {
			return nil, err
		}
		return e.list(n, items)
	case objectNode:
		out := &node{kind: objectNode, line: n.line, column: n.column}
		for i, item := range n.items {
			v, err := e.value(item)
			if err != nil {
				return nil, err
			}
			if v.kind != absentNode {
				out.keys, out.items = append(out.keys, n.keys[i]), append(out.items, v)
			}
		}
		return e.made(out, 1+len(out.items))
	}
	return n, nil
}

func (e *evaluator) all(items []*node) ([]*node, error) {
	out := make([]*node, 0, len(items))
	for _, item := range items {
		v, err := e.value(item)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// function evaluates a call that the checker has seen.
func (e *evaluator) function(n *node) (*node, error) {
	switch n.text {
	case "Ref":
		return e.ref(n, n.items[0].text)
	case "Fn::GetAtt":
		id, attr, err := getAtt(n)
		if err != nil {
			return nil, err
		}
		return e.attribute(n, id, attr)
	case "Fn::Sub":
		return e.sub(n)
	case "Fn::If":
		return e.choose(n)
	case "Fn::Base64":
		v, err := e.value(n.items[0])
		if err != nil || v.kind == callNode {
			return e.later(n, v, err)
		}
		s, ok := v.scalar()
		if !ok {
			return nil, refuse(reasonFunction, "Template error: every Fn::Base64 object must have a String-typed value.")
		}
		return e.text(n, base64.StdEncoding.EncodeToString([]byte(s)))
	}
	args, err := e.all(n.items[0].items)
	if err != nil {
		return nil, err
	}
	switch n.text {
	case "Fn::Join":
		return e.join(n, args)
	case "Fn::Select":
		return e.pick(n, args)
	case "Fn::Split":
		return e.split(n, args)
	case "Fn::FindInMap":
		return e.find(n, args)
	}
	return nil, unsupportedFunction(n.text, n)
}

// later keeps a call of one argument for when the argument is known.
func (e *evaluator) later(n, arg *node, err error) (*node, error) {
	if err != nil {
		return nil, err
	}
	return e.made(&node{kind: callNode, text: n.text, items: []*node{arg}, line: n.line, column: n.column}, 1)
}

func (e *evaluator) ref(n *node, name string) (*node, error) {
	if p := e.t.parameter(name); p != nil {
		v := p.node(e.values[name])
		return e.made(v, weightOf(v))
	}
	switch name {
	case "AWS::AccountId":
		return e.text(n, e.env.Account)
	case "AWS::Region":
		return e.text(n, e.env.Region)
	case "AWS::Partition":
		return e.text(n, e.env.Partition)
	case "AWS::StackName":
		return e.text(n, e.env.StackName)
	case "AWS::StackId":
		return e.text(n, e.env.StackID)
	case "AWS::URLSuffix":
		return e.text(n, e.env.suffix())
	case "AWS::NoValue":
		return &node{kind: absentNode, line: n.line, column: n.column}, nil
	case "AWS::NotificationARNs":
		var items []*node
		for _, arn := range e.env.NotificationARNs {
			items = append(items, newText(n, arn))
		}
		return e.list(n, items)
	}
	return e.attribute(n, name, RefAttr)
}

// attribute asks the resource, or leaves a call in its one form for later.
func (e *evaluator) attribute(n *node, id, attr string) (*node, error) {
	if e.attrs != nil {
		s, ok := e.attrs(id, attr)
		if !ok {
			return nil, refuse(reasonReference, "Template error: resource %s has no value for %s yet", id, attrName(attr))
		}
		return e.text(n, s)
	}
	if attr == RefAttr {
		return e.made(&node{kind: callNode, text: "Ref", items: []*node{newText(n, id)}, line: n.line, column: n.column}, 1)
	}
	return e.call(n, "Fn::GetAtt", newText(n, id), newText(n, attr))
}

func attrName(attr string) string {
	if attr == RefAttr {
		return "Ref"
	}
	return attr
}

func (e *evaluator) sub(n *node) (*node, error) {
	text, own, err := subArguments(n)
	if err != nil {
		return nil, err
	}
	parts, err := splitSub(text)
	if err != nil {
		return nil, err
	}
	known := map[string]*node{}
	items := make([]*node, 0, len(parts))
	for _, p := range parts {
		if p.variable == "" {
			items = append(items, newText(n, p.literal))
			continue
		}
		v := known[p.variable]
		if v == nil {
			if v, err = e.variable(n, own, p.variable); err != nil {
				return nil, err
			}
			known[p.variable] = v
		}
		items = append(items, v)
	}
	list, err := e.list(n, items)
	if err != nil {
		return nil, err
	}
	return e.join(n, []*node{newText(n, ""), list})
}

func (e *evaluator) variable(n, own *node, name string) (v *node, err error) {
	if given := own.get(name); given != nil {
		v, err = e.value(given)
	} else if id, attr, dotted := strings.Cut(name, "."); dotted {
		v, err = e.attribute(n, id, attr)
	} else {
		v, err = e.ref(n, name)
	}
	if err != nil {
		return nil, err
	}
	if _, ok := v.scalar(); !ok && v.kind != callNode {
		return nil, refuse(reasonFunction, "Template error: variable %s in Fn::Sub expression does not resolve to a string", name)
	}
	return v, nil
}

func (e *evaluator) join(n *node, args []*node) (*node, error) {
	switch {
	case len(args) != 2:
		return nil, badJoin()
	case args[1].kind == callNode || args[1].kind == listNode && slices.ContainsFunc(args[1].items, isPending):
		return e.call(n, "Fn::Join", args...)
	case args[1].kind != listNode || args[0].kind != textNode:
		return nil, badJoin()
	}
	size := len(args[0].text) * len(args[1].items)
	for _, item := range args[1].items {
		size += len(item.text)
	}
	if size > maxWeight {
		return nil, refuse(reasonTooLarge, "Template error: a resolved value is larger than the limit of %d bytes. (line %d, column %d)", maxWeight, n.line, n.column)
	}
	texts := make([]string, len(args[1].items))
	for i, item := range args[1].items {
		s, ok := item.scalar()
		if !ok {
			return nil, badJoin()
		}
		texts[i] = s
	}
	return e.text(n, strings.Join(texts, args[0].text))
}

func badJoin() error {
	return refuse(reasonFunction, "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined.")
}

func isPending(n *node) bool { return n.kind == callNode }

func (e *evaluator) pick(n *node, args []*node) (*node, error) {
	if len(args) != 2 {
		return nil, refuse(reasonFunction, "Template error: Fn::Select requires a list argument with two elements: an integer index and a list")
	}
	if isPending(args[0]) || isPending(args[1]) {
		return e.call(n, n.text, args...)
	}
	index, _ := args[0].scalar()
	i, err := strconv.Atoi(index)
	if err != nil || args[1].kind != listNode {
		return nil, refuse(reasonFunction, "Template error: Fn::Select requires a list argument with two elements: an integer index and a list")
	}
	if i < 0 || i >= len(args[1].items) {
		return nil, refuse(reasonFunction, "Template error: Fn::Select cannot select nonexistent value at index %d", i)
	}
	return args[1].items[i], nil
}

func (e *evaluator) split(n *node, args []*node) (*node, error) {
	if len(args) == 2 && isPending(args[1]) {
		return e.call(n, n.text, args...)
	}
	if len(args) == 2 && args[0].kind == textNode && args[0].text != "" {
		if s, ok := args[1].scalar(); ok {
			var items []*node
			for part := range strings.SplitSeq(s, args[0].text) {
				items = append(items, newText(n, part))
			}
			return e.list(n, items)
		}
	}
	return nil, refuse(reasonFunction, "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns a string to be split.")
}

// find looks in a mapping. Its keys cannot depend on a resource: mappings choose what is made.
func (e *evaluator) find(n *node, args []*node) (*node, error) {
	names := make([]string, 0, 3)
	for _, arg := range args {
		s, ok := arg.scalar()
		if !ok {
			return nil, refuse(reasonFunction, "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value, which do not depend on a resource. (line %d, column %d)", n.line, n.column)
		}
		names = append(names, s)
	}
	if len(names) == 3 {
		if v := e.t.mappings[names[0]][names[1]][names[2]]; v != nil {
			return e.value(v)
		}
	}
	return nil, refuse(reasonReference, "Template error: Unable to get mapping for %s", e.shown(strings.Join(names, "::")))
}

// shown takes the values of NoEcho parameters out of a text for a person.
func (e *evaluator) shown(s string) string {
	for i := range e.t.parameters {
		if v := e.values[e.t.parameters[i].Key]; e.t.parameters[i].NoEcho && v != "" {
			s = strings.ReplaceAll(s, v, hidden)
		}
	}
	return s
}

func (e *evaluator) choose(n *node) (*node, error) {
	args := n.items[0].items
	yes, err := e.holds(args[0].text)
	if err != nil {
		return nil, err
	}
	if yes {
		return e.value(args[1])
	}
	return e.value(args[2])
}
