// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association_test

import (
	"sync"
	"testing"
	"time"

	"podid/internal/association"
	"podid/internal/fault"
	"podid/internal/iam"
)

func TestTokenOnCreate(t *testing.T) {
	f := newFixture(t)
	in := input("sa")
	in.Token, in.Tags = "terraform-1", map[string]string{"a": "1", "b": "2"}
	first := f.create(t, in)
	if again := f.create(t, in); again.ID != first.ID {
		t.Errorf("a repeat made %s, not %s", again.ID, first.ID)
	}
	other := in
	other.ServiceAccount = "sb"
	_, err := f.Create(ctx, me, other)
	refused(t, err, fault.InvalidParameter, "used before with other parameters")

	f.gate.deny = "iam:PassRole"
	_, err = f.Create(ctx, me, in)
	refused(t, err, fault.AccessDenied, "no")
	f.gate.deny = ""

	stranger := iam.Caller{Account: "210987654321"}
	_, err = f.Create(ctx, stranger, in)
	refused(t, err, fault.AlreadyExists, first.ID)

	f.register(t, "other")
	in.Cluster = "other"
	if elsewhere := f.create(t, in); elsewhere.ID == first.ID {
		t.Error("a token counts across clusters")
	}
}

// TestTokenAfterDelete: a late repeat does not bring back what was deleted,
// nor is it answered with a namesake.
func TestTokenAfterDelete(t *testing.T) {
	f := newFixture(t)
	in := input("sa")
	in.Token = "t"
	first := f.create(t, in)
	if _, err := f.Delete(ctx, me, "my-cluster", first.ID); err != nil {
		t.Fatal(err)
	}
	_, err := f.Create(ctx, me, in)
	refused(t, err, fault.NotFound, first.ID)
	f.create(t, input("sa"))
	_, err = f.Create(ctx, me, in)
	refused(t, err, fault.NotFound, first.ID)
}

func TestTokenExpires(t *testing.T) {
	f := newFixture(t)
	in := input("sa")
	in.Token = "t"
	first := f.create(t, in)
	f.now = f.now.Add(24*time.Hour - time.Second)
	if again := f.create(t, in); again.ID != first.ID {
		t.Error("forgotten before a day had passed")
	}
	f.now = f.now.Add(time.Second)
	_, err := f.Create(ctx, me, in)
	refused(t, err, fault.AlreadyExists, first.ID)
}

// TestTokenOnUpdate: a repeat answers with what is there and undoes nothing
// that was changed since.
func TestTokenOnUpdate(t *testing.T) {
	f := newFixture(t)
	a := f.create(t, input("sa"))
	in := association.UpdateInput{Cluster: "my-cluster", ID: a.ID, DisableSessionTags: ptr(true), Token: "t"}
	if _, err := f.Update(ctx, me, in); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Update(ctx, me, association.UpdateInput{Cluster: "my-cluster", ID: a.ID, DisableSessionTags: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	got, err := f.Update(ctx, me, in)
	if err != nil || got.DisableSessionTags {
		t.Errorf("a repeat set it again: %+v %v", got, err)
	}
	in.DisableSessionTags = ptr(false)
	_, err = f.Update(ctx, me, in)
	refused(t, err, fault.InvalidParameter, "used before with other parameters")
}

// TestTokenUnderRaces: of many that repeat one call at once, all get the one
// association that it made.
func TestTokenUnderRaces(t *testing.T) {
	f := newFixture(t)
	in := input("sa")
	in.Token = "t"
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]int{}
	for range 50 {
		wg.Go(func() {
			a, err := f.Create(ctx, me, in)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("create: %v", err)
				return
			}
			ids[a.ID]++
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Errorf("made %v", ids)
	}
}
