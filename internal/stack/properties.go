// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Properties are the resolved properties of a resource: a pointer to one of the types of this package. Their JSON has the names
// of the template, so that a record of them can be read by people; [DecodeProperties] reads it back.
type Properties interface{ ResourceType() string }

// An InlinePolicy is an entry of a role's Policies. The document is JSON text.
type InlinePolicy struct{ PolicyName, PolicyDocument string }

// A Tag is a key and its value.
type Tag struct{ Key, Value string }

// Role is an AWS::IAM::Role. Without RoleName the name is made up; MaxSessionDuration is in seconds, 0 when not given.
type Role struct {
	RoleName                 string         `json:",omitempty"`
	AssumeRolePolicyDocument string         `json:",omitempty"`
	Description              string         `json:",omitempty"`
	Path                     string         `json:",omitempty"`
	PermissionsBoundary      string         `json:",omitempty"`
	MaxSessionDuration       int            `json:",omitempty"`
	ManagedPolicyArns        []string       `json:",omitempty"`
	Policies                 []InlinePolicy `json:",omitempty"`
	Tags                     []Tag          `json:",omitempty"`
}

// Policy is an AWS::IAM::Policy: one inline policy of each of the roles, users and groups.
type Policy struct {
	PolicyName     string   `json:",omitempty"`
	PolicyDocument string   `json:",omitempty"`
	Roles          []string `json:",omitempty"`
	Users          []string `json:",omitempty"`
	Groups         []string `json:",omitempty"`
}

// ManagedPolicy is an AWS::IAM::ManagedPolicy, attached to the roles, users and groups.
type ManagedPolicy struct {
	ManagedPolicyName string   `json:",omitempty"`
	Description       string   `json:",omitempty"`
	Path              string   `json:",omitempty"`
	PolicyDocument    string   `json:",omitempty"`
	Roles             []string `json:",omitempty"`
	Users             []string `json:",omitempty"`
	Groups            []string `json:",omitempty"`
}

// OIDCProvider is an AWS::IAM::OIDCProvider.
type OIDCProvider struct {
	Url            string   `json:",omitempty"`
	ClientIdList   []string `json:",omitempty"`
	ThumbprintList []string `json:",omitempty"`
	Tags           []Tag    `json:",omitempty"`
}

// InstanceProfile is an AWS::IAM::InstanceProfile.
type InstanceProfile struct {
	InstanceProfileName string   `json:",omitempty"`
	Path                string   `json:",omitempty"`
	Roles               []string `json:",omitempty"`
}

// PodIdentityAssociation is an AWS::EKS::PodIdentityAssociation. DisableSessionTags is nil when not given.
type PodIdentityAssociation struct {
	ClusterName        string `json:",omitempty"`
	Namespace          string `json:",omitempty"`
	ServiceAccount     string `json:",omitempty"`
	RoleArn            string `json:",omitempty"`
	TargetRoleArn      string `json:",omitempty"`
	Policy             string `json:",omitempty"`
	DisableSessionTags *bool  `json:",omitempty"`
	Tags               []Tag  `json:",omitempty"`
}

// ResourceType returns AWS::IAM::Role.
func (*Role) ResourceType() string { return TypeRole }

// ResourceType returns AWS::IAM::Policy.
func (*Policy) ResourceType() string { return TypePolicy }

// ResourceType returns AWS::IAM::ManagedPolicy.
func (*ManagedPolicy) ResourceType() string { return TypeManagedPolicy }

// ResourceType returns AWS::IAM::OIDCProvider.
func (*OIDCProvider) ResourceType() string { return TypeOIDCProvider }

// ResourceType returns AWS::IAM::InstanceProfile.
func (*InstanceProfile) ResourceType() string { return TypeInstanceProfile }

// ResourceType returns AWS::EKS::PodIdentityAssociation.
func (*PodIdentityAssociation) ResourceType() string { return TypePodIdentityAssociation }

// DecodeProperties reads what json.Marshal has written of a resource's properties.
func DecodeProperties(resourceType string, data []byte) (Properties, error) {
	rt, ok := typeOf(resourceType)
	if !ok {
		return nil, refuse(reasonResourceType, "Template format error: Unrecognized resource types: [%s]", resourceType)
	}
	p := rt.empty()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("read properties of %s: %w", resourceType, err)
	}
	return p, nil
}

