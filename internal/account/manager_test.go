// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"podid/internal/account"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

const (
	first = "111122223333"
	other = "444455556666"
)

// asked is an Authorizer that allows what it is told to and keeps the questions.
type asked struct {
	deny string // action
	got  []string
}

func (a *asked) Authorize(_ context.Context, c iam.Caller, q iam.Query) error {
	a.got = append(a.got, q.Action+" "+q.Resource)
	if q.Action == a.deny {
		return fault.New(fault.AccessDenied, "User: %s is not authorized to perform: %s", c.ARN, q.Action)
	}
	return nil
}

// things stand for a table that nobody has told the manager of.
type thing struct {
	Name string `cbor:"1,keyasint"`
}

var things = store.NewTable[thing]("thing", nil)

type world struct {
	db    *storetest.Memory
	authz asked
	m     *account.Manager
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{db: storetest.NewMemory(store.NewSchema(account.Accounts, iam.Users, iam.Roles, things))}
	w.m = w.of(first)
	w.put(t, func(tx *store.Tx) { account.Accounts.Put(tx, account.Scope, first, &account.Account{ID: first}) })
	return w
}

// of is the manager for callers of an account.
func (w *world) of(id string) *account.Manager {
	return &account.Manager{
		Store: w.db, Authz: &w.authz, Account: id, First: first, Partition: "aws",
		Now: func() time.Time { return time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC) },
		New: func(id string) (*account.Account, error) {
			return &account.Account{ID: id, PageKey: []byte("sealed")}, nil
		},
		Admin: func(tx *store.Tx, id string) (iam.NewKey, error) {
			u := &iam.User{ID: "AIDA" + id, Account: id, Name: "podid-admin", Partition: "aws", Path: "/"}
			iam.Users.Put(tx, store.Scope{Account: id, Region: store.Global}, u.Name, u)
			return iam.NewKey{User: u}, nil
		},
		Holds: map[string]account.Holding{
			"user": {Noun: "user"}, "role": {Noun: "role", Name: func(v any) string { return v.(*iam.Role).Name }},
		},
	}
}

