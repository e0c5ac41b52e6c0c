// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"podid/internal/store"
)

// testNext: a waiter gets the view of a write, and nothing before there is one.
func testNext(t *testing.T, s store.Store) {
	put(t, s, "a", "red")
	before := s.View().Revision()
	got := make(chan *store.View, 1)
	go func() {
		v, err := s.Next(t.Context(), before)
		if err != nil {
			t.Errorf("Next: %v", err)
		}
		got <- v
	}()
	put(t, s, "b", "red")
	select {
	case v := <-got:
		// An engine's own keys move the revision too: then it is asked again.
		for err := error(nil); ; {
			if _, ok := Records.Get(v, Here, "b"); ok {
				break
			}
			if v, err = s.Next(t.Context(), v.Revision()); err != nil {
				t.Fatal(err)
			}
		}
		if v.Revision() <= before {
			t.Errorf("revision %d after %d", v.Revision(), before)
		}
	case <-time.After(patience):
		t.Fatal("Next did not see the write")
	}
	if v, err := s.Next(t.Context(), before); err != nil || v.Revision() <= before {
		t.Errorf("Next of what is there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx, 1<<62); !errors.Is(err, context.Canceled) {
		t.Errorf("Next of a waiter that left: %v", err)
	}
}

// testChanges: what changed since a view is known by id, deletions included,
// and only of the scope and the prefix.
func testChanges(t *testing.T, s store.Store) {
	put(t, s, "x/kept", "red")
	put(t, s, "x/gone", "red")
	since := s.View().Revision()
	put(t, s, "x/new", "red")
	put(t, s, "x/new", "blue")
	put(t, s, "y/other", "red")
	remove(t, s, "x/gone")
	update(t, s, func(tx *store.Tx) { Records.Put(tx, There, "x/elsewhere", &Record{Name: "e"}) })
	update(t, s, func(tx *store.Tx) { Others.Put(tx, Here, "x/table", &Record{Name: "t"}) })
	v := s.View()
	if got, known := Records.Changes(v, Here, "x/", since); !known || !slices.Equal(got, []string{"x/gone", "x/new"}) {
		t.Errorf("changes %v, known %v", got, known)
	}
	if got, known := Records.Changes(v, Here, "", v.Revision()); !known || len(got) != 0 {
		t.Errorf("changes since now %v, known %v", got, known)
	}
	for _, after := range []int64{0, v.Revision() + 1} {
		if _, known := Records.Changes(v, Here, "", after); known {
			t.Errorf("the changes since revision %d of %d are known", after, v.Revision())
		}
	}
	// Many changes: the latest are remembered, the first forgotten.
	for i := range 200 {
		update(t, s, func(tx *store.Tx) {
			for j := range 100 {
				Records.Put(tx, Here, fmt.Sprintf("z/%d", j), &Record{Name: "z", N: i})
			}
		})
	}
	v = s.View()
	if _, known := Records.Changes(v, Here, "", since); known {
		t.Error("20,000 changes are remembered")
	}
	update(t, s, func(tx *store.Tx) { Records.Put(tx, Here, "z/last", &Record{Name: "z"}) })
	if got, known := Records.Changes(s.View(), Here, "z/", v.Revision()); !known || !slices.Equal(got, []string{"z/last"}) {
		t.Errorf("the last change: %v, known %v", got, known)
	}
}
