// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// NotesEvery is the time between two writings of Notes: it bounds how often a
// key costs a write, and how much a crash takes with it.
const NotesEvery = 5 * time.Minute

// notesPerWrite bounds the transaction: etcd takes 128 operations in one.
const notesPerWrite = 32

// Notes gathers in memory, by key, what requests have seen, and writes it down
// every now and then: no request waits for the store. What was not written yet
// is lost with the process, and not seen by other replicas. The zero value is
// ready; it is safe for concurrent use.
type Notes[K, V comparable] struct {
	mu  sync.Mutex
	not map[K]V // not written yet
}

// Note changes what is noted of a key; change gets the zero value where that
// is nothing. It must not call the Notes. It costs a lock and no allocation,
// but for the first note of a key after a writing.
func (n *Notes[K, V]) Note(k K, change func(V) V) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.not == nil {
		n.not = map[K]V{}
	}
	n.not[k] = change(n.not[k])
}

// Peek returns what is noted of a key and not written yet.
func (n *Notes[K, V]) Peek(k K) (V, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, ok := n.not[k]
	return v, ok
}

// Write writes what was noted so far: apply joins a note with the record that
// there is, in a transaction with others, and may run several times. A note
// that could not be written, or changed meanwhile, stays for the next time. The
// errors are those of Store.Update, joined.
func (n *Notes[K, V]) Write(ctx context.Context, s Store, apply func(*Tx, K, V)) error {
	type note struct {
		key   K
		value V
	}
	var notes []note
	n.mu.Lock()
	for k, v := range n.not {
		notes = append(notes, note{k, v})
	}
	n.mu.Unlock()
	var errs []error
	for part := range slices.Chunk(notes, notesPerWrite) {
		err := s.Update(ctx, func(tx *Tx) error {
			for _, x := range part {
				apply(tx, x.key, x.value)
			}
			return nil
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		n.mu.Lock()
		for _, x := range part {
			if n.not[x.key] == x.value { // else it was noted anew meanwhile
				delete(n.not, x.key)
			}
		}
		n.mu.Unlock()
	}
	return errors.Join(errs...)
}

// WriteNotes calls write every NotesEvery until ctx ends. Failures go to
// report: what could not be written is tried again the next time.
func WriteNotes(ctx context.Context, write func(context.Context) error, report func(error)) error {
	tick := time.NewTicker(NotesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := write(ctx); err != nil && ctx.Err() == nil {
				report(err)
			}
		}
	}
}
