// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package storetest owns what tests of storage need: Memory, a store.Store
// without an engine, and Run, the conformance suite that every store.Store
// has to pass. It refuses to be a product: Memory loses everything when the
// process ends and no command links it.
package storetest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"podid/internal/store"
)

// maxTries bounds how often Memory runs the function of one update.
const maxTries = 64

// Memory is a store.Store in memory with the semantics of the real one:
// values pass through their stored encoding, updates are optimistic, lost
// races run again. Safe for concurrent use.
type Memory struct {
	// Now is the clock that ends records with a time to live. Set it before
	// the first use; NewMemory sets time.Now.
	Now func() time.Time

	schema *store.Schema
	view   atomic.Pointer[store.View]
	fail   atomic.Pointer[error]

	queue sync.Mutex    // held by updates that lost a race, so that one of them wins
	mu    sync.Mutex    // guards all below and the replacement of view
	moved chan struct{} // closed and replaced with every new view
	mod   map[string]int64
	gone  map[string]int64 // account/region/table/ → revision of its last deletion
	ends  map[string]time.Time
}

var _ store.Store = (*Memory)(nil)

// NewMemory returns an empty store of the schema's tables, at revision 1 as a
// new etcd is.
func NewMemory(schema *store.Schema) *Memory {
	m := &Memory{
		Now: time.Now, schema: schema, moved: make(chan struct{}),
		mod: map[string]int64{}, gone: map[string]int64{}, ends: map[string]time.Time{},
	}
	v, err := store.EmptyView().Apply(schema, 1, nil)
	if err != nil {
		panic(err) // no changes, so nothing to refuse
	}
	m.view.Store(v)
	return m
}

// Fail makes Fence and Update return err until it is called with nil; views
// go on. It stands for an engine that is away.
func (m *Memory) Fail(err error) {
	if err == nil {
		m.fail.Store(nil)
		return
	}
	m.fail.Store(&err)
}

func (m *Memory) failing() error {
	if p := m.fail.Load(); p != nil {
		return *p
	}
	return nil
}

// View returns the newest view, without the records whose time is over.
func (m *Memory) View() *store.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	return m.view.Load()
}

// Fence is View: there is no other replica.
func (m *Memory) Fence(ctx context.Context) (*store.View, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := m.failing(); err != nil {
		return nil, err
	}
	return m.View(), nil
}

// Next implements store.Store. It does not see that a record's time is over
// before another call does.
func (m *Memory) Next(ctx context.Context, revision int64) (*store.View, error) {
	for {
		m.mu.Lock()
		v, moved := m.view.Load(), m.moved
		m.mu.Unlock()
		if v.Revision() > revision {
			return v, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Update runs fn until its transaction wins, or returns store.ErrConflict.
func (m *Memory) Update(ctx context.Context, fn func(tx *store.Tx) error) error {
	for try := range maxTries {
		if try == 1 {
			m.queue.Lock()
			defer m.queue.Unlock()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		tx := store.NewTx(m.View())
		if err := fn(tx); err != nil {
			return err
		}
		if err := m.failing(); err != nil {
			return err
		}
		if won, err := m.commit(tx); won || err != nil {
			return err
		}
	}
	return store.ErrConflict
}

func (m *Memory) commit(tx *store.Tx) (won bool, err error) {
	writes := tx.Writes()
	if len(writes) == 0 {
		return true, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	if !m.unchanged(tx) {
		return false, nil
	}
	rev := m.view.Load().Revision() + 1
	changes := make([]store.Change, 0, len(writes))
	for _, w := range writes {
		c := store.Change{Key: w.Key, Revision: rev}
		if w.Value != nil {
			data, err := w.Encode()
			if err != nil {
				return false, err
			}
			if c.Value, err = m.schema.Decode(w.Key, data); err != nil {
				return false, err
			}
		}
		changes = append(changes, c)
	}
	if err := m.apply(rev, changes); err != nil {
		return false, err
	}
	for _, w := range writes {
		if w.TTL > 0 && w.Value != nil {
			// Engines count in whole seconds, rounded up.
			m.ends[w.Key] = m.Now().Add((w.TTL + time.Second - 1).Truncate(time.Second))
		}
	}
	return true, nil
}

// unchanged says whether everything that tx read is as it was.
func (m *Memory) unchanged(tx *store.Tx) bool {
	for key, rev := range tx.Reads() {
		if m.mod[key] != rev {
			return false
		}
	}
	seen := tx.View().Revision()
	for _, prefix := range tx.Ranges() {
		if m.gone[tableOf(prefix)] > seen {
			return false
		}
		for key, rev := range m.mod {
			if rev > seen && strings.HasPrefix(key, prefix) {
				return false
			}
		}
	}
	return true
}

// apply replaces the view; mu is held.
func (m *Memory) apply(rev int64, changes []store.Change) error {
	v, err := m.view.Load().Apply(m.schema, rev, changes)
	if err != nil {
		return err
	}
	for _, c := range changes {
		delete(m.ends, c.Key)
		if c.Value != nil {
			m.mod[c.Key] = rev
			continue
		}
		delete(m.mod, c.Key)
		m.gone[tableOf(c.Key)] = rev
	}
	m.view.Store(v)
	close(m.moved)
	m.moved = make(chan struct{})
	return nil
}

// expire removes the records whose time is over; mu is held.
func (m *Memory) expire() {
	if len(m.ends) == 0 {
		return
	}
	now, rev := m.Now(), m.view.Load().Revision()+1
	var over []store.Change
	for key, end := range m.ends {
		if !now.Before(end) {
			over = append(over, store.Change{Key: key, Revision: rev})
		}
	}
	if len(over) == 0 {
		return
	}
	if err := m.apply(rev, over); err != nil {
		panic(err) // the keys were accepted when they were written
	}
}

// tableOf cuts a key or range to "account/region/table/".
func tableOf(key string) string {
	n := 0
	for range 3 {
		n += strings.IndexByte(key[n:], '/') + 1
	}
	return key[:n]
}
