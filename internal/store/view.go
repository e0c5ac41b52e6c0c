// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"iter"
	"strings"

	"github.com/google/btree"
)

const degree = 32

type record struct {
	key string
	rev int64 // the store's revision of the last change
	val any
}

type indexEntry struct{ index, key string }

func recordLess(a, b record) bool { return a.key < b.key }

func indexLess(a, b indexEntry) bool {
	if a.index != b.index {
		return a.index < b.index
	}
	return a.key < b.key
}

// indexPrefix makes the index key of a secondary key within a table and
// scope. NUL keeps one key from being the beginning of another.
func indexPrefix(base, key string) string { return base + "\x00" + key }

// View is an immutable picture of all records at one revision. It is safe for
// concurrent use and costs nothing to hold but memory.
type View struct {
	rev     int64
	records *btree.BTreeG[record]
	index   *btree.BTreeG[indexEntry]
	past    past
}

// EmptyView is a view of nothing at revision 0, to build others from.
func EmptyView() *View {
	return &View{records: btree.NewG(degree, recordLess), index: btree.NewG(degree, indexLess)}
}

// Revision is the store's revision that the view shows.
func (v *View) Revision() int64 { return v.rev }

// Len is the number of records.
func (v *View) Len() int { return v.records.Len() }

// Records walks the keys of all records, in order, and the revisions of their
// last changes. Engines compare views by it.
func (v *View) Records() iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		v.records.Ascend(func(r record) bool { return yield(r.key, r.rev) })
	}
}

func (v *View) get(key string) (any, bool) {
	r, ok := v.records.Get(record{key: key})
	return r.val, ok
}

func (v *View) revision(key string) int64 {
	r, _ := v.records.Get(record{key: key})
	return r.rev
}

func (v *View) scan(prefix, after string) iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		v.records.AscendGreaterOrEqual(record{key: max(prefix, after)}, func(r record) bool {
			if !strings.HasPrefix(r.key, prefix) {
				return false
			}
			return r.key == after || yield(r.key, r.val)
		})
	}
}

func (v *View) scanIndex(index string) iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		v.index.AscendGreaterOrEqual(indexEntry{index: index}, func(e indexEntry) bool {
			if e.index != index {
				return false
			}
			val, ok := v.get(e.key)
			return !ok || yield(e.key, val)
		})
	}
}

// findIndex allocates less than a walk: sessions and keys are found by it.
func (v *View) findIndex(index string) (string, any, bool) {
	var found struct {
		key string
		val any
		ok  bool
	}
	v.index.AscendGreaterOrEqual(indexEntry{index: index}, func(e indexEntry) bool {
		if e.index != index {
			return false
		}
		found.key = e.key
		found.val, found.ok = v.get(e.key)
		return !found.ok
	})
	return found.key, found.val, found.ok
}

// Change is one change that an engine has seen. A nil Value is a deletion.
type Change struct {
	Key      string
	Revision int64
	Value    any // as Schema.Decode returned it
}

// Apply returns a view with the changes applied, at revision rev. v stays as
// it is. Only one goroutine, the engine's, derives views from views.
func (v *View) Apply(s *Schema, rev int64, changes []Change) (*View, error) {
	n := &View{rev: rev, records: v.records.Clone(), index: v.index.Clone(), past: v.past.and(v.rev, rev, changes)}
	for _, c := range changes {
		t, err := s.tableOf(c.Key)
		if err != nil {
			return nil, err
		}
		base := c.Key[:scopeTableLen(c.Key)]
		if old, ok := n.records.Get(record{key: c.Key}); ok {
			for _, k := range t.indexKeys(old.val) {
				n.index.Delete(indexEntry{indexPrefix(base, k), c.Key})
			}
		}
		if c.Value == nil {
			n.records.Delete(record{key: c.Key})
			continue
		}
		n.records.ReplaceOrInsert(record{c.Key, c.Revision, c.Value})
		for _, k := range t.indexKeys(c.Value) {
			n.index.ReplaceOrInsert(indexEntry{indexPrefix(base, k), c.Key})
		}
	}
	return n, nil
}

// scopeTableLen is the length of "account/region/table/".
func scopeTableLen(key string) int {
	n := 0
	for range 3 {
		n += strings.IndexByte(key[n:], '/') + 1
	}
	return n
}
