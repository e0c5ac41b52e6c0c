// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// An Update is the difference of a resource's properties before and after.
type Update struct {
	Changed []string // property names; none when nothing is to be done
	Replace bool     // a changed property cannot change on the existing resource
}

// Compare compares the resolved properties of a resource. Documents are the same when they say the same; tags, policies and
// lists of names are the same in any order. A different type replaces.
func Compare(before, after Properties) Update {
	if before.ResourceType() != after.ResourceType() {
		return Update{Changed: []string{"Type"}, Replace: true}
	}
	was, is := members(before), members(after)
	names := map[string]bool{}
	for name := range was {
		names[name] = true
	}
	for name := range is {
		names[name] = true
	}
	rt, _ := typeOf(after.ResourceType())
	var u Update
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if reflect.DeepEqual(canonical(name, was[name]), canonical(name, is[name])) {
			continue
		}
		u.Changed = append(u.Changed, name)
		if p, ok := rt.property(name); !ok || p.replaces {
			u.Replace = true
		}
	}
	return u
}

// members returns properties by name, as JSON's values.
func members(p Properties) map[string]any {
	data, err := json.Marshal(p)
	if err != nil {
		return nil // cannot be: texts, numbers, booleans and lists of them
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return nil // cannot be: just written
	}
	return m
}

// canonical reads documents and sorts the lists outside of them, so that what means the same is the same.
func canonical(name string, v any) any {
	switch v := v.(type) {
	case string:
		var parsed map[string]any
		if (name == "Policy" || strings.HasSuffix(name, "Document")) && json.Unmarshal([]byte(v), &parsed) == nil {
			return parsed
		}
	case map[string]any:
		for key := range v {
			v[key] = canonical(key, v[key])
		}
	case []any:
		for i := range v {
			v[i] = canonical(name, v[i])
		}
		slices.SortFunc(v, func(a, b any) int { return strings.Compare(written(a), written(b)) })
	}
	return v
}

func written(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return "" // cannot be: read from JSON
	}
	return string(data)
}

// The words of change sets.
const (
	Add    = "Add"
	Modify = "Modify"
	Remove = "Remove"

	ReplacementTrue        = "True"
	ReplacementFalse       = "False"
	ReplacementConditional = "Conditional"
)

// A Change is a line of a change set. Replacement is empty unless Action is Modify.
type Change struct {
	Action          string
	LogicalID, Type string
	Replacement     string
	Scope           []string
	Details         []Detail
}

// A Detail says why a resource is modified. RequiresRecreation is Never, Always or Conditionally. Evaluation is Static when the
// template or its parameters say a new value, Dynamic when the value depends on CausingEntity, which is being replaced.
type Detail struct {
	Property           string
	RequiresRecreation string
	Evaluation         string
	CausingEntity      string
}

// Diff returns what turning one bound template into another does, in the order of execution: additions and modifications, then
// removals. No before means that there is no stack yet. A resource may not change its type.
func Diff(before, after *Bound) ([]Change, error) {
	if before == nil {
		before = &Bound{}
	}
	var changes []Change
	var retyped []string
	replaced := map[string]bool{}
	for _, id := range after.order {
		is, was := after.resources[id], before.resources[id]
		switch {
		case was == nil:
			changes = append(changes, Change{Action: Add, LogicalID: id, Type: is.Type})
		case was.Type != is.Type:
			retyped = append(retyped, id)
		default:
			if c := modify(was, is, replaced); len(c.Details) > 0 {
				replaced[id] = c.Replacement != ReplacementFalse
				changes = append(changes, c)
			}
		}
	}
	if len(retyped) > 0 {
		slices.Sort(retyped)
		return nil, refuse(reasonResourceType, "Update of resource type is not permitted. The new template modifies resource type of the following resources: [%s]", strings.Join(retyped, ", "))
	}
	for _, id := range slices.Backward(before.order) {
		if after.resources[id] == nil {
			changes = append(changes, Change{Action: Remove, LogicalID: id, Type: before.resources[id].Type})
		}
	}
	return changes, nil
}

// modify compares one resource, property by property. What waits for a resource changes when that is replaced.
func modify(was, is *boundResource, replaced map[string]bool) Change {
	c := Change{Action: Modify, LogicalID: is.LogicalID, Type: is.Type, Replacement: ReplacementFalse, Scope: []string{"Properties"}}
	names := append(slices.Clone(was.tree.keys), is.tree.keys...)
	slices.Sort(names)
	rt, _ := typeOf(is.Type)
	for _, name := range slices.Compact(names) {
		p, _ := rt.property(name)
		d := Detail{Property: name, RequiresRecreation: "Never", Evaluation: "Static"}
		if now := is.tree.get(name); equal(was.tree.get(name), now) {
			if d.CausingEntity = cause(now, replaced); d.CausingEntity == "" {
				continue
			}
			d.Evaluation = "Dynamic"
		}
		switch {
		case p.replaces && d.Evaluation == "Static":
			d.RequiresRecreation = "Always"
			c.Replacement = ReplacementTrue
		case p.replaces:
			d.RequiresRecreation = "Conditionally"
			if c.Replacement == ReplacementFalse {
				c.Replacement = ReplacementConditional
			}
		}
		c.Details = append(c.Details, d)
	}
	return c
}

// cause returns the first replaced resource that a value waits for, as Role1 or Role1.Arn.
func cause(n *node, replaced map[string]bool) string {
	if n == nil {
		return ""
	}
	if id, attr, ok := reference(n); ok {
		switch {
		case !replaced[id]:
			return ""
		case attr == RefAttr:
			return id
		}
		return id + "." + attr
	}
	for _, item := range n.items {
		if entity := cause(item, replaced); entity != "" {
			return entity
		}
	}
	return ""
}
