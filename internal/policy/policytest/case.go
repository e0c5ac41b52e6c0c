// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"podid/internal/policy"
)

// testCase is one line of the file.
type testCase struct {
	ID              string              `json:"id"`
	Family          string              `json:"family"`
	Name            string              `json:"name"`
	Note            string              `json:"note"`
	Principal       principal           `json:"principal"`
	Action          oneOrMore[string]   `json:"action"`
	Resource        string              `json:"resource"`
	ResourceAccount string              `json:"resourceAccount"`
	Context         map[string]value    `json:"context"`
	Identity        oneOrMore[document] `json:"identityPolicies"`
	Session         oneOrMore[document] `json:"sessionPolicy"`
	Boundary        oneOrMore[document] `json:"boundary"`
	ResourcePolicy  *document           `json:"resourcePolicy"`
	TrustPolicy     *document           `json:"trustPolicy"`
	SCPs            [][]document        `json:"scps"`
	RCPs            [][]document        `json:"rcps"`
	AssumeRole      *assumeRole         `json:"assumeRole"`
	Want            string              `json:"want"`

	unknown []string // members that are none of these
}

// assumeRole is an STS-shaped request.
type assumeRole struct {
	Action            string            `json:"action"`
	RoleARN           string            `json:"roleArn"`
	Tags              map[string]string `json:"tags"`
	InheritedTags     map[string]string `json:"inheritedTags"`
	TransitiveTagKeys []string          `json:"transitiveTagKeys"`
	RoleSessionName   string            `json:"roleSessionName"`
	ExternalID        string            `json:"externalId"`
	SourceIdentity    string            `json:"sourceIdentity"`
	SourceAccount     string            `json:"sourceAccount"`
	SourceARN         string            `json:"sourceArn"`
	WebIdentity       *webIdentity      `json:"webIdentity"`
}

// webIdentity is a token's content: true, when the keys are in the context
// already, or an object with the issuer, the provider's ARN and the claims,
// which may also stand beside those.
type webIdentity struct {
	issuer, provider string
	claims           map[string][]string
}

// UnmarshalJSON reads either form.
func (w *webIdentity) UnmarshalJSON(data []byte) error {
	var plain bool
	if json.Unmarshal(data, &plain) == nil {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return fmt.Errorf("webIdentity: %w", err)
	}
	w.claims = map[string][]string{}
	for name, raw := range members {
		switch name {
		case "issuer", "provider", "providerArn", "federated":
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				return fmt.Errorf("webIdentity %s: %w", name, err)
			}
			if name == "issuer" {
				w.issuer = strings.TrimPrefix(text, "https://")
			} else {
				w.provider = text
			}
		case "claims":
			var claims map[string]value
			if err := json.Unmarshal(raw, &claims); err != nil {
				return fmt.Errorf("webIdentity claims: %w", err)
			}
			for claim, v := range claims {
				w.claims[claim] = v.values
			}
		default:
			var v value
			if err := json.Unmarshal(raw, &v); err != nil {
				return fmt.Errorf("webIdentity %s: %w", name, err)
			}
			w.claims[name] = v.values
		}
	}
	return nil
}

// value is a condition key's value: text, number or boolean, or a list.
type value struct {
	values []string
	multi  bool
}

// UnmarshalJSON keeps the difference between a value and a list of one.
func (v *value) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var decoded any
	if err := dec.Decode(&decoded); err != nil {
		return fmt.Errorf("read value: %w", err)
	}
	list, ok := decoded.([]any)
	v.multi = ok
	if !ok {
		list = append(list, decoded)
	}
	for _, item := range list {
		switch item := item.(type) {
		case string:
			v.values = append(v.values, item)
		case json.Number, bool:
			v.values = append(v.values, fmt.Sprint(item))
		default:
			return fmt.Errorf("value %s is no string, number or boolean", data)
		}
	}
	return nil
}

// oneOrMore reads a single element or a list; null and absence leave set false.
type oneOrMore[T any] struct {
	items []T
	set   bool
}

