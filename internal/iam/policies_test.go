// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
)

func document(pad int) string {
	return strings.Replace(identity, "s3:GetObject", "s3:"+strings.Repeat("G", pad), 1)
}

func TestAttach(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustRole(t, "r")
	own := h.mustPolicy(t, "own")
	ok(t, h.AttachRolePolicy(ctx, admin, "r", s3Read))
	ok(t, h.AttachRolePolicy(ctx, admin, "r", s3Read)) // again is no error
	ok(t, h.AttachRolePolicy(ctx, admin, "r", own))
	l, err := h.ListAttachedRolePolicies(ctx, admin, "r", "", iam.Page{})
	ok(t, err)
	if d := cmp.Diff([]iam.AttachedPolicy{{Name: "own", ARN: own}, {Name: "AmazonS3ReadOnlyAccess", ARN: s3Read}}, l.Items); d != "" {
		t.Error(d)
	}
	refused(t, h.AttachRolePolicy(ctx, admin, "r", "arn:aws:iam::aws:policy/None"), fault.NotFound, "Policy arn:aws:iam::aws:policy/None does not exist or is not attachable.")
	refused(t, h.AttachRolePolicy(ctx, admin, "r", "arn:aws:iam::aws:policy/x/AmazonS3ReadOnlyAccess"), fault.NotFound, "Policy arn:aws:iam::aws:policy/x/AmazonS3ReadOnlyAccess does not exist or is not attachable.")
	refused(t, h.AttachRolePolicy(ctx, admin, "r", "arn:aws:iam::444455556666:policy/own"), fault.NotFound, "Policy arn:aws:iam::444455556666:policy/own does not exist or is not attachable.")
	refused(t, h.AttachRolePolicy(ctx, admin, "r", "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"), fault.InvalidParameter, "ARN arn:aws-cn:iam::aws:policy/ReadOnlyAccess is not valid.")
	refused(t, h.AttachRolePolicy(ctx, admin, "r", "arn:aws:iam::aws:policy/aws-service-role/AmazonEKSServiceRolePolicy"), fault.InvalidRequest, "Cannot attach a Service Role Policy to a Customer Role.")
	refused(t, h.DeleteRole(ctx, admin, "r"), fault.DeleteConflict, "Cannot delete entity, must detach all policies first.")
	refused(t, h.DeletePolicy(ctx, admin, own), fault.DeleteConflict, "Cannot delete a policy attached to entities.")
	ok(t, h.DetachRolePolicy(ctx, admin, "r", own))
	refused(t, h.DetachRolePolicy(ctx, admin, "r", own), fault.NotFound, "Policy "+own+" was not found.")
	ok(t, h.DeletePolicy(ctx, admin, own))
	for i := range 9 {
		ok(t, h.AttachRolePolicy(ctx, admin, "r", h.mustPolicy(t, fmt.Sprintf("p%d", i))))
	}
	refused(t, h.AttachRolePolicy(ctx, admin, "r", h.mustPolicy(t, "p10")), fault.LimitExceeded, "Cannot exceed quota for PoliciesPerRole: 10")
}

