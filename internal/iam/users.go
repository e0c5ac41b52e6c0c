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

func (u *User) clone() *User {
	n := *u
	n.Inline, n.Attached, n.Tags, n.Keys = slices.Clone(u.Inline), slices.Clone(u.Attached), slices.Clone(u.Tags), slices.Clone(u.Keys)
	n.Groups = slices.Clone(u.Groups)
	return &n
}

// CreateUserInput describes a user to be made. Path "" is "/".
type CreateUserInput struct {
	Path, Name, Boundary string
	Tags                 []Tag
}

// CreateUser makes a user without keys and policies (iam:CreateUser, with
// tags also iam:TagUser).
func (m *Manager) CreateUser(ctx context.Context, caller Caller, in CreateUserInput) (*User, error) {
	if err := checkName("userName", in.Name, maxUserName); err != nil {
		return nil, err
	}
	path, err := checkPath(in.Path)
	if err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if in.Boundary != "" {
		if err := m.checkPolicyARN(in.Boundary); err != nil {
			return nil, err
		}
	}
	if err := m.authorizeCreate(ctx, caller, "iam:CreateUser", "iam:TagUser", m.arn("user", path, in.Name), in.Boundary, in.Tags); err != nil {
		return nil, err
	}
	u, err := m.newUser(path, in.Name)
	if err != nil {
		return nil, err
	}
	u.Boundary, u.Tags = in.Boundary, in.Tags
	err = m.update(ctx, func(tx *store.Tx) error {
		if old, ok := Users.Get(tx, m.scope(), id(in.Name)); ok {
			return fault.New(fault.AlreadyExists, "User with name %s already exists.", old.Name).WithReason("user-exists")
		}
		if err := m.requirePolicy(tx, in.Boundary); err != nil {
			return err
		}
		if err := full(m, tx, Users, UsersPerAccount); err != nil {
			return err
		}
		Users.Put(tx, m.scope(), id(in.Name), u)
		return nil
	})
	return u, err
}

func (m *Manager) newUser(path, name string) (*User, error) {
	userID, err := newID(m.Rand, prefixUser)
	if err != nil {
		return nil, err
	}
	return &User{ID: userID, Partition: m.Partition, Account: m.Account, Path: path, Name: name, Created: m.now()}, nil
}

// own returns the name given, or for "" the caller's own.
func own(caller Caller, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	if caller.Kind != CallerUser {
		return "", invalid("userName", "Must specify userName when calling with non-User credentials")
	}
	return caller.User.Name, nil
}

// GetUser returns a user; "" is the caller (iam:GetUser).
func (m *Manager) GetUser(ctx context.Context, caller Caller, name string) (*User, error) {
	name, err := own(caller, name)
	if err != nil {
		return nil, err
	}
	return m.user(ctx, caller, "iam:GetUser", name)
}

// ListUsers returns the users whose path begins with the prefix, in the order
// of their names (iam:ListUsers).
func (m *Manager) ListUsers(ctx context.Context, caller Caller, pathPrefix string, p Page) (Listing[*User], error) {
	prefix, err := checkPathPrefix(pathPrefix)
	if err != nil {
		return Listing[*User]{}, err
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:ListUsers", Resource: m.arn("user", prefix, "")}); err != nil {
		return Listing[*User]{}, err
	}
	var all []*User
	for _, u := range Users.List(m.Store.View(), m.scope(), "", "") {
		if strings.HasPrefix(u.Path, prefix) {
			all = append(all, u)
		}
	}
	return page("users", p, all, func(u *User) string { return id(u.Name) })
}

// DeleteUser removes a user that has no keys and policies left and is in no
// group (iam:DeleteUser).
func (m *Manager) DeleteUser(ctx context.Context, caller Caller, name string) error {
	seen, err := m.user(ctx, caller, "iam:DeleteUser", name)
	if err != nil {
		return err
	}
	return m.update(ctx, func(tx *store.Tx) error {
		u, ok := Users.Get(tx, m.scope(), id(name))
		switch {
		case !ok || u.ID != seen.ID:
			return noUser(name)
		case len(u.Keys) > 0:
			return conflict("Cannot delete entity, must delete access keys first.")
		case len(u.Attached) > 0:
			return conflict("Cannot delete entity, must detach all policies first.")
		case len(u.Inline) > 0:
			return conflict("Cannot delete entity, must delete policies first.")
		case len(u.Groups) > 0:
			return conflict("Cannot delete entity, must remove users from group first.")
		}
		Users.Delete(tx, m.scope(), id(name))
		return nil
	})
}

// TagUser sets tags (iam:TagUser).
func (m *Manager) TagUser(ctx context.Context, caller Caller, name string, tags []Tag) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return m.changeUser(ctx, caller, "iam:TagUser", name, requestKeys(tags), func(_ *store.Tx, u *User) (err error) {
		u.Tags, err = m.mergeTags(u.Tags, tags, TagsPerUser)
		return err
	})
}

// UntagUser removes tags (iam:UntagUser).
func (m *Manager) UntagUser(ctx context.Context, caller Caller, name string, keys []string) error {
	if err := checkTagKeys(keys); err != nil {
		return err
	}
	return m.changeUser(ctx, caller, "iam:UntagUser", name, tagKeysKey(keys), func(_ *store.Tx, u *User) error {
		u.Tags = dropTags(u.Tags, keys)
		return nil
	})
}

// ListUserTags returns the tags (iam:ListUserTags).
func (m *Manager) ListUserTags(ctx context.Context, caller Caller, name string, p Page) (Listing[Tag], error) {
	u, err := m.user(ctx, caller, "iam:ListUserTags", name)
	if err != nil {
		return Listing[Tag]{}, err
	}
	return pageTags("user-tags", p, u.Tags)
}
