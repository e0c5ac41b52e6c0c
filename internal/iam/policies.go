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

func (p *Policy) clone() *Policy {
	n := *p
	n.Versions, n.Tags = slices.Clone(p.Versions), slices.Clone(p.Tags)
	return &n
}

// Usage counts what a managed policy is used for.
type Usage struct{ Attachments, Boundaries int }

// usages counts the attachments of every managed policy.
func (m *Manager) usages(r store.Reader) map[string]Usage {
	out := map[string]Usage{}
	count := func(attached []string, boundary string) {
		for _, a := range attached {
			u := out[a]
			u.Attachments++
			out[a] = u
		}
		if boundary != "" {
			u := out[boundary]
			u.Boundaries++
			out[boundary] = u
		}
	}
	for _, role := range Roles.List(r, m.scope(), "", "") {
		count(role.Attached, role.Boundary)
	}
	for _, user := range Users.List(r, m.scope(), "", "") {
		count(user.Attached, user.Boundary)
	}
	for _, group := range Groups.List(r, m.scope(), "", "") {
		count(group.Attached, "")
	}
	return out
}

// PolicyInfo is a managed policy and how much it is used.
type PolicyInfo struct {
	*Policy
	Usage
}

// policy returns the managed policy and asks whether the caller may do the
// action on it.
func (m *Manager) policy(ctx context.Context, caller Caller, action, policyARN string, keys ...ConditionKey) (*Policy, error) {
	if err := m.checkPolicyARN(policyARN); err != nil {
		return nil, err
	}
	p, err := fenced(ctx, m.Store, func(v store.Reader) (*Policy, bool) { return FindPolicy(v, m.Account, policyARN) })
	if err != nil {
		return nil, err
	}
	if p != nil {
		keys = append(resourceKeys(p.Tags), keys...)
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: action, Resource: policyARN, Keys: keys}); err != nil {
		return nil, err
	}
	if p == nil {
		return nil, noPolicy(policyARN)
	}
	return p, nil
}

// changePolicy asks, then applies fn to a copy of the account's own policy.
func (m *Manager) changePolicy(ctx context.Context, caller Caller, action, policyARN string, keys []ConditionKey, fn func(tx *store.Tx, p *Policy) error) error {
	seen, err := m.policy(ctx, caller, action, policyARN, keys...)
	if err != nil {
		return err
	}
	if seen.Account == managedAccount {
		return notOurs(caller, action, policyARN)
	}
	return m.update(ctx, func(tx *store.Tx) error {
		p, ok := FindPolicy(tx, m.Account, policyARN)
		if !ok || p.ID != seen.ID {
			return noPolicy(policyARN)
		}
		n := p.clone()
		if err := fn(tx, n); err != nil {
			return err
		}
		Policies.Put(tx, m.scope(), id(n.Name), n)
		return nil
	})
}

// CreatePolicyInput describes a managed policy to be made.
type CreatePolicyInput struct {
	Path, Name, Document, Description string
	Tags                              []Tag
}

// CreatePolicy makes a managed policy (iam:CreatePolicy, with tags also
// iam:TagPolicy).
func (m *Manager) CreatePolicy(ctx context.Context, caller Caller, in CreatePolicyInput) (PolicyInfo, error) {
	if err := checkName("policyName", in.Name, maxPolicyName); err != nil {
		return PolicyInfo{}, err
	}
	path, err := checkPath(in.Path)
	if err != nil {
		return PolicyInfo{}, err
	}
	if err := checkLength("description", in.Description, 0, maxDescription); err != nil {
		return PolicyInfo{}, err
	}
	if err := checkTags(in.Tags); err != nil {
		return PolicyInfo{}, err
	}
	if err := m.authorizeCreate(ctx, caller, "iam:CreatePolicy", "iam:TagPolicy", m.arn("policy", path, in.Name), "", in.Tags); err != nil {
		return PolicyInfo{}, err
	}
	if err := m.checkManaged(in.Document); err != nil {
		return PolicyInfo{}, err
	}
	policyID, err := newID(m.Rand, prefixPolicy)
	if err != nil {
		return PolicyInfo{}, err
	}
	now := m.now()
	p := &Policy{
		ID: policyID, Partition: m.Partition, Account: m.Account, Path: path, Name: in.Name, Description: in.Description,
		Default: "v1", Versions: []PolicyVersion{{"v1", in.Document, now}}, Tags: in.Tags, Created: now, Updated: now, NextVersion: 2,
	}
	err = m.update(ctx, func(tx *store.Tx) error {
		if _, ok := Policies.Get(tx, m.scope(), id(in.Name)); ok {
			return fault.New(fault.AlreadyExists, "A policy called %s already exists. Duplicate names are not allowed.", in.Name).WithReason("policy-exists")
		}
		if err := full(m, tx, Policies, PoliciesPerAccount); err != nil {
			return err
		}
		Policies.Put(tx, m.scope(), id(in.Name), p)
		return nil
	})
	return PolicyInfo{Policy: p}, err
}

