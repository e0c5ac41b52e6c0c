// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

var scope = store.Scope{Account: account, Region: store.Global}

func TestAccessKeys(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	u := h.mustUser(t, "Ann")
	k, err := h.CreateAccessKey(ctx, admin, "ann")
	ok(t, err)
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(k.Key.ID) || len(k.Secret.Reveal()) != 40 || !k.Key.Active || k.User.Name != "Ann" {
		t.Errorf("key = %+v", k.Key)
	}
	if printed := fmt.Sprintf("%v %+v", k, k); strings.Contains(printed, k.Secret.Reveal()) {
		t.Error("the secret prints itself")
	}
	got, key, found := iam.UserByAccessKey(h.store.View(), account, k.Key.ID)
	if !found || got.ID != u.ID {
		t.Fatal("the key leads to no user")
	}
	if want := string(iam.KeyAAD(scope, "ann", k.Key.ID)) + "|" + k.Secret.Reveal(); !bytes.Equal(key.Sealed, []byte(want)) {
		t.Errorf("sealed as %s, want %s", key.Sealed, want)
	}
	h.now = h.now.Add(time.Minute)
	second, err := h.CreateAccessKey(ctx, admin, "Ann")
	ok(t, err)
	if second.Key.ID[:12] != k.Key.ID[:12] {
		t.Error("keys of one account do not begin alike")
	}
	_, err = h.CreateAccessKey(ctx, admin, "Ann")
	refused(t, err, fault.LimitExceeded, "Cannot exceed quota for AccessKeysPerUser: 2")
	ok(t, h.UpdateAccessKey(ctx, admin, "Ann", k.Key.ID, "Inactive"))
	_, l, err := h.ListAccessKeys(ctx, admin, "Ann", iam.Page{})
	ok(t, err)
	if len(l.Items) != 2 || l.Items[0].ID != k.Key.ID || l.Items[0].Active || !l.Items[1].Active {
		t.Errorf("keys = %+v", l.Items)
	}
	refused(t, h.UpdateAccessKey(ctx, admin, "Ann", k.Key.ID, "On"), fault.InvalidParameter, "1 validation error detected: Value 'On' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]")
	refused(t, h.DeleteAccessKey(ctx, admin, "Ann", "AKIAIOSFODNN7EXAMPLE"), fault.NotFound, "The Access Key with id AKIAIOSFODNN7EXAMPLE cannot be found.")
	refused(t, h.DeleteAccessKey(ctx, admin, "Ann", "AKIA"), fault.InvalidParameter, "1 validation error detected: Value 'AKIA' at 'accessKeyId' failed to satisfy constraint: Member must have length greater than or equal to 16")
	refused(t, h.DeleteUser(ctx, admin, "Ann"), fault.DeleteConflict, "Cannot delete entity, must delete access keys first.")
	ok(t, h.DeleteAccessKey(ctx, admin, "Ann", k.Key.ID))
	if _, _, found := iam.UserByAccessKey(h.store.View(), account, k.Key.ID); found {
		t.Error("a deleted key still leads to its user")
	}
	ok(t, h.DeleteAccessKey(ctx, admin, "Ann", second.Key.ID))
	ok(t, h.DeleteUser(ctx, admin, "Ann"))
}

// TestOwn: without a name the caller is meant, who must be a user.
func TestOwn(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustUser(t, "podid-admin")
	u, err := h.GetUser(ctx, admin, "")
	ok(t, err)
	k, err := h.CreateAccessKey(ctx, admin, "")
	ok(t, err)
	if u.Name != "podid-admin" || k.User.ID != u.ID {
		t.Errorf("got %s and a key of %s", u.Name, k.User.Name)
	}
	ok(t, h.DeleteAccessKey(ctx, admin, "", k.Key.ID))
	role := iam.Caller{Kind: iam.CallerSession, Account: account, ARN: "arn:aws:sts::111122223333:assumed-role/r/s"}
	const want = "Must specify userName when calling with non-User credentials"
	_, err = h.GetUser(ctx, role, "")
	refused(t, err, fault.InvalidParameter, want)
	_, err = h.CreateAccessKey(ctx, role, "")
	refused(t, err, fault.InvalidParameter, want)
	_, _, err = h.ListAccessKeys(ctx, role, "", iam.Page{})
	refused(t, err, fault.InvalidParameter, want)
	refused(t, h.DeleteAccessKey(ctx, role, "", "AKIAIOSFODNN7EXAMPLE"), fault.InvalidParameter, want)
}

func TestBootstrap(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	run := func(f func(*store.Tx, string) (iam.NewKey, error)) (k iam.NewKey) {
		t.Helper()
		ok(t, h.store.Update(ctx, func(tx *store.Tx) (err error) {
			k, err = f(tx, "podid-admin")
			return err
		}))
		return k
	}
	first := run(h.Bootstrap)
	refs, err := iam.PoliciesOfUser(h.store.View(), first.User)
	ok(t, err)
	if len(refs) != 1 || refs[0].ARN != "arn:aws:iam::aws:policy/AdministratorAccess" || !strings.Contains(refs[0].Document, `"Action":"*"`) {
		t.Errorf("policies = %+v", refs)
	}
	err = h.store.Update(ctx, func(tx *store.Tx) error {
		_, err := h.Bootstrap(tx, "podid-admin")
		return err
	})
	refused(t, err, fault.AlreadyExists, "User with name podid-admin already exists.")
	ok(t, h.DetachUserPolicy(ctx, admin, "podid-admin", "arn:aws:iam::aws:policy/AdministratorAccess"))
	ok(t, h.PutUserPolicy(ctx, admin, "podid-admin", "lock-out", strings.Replace(identity, "Allow", "Deny", 1)))
	ok(t, h.PutUserPermissionsBoundary(ctx, admin, "podid-admin", s3Read))
	again := run(h.ResetKeys)
	if u := again.User; u.ID != first.User.ID || len(u.Keys) != 1 || u.Keys[0].ID == first.Key.ID || len(u.Inline) != 0 || u.Boundary != "" || len(u.Attached) != 1 {
		t.Errorf("user after the reset: %+v", u)
	}
	if _, _, found := iam.UserByAccessKey(h.store.View(), account, first.Key.ID); found {
		t.Error("the old key still works")
	}
}

