// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authmsg

import (
	"strings"

	"github.com/fxamacker/cbor/v2"

	"podid/internal/policy"
)

// Bounds of single values in bytes: the longest ARNs that IAM allows would fill
// a message by themselves.
const (
	maxName   = 320
	maxReason = 240
	maxValue  = 128
	fixed     = 80 // what the encoding adds to the texts of a record, and numbers
	perItem   = 4  // what it adds to an item of a list
)

// record is a message as it is sealed. Lists are cut where a message is full.
type record struct {
	_        struct{} `cbor:",toarray"`
	Issued   int64    // seconds since 1970
	Explicit bool
	ID       string
	Name     string
	ARN      string
	Action   string
	Resource string
	Reason   string

	Kind      string // of the document that decided
	Document  string
	Statement int // from 0; -1 = none
	Sid       string
	Deny      bool

	Principals []string
	Actions    []string
	Resources  []string
	Looks      []pair // conditions of the statement
	Request    []pair // keys of the request
}

type pair struct {
	_      struct{} `cbor:",toarray"`
	Key    string
	Values []string
}

// fill takes from the explanation what there is room for: what decided first,
// then the request's keys, those first that policies look at.
func (m *record) fill(x *policy.Explanation) {
	m.Statement = -1
	m.ID, m.Name, m.ARN = cut(m.ID, maxName), cut(m.Name, maxValue), cut(m.ARN, maxName)
	m.Action, m.Resource = cut(m.Action, maxValue), cut(m.Resource, maxName)
	if x == nil {
		return
	}
	m.Explicit, m.Kind, m.Reason = x.Decision.Explicit, x.Kind(), cut(x.Reason(), maxReason)
	room := payload - 2 - fixed
	for _, s := range []string{m.ID, m.Name, m.ARN, m.Action, m.Resource, m.Kind, m.Reason} {
		room -= len(s)
	}
	if s, ok := x.Deciding(); ok {
		m.Document, m.Sid, m.Statement, m.Deny = cut(s.Document, maxValue), cut(s.Sid, maxValue), s.Statement, s.Deny
		room -= len(m.Document) + len(m.Sid)
		half := room / 2 // the other half is for the request
		m.Principals = take(&half, s.Principals)
		m.Actions = take(&half, s.Actions)
		m.Resources = take(&half, s.Resources)
		m.Looks = takePairs(&half, s.Conditions)
		room = room - room/2 + half
	}
	m.Request = takePairs(&room, x.Request())
}

// take returns the values that fit, each cut to its bound, in the memory of the
// list, which is this package's own.
func take(room *int, values []string) []string {
	for i, v := range values {
		v = cut(v, maxValue)
		if *room < len(v)+perItem {
			return values[:i]
		}
		*room -= len(v) + perItem
		values[i] = v
	}
	return values
}

func takePairs(room *int, keys []policy.KeyValues) []pair {
	out := make([]pair, 0, len(keys))
	for _, k := range keys {
		cost := len(k.Key) + 2*perItem
		if len(k.Key) > maxValue || cost > *room {
			continue // a shorter one may fit
		}
		*room -= cost
		values := take(room, k.Values)
		if len(values) == 0 && len(k.Values) > 0 {
			*room += cost
			continue
		}
		out = append(out, pair{Key: k.Key, Values: values})
	}
	return out
}

// marshal encodes the record. What is estimated too small leaves its lists out.
func (m *record) marshal() ([]byte, error) {
	text, err := cbor.Marshal(m)
	if err != nil || len(text) <= payload-2 {
		return text, err
	}
	m.Principals, m.Actions, m.Resources, m.Looks, m.Request = nil, nil, nil, nil, nil
	return cbor.Marshal(m)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}
