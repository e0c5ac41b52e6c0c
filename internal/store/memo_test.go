// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import "testing"

// TestMemo: what holds on one view holds on no other, older or younger, whatever is in them.
func TestMemo(t *testing.T) {
	var m Memo[string, int]
	has := func(v *View, k string) bool {
		n, ok := m.Get(v, k)
		if want := map[bool]int{true: len(k)}[ok]; n != want {
			t.Errorf("%s is %d", k, n)
		}
		return ok
	}
	first, second := viewOf(t, "a=red"), viewOf(t, "a=red")
	if has(first, "k") || m.Len() != 0 {
		t.Error("something is remembered at the start")
	}
	m.Put(first, "k", 1)
	if !has(first, "k") || has(first, "l") || has(second, "k") || has(nil, "k") || m.Len() != 1 {
		t.Error("not k of the first view alone")
	}
	m.Put(second, "l", 1)
	if has(first, "k") || has(second, "k") || !has(second, "l") {
		t.Error("not l of the second view alone")
	}
	m.Put(first, "k", 1)
	if !has(first, "k") || has(second, "l") {
		t.Error("not k of the first view alone, put back by somebody slow")
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
