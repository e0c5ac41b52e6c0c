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

const (
	prefixProfile  = "AIPA"
	maxProfileName = 128

	// serviceEC2 is the service that instance profiles hand roles to.
	serviceEC2 = "ec2.amazonaws.com"
)

// Quotas of instance profiles. A profile holds one role, which cannot be
// raised.
const (
	InstanceProfilesPerAccount Quota = "InstanceProfilesPerAccount"
	TagsPerInstanceProfile     Quota = "TagsPerInstanceProfile"

	rolesPerProfile Quota = "InstanceSessionsPerInstanceProfile"
)

// InstanceProfile is a container for a role of machines. podid starts no
// machines: it keeps profiles for tools that make them beside a role.
type InstanceProfile struct {
	ID        string    `cbor:"1,keyasint"` // AIPA…
	Partition string    `cbor:"2,keyasint"`
	Account   string    `cbor:"3,keyasint"`
	Path      string    `cbor:"4,keyasint"`
	Name      string    `cbor:"5,keyasint"`
	RoleID    string    `cbor:"6,keyasint,omitempty"` // unique id of the role, "" for none
	Tags      []Tag     `cbor:"7,keyasint,omitempty"`
	Created   time.Time `cbor:"8,keyasint"`
}

// ARN is the profile's ARN with its path.
func (p *InstanceProfile) ARN() string {
	return arn.IAM(p.Partition, p.Account, "instance-profile", p.Path, p.Name)
}

func (p *InstanceProfile) clone() *InstanceProfile {
	n := *p
	n.Tags = slices.Clone(p.Tags)
	return &n
}

// InstanceProfiles is the table, by name in lower case. Index: unique id, and
// the unique id of the role.
var InstanceProfiles = store.NewTable("instance-profile", func(p *InstanceProfile) []string {
	if p.RoleID == "" {
		return []string{p.ID}
	}
	return []string{p.ID, p.RoleID}
})

// ProfileInfo is an instance profile and the role in it, nil for none.
type ProfileInfo struct {
	*InstanceProfile
	Role *Role
}

func noProfile(name string) error {
	return fault.New(fault.NotFound, "Instance Profile %s cannot be found.", name).WithReason("instance-profile-not-found")
}

// profileInfo adds the role as its owner sees it.
func (m *Manager) profileInfo(r store.Reader, p *InstanceProfile) ProfileInfo {
	out := ProfileInfo{InstanceProfile: p}
	if p.RoleID != "" {
		if role, ok := RoleByID(r, m.Account, p.RoleID); ok {
			out.Role = m.Shown(r, role)
		}
	}
	return out
}

// inProfile says whether an instance profile holds the role. In a transaction
// all profiles count as read, so none can take the role up meanwhile.
func (m *Manager) inProfile(r store.Reader, roleID string) bool {
	for _, p := range InstanceProfiles.List(r, m.scope(), "", "") {
		if p.RoleID == roleID {
			return true
		}
	}
	return false
}

// profile returns the instance profile and asks whether the caller may do the
// action on it.
func (m *Manager) profile(ctx context.Context, caller Caller, action, name string, keys ...ConditionKey) (*InstanceProfile, error) {
	if err := checkName("instanceProfileName", name, maxProfileName); err != nil {
		return nil, err
	}
	p, err := fenced(ctx, m.Store, func(v store.Reader) (*InstanceProfile, bool) {
		return InstanceProfiles.Get(v, m.scope(), id(name))
	})
	if err != nil {
		return nil, err
	}
	q := Query{Action: action, Resource: m.arn("instance-profile", "/", name), Keys: keys}
	if p != nil {
		q.Resource, q.Keys = p.ARN(), append(resourceKeys(p.Tags), keys...)
	}
	if err := m.Authz.Authorize(ctx, caller, q); err != nil {
		return nil, err
	}
	if p == nil {
		return nil, noProfile(name)
	}
	return p, nil
}

// changeProfile asks, then applies fn to a copy of the profile in a
// transaction.
func (m *Manager) changeProfile(ctx context.Context, caller Caller, action, name string, keys []ConditionKey, fn func(tx *store.Tx, p *InstanceProfile) error) error {
	seen, err := m.profile(ctx, caller, action, name, keys...)
	if err != nil {
		return err
	}
	return m.putProfile(ctx, seen, fn)
}