// GetPolicy returns a managed policy (iam:GetPolicy).
func (m *Manager) GetPolicy(ctx context.Context, caller Caller, policyARN string) (PolicyInfo, error) {
	p, err := m.policy(ctx, caller, "iam:GetPolicy", policyARN)
	if err != nil {
		return PolicyInfo{}, err
	}
	return PolicyInfo{p, m.usages(m.Store.View())[policyARN]}, nil
}

// ListPoliciesInput filters a list of managed policies.
type ListPoliciesInput struct {
	Scope        string // "All" or "", "AWS", "Local"
	PathPrefix   string
	OnlyAttached bool
	UsageFilter  string // "", "PermissionsPolicy", "PermissionsBoundary"
	Page         Page
}

// ListPolicies returns managed policies in the order of their names, the
// account's own first (iam:ListPolicies).
func (m *Manager) ListPolicies(ctx context.Context, caller Caller, in ListPoliciesInput) (Listing[PolicyInfo], error) {
	none := Listing[PolicyInfo]{}
	prefix, err := checkPathPrefix(in.PathPrefix)
	if err != nil {
		return none, err
	}
	if !slices.Contains([]string{"", "All", "AWS", "Local"}, in.Scope) {
		return none, constraint("scope", in.Scope, "satisfy enum value set: [All, AWS, Local]")
	}
	if !slices.Contains([]string{"", "PermissionsPolicy", "PermissionsBoundary"}, in.UsageFilter) {
		return none, constraint("policyUsageFilter", in.UsageFilter, "satisfy enum value set: [PermissionsPolicy, PermissionsBoundary]")
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:ListPolicies", Resource: m.arn("policy", prefix, "")}); err != nil {
		return none, err
	}
	v := m.Store.View()
	all, err := m.policiesIn(v, in.Scope)
	if err != nil {
		return none, err
	}
	usages := m.usages(v)
	var out []PolicyInfo
	for _, p := range all {
		info := PolicyInfo{p, usages[p.ARN()]}
		if strings.HasPrefix(p.Path, prefix) && info.wanted(in) {
			out = append(out, info)
		}
	}
	return page("policies", in.Page, out, func(p PolicyInfo) string { return p.order() })
}

// order puts the account's own policies before AWS'.
func (p *Policy) order() string {
	if p.Account == managedAccount {
		return "2" + id(p.Name)
	}
	return "1" + id(p.Name)
}

func (p PolicyInfo) wanted(in ListPoliciesInput) bool {
	switch in.UsageFilter {
	case "PermissionsPolicy":
		return p.Attachments > 0
	case "PermissionsBoundary":
		return p.Boundaries > 0
	}
	return !in.OnlyAttached || p.Attachments > 0
}

func (m *Manager) policiesIn(r store.Reader, scope string) ([]*Policy, error) {
	var out []*Policy
	if scope != "AWS" {
		for _, p := range Policies.List(r, m.scope(), "", "") {
			out = append(out, p)
		}
	}
	if scope == "Local" {
		return out, nil
	}
	managed, err := allAWSPolicies(r, m.Partition)
	return append(out, managed...), err
}

