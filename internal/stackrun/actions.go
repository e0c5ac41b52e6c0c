// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"

	"podid/internal/association"
	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

// A worker calls the verbs of other rooms as somebody, such that they commit
// together with the stack's record.
type worker struct {
	iam          *iam.Manager
	associations *association.Manager
	who          iam.Caller
}

// An action is one call of a verb that brings a thing nearer to what it is to
// be. What it makes of the thing is recorded in the verb's own transaction.
type action struct {
	// do calls the verb; nil when only the record is to be changed.
	do func(ctx context.Context, w *worker) error
	// guard refuses, in the verb's transaction and before it writes.
	guard func(r store.Reader) error
	// done returns the thing after the verb, as r shows it; nil for none.
	done func(r store.Reader, t *Thing) (*Thing, error)
	// gone returns the thing after it turned out that what the verb was to
	// change is not there any more, or is another's. A nil gone is a failure.
	gone func(t *Thing) *Thing
}

// errNotOurs: what has the name of a thing is not what the stack has made.
var errNotOurs = errors.New("it is not what the stack has made")

// A planner finds the next action for a thing. It looks and changes nothing.
type planner struct {
	m         *Manager
	view      store.Reader
	stackName string
	logicalID string
}

// next is the action that brings t nearer to the goal; nil when it is there. A
// nil t is not made yet, and a nil goal is nothing: t is to go.
func (p *planner) next(t *Thing, goal stack.Properties) (*action, error) {
	if goal == nil {
		return p.remove(t)
	}
	switch goal := goal.(type) {
	case *stack.Role:
		return p.role(t, goal)
	case *stack.Policy:
		return p.policy(t, goal)
	case *stack.ManagedPolicy:
		return p.managedPolicy(t, goal)
	case *stack.OIDCProvider:
		return p.provider(t, goal)
	case *stack.InstanceProfile:
		return p.profile(t, goal)
	case *stack.PodIdentityAssociation:
		return p.association(t, goal)
	}
	return nil, fmt.Errorf("no way to make a resource of type %s", goal.ResourceType())
}

func (p *planner) remove(t *Thing) (*action, error) {
	if t == nil {
		return nil, nil
	}
	switch t.Type {
	case stack.TypeRole:
		return p.removeRole(t)
	case stack.TypePolicy:
		return p.removePolicy(t), nil
	case stack.TypeManagedPolicy:
		return p.removeManagedPolicy(t), nil
	case stack.TypeOIDCProvider:
		return p.removeProvider(t), nil
	case stack.TypeInstanceProfile:
		return p.removeProfile(t)
	case stack.TypePodIdentityAssociation:
		return p.removeAssociation(t), nil
	}
	return nil, fmt.Errorf("no way to remove a resource of type %s", t.Type)
}

// explicitName is the property that gives a thing of the type its one name in
// the account: a replacement needs another.
func explicitName(goal stack.Properties) (property, value string) {
	switch goal := goal.(type) {
	case *stack.Role:
		return "RoleName", goal.RoleName
	case *stack.ManagedPolicy:
		return "ManagedPolicyName", goal.ManagedPolicyName
	case *stack.InstanceProfile:
		return "InstanceProfileName", goal.InstanceProfileName
	}
	return "", ""
}

const randomPart = 12

// physicalName makes a name as CloudFormation does: stack, logical id and a
// random part, cut to the limit of characters.
func (p *planner) physicalName(limit int) (string, error) {
	var b [8]byte
	if _, err := io.ReadFull(p.m.Rand, b[:]); err != nil {
		return "", fmt.Errorf("draw a name: %w", err)
	}
	random := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])[:randomPart]
	room := limit - randomPart - 2
	name, logical := p.stackName, p.logicalID
	if len(name)+len(logical) > room {
		logical = logical[:min(len(logical), max(room-len(name), room/2))]
		name = name[:min(len(name), room-len(logical))]
	}
	return name + "-" + logical + "-" + random, nil
}

