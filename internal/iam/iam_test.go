// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

const (
	account  = "111122223333"
	trust    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
	identity = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`
	s3Read   = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
)

// asked is an Authorizer that writes down what it is asked and refuses the
// actions named.
type asked struct {
	queries []iam.Query
	deny    map[string]bool
}

func (a *asked) Authorize(_ context.Context, _ iam.Caller, q iam.Query) error {
	a.queries = append(a.queries, q)
	if a.deny[q.Action] {
		return fault.New(fault.AccessDenied, "no %s", q.Action)
	}
	return nil
}

func (a *asked) last() iam.Query { return a.queries[len(a.queries)-1] }

func (a *asked) keys() map[string]string {
	out := map[string]string{}
	for _, k := range a.last().Keys {
		out[k.Name] = strings.Join(k.Values, ",")
	}
	return out
}

// openSealer binds as the real one does, without hiding.
type openSealer struct{}

func (openSealer) Seal(plain, aad []byte) ([]byte, error) {
	return fmt.Appendf(nil, "%s|%s", aad, plain), nil
}

func (openSealer) Open(sealed, aad []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, append(slices.Clone(aad), '|'))
	if !ok {
		return nil, errors.New("sealed for another record")
	}
	return plain, nil
}

type house struct {
	*iam.Manager
	asked *asked
	store *storetest.Memory
	now   time.Time
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{
		asked: &asked{deny: map[string]bool{}}, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
		store: storetest.NewMemory(store.NewSchema(iam.Roles, iam.Users, iam.Groups, iam.Policies, iam.KeyUses, iam.InstanceProfiles, iam.OIDCProviders, iam.Aliases, iam.AWSPolicies, iam.PolicySets)),
	}
	h.Manager = &iam.Manager{
		Store: h.store, Authz: h.asked, Sealer: openSealer{}, Now: func() time.Time { return h.now },
		Rand: rand.NewChaCha8([32]byte{1}), Partition: "aws", Account: account,
	}
	return h
}

var admin = iam.Caller{Kind: iam.CallerUser, Account: account, ARN: "arn:aws:iam::111122223333:user/podid-admin", User: &iam.User{Name: "podid-admin"}}

func (h *house) mustRole(t testing.TB, name string) *iam.Role {
	t.Helper()
	r, err := h.CreateRole(t.Context(), admin, iam.CreateRoleInput{Name: name, Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *house) mustUser(t testing.TB, name string) *iam.User {
	t.Helper()
	u, err := h.CreateUser(t.Context(), admin, iam.CreateUserInput{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (h *house) mustPolicy(t testing.TB, name string) string {
	t.Helper()
	p, err := h.CreatePolicy(t.Context(), admin, iam.CreatePolicyInput{Name: name, Document: identity})
	if err != nil {
		t.Fatal(err)
	}
	return p.ARN()
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused holds an error against kind and message.
func refused(t testing.TB, err error, kind fault.Kind, message string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("err = %v, want a fault", err)
	}
	if f.Kind != kind || f.Message != message || f.Reason == "" {
		t.Errorf("got kind %d, reason %q: %s\nwant kind %d: %s", f.Kind, f.Reason, f.Message, kind, message)
	}
}

func TestCreateRole(t *testing.T) {
	h := newHouse(t)
	seconds := int32(7200)
	r, err := h.CreateRole(t.Context(), admin, iam.CreateRoleInput{
		Path: "/apps/", Name: "Web", Trust: trust, Description: "d", Boundary: s3Read, MaxSession: &seconds, Tags: []iam.Tag{{Key: "team", Value: "a"}},
	})
	ok(t, err)
	if len(r.ID) != 21 || !strings.HasPrefix(r.ID, "AROA") || r.ARN() != "arn:aws:iam::111122223333:role/apps/Web" || !r.Created.Equal(h.now) {
		t.Errorf("role = %+v", r)
	}
	got, err := h.GetRole(t.Context(), admin, "web") // names are unique without regard to case
	ok(t, err)
	if d := cmp.Diff(r, got); d != "" {
		t.Error(d)
	}
	_, err = h.CreateRole(t.Context(), admin, iam.CreateRoleInput{Name: "WEB", Trust: trust})
	refused(t, err, fault.AlreadyExists, "Role with name Web already exists.")
}

func TestCreateRoleAsks(t *testing.T) {
	h := newHouse(t)
	in := iam.CreateRoleInput{Path: "/p/", Name: "r", Trust: trust, Boundary: s3Read, Tags: []iam.Tag{{Key: "k", Value: "v"}, {Key: "l", Value: "w"}}}
	h.asked.deny["iam:TagRole"] = true
	_, err := h.CreateRole(t.Context(), admin, in)
	if !fault.Is(err, fault.AccessDenied) {
		t.Fatalf("err = %v", err)
	}
	want := []iam.Query{
		{Action: "iam:CreateRole", Resource: "arn:aws:iam::111122223333:role/p/r", Keys: []iam.ConditionKey{
			{Name: "aws:RequestTag/k", Values: []string{"v"}},
			{Name: "aws:RequestTag/l", Values: []string{"w"}},
			{Name: "aws:TagKeys", Values: []string{"k", "l"}, Multi: true},
			{Name: "iam:PermissionsBoundary", Values: []string{s3Read}},
		}},
		{Action: "iam:TagRole", Resource: "arn:aws:iam::111122223333:role/p/r", Keys: []iam.ConditionKey{
			{Name: "aws:RequestTag/k", Values: []string{"v"}},
			{Name: "aws:RequestTag/l", Values: []string{"w"}},
			{Name: "aws:TagKeys", Values: []string{"k", "l"}, Multi: true},
		}},
	}
	if d := cmp.Diff(want, h.asked.queries); d != "" {
		t.Error(d)
	}
	if _, found := iam.FindRole(h.store.View(), account, "r"); found {
		t.Error("a refused role was made")
	}
}

func TestCreateRoleRefuses(t *testing.T) {
	short, long := int32(60), int32(50000)
	pad := func(n int) string {
		return strings.Replace(trust, "sts:TagSession", "sts:TagSession\",\"sts:AssumeRole"+strings.Repeat(`","sts:AssumeRole`, n), 1)
	}
	for _, tc := range []struct {
		name    string
		in      iam.CreateRoleInput
		kind    fault.Kind
		message string
	}{
		{"empty name", iam.CreateRoleInput{}, fault.InvalidParameter, "1 validation error detected: Value '' at 'roleName' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"long name", iam.CreateRoleInput{Name: strings.Repeat("a", 65)}, fault.InvalidParameter, "1 validation error detected: Value '" + strings.Repeat("a", 65) + "' at 'roleName' failed to satisfy constraint: Member must have length less than or equal to 64"},
		{"slash in name", iam.CreateRoleInput{Name: "a/b"}, fault.InvalidParameter, "The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"},
		{"path", iam.CreateRoleInput{Name: "a", Path: "apps"}, fault.InvalidParameter, "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."},
		{"description", iam.CreateRoleInput{Name: "a", Description: strings.Repeat("x", 1001)}, fault.InvalidParameter, "1 validation error detected: Value '" + strings.Repeat("x", 256) + "' at 'description' failed to satisfy constraint: Member must have length less than or equal to 1000"},
		{"short session", iam.CreateRoleInput{Name: "a", MaxSession: &short}, fault.InvalidParameter, "1 validation error detected: Value '60' at 'maxSessionDuration' failed to satisfy constraint: Member must have value greater than or equal to 3600"},
		{"long session", iam.CreateRoleInput{Name: "a", MaxSession: &long}, fault.InvalidParameter, "1 validation error detected: Value '50000' at 'maxSessionDuration' failed to satisfy constraint: Member must have value less than or equal to 43200"},
		{"no trust policy", iam.CreateRoleInput{Name: "a"}, fault.InvalidParameter, "1 validation error detected: Value '' at 'assumeRolePolicyDocument' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"no JSON", iam.CreateRoleInput{Name: "a", Trust: "{"}, fault.MalformedPolicy, "Syntax errors in policy."},
		{"trust with resource", iam.CreateRoleInput{Name: "a", Trust: strings.Replace(trust, `"Action"`, `"Resource":"*","Action"`, 1)}, fault.MalformedPolicy, "Has prohibited field Resource."},
		{"trust too long", iam.CreateRoleInput{Name: "a", Trust: pad(150)}, fault.LimitExceeded, "Cannot exceed quota for ACLSizePerRole: 2048"},
		{"unknown principal", iam.CreateRoleInput{Name: "a", Trust: trusting("arn:aws:iam::111122223333:role/none")}, fault.MalformedPolicy, `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:role/none"`},
		{"unknown user", iam.CreateRoleInput{Name: "a", Trust: trusting("arn:aws:iam::111122223333:user/none")}, fault.MalformedPolicy, `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/none"`},
		{"unknown id", iam.CreateRoleInput{Name: "a", Trust: trusting("AROAIOSFODNN7EXAMPLE1")}, fault.MalformedPolicy, `Invalid principal in policy: "AWS":"AROAIOSFODNN7EXAMPLE1"`},
		{"boundary is no ARN", iam.CreateRoleInput{Name: "a", Trust: trust, Boundary: "AmazonS3ReadOnlyAccess"}, fault.InvalidParameter, "ARN AmazonS3ReadOnlyAccess is not valid."},
		{"unknown boundary", iam.CreateRoleInput{Name: "a", Trust: trust, Boundary: "arn:aws:iam::aws:policy/None"}, fault.NotFound, "Policy arn:aws:iam::aws:policy/None does not exist or is not attachable."},
		{"tag key", iam.CreateRoleInput{Name: "a", Trust: trust, Tags: []iam.Tag{{Key: "a*"}}}, fault.InvalidParameter, `1 validation error detected: Value 'a*' at 'tags.1.member.key' failed to satisfy constraint: Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+`},
		{"long tag value", iam.CreateRoleInput{Name: "a", Trust: trust, Tags: []iam.Tag{{Key: "a", Value: strings.Repeat("v", 257)}}}, fault.InvalidParameter, "1 validation error detected: Value '" + strings.Repeat("v", 256) + "' at 'tags.1.member.value' failed to satisfy constraint: Member must have length less than or equal to 256"},
		{"twin tags", iam.CreateRoleInput{Name: "a", Trust: trust, Tags: []iam.Tag{{Key: "a"}, {Key: "A"}}}, fault.InvalidRequest, "Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		{"reserved tag", iam.CreateRoleInput{Name: "a", Trust: trust, Tags: []iam.Tag{{Key: "AWS:x"}}}, fault.InvalidRequest, `Tag keys that begin with "aws:" are reserved for system use: AWS:x`},
		{"51 tags", iam.CreateRoleInput{Name: "a", Trust: trust, Tags: manyTags(51)}, fault.InvalidParameter, "1 validation error detected: Value '51 tags' at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := newHouse(t).CreateRole(t.Context(), admin, tc.in)
			refused(t, err, tc.kind, tc.message)
		})
	}
}

