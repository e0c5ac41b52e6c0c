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

func (r *Role) clone() *Role {
	n := *r
	n.Inline, n.Attached, n.Tags = slices.Clone(r.Inline), slices.Clone(r.Attached), slices.Clone(r.Tags)
	return &n
}

// CreateRoleInput describes a role to be made. Path "" is "/"; MaxSession nil
// is an hour.
type CreateRoleInput struct {
	Path, Name, Trust, Description, Boundary string
	MaxSession                               *int32
	Tags                                     []Tag
}

// CreateRole makes a role (iam:CreateRole, with tags also iam:TagRole).
func (m *Manager) CreateRole(ctx context.Context, caller Caller, in CreateRoleInput) (*Role, error) {
	r, err := m.newRole(in)
	if err != nil {
		return nil, err
	}
	if err := m.authorizeCreate(ctx, caller, "iam:CreateRole", "iam:TagRole", r.ARN(), in.Boundary, in.Tags); err != nil {
		return nil, err
	}
	if err := m.checkTrust(in.Trust); err != nil {
		return nil, err
	}
	err = m.update(ctx, func(tx *store.Tx) error {
		if old, ok := Roles.Get(tx, m.scope(), id(in.Name)); ok {
			return fault.New(fault.AlreadyExists, "Role with name %s already exists.", old.Name).WithReason("role-exists")
		}
		if err := m.requirePolicy(tx, in.Boundary); err != nil {
			return err
		}
		if r.Trust, err = m.storedTrust(tx, in.Trust); err != nil {
			return err
		}
		if err := full(m, tx, Roles, RolesPerAccount); err != nil {
			return err
		}
		Roles.Put(tx, m.scope(), id(in.Name), r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.Shown(m.Store.View(), r), nil
}

func (m *Manager) newRole(in CreateRoleInput) (*Role, error) {
	if err := checkName("roleName", in.Name, maxRoleName); err != nil {
		return nil, err
	}
	path, err := checkPath(in.Path)
	if err != nil {
		return nil, err
	}
	if err := checkNotServiceLinked(path, in.Name); err != nil {
		return nil, err
	}
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	longest, err := checkSession(in.MaxSession)
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
	roleID, err := newID(m.Rand, prefixRole)
	if err != nil {
		return nil, err
	}
	return &Role{
		ID: roleID, Partition: m.Partition, Account: m.Account, Path: path, Name: in.Name, Description: in.Description,
		Boundary: in.Boundary, MaxSession: longest, Tags: in.Tags, Created: m.now(),
	}, nil
}

// authorizeCreate asks for the making of a thing and, as AWS does, for
// tagging it when it comes with tags.
func (m *Manager) authorizeCreate(ctx context.Context, caller Caller, action, tagAction, resource, boundary string, tags []Tag) error {
	keys := requestKeys(tags)
	if boundary != "" {
		keys = append(keys, ConditionKey{Name: keyBoundary, Values: []string{boundary}})
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: action, Resource: resource, Keys: keys}); err != nil {
		return err
	}
	if len(tags) == 0 {
		return nil
	}
	return m.Authz.Authorize(ctx, caller, Query{Action: tagAction, Resource: resource, Keys: requestKeys(tags)})
}

// GetRole returns a role as it is shown (iam:GetRole).
func (m *Manager) GetRole(ctx context.Context, caller Caller, name string) (*Role, error) {
	r, err := m.role(ctx, caller, "iam:GetRole", name)
	if err != nil {
		return nil, err
	}
	return m.Shown(m.Store.View(), r), nil
}

// ListRoles returns the roles whose path begins with the prefix, in the order
// of their names (iam:ListRoles).
func (m *Manager) ListRoles(ctx context.Context, caller Caller, pathPrefix string, p Page) (Listing[*Role], error) {
	prefix, err := checkPathPrefix(pathPrefix)
	if err != nil {
		return Listing[*Role]{}, err
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:ListRoles", Resource: m.arn("role", prefix, "")}); err != nil {
		return Listing[*Role]{}, err
	}
	v := m.Store.View()
	var all []*Role
	for _, r := range Roles.List(v, m.scope(), "", "") {
		if strings.HasPrefix(r.Path, prefix) {
			all = append(all, r)
		}
	}
	out, err := page("roles", p, all, func(r *Role) string { return id(r.Name) })
	for i, r := range out.Items {
		out.Items[i] = m.Shown(v, r)
	}
	return out, err
}

// DeleteRole removes a role that has no policies left (iam:DeleteRole). Its
// id is never given again, so sessions and grants that name it are void.
func (m *Manager) DeleteRole(ctx context.Context, caller Caller, name string) error {
	seen, err := m.role(ctx, caller, "iam:DeleteRole", name)
	if err != nil {
		return err
	}
	return m.update(ctx, func(tx *store.Tx) error {
		r, ok := Roles.Get(tx, m.scope(), id(name))
		switch {
		case !ok || r.ID != seen.ID:
			return noRole(name)
		case len(r.Attached) > 0:
			return conflict("Cannot delete entity, must detach all policies first.")
		case len(r.Inline) > 0:
			return conflict("Cannot delete entity, must delete policies first.")
		case m.inProfile(tx, r.ID):
			return roleInProfile()
		}
		Roles.Delete(tx, m.scope(), id(name))
		return nil
	})
}

// UpdateRole changes description and longest session; nil leaves a value
// (iam:UpdateRole).
func (m *Manager) UpdateRole(ctx context.Context, caller Caller, name string, description *string, longest *int32) error {
	if description != nil {
		if err := checkDescription(*description); err != nil {
			return err
		}
	}
	seconds, err := checkSession(longest)
	if err != nil {
		return err
	}
	return m.changeRole(ctx, caller, "iam:UpdateRole", name, nil, func(_ *store.Tx, r *Role) error {
		if description != nil {
			r.Description = *description
		}
		if longest != nil {
			r.MaxSession = seconds
		}
		return nil
	})
}

// UpdateRoleDescription is UpdateRole of the description alone
// (iam:UpdateRoleDescription).
func (m *Manager) UpdateRoleDescription(ctx context.Context, caller Caller, name, description string) (*Role, error) {
	if err := checkDescription(description); err != nil {
		return nil, err
	}
	var out *Role
	err := m.changeRole(ctx, caller, "iam:UpdateRoleDescription", name, nil, func(_ *store.Tx, r *Role) error {
		r.Description = description
		out = r
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.Shown(m.Store.View(), out), nil
}

// UpdateAssumeRolePolicy replaces the trust policy
// (iam:UpdateAssumeRolePolicy).
func (m *Manager) UpdateAssumeRolePolicy(ctx context.Context, caller Caller, name, document string) error {
	if err := checkDocument("policyDocument", document); err != nil {
		return err
	}
	return m.changeRole(ctx, caller, "iam:UpdateAssumeRolePolicy", name, nil, func(tx *store.Tx, r *Role) error {
		if err := m.checkTrust(document); err != nil {
			return err
		}
		trust, err := m.storedTrust(tx, document)
		r.Trust = trust
		return err
	})
}

// TagRole sets tags (iam:TagRole).
func (m *Manager) TagRole(ctx context.Context, caller Caller, name string, tags []Tag) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return m.changeRole(ctx, caller, "iam:TagRole", name, requestKeys(tags), func(_ *store.Tx, r *Role) (err error) {
		r.Tags, err = m.mergeTags(r.Tags, tags, TagsPerRole)
		return err
	})
}

// UntagRole removes tags (iam:UntagRole).
func (m *Manager) UntagRole(ctx context.Context, caller Caller, name string, keys []string) error {
	if err := checkTagKeys(keys); err != nil {
		return err
	}
	return m.changeRole(ctx, caller, "iam:UntagRole", name, tagKeysKey(keys), func(_ *store.Tx, r *Role) error {
		r.Tags = dropTags(r.Tags, keys)
		return nil
	})
}

// ListRoleTags returns the tags in the order of their keys (iam:ListRoleTags).
func (m *Manager) ListRoleTags(ctx context.Context, caller Caller, name string, p Page) (Listing[Tag], error) {
	r, err := m.role(ctx, caller, "iam:ListRoleTags", name)
	if err != nil {
		return Listing[Tag]{}, err
	}
	return pageTags("role-tags", p, r.Tags)
}

func pageTags(list string, p Page, tags []Tag) (Listing[Tag], error) {
	sorted := slices.SortedFunc(slices.Values(tags), func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	return page(list, p, sorted, func(t Tag) string { return t.Key })
}
