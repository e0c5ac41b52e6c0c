// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"slices"

	"podid/internal/store"
)

// Filters of GetAccountAuthorizationDetails.
var detailFilters = []string{"User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"}

// Detail is one thing of an account with all its policies: exactly one of the
// members is set.
type Detail struct {
	User     *User
	Group    *Group
	Role     *Role
	Policy   *PolicyInfo
	Groups   []string      // names of the user's groups
	Profiles []ProfileInfo // that hold the role

	order string
}

// AccountDetails returns users, then groups, roles and managed policies, with
// their policies. filter chooses kinds; none is all
// (iam:GetAccountAuthorizationDetails).
func (m *Manager) AccountDetails(ctx context.Context, caller Caller, filter []string, p Page) (Listing[Detail], error) {
	none := Listing[Detail]{}
	for _, f := range filter {
		if !slices.Contains(detailFilters, f) {
			return none, constraint("filter", f, "satisfy enum value set: [User, Role, Group, LocalManagedPolicy, AWSManagedPolicy]")
		}
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:GetAccountAuthorizationDetails", Resource: "*"}); err != nil {
		return none, err
	}
	v := m.Store.View()
	wants := func(kind string) bool { return len(filter) == 0 || slices.Contains(filter, kind) }
	all := m.principalDetails(v, wants)
	policies, err := m.policyDetails(v, wants)
	if err != nil {
		return none, err
	}
	out, err := page("account-authorization-details", p, append(all, policies...), func(d Detail) string { return d.order })
	// What is costly to look up is looked up for the part that is wanted.
	for i, d := range out.Items {
		switch {
		case d.User != nil:
			out.Items[i].Groups = groupNames(v, d.User)
		case d.Role != nil:
			out.Items[i].Role = m.Shown(v, d.Role)
			for _, x := range InstanceProfiles.ByIndex(v, m.scope(), d.Role.ID) {
				out.Items[i].Profiles = append(out.Items[i].Profiles, m.profileInfo(v, x))
			}
		}
	}
	return out, err
}

func (m *Manager) principalDetails(v store.Reader, wants func(string) bool) []Detail {
	var out []Detail
	if wants("User") {
		for key, u := range Users.List(v, m.scope(), "", "") {
			out = append(out, Detail{User: u, order: "1" + key})
		}
	}
	if wants("Group") {
		for key, g := range Groups.List(v, m.scope(), "", "") {
			out = append(out, Detail{Group: g, order: "2" + key})
		}
	}
	if wants("Role") {
		for key, r := range Roles.List(v, m.scope(), "", "") {
			out = append(out, Detail{Role: r, order: "3" + key})
		}
	}
	return out
}

func (m *Manager) policyDetails(v store.Reader, wants func(string) bool) ([]Detail, error) {
	scope := "All"
	switch local, aws := wants("LocalManagedPolicy"), wants("AWSManagedPolicy"); {
	case !local && !aws:
		return nil, nil
	case !aws:
		scope = "Local"
	case !local:
		scope = "AWS"
	}
	policies, err := m.policiesIn(v, scope)
	if err != nil {
		return nil, err
	}
	usages := m.usages(v)
	out := make([]Detail, 0, len(policies))
	for _, p := range policies {
		out = append(out, Detail{Policy: &PolicyInfo{p, usages[p.ARN()]}, order: "4" + p.order()})
	}
	return out, nil
}

func groupNames(r store.Reader, u *User) []string {
	var out []string
	for _, groupID := range u.Groups {
		if g, ok := GroupByID(r, u.Account, groupID); ok {
			out = append(out, g.Name)
		}
	}
	return out
}

// Attached names managed policies by their ARNs.
func Attached(arns []string) []AttachedPolicy {
	out := make([]AttachedPolicy, len(arns))
	for i, a := range arns {
		_, name := policyPathName(a)
		out[i] = AttachedPolicy{name, a}
	}
	return out
}

// AllVersions returns the policy's versions, the newest first.
func (p *Policy) AllVersions() []VersionInfo {
	out := make([]VersionInfo, 0, len(p.Versions))
	for _, v := range slices.Backward(p.Versions) {
		out = append(out, VersionInfo{v, v.ID == p.Default})
	}
	return out
}