func manyTags(n int) []iam.Tag {
	out := make([]iam.Tag, n)
	for i := range out {
		out[i] = iam.Tag{Key: fmt.Sprintf("k%d", i), Value: "v"}
	}
	return out
}

func trusting(principal string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}]}`
}

// TestTrustKeepsIDs: a principal that is deleted and made again is another.
func TestTrustKeepsIDs(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	first := h.mustRole(t, "caller")
	user := h.mustUser(t, "ann")
	text := "{ \"Version\": \"2012-10-17\",\n \"Statement\": {\"Effect\":\"Allow\", \"Principal\" : { \"AWS\" : [ \"" + first.ARN() + `" , "` + user.ARN() + `","444455556666"] }, "Action":"sts:AssumeRole"} }`
	r, err := h.CreateRole(ctx, admin, iam.CreateRoleInput{Name: "target", Trust: text})
	ok(t, err)
	if r.Trust != text {
		t.Errorf("shown as %s", r.Trust)
	}
	stored := func() string {
		s, _ := iam.FindRole(h.store.View(), account, "target")
		return s.Trust
	}
	want := strings.NewReplacer(first.ARN(), first.ID, user.ARN(), user.ID).Replace(text)
	if stored() != want {
		t.Errorf("stored as %s, want %s", stored(), want)
	}
	ok(t, h.DeleteRole(ctx, admin, "caller"))
	if again := h.mustRole(t, "caller"); again.ID == first.ID {
		t.Fatal("the id was given again")
	}
	r, err = h.GetRole(ctx, admin, "target")
	ok(t, err)
	if shown := strings.Replace(text, first.ARN(), first.ID, 1); r.Trust != shown {
		t.Errorf("shown as %s, want %s", r.Trust, shown)
	}
	// What names the old id cannot be written back.
	refused(t, h.UpdateAssumeRolePolicy(ctx, admin, "target", r.Trust), fault.MalformedPolicy, fmt.Sprintf(`Invalid principal in policy: "AWS":%q`, first.ID))
	ok(t, h.UpdateAssumeRolePolicy(ctx, admin, "target", trust))
	if stored() != trust {
		t.Errorf("stored as %s", stored())
	}
}

