// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authmsg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Message is a decoded message in the form that AWS gives it (AWS CLI Command
// Reference, sts decode-authorization-message), and what podid knows beside it.
type Message struct {
	Allowed           bool             `json:"allowed"`
	ExplicitDeny      bool             `json:"explicitDeny"`
	MatchedStatements Items[Statement] `json:"matchedStatements"`
	Failures          Items[struct{}]  `json:"failures"`
	Context           Context          `json:"context"`
	Podid             Podid            `json:"podid"`
}

// Items is a list as these messages have it.
type Items[T any] struct {
	Items []T `json:"items"`
}

// Value is one value in a list.
type Value struct {
	Value string `json:"value"`
}

// Statement is the statement that denied.
type Statement struct {
	StatementID     string           `json:"statementId"`
	Effect          string           `json:"effect"`
	Principals      Items[Value]     `json:"principals"`
	PrincipalGroups Items[Value]     `json:"principalGroups"`
	Actions         Items[Value]     `json:"actions"`
	Resources       Items[Value]     `json:"resources"`
	Conditions      Items[Condition] `json:"conditions"`
}

// Condition is a condition key with its values.
type Condition struct {
	Key    string       `json:"key"`
	Values Items[Value] `json:"values"`
}

// Context is the request.
type Context struct {
	Principal  Principal        `json:"principal"`
	Action     string           `json:"action"`
	Resource   string           `json:"resource"`
	Conditions Items[Condition] `json:"conditions"`
}

// Principal is who asked.
type Principal struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	ARN  string `json:"arn"`
}

// Podid is what AWS' form has no place for.
type Podid struct {
	Time      string `json:"time"`
	Reason    string `json:"reason,omitempty"`     // in one sentence
	Kind      string `json:"policyType,omitempty"` // of the document that denied, or did not allow
	Document  string `json:"policyName,omitempty"`
	Statement int    `json:"statement,omitempty"` // from 1
}

func (m *record) message() *Message {
	out := &Message{
		ExplicitDeny: m.Explicit, MatchedStatements: Items[Statement]{[]Statement{}}, Failures: Items[struct{}]{[]struct{}{}},
		Context: Context{Principal: Principal{m.ID, m.Name, m.ARN}, Action: m.Action, Resource: m.Resource, Conditions: toConditions(m.Request)},
		Podid:   Podid{Time: time.Unix(m.Issued, 0).UTC().Format(time.RFC3339), Reason: m.Reason, Kind: m.Kind, Document: m.Document, Statement: m.Statement + 1},
	}
	if m.Statement >= 0 {
		s := Statement{
			StatementID: m.Sid, Effect: "ALLOW", Principals: toValues(m.Principals), PrincipalGroups: toValues(nil),
			Actions: toValues(m.Actions), Resources: toValues(m.Resources), Conditions: toConditions(m.Looks),
		}
		if m.Deny {
			s.Effect = "DENY"
		}
		out.MatchedStatements.Items = append(out.MatchedStatements.Items, s)
	}
	return out
}

func toValues(in []string) Items[Value] {
	out := Items[Value]{make([]Value, len(in))}
	for i, v := range in {
		out.Items[i] = Value{v}
	}
	return out
}

func toConditions(in []pair) Items[Condition] {
	out := Items[Condition]{make([]Condition, len(in))}
	for i, p := range in {
		out.Items[i] = Condition{p.Key, toValues(p.Values)}
	}
	return out
}

// JSON is the text that DecodeAuthorizationMessage answers.
func (m *Message) JSON() (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return "", fmt.Errorf("write authorization message: %w", err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}
