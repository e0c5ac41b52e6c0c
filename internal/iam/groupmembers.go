// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"slices"
	"strings"

	"podid/internal/fault"
	"podid/internal/store"
)

// AddUserToGroup makes a user a member; one who is a member already is no
// error (iam:AddUserToGroup).
func (m *Manager) AddUserToGroup(ctx context.Context, caller Caller, group, user string) error {
	return m.changeMember(ctx, caller, "iam:AddUserToGroup", group, user, func(g *Group, u *User) error {
		if slices.Contains(u.Groups, g.ID) {
			return nil
		}
		if limit := m.quota(GroupsPerUser); len(u.Groups) >= limit {
			return overQuota(GroupsPerUser, limit)
		}
		u.Groups = append(u.Groups, g.ID)
		return nil
	})
}

// RemoveUserFromGroup ends a membership (iam:RemoveUserFromGroup).
func (m *Manager) RemoveUserFromGroup(ctx context.Context, caller Caller, group, user string) error {
	return m.changeMember(ctx, caller, "iam:RemoveUserFromGroup", group, user, func(g *Group, u *User) error {
		i := slices.Index(u.Groups, g.ID)
		if i < 0 {
			return fault.New(fault.NotFound, "User %s not in group %s", u.Name, g.Name).WithReason("not-a-member")
		}
		u.Groups = slices.Delete(u.Groups, i, i+1)
		return nil
	})
}

// changeMember asks on the group, as AWS does, then applies fn to a copy of
// the user. The group counts as read: it cannot go away meanwhile.
func (m *Manager) changeMember(ctx context.Context, caller Caller, action, group, user string, fn func(g *Group, u *User) error) error {
	if err := checkName("userName", user, maxUserName); err != nil {
		return err
	}
	seen, err := m.group(ctx, caller, action, group)
	if err != nil {
		return err
	}
	return m.update(ctx, func(tx *store.Tx) error {
		g, ok := Groups.Get(tx, m.scope(), id(group))
		if !ok || g.ID != seen.ID {
			return noGroup(group)
		}
		u, ok := Users.Get(tx, m.scope(), id(user))
		if !ok {
			return noUser(user)
		}
		n := u.clone()
		if err := fn(g, n); err != nil {
			return err
		}
		Users.Put(tx, m.scope(), id(user), n)
		return nil
	})
}

// ListGroupsForUser returns a user's groups in the order of their names
// (iam:ListGroupsForUser).
func (m *Manager) ListGroupsForUser(ctx context.Context, caller Caller, user string, p Page) (Listing[*Group], error) {
	u, err := m.user(ctx, caller, "iam:ListGroupsForUser", user)
	if err != nil {
		return Listing[*Group]{}, err
	}
	return page("user-groups", p, GroupsOf(m.Store.View(), u), func(g *Group) string { return id(g.Name) })
}

// GroupsOf returns the groups of a user in the order of their names. It is for
// showing: what decides is read by PoliciesOfUser, which misses no group.
func GroupsOf(r store.Reader, u *User) []*Group {
	var out []*Group
	for _, groupID := range u.Groups {
		if g, ok := GroupByID(r, u.Account, groupID); ok {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *Group) int { return strings.Compare(id(a.Name), id(b.Name)) })
	return out
}