// TestAsksFirst: every verb asks, on the right ARN, before it says what
// exists.
func TestAsksFirst(t *testing.T) {
	const role, user, own = "arn:aws:iam::111122223333:role/none", "arn:aws:iam::111122223333:user/none", "arn:aws:iam::111122223333:policy/none"
	h := newHouse(t)
	ctx := t.Context()
	for _, tc := range []struct {
		action, resource string
		call             func() error
	}{
		{"iam:GetRole", role, func() error { _, err := h.GetRole(ctx, admin, "none"); return err }},
		{"iam:ListRoles", "arn:aws:iam::111122223333:role/x", func() error { _, err := h.ListRoles(ctx, admin, "/x", iam.Page{}); return err }},
		{"iam:DeleteRole", role, func() error { return h.DeleteRole(ctx, admin, "none") }},
		{"iam:UpdateRole", role, func() error { return h.UpdateRole(ctx, admin, "none", nil, nil) }},
		{"iam:UpdateRoleDescription", role, func() error { _, err := h.UpdateRoleDescription(ctx, admin, "none", ""); return err }},
		{"iam:UpdateAssumeRolePolicy", role, func() error { return h.UpdateAssumeRolePolicy(ctx, admin, "none", trust) }},
		{"iam:TagRole", role, func() error { return h.TagRole(ctx, admin, "none", manyTags(1)) }},
		{"iam:UntagRole", role, func() error { return h.UntagRole(ctx, admin, "none", []string{"k"}) }},
		{"iam:ListRoleTags", role, func() error { _, err := h.ListRoleTags(ctx, admin, "none", iam.Page{}); return err }},
		{"iam:AttachRolePolicy", role, func() error { return h.AttachRolePolicy(ctx, admin, "none", s3Read) }},
		{"iam:DetachRolePolicy", role, func() error { return h.DetachRolePolicy(ctx, admin, "none", s3Read) }},
		{"iam:ListAttachedRolePolicies", role, func() error { _, err := h.ListAttachedRolePolicies(ctx, admin, "none", "", iam.Page{}); return err }},
		{"iam:PutRolePolicy", role, func() error { return h.PutRolePolicy(ctx, admin, "none", "p", identity) }},
		{"iam:GetRolePolicy", role, func() error { _, _, err := h.GetRolePolicy(ctx, admin, "none", "p"); return err }},
		{"iam:DeleteRolePolicy", role, func() error { return h.DeleteRolePolicy(ctx, admin, "none", "p") }},
		{"iam:ListRolePolicies", role, func() error { _, err := h.ListRolePolicies(ctx, admin, "none", iam.Page{}); return err }},
		{"iam:PutRolePermissionsBoundary", role, func() error { return h.PutRolePermissionsBoundary(ctx, admin, "none", s3Read) }},
		{"iam:DeleteRolePermissionsBoundary", role, func() error { return h.DeleteRolePermissionsBoundary(ctx, admin, "none") }},
		{"iam:CreateUser", user, func() error {
			_, err := h.CreateUser(ctx, admin, iam.CreateUserInput{Name: "none"})
			return err
		}},
		{"iam:GetUser", user, func() error { _, err := h.GetUser(ctx, admin, "none"); return err }},
		{"iam:GetUser", "arn:aws:iam::111122223333:user/podid-admin", func() error { _, err := h.GetUser(ctx, admin, ""); return err }},
		{"iam:ListUsers", "arn:aws:iam::111122223333:user/", func() error { _, err := h.ListUsers(ctx, admin, "", iam.Page{}); return err }},
		{"iam:DeleteUser", user, func() error { return h.DeleteUser(ctx, admin, "none") }},
		{"iam:TagUser", user, func() error { return h.TagUser(ctx, admin, "none", manyTags(1)) }},
		{"iam:UntagUser", user, func() error { return h.UntagUser(ctx, admin, "none", []string{"k"}) }},
		{"iam:ListUserTags", user, func() error { _, err := h.ListUserTags(ctx, admin, "none", iam.Page{}); return err }},
		{"iam:AttachUserPolicy", user, func() error { return h.AttachUserPolicy(ctx, admin, "none", s3Read) }},
		{"iam:DetachUserPolicy", user, func() error { return h.DetachUserPolicy(ctx, admin, "none", s3Read) }},
		{"iam:ListAttachedUserPolicies", user, func() error { _, err := h.ListAttachedUserPolicies(ctx, admin, "none", "", iam.Page{}); return err }},
		{"iam:PutUserPolicy", user, func() error { return h.PutUserPolicy(ctx, admin, "none", "p", identity) }},
		{"iam:GetUserPolicy", user, func() error { _, _, err := h.GetUserPolicy(ctx, admin, "none", "p"); return err }},
		{"iam:DeleteUserPolicy", user, func() error { return h.DeleteUserPolicy(ctx, admin, "none", "p") }},
		{"iam:ListUserPolicies", user, func() error { _, err := h.ListUserPolicies(ctx, admin, "none", iam.Page{}); return err }},
		{"iam:PutUserPermissionsBoundary", user, func() error { return h.PutUserPermissionsBoundary(ctx, admin, "none", s3Read) }},
		{"iam:DeleteUserPermissionsBoundary", user, func() error { return h.DeleteUserPermissionsBoundary(ctx, admin, "none") }},
		{"iam:CreateAccessKey", user, func() error { _, err := h.CreateAccessKey(ctx, admin, "none"); return err }},
		{"iam:ListAccessKeys", user, func() error { _, _, err := h.ListAccessKeys(ctx, admin, "none", iam.Page{}); return err }},
		{"iam:UpdateAccessKey", user, func() error { return h.UpdateAccessKey(ctx, admin, "none", "AKIAIOSFODNN7EXAMPLE", "Active") }},
		{"iam:DeleteAccessKey", user, func() error { return h.DeleteAccessKey(ctx, admin, "none", "AKIAIOSFODNN7EXAMPLE") }},
		{"iam:CreatePolicy", own, func() error {
			_, err := h.CreatePolicy(ctx, admin, iam.CreatePolicyInput{Name: "none", Document: identity})
			return err
		}},
		{"iam:GetPolicy", own, func() error { _, err := h.GetPolicy(ctx, admin, own); return err }},
		{"iam:ListPolicies", "arn:aws:iam::111122223333:policy/", func() error { _, err := h.ListPolicies(ctx, admin, iam.ListPoliciesInput{}); return err }},
		{"iam:DeletePolicy", own, func() error { return h.DeletePolicy(ctx, admin, own) }},
		{"iam:ListEntitiesForPolicy", own, func() error {
			_, err := h.ListEntitiesForPolicy(ctx, admin, iam.ListEntitiesInput{PolicyARN: own})
			return err
		}},
		{"iam:TagPolicy", own, func() error { return h.TagPolicy(ctx, admin, own, manyTags(1)) }},
		{"iam:UntagPolicy", own, func() error { return h.UntagPolicy(ctx, admin, own, []string{"k"}) }},
		{"iam:ListPolicyTags", own, func() error { _, err := h.ListPolicyTags(ctx, admin, own, iam.Page{}); return err }},
		{"iam:GetPolicyVersion", own, func() error { _, err := h.GetPolicyVersion(ctx, admin, own, "v1"); return err }},
		{"iam:ListPolicyVersions", own, func() error { _, err := h.ListPolicyVersions(ctx, admin, own, iam.Page{}); return err }},
		{"iam:CreatePolicyVersion", own, func() error { _, err := h.CreatePolicyVersion(ctx, admin, own, identity, false); return err }},
		{"iam:DeletePolicyVersion", own, func() error { return h.DeletePolicyVersion(ctx, admin, own, "v1") }},
		{"iam:SetDefaultPolicyVersion", own, func() error { return h.SetDefaultPolicyVersion(ctx, admin, own, "v1") }},
		{"iam:ListAccountAliases", "*", func() error { _, err := h.ListAccountAliases(ctx, admin, iam.Page{}); return err }},
		{"iam:GetAccountSummary", "*", func() error { _, err := h.GetAccountSummary(ctx, admin); return err }},
	} {
		t.Run(tc.action, func(t *testing.T) {
			h.asked.queries, h.asked.deny = nil, map[string]bool{tc.action: true}
			if err := tc.call(); !fault.Is(err, fault.AccessDenied) {
				t.Errorf("err = %v, want AccessDenied", err)
			}
			if len(h.asked.queries) != 1 || h.asked.last().Action != tc.action || h.asked.last().Resource != tc.resource {
				t.Errorf("asked %+v, want %s on %s", h.asked.queries, tc.action, tc.resource)
			}
		})
	}
	if n := h.store.View().Len(); n != 0 {
		t.Errorf("refused calls left %d records", n)
	}
}

