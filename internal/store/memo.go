// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"
	"sync/atomic"
)

// memoSize bounds what is remembered of one view.
const memoSize = 4096

// Memo remembers what was found out on one view: the next one, which any
// change of any record makes, begins with nothing. Only what depends on nothing
// but the key and the records of a view may be put in, and it is shared by all
// who get it. A record that is part of a key is found by its address, since
// records never change. The zero value is ready; it is safe for concurrent use.
type Memo[K comparable, V any] struct {
	now atomic.Pointer[viewMemo[K, V]]
}

// viewMemo is that of one view. The view is compared by identity: it is
// immutable, and the reference keeps its address from being used again.
type viewMemo[K comparable, V any] struct {
	view *View

	mu    sync.RWMutex
	found map[K]V
}

// Get is what was found out about k on that very view.
func (m *Memo[K, V]) Get(v *View, k K) (found V, ok bool) {
	of := m.now.Load()
	if of == nil || of.view != v {
		return found, false
	}
	of.mu.RLock()
	defer of.mu.RUnlock()
	found, ok = of.found[k]
	return found, ok
}

// Put remembers what was found out about k on the view.
func (m *Memo[K, V]) Put(v *View, k K, found V) {
	of := m.now.Load()
	if of == nil || of.view != v {
		// A slower caller may put an older view back: that costs time, no more.
		of = &viewMemo[K, V]{view: v, found: map[K]V{}}
		m.now.Store(of)
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	if len(of.found) >= memoSize {
		clear(of.found)
	}
	of.found[k] = found
}

// Len is how much is remembered now.
func (m *Memo[K, V]) Len() int {
	of := m.now.Load()
	if of == nil {
		return 0
	}
	of.mu.RLock()
	defer of.mu.RUnlock()
	return len(of.found)
}
