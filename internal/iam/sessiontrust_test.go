// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"strings"
	"testing"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
)

// TestTrustInSessions: a trust policy that names a session of a role names the
// role that is, not one that is made later under its name.
func TestTrustInSessions(t *testing.T) {
	const session = "arn:aws:sts::111122223333:assumed-role/Caller/s1"
	h := newHouse(t)
	ctx := t.Context()
	_, err := h.CreateRole(ctx, admin, iam.CreateRoleInput{Name: "target", Trust: trusting(session)})
	refused(t, err, fault.MalformedPolicy, `Invalid principal in policy: "AWS":"`+session+`"`)
	first, err := h.CreateRole(ctx, admin, iam.CreateRoleInput{Path: "/p/", Name: "Caller", Trust: trust})
	ok(t, err)
	r, err := h.CreateRole(ctx, admin, iam.CreateRoleInput{Name: "target", Trust: trusting(session)})
	ok(t, err)
	if r.Trust != trusting(session) {
		t.Errorf("shown as %s", r.Trust)
	}
	enters := func(roleID, arn string) bool {
		t.Helper()
		stored, _ := iam.FindRole(h.store.View(), account, "target")
		doc, err := policy.Parse(policy.Trust, stored.Trust)
		ok(t, err)
		p := policy.SessionPrincipal(first.ARN(), arn).WithID(roleID)
		return policy.Evaluate(&policy.Input{
			Principal: p, Action: "sts:AssumeRole", Resource: stored.ARN(), ResourceAccount: account, Context: &policy.Context{},
			ResourcePolicy: &policy.Named{Name: "trust", Doc: doc}, RequireResourcePolicy: true,
		}).Allowed
	}
	if stored, _ := iam.FindRole(h.store.View(), account, "target"); stored.Trust != trusting(first.ID+":s1") {
		t.Errorf("stored as %s", stored.Trust)
	}
	for name, tc := range map[string]struct {
		roleID, arn string
		want        bool
	}{
		"the session":               {first.ID, session, true},
		"another session":           {first.ID, strings.TrimSuffix(session, "1") + "2", false},
		"a session of a longer one": {first.ID, session + "1", false},
		"of a later role":           {"AROAIOSFODNN7EXAMPLE1", session, false},
		"of no id":                  {"", session, false},
	} {
		if got := enters(tc.roleID, tc.arn); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	ok(t, h.DeleteRole(ctx, admin, "caller"))
	h.mustRole(t, "Caller")
	got, err := h.GetRole(ctx, admin, "target")
	ok(t, err)
	if got.Trust != trusting(first.ID+":s1") {
		t.Errorf("shown as %s", got.Trust)
	}
	refused(t, h.UpdateAssumeRolePolicy(ctx, admin, "target", got.Trust), fault.MalformedPolicy, `Invalid principal in policy: "AWS":"`+first.ID+`:s1"`)
	// Sessions of other accounts that are not here are kept as they are written.
	other := trusting("arn:aws:sts::444455556666:assumed-role/r/s")
	ok(t, h.UpdateAssumeRolePolicy(ctx, admin, "target", other))
	if stored, _ := iam.FindRole(h.store.View(), account, "target"); stored.Trust != other {
		t.Errorf("stored as %s", stored.Trust)
	}
}
