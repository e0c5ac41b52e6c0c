// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authz_test

import (
	"context"
	"strings"
	"testing"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/store"
)

// member makes Jane, whose own policy is given, a member of a group with the
// inline policies given.
func member(t testing.TB, db store.Store, own string, policies ...string) iam.Caller {
	t.Helper()
	c := asUser(t, db, principal{identity: own})
	g := &iam.Group{ID: "AGPA1", Partition: "aws", Account: account, Path: "/", Name: "devs"}
	for _, p := range policies {
		g.Inline = append(g.Inline, iam.InlinePolicy{Name: "in", Document: p})
	}
	c.User.Groups = []string{g.ID}
	put(t, db, func(tx *store.Tx) {
		iam.Groups.Put(tx, scope, "devs", g)
		iam.Users.Put(tx, scope, "jane", c.User)
	})
	return c
}

func TestGroupPolicies(t *testing.T) {
	deny := strings.Replace(allowAll, `"Allow"`, `"Deny"`, 1)
	for name, tc := range map[string]struct {
		own   string
		group []string
		want  string // of the refusal; "" is allowed
	}{
		"group allows":         {"", []string{allowAll}, ""},
		"user allows":          {allowAll, nil, ""},
		"nobody allows":        {"", nil, "because no identity-based policy allows"},
		"group denies":         {allowAll, []string{deny}, "with an explicit deny in an identity-based policy"},
		"user denies":          {deny, []string{allowAll}, "with an explicit deny in an identity-based policy"},
		"one allows, one does": {"", []string{allowAll, deny}, "with an explicit deny in an identity-based policy"},
	} {
		t.Run(name, func(t *testing.T) {
			a, db := newAuthorizer(t)
			c := member(t, db, tc.own, tc.group...)
			err := a.Authorize(context.Background(), c, query)
			if tc.want == "" && err != nil || tc.want != "" && (!fault.Is(err, fault.AccessDenied) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

// TestGroupExplains: the explanation names the group that the policy is of.
func TestGroupExplains(t *testing.T) {
	a, db := newAuthorizer(t)
	c := member(t, db, "", strings.Replace(allowAll, `"Allow"`, `"Deny"`, 1))
	err := a.Authorize(context.Background(), c, query)
	x, ok := fault.As(err).Detail.(policy.Explanation)
	if !ok || !strings.Contains(x.Decision.Source.Document, "in of group devs") {
		t.Errorf("explained as %+v", fault.As(err).Detail)
	}
}

// TestGroupChangesCount: whatever changes about a group or a membership counts
// at the next question, also when another replica did it.
func TestGroupChangesCount(t *testing.T) {
	ctx := context.Background()
	a, db := newAuthorizer(t)
	c := member(t, db, "", allowAll)
	may := func(what string, want bool) {
		t.Helper()
		if err := a.Authorize(ctx, c, query); (err == nil) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	change := func(fn func(u *iam.User, g *iam.Group)) {
		t.Helper()
		put(t, db, func(tx *store.Tx) {
			u, _ := iam.Users.Get(tx, scope, "jane")
			g, _ := iam.Groups.Get(tx, scope, "devs")
			nu, ng := *u, *g
			fn(&nu, &ng)
			iam.Users.Put(tx, scope, "jane", &nu)
			iam.Groups.Put(tx, scope, "devs", &ng)
		})
	}
	may("member", true)
	change(func(u *iam.User, _ *iam.Group) { u.Groups = nil })
	may("no member any more", false)
	before := db.View()
	change(func(u *iam.User, _ *iam.Group) { u.Groups = []string{"AGPA1"} })
	db.stale = before
	may("made a member elsewhere", true)
	db.stale = nil
	change(func(_ *iam.User, g *iam.Group) { g.Inline = nil })
	may("the group's policy was deleted", false)
	change(func(_ *iam.User, g *iam.Group) { g.Attached = []string{"arn:aws:iam::aws:policy/AdministratorAccess"} })
	may("a policy was attached to the group", true)
	put(t, db, func(tx *store.Tx) { iam.Groups.Delete(tx, scope, "devs") })
	if err := a.Authorize(ctx, c, query); fault.As(err).Reason != "group-missing" {
		t.Errorf("group missing: %v", err)
	}
}

// TestRenamedMeanwhile: a user who is renamed between his proof and the
// question is the same user, judged by his new name.
func TestRenamedMeanwhile(t *testing.T) {
	a, db := newAuthorizer(t)
	c := asUser(t, db, principal{identity: strings.Replace(allowAll, `"Resource":"*"`, `"Resource":"*","Condition":{"StringEquals":{"aws:username":"Joan"}}`, 1)})
	n := *c.User
	n.Name = "Joan"
	put(t, db, func(tx *store.Tx) {
		iam.Users.Delete(tx, scope, "jane")
		iam.Users.Put(tx, scope, "joan", &n)
	})
	if err := a.Authorize(context.Background(), c, query); err != nil {
		t.Error(err)
	}
	b, err := a.Bounds(db.View(), c)
	if err != nil || b.Caller.ARN != "arn:aws:iam::111122223333:user/Joan" {
		t.Errorf("bounds of %s, %v", b.Caller.ARN, err)
	}
	// Another one under the old name is not him.
	put(t, db, func(tx *store.Tx) {
		iam.Users.Delete(tx, scope, "joan")
		iam.Users.Put(tx, scope, "jane", &iam.User{ID: "AIDA2", Partition: "aws", Account: account, Path: "/", Name: "Jane"})
	})
	if err := a.Authorize(context.Background(), c, query); fault.As(err).Reason != "user-deleted" {
		t.Errorf("err = %v", err)
	}
}
