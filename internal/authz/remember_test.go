// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authz_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"podid/internal/iam"
	"podid/internal/reqctx"
	"podid/internal/session"
	"podid/internal/store"
)

const (
	allowByIP   = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}}`
	denyByIP    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}]}`
	allowByName = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:eks:us-west-2:111122223333:cluster/${aws:PrincipalTag/cluster}"}}`
)

func from(ip string) context.Context {
	return reqctx.With(context.Background(), reqctx.Info{SourceIP: netip.MustParseAddr(ip)})
}

// TestRememberedPermission: what was allowed a moment ago is asked again after
// everything that may take it away.
func TestRememberedPermission(t *testing.T) {
	other := func(change func(*iam.Query)) iam.Query {
		q := query
		change(&q)
		return q
	}
	for _, tc := range []struct {
		name   string
		first  principal
		from   string // of the second question
		change func(r *iam.Role)
		delete bool
		query  iam.Query
		want   bool
	}{
		{name: "the same again", first: principal{identity: allowAll}, from: "10.0.0.1", query: query, want: true},
		{name: "another address, no policy names it", first: principal{identity: allowAll}, from: "192.0.2.1", query: query, want: true},
		{name: "another address, the allowance names it", first: principal{identity: allowByIP}, from: "192.0.2.1", query: query},
		{name: "another address, a denial names it", first: principal{identity: denyByIP}, from: "192.0.2.1", query: query},
		{name: "another address, the boundary names it", first: principal{identity: allowAll, boundary: allowByIP}, from: "192.0.2.1", query: query},
		{name: "another address, the session policy names it", first: principal{identity: allowAll, session: allowByIP}, from: "192.0.2.1", query: query},
		{
			name: "policy replaced", first: principal{identity: allowAll}, from: "10.0.0.1", query: query,
			change: func(r *iam.Role) { r.Inline = []iam.InlinePolicy{{Name: "p", Document: allowS3}} },
		},
		{
			name: "denial added", first: principal{identity: allowAll}, from: "10.0.0.1", query: query,
			change: func(r *iam.Role) { r.Inline = append(r.Inline, iam.InlinePolicy{Name: "d", Document: denyEKS}) },
		},
		{
			name: "role made anew", first: principal{identity: allowAll}, from: "10.0.0.1", query: query,
			change: func(r *iam.Role) { r.ID = "AROA2" },
		},
		{name: "role deleted", first: principal{identity: allowAll}, from: "10.0.0.1", query: query, delete: true},
		{
			name: "another action", first: principal{identity: denyEKS, session: ""}, from: "10.0.0.1",
			query: other(func(q *iam.Query) { q.Action = "eks:DeleteCluster" }),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, db := newAuthorizer(t)
			c := asSession(t, db, tc.first)
			q := query
			if tc.query.Action != query.Action {
				q.Action, q.Resource = "s3:GetObject", "*" // what is allowed first
			}
			for range 2 {
				if ok, err := a.Allowed(from("10.0.0.1"), c, q); err != nil || !ok {
					t.Fatalf("first: %v, %v", ok, err)
				}
			}
			put(t, db, func(tx *store.Tx) {
				r := *role(tc.first)
				switch {
				case tc.delete:
					iam.Roles.Delete(tx, scope, "app")
				case tc.change != nil:
					tc.change(&r)
					iam.Roles.Put(tx, scope, "app", &r)
				}
			})
			for range 2 {
				if ok, err := a.Allowed(from(tc.from), c, tc.query); ok != tc.want {
					t.Fatalf("then: %v, %v, want %v", ok, err, tc.want)
				}
			}
		})
	}
}

// TestRememberedPerSession: one session's permission is not another's, though
// both are of one role.
func TestRememberedPerSession(t *testing.T) {
	a, db := newAuthorizer(t)
	free := asSession(t, db, principal{identity: allowAll})
	bound := free
	s := *free.Session
	s.Policy = allowS3
	bound.Session = &s
	for range 3 {
		if ok, err := a.Allowed(from("10.0.0.1"), free, query); err != nil || !ok {
			t.Fatalf("free session: %v, %v", ok, err)
		}
		if ok, err := a.Allowed(from("10.0.0.1"), bound, query); err != nil || ok {
			t.Fatalf("bound session: %v, %v", ok, err)
		}
	}
}

// TestRememberedIsBounded asks for more than is kept.
func TestRememberedIsBounded(t *testing.T) {
	a, db := newAuthorizer(t)
	c := asSession(t, db, principal{identity: allowAll})
	for i := range 10_000 {
		q := iam.Query{Action: query.Action, Resource: fmt.Sprint(clusterARN, i)}
		if ok, err := a.Allowed(from("10.0.0.1"), c, q); err != nil || !ok {
			t.Fatalf("%s: %v, %v", q.Resource, ok, err)
		}
	}
	if n := a.Remembered(); n == 0 || n > 4096 {
		t.Errorf("%d permissions are remembered", n)
	}
}

