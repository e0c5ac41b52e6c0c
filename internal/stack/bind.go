// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// hidden stands for the value of a NoEcho parameter.
const hidden = "****"

// A Bound is a template with its parameters and conditions settled: the resources that will be, in order. Nothing of it prints
// parameters, because some may be secrets. It is safe for concurrent use.
type Bound struct {
	t         *Template
	env       Env
	values    map[string]string
	resources map[string]*boundResource
	order     []string
	outputs   []output // values as far as known
}

type boundResource struct {
	Resource

	tree *node // properties as far as known
}

// A Resource is one step of the plan.
type Resource struct {
	LogicalID    string
	Type         string
	Dependencies []string // what has to exist before, by name
	// DeletionPolicy is for a resource that leaves its stack, UpdateReplacePolicy for what a replacement leaves behind.
	DeletionPolicy, UpdateReplacePolicy RetentionPolicy
}

// A BoundParameter is a parameter's value as it may be shown: that of a NoEcho parameter is ****.
type BoundParameter struct{ Key, Value string }

// An Output is what a stack tells about itself. ExportName is empty when there is none.
type Output struct{ Key, Value, Description, ExportName string }

// String says which stack this is.
func (b *Bound) String() string { return "stack " + b.env.StackName }

// GoString is String: %#v shows no parameters either.
func (b *Bound) GoString() string { return b.String() }

// LogValue is String.
func (b *Bound) LogValue() slog.Value { return slog.StringValue(b.String()) }

// Bind settles a template: each parameter has a value (params, or its default) that keeps its rules, conditions choose the
// resources, these refer only to chosen ones and not in a circle, and their properties are known, complete and of the right
// type as far as values are known.
func (t *Template) Bind(params map[string]string, env Env) (*Bound, error) {
	values, err := t.bindParameters(params)
	if err != nil {
		return nil, err
	}
	env.NotificationARNs = slices.Clone(env.NotificationARNs)
	b := &Bound{t: t, env: env, values: values, resources: map[string]*boundResource{}}
	e := b.evaluator(nil)
	for _, name := range slices.Sorted(maps.Keys(t.conditions)) {
		if _, err := e.holds(name); err != nil {
			return nil, err
		}
	}
	if err := b.bindResources(e); err != nil {
		return nil, err
	}
	return b, b.bindOutputs(e)
}

func (b *Bound) evaluator(attrs Attrs) *evaluator {
	return &evaluator{t: b.t, env: b.env, values: b.values, conditions: map[string]bool{}, attrs: attrs}
}

func (b *Bound) bindResources(e *evaluator) error {
	for _, id := range slices.Sorted(maps.Keys(b.t.resources)) {
		r := b.t.resources[id]
		if r.condition != "" && !e.conditions[r.condition] {
			continue
		}
		tree, err := e.value(r.properties)
		if err != nil {
			return err
		}
		if _, err := decode(r.kind, tree, true); err != nil {
			return refuse(reasonProperty, "[/Resources/%s/Properties] %s", id, err)
		}
		b.resources[id] = &boundResource{
			Resource: Resource{LogicalID: id, Type: r.kind, DeletionPolicy: r.onDelete, UpdateReplacePolicy: r.onReplace},
			tree:     tree,
		}
	}
	if len(b.resources) == 0 {
		return refuse(reasonFormat, "Template format error: At least one Resources member must be defined.")
	}
	return b.bindDependencies()
}

// bindDependencies finds the order. DependsOn of a resource whose condition does not hold asks for nothing.
func (b *Bound) bindDependencies() (err error) {
	g := graph{}
	var missing []string
	for id, r := range b.resources {
		needs := resourcesIn(r.tree, nil)
		missing = append(missing, b.absent(needs)...)
		for _, on := range b.t.resources[id].dependsOn {
			if b.resources[on] != nil {
				needs = append(needs, on)
			}
		}
		slices.Sort(needs)
		r.Dependencies = slices.Compact(needs)
		g[id] = r.Dependencies
	}
	if err := unresolved(missing, inResources); err != nil {
		return err
	}
	b.order, err = g.order()
	return err
}

// absent returns those of the resources that the conditions have left out.
func (b *Bound) absent(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return b.resources[id] != nil })
}