// TestAsksOnTheRoleThatIs: path, tags and boundary of the role count.
func TestAsksOnTheRoleThatIs(t *testing.T) {
	h := newHouse(t)
	_, err := h.CreateRole(t.Context(), admin, iam.CreateRoleInput{Path: "/p/", Name: "r", Trust: trust, Boundary: s3Read, Tags: []iam.Tag{{Key: "team", Value: "a"}}})
	ok(t, err)
	ok(t, h.AttachRolePolicy(t.Context(), admin, "R", s3Read))
	if h.asked.last().Resource != "arn:aws:iam::111122223333:role/p/r" {
		t.Errorf("asked on %s", h.asked.last().Resource)
	}
	want := map[string]string{"aws:ResourceTag/team": "a", "iam:ResourceTag/team": "a", "iam:PermissionsBoundary": s3Read, "iam:PolicyARN": s3Read}
	if d := cmp.Diff(want, h.asked.keys()); d != "" {
		t.Error(d)
	}
	other := "arn:aws:iam::aws:policy/AmazonS3FullAccess"
	ok(t, h.PutRolePermissionsBoundary(t.Context(), admin, "r", other))
	if got := h.asked.keys()["iam:PermissionsBoundary"]; got != other {
		t.Errorf("boundary asked about is %s, want the new one", got)
	}
}
