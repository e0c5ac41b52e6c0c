// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"podid/internal/store"
)

// testPhantom: two updates walk a range and add to it when it has too few.
func testPhantom(t *testing.T, s store.Store) {
	tries := 0
	update(t, s, func(tx *store.Tx) {
		n := len(ids(Records.List(tx, Here, "x", "")))
		if tries++; tries == 1 {
			put(t, s, "x1", "")
		}
		Others.Put(tx, Here, "count", &Record{N: n})
	})
	if r, _ := Others.Get(s.View(), Here, "count"); r == nil || r.N != 1 {
		t.Errorf("the update did not see the record added under it: %+v after %d tries", r, tries)
	}
	tries = 0
	update(t, s, func(tx *store.Tx) {
		n := len(ids(Records.List(tx, Here, "x", "")))
		if tries++; tries == 1 {
			put(t, s, "y1", "")
		}
		Others.Put(tx, Here, "count", &Record{N: n})
	})
	if tries != 1 {
		t.Errorf("a record outside of the range made the update run %d times", tries)
	}
}

// testPhantomDelete: what was deleted has no revision to compare, and must
// count all the same.
func testPhantomDelete(t *testing.T, s store.Store) {
	put(t, s, "x1", "")
	put(t, s, "x2", "")
	tries := 0
	update(t, s, func(tx *store.Tx) {
		n := len(ids(Records.List(tx, Here, "x", "")))
		if tries++; tries == 1 {
			remove(t, s, "x2")
		}
		Others.Put(tx, Here, "count", &Record{N: n})
	})
	if r, _ := Others.Get(s.View(), Here, "count"); r == nil || r.N != 1 {
		t.Errorf("the update did not notice the deletion: %+v after %d tries", r, tries)
	}
}

func testRecreate(t *testing.T, s store.Store) {
	put(t, s, "a", "red")
	tries := 0
	var colors []string
	update(t, s, func(tx *store.Tx) {
		r, _ := Records.Get(tx, Here, "a")
		colors = append(colors, r.Color)
		if tries++; tries == 1 {
			remove(t, s, "a")
			put(t, s, "a", "blue")
		}
		Others.Put(tx, Here, "a", r)
	})
	if !slices.Equal(colors, []string{"red", "blue"}) {
		t.Errorf("the update saw %v", colors)
	}
	wantIDs(t, "red", ids(Records.ByIndex(s.View(), Here, "red")))
	wantIDs(t, "blue", ids(Records.ByIndex(s.View(), Here, "blue")), "a")
}

func testTTL(t *testing.T, s store.Store) {
	update(t, s, func(tx *store.Tx) {
		Records.PutTTL(tx, Here, "short", &Record{Color: "red"}, 900*time.Millisecond)
		Records.PutTTL(tx, Here, "long", &Record{Color: "red"}, time.Hour)
		Records.PutTTL(tx, Here, "kept", &Record{Color: "red"}, 900*time.Millisecond)
	})
	update(t, s, func(tx *store.Tx) { Records.Put(tx, Here, "kept", &Record{Color: "red"}) })
	wantIDs(t, "before the end", ids(Records.ByIndex(s.View(), Here, "red")), "kept", "long", "short")
	Eventually(t, "the short record to end", func() bool {
		_, ok := Records.Get(s.View(), Here, "short")
		return !ok
	})
	wantIDs(t, "after the end", ids(Records.ByIndex(s.View(), Here, "red")), "kept", "long")
}

func testFence(t *testing.T, s store.Store) {
	put(t, s, "a", "red")
	v, err := s.Fence(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v.Revision() < s.View().Revision() {
		t.Errorf("fence returned revision %d, the view is at %d", v.Revision(), s.View().Revision())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Update(ctx, increment); err == nil {
		t.Error("an update with an ended context succeeded")
	}
}

// RunReplicas checks what two replicas of one store owe each other. open
// returns two of an empty store of Schema.
func RunReplicas(t *testing.T, open func(t *testing.T) (a, b store.Store)) {
	t.Run("fence sees acknowledged writes", func(t *testing.T) {
		a, b := open(t)
		for i := range 100 {
			id := string(rune('a'+i%26)) + "-" + time.Duration(i).String()
			put(t, a, id, "red")
			v, err := b.Fence(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := Records.Get(v, Here, id); !ok {
				t.Fatalf("write %d is acknowledged and not behind the fence", i)
			}
		}
	})
	t.Run("a refusal is believed on a fresh view only", func(t *testing.T) {
		a, b := open(t)
		for range 50 {
			put(t, a, "a", "red")
			err := b.Update(t.Context(), func(tx *store.Tx) error {
				if _, ok := Records.Get(tx, Here, "a"); !ok {
					return errRefused
				}
				Records.Delete(tx, Here, "a")
				return nil
			})
			if err != nil {
				t.Fatalf("an acknowledged record was not found: %v", err)
			}
		}
	})
	t.Run("lost races run again", func(t *testing.T) {
		a, b := open(t)
		const rounds = 60
		done := make(chan error, 4)
		for i := range cap(done) {
			go func() {
				s := []store.Store{a, b}[i%2]
				for range rounds {
					if err := s.Update(t.Context(), increment); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		v, err := b.Fence(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r, _ := Records.Get(v, Here, "n"); r == nil || r.N != rounds*cap(done) {
			t.Errorf("counter is %+v, want %d", r, rounds*cap(done))
		}
	})
}

// Eventually waits until ok, or fails the test.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-limit.C:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