func TestInline(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustRole(t, "r")
	h.mustUser(t, "u")
	for _, n := range []string{"b", "a"} {
		ok(t, h.PutRolePolicy(ctx, admin, "r", n, identity))
		ok(t, h.PutUserPolicy(ctx, admin, "u", n, identity))
	}
	spaced := strings.ReplaceAll(identity, ",", ", \n")
	ok(t, h.PutRolePolicy(ctx, admin, "r", "a", spaced)) // replaces
	l, err := h.ListRolePolicies(ctx, admin, "r", iam.Page{})
	ok(t, err)
	if !slices.Equal(l.Items, []string{"a", "b"}) {
		t.Errorf("names = %q", l.Items)
	}
	_, p, err := h.GetRolePolicy(ctx, admin, "r", "a")
	ok(t, err)
	if p.Document != spaced {
		t.Errorf("document = %s", p.Document)
	}
	_, _, err = h.GetRolePolicy(ctx, admin, "r", "none")
	refused(t, err, fault.NotFound, "The role policy with name none cannot be found.")
	_, _, err = h.GetUserPolicy(ctx, admin, "u", "none")
	refused(t, err, fault.NotFound, "The user policy with name none cannot be found.")
	refused(t, h.PutRolePolicy(ctx, admin, "r", "c", "{}"), fault.MalformedPolicy, "Syntax errors in policy.")
	refused(t, h.PutRolePolicy(ctx, admin, "r", "c", strings.Replace(identity, `"Action"`, `"Principal":"*","Action"`, 1)), fault.MalformedPolicy, "Policy document should not specify a principal.")
	refused(t, h.PutRolePolicy(ctx, admin, "r", "c", document(10_150)), fault.LimitExceeded, "Maximum policy size of 10240 bytes exceeded for role r")
	refused(t, h.PutUserPolicy(ctx, admin, "u", "c", document(2000)), fault.LimitExceeded, "Maximum policy size of 2048 bytes exceeded for user u")
	refused(t, h.DeleteRole(ctx, admin, "r"), fault.DeleteConflict, "Cannot delete entity, must delete policies first.")
	for _, n := range []string{"a", "b"} {
		ok(t, h.DeleteRolePolicy(ctx, admin, "r", n))
		ok(t, h.DeleteUserPolicy(ctx, admin, "u", n))
	}
	refused(t, h.DeleteRolePolicy(ctx, admin, "r", "a"), fault.NotFound, "The role policy with name a cannot be found.")
	ok(t, h.DeleteRole(ctx, admin, "r"))
	ok(t, h.DeleteUser(ctx, admin, "u"))
	refused(t, h.DeleteRole(ctx, admin, "r"), fault.NotFound, "The role with name r cannot be found.")
	refused(t, h.DeleteUser(ctx, admin, "u"), fault.NotFound, "The user with name u cannot be found.")
}

func TestVersions(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	own := h.mustPolicy(t, "own")
	for i := 2; i <= 5; i++ {
		v, err := h.CreatePolicyVersion(ctx, admin, own, document(i), i == 3)
		ok(t, err)
		if v.ID != fmt.Sprintf("v%d", i) || v.Default != (i == 3) {
			t.Errorf("version = %+v", v)
		}
	}
	_, err := h.CreatePolicyVersion(ctx, admin, own, identity, true)
	refused(t, err, fault.LimitExceeded, "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.")
	if ref, err := iam.ManagedPolicy(h.store.View(), own); err != nil || ref.Document != document(3) {
		t.Errorf("in force: %+v, %v", ref, err)
	}
	refused(t, h.DeletePolicyVersion(ctx, admin, own, "v3"), fault.DeleteConflict, "Cannot delete the default version of a policy.")
	refused(t, h.DeletePolicyVersion(ctx, admin, own, "v9"), fault.NotFound, "Policy "+own+" version v9 does not exist or is not attachable.")
	refused(t, h.DeletePolicyVersion(ctx, admin, own, "9"), fault.InvalidParameter, `1 validation error detected: Value '9' at 'versionId' failed to satisfy constraint: Member must satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?`)
	ok(t, h.DeletePolicyVersion(ctx, admin, own, "v5"))
	v, err := h.CreatePolicyVersion(ctx, admin, own, identity, false)
	ok(t, err)
	if v.ID != "v6" {
		t.Errorf("number given again: %s", v.ID)
	}
	ok(t, h.SetDefaultPolicyVersion(ctx, admin, own, "v1"))
	refused(t, h.SetDefaultPolicyVersion(ctx, admin, own, "v5"), fault.NotFound, "Policy "+own+" version v5 does not exist or is not attachable.")
	one := int32(2)
	var got []string
	for pg := (iam.Page{MaxItems: &one}); ; {
		l, err := h.ListPolicyVersions(ctx, admin, own, pg)
		ok(t, err)
		for _, v := range l.Items {
			got = append(got, fmt.Sprint(v.ID, " ", v.Default))
		}
		if pg.Marker = l.Marker; l.Marker == "" {
			break
		}
	}
	if want := []string{"v6 false", "v4 false", "v3 false", "v2 false", "v1 true"}; !slices.Equal(got, want) {
		t.Errorf("versions = %q", got)
	}
	refused(t, h.DeletePolicy(ctx, admin, own), fault.DeleteConflict, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
}

func TestCreatePolicyRefuses(t *testing.T) {
	h := newHouse(t)
	h.mustPolicy(t, "Taken")
	for _, tc := range []struct {
		name    string
		in      iam.CreatePolicyInput
		kind    fault.Kind
		message string
	}{
		{"name", iam.CreatePolicyInput{Name: "a b"}, fault.InvalidParameter, "The specified value for policyName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"},
		{"taken", iam.CreatePolicyInput{Name: "taken", Path: "/p/", Document: identity}, fault.AlreadyExists, "A policy called taken already exists. Duplicate names are not allowed."},
		{"old version", iam.CreatePolicyInput{Name: "a", Document: strings.Replace(identity, "2012-10-17", "2008-10-17", 1)}, fault.MalformedPolicy, "Policy document must be version 2012-10-17 or greater."},
		{"too long", iam.CreatePolicyInput{Name: "a", Document: document(6144)}, fault.LimitExceeded, "Cannot exceed quota for PolicySize: 6144"},
		{"far too long", iam.CreatePolicyInput{Name: "a", Document: document(131072)}, fault.InvalidParameter, "1 validation error detected: Value '' at 'policyDocument' failed to satisfy constraint: Member must have length less than or equal to 131072"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := h.CreatePolicy(t.Context(), admin, tc.in)
			refused(t, err, tc.kind, tc.message)
		})
	}
}

