// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"strings"
	"testing"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// TestUpdateUser: a renamed user is the same user, with all that is his.
func TestUpdateUser(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	u := h.mustUser(t, "Ann")
	h.mustUser(t, "taken")
	h.mustGroup(t, "g")
	ok(t, h.AddUserToGroup(ctx, admin, "g", "ann"))
	ok(t, h.AttachUserPolicy(ctx, admin, "ann", s3Read))
	ok(t, h.PutUserPolicy(ctx, admin, "ann", "p", identity))
	ok(t, h.TagUser(ctx, admin, "ann", []iam.Tag{{Key: "k", Value: "v"}}))
	ok(t, h.PutUserPermissionsBoundary(ctx, admin, "ann", s3Read))
	k, err := h.CreateAccessKey(ctx, admin, "ann")
	ok(t, err)
	_, err = h.CreateRole(ctx, admin, iam.CreateRoleInput{Name: "r", Trust: trusting(u.ARN())})
	ok(t, err)

	refused(t, h.UpdateUser(ctx, admin, "ann", ptr("TAKEN"), nil), fault.AlreadyExists, "User with name taken already exists.")
	refused(t, h.UpdateUser(ctx, admin, "ann", ptr("a b"), nil), fault.InvalidParameter, "The specified value for newUserName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	refused(t, h.UpdateUser(ctx, admin, "ann", nil, ptr("p")), fault.InvalidParameter, "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	refused(t, h.UpdateUser(ctx, admin, "none", ptr("x"), nil), fault.NotFound, "The user with name none cannot be found.")

	h.asked.queries = nil
	ok(t, h.UpdateUser(ctx, admin, "ann", ptr("Bea"), ptr("/people/")))
	if q := h.asked.queries; len(q) != 2 || q[0].Resource != u.ARN() || q[1].Resource != "arn:aws:iam::111122223333:user/people/Bea" || h.asked.keys()["aws:ResourceTag/k"] != "v" {
		t.Errorf("asked %+v", q)
	}
	got, err := h.GetUser(ctx, admin, "bea")
	ok(t, err)
	if got.ID != u.ID || got.ARN() != "arn:aws:iam::111122223333:user/people/Bea" || len(got.Groups) != 1 || len(got.Attached) != 1 ||
		len(got.Inline) != 1 || len(got.Tags) != 1 || got.Boundary != s3Read || !got.Created.Equal(u.Created) {
		t.Errorf("user = %+v", got)
	}
	_, err = h.GetUser(ctx, admin, "ann")
	refused(t, err, fault.NotFound, "The user with name ann cannot be found.")
	// The key leads to the user, and its secret opens where it lies now.
	_, key, found := iam.UserByAccessKey(h.store.View(), account, k.Key.ID)
	if want := string(iam.KeyAAD(scope, "bea", k.Key.ID)) + "|" + k.Secret.Reveal(); !found || string(key.Sealed) != want {
		t.Errorf("sealed as %s, want %s", key.Sealed, want)
	}
	r, err := h.GetRole(ctx, admin, "r")
	ok(t, err)
	if r.Trust != trusting(got.ARN()) {
		t.Errorf("the trust policy shows %s", r.Trust)
	}
	// Who takes the old name gets nothing of it.
	if n := h.mustUser(t, "ann"); n.ID == u.ID || len(n.Keys) != 0 {
		t.Errorf("user = %+v", n)
	}
	ok(t, h.UpdateUser(ctx, admin, "bea", ptr("BEA"), nil)) // the same but for case
	_, key, _ = iam.UserByAccessKey(h.store.View(), account, k.Key.ID)
	if !strings.HasSuffix(string(key.Sealed), "|"+k.Secret.Reveal()) {
		t.Errorf("sealed as %s", key.Sealed)
	}
}

// TestRebindRefuses: a secret that does not open is not carried along.
func TestRebindRefuses(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustUser(t, "ann")
	_, err := h.CreateAccessKey(ctx, admin, "ann")
	ok(t, err)
	h.Sealer = closedSealer{}
	if err := h.UpdateUser(ctx, admin, "ann", ptr("bea"), nil); !fault.Is(err, fault.Internal) {
		t.Errorf("err = %v", err)
	}
	if _, err := h.GetUser(ctx, admin, "ann"); err != nil {
		t.Errorf("the user is gone: %v", err)
	}
}

type closedSealer struct{ openSealer }

func (closedSealer) Open([]byte, []byte) ([]byte, error) { return nil, fault.New(fault.Internal, "no") }

// TestResetLeavesGroups: a group could hold what locked the admin out.
func TestResetLeavesGroups(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustUser(t, "podid-admin")
	h.mustGroup(t, "g")
	ok(t, h.AddUserToGroup(ctx, admin, "g", "podid-admin"))
	key := h.mustKey(t, "podid-admin")
	l := h.lastUsed()
	l.Used(account, key, "iam", "us-west-2")
	ok(t, l.Write(ctx))
	var again iam.NewKey
	ok(t, h.store.Update(ctx, func(tx *store.Tx) (err error) {
		again, err = h.ResetKeys(tx, "podid-admin")
		return err
	}))
	if len(again.User.Groups) != 0 {
		t.Errorf("groups after the reset: %q", again.User.Groups)
	}
	if _, found := iam.KeyUses.Get(h.store.View(), scope, key); found {
		t.Error("the use of a key that is gone was kept")
	}
	ok(t, h.DeleteGroup(ctx, admin, "g"))
}

// TestUserCredentials: what tools ask about before they delete a user.
func TestUserCredentials(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustUser(t, "podid-admin")
	h.mustUser(t, "Ann")
	ok(t, h.ListNone(ctx, admin, "iam:ListMFADevices", "", iam.Page{}))
	ok(t, h.ListNone(ctx, admin, "iam:ListMFADevices", "ann", iam.Page{}))
	refused(t, h.ListNone(ctx, admin, "iam:ListMFADevices", "none", iam.Page{}), fault.NotFound, "The user with name none cannot be found.")
	refused(t, h.ListNone(ctx, admin, "iam:ListMFADevices", "ann", iam.Page{Marker: "x"}), fault.InvalidParameter, "Invalid Marker.")
	refused(t, h.ListNone(ctx, admin, "iam:ListMFADevices", "ann", iam.Page{MaxItems: ptr(int32(0))}), fault.InvalidParameter, "1 validation error detected: Value '0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1")
	refused(t, h.LoginProfile(ctx, admin, "iam:GetLoginProfile", "ann"), fault.NotFound, "Login Profile for User Ann cannot be found.")
	refused(t, h.LoginProfile(ctx, admin, "iam:DeleteLoginProfile", ""), fault.NotFound, "Login Profile for User podid-admin cannot be found.")
	refused(t, h.LoginProfile(ctx, admin, "iam:DeleteLoginProfile", "none"), fault.NotFound, "The user with name none cannot be found.")
}