func TestPoliciesOf(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustRole(t, "r")
	ok(t, h.PutRolePolicy(ctx, admin, "r", "in", identity))
	ok(t, h.AttachRolePolicy(ctx, admin, "r", s3Read))
	r, _ := iam.FindRole(h.store.View(), account, "R")
	refs, err := iam.PoliciesOfRole(h.store.View(), r)
	ok(t, err)
	if len(refs) != 2 || refs[0] != (iam.PolicyRef{Name: "in", Document: identity}) || refs[1].ARN != s3Read || refs[1].Name != "AmazonS3ReadOnlyAccess" {
		t.Errorf("policies = %+v", refs)
	}
	if got, found := iam.RoleByARN(h.store.View(), r.ARN()); !found || got.ID != r.ID {
		t.Error("the role cannot be found by its ARN")
	}
	if _, found := iam.RoleByARN(h.store.View(), "arn:aws:iam::111122223333:role/p/r"); found {
		t.Error("a role was found by another path")
	}
	if got, found := iam.RoleByID(h.store.View(), account, r.ID); !found || got.Name != "r" {
		t.Error("the role cannot be found by its id")
	}
	// A reference to a policy that is gone must not read as "no denial".
	lost := *r
	lost.Attached = []string{"arn:aws:iam::111122223333:policy/lost"}
	if _, err := iam.PoliciesOfRole(h.store.View(), &lost); !fault.Is(err, fault.Internal) {
		t.Errorf("err = %v", err)
	}
	if _, _, err := iam.BoundaryOf(h.store.View(), lost.Attached[0]); !fault.Is(err, fault.Internal) {
		t.Errorf("err = %v", err)
	}
	if _, given, err := iam.BoundaryOf(h.store.View(), ""); given || err != nil {
		t.Errorf("no boundary: %v, %v", given, err)
	}
}

// TestRaces: of many who make the same role one wins, and a policy is never
// attached to a role and gone.
func TestRaces(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.Rand = &locked{r: h.Rand}
	h.Authz = allowAll{}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 32 {
		wg.Go(func() {
			_, err := h.CreateRole(ctx, admin, iam.CreateRoleInput{Name: "r", Trust: trust})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !fault.Is(err, fault.AlreadyExists):
				t.Errorf("err = %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d won", won)
	}
	for i := range 20 {
		p, err := h.CreatePolicy(ctx, admin, iam.CreatePolicyInput{Name: fmt.Sprintf("p%d", i), Document: identity})
		ok(t, err)
		wg.Go(func() { _ = h.AttachRolePolicy(ctx, admin, "r", p.ARN()) }) // either may lose: what is left is looked at
		wg.Go(func() { _ = h.DeletePolicy(ctx, admin, p.ARN()) })
		wg.Wait()
		r, _ := iam.FindRole(h.store.View(), account, "r")
		if _, err := iam.PoliciesOfRole(h.store.View(), r); err != nil {
			t.Fatal(err)
		}
		_ = h.DetachRolePolicy(ctx, admin, "r", p.ARN())
	}
}

func TestStoreAway(t *testing.T) {
	h := newHouse(t)
	h.mustRole(t, "r")
	h.store.Fail(store.ErrUnavailable)
	if _, err := h.GetRole(t.Context(), admin, "r"); err != nil {
		t.Errorf("what is in the view cannot be read: %v", err)
	}
	_, err := h.GetRole(t.Context(), admin, "none")
	refused(t, err, fault.Unavailable, "The store cannot be read.")
	refused(t, h.DeleteRole(t.Context(), admin, "r"), fault.Unavailable, "The store cannot be written.")
	h.store.Fail(store.ErrUnknown)
	refused(t, h.DeleteRole(t.Context(), admin, "r"), fault.Unavailable, "The store broke off; the change may have taken effect.")
}

type allowAll struct{}

func (allowAll) Authorize(context.Context, iam.Caller, iam.Query) error { return nil }

type locked struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *locked) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

func TestAccountSummary(t *testing.T) {
	h := newHouse(t)
	h.mustRole(t, "r")
	h.mustUser(t, "u")
	h.mustPolicy(t, "p")
	counts, err := h.GetAccountSummary(t.Context(), admin)
	ok(t, err)
	got := map[string]int{}
	for _, c := range counts {
		got[c.Name] = c.Value
	}
	for name, want := range map[string]int{"Roles": 1, "Users": 1, "Policies": 1, "PolicyVersionsInUse": 1, "AccessKeysPerUserQuota": 2, "AssumeRolePolicySizeQuota": 2048} {
		if got[name] != want {
			t.Errorf("%s = %d, want %d", name, got[name], want)
		}
	}
	aliases, err := h.ListAccountAliases(t.Context(), admin, iam.Page{})
	ok(t, err)
	if len(aliases.Items) != 0 || aliases.Marker != "" {
		t.Errorf("aliases = %+v", aliases)
	}
}