func TestAWSPoliciesCannotBeChanged(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	denied := func(action string) string {
		return "User: " + admin.ARN + " is not authorized to perform: " + action + " on resource: policy " + s3Read
	}
	refused(t, h.DeletePolicy(ctx, admin, s3Read), fault.AccessDenied, denied("iam:DeletePolicy"))
	refused(t, h.TagPolicy(ctx, admin, s3Read, manyTags(1)), fault.AccessDenied, denied("iam:TagPolicy"))
	_, err := h.CreatePolicyVersion(ctx, admin, s3Read, identity, true)
	refused(t, err, fault.AccessDenied, denied("iam:CreatePolicyVersion"))
}

// TestManagedPolicies: every document that is embedded compiles, and those
// that the walk-through needs are there.
func TestManagedPolicies(t *testing.T) {
	h := newHouse(t)
	l, err := h.ListPolicies(t.Context(), admin, iam.ListPoliciesInput{Scope: "AWS"})
	ok(t, err)
	names := map[string]bool{}
	for _, p := range l.Items {
		if _, err := policy.Parse(policy.Identity, p.Document()); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if got, err := iam.ManagedPolicy(h.store.View(), p.ARN()); err != nil || got.Document != p.Document() || got.Name != p.Name {
			t.Errorf("%s cannot be found by its ARN: %v", p.Name, err)
		}
		if len(p.ID) != 21 || p.Created.IsZero() || names[p.ID] {
			t.Errorf("%s: id %s, created %v", p.Name, p.ID, p.Created)
		}
		names[p.Name], names[p.ID] = true, true
	}
	for _, want := range []string{
		"AdministratorAccess", "AmazonEBSCSIDriverPolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEC2ContainerRegistryReadOnly", "AmazonEFSCSIDriverPolicy",
		"AmazonEKSClusterPolicy", "AmazonEKSFargatePodExecutionRolePolicy", "AmazonEKSLocalOutpostClusterPolicy", "AmazonEKSServicePolicy", "AmazonEKSVPCResourceController",
		"AmazonEKSWorkerNodeMinimalPolicy", "AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonS3FullAccess", "AmazonS3ReadOnlyAccess", "ReadOnlyAccess",
	} {
		if !names[want] {
			t.Errorf("%s is missing", want)
		}
	}
	worker, _ := iam.ManagedPolicy(h.store.View(), "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")
	if !strings.Contains(worker.Document, "eks-auth:AssumeRoleForPodIdentity") {
		t.Error("AmazonEKSWorkerNodePolicy does not allow the exchange")
	}
	if _, found := iam.FindPolicy(h.store.View(), account, "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"); !found {
		t.Error("other partitions have no managed policies")
	}
}

