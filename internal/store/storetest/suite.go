// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"podid/internal/store"
)

// Record is what the suite stores.
type Record struct {
	Name  string `cbor:"1,keyasint"`
	Color string `cbor:"2,keyasint,omitempty"`
	N     int    `cbor:"3,keyasint,omitempty"`
}

// The suite's tables. They are never changed.
var (
	Records = store.NewTable("record", func(r *Record) []string { return []string{r.Color} })
	Others  = store.NewTable[Record]("other", nil)
)

// Schema lists the suite's tables.
func Schema() *store.Schema { return store.NewSchema(Records, Others) }

// Here and There are two scopes that must not see each other.
var (
	Here  = store.Scope{Account: "111122223333", Region: "eu-west-1"}
	There = store.Scope{Account: "111122223333", Region: store.Global}
)

// patience is how long the suite waits for what must happen at last.
const patience = 15 * time.Second

var errRefused = errors.New("refused")

// Run checks the contract of store.Store. open returns an empty store of
// Schema whose life ends with the test.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"create, read, change, delete", testCRUD},
		{"order and after", testOrder},
		{"scopes are apart", testScopes},
		{"index follows changes", testIndex},
		{"views do not change", testViews},
		{"an error changes nothing", testRefusal},
		{"reading writes nothing", testReadOnly},
		{"many tables in one update", testPair},
		{"lost races run again", testCounter},
		{"one of many creates", testCreateRace},
		{"a new record in a walked range", testPhantom},
		{"a deleted record in a walked range", testPhantomDelete},
		{"delete, then create again", testRecreate},
		{"time to live", testTTL},
		{"fence is at least as new", testFence},
		{"next waits for what is new", testNext},
		{"changes since a revision", testChanges},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, open(t)) })
	}
}

func update(t testing.TB, s store.Store, fn func(tx *store.Tx)) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func put(t testing.TB, s store.Store, id, color string) {
	t.Helper()
	update(t, s, func(tx *store.Tx) { Records.Put(tx, Here, id, &Record{Name: id, Color: color}) })
}

func remove(t testing.TB, s store.Store, id string) {
	t.Helper()
	update(t, s, func(tx *store.Tx) { Records.Delete(tx, Here, id) })
}

func ids(seq iter.Seq2[string, *Record]) []string {
	var out []string
	for id := range seq {
		out = append(out, id)
	}
	return out
}