func (m *Manager) putProfile(ctx context.Context, seen *InstanceProfile, fn func(tx *store.Tx, p *InstanceProfile) error) error {
	return m.update(ctx, func(tx *store.Tx) error {
		p, ok := InstanceProfiles.Get(tx, m.scope(), id(seen.Name))
		if !ok || p.ID != seen.ID {
			return noProfile(seen.Name)
		}
		n := p.clone()
		if err := fn(tx, n); err != nil {
			return err
		}
		InstanceProfiles.Put(tx, m.scope(), id(n.Name), n)
		return nil
	})
}

// CreateInstanceProfile makes a profile without a role; path "" is "/"
// (iam:CreateInstanceProfile, with tags also iam:TagInstanceProfile).
func (m *Manager) CreateInstanceProfile(ctx context.Context, caller Caller, path, name string, tags []Tag) (ProfileInfo, error) {
	none := ProfileInfo{}
	if err := checkName("instanceProfileName", name, maxProfileName); err != nil {
		return none, err
	}
	path, err := checkPath(path)
	if err != nil {
		return none, err
	}
	if err := checkTags(tags); err != nil {
		return none, err
	}
	if err := m.authorizeCreate(ctx, caller, "iam:CreateInstanceProfile", "iam:TagInstanceProfile", m.arn("instance-profile", path, name), "", tags); err != nil {
		return none, err
	}
	profileID, err := newID(m.Rand, prefixProfile)
	if err != nil {
		return none, err
	}
	p := &InstanceProfile{ID: profileID, Partition: m.Partition, Account: m.Account, Path: path, Name: name, Tags: tags, Created: m.now()}
	err = m.update(ctx, func(tx *store.Tx) error {
		if old, ok := InstanceProfiles.Get(tx, m.scope(), id(name)); ok {
			return fault.New(fault.AlreadyExists, "Instance Profile %s already exists.", old.Name).WithReason("instance-profile-exists")
		}
		if err := full(m, tx, InstanceProfiles, InstanceProfilesPerAccount); err != nil {
			return err
		}
		InstanceProfiles.Put(tx, m.scope(), id(name), p)
		return nil
	})
	return ProfileInfo{InstanceProfile: p}, err
}

// GetInstanceProfile returns a profile with its role (iam:GetInstanceProfile).
func (m *Manager) GetInstanceProfile(ctx context.Context, caller Caller, name string) (ProfileInfo, error) {
	p, err := m.profile(ctx, caller, "iam:GetInstanceProfile", name)
	if err != nil {
		return ProfileInfo{}, err
	}
	return m.profileInfo(m.Store.View(), p), nil
}

// ListInstanceProfiles returns the profiles whose path begins with the
// prefix, in the order of their names (iam:ListInstanceProfiles).
func (m *Manager) ListInstanceProfiles(ctx context.Context, caller Caller, pathPrefix string, p Page) (Listing[ProfileInfo], error) {
	prefix, err := checkPathPrefix(pathPrefix)
	if err != nil {
		return Listing[ProfileInfo]{}, err
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:ListInstanceProfiles", Resource: m.arn("instance-profile", prefix, "")}); err != nil {
		return Listing[ProfileInfo]{}, err
	}
	return m.pageProfiles("instance-profiles", p, func(x *InstanceProfile) bool { return strings.HasPrefix(x.Path, prefix) })
}

// ListInstanceProfilesForRole returns the profiles that hold a role
// (iam:ListInstanceProfilesForRole).
func (m *Manager) ListInstanceProfilesForRole(ctx context.Context, caller Caller, roleName string, p Page) (Listing[ProfileInfo], error) {
	r, err := m.role(ctx, caller, "iam:ListInstanceProfilesForRole", roleName)
	if err != nil {
		return Listing[ProfileInfo]{}, err
	}
	return m.pageProfiles("instance-profiles-for-role", p, func(x *InstanceProfile) bool { return x.RoleID == r.ID })
}

func (m *Manager) pageProfiles(list string, p Page, wanted func(*InstanceProfile) bool) (Listing[ProfileInfo], error) {
	v := m.Store.View()
	var all []ProfileInfo
	for _, x := range InstanceProfiles.List(v, m.scope(), "", "") {
		if wanted(x) {
			all = append(all, m.profileInfo(v, x))
		}
	}
	return page(list, p, all, func(x ProfileInfo) string { return id(x.Name) })
}

