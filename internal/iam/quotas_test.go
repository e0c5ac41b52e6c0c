// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"podid/internal/fault"
	"podid/internal/iam"
)

// TestQuotas: each quota is reached with the limit lowered, and refuses one
// more with AWS' words.
func TestQuotas(t *testing.T) {
	n := func(i int) string { return fmt.Sprintf("n%d", i) }
	name := "x"
	for quota, tc := range map[iam.Quota]struct {
		limit   int
		message string // "" is "Cannot exceed quota for …"
		before  func(h *house)
		one     func(h *house, i int) error
	}{
		iam.RolesPerAccount: {limit: 3, one: func(h *house, i int) error {
			_, err := h.CreateRole(t.Context(), admin, iam.CreateRoleInput{Name: n(i), Trust: trust})
			return err
		}},
		iam.UsersPerAccount: {limit: 3, one: func(h *house, i int) error {
			_, err := h.CreateUser(t.Context(), admin, iam.CreateUserInput{Name: n(i)})
			return err
		}},
		iam.GroupsPerAccount: {limit: 3, one: func(h *house, i int) error {
			_, err := h.CreateGroup(t.Context(), admin, "", n(i))
			return err
		}},
		iam.PoliciesPerAccount: {limit: 3, one: func(h *house, i int) error {
			_, err := h.CreatePolicy(t.Context(), admin, iam.CreatePolicyInput{Name: n(i), Document: identity})
			return err
		}},
		iam.GroupsPerUser: {limit: 3, before: func(h *house) { h.mustUser(t, name) }, one: func(h *house, i int) error {
			h.mustGroup(t, n(i))
			return h.AddUserToGroup(t.Context(), admin, n(i), name)
		}},
		iam.AccessKeysPerUser: {limit: 2, before: func(h *house) { h.mustUser(t, name) }, one: func(h *house, _ int) error {
			_, err := h.CreateAccessKey(t.Context(), admin, name)
			return err
		}},
		iam.PoliciesPerRole: {limit: 3, before: func(h *house) { h.mustRole(t, name) }, one: func(h *house, i int) error {
			return h.AttachRolePolicy(t.Context(), admin, name, h.mustPolicy(t, n(i)))
		}},
		iam.PoliciesPerUser: {limit: 3, before: func(h *house) { h.mustUser(t, name) }, one: func(h *house, i int) error {
			return h.AttachUserPolicy(t.Context(), admin, name, h.mustPolicy(t, n(i)))
		}},
		iam.PoliciesPerGroup: {limit: 3, before: func(h *house) { h.mustGroup(t, name) }, one: func(h *house, i int) error {
			return h.AttachGroupPolicy(t.Context(), admin, name, h.mustPolicy(t, n(i)))
		}},
		iam.VersionsPerPolicy: {
			limit: 3, message: "A managed policy can have up to 3 versions. Before you create a new version, you must delete an existing version.",
			one: func(h *house, i int) error {
				if i == 0 {
					h.mustPolicy(t, name)
					return nil
				}
				_, err := h.CreatePolicyVersion(t.Context(), admin, "arn:aws:iam::111122223333:policy/"+name, identity, false)
				return err
			},
		},
		iam.TagsPerRole: {limit: 3, before: func(h *house) { h.mustRole(t, name) }, one: func(h *house, i int) error {
			return h.TagRole(t.Context(), admin, name, []iam.Tag{{Key: n(i)}})
		}},
		iam.TagsPerUser: {limit: 3, before: func(h *house) { h.mustUser(t, name) }, one: func(h *house, i int) error {
			return h.TagUser(t.Context(), admin, name, []iam.Tag{{Key: n(i)}})
		}},
		iam.TagsPerPolicy: {limit: 3, before: func(h *house) { h.mustPolicy(t, name) }, one: func(h *house, i int) error {
			return h.TagPolicy(t.Context(), admin, "arn:aws:iam::111122223333:policy/"+name, []iam.Tag{{Key: n(i)}})
		}},
	} {
		t.Run(string(quota), func(t *testing.T) {
			h := newHouse(t)
			h.Quotas = iam.Quotas{quota: tc.limit}
			ok(t, h.Quotas.Check())
			if tc.before != nil {
				tc.before(h)
			}
			for i := range tc.limit {
				ok(t, tc.one(h, i))
			}
			if tc.message == "" {
				tc.message = fmt.Sprintf("Cannot exceed quota for %s: %d", quota, tc.limit)
			}
			refused(t, tc.one(h, tc.limit), fault.LimitExceeded, tc.message)
		})
	}
}