func wantIDs(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func testCRUD(t *testing.T, s store.Store) {
	if _, ok := Records.Get(s.View(), Here, "a"); ok {
		t.Error("an empty store has a record")
	}
	put(t, s, "a", "red")
	if r, ok := Records.Get(s.View(), Here, "a"); !ok || *r != (Record{Name: "a", Color: "red"}) {
		t.Errorf("after create: %v, %v", r, ok)
	}
	before := s.View().Revision()
	put(t, s, "a", "blue")
	if r, ok := Records.Get(s.View(), Here, "a"); !ok || r.Color != "blue" {
		t.Errorf("after change: %v, %v", r, ok)
	}
	if now := s.View().Revision(); now <= before {
		t.Errorf("revision went from %d to %d", before, now)
	}
	remove(t, s, "a")
	remove(t, s, "nobody")
	if r, ok := Records.Get(s.View(), Here, "a"); ok {
		t.Errorf("after delete: %v", r)
	}
}

func testOrder(t *testing.T, s store.Store) {
	for _, id := range []string{"c", "a", "ab", "b/x", "b"} {
		put(t, s, id, "")
	}
	v := s.View()
	wantIDs(t, "all", ids(Records.List(v, Here, "", "")), "a", "ab", "b", "b/x", "c")
	wantIDs(t, "after b", ids(Records.List(v, Here, "", "b")), "b/x", "c")
	wantIDs(t, "prefix a", ids(Records.List(v, Here, "a", "")), "a", "ab")
	remove(t, s, "b")
	wantIDs(t, "after b, which is gone", ids(Records.List(s.View(), Here, "", "b")), "b/x", "c")
	put(t, s, "bb", "")
	wantIDs(t, "after b, with one more", ids(Records.List(s.View(), Here, "", "b")), "b/x", "bb", "c")
}

func testScopes(t *testing.T, s store.Store) {
	update(t, s, func(tx *store.Tx) {
		Records.Put(tx, Here, "a", &Record{Color: "red"})
		Records.Put(tx, There, "b", &Record{Color: "red"})
		Others.Put(tx, Here, "c", &Record{Color: "red"})
	})
	v := s.View()
	wantIDs(t, "here", ids(Records.List(v, Here, "", "")), "a")
	wantIDs(t, "there", ids(Records.List(v, There, "", "")), "b")
	wantIDs(t, "other table", ids(Others.List(v, Here, "", "")), "c")
	wantIDs(t, "red here", ids(Records.ByIndex(v, Here, "red")), "a")
	wantIDs(t, "red there", ids(Records.ByIndex(v, There, "red")), "b")
}

func testIndex(t *testing.T, s store.Store) {
	put(t, s, "a", "red")
	put(t, s, "b", "red")
	put(t, s, "c", "redder")
	wantIDs(t, "red", ids(Records.ByIndex(s.View(), Here, "red")), "a", "b")
	put(t, s, "a", "blue")
	remove(t, s, "b")
	wantIDs(t, "red after changes", ids(Records.ByIndex(s.View(), Here, "red")))
	if id, r, ok := Records.FindIndex(s.View(), Here, "blue"); !ok || id != "a" || r.Name != "a" {
		t.Errorf("blue: %q %v %v", id, r, ok)
	}
	update(t, s, func(tx *store.Tx) {
		Records.Put(tx, Here, "d", &Record{Color: "blue"})
		wantIDs(t, "blue in the update", ids(Records.ByIndex(tx, Here, "blue")), "a", "d")
	})
}

func testViews(t *testing.T, s store.Store) {
	put(t, s, "a", "red")
	old := s.View()
	put(t, s, "a", "blue")
	put(t, s, "b", "red")
	if r, _ := Records.Get(old, Here, "a"); r == nil || r.Color != "red" {
		t.Errorf("the old view shows %v", r)
	}
	wantIDs(t, "old view", ids(Records.List(old, Here, "", "")), "a")
}

func testRefusal(t *testing.T, s store.Store) {
	put(t, s, "a", "red")
	before := s.View().Revision()
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		Records.Put(tx, Here, "a", &Record{Color: "blue"})
		Records.Put(tx, Here, "b", &Record{Color: "blue"})
		return fmt.Errorf("wrapped: %w", errRefused)
	})
	if !errors.Is(err, errRefused) {
		t.Errorf("Update returned %v", err)
	}
	wantIDs(t, "after a refusal", ids(Records.ByIndex(s.View(), Here, "red")), "a")
	if now := s.View().Revision(); now != before {
		t.Errorf("revision went from %d to %d", before, now)
	}
}

func testReadOnly(t *testing.T, s store.Store) {
	put(t, s, "a", "red")
	before := s.View().Revision()
	update(t, s, func(tx *store.Tx) { Records.Get(tx, Here, "a") })
	v, err := s.Fence(t.Context())
	if err != nil || v.Revision() != before {
		t.Errorf("a reading update moved the store from revision %d to %d (%v)", before, v.Revision(), err)
	}
}

func testPair(t *testing.T, s store.Store) {
	const n = 100
	update(t, s, func(tx *store.Tx) {
		for i := range n {
			Records.Put(tx, Here, fmt.Sprint(i), &Record{N: i})
			Others.Put(tx, There, fmt.Sprint(i), &Record{N: i})
		}
	})
	v := s.View()
	if r, o := len(ids(Records.List(v, Here, "", ""))), len(ids(Others.List(v, There, "", ""))); r != n || o != n {
		t.Errorf("%d and %d records, want %d of each", r, o, n)
	}
}

func testCounter(t *testing.T, s store.Store) {
	const workers, rounds = 8, 15
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				if err := s.Update(t.Context(), increment); err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if r, _ := Records.Get(s.View(), Here, "n"); r == nil || r.N != workers*rounds {
		t.Errorf("counter is %+v, want %d", r, workers*rounds)
	}
}

func increment(tx *store.Tx) error {
	n := 0
	if r, ok := Records.Get(tx, Here, "n"); ok {
		n = r.N
	}
	Records.Put(tx, Here, "n", &Record{N: n + 1})
	return nil
}

func testCreateRace(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	won := make(chan int, 8)
	for i := range cap(won) {
		wg.Go(func() {
			err := s.Update(t.Context(), func(tx *store.Tx) error {
				if _, ok := Records.Get(tx, Here, "a"); ok {
					return errRefused
				}
				Records.Put(tx, Here, "a", &Record{N: i})
				return nil
			})
			if err == nil {
				won <- i
			} else if !errors.Is(err, errRefused) {
				t.Errorf("Update: %v", err)
			}
		})
	}
	wg.Wait()
	close(won)
	if n := len(won); n != 1 {
		t.Fatalf("%d creators won", n)
	}
	if r, _ := Records.Get(s.View(), Here, "a"); r == nil || r.N != <-won {
		t.Errorf("the record is another's than the winner's: %+v", r)
	}
}
