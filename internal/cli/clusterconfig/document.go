// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"

	"go.yaml.in/yaml/v3"
)

// document reads an object of any shape as JSON text.
func (o *object) document(name string, to *Document) {
	v := o.take(name)
	if v == nil {
		return
	}
	if v.Kind != yaml.MappingNode {
		o.r.fault(v, "%s%s must be a policy document, an object", o.path, name)
		return
	}
	var b bytes.Buffer
	faults := len(o.r.faults)
	o.r.json(&b, v, o.path+name, 0)
	if len(o.r.faults) == faults {
		*to = b.Bytes()
	}
}

// json writes a tree as JSON, its members in order.
func (r *reader) json(b *bytes.Buffer, n *yaml.Node, path string, depth int) {
	n = r.visit(n)
	switch {
	case n == nil:
	case depth > maxDepth:
		r.fault(n, "%s is nested too deeply", path)
	case n.Kind == yaml.MappingNode:
		o := r.object(n, path+".")
		b.WriteByte('{')
		for i, k := range o.keys {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(quote(k.Value))
			b.WriteByte(':')
			r.json(b, o.value[k.Value], path+"."+k.Value, depth+1)
		}
		b.WriteByte('}')
	case n.Kind == yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			r.json(b, item, fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
		b.WriteByte(']')
	default:
		r.jsonScalar(b, n, path)
	}
}

func (r *reader) jsonScalar(b *bytes.Buffer, n *yaml.Node, path string) {
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		b.Write(quote(n.Value))
	case "!!null":
		b.WriteString("null")
	case "!!bool":
		var v bool
		if err := n.Decode(&v); err != nil {
			r.fault(n, "%s must be true or false", path)
		}
		fmt.Fprint(b, v)
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			b.WriteString(n.Value)
			return
		}
		var v float64
		if err := n.Decode(&v); err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			r.fault(n, "%s is no number of JSON", path)
			return
		}
		b.Write(marshal(v))
	default:
		r.fault(n, "%s has a tag that JSON does not know: %s", path, n.ShortTag())
	}
}

func quote(s string) []byte { return marshal(s) }

// marshal writes <, > and & as they are: policies are read by people.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("clusterconfig: write JSON: " + err.Error()) // strings, numbers and our own documents only
	}
	return bytes.TrimSpace(b.Bytes())
}