// TestSizes: a document of just the size passes, white space not counted; one
// character more does not. The limits are AWS' own.
func TestSizes(t *testing.T) {
	ctx := t.Context()
	for quota, tc := range map[iam.Quota]struct {
		limit   int
		message string
		put     func(h *house, document string) error
	}{
		iam.RolePolicySize: {10240, "Maximum policy size of 10240 bytes exceeded for role x", func(h *house, d string) error {
			return h.PutRolePolicy(ctx, admin, "x", "p", d)
		}},
		iam.UserPolicySize: {2048, "Maximum policy size of 2048 bytes exceeded for user x", func(h *house, d string) error {
			return h.PutUserPolicy(ctx, admin, "x", "p", d)
		}},
		iam.GroupPolicySize: {5120, "Maximum policy size of 5120 bytes exceeded for group x", func(h *house, d string) error {
			return h.PutGroupPolicy(ctx, admin, "x", "p", d)
		}},
		iam.PolicySize: {6144, "Cannot exceed quota for PolicySize: 6144", func(h *house, d string) error {
			_, err := h.CreatePolicy(ctx, admin, iam.CreatePolicyInput{Name: fmt.Sprint("p", len(d)), Document: d})
			return err
		}},
	} {
		t.Run(string(quota), func(t *testing.T) {
			h := newHouse(t)
			h.mustRole(t, "x")
			h.mustUser(t, "x")
			h.mustGroup(t, "x")
			room := tc.limit - len(document(0))
			ok(t, tc.put(h, strings.ReplaceAll(document(room), ",", " ,\n\t ")))
			refused(t, tc.put(h, document(room+1)), fault.LimitExceeded, tc.message)
		})
	}
	t.Run("together", func(t *testing.T) {
		h := newHouse(t)
		h.mustGroup(t, "x")
		ok(t, h.PutGroupPolicy(ctx, admin, "x", "a", document(3000)))
		refused(t, h.PutGroupPolicy(ctx, admin, "x", "b", document(3000)), fault.LimitExceeded, "Maximum policy size of 5120 bytes exceeded for group x")
		ok(t, h.PutGroupPolicy(ctx, admin, "x", "a", document(4000))) // replaces
	})
	t.Run(string(iam.ACLSizePerRole), func(t *testing.T) {
		h := newHouse(t)
		h.mustRole(t, "x")
		long := func(n int) string {
			return strings.Replace(trust, `"Version"`, `"Id":"`+strings.Repeat("i", n)+`","Version"`, 1)
		}
		room := 2048 - len(long(0))
		ok(t, h.UpdateAssumeRolePolicy(ctx, admin, "x", long(room)))
		refused(t, h.UpdateAssumeRolePolicy(ctx, admin, "x", long(room+1)), fault.LimitExceeded, "Cannot exceed quota for ACLSizePerRole: 2048")
		h.Quotas = iam.Quotas{iam.ACLSizePerRole: 4096}
		ok(t, h.UpdateAssumeRolePolicy(ctx, admin, "x", long(room+2048)))
		refused(t, h.UpdateAssumeRolePolicy(ctx, admin, "x", long(room+2049)), fault.LimitExceeded, "Cannot exceed quota for ACLSizePerRole: 4096")
	})
}

// TestDefaultQuotas holds the table against AWS' figures by the account's
// summary and by reaching what is quickly reached.
func TestDefaultQuotas(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	h.mustUser(t, "x")
	for i := range 10 {
		h.mustGroup(t, fmt.Sprint("g", i))
		ok(t, h.AddUserToGroup(ctx, admin, fmt.Sprint("g", i), "x"))
	}
	h.mustGroup(t, "g10")
	refused(t, h.AddUserToGroup(ctx, admin, "g10", "x"), fault.LimitExceeded, "Cannot exceed quota for GroupsPerUser: 10")
	for i := 11; i < 300; i++ {
		h.mustGroup(t, fmt.Sprint("g", i))
	}
	_, err := h.CreateGroup(ctx, admin, "", "g300")
	refused(t, err, fault.LimitExceeded, "Cannot exceed quota for GroupsPerAccount: 300")
	ok(t, h.DeleteGroup(ctx, admin, "g299"))
	h.mustGroup(t, "g300")
	for i := range 1000 {
		h.mustRole(t, fmt.Sprint("r", i))
	}
	_, err = h.CreateRole(ctx, admin, iam.CreateRoleInput{Name: "r1000", Trust: trust})
	refused(t, err, fault.LimitExceeded, "Cannot exceed quota for RolesPerAccount: 1000")
}

// TestQuotaUnderRaces: of creations at the same time no more pass than there
// is room for.
func TestQuotaUnderRaces(t *testing.T) {
	h := newHouse(t)
	h.Authz, h.Rand, h.Quotas = allowAll{}, &locked{r: h.Rand}, iam.Quotas{iam.UsersPerAccount: 5}
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = h.CreateUser(t.Context(), admin, iam.CreateUserInput{Name: fmt.Sprint("u", i)})
		})
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		switch {
		case err == nil:
			made++
		case fault.Is(err, fault.Unavailable): // it lost every round, which says so
		default:
			refused(t, err, fault.LimitExceeded, "Cannot exceed quota for UsersPerAccount: 5")
		}
	}
	there := 0
	for range iam.Users.List(h.store.View(), scope, "", "") {
		there++
	}
	if there > 5 || there != made {
		t.Errorf("%d users are there, %d were made", there, made)
	}
}

func TestQuotasCheck(t *testing.T) {
	for _, tc := range []struct {
		q    iam.Quotas
		want string
	}{
		{nil, ""},
		{iam.Quotas{iam.RolesPerAccount: 5000}, ""},
		{iam.Quotas{iam.RolesPerAccount: 0}, "quota RolesPerAccount: choose between 1 and 1000000"},
		{iam.Quotas{iam.AccessKeysPerUser: 3}, "quota AccessKeysPerUser: choose between 1 and 2"},
		{iam.Quotas{"Rolls": 1}, `there is no quota "Rolls": choose one of RolesPerAccount, `},
	} {
		err := tc.q.Check()
		if (err == nil) != (tc.want == "") || err != nil && !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %q", tc.q, err, tc.want)
		}
	}
}
