// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// check finds what is wrong with a cluster's associations as eksctl does, and
// what eksctl leaves to a later call.
func (c *ClusterConfig) check(r *reader) {
	if c.Name == "" {
		r.faultAt(c.At.Line, "metadata.name, the cluster, is needed")
	}
	seen := map[string]Place{}
	for _, a := range c.Associations {
		a.check(r)
		if at, ok := seen[a.Subject()]; ok {
			r.faultAt(a.At.Line, "%s has an association already, at line %d", a.Subject(), at.Line)
		}
		seen[a.Subject()] = a.At
	}
}

func (a *Association) check(r *reader) {
	fault := func(format string, args ...any) { r.faultAt(a.At.Line, format, args...) }
	if a.Namespace == "" || a.ServiceAccountName == "" {
		fault("an association needs namespace and serviceAccountName")
		return
	}
	own := a.rolesOwn()
	switch {
	case a.RoleARN == "" && a.RoleName == "" && len(own) == 0:
		fault("%s: roleARN, or permissionPolicy, permissionPolicyARNs, wellKnownPolicies or roleName for a role to be made, is needed", a.Subject())
	case a.RoleARN != "" && len(own) > 0:
		fault("%s: %s belongs to a role to be made: the role of roleARN is not changed", a.Subject(), strings.Join(own, ", "))
	case a.RoleARN != "" && a.RoleName != "" && !strings.HasSuffix(a.RoleARN, "/"+a.RoleName):
		fault("%s: roleARN and roleName name different roles", a.Subject())
	}
	if a.PermissionPolicyName != "" && a.PermissionPolicy == nil {
		fault("%s: permissionPolicyName needs permissionPolicy", a.Subject())
	}
	if a.Policy != "" && !a.DisableSessionTags {
		fault("%s: policy needs disableSessionTags: true", a.Subject())
	}
	if a.Policy != "" && !json.Valid([]byte(a.Policy)) {
		fault("%s: policy is not JSON", a.Subject())
	}
}

// rolesOwn names the members that describe a role to be made.
func (a *Association) rolesOwn() []string {
	var out []string
	for _, m := range []struct {
		name  string
		given bool
	}{
		{"permissionPolicy", a.PermissionPolicy != nil},
		{"permissionPolicyARNs", len(a.PermissionPolicyARNs) > 0},
		{"wellKnownPolicies", len(a.WellKnownPolicies) > 0},
		{"permissionsBoundaryARN", a.PermissionsBoundaryARN != ""},
	} {
		if m.given {
			out = append(out, m.name)
		}
	}
	return out
}

func (c *IAMConfig) check(r *reader) {
	names := map[string]bool{}
	for _, p := range c.Policies {
		if p.Name == "" || p.Document == nil {
			r.faultAt(p.At.Line, "a policy needs name and document")
		}
		if names[strings.ToLower(p.Name)] {
			r.faultAt(p.At.Line, "policy %s is given twice", p.Name)
		}
		names[strings.ToLower(p.Name)] = true
		checkPath(r, p.At, p.Path)
	}
	names = map[string]bool{}
	for _, x := range c.Roles {
		if x.Name == "" || x.TrustPolicy == nil {
			r.faultAt(x.At.Line, "a role needs name and trustPolicy")
		}
		if names[strings.ToLower(x.Name)] {
			r.faultAt(x.At.Line, "role %s is given twice", x.Name)
		}
		names[strings.ToLower(x.Name)] = true
		checkPath(r, x.At, x.Path)
		inline := make([]string, len(x.InlinePolicies))
		for i, p := range x.InlinePolicies {
			if inline[i] = p.Name; slices.Contains(inline[:i], p.Name) {
				r.faultAt(x.At.Line, "role %s: inline policy %s is given twice", x.Name, p.Name)
			}
		}
	}
}

func checkPath(r *reader, at Place, path string) {
	if path != "" && (!strings.HasPrefix(path, "/") || !strings.HasSuffix(path, "/")) {
		r.faultAt(at.Line, "path %q must begin and end with /", path)
	}
}

// Check finds what the documents of a set say twice. It is called when all
// files are read.
func (s *Set) Check() error {
	var faults []error
	seen := map[string]Place{}
	once := func(at Place, what string) {
		if first, ok := seen[what]; ok {
			faults = append(faults, fmt.Errorf("%s: %s is given twice, first at %s", at, what, first))
			return
		}
		seen[what] = at
	}
	for _, c := range s.IAM {
		for _, p := range c.Policies {
			once(p.At, "policy "+p.Name)
		}
		for _, x := range c.Roles {
			once(x.At, "role "+x.Name)
		}
	}
	for _, c := range s.Clusters {
		for _, a := range c.Associations {
			once(a.At, "the association of "+a.Subject()+" in cluster "+c.Name)
			if a.RoleARN == "" && a.RoleName != "" {
				once(a.At, "role "+a.RoleName)
			}
		}
	}
	return errors.Join(faults...)
}

// SameDocument compares JSON texts by what they say: neither form nor the
// order of members counts.
func SameDocument(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := value(a)
	y, errY := value(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func value(text string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}
