// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"slices"
	"strings"
	"time"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/store"
)

// Group is an IAM group: policies that all its members have. Members are not
// written here but in the users' records, by the group's id.
type Group struct {
	ID        string         `cbor:"1,keyasint"` // AGPA…
	Partition string         `cbor:"2,keyasint"`
	Account   string         `cbor:"3,keyasint"`
	Path      string         `cbor:"4,keyasint"`
	Name      string         `cbor:"5,keyasint"`
	Inline    []InlinePolicy `cbor:"6,keyasint,omitempty"`
	Attached  []string       `cbor:"7,keyasint,omitempty"` // ARNs of managed policies, in order of attachment
	Created   time.Time      `cbor:"8,keyasint"`
}

// Groups is the table of groups, by name in lower case.
var Groups = store.NewTable("group", func(g *Group) []string { return []string{g.ID} })

// ARN is the group's ARN with its path.
func (g *Group) ARN() string { return arn.IAM(g.Partition, g.Account, "group", g.Path, g.Name) }

func (g *Group) clone() *Group {
	n := *g
	n.Inline, n.Attached = slices.Clone(g.Inline), slices.Clone(g.Attached)
	return &n
}

// group is role for groups, which have neither tags nor boundary.
func (m *Manager) group(ctx context.Context, caller Caller, action, name string, keys ...ConditionKey) (*Group, error) {
	if err := checkName("groupName", name, maxGroupName); err != nil {
		return nil, err
	}
	g, err := fenced(ctx, m.Store, func(v store.Reader) (*Group, bool) { return Groups.Get(v, m.scope(), id(name)) })
	if err != nil {
		return nil, err
	}
	q := Query{Action: action, Resource: m.arn("group", "/", name), Keys: keys}
	if g != nil {
		q.Resource = g.ARN()
	}
	if err := m.Authz.Authorize(ctx, caller, q); err != nil {
		return nil, err
	}
	if g == nil {
		return nil, noGroup(name)
	}
	return g, nil
}

// changeGroup is changeRole for groups.
func (m *Manager) changeGroup(ctx context.Context, caller Caller, action, name string, keys []ConditionKey, fn func(tx *store.Tx, g *Group) error) error {
	seen, err := m.group(ctx, caller, action, name, keys...)
	if err != nil {
		return err
	}
	return m.update(ctx, func(tx *store.Tx) error {
		g, ok := Groups.Get(tx, m.scope(), id(name))
		if !ok || g.ID != seen.ID {
			return noGroup(name)
		}
		n := g.clone()
		if err := fn(tx, n); err != nil {
			return err
		}
		Groups.Put(tx, m.scope(), id(name), n)
		return nil
	})
}

func groupExists(name string) error {
	return fault.New(fault.AlreadyExists, "Group with name %s already exists.", name).WithReason("group-exists")
}