// UnmarshalJSON reads either form.
func (o *oneOrMore[T]) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	o.set = true
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, &o.items)
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	o.items = []T{one}
	return nil
}

// document is a policy as an object, or as a string that holds its text.
type document struct{ text string }

// UnmarshalJSON keeps the text, as a document may be malformed on purpose.
func (d *document) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &d.text)
	}
	d.text = string(data)
	return nil
}

// principal is the caller: a service name, an ARN, or {"type":…}.
type principal struct {
	policy.Principal
	set bool
}

// UnmarshalJSON reads either form.
func (p *principal) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		got, err := policy.ParsePrincipal(text)
		p.Principal, p.set = got, err == nil
		return err
	}
	var object struct {
		Type  string `json:"type"`
		Value string `json:"value"`
		ARN   string `json:"arn"`
	}
	if err := json.Unmarshal(data, &object); err != nil {
		return fmt.Errorf("principal: %w", err)
	}
	if object.Value == "" {
		object.Value = object.ARN
	}
	p.set = true
	switch {
	case strings.EqualFold(object.Type, "anonymous"):
		p.Principal = policy.AnonymousPrincipal()
		return nil
	case strings.EqualFold(object.Type, "federated"):
		p.Principal = policy.FederatedPrincipal(object.Value)
		return nil
	case object.Value != "":
		got, err := policy.ParsePrincipal(object.Value)
		p.Principal = got
		return err
	}
	return fmt.Errorf("principal of unknown type %q", object.Type)
}

// parseCase reads one line.
func parseCase(line []byte) (*testCase, error) {
	var c testCase
	if err := json.Unmarshal(line, &c); err != nil {
		return nil, fmt.Errorf("read case: %w", err)
	}
	var members, assume map[string]json.RawMessage
	if err := json.Unmarshal(line, &members); err != nil {
		return nil, fmt.Errorf("read case: %w", err)
	}
	c.unknown = unknownMembers(members, reflect.TypeFor[testCase](), "")
	if raw, ok := members["assumeRole"]; ok && c.AssumeRole != nil {
		if err := json.Unmarshal(raw, &assume); err != nil {
			return nil, fmt.Errorf("read assumeRole: %w", err)
		}
		c.unknown = append(c.unknown, unknownMembers(assume, reflect.TypeFor[assumeRole](), "assumeRole.")...)
	}
	return &c, c.check()
}

// unknownMembers lists, sorted, the members for which the type has no field.
func unknownMembers(members map[string]json.RawMessage, of reflect.Type, prefix string) []string {
	var out []string
	for name := range members {
		known := false
		for i := range of.NumField() {
			known = known || strings.EqualFold(of.Field(i).Tag.Get("json"), name)
		}
		if !known {
			out = append(out, prefix+name)
		}
	}
	slices.Sort(out)
	return out
}

// check refuses a case from which no verdict follows.
func (c *testCase) check() error {
	switch {
	case c.ID == "":
		return errors.New("id is missing")
	case !c.Principal.set:
		return fmt.Errorf("case %q: principal is missing", c.ID)
	case c.AssumeRole == nil && len(c.Action.items) == 0:
		return fmt.Errorf("case %q: neither action nor assumeRole is given", c.ID)
	case c.AssumeRole != nil && len(c.Action.items) > 0:
		return fmt.Errorf("case %q: action and assumeRole exclude each other", c.ID)
	case c.AssumeRole != nil && c.AssumeRole.RoleARN == "":
		return fmt.Errorf("case %q: assumeRole.roleArn is missing", c.ID)
	case len(c.Boundary.items) > 1:
		return fmt.Errorf("case %q: a principal has one boundary at most", c.ID)
	case !slices.Contains([]string{"", Allow, Deny, Error, Either}, c.Want):
		return fmt.Errorf("case %q: want %q is none of allow, deny, error, either", c.ID, c.Want)
	}
	return nil
}