// TestRememberedUnderChange: a right that was taken away stays away, however
// many ask while it changes.
func TestRememberedUnderChange(t *testing.T) {
	a, db := newAuthorizer(t)
	c := asSession(t, db, principal{identity: allowAll})
	ctx := from("10.0.0.1")
	for i := range 50 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := a.Allowed(ctx, c, query); err != nil {
					t.Error(err)
				}
			})
		}
		want := i%2 == 1
		put(t, db, func(tx *store.Tx) {
			r := *role(principal{identity: map[bool]string{true: allowAll, false: denyEKS}[want]})
			iam.Roles.Put(tx, scope, "app", &r)
		})
		if ok, err := a.Allowed(ctx, c, query); err != nil || ok != want {
			t.Errorf("after change %d: %v, %v, want %v", i, ok, err, want)
		}
		wg.Wait()
		if ok, err := a.Allowed(ctx, c, query); err != nil || ok != want {
			t.Errorf("after change %d and all questions: %v, %v, want %v", i, ok, err, want)
		}
	}
}

func TestVariablesAreConditionsToo(t *testing.T) {
	a, db := newAuthorizer(t)
	c := asSession(t, db, principal{identity: allowByName})
	if ok, err := a.Allowed(from("10.0.0.1"), c, query); err != nil || ok {
		t.Errorf("without the tag: %v, %v", ok, err)
	}
	s := *c.Session
	s.Tags = append(s.Tags, session.Tag{Key: "cluster", Value: "my-cluster"})
	c.Session = &s
	if ok, err := a.Allowed(from("10.0.0.1"), c, query); err != nil || !ok {
		t.Errorf("with the tag: %v, %v", ok, err)
	}
	if n := a.Remembered(); n != 0 {
		t.Errorf("%d permissions are remembered that depend on a key", n)
	}
}

func BenchmarkAllowed(b *testing.B) {
	for name, document := range map[string]string{"no keys": allowAll, "keys": allowByIP} {
		b.Run(name, func(b *testing.B) {
			a, db := newAuthorizer(b)
			c := asSession(b, db, principal{identity: document})
			ctx := from("10.0.0.1")
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := a.Allowed(ctx, c, query); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// TestRememberedBounds: what binds a caller is gathered once for a view, is the caller's own, and is none of a transaction's.
func TestRememberedBounds(t *testing.T) {
	a, db := newAuthorizer(t)
	c := asSession(t, db, principal{identity: allowAll})
	documents := func(r store.Reader, c iam.Caller) (iam.Caller, string) {
		t.Helper()
		b, err := a.Bounds(r, c)
		if err != nil {
			t.Fatal(err)
		}
		names := ""
		for _, n := range b.Identity {
			names += n.Name + " "
		}
		return b.Caller, names
	}
	first, names := documents(db.View(), c)
	other := c
	other.AccessKeyID = "ASIAOTHER"
	again, same := documents(db.View(), other)
	if again.AccessKeyID != "ASIAOTHER" || again.Session != first.Session || same != names {
		t.Errorf("%+v with %q; %+v with %q", first, names, again, same)
	}
	if n := a.RememberedBounds(); n != 1 {
		t.Errorf("the bounds of %d callers are remembered, want those of one session for both its keys", n)
	}
	put(t, db, func(tx *store.Tx) {
		_, before := documents(tx, c)
		r := *role(principal{identity: allowAll})
		r.Inline = append(r.Inline, iam.InlinePolicy{Name: "second", Document: denyEKS})
		iam.Roles.Put(tx, scope, "app", &r)
		if _, after := documents(tx, c); before == after {
			t.Errorf("in a transaction %q stays", after)
		}
	})
	if _, now := documents(db.View(), c); now == names {
		t.Errorf("%q stays", now)
	}
}

// TestRememberedUser: a user who was deleted and made again is another one, though his name and ARN are the same.
func TestRememberedUser(t *testing.T) {
	a, db := newAuthorizer(t)
	user := func(id string) iam.Caller {
		u := &iam.User{ID: id, Partition: "aws", Account: scope.Account, Path: "/", Name: "jane"}
		put(t, db, func(tx *store.Tx) { iam.Users.Put(tx, scope, "jane", u) })
		return iam.Caller{Kind: iam.CallerUser, Partition: "aws", Account: scope.Account, ARN: u.ARN(), UserID: u.ID, User: u}
	}
	old, now := user("AIDA1"), user("AIDA2")
	for range 2 {
		if _, err := a.Bounds(db.View(), now); err != nil {
			t.Error(err)
		}
		if b, err := a.Bounds(db.View(), old); err == nil {
			t.Errorf("the old one counts as %s", b.Caller.User.ID)
		}
	}
}