// DeleteInstanceProfile removes a profile that holds no role
// (iam:DeleteInstanceProfile).
func (m *Manager) DeleteInstanceProfile(ctx context.Context, caller Caller, name string) error {
	seen, err := m.profile(ctx, caller, "iam:DeleteInstanceProfile", name)
	if err != nil {
		return err
	}
	return m.update(ctx, func(tx *store.Tx) error {
		p, ok := InstanceProfiles.Get(tx, m.scope(), id(name))
		switch {
		case !ok || p.ID != seen.ID:
			return noProfile(name)
		case p.RoleID != "":
			return roleInProfile()
		}
		InstanceProfiles.Delete(tx, m.scope(), id(name))
		return nil
	})
}

func roleInProfile() error {
	return conflict("Cannot delete entity, must remove roles from instance profile first.")
}

// AddRoleToInstanceProfile puts a role into a profile that has none
// (iam:AddRoleToInstanceProfile on the profile and, as it hands the role to
// machines, iam:PassRole on the role with iam:PassedToService
// ec2.amazonaws.com).
func (m *Manager) AddRoleToInstanceProfile(ctx context.Context, caller Caller, name, roleName string) error {
	seen, err := m.profile(ctx, caller, "iam:AddRoleToInstanceProfile", name)
	if err != nil {
		return err
	}
	role, err := m.role(ctx, caller, "iam:PassRole", roleName, ConditionKey{Name: "iam:PassedToService", Values: []string{serviceEC2}})
	if err != nil {
		return err
	}
	return m.putProfile(ctx, seen, func(tx *store.Tx, p *InstanceProfile) error {
		r, ok := Roles.Get(tx, m.scope(), id(roleName))
		switch {
		case !ok || r.ID != role.ID:
			return noRole(roleName)
		case p.RoleID != "":
			return overQuota(rolesPerProfile, 1)
		}
		p.RoleID = r.ID
		return nil
	})
}

// RemoveRoleFromInstanceProfile takes the role out of a profile
// (iam:RemoveRoleFromInstanceProfile).
func (m *Manager) RemoveRoleFromInstanceProfile(ctx context.Context, caller Caller, name, roleName string) error {
	if err := checkName("roleName", roleName, maxRoleName); err != nil {
		return err
	}
	return m.changeProfile(ctx, caller, "iam:RemoveRoleFromInstanceProfile", name, nil, func(tx *store.Tx, p *InstanceProfile) error {
		r, ok := Roles.Get(tx, m.scope(), id(roleName))
		switch {
		case !ok:
			return noRole(roleName)
		case r.ID != p.RoleID:
			return fault.New(fault.NotFound, "Role %s in Instance Profile %s cannot be found.", r.Name, p.Name).WithReason("role-not-in-instance-profile")
		}
		p.RoleID = ""
		return nil
	})
}

// TagInstanceProfile sets tags (iam:TagInstanceProfile).
func (m *Manager) TagInstanceProfile(ctx context.Context, caller Caller, name string, tags []Tag) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return m.changeProfile(ctx, caller, "iam:TagInstanceProfile", name, requestKeys(tags), func(_ *store.Tx, p *InstanceProfile) (err error) {
		p.Tags, err = m.mergeTags(p.Tags, tags, TagsPerInstanceProfile)
		return err
	})
}

// UntagInstanceProfile removes tags (iam:UntagInstanceProfile).
func (m *Manager) UntagInstanceProfile(ctx context.Context, caller Caller, name string, keys []string) error {
	if err := checkTagKeys(keys); err != nil {
		return err
	}
	return m.changeProfile(ctx, caller, "iam:UntagInstanceProfile", name, tagKeysKey(keys), func(_ *store.Tx, p *InstanceProfile) error {
		p.Tags = dropTags(p.Tags, keys)
		return nil
	})
}

// ListInstanceProfileTags returns the tags (iam:ListInstanceProfileTags).
func (m *Manager) ListInstanceProfileTags(ctx context.Context, caller Caller, name string, p Page) (Listing[Tag], error) {
	x, err := m.profile(ctx, caller, "iam:ListInstanceProfileTags", name)
	if err != nil {
		return Listing[Tag]{}, err
	}
	return pageTags("instance-profile-tags", p, x.Tags)
}