func (w *world) put(t *testing.T, fn func(tx *store.Tx)) {
	t.Helper()
	if err := w.db.Update(context.Background(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func caller(id string) iam.Caller {
	return iam.Caller{Account: id, ARN: "arn:aws:iam::" + id + ":user/u"}
}

func wantFault(t *testing.T, err error, kind fault.Kind, message string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(fault.As(err).Message, message) {
		t.Errorf("got %v, want kind %d with %q", err, kind, message)
	}
}

func TestCreate(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	out, err := w.m.Create(ctx, caller(first), account.CreateInput{ID: other, Name: "staging (EU)"})
	if err != nil || out.Account.By != first || out.Account.Name != "staging (EU)" || out.Account.AdminID != "AIDA"+other || out.Key.User.Name != "podid-admin" {
		t.Fatalf("%+v, %v", out, err)
	}
	if a := account.Find(w.db.View()); a.ID != first {
		t.Errorf("the first account is %s", a.ID)
	}
	for _, tc := range []struct {
		name, account string
		caller        string
		in            account.CreateInput
		kind          fault.Kind
		message       string
	}{
		{"other account", other, other, account.CreateInput{ID: "777788889999"}, fault.AccessDenied, "arn:aws:podid::444455556666:account/777788889999 because only the first account"},
		{"caller of another account", first, other, account.CreateInput{ID: "777788889999"}, fault.AccessDenied, "only the first account"},
		{"number", first, first, account.CreateInput{ID: "7777888899990"}, fault.InvalidParameter, "12 digits"},
		{"none", first, first, account.CreateInput{ID: "000000000000"}, fault.InvalidParameter, "stands for no account"},
		{"name", first, first, account.CreateInput{ID: "777788889999", Name: " x"}, fault.InvalidParameter, "The name"},
		{"long name", first, first, account.CreateInput{ID: "777788889999", Name: strings.Repeat("x", 65)}, fault.InvalidParameter, "The name"},
		{"again", first, first, account.CreateInput{ID: other}, fault.AlreadyExists, "Account 444455556666 already exists."},
		{"the first", first, first, account.CreateInput{ID: first}, fault.AlreadyExists, "Account 111122223333 already exists."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := w.of(tc.account).Create(ctx, caller(tc.caller), tc.in)
			wantFault(t, err, tc.kind, tc.message)
		})
	}
	t.Run("limit", func(t *testing.T) {
		m := w.of(first)
		m.Limit = 2
		_, err := m.Create(ctx, caller(first), account.CreateInput{ID: "777788889999"})
		wantFault(t, err, fault.LimitExceeded, "the limit of 2 accounts")
	})
	t.Run("asked first", func(t *testing.T) {
		w.authz = asked{deny: "podid:CreateAccount"}
		_, err := w.m.Create(ctx, caller(first), account.CreateInput{ID: "bad"})
		wantFault(t, err, fault.AccessDenied, "not authorized to perform: podid:CreateAccount")
		if want := []string{"podid:CreateAccount arn:aws:podid::111122223333:account/bad"}; !slices.Equal(w.authz.got, want) {
			t.Errorf("asked %v", w.authz.got)
		}
	})
}

func TestSee(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for _, id := range []string{"000000000002", other} {
		if _, err := w.m.Create(ctx, caller(first), account.CreateInput{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	for by, want := range map[string]string{first: "000000000002 111122223333 444455556666", other: other, "999999999999": ""} {
		list, err := w.of(by).List(ctx, caller(by))
		var ids []string
		for _, a := range list {
			ids = append(ids, a.ID)
		}
		if got := strings.Join(ids, " "); err != nil || got != want {
			t.Errorf("%s sees %q, %v", by, got, err)
		}
	}
	if a, err := w.of(other).Get(ctx, caller(other), other); err != nil || a.ID != other {
		t.Errorf("%+v, %v", a, err)
	}
	for _, id := range []string{first, "000000000002", "999999999999"} {
		_, err := w.of(other).Get(ctx, caller(other), id)
		wantFault(t, err, fault.NotFound, "No account found with the number "+id+".")
	}
	_, err := w.m.Get(ctx, caller(first), "999999999999")
	wantFault(t, err, fault.NotFound, "No account found with the number 999999999999.")
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if _, err := w.m.Create(ctx, caller(first), account.CreateInput{ID: other}); err != nil {
		t.Fatal(err)
	}
	scope := store.Scope{Account: other, Region: store.Global}
	wantFault(t, w.of(other).Delete(ctx, caller(other), other), fault.AccessDenied, "only the first account")
	wantFault(t, w.m.Delete(ctx, caller(first), first), fault.InvalidParameter, "cannot be deleted")
	wantFault(t, w.m.Delete(ctx, caller(first), "999999999999"), fault.NotFound, "No account found")
	w.put(t, func(tx *store.Tx) {
		for i := range 25 {
			iam.Roles.Put(tx, scope, fmt.Sprintf("role-%02d", i), &iam.Role{Name: fmt.Sprintf("Role-%02d", i)})
		}
	})
	err := w.m.Delete(ctx, caller(first), other)
	wantFault(t, err, fault.DeleteConflict, "Account 444455556666 cannot be deleted while it holds: role Role-00, role Role-01, ")
	wantFault(t, err, fault.DeleteConflict, "role Role-19 and 5 more.")
	w.put(t, func(tx *store.Tx) {
		for i := range 25 {
			iam.Roles.Delete(tx, scope, fmt.Sprintf("role-%02d", i))
		}
		things.Put(tx, scope, "x", &thing{"x"})
	})
	wantFault(t, w.m.Delete(ctx, caller(first), other), fault.DeleteConflict, "holds: thing x.")
	w.put(t, func(tx *store.Tx) { things.Delete(tx, scope, "x") })
	if err := w.m.Delete(ctx, caller(first), other); err != nil {
		t.Fatal(err)
	}
	for r := range store.Records(w.db.View(), other) {
		t.Errorf("left over: %+v", r)
	}
	a, ok := account.Accounts.Get(w.db.View(), account.Scope, other)
	if !ok || a.Closed.IsZero() || a.PageKey != nil {
		t.Errorf("%+v", a)
	}
	if _, ok := account.Open(w.db.View(), other); ok || slices.Contains(slices.Collect(account.Numbers(w.db.View())), other) {
		t.Error("the account is still there")
	}
	wantFault(t, w.m.Delete(ctx, caller(first), other), fault.NotFound, "No account found")
	_, err = w.m.Create(ctx, caller(first), account.CreateInput{ID: other})
	wantFault(t, err, fault.AlreadyExists, "was deleted on 2026-11-23; its number is not used again")
}
