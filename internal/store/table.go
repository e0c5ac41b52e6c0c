// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// valueVersion is the first byte of every value. A value of another version
// was written by another release and is refused, never guessed at.
const valueVersion = 1

// AnyTable is a table of whatever type, as an engine sees it.
type AnyTable interface {
	Name() string
	decode(data []byte) (any, error)
	indexKeys(v any) []string
}

// Table is a typed family of records. Declare one per noun, as a package
// variable that is never changed; list it in a Schema so that engines can
// decode it. Records are immutable: change a copy and Put it.
type Table[T any] struct {
	name  string
	index func(*T) []string
}

// NewTable declares a table. index names the secondary keys of a record (may
// be nil); lookups by them go through ByIndex. T is encoded as CBOR; give its
// fields `cbor:"n,keyasint"` tags and never reuse a number.
func NewTable[T any](name string, index func(*T) []string) *Table[T] {
	return &Table[T]{name: name, index: index}
}

// Name returns the path element that the table's keys carry.
func (t *Table[T]) Name() string { return t.name }

func (t *Table[T]) key(s Scope, id string) string { return s.prefix() + t.name + "/" + id }

// Key returns the full key of a record: what sealed fields are bound to.
func (t *Table[T]) Key(s Scope, id string) string { return t.key(s, id) }

func (t *Table[T]) decode(data []byte) (any, error) {
	v := new(T)
	if err := decodeValue(data, v); err != nil {
		return nil, err
	}
	return v, nil
}

func (t *Table[T]) indexKeys(v any) []string {
	if t.index == nil {
		return nil
	}
	return t.index(v.(*T))
}

// Reader is what records are read from: a View or a Tx.
type Reader interface {
	get(key string) (any, bool)
	scan(prefix, after string) iter.Seq2[string, any]
	scanIndex(key string) iter.Seq2[string, any]
	findIndex(key string) (string, any, bool) // the first of scanIndex
}

// Get returns the record, or false.
func (t *Table[T]) Get(r Reader, s Scope, id string) (*T, bool) {
	v, ok := r.get(t.key(s, id))
	if !ok {
		return nil, false
	}
	return v.(*T), true
}

// Revision returns the store's revision of a record's last change, or 0 where
// there is none.
func (t *Table[T]) Revision(v *View, s Scope, id string) int64 { return v.revision(t.key(s, id)) }

// List walks the records whose id begins with prefix, in the order of their
// ids, beginning after the id given (empty: at the first). In a Tx the whole
// prefix counts as read: a record added to it by another is a lost race.
func (t *Table[T]) List(r Reader, s Scope, prefix, after string) iter.Seq2[string, *T] {
	base := t.key(s, "")
	from := ""
	if after != "" {
		from = base + after
	}
	return func(yield func(string, *T) bool) {
		for k, v := range r.scan(base+prefix, from) {
			if !yield(k[len(base):], v.(*T)) {
				return
			}
		}
	}
}

// ByIndex walks the records of the scope that carry the secondary key.
func (t *Table[T]) ByIndex(r Reader, s Scope, key string) iter.Seq2[string, *T] {
	base := t.key(s, "")
	return func(yield func(string, *T) bool) {
		for k, v := range r.scanIndex(indexPrefix(base, key)) {
			if !yield(k[len(base):], v.(*T)) {
				return
			}
		}
	}
}

// FindIndex returns the first record that carries the secondary key.
func (t *Table[T]) FindIndex(r Reader, s Scope, key string) (string, *T, bool) {
	base := t.key(s, "")
	k, v, ok := r.findIndex(indexPrefix(base, key))
	if !ok {
		return "", nil, false
	}
	return k[len(base):], v.(*T), true
}

// Put writes the record at commit.
func (t *Table[T]) Put(tx *Tx, s Scope, id string, v *T) { tx.put(t, t.key(s, id), v, 0) }

// PutTTL writes a record that the engine removes after ttl (rounded up to
// seconds), counted from the commit.
func (t *Table[T]) PutTTL(tx *Tx, s Scope, id string, v *T, ttl time.Duration) {
	tx.put(t, t.key(s, id), v, ttl)
}

// Delete removes the record at commit. Deleting what is not there is no error.
func (t *Table[T]) Delete(tx *Tx, s Scope, id string) { tx.remove(t.key(s, id)) }

// Schema is the set of tables that a store holds.
type Schema struct{ tables map[string]AnyTable }

// NewSchema lists tables. Two tables of one name are a programming error.
func NewSchema(tables ...AnyTable) *Schema {
	m := make(map[string]AnyTable, len(tables))
	for _, t := range tables {
		if _, dup := m[t.Name()]; dup {
			panic("store: two tables named " + t.Name())
		}
		m[t.Name()] = t
	}
	return &Schema{m}
}

// Has says whether the schema has a table of the name.
func (s *Schema) Has(name string) bool {
	_, ok := s.tables[name]
	return ok
}

// Decode reads one stored value. It refuses keys of unknown tables and values
// of unknown versions, naming both: the data was written by another release.
func (s *Schema) Decode(key string, data []byte) (any, error) {
	t, err := s.tableOf(key)
	if err != nil {
		return nil, err
	}
	v, err := t.decode(data)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", key, err)
	}
	return v, nil
}

func (s *Schema) tableOf(key string) (AnyTable, error) {
	p := strings.SplitN(key, "/", 4)
	if len(p) < 4 {
		return nil, fmt.Errorf("key %q is not account/region/table/id", key)
	}
	t, ok := s.tables[p[2]]
	if !ok {
		return nil, fmt.Errorf("key %q belongs to table %q, which this release does not know", key, p[2])
	}
	return t, nil
}

// VersionError: a value has a version that this release cannot read.
type VersionError struct{ Version byte }

func (e *VersionError) Error() string {
	return fmt.Sprintf("value has format version %d; this release reads version %d", e.Version, valueVersion)
}

// encoding keeps times as floating point: they come back within a microsecond,
// mostly a little before what was put in. Who shows or compares milliseconds
// rounds. The zero time is null.
var encoding = mustMode(cbor.EncOptions{Time: cbor.TimeUnixMicro, Sort: cbor.SortNone})

func mustMode(o cbor.EncOptions) cbor.EncMode {
	m, err := o.EncMode()
	if err != nil {
		panic(err) // fixed options: a programming error
	}
	return m
}

func encodeValue(v any) ([]byte, error) {
	b, err := encoding.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append([]byte{valueVersion}, b...), nil
}

func decodeValue(data []byte, v any) error {
	if len(data) == 0 {
		return fmt.Errorf("value is empty")
	}
	if data[0] != valueVersion {
		return &VersionError{data[0]}
	}
	return cbor.Unmarshal(data[1:], v)
}