// decode checks properties against their type. With partial, what is not known yet is taken to be right.
func decode(kind string, tree *node, partial bool) (Properties, error) {
	rt, ok := typeOf(kind)
	if !ok {
		return nil, refuse(reasonResourceType, "Template format error: Unrecognized resource types: [%s]", kind)
	}
	out := &node{kind: objectNode}
	for i, name := range tree.keys {
		p, ok := rt.property(name)
		if !ok {
			return nil, refuse(reasonProperty, "Encountered unsupported property %s", name)
		}
		if partial && !tree.items[i].settled() {
			continue
		}
		v, err := p.read(tree.items[i])
		if err != nil {
			return nil, err
		}
		out.keys, out.items = append(out.keys, name), append(out.items, v)
	}
	for _, p := range rt.properties {
		if v := tree.get(p.name); p.required && (v == nil || v.kind == textNode && v.text == "" || v.kind == listNode && len(v.items) == 0) {
			return nil, refuse(reasonProperty, "Property %s cannot be empty.", p.name)
		}
	}
	if kind == TypePolicy && tree.get("Roles").isEmpty() && tree.get("Users").isEmpty() && tree.get("Groups").isEmpty() {
		return nil, refuse(reasonProperty, "At least one of [Groups,Roles,Users] must be non-empty.")
	}
	return DecodeProperties(kind, []byte(out.json()))
}

// isEmpty reports whether n is not given or an empty list.
func (n *node) isEmpty() bool { return n == nil || n.kind == listNode && len(n.items) == 0 }

// read checks a value and gives it the form that the Go types decode.
func (p property) read(n *node) (*node, error) {
	switch p.kind {
	case aNumber:
		return asInteger(p.name, n)
	case aBool:
		text, _ := n.scalar()
		v, ok := asBool(text)
		if !ok {
			return nil, wrongType(p.name, "Boolean")
		}
		return &node{kind: boolNode, text: strconv.FormatBool(v)}, nil
	case aDocument:
		return asDocument(p.name, n)
	case texts:
		return asTexts(p.name, n)
	case tags:
		return asObjects(p.name, n, "Key", "Value")
	case inlinePolicies:
		return asObjects(p.name, n, "PolicyName", "PolicyDocument")
	}
	return asText(p.name, n)
}

func wrongType(name, want string) error {
	return refuse(reasonProperty, "Value of property %s must be of type %s", name, want)
}

func asText(name string, n *node) (*node, error) {
	s, ok := n.scalar()
	if !ok {
		return nil, wrongType(name, "String")
	}
	return newText(n, s), nil
}

func asInteger(name string, n *node) (*node, error) {
	s, _ := n.scalar()
	v, err := strconv.ParseInt(s, 10, 32)
	if err != nil || v < 1 { // 0 is how the Go types say that nothing was given
		return nil, wrongType(name, "Integer")
	}
	return &node{kind: numberNode, text: strconv.FormatInt(v, 10)}, nil
}

func asTexts(name string, n *node) (*node, error) {
	if n.kind != listNode {
		return nil, wrongType(name, "List of String")
	}
	out := &node{kind: listNode}
	for _, item := range n.items {
		s, ok := item.scalar()
		if !ok {
			return nil, wrongType(name, "List of String")
		}
		out.items = append(out.items, newText(item, s))
	}
	return out, nil
}

// asDocument makes JSON text of an object. A text is taken as it stands when it is JSON of an object: IAM judges the rest.
func asDocument(name string, n *node) (*node, error) {
	switch {
	case n.kind == objectNode:
		return newText(n, n.json()), nil
	case n.kind == textNode && strings.HasPrefix(strings.TrimSpace(n.text), "{") && json.Valid([]byte(n.text)):
		return n, nil
	}
	return nil, refuse(reasonProperty, "Value of property %s must be an object", name)
}

// asObjects reads a list of objects that have exactly the two members; one named …Document is a document.
func asObjects(name string, n *node, members ...string) (*node, error) {
	if n.kind != listNode {
		return nil, wrongType(name, "List")
	}
	out := &node{kind: listNode}
	for _, item := range n.items {
		if item.kind != objectNode {
			return nil, refuse(reasonProperty, "Value of property %s must be a list of objects", name)
		}
		for _, key := range item.keys {
			if key != members[0] && key != members[1] {
				return nil, refuse(reasonProperty, "Encountered unsupported property %s", key)
			}
		}
		o := &node{kind: objectNode, keys: members}
		for _, member := range members {
			v := item.get(member)
			if v == nil {
				return nil, refuse(reasonProperty, "Property %s cannot be empty.", member)
			}
			read := asText
			if strings.HasSuffix(member, "Document") {
				read = asDocument
			}
			v, err := read(member, v)
			if err != nil {
				return nil, err
			}
			o.items = append(o.items, v)
		}
		out.items = append(out.items, o)
	}
	return out, nil
}