// record is an action that changes nothing but the record.
func recording(change func(t *Thing) *Thing) *action {
	return &action{done: func(_ store.Reader, t *Thing) (*Thing, error) { return change(t), nil }}
}

// withProperties is t with the properties that p has become.
func withProperties(t *Thing, p stack.Properties) (*Thing, error) {
	data, err := encodeProperties(p)
	if err != nil {
		return nil, err
	}
	n := t.clone()
	n.Properties = data
	return n, nil
}

func nothing(*Thing) *Thing { return nil }

// The kinds of principals that parts belong to.
const (
	inRole  = "role"
	inUser  = "user"
	inGroup = "group"
)

// principals are the keys of parts: role/name…, in order, each once.
func principals(roles, users, groups []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, l := range []struct {
		kind  string
		names []string
	}{{inRole, roles}, {inUser, users}, {inGroup, groups}} {
		for _, n := range l.names {
			// Names are unique without regard to case.
			if key := l.kind + "/" + n; !seen[strings.ToLower(key)] {
				seen[strings.ToLower(key)] = true
				out = append(out, key)
			}
		}
	}
	return out
}

// principalID is the unique id of a role, user or group, "" for none.
func (p *planner) principalID(r store.Reader, key string) string {
	kind, name, _ := strings.Cut(key, "/")
	scope := store.Scope{Account: p.m.Account, Region: store.Global}
	switch kind {
	case inRole:
		if x, ok := iam.FindRole(r, p.m.Account, name); ok {
			return x.ID
		}
	case inUser:
		if x, ok := iam.Users.Get(r, scope, strings.ToLower(name)); ok {
			return x.ID
		}
	case inGroup:
		if x, ok := iam.Groups.Get(r, scope, strings.ToLower(name)); ok {
			return x.ID
		}
	}
	return ""
}

// inlineOf is the inline policy of a principal.
func (p *planner) inlineOf(r store.Reader, key, policyName string) bool {
	kind, name, _ := strings.Cut(key, "/")
	scope := store.Scope{Account: p.m.Account, Region: store.Global}
	var list []iam.InlinePolicy
	switch kind {
	case inRole:
		if x, ok := iam.FindRole(r, p.m.Account, name); ok {
			list = x.Inline
		}
	case inUser:
		if x, ok := iam.Users.Get(r, scope, strings.ToLower(name)); ok {
			list = x.Inline
		}
	case inGroup:
		if x, ok := iam.Groups.Get(r, scope, strings.ToLower(name)); ok {
			list = x.Inline
		}
	}
	for _, x := range list {
		if x.Name == policyName {
			return true
		}
	}
	return false
}

// sameMark guards a change of what the stack has made or has a part in.
func (p *planner) samePrincipal(t *Thing, key string) func(r store.Reader) error {
	return func(r store.Reader) error {
		if p.principalID(r, key) != t.Marks[key] {
			return errNotOurs
		}
		return nil
	}
}

// tagChanges says which tags are to be set and which keys dropped. With fold,
// keys are the same without regard to case, as IAM's are.
func tagChanges(have, goal []stack.Tag, fold bool) (set []stack.Tag, drop []string) {
	same := func(a, b string) bool { return a == b || fold && strings.EqualFold(a, b) }
	find := func(in []stack.Tag, key string) *stack.Tag {
		for i := range in {
			if same(in[i].Key, key) {
				return &in[i]
			}
		}
		return nil
	}
	for _, t := range goal {
		if h := find(have, t.Key); h == nil || *h != t {
			set = append(set, t)
		}
	}
	for _, t := range have {
		if find(goal, t.Key) == nil {
			drop = append(drop, t.Key)
		}
	}
	return set, drop
}

func iamTags(tags []stack.Tag) []iam.Tag {
	var out []iam.Tag
	for _, t := range tags {
		out = append(out, iam.Tag{Key: t.Key, Value: t.Value})
	}
	return out
}
