// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// AWS' names of the blocks of a template, as messages have them.
const (
	inResources  = "Resources"
	inOutputs    = "Outputs"
	inConditions = "Conditions"
)

// A checker follows every function of a template, on branches not taken too: what is wrong with the text is said before
// parameters are known.
type checker struct {
	t          *Template
	block      string
	unresolved []string
	// use, if not nil, is told each resource that a value refers to outside of Fn::If.
	use   func(id string)
	under int // Fn::If around the value
}

func (t *Template) check() error {
	for i := range t.parameters {
		if key := t.parameters[i].Key; t.resources[key] != nil {
			return refuse(reasonFormat, "Template format error: %s names both a parameter and a resource.", key)
		}
	}
	if err := t.checkConditions(); err != nil {
		return err
	}
	graph, err := t.checkResources()
	if err != nil {
		return err
	}
	if err := t.checkOutputs(); err != nil {
		return err
	}
	_, err = graph.order()
	return err
}

func (t *Template) checkConditions() error {
	c := &checker{t: t, block: inConditions}
	for _, name := range slices.Sorted(maps.Keys(t.conditions)) {
		if err := c.condition(t.conditions[name]); err != nil {
			return err
		}
	}
	if err := c.done(); err != nil {
		return err
	}
	g := graph{}
	for name, n := range t.conditions {
		g[name] = conditionsIn(n, nil)
	}
	if cycle := g.cycle(); len(cycle) > 0 {
		return refuse(reasonCircular, "Template format error: Circular dependency between conditions: [%s]", strings.Join(cycle, ", "))
	}
	return nil
}

// conditionsIn adds the names of the conditions that a condition asks.
func conditionsIn(n *node, names []string) []string {
	if name, ok := conditionName(n); ok {
		return append(names, name)
	}
	for _, item := range n.items {
		names = conditionsIn(item, names)
	}
	return names
}

// conditionName returns the name in {"Condition": name}.
func conditionName(n *node) (string, bool) {
	if n.kind == objectNode && len(n.keys) == 1 && n.keys[0] == "Condition" && n.items[0].kind == textNode {
		return n.items[0].text, true
	}
	return "", false
}

// checkResources returns what depends on what whatever the parameters are.
func (t *Template) checkResources() (graph, error) {
	g := graph{}
	c := &checker{t: t, block: inResources}
	for _, id := range slices.Sorted(maps.Keys(t.resources)) {
		r := t.resources[id]
		if err := c.named(r.condition); err != nil {
			return nil, err
		}
		always := r.condition == ""
		g[id] = nil
		c.use = func(on string) {
			if always && c.under == 0 && t.resources[on].condition == "" && !slices.Contains(g[id], on) {
				g[id] = append(g[id], on)
			}
		}
		for _, on := range r.dependsOn {
			c.resource(on)
		}
		if err := c.value(r.properties); err != nil {
			return nil, err
		}
	}
	return g, c.done()
}

func (t *Template) checkOutputs() error {
	c := &checker{t: t, block: inOutputs}
	for _, o := range t.outputs {
		if err := c.named(o.condition); err != nil {
			return err
		}
		if err := c.value(o.value); err != nil {
			return err
		}
		if o.export == nil {
			continue
		}
		if err := c.value(o.export); err != nil {
			return err
		}
	}
	return c.done()
}

// done refuses the references that led nowhere.
func (c *checker) done() error {
	if len(c.unresolved) == 0 {
		return nil
	}
	slices.Sort(c.unresolved)
	names := strings.Join(slices.Compact(c.unresolved), ", ")
	if c.block == inConditions {
		return refuse(reasonReference, "Template format error: Unresolved dependencies [%s]. Cannot reference resources in the Conditions block of the template", names)
	}
	return refuse(reasonReference, "Template format error: Unresolved resource dependencies [%s] in the %s block of the template", names, c.block)
}

// named checks the name of a condition; "" is none.
func (c *checker) named(condition string) error {
	if _, ok := c.t.conditions[condition]; !ok && condition != "" {
		return refuse(reasonReference, "Template format error: Unresolved condition dependency %s in the %s block of the template", condition, c.block)
	}
	return nil
}

