// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

func (h *house) mustGroup(t testing.TB, name string) *iam.Group {
	t.Helper()
	g, err := h.CreateGroup(t.Context(), admin, "", name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func groupNames(l []*iam.Group) (out []string) {
	for _, g := range l {
		out = append(out, g.Name)
	}
	return out
}

func ptr[T any](v T) *T { return &v }

func TestGroups(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	g, err := h.CreateGroup(ctx, admin, "/teams/", "Devs")
	ok(t, err)
	if len(g.ID) != 21 || !strings.HasPrefix(g.ID, "AGPA") || g.ARN() != "arn:aws:iam::111122223333:group/teams/Devs" || !g.Created.Equal(h.now) {
		t.Errorf("group = %+v", g)
	}
	_, err = h.CreateGroup(ctx, admin, "", "DEVS")
	refused(t, err, fault.AlreadyExists, "Group with name Devs already exists.")
	for _, n := range []string{"cyd", "Bob", "ann"} {
		h.mustUser(t, n)
		ok(t, h.AddUserToGroup(ctx, admin, "devs", n))
		ok(t, h.AddUserToGroup(ctx, admin, "devs", n)) // again is no error
	}
	got, members, err := h.GetGroup(ctx, admin, "devs", iam.Page{MaxItems: ptr(int32(2))})
	ok(t, err)
	if d := cmp.Diff(g, got); d != "" {
		t.Error(d)
	}
	if len(members.Items) != 2 || members.Items[0].Name != "ann" || members.Items[1].Name != "Bob" || members.Marker == "" {
		t.Errorf("first part: %+v", members)
	}
	_, members, err = h.GetGroup(ctx, admin, "devs", iam.Page{Marker: members.Marker})
	ok(t, err)
	if len(members.Items) != 1 || members.Items[0].Name != "cyd" || members.Marker != "" {
		t.Errorf("second part: %+v", members)
	}
	h.mustGroup(t, "admins")
	ok(t, h.AddUserToGroup(ctx, admin, "admins", "ann"))
	l, err := h.ListGroups(ctx, admin, "/teams/", iam.Page{})
	ok(t, err)
	if d := cmp.Diff([]string{"Devs"}, groupNames(l.Items)); d != "" {
		t.Error(d)
	}
	l, err = h.ListGroupsForUser(ctx, admin, "ann", iam.Page{})
	ok(t, err)
	if d := cmp.Diff([]string{"admins", "Devs"}, groupNames(l.Items)); d != "" {
		t.Error(d)
	}
	refused(t, h.DeleteGroup(ctx, admin, "devs"), fault.DeleteConflict, "Cannot delete entity, must remove users from group first.")
	refused(t, h.DeleteUser(ctx, admin, "ann"), fault.DeleteConflict, "Cannot delete entity, must remove users from group first.")
	for _, n := range []string{"ann", "bob", "cyd"} {
		ok(t, h.RemoveUserFromGroup(ctx, admin, "Devs", n))
	}
	refused(t, h.RemoveUserFromGroup(ctx, admin, "devs", "bob"), fault.NotFound, "User Bob not in group Devs")
	refused(t, h.RemoveUserFromGroup(ctx, admin, "devs", "none"), fault.NotFound, "The user with name none cannot be found.")
	refused(t, h.AddUserToGroup(ctx, admin, "devs", "none"), fault.NotFound, "The user with name none cannot be found.")
	refused(t, h.AddUserToGroup(ctx, admin, "none", "ann"), fault.NotFound, "The group with name none cannot be found.")
	refused(t, h.AddUserToGroup(ctx, admin, "devs", "a/b"), fault.InvalidParameter, "The specified value for userName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	ok(t, h.DeleteGroup(ctx, admin, "devs"))
	refused(t, h.DeleteGroup(ctx, admin, "devs"), fault.NotFound, "The group with name devs cannot be found.")
}

func TestGroupPolicies(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustGroup(t, "g")
	own := h.mustPolicy(t, "own")
	ok(t, h.AttachGroupPolicy(ctx, admin, "g", own))
	ok(t, h.AttachGroupPolicy(ctx, admin, "g", s3Read))
	attached, err := h.ListAttachedGroupPolicies(ctx, admin, "g", "", iam.Page{})
	ok(t, err)
	if d := cmp.Diff([]iam.AttachedPolicy{{Name: "own", ARN: own}, {Name: "AmazonS3ReadOnlyAccess", ARN: s3Read}}, attached.Items); d != "" {
		t.Error(d)
	}
	p, err := h.GetPolicy(ctx, admin, own)
	ok(t, err)
	if p.Attachments != 1 {
		t.Errorf("%d attachments", p.Attachments)
	}
	entities, err := h.ListEntitiesForPolicy(ctx, admin, iam.ListEntitiesInput{PolicyARN: own})
	ok(t, err)
	if len(entities.Items) != 1 || entities.Items[0].Kind != "Group" || entities.Items[0].Name != "g" {
		t.Errorf("entities = %+v", entities.Items)
	}
	for filter, want := range map[string]int{"Group": 1, "User": 0} {
		entities, err := h.ListEntitiesForPolicy(ctx, admin, iam.ListEntitiesInput{PolicyARN: own, Filter: filter})
		ok(t, err)
		if len(entities.Items) != want {
			t.Errorf("%s: entities = %+v", filter, entities.Items)
		}
	}
	refused(t, h.DeletePolicy(ctx, admin, own), fault.DeleteConflict, "Cannot delete a policy attached to entities.")
	refused(t, h.DeleteGroup(ctx, admin, "g"), fault.DeleteConflict, "Cannot delete entity, must detach all policies first.")
	ok(t, h.DetachGroupPolicy(ctx, admin, "g", own))
	ok(t, h.DetachGroupPolicy(ctx, admin, "g", s3Read))
	refused(t, h.DetachGroupPolicy(ctx, admin, "g", own), fault.NotFound, "Policy "+own+" was not found.")
	ok(t, h.DeletePolicy(ctx, admin, own))

	ok(t, h.PutGroupPolicy(ctx, admin, "g", "b", identity))
	ok(t, h.PutGroupPolicy(ctx, admin, "g", "a", identity))
	names, err := h.ListGroupPolicies(ctx, admin, "g", iam.Page{})
	ok(t, err)
	if !slices.Equal(names.Items, []string{"a", "b"}) {
		t.Errorf("names = %q", names.Items)
	}
	g, in, err := h.GetGroupPolicy(ctx, admin, "G", "a")
	ok(t, err)
	if g.Name != "g" || in.Document != identity {
		t.Errorf("%s of %s", in.Document, g.Name)
	}
	_, _, err = h.GetGroupPolicy(ctx, admin, "g", "none")
	refused(t, err, fault.NotFound, "The group policy with name none cannot be found.")
	refused(t, h.PutGroupPolicy(ctx, admin, "g", "c", "{}"), fault.MalformedPolicy, "Syntax errors in policy.")
	refused(t, h.DeleteGroup(ctx, admin, "g"), fault.DeleteConflict, "Cannot delete entity, must delete policies first.")
	ok(t, h.DeleteGroupPolicy(ctx, admin, "g", "a"))
	ok(t, h.DeleteGroupPolicy(ctx, admin, "g", "b"))
	refused(t, h.DeleteGroupPolicy(ctx, admin, "g", "b"), fault.NotFound, "The group policy with name b cannot be found.")
	ok(t, h.DeleteGroup(ctx, admin, "g"))
}

// TestUpdateGroup: members and policies follow a group to its new name.
func TestUpdateGroup(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	g := h.mustGroup(t, "old")
	h.mustGroup(t, "taken")
	u := h.mustUser(t, "ann")
	ok(t, h.AddUserToGroup(ctx, admin, "old", "ann"))
	ok(t, h.PutGroupPolicy(ctx, admin, "old", "p", identity))
	refused(t, h.UpdateGroup(ctx, admin, "old", ptr("Taken"), nil), fault.AlreadyExists, "Group with name taken already exists.")
	refused(t, h.UpdateGroup(ctx, admin, "old", ptr(""), nil), fault.InvalidParameter, "1 validation error detected: Value '' at 'newGroupName' failed to satisfy constraint: Member must have length greater than or equal to 1")
	refused(t, h.UpdateGroup(ctx, admin, "old", nil, ptr("")), fault.InvalidParameter, "1 validation error detected: Value '' at 'newPath' failed to satisfy constraint: Member must have length greater than or equal to 1")
	refused(t, h.UpdateGroup(ctx, admin, "none", ptr("x"), nil), fault.NotFound, "The group with name none cannot be found.")

	h.asked.queries = nil
	ok(t, h.UpdateGroup(ctx, admin, "old", ptr("New"), ptr("/p/")))
	if len(h.asked.queries) != 2 || h.asked.queries[0].Resource != g.ARN() || h.asked.last().Resource != "arn:aws:iam::111122223333:group/p/New" || h.asked.last().Action != "iam:UpdateGroup" {
		t.Errorf("asked %+v", h.asked.queries)
	}
	got, members, err := h.GetGroup(ctx, admin, "new", iam.Page{})
	ok(t, err)
	if got.ID != g.ID || got.Path != "/p/" || len(got.Inline) != 1 || len(members.Items) != 1 || members.Items[0].ID != u.ID {
		t.Errorf("group = %+v of %+v", got, members.Items)
	}
	_, _, err = h.GetGroup(ctx, admin, "old", iam.Page{})
	refused(t, err, fault.NotFound, "The group with name old cannot be found.")
	ok(t, h.UpdateGroup(ctx, admin, "new", ptr("NEW"), nil)) // the same but for case
	ok(t, h.UpdateGroup(ctx, admin, "new", nil, nil))
	if g := h.mustGroup(t, "old"); g.ID == got.ID {
		t.Error("the id was given again")
	}
}

// TestPoliciesOfUsersGroups: a user has what his groups have, as long as he is
// a member, and nothing of what he was a member of under the same name.
func TestPoliciesOfUsersGroups(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustUser(t, "ann")
	h.mustGroup(t, "devs")
	ok(t, h.PutUserPolicy(ctx, admin, "ann", "mine", identity))
	ok(t, h.PutGroupPolicy(ctx, admin, "devs", "in", identity))
	ok(t, h.AttachGroupPolicy(ctx, admin, "devs", s3Read))
	names := func() (out []string) {
		t.Helper()
		u, _ := iam.Users.Get(h.store.View(), scope, "ann")
		refs, err := iam.PoliciesOfUser(h.store.View(), u)
		ok(t, err)
		for _, r := range refs {
			out = append(out, r.Group+":"+r.Name)
		}
		return out
	}
	if d := cmp.Diff([]string{":mine"}, names()); d != "" {
		t.Error(d)
	}
	ok(t, h.AddUserToGroup(ctx, admin, "devs", "ann"))
	if d := cmp.Diff([]string{":mine", "devs:in", "devs:AmazonS3ReadOnlyAccess"}, names()); d != "" {
		t.Error(d)
	}
	ok(t, h.RemoveUserFromGroup(ctx, admin, "devs", "ann"))
	if d := cmp.Diff([]string{":mine"}, names()); d != "" {
		t.Error(d)
	}
	// A reference to a group that is gone must not read as "no denial".
	u, _ := iam.Users.Get(h.store.View(), scope, "ann")
	lost := *u
	lost.Groups = []string{"AGPAIOSFODNN7EXAMPLE1"}
	if _, err := iam.PoliciesOfUser(h.store.View(), &lost); !fault.Is(err, fault.Internal) {
		t.Errorf("err = %v", err)
	}
}

// TestJoinRacesDelete: whoever wins, no user is left in a group that is gone.
func TestJoinRacesDelete(t *testing.T) {
	for i := range 40 {
		h := newHouse(t)
		h.Authz = allowAll{}
		h.mustUser(t, "ann")
		h.mustGroup(t, "g")
		var wg sync.WaitGroup
		var joined, deleted error
		wg.Go(func() { joined = h.AddUserToGroup(t.Context(), admin, "g", "ann") })
		wg.Go(func() { deleted = h.DeleteGroup(t.Context(), admin, "g") })
		wg.Wait()
		if (joined == nil) == (deleted == nil) {
			t.Fatalf("round %d: joined: %v, deleted: %v", i, joined, deleted)
		}
		u, _ := iam.Users.Get(h.store.View(), scope, "ann")
		if _, err := iam.PoliciesOfUser(h.store.View(), u); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
	}
}

// TestGroupsAskFirst is TestAsksFirst for what came with groups.
func TestGroupsAskFirst(t *testing.T) {
	const group, user = "arn:aws:iam::111122223333:group/none", "arn:aws:iam::111122223333:user/none"
	h := newHouse(t)
	ctx := t.Context()
	for _, tc := range []struct {
		action, resource string
		call             func() error
	}{
		{"iam:CreateGroup", group, func() error { _, err := h.CreateGroup(ctx, admin, "", "none"); return err }},
		{"iam:GetGroup", group, func() error { _, _, err := h.GetGroup(ctx, admin, "none", iam.Page{}); return err }},
		{"iam:ListGroups", "arn:aws:iam::111122223333:group/", func() error { _, err := h.ListGroups(ctx, admin, "", iam.Page{}); return err }},
		{"iam:UpdateGroup", group, func() error { return h.UpdateGroup(ctx, admin, "none", nil, nil) }},
		{"iam:DeleteGroup", group, func() error { return h.DeleteGroup(ctx, admin, "none") }},
		{"iam:AddUserToGroup", group, func() error { return h.AddUserToGroup(ctx, admin, "none", "none") }},
		{"iam:RemoveUserFromGroup", group, func() error { return h.RemoveUserFromGroup(ctx, admin, "none", "none") }},
		{"iam:ListGroupsForUser", user, func() error { _, err := h.ListGroupsForUser(ctx, admin, "none", iam.Page{}); return err }},
		{"iam:AttachGroupPolicy", group, func() error { return h.AttachGroupPolicy(ctx, admin, "none", s3Read) }},
		{"iam:DetachGroupPolicy", group, func() error { return h.DetachGroupPolicy(ctx, admin, "none", s3Read) }},
		{"iam:ListAttachedGroupPolicies", group, func() error { _, err := h.ListAttachedGroupPolicies(ctx, admin, "none", "", iam.Page{}); return err }},
		{"iam:PutGroupPolicy", group, func() error { return h.PutGroupPolicy(ctx, admin, "none", "p", identity) }},
		{"iam:GetGroupPolicy", group, func() error { _, _, err := h.GetGroupPolicy(ctx, admin, "none", "p"); return err }},
		{"iam:DeleteGroupPolicy", group, func() error { return h.DeleteGroupPolicy(ctx, admin, "none", "p") }},
		{"iam:ListGroupPolicies", group, func() error { _, err := h.ListGroupPolicies(ctx, admin, "none", iam.Page{}); return err }},
		{"iam:UpdateUser", user, func() error { return h.UpdateUser(ctx, admin, "none", nil, nil) }},
		{"iam:GetAccessKeyLastUsed", "*", func() error { _, _, _, err := h.GetAccessKeyLastUsed(ctx, admin, "AKIAIOSFODNN7EXAMPLE"); return err }},
		{"iam:ListMFADevices", user, func() error { return h.ListNone(ctx, admin, "iam:ListMFADevices", "none", iam.Page{}) }},
		{"iam:ListVirtualMFADevices", "*", func() error { return h.ListNoneOfAll(ctx, admin, "iam:ListVirtualMFADevices", iam.Page{}) }},
		{"iam:GetLoginProfile", user, func() error { return h.LoginProfile(ctx, admin, "iam:GetLoginProfile", "none") }},
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

func BenchmarkPoliciesOfUser(b *testing.B) {
	h := newHouse(b)
	h.mustUser(b, "ann")
	for i := range 3 {
		g := fmt.Sprintf("g%d", i)
		h.mustGroup(b, g)
		if err := h.PutGroupPolicy(b.Context(), admin, g, "p", identity); err != nil {
			b.Fatal(err)
		}
		if err := h.AddUserToGroup(b.Context(), admin, g, "ann"); err != nil {
			b.Fatal(err)
		}
	}
	v := h.store.View()
	u, _ := iam.Users.Get(v, store.Scope{Account: account, Region: store.Global}, "ann")
	b.ReportAllocs()
	for b.Loop() {
		if refs, err := iam.PoliciesOfUser(v, u); err != nil || len(refs) != 3 {
			b.Fatal(err)
		}
	}
}
