// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"maps"
	"slices"
	"strings"
)

// The capabilities that a caller acknowledges.
const (
	CapabilityIAM      = "CAPABILITY_IAM"
	CapabilityNamedIAM = "CAPABILITY_NAMED_IAM"
)

// A Need is what a caller has to acknowledge before a template's resources are made, and why.
type Need struct {
	Capabilities []string // none or one
	Reason       string
}

// Missing returns the needed capabilities that are not given. CAPABILITY_NAMED_IAM is more than CAPABILITY_IAM.
func (n Need) Missing(given []string) []string {
	var missing []string
	for _, c := range n.Capabilities {
		if !slices.Contains(given, c) && (c != CapabilityIAM || !slices.Contains(given, CapabilityNamedIAM)) {
			missing = append(missing, c)
		}
	}
	return missing
}

// Description returns the template's description, or "".
func (t *Template) Description() string { return t.description }

// Metadata returns the template's metadata as JSON, or "".
func (t *Template) Metadata() string {
	if t.metadata == nil {
		return ""
	}
	return t.metadata.json()
}

// Parameters returns the declarations in the order of the template.
func (t *Template) Parameters() []ParameterDecl {
	decls := make([]ParameterDecl, len(t.parameters))
	for i := range t.parameters {
		decls[i] = t.parameters[i].ParameterDecl
		decls[i].AllowedValues = slices.Clone(decls[i].AllowedValues)
	}
	return decls
}

// Resources returns the logical ids by name, those included whose conditions may not hold.
func (t *Template) Resources() []string { return slices.Sorted(maps.Keys(t.resources)) }

// ResourceTypes returns each type of the template's resources once, by name.
func (t *Template) ResourceTypes() []string {
	var types []string
	for _, r := range t.resources {
		types = append(types, r.kind)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// Capabilities returns what the template needs whatever its parameters: every IAM resource counts, and each that says a name.
func (t *Template) Capabilities() Need {
	var n needs
	for _, r := range t.resources {
		n.add(r.kind, r.properties)
	}
	return n.need()
}

// Capabilities returns what the chosen resources need.
func (b *Bound) Capabilities() Need {
	var n needs
	for _, r := range b.resources {
		n.add(r.Type, r.tree)
	}
	return n.need()
}

type needs struct {
	types []string
	named bool
}

func (n *needs) add(kind string, properties *node) {
	rt, _ := typeOf(kind)
	if rt.iam {
		n.types = append(n.types, kind)
	}
	if rt.name != "" && properties.get(rt.name) != nil {
		n.named = true
	}
}

func (n *needs) need() Need {
	if len(n.types) == 0 {
		return Need{}
	}
	capability := CapabilityIAM
	if n.named {
		capability = CapabilityNamedIAM
	}
	slices.Sort(n.types)
	reason := "The following resource(s) require capabilities: [" + strings.Join(slices.Compact(n.types), ", ") + "]"
	return Need{Capabilities: []string{capability}, Reason: reason}
}
