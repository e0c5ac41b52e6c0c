// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// Tx is one attempt of an update: reads come from a view, writes are kept
// until the commit and are seen by later reads of the same Tx. Index look-ups
// count every record they return as read, not the absence of others: guard
// uniqueness by key.
type Tx struct {
	view   *View
	reads  map[string]int64 // key → revision seen, 0 = absent
	ranges map[string]struct{}
	writes map[string]Write
}

// Write is one pending change. A nil Value is a deletion.
type Write struct {
	Key   string
	Value any
	TTL   time.Duration // 0 = for ever

	table AnyTable // nil for a deletion
}

// carries says whether the pending record has the index key.
func (w Write) carries(index string) bool {
	if w.Value == nil {
		return false
	}
	base := w.Key[:scopeTableLen(w.Key)]
	if !strings.HasPrefix(index, base) {
		return false
	}
	return slices.ContainsFunc(w.table.indexKeys(w.Value), func(k string) bool { return indexPrefix(base, k) == index })
}

// NewTx begins an attempt on a view.
func NewTx(v *View) *Tx {
	return &Tx{view: v, reads: map[string]int64{}, ranges: map[string]struct{}{}, writes: map[string]Write{}}
}

// View is the view that the attempt reads from.
func (tx *Tx) View() *View { return tx.view }

// Reads are the keys that decided the outcome and the revisions they had
// (0 = absent): the commit must find them so. Written keys are among them.
func (tx *Tx) Reads() map[string]int64 { return tx.reads }

// Ranges are the prefixes that were walked: at commit nothing in them may be
// newer than the view.
func (tx *Tx) Ranges() []string { return slices.Sorted(maps.Keys(tx.ranges)) }

// Writes are the pending changes in the order of their keys.
func (tx *Tx) Writes() []Write {
	return slices.SortedFunc(maps.Values(tx.writes), func(a, b Write) int { return strings.Compare(a.Key, b.Key) })
}

// Encode returns the bytes to store for a write.
func (w Write) Encode() ([]byte, error) {
	b, err := encodeValue(w.Value)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", w.Key, err)
	}
	return b, nil
}

func (tx *Tx) note(key string) { tx.reads[key] = tx.view.revision(key) }

func (tx *Tx) get(key string) (any, bool) {
	if w, ok := tx.writes[key]; ok {
		return w.Value, w.Value != nil
	}
	tx.note(key)
	return tx.view.get(key)
}

func (tx *Tx) scan(prefix, after string) iter.Seq2[string, any] {
	tx.ranges[prefix] = struct{}{}
	return func(yield func(string, any) bool) {
		pending := tx.pendingIn(prefix, after)
		for k, v := range tx.view.scan(prefix, after) {
			for len(pending) > 0 && pending[0].Key < k {
				if w := pending[0]; w.Value != nil && !yield(w.Key, w.Value) {
					return
				}
				pending = pending[1:]
			}
			if len(pending) > 0 && pending[0].Key == k {
				v, pending = pending[0].Value, pending[1:]
			}
			if v != nil && !yield(k, v) {
				return
			}
		}
		for _, w := range pending {
			if w.Value != nil && !yield(w.Key, w.Value) {
				return
			}
		}
	}
}

func (tx *Tx) pendingIn(prefix, after string) []Write {
	var out []Write
	for _, w := range tx.Writes() {
		if strings.HasPrefix(w.Key, prefix) && w.Key > after {
			out = append(out, w)
		}
	}
	return out
}

func (tx *Tx) findIndex(index string) (string, any, bool) {
	for k, v := range tx.scanIndex(index) {
		return k, v, true
	}
	return "", nil, false
}

func (tx *Tx) scanIndex(index string) iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		pending := slices.DeleteFunc(tx.Writes(), func(w Write) bool { return !w.carries(index) })
		for k := range tx.view.scanIndex(index) {
			for len(pending) > 0 && pending[0].Key < k {
				if !yield(pending[0].Key, pending[0].Value) {
					return
				}
				pending = pending[1:]
			}
			if w, written := tx.writes[k]; written && !w.carries(index) {
				continue
			}
			if len(pending) > 0 && pending[0].Key == k {
				pending = pending[1:]
			}
			if v, ok := tx.get(k); ok && !yield(k, v) {
				return
			}
		}
		for _, w := range pending {
			if !yield(w.Key, w.Value) {
				return
			}
		}
	}
}

func (tx *Tx) put(t AnyTable, key string, v any, ttl time.Duration) {
	if _, seen := tx.reads[key]; !seen {
		tx.note(key)
	}
	tx.writes[key] = Write{Key: key, Value: v, TTL: ttl, table: t}
}

func (tx *Tx) remove(key string) {
	if _, seen := tx.reads[key]; !seen {
		tx.note(key)
	}
	tx.writes[key] = Write{Key: key}
}
