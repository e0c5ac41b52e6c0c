// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

func (h *house) lastUsed() *iam.LastUsed {
	return &iam.LastUsed{Store: h.store, Now: func() time.Time { return h.now }}
}

func (h *house) mustKey(t testing.TB, user string) string {
	t.Helper()
	k, err := h.CreateAccessKey(t.Context(), admin, user)
	if err != nil {
		t.Fatal(err)
	}
	return k.Key.ID
}

func TestLastUsed(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	u := h.mustUser(t, "ann")
	key, other := h.mustKey(t, "ann"), h.mustKey(t, "ann")
	h.LastUsed = h.lastUsed()
	last := func(want iam.KeyUse, used bool) {
		t.Helper()
		got, use, known, err := h.GetAccessKeyLastUsed(ctx, admin, key)
		ok(t, err)
		if got.ID != u.ID || known != used || !use.Time.Equal(want.Time) || use.Service != want.Service || use.Region != want.Region {
			t.Errorf("%s: %v %+v, want %v %+v", got.Name, known, use, used, want)
		}
	}
	last(iam.KeyUse{}, false)
	if h.asked.last().Resource != u.ARN() {
		t.Errorf("asked on %s", h.asked.last().Resource)
	}
	before := h.store.View()
	h.LastUsed.Used(account, key, "eks", "us-west-2")
	h.now = h.now.Add(time.Second)
	h.LastUsed.Used(account, key, "sts", "us-west-2")
	first := iam.KeyUse{Time: h.now, Service: "sts", Region: "us-west-2"}
	last(first, true) // this process knows before it is written
	if h.store.View() != before {
		t.Error("a request wrote to the store")
	}
	ok(t, h.LastUsed.Write(ctx))
	last(first, true)
	written := h.store.View()
	ok(t, h.LastUsed.Write(ctx))
	if h.store.View() != written {
		t.Error("the same use was written twice")
	}
	h.LastUsed = nil // another replica sees what was written
	last(first, true)

	// Of two replicas the later use stays.
	early, late := h.lastUsed(), h.lastUsed()
	h.now = h.now.Add(time.Minute)
	early.Used(account, key, "iam", "us-east-1")
	h.now = h.now.Add(time.Minute)
	late.Used(account, key, "eks", "us-west-2")
	second := iam.KeyUse{Time: h.now, Service: "eks", Region: "us-west-2"}
	ok(t, late.Write(ctx))
	ok(t, early.Write(ctx))
	last(second, true)

	// A key that is gone leaves nothing, whenever it was used.
	late.Used(account, key, "eks", "us-west-2")
	late.Used(account, other, "eks", "us-west-2")
	ok(t, h.DeleteAccessKey(ctx, admin, "ann", key))
	ok(t, late.Write(ctx))
	if _, found := iam.KeyUses.Get(h.store.View(), scope, key); found {
		t.Error("a deleted key was used")
	}
	if _, found := iam.KeyUses.Get(h.store.View(), scope, other); !found {
		t.Error("the other key's use is lost")
	}
	_, _, _, err := h.GetAccessKeyLastUsed(ctx, admin, key)
	refused(t, err, fault.NotFound, "The Access Key with id "+key+" cannot be found.")
	_, _, _, err = h.GetAccessKeyLastUsed(ctx, admin, "AKIA")
	refused(t, err, fault.InvalidParameter, "1 validation error detected: Value 'AKIA' at 'accessKeyId' failed to satisfy constraint: Member must have length greater than or equal to 16")
}

// TestLastUsedRun: one writing per interval whatever the number of requests,
// and what could not be written is not forgotten.
func TestLastUsedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.mustUser(t, "ann")
		key := h.mustKey(t, "ann")
		l := h.lastUsed()
		ctx, cancel := context.WithCancel(t.Context())
		var reported []error
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx, func(err error) { reported = append(reported, err) }) }()
		start := h.store.View().Revision()
		for range 1000 {
			l.Used(account, key, "eks", "us-west-2")
		}
		h.store.Fail(store.ErrUnavailable)
		time.Sleep(store.NotesEvery + time.Second)
		synctest.Wait()
		if len(reported) != 1 || !errors.Is(reported[0], store.ErrUnavailable) {
			t.Errorf("reported %v", reported)
		}
		h.store.Fail(nil)
		time.Sleep(store.NotesEvery)
		synctest.Wait()
		if got := h.store.View().Revision(); got != start+1 {
			t.Errorf("%d writings, want 1", got-start)
		}
		if _, found := iam.KeyUses.Get(h.store.View(), scope, key); !found {
			t.Error("the use was forgotten")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestLastUsedMany: more keys than one transaction takes.
func TestLastUsedMany(t *testing.T) {
	h := newHouse(t)
	l := h.lastUsed()
	for i := range 40 {
		n := fmt.Sprint("u", i)
		h.mustUser(t, n)
		for range 2 {
			l.Used(account, h.mustKey(t, n), "sts", "us-west-2")
		}
	}
	ok(t, l.Write(t.Context()))
	n := 0
	for range iam.KeyUses.List(h.store.View(), scope, "", "") {
		n++
	}
	if n != 80 {
		t.Errorf("%d uses, want 80", n)
	}
}

func BenchmarkUsed(b *testing.B) {
	l := &iam.LastUsed{Now: time.Now}
	b.ReportAllocs()
	for b.Loop() {
		l.Used(account, "AKIAIOSFODNN7EXAMPLE", "sts", "us-west-2")
	}
}
