// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import "testing"

// TestMemo: what holds on one view holds on no other, older or younger, whatever is in them.
func TestMemo(t *testing.T) {
	var m Memo[string, int]
	first, second := viewOf(t, "a=red"), viewOf(t, "a=red")
	want := func(v *View, k string, n int) { // 0: nothing
		t.Helper()
		if got, ok := m.Get(v, k); got != n || ok != (n != 0) {
			t.Errorf("%s is %d, %v, want %d", k, got, ok, n)
		}
	}
	want(first, "k", 0)
	m.Put(first, "k", 1)
	want(first, "k", 1)
	want(first, "l", 0)
	want(second, "k", 0)
	want(nil, "k", 0)
	m.Put(second, "l", 2)
	want(second, "l", 2)
	want(second, "k", 0)
	want(first, "k", 0)
	m.Put(first, "k", 3) // by somebody slow
	want(first, "k", 3)
	want(second, "l", 0)
	m.Put(first, "k", 4)
	want(first, "k", 4)
	if m.Len() != 1 {
		t.Errorf("%d are remembered", m.Len())
	}
}

func TestMemoIsBounded(t *testing.T) {
	var m Memo[int, int]
	v := viewOf(t)
	for k := range 3 * memoSize {
		m.Put(v, k, -k)
		if got, ok := m.Get(v, k); !ok || got != -k || m.Len() > memoSize {
			t.Fatalf("%d: %d, %v of %d", k, got, ok, m.Len())
		}
	}
}
