// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"fmt"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/store"
)

// Reading for authn, authz and sts: no questions are asked here, as these
// rooms are the ones that answer them.

// FindRole returns a role by its name.
func FindRole(r store.Reader, account, name string) (*Role, bool) {
	return Roles.Get(r, store.Scope{Account: account, Region: store.Global}, id(name))
}

// RoleByID returns a role by its unique id (AROA…).
func RoleByID(r store.Reader, account, roleID string) (*Role, bool) {
	_, role, ok := Roles.FindIndex(r, store.Scope{Account: account, Region: store.Global}, roleID)
	return role, ok
}

// RoleByARN returns the role that an ARN names, path and all.
func RoleByARN(r store.Reader, roleARN string) (*Role, bool) {
	a, err := arn.ParseRole(roleARN)
	if err != nil {
		return nil, false
	}
	role, ok := FindRole(r, a.Account, a.Name)
	if !ok || a != (arn.Role{Partition: role.Partition, Account: role.Account, Path: role.Path, Name: role.Name}) {
		return nil, false
	}
	return role, true
}

// UserByAccessKey returns the user that holds an access key, active or not.
func UserByAccessKey(r store.Reader, account, keyID string) (*User, *AccessKey, bool) {
	_, u, ok := Users.FindIndex(r, store.Scope{Account: account, Region: store.Global}, keyID)
	if !ok {
		return nil, nil, false
	}
	for i := range u.Keys {
		if u.Keys[i].ID == keyID {
			return u, &u.Keys[i], true
		}
	}
	return nil, nil, false
}

// FindPolicy returns a managed policy of the account, or one of AWS'.
func FindPolicy(r store.Reader, account, policyARN string) (*Policy, bool) {
	a, err := arn.Parse(policyARN)
	if err != nil || a.Service != "iam" || a.Region != "" {
		return nil, false
	}
	if a.Account == managedAccount {
		return awsPolicy(r, policyARN)
	}
	if a.Account != account {
		return nil, false
	}
	_, name := policyPathName(policyARN)
	p, ok := Policies.Get(r, store.Scope{Account: account, Region: store.Global}, id(name))
	if !ok || p.ARN() != policyARN {
		return nil, false
	}
	return p, true
}

// UserByID returns a user by its unique id (AIDA…).
func UserByID(r store.Reader, account, userID string) (*User, bool) {
	_, u, ok := Users.FindIndex(r, store.Scope{Account: account, Region: store.Global}, userID)
	return u, ok && u.ID == userID
}

// GroupByID returns a group by its unique id (AGPA…).
func GroupByID(r store.Reader, account, groupID string) (*Group, bool) {
	_, g, ok := Groups.FindIndex(r, store.Scope{Account: account, Region: store.Global}, groupID)
	return g, ok
}

// PolicyRef is a policy document and how decisions name it. ARN is empty for
// inline policies; Group is the group that the policy comes from, empty for
// what is the principal's own.
type PolicyRef struct{ Name, ARN, Document, Group string }

// ManagedPolicy returns the default version of a managed policy; NotFound
// when there is none.
func ManagedPolicy(r store.Reader, policyARN string) (PolicyRef, error) {
	a, err := arn.Parse(policyARN)
	if err != nil {
		return PolicyRef{}, notAttachable(policyARN)
	}
	p, ok := FindPolicy(r, a.Account, policyARN)
	if !ok {
		return PolicyRef{}, notAttachable(policyARN)
	}
	return PolicyRef{Name: p.Name, ARN: policyARN, Document: p.Document()}, nil
}

// PoliciesOfRole returns the inline and attached policies of a role.
func PoliciesOfRole(r store.Reader, role *Role) ([]PolicyRef, error) {
	return policiesOf(r, role.Inline, role.Attached)
}

// PoliciesOfUser returns the inline and attached policies of a user, then
// those of the user's groups.
func PoliciesOfUser(r store.Reader, u *User) ([]PolicyRef, error) {
	out, err := policiesOf(r, u.Inline, u.Attached)
	if err != nil {
		return nil, err
	}
	for _, groupID := range u.Groups {
		g, ok := GroupByID(r, u.Account, groupID)
		if !ok {
			// It might hold a denial: nothing may be allowed without it.
			return nil, &fault.Error{Kind: fault.Internal, Reason: "group-missing", Err: fmt.Errorf("read group %s of user %s: not found", groupID, u.Name)}
		}
		refs, err := PoliciesOfGroup(r, g)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			ref.Group = g.Name
			out = append(out, ref)
		}
	}
	return out, nil
}

// PoliciesOfGroup returns the inline and attached policies of a group.
func PoliciesOfGroup(r store.Reader, g *Group) ([]PolicyRef, error) {
	return policiesOf(r, g.Inline, g.Attached)
}

func policiesOf(r store.Reader, inline []InlinePolicy, attached []string) ([]PolicyRef, error) {
	out := make([]PolicyRef, 0, len(inline)+len(attached))
	for _, p := range inline {
		out = append(out, PolicyRef{Name: p.Name, Document: p.Document})
	}
	for _, a := range attached {
		ref, err := ManagedPolicy(r, a)
		if err != nil {
			return nil, missing(a, err)
		}
		out = append(out, ref)
	}
	return out, nil
}

// BoundaryOf returns the boundary that an ARN names; false for "".
func BoundaryOf(r store.Reader, boundaryARN string) (PolicyRef, bool, error) {
	if boundaryARN == "" {
		return PolicyRef{}, false, nil
	}
	ref, err := ManagedPolicy(r, boundaryARN)
	if err != nil {
		return PolicyRef{}, false, missing(boundaryARN, err)
	}
	return ref, true, nil
}

// missing is a reference to a policy that is not there: the store is damaged,
// and nothing may be allowed as long as it is.
func missing(policyARN string, err error) error {
	return &fault.Error{Kind: fault.Internal, Reason: "policy-missing", Err: fmt.Errorf("read policy %s: %w", policyARN, err)}
}