func unresolved(missing []string, block string) error {
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return refuse(reasonReference, "Template format error: Unresolved resource dependencies [%s] in the %s block of the template", strings.Join(slices.Compact(missing), ", "), block)
}

// resourcesIn adds the resources that a value waits for.
func resourcesIn(n *node, ids []string) []string {
	if id, _, ok := reference(n); ok {
		return append(ids, id)
	}
	for _, item := range n.items {
		ids = resourcesIn(item, ids)
	}
	return ids
}

// reference returns what a Ref or Fn::GetAtt that is left asks for.
func reference(n *node) (id, attr string, ok bool) {
	switch {
	case n.isCall("Ref"):
		return n.items[0].text, RefAttr, true
	case n.isCall("Fn::GetAtt"):
		id, attr, err := getAtt(n)
		return id, attr, err == nil
	}
	return "", "", false
}

func (b *Bound) bindOutputs(e *evaluator) (err error) {
	var missing []string
	for _, o := range b.t.outputs {
		if o.condition != "" && !e.conditions[o.condition] {
			continue
		}
		if o.value, err = e.value(o.value); err != nil {
			return err
		}
		missing = append(missing, b.absent(resourcesIn(o.value, nil))...)
		if o.export != nil {
			if o.export, err = e.value(o.export); err != nil {
				return err
			}
			missing = append(missing, b.absent(resourcesIn(o.export, nil))...)
		}
		b.outputs = append(b.outputs, o)
	}
	return unresolved(missing, inOutputs)
}

// Order returns the resources, each after those that it depends on and otherwise by name. Deletion goes the other way.
func (b *Bound) Order() []Resource {
	plan := make([]Resource, len(b.order))
	for i, id := range b.order {
		plan[i] = b.resources[id].Resource
		plan[i].Dependencies = slices.Clone(plan[i].Dependencies)
	}
	return plan
}

// Properties returns the properties of a resource of the plan, with what attrs says about the resources that it depends on.
func (b *Bound) Properties(logicalID string, attrs Attrs) (Properties, error) {
	r := b.resources[logicalID]
	if r == nil {
		return nil, refuse(reasonReference, "Template format error: Unresolved resource dependencies [%s] in the Resources block of the template", logicalID)
	}
	tree, err := b.evaluator(attrs).value(r.tree)
	if err != nil {
		return nil, err
	}
	return decode(r.Type, tree, false)
}

// Outputs returns the outputs whose conditions hold, in the order of the template.
func (b *Bound) Outputs(attrs Attrs) ([]Output, error) {
	e := b.evaluator(attrs)
	outputs := make([]Output, 0, len(b.outputs))
	for _, o := range b.outputs {
		value, err := e.value(o.value)
		if err != nil {
			return nil, err
		}
		text, ok := value.scalar()
		if !ok {
			return nil, refuse(reasonFormat, "Template format error: Output %s is malformed. The Value field of every Outputs member must evaluate to a String.", o.key)
		}
		out := Output{Key: o.key, Value: text, Description: o.description}
		if o.export != nil {
			if value, err = e.value(o.export); err != nil {
				return nil, err
			}
			if out.ExportName, ok = value.scalar(); !ok || out.ExportName == "" || len(out.ExportName) > maxName {
				return nil, refuse(reasonFormat, "Template format error: Output %s is malformed. The Name field of every Export member must evaluate to a String of 1 to %d bytes.", o.key, maxName)
			}
		}
		outputs = append(outputs, out)
	}
	return outputs, nil
}

// Parameters returns the values of the parameters as they may be shown, in the order of the template.
func (b *Bound) Parameters() []BoundParameter {
	shown := make([]BoundParameter, 0, len(b.t.parameters))
	for i := range b.t.parameters {
		p := BoundParameter{Key: b.t.parameters[i].Key, Value: b.values[b.t.parameters[i].Key]}
		if b.t.parameters[i].NoEcho {
			p.Value = hidden
		}
		shown = append(shown, p)
	}
	return shown
}

// Values returns the values of all parameters, secrets included: for a sealed record, never for a log or an answer.
func (b *Bound) Values() map[string]string { return maps.Clone(b.values) }
