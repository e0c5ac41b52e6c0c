// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"podid/internal/store"
	"podid/internal/store/storetest"
)

type counter struct {
	N int `cbor:"1,keyasint"`
}

var counters = store.NewTable[counter]("counter", nil)

func TestMemoryLosesNoUpdate(t *testing.T) {
	m := storetest.NewMemory(store.NewSchema(counters))
	s := store.Scope{Account: "111122223333", Region: "eu-west-1"}
	const workers, rounds = 8, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				err := m.Update(context.Background(), func(tx *store.Tx) error {
					n := 0
					if c, ok := counters.Get(tx, s, "a"); ok {
						n = c.N
					}
					counters.Put(tx, s, "a", &counter{n + 1})
					return nil
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if c, _ := counters.Get(m.View(), s, "a"); c == nil || c.N != workers*rounds {
		t.Fatalf("counter = %+v, want %d", c, workers*rounds)
	}
}

func TestMemoryFail(t *testing.T) {
	m := storetest.NewMemory(store.NewSchema(counters))
	m.Fail(store.ErrUnavailable)
	put := func(tx *store.Tx) error {
		counters.Put(tx, store.Scope{Account: "a", Region: "r"}, "x", &counter{1})
		return nil
	}
	if err := m.Update(t.Context(), put); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("Update = %v, want ErrUnavailable", err)
	}
	if _, err := m.Fence(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("Fence = %v, want ErrUnavailable", err)
	}
	m.Fail(nil)
	if err := m.Update(t.Context(), put); err != nil {
		t.Fatalf("Update after the failure: %v", err)
	}
}