// CreateGroup makes a group without members and policies; path "" is "/"
// (iam:CreateGroup).
func (m *Manager) CreateGroup(ctx context.Context, caller Caller, path, name string) (*Group, error) {
	if err := checkName("groupName", name, maxGroupName); err != nil {
		return nil, err
	}
	path, err := checkPath(path)
	if err != nil {
		return nil, err
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:CreateGroup", Resource: m.arn("group", path, name)}); err != nil {
		return nil, err
	}
	groupID, err := newID(m.Rand, prefixGroup)
	if err != nil {
		return nil, err
	}
	g := &Group{ID: groupID, Partition: m.Partition, Account: m.Account, Path: path, Name: name, Created: m.now()}
	err = m.update(ctx, func(tx *store.Tx) error {
		if old, ok := Groups.Get(tx, m.scope(), id(name)); ok {
			return groupExists(old.Name)
		}
		if err := full(m, tx, Groups, GroupsPerAccount); err != nil {
			return err
		}
		Groups.Put(tx, m.scope(), id(name), g)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// GetGroup returns a group and its members in the order of their names
// (iam:GetGroup).
func (m *Manager) GetGroup(ctx context.Context, caller Caller, name string, p Page) (*Group, Listing[*User], error) {
	g, err := m.group(ctx, caller, "iam:GetGroup", name)
	if err != nil {
		return nil, Listing[*User]{}, err
	}
	var members []*User
	for _, u := range Users.ByIndex(m.Store.View(), m.scope(), g.ID) {
		members = append(members, u)
	}
	slices.SortFunc(members, func(a, b *User) int { return strings.Compare(id(a.Name), id(b.Name)) })
	out, err := page("group-users", p, members, func(u *User) string { return id(u.Name) })
	return g, out, err
}

// ListGroups returns the groups whose path begins with the prefix, in the
// order of their names (iam:ListGroups).
func (m *Manager) ListGroups(ctx context.Context, caller Caller, pathPrefix string, p Page) (Listing[*Group], error) {
	prefix, err := checkPathPrefix(pathPrefix)
	if err != nil {
		return Listing[*Group]{}, err
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:ListGroups", Resource: m.arn("group", prefix, "")}); err != nil {
		return Listing[*Group]{}, err
	}
	var all []*Group
	for _, g := range Groups.List(m.Store.View(), m.scope(), "", "") {
		if strings.HasPrefix(g.Path, prefix) {
			all = append(all, g)
		}
	}
	return page("groups", p, all, func(g *Group) string { return id(g.Name) })
}

// UpdateGroup gives a group another name, another path, or both; nil leaves
// one as it is. Members and policies stay. The caller must be allowed to
// change both the group that is and the one that will be (iam:UpdateGroup).
func (m *Manager) UpdateGroup(ctx context.Context, caller Caller, name string, newName, newPath *string) error {
	if err := checkRename("newGroupName", newName, maxGroupName, newPath); err != nil {
		return err
	}
	seen, err := m.group(ctx, caller, "iam:UpdateGroup", name)
	if err != nil {
		return err
	}
	renamed := func(g *Group) *Group {
		n := g.clone()
		n.Name, n.Path = orElse(newName, g.Name), orElse(newPath, g.Path)
		return n
	}
	if then := renamed(seen).ARN(); then != seen.ARN() {
		if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:UpdateGroup", Resource: then}); err != nil {
			return err
		}
	}
	return m.update(ctx, func(tx *store.Tx) error {
		g, ok := Groups.Get(tx, m.scope(), id(name))
		if !ok || g.ID != seen.ID {
			return noGroup(name)
		}
		n := renamed(g)
		if id(n.Name) != id(name) {
			if old, ok := Groups.Get(tx, m.scope(), id(n.Name)); ok {
				return groupExists(old.Name)
			}
			Groups.Delete(tx, m.scope(), id(name))
		}
		Groups.Put(tx, m.scope(), id(n.Name), n)
		return nil
	})
}

// checkRename holds what a user or group is to be called from now on against
// the rules of names and paths.
func checkRename(member string, newName *string, most int, newPath *string) error {
	if newName != nil {
		if err := checkName(member, *newName, most); err != nil {
			return err
		}
	}
	if newPath == nil {
		return nil
	}
	if err := checkLength("newPath", *newPath, 1, maxPath); err != nil {
		return err
	}
	_, err := checkPath(*newPath)
	return err
}

func orElse(given *string, otherwise string) string {
	if given != nil {
		return *given
	}
	return otherwise
}

// DeleteGroup removes a group that has no members and policies left. Its id is
// never given again (iam:DeleteGroup).
func (m *Manager) DeleteGroup(ctx context.Context, caller Caller, name string) error {
	seen, err := m.group(ctx, caller, "iam:DeleteGroup", name)
	if err != nil {
		return err
	}
	return m.update(ctx, func(tx *store.Tx) error {
		g, ok := Groups.Get(tx, m.scope(), id(name))
		switch {
		case !ok || g.ID != seen.ID:
			return noGroup(name)
		case m.hasMembers(tx, g.ID):
			return conflict("Cannot delete entity, must remove users from group first.")
		case len(g.Attached) > 0:
			return conflict("Cannot delete entity, must detach all policies first.")
		case len(g.Inline) > 0:
			return conflict("Cannot delete entity, must delete policies first.")
		}
		Groups.Delete(tx, m.scope(), id(name))
		return nil
	})
}

// hasMembers walks all users, so that the transaction fails when one joins
// meanwhile: joining changes the user's record alone.
func (m *Manager) hasMembers(tx *store.Tx, groupID string) bool {
	for _, u := range Users.List(tx, m.scope(), "", "") {
		if slices.Contains(u.Groups, groupID) {
			return true
		}
	}
	return false
}