// DeletePolicy removes a policy that is not used and has one version left
// (iam:DeletePolicy).
func (m *Manager) DeletePolicy(ctx context.Context, caller Caller, policyARN string) error {
	seen, err := m.policy(ctx, caller, "iam:DeletePolicy", policyARN)
	if err != nil {
		return err
	}
	if seen.Account == managedAccount {
		return notOurs(caller, "iam:DeletePolicy", policyARN)
	}
	return m.update(ctx, func(tx *store.Tx) error {
		p, ok := FindPolicy(tx, m.Account, policyARN)
		switch {
		case !ok || p.ID != seen.ID:
			return noPolicy(policyARN)
		case m.usages(tx)[policyARN] != Usage{}:
			return conflict("Cannot delete a policy attached to entities.")
		case len(p.Versions) > 1:
			return conflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		Policies.Delete(tx, m.scope(), id(p.Name))
		return nil
	})
}

// TagPolicy sets tags (iam:TagPolicy).
func (m *Manager) TagPolicy(ctx context.Context, caller Caller, policyARN string, tags []Tag) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return m.changePolicy(ctx, caller, "iam:TagPolicy", policyARN, requestKeys(tags), func(_ *store.Tx, p *Policy) (err error) {
		p.Tags, err = m.mergeTags(p.Tags, tags, TagsPerPolicy)
		return err
	})
}

// UntagPolicy removes tags (iam:UntagPolicy).
func (m *Manager) UntagPolicy(ctx context.Context, caller Caller, policyARN string, keys []string) error {
	if err := checkTagKeys(keys); err != nil {
		return err
	}
	return m.changePolicy(ctx, caller, "iam:UntagPolicy", policyARN, tagKeysKey(keys), func(_ *store.Tx, p *Policy) error {
		p.Tags = dropTags(p.Tags, keys)
		return nil
	})
}

// ListPolicyTags returns the tags (iam:ListPolicyTags).
func (m *Manager) ListPolicyTags(ctx context.Context, caller Caller, policyARN string, p Page) (Listing[Tag], error) {
	pol, err := m.policy(ctx, caller, "iam:ListPolicyTags", policyARN)
	if err != nil {
		return Listing[Tag]{}, err
	}
	return pageTags("policy-tags", p, pol.Tags)
}

// Entity is a group, role or user that a managed policy is used by.
type Entity struct{ Kind, Name, ID string } // Kind: "Group", "Role" or "User"

// ListEntitiesInput filters the users of a managed policy.
type ListEntitiesInput struct {
	PolicyARN, Filter, PathPrefix, UsageFilter string
	Page                                       Page
}

// ListEntitiesForPolicy returns groups, then roles, then users, that the
// policy is attached to or bounds (iam:ListEntitiesForPolicy).
func (m *Manager) ListEntitiesForPolicy(ctx context.Context, caller Caller, in ListEntitiesInput) (Listing[Entity], error) {
	none := Listing[Entity]{}
	prefix, err := checkPathPrefix(in.PathPrefix)
	if err != nil {
		return none, err
	}
	if !slices.Contains([]string{"", "User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"}, in.Filter) {
		return none, constraint("entityFilter", in.Filter, "satisfy enum value set: [User, Role, Group, LocalManagedPolicy, AWSManagedPolicy]")
	}
	if _, err := m.policy(ctx, caller, "iam:ListEntitiesForPolicy", in.PolicyARN); err != nil {
		return none, err
	}
	uses := func(path string, attached []string, boundary string) bool {
		a, b := slices.Contains(attached, in.PolicyARN), boundary == in.PolicyARN
		return strings.HasPrefix(path, prefix) &&
			(a && in.UsageFilter != "PermissionsBoundary" || b && in.UsageFilter != "PermissionsPolicy")
	}
	v := m.Store.View()
	var all []Entity
	for _, g := range Groups.List(v, m.scope(), "", "") {
		if (in.Filter == "" || in.Filter == "Group") && uses(g.Path, g.Attached, "") {
			all = append(all, Entity{"Group", g.Name, g.ID})
		}
	}
	for _, r := range Roles.List(v, m.scope(), "", "") {
		if (in.Filter == "" || in.Filter == "Role") && uses(r.Path, r.Attached, r.Boundary) {
			all = append(all, Entity{"Role", r.Name, r.ID})
		}
	}
	for _, u := range Users.List(v, m.scope(), "", "") {
		if (in.Filter == "" || in.Filter == "User") && uses(u.Path, u.Attached, u.Boundary) {
			all = append(all, Entity{"User", u.Name, u.ID})
		}
	}
	return page("entities", in.Page, all, func(e Entity) string { return e.Kind + "/" + id(e.Name) })
}
