// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association_test

import (
	"context"
	"testing"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

// busy knows whether one of its transactions runs, each of which runs twice.
type busy struct {
	*storetest.Memory
	inside bool
}

func (b *busy) Update(ctx context.Context, fn func(*store.Tx) error) error {
	b.inside = true
	defer func() { b.inside = false }()
	if err := fn(store.NewTx(b.View())); err != nil { // a race that was lost
		return err
	}
	return b.Memory.Update(ctx, fn)
}

// elsewhere asks for roles outside of the store, and says what verdict holds.
type elsewhere struct {
	t       *testing.T
	store   *busy
	asked   []string // roles
	verdict error
}

func (e *elsewhere) AskRole(_ context.Context, _ store.Reader, c *cluster.Cluster, a *association.Association) association.RoleCheck {
	if e.store.inside {
		e.t.Error("asked within a transaction")
	}
	e.asked = append(e.asked, a.RoleARN)
	verdict, uid, role := e.verdict, c.UID, a.RoleARN
	return func(_ context.Context, _ store.Reader, c *cluster.Cluster, a *association.Association) error {
		if !e.store.inside || c.UID != uid || a.RoleARN != role {
			e.t.Errorf("checked %s of %s, asked about %s of %s", a.RoleARN, c.UID, role, uid)
		}
		return verdict
	}
}

// What the store does not know is asked once for each role that is named,
// before the transaction, and never for who may not pass the role.
func TestRolesAreAskedBeforehand(t *testing.T) {
	f := newFixture(t)
	b := &busy{Memory: f.store}
	e := &elsewhere{t: t, store: b}
	f.Store, f.Roles = b, e
	other, tags := roleARN+"-2", true
	asked := func(what string, want int) {
		t.Helper()
		if len(e.asked) != want {
			t.Errorf("%s: asked about %v", what, e.asked)
		}
		e.asked = nil
	}
	a := f.create(t, input("sa"))
	asked("create", 1)
	if _, err := f.Update(ctx, me, association.UpdateInput{Cluster: "my-cluster", ID: a.ID, RoleARN: &other}); err != nil {
		t.Fatal(err)
	}
	asked("update", 1)
	if _, err := f.Update(ctx, me, association.UpdateInput{Cluster: "my-cluster", ID: a.ID, DisableSessionTags: &tags}); err != nil {
		t.Fatal(err)
	}
	asked("update of no role", 0)
	for _, set := range [][]association.OwnedRole{{{ServiceAccount: "x", RoleARN: roleARN}, {ServiceAccount: "y", RoleARN: roleARN}}, {{ServiceAccount: "x", RoleARN: other}}} {
		plan, err := f.PrepareOwned(ctx, me, association.OwnedInput{Cluster: "my-cluster", Namespace: "ns2", OwnerARN: "owner", Roles: set})
		if err != nil {
			t.Fatal(err)
		}
		asked("an owner's", len(set))
		if err := b.Update(ctx, func(tx *store.Tx) error {
			c, _ := cluster.Clusters.Get(tx, f.scope(), "my-cluster")
			return plan.Apply(ctx, tx, c)
		}); err != nil {
			t.Fatal(err)
		}
	}
	e.verdict = fault.New(fault.InvalidParameter, "no").WithReason("role-not-found")
	_, err := f.Create(ctx, me, input("sb"))
	refused(t, err, fault.InvalidParameter, "no")
	_, err = f.Update(ctx, me, association.UpdateInput{Cluster: "my-cluster", ID: a.ID, RoleARN: &other})
	refused(t, err, fault.InvalidParameter, "no")
	asked("refused", 2)
	f.gate.deny = "iam:PassRole"
	_, err = f.Create(ctx, me, input("sb"))
	refused(t, err, fault.AccessDenied, "no")
	_, err = f.Update(ctx, me, association.UpdateInput{Cluster: "my-cluster", ID: a.ID, RoleARN: &other})
	refused(t, err, fault.AccessDenied, "no")
	f.gate.deny = ""
	in := input("sb")
	in.Cluster = "none"
	_, err = f.Create(ctx, me, in)
	refused(t, err, fault.NotFound, "none")
	_, err = f.Update(ctx, me, association.UpdateInput{Cluster: "my-cluster", ID: "a-aaaaaaaaaaaaaaaaa", RoleARN: &other})
	refused(t, err, fault.NotFound, "a-aaaaaaaaaaaaaaaaa")
	asked("not allowed, not there", 0)
}