func (c *checker) resource(id string) {
	if c.t.resources[id] == nil || c.block == inConditions {
		c.unresolved = append(c.unresolved, id)
		return
	}
	if c.use != nil {
		c.use(id)
	}
}

func (c *checker) ref(name string) {
	if c.t.parameter(name) == nil && !isPseudo(name) {
		c.resource(name)
	}
}

func (c *checker) attribute(id, attr string) error {
	r := c.t.resources[id]
	if r == nil || c.block == inConditions {
		return refuse(reasonReference, "Template error: instance of Fn::GetAtt references undefined resource %s", id)
	}
	if !slices.Contains(Attributes(r.kind), attr) {
		return refuse(reasonReference, "Template error: resource %s does not support attribute type %s in Fn::GetAtt", id, attr)
	}
	c.resource(id)
	return nil
}

// condition checks a condition's definition, or an operand of one.
func (c *checker) condition(n *node) error {
	if name, ok := conditionName(n); ok {
		return c.named(name)
	}
	if n.kind != callNode {
		return refuse(reasonFunction, "Template format error: Every Condition member must be a condition function. (line %d, column %d)", n.line, n.column)
	}
	args := n.items[0]
	count := len(args.items)
	switch n.text {
	case "Fn::Equals":
		if args.kind != listNode || count != 2 {
			return refuse(reasonFunction, "Template error: every Fn::Equals object requires a list of 2 string parameters.")
		}
		return c.values(args.items)
	case "Fn::And", "Fn::Or":
		if args.kind != listNode || count < 2 || count > 10 {
			return refuse(reasonFunction, "Template error: every %s object requires a list of at least 2 and at most 10 boolean parameters.", n.text)
		}
	case "Fn::Not":
		if args.kind != listNode || count != 1 {
			return refuse(reasonFunction, "Template error: every Fn::Not object requires a list of 1 boolean parameter.")
		}
	default:
		return refuse(reasonFunction, "Template format error: %s is not a condition function. (line %d, column %d)", n.text, n.line, n.column)
	}
	for _, item := range args.items {
		if err := c.condition(item); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) values(items []*node) error {
	for _, item := range items {
		if err := c.value(item); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) value(n *node) error {
	if n.kind != callNode {
		return c.values(n.items)
	}
	arg := n.items[0]
	switch n.text {
	case "Ref":
		if arg.kind != textNode || arg.text == "" {
			return refuse(reasonFunction, "Template error: every Ref object must have a single String value.")
		}
		c.ref(arg.text)
		return nil
	case "Fn::GetAtt":
		id, attr, err := getAtt(n)
		if err != nil {
			return err
		}
		return c.attribute(id, attr)
	case "Fn::Sub":
		return c.sub(n)
	case "Fn::If":
		if arg.kind != listNode || len(arg.items) != 3 || arg.items[0].kind != textNode {
			return refuse(reasonFunction, "Template error: every Fn::If object requires a list of 3 parameters, the first of which is the name of a condition.")
		}
		if c.block == inConditions {
			return refuse(reasonFunction, "Template format error: Fn::If cannot be used in the Conditions block of the template")
		}
		if err := c.named(arg.items[0].text); err != nil {
			return err
		}
		c.under++
		err := c.values(arg.items[1:])
		c.under--
		return err
	}
	if err := shape(n); err != nil {
		return err
	}
	if name := arg.items; n.text == "Fn::FindInMap" && name[0].kind == textNode && c.t.mappings[name[0].text] == nil {
		return refuse(reasonReference, "Template error: Mapping named '%s' is not present in the 'Mappings' section of template.", name[0].text)
	}
	return c.value(arg)
}

// shape checks the argument of the functions whose operands are values.
func shape(n *node) error {
	arg := n.items[0]
	count := -1
	if arg.kind == listNode {
		count = len(arg.items)
	}
	switch n.text {
	case "Fn::Join":
		if count != 2 || arg.items[0].kind != textNode || !mayBe(arg.items[1], listNode) {
			return badJoin()
		}
	case "Fn::Select":
		if count != 2 || !mayBe(arg.items[1], listNode) {
			return refuse(reasonFunction, "Template error: Fn::Select requires a list argument with two elements: an integer index and a list")
		}
	case "Fn::Split":
		if count != 2 || arg.items[0].kind != textNode || arg.items[0].text == "" || !mayBe(arg.items[1], textNode) {
			return refuse(reasonFunction, "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns a string to be split.")
		}
	case "Fn::FindInMap":
		if count != 3 {
			return refuse(reasonFunction, "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value")
		}
	case "Fn::Base64":
		if !mayBe(arg, textNode) {
			return refuse(reasonFunction, "Template error: every Fn::Base64 object must have a String-typed value.")
		}
	case "Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not":
		return refuse(reasonFunction, "Template format error: %s can be used in the Conditions block of the template only. (line %d, column %d)", n.text, n.line, n.column)
	default:
		return unsupportedFunction(n.text, n)
	}
	return nil
}

func mayBe(n *node, kind nodeKind) bool { return n.kind == kind || n.kind == callNode }

func unsupportedFunction(name string, n *node) error {
	return refuse(reasonUnsupported, "Template format error: the function %s is not supported. (line %d, column %d)", name, n.line, n.column)
}

// getAtt reads both forms: ["Role1", "Arn"] and "Role1.Arn".
func getAtt(n *node) (id, attr string, err error) {
	arg := n.items[0]
	switch {
	case arg.kind == textNode:
		id, attr, _ = strings.Cut(arg.text, ".")
	case arg.kind == listNode && len(arg.items) == 2 && arg.items[0].kind == textNode && arg.items[1].kind == textNode:
		id, attr = arg.items[0].text, arg.items[1].text
	}
	if id == "" || attr == "" {
		return "", "", refuse(reasonFunction, "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute")
	}
	return id, attr, nil
}

// sub checks Fn::Sub: its own variables, and the references of its text.
func (c *checker) sub(n *node) error {
	text, own, err := subArguments(n)
	if err != nil {
		return err
	}
	if own != nil {
		if err := c.values(own.items); err != nil {
			return err
		}
	}
	parts, err := splitSub(text)
	if err != nil {
		return err
	}
	for _, p := range parts {
		switch id, attr, dotted := strings.Cut(p.variable, "."); {
		case p.variable == "" || own.get(p.variable) != nil:
		case dotted:
			if err := c.attribute(id, attr); err != nil {
				return err
			}
		default:
			c.ref(p.variable)
		}
	}
	return nil
}

// subArguments returns the text of a Fn::Sub and its own variables, or nil.
func subArguments(n *node) (text string, own *node, err error) {
	arg := n.items[0]
	if arg.kind == textNode {
		return arg.text, nil, nil
	}
	if arg.kind == listNode && len(arg.items) == 2 && arg.items[0].kind == textNode && arg.items[1].kind == objectNode {
		return arg.items[0].text, arg.items[1], nil
	}
	return "", nil, refuse(reasonFunction, "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string")
}

// A subPart is a piece of a Fn::Sub's text: as it stands, or a variable.
type subPart struct{ literal, variable string }

var variableName = regexp.MustCompile(`^[A-Za-z0-9_.:]+$`)

// splitSub cuts a text at ${…}; ${!x} stands for the text ${x}.
func splitSub(text string) ([]subPart, error) {
	var parts []subPart
	for {
		before, after, found := strings.Cut(text, "${")
		if before != "" {
			parts = append(parts, subPart{literal: before})
		}
		if !found {
			return parts, nil
		}
		name, rest, closed := strings.Cut(after, "}")
		switch {
		case closed && strings.HasPrefix(name, "!"):
			parts = append(parts, subPart{literal: "${" + name[1:] + "}"})
		case !closed || !variableName.MatchString(name):
			return nil, refuse(reasonFunction, "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and colons")
		default:
			parts = append(parts, subPart{variable: name})
		}
		text = rest
	}
}