func TestListPolicies(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	a := h.mustPolicy(t, "a")
	h.mustPolicy(t, "b")
	h.mustRole(t, "r")
	h.mustUser(t, "u")
	ok(t, h.AttachRolePolicy(ctx, admin, "r", a))
	ok(t, h.AttachUserPolicy(ctx, admin, "u", a))
	ok(t, h.PutRolePermissionsBoundary(ctx, admin, "r", s3Read))
	for _, tc := range []struct {
		name string
		in   iam.ListPoliciesInput
		want []string
	}{
		{"local", iam.ListPoliciesInput{Scope: "Local"}, []string{"a 2 0", "b 0 0"}},
		{"attached", iam.ListPoliciesInput{OnlyAttached: true}, []string{"a 2 0"}},
		{"boundaries", iam.ListPoliciesInput{UsageFilter: "PermissionsBoundary"}, []string{"AmazonS3ReadOnlyAccess 0 1"}},
		{"path", iam.ListPoliciesInput{PathPrefix: "/job-function/"}, []string{"ViewOnlyAccess 0 0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := h.ListPolicies(ctx, admin, tc.in)
			ok(t, err)
			var got []string
			for _, p := range l.Items {
				got = append(got, fmt.Sprint(p.Name, " ", p.Attachments, " ", p.Boundaries))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	_, err := h.ListPolicies(ctx, admin, iam.ListPoliciesInput{Scope: "Mine"})
	refused(t, err, fault.InvalidParameter, "1 validation error detected: Value 'Mine' at 'scope' failed to satisfy constraint: Member must satisfy enum value set: [All, AWS, Local]")
	e, err := h.ListEntitiesForPolicy(ctx, admin, iam.ListEntitiesInput{PolicyARN: a})
	ok(t, err)
	if len(e.Items) != 2 || e.Items[0].Kind != "Role" || e.Items[0].Name != "r" || e.Items[1].Kind != "User" {
		t.Errorf("entities = %+v", e.Items)
	}
}

// TestPages: a list taken in parts shows what was there all the time exactly
// once, whatever comes and goes between the parts.
func TestPages(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	for _, n := range []string{"B", "a", "c", "d", "E", "f"} {
		h.mustRole(t, n)
	}
	two := int32(2)
	var got []string
	pg := iam.Page{MaxItems: &two}
	for i := 0; ; i++ {
		l, err := h.ListRoles(ctx, admin, "", pg)
		ok(t, err)
		for _, r := range l.Items {
			got = append(got, r.Name)
		}
		if i == 0 { // between the parts the marker's own item goes, and others come before and after
			ok(t, h.DeleteRole(ctx, admin, "B"))
			h.mustRole(t, "aa")
			h.mustRole(t, "bb")
		}
		if pg.Marker = l.Marker; pg.Marker == "" {
			break
		}
	}
	if want := []string{"a", "B", "bb", "c", "d", "E", "f"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	l, err := h.ListRoles(ctx, admin, "", iam.Page{MaxItems: &two})
	ok(t, err)
	for _, marker := range []string{"x", "!", l.Marker + "A", strings.Repeat("A", 2000)} {
		if _, err := h.ListRoles(ctx, admin, "", iam.Page{Marker: marker}); err == nil && marker != l.Marker+"A" {
			t.Errorf("marker %.20q was accepted", marker)
		}
	}
	_, err = h.ListUsers(ctx, admin, "", iam.Page{Marker: l.Marker})
	refused(t, err, fault.InvalidParameter, "Invalid Marker.")
	zero := int32(0)
	_, err = h.ListRoles(ctx, admin, "", iam.Page{MaxItems: &zero})
	refused(t, err, fault.InvalidParameter, "1 validation error detected: Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1")
}

func TestTags(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustRole(t, "r")
	ok(t, h.TagRole(ctx, admin, "r", []iam.Tag{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}}))
	ok(t, h.TagRole(ctx, admin, "r", []iam.Tag{{Key: "B", Value: "3"}}))
	l, err := h.ListRoleTags(ctx, admin, "r", iam.Page{})
	ok(t, err)
	if d := cmp.Diff([]iam.Tag{{Key: "B", Value: "3"}, {Key: "a", Value: "2"}}, l.Items); d != "" {
		t.Error(d)
	}
	refused(t, h.TagRole(ctx, admin, "r", manyTags(49)), fault.LimitExceeded, "Cannot exceed quota for TagsPerRole: 50")
	ok(t, h.UntagRole(ctx, admin, "r", []string{"b", "none"}))
	r, _ := iam.FindRole(h.store.View(), account, "r")
	if d := cmp.Diff([]iam.Tag{{Key: "a", Value: "2"}}, r.Tags); d != "" {
		t.Error(d)
	}
}
