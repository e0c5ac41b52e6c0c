// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The documents as they are written; their members stand in this order.
type (
	clusterDocument struct {
		APIVersion string          `json:"apiVersion"`
		Kind       string          `json:"kind"`
		Metadata   clusterMetadata `json:"metadata"`
		IAM        associations    `json:"iam"`
	}
	clusterMetadata struct {
		Name   string `json:"name"`
		Region string `json:"region,omitempty"`
	}
	associations struct {
		List []*Association `json:"podIdentityAssociations"`
	}
	iamDocument struct {
		APIVersion string           `json:"apiVersion"`
		Kind       string           `json:"kind"`
		Metadata   iamMetadata      `json:"metadata"`
		Policies   []*ManagedPolicy `json:"policies,omitempty"`
		Roles      []*Role          `json:"roles,omitempty"`
	}
	iamMetadata struct {
		Account string `json:"account,omitempty"`
	}
	listDocument struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}
)

// documents are the set's documents as JSON: clusters first, so that eksctl,
// which reads the first document of a file, finds one of its own.
func (s *Set) documents() []json.RawMessage {
	out := []json.RawMessage{}
	for _, c := range s.Clusters {
		list := c.Associations
		if list == nil {
			list = []*Association{}
		}
		out = append(out, marshal(clusterDocument{ConfigVersion, ConfigKind, clusterMetadata{c.Name, c.Region}, associations{list}}))
	}
	for _, c := range s.IAM {
		out = append(out, marshal(iamDocument{IAMVersion, IAMKind, iamMetadata{c.Account}, c.Policies, c.Roles}))
	}
	return out
}

// JSON is the set as a List of its documents, which Read takes back.
func (s *Set) JSON() ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, marshal(listDocument{"v1", "List", s.documents()}), "", "  "); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// YAML is the set as YAML documents, which Read takes back. Strings that any
// YAML reader could take for something else are quoted.
func (s *Set) YAML() ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	for _, text := range s.documents() {
		n, err := tree(text)
		if err != nil {
			return nil, fmt.Errorf("write YAML: %w", err)
		}
		if err := enc.Encode(n); err != nil {
			return nil, fmt.Errorf("write YAML: %w", err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return b.Bytes(), nil
}

// tree makes YAML nodes of JSON text and keeps the order of members.
func tree(text json.RawMessage) (*yaml.Node, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	n, err := node(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text follows the document")
	}
	return n, nil
}

func node(dec *json.Decoder, depth int) (*yaml.Node, error) {
	if depth > 2*maxDepth { // a document stands deeper in its file than in itself
		return nil, errors.New("nested too deeply")
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return scalarNode(t), nil
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	if delim == '[' {
		n.Kind = yaml.SequenceNode
	}
	for dec.More() {
		item, err := node(dec, depth+1) // names of members are strings
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, item)
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle // [] and {}
	}
	_, err = dec.Token()
	return n, err
}

func scalarNode(t json.Token) *yaml.Node {
	switch v := t.(type) {
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
		switch {
		case plain(v):
		case singleQuoted.MatchString(v):
			n.Style = yaml.SingleQuotedStyle
		default:
			n.Style = yaml.DoubleQuotedStyle
		}
		return n
	case json.Number:
		tag := "!!int"
		if strings.ContainsAny(v.String(), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: v.String()}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v)}
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	}
}

// singleQuoted knows JSON text and the like, which double quotes make ugly.
var singleQuoted = regexp.MustCompile(`^[ -&(-~]*"[ -&(-~]*$`)

var plainText = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./+@-]*(:+[A-Za-z0-9_./*+@-]+)*$`)

// plain reports whether a string needs no quotes, whichever version of YAML
// reads it: eksctl reads an older one, in which yes and on are true.
func plain(s string) bool {
	return plainText.MatchString(s) && !slices.Contains([]string{"true", "false", "yes", "no", "on", "off", "y", "n", "null"}, strings.ToLower(s))
}
