// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

// holds returns the value of a named condition, which is found out once.
func (e *evaluator) holds(name string) (bool, error) {
	if v, ok := e.conditions[name]; ok {
		return v, nil
	}
	n, ok := e.t.conditions[name]
	if !ok {
		return false, refuse(reasonReference, "Template format error: Unresolved condition dependency %s", name)
	}
	v, err := e.condition(n)
	if err == nil {
		e.conditions[name] = v
	}
	return v, err
}

// condition evaluates a condition that the checker has seen: it has the right operands and does not lead to itself.
func (e *evaluator) condition(n *node) (bool, error) {
	if name, ok := conditionName(n); ok {
		return e.holds(name)
	}
	args := n.items[0].items
	if n.text == "Fn::Equals" {
		return e.same(args)
	}
	all, any := true, false
	for _, arg := range args {
		v, err := e.condition(arg)
		if err != nil {
			return false, err
		}
		all, any = all && v, any || v
	}
	switch n.text {
	case "Fn::And":
		return all, nil
	case "Fn::Or":
		return any, nil
	}
	return !all, nil // Fn::Not has one operand
}

// same compares two values as text: true and "true" are the same, as numbers and their text are. Lists compare by item.
func (e *evaluator) same(args []*node) (bool, error) {
	values, err := e.all(args)
	if err != nil {
		return false, err
	}
	a, aPlain := values[0].scalar()
	b, bPlain := values[1].scalar()
	if aPlain && bPlain {
		return a == b, nil
	}
	if values[0].kind == listNode && values[1].kind == listNode {
		return equal(values[0], values[1]), nil
	}
	return false, refuse(reasonFunction, "Template error: every Fn::Equals object requires a list of 2 string parameters.")
}
