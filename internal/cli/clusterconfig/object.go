// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfig

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A reader reads the trees of one file and gathers its faults.
type reader struct {
	file    string
	faults  []error
	ignored []string
	budget  int // nodes that may still be visited: aliases can multiply
}

const (
	maxNodes  = 500_000
	maxDepth  = 64
	maxFaults = 20
)

func (r *reader) place(n *yaml.Node) Place { return Place{r.file, n.Line} }

func (r *reader) fault(n *yaml.Node, format string, args ...any) {
	r.faultAt(n.Line, format, args...)
}

func (r *reader) faultAt(line int, format string, args ...any) {
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, fmt.Errorf("%s: %s", Place{r.file, line}, fmt.Sprintf(format, args...)))
	}
}

// visit follows an alias. It is nil when the file's tree is too large.
func (r *reader) visit(n *yaml.Node) *yaml.Node {
	for hops := 0; n.Kind == yaml.AliasNode && hops < maxDepth; hops++ {
		n = n.Alias
	}
	if r.budget--; r.budget < 0 || n.Kind == yaml.AliasNode {
		if r.budget == -1 {
			r.fault(n, "more than %d values, aliases counted", maxNodes)
		}
		return nil
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// An object is a mapping whose members are taken one by one; what is left is
// unknown.
type object struct {
	r     *reader
	path  string // for messages: "", "iam."
	node  *yaml.Node
	keys  []*yaml.Node
	value map[string]*yaml.Node
	known []string
}

// object reads a mapping; nil when it is none, which is a fault.
func (r *reader) object(n *yaml.Node, path string) *object {
	n = r.visit(n)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		r.fault(n, "%s must be an object", strings.TrimSuffix(path, "."))
		return nil
	}
	o := &object{r: r, path: path, node: n, value: map[string]*yaml.Node{}}
	o.gather(n, 0)
	return o
}

// gather takes a mapping's members; those of merged mappings come after its
// own and do not replace them.
func (o *object) gather(n *yaml.Node, depth int) {
	var merged []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.ShortTag() == "!!merge":
			merged = append(merged, v)
		case k.Kind != yaml.ScalarNode:
			o.r.fault(k, "%sa name must be a string", o.path)
		case own[k.Value]:
			o.r.fault(k, "%s%s is given twice", o.path, k.Value)
		default:
			own[k.Value] = true
			if _, ok := o.value[k.Value]; !ok {
				o.keys = append(o.keys, k)
				o.value[k.Value] = v
			}
		}
	}
	for _, m := range merged {
		o.merge(m, depth)
	}
}

func (o *object) merge(m *yaml.Node, depth int) {
	from := o.r.visit(m)
	switch {
	case from == nil:
	case depth >= maxDepth:
		o.r.fault(m, "%smerged too deeply", o.path)
	case from.Kind == yaml.MappingNode:
		o.gather(from, depth+1)
	case from.Kind == yaml.SequenceNode:
		for _, item := range from.Content {
			o.merge(item, depth+1)
		}
	default:
		o.r.fault(m, "%s<< must name an object", o.path)
	}
}

// take is the member's value, nil when it is absent or null.
func (o *object) take(name string) *yaml.Node {
	o.known = append(o.known, name)
	v, ok := o.value[name]
	if !ok {
		return nil
	}
	if v = o.r.visit(v); v == nil || isNull(v) {
		return nil
	}
	return v
}

// text reads a string.
func (o *object) text(name string, to *string) {
	if v := o.take(name); v != nil {
		*to, _ = o.r.scalar(v, o.path+name)
	}
}

// scalar reads a string. A plain date is one, as it is for eksctl.
func (r *reader) scalar(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" && n.ShortTag() != "!!timestamp" {
		r.fault(n, "%s must be a string; numbers, true and false need quotes", path)
		return "", false
	}
	return n.Value, true
}

// digits reads a string of digits, quoted or not.
func (o *object) digits(name string, length int, to *string) {
	v := o.take(name)
	if v == nil {
		return
	}
	if v.Kind != yaml.ScalarNode || len(v.Value) != length || strings.Trim(v.Value, "0123456789") != "" {
		o.r.fault(v, "%s%s must be %d digits", o.path, name, length)
		return
	}
	*to = v.Value
}

// truth reads a boolean, in the forms that eksctl's YAML has too.
func (o *object) truth(name string, to *bool) {
	v := o.take(name)
	if v == nil {
		return
	}
	switch {
	case v.Kind != yaml.ScalarNode || v.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		o.r.fault(v, "%s%s must be true or false", o.path, name)
	case slices.Contains([]string{"true", "yes", "on"}, strings.ToLower(v.Value)):
		*to = true
	case slices.Contains([]string{"false", "no", "off"}, strings.ToLower(v.Value)):
		*to = false
	default:
		o.r.fault(v, "%s%s must be true or false", o.path, name)
	}
}

func (o *object) number(name string, to *int32) {
	v := o.take(name)
	if v == nil {
		return
	}
	n, err := strconv.ParseInt(v.Value, 10, 32)
	if v.Kind != yaml.ScalarNode || v.ShortTag() != "!!int" || err != nil {
		o.r.fault(v, "%s%s must be a number", o.path, name)
		return
	}
	*to = int32(n)
}

// list reads an array, an item at a time.
func (o *object) list(name string, item func(n *yaml.Node, path string)) {
	v := o.take(name)
	if v == nil {
		return
	}
	if v.Kind != yaml.SequenceNode {
		o.r.fault(v, "%s%s must be a list", o.path, name)
		return
	}
	for i, n := range v.Content {
		if n = o.r.visit(n); n != nil {
			item(n, fmt.Sprintf("%s%s[%d]", o.path, name, i))
		}
	}
}

func (o *object) texts(name string, to *[]string) {
	o.list(name, func(n *yaml.Node, path string) {
		if s, ok := o.r.scalar(n, path); ok {
			*to = append(*to, s)
		}
	})
}

func (o *object) tags(name string, to *map[string]string) {
	v := o.take(name)
	if v == nil {
		return
	}
	in := o.r.object(v, o.path+name+".")
	if in == nil {
		return
	}
	out := map[string]string{}
	for _, k := range in.keys {
		s := ""
		in.text(k.Value, &s)
		out[k.Value] = s
	}
	if len(out) > 0 {
		*to = out
	}
}

// ignore notes members that eksctl knows and podid does not use.
func (o *object) ignore(names ...string) {
	for _, name := range names {
		o.known = append(o.known, name)
		if v, ok := o.value[name]; ok && !isNull(v) {
			o.r.ignored = append(o.r.ignored, fmt.Sprintf("%s: %s%s", o.r.place(v), o.path, name))
		}
	}
}

// done refuses the members that nobody has taken.
func (o *object) done() {
	for _, k := range o.keys {
		if slices.Contains(o.known, k.Value) {
			continue
		}
		hint := ""
		for _, name := range o.known {
			if strings.EqualFold(name, k.Value) {
				hint = "; it is written " + name
			}
		}
		o.r.fault(k, "unknown field %s%s%s", o.path, k.Value, hint)
	}
}
