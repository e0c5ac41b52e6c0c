// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"iter"
	"slices"
)

// Association is a service account that has one.
type Association struct {
	Namespace, ServiceAccount, ID string
	Revision                      int64 // of its last change
}

// Sizes of the index. A record is three lengths, the revision and three
// texts; a text is at most maxText bytes, so a record fits into a chunk.
const (
	maxText    = 255
	head       = 3 + 8
	chunkSize  = 1 << 16
	leastSlots = 64
)

var errText = errors.New("an association's names and id must be 1 to 255 bytes long")

// index finds associations by their names. It holds no pointer per
// association: records lie one after the other in chunks, and slots are an
// open hash table of references to them. So 100,000 take some 8 MB, and the
// collector looks at none of them. Records are never changed where they lie;
// that is what lets snapshots share them.
type index struct {
	seed   maphash.Seed
	chunks [][]byte
	slots  []uint32 // 0 is empty, else a reference + 1
	count  int
	live   int // bytes of records that are referred to
	total  int // bytes of all records
}

func newIndex() *index {
	return &index{seed: maphash.MakeSeed(), slots: make([]uint32, leastSlots)}
}

// record is one association in a chunk.
type record []byte

func recordAt(chunks [][]byte, ref uint32) record {
	return chunks[ref>>16][ref&(chunkSize-1):]
}

func (r record) size() int { return head + int(r[0]) + int(r[1]) + int(r[2]) }

func (r record) namespace() []byte { return r[head : head+int(r[0])] }

func (r record) account() []byte { return r[head+int(r[0]):][:r[1]] }

func (r record) id() []byte { return r[head+int(r[0])+int(r[1]):][:r[2]] }

func (r record) revision() int64 { return int64(binary.LittleEndian.Uint64(r[3:])) } //nolint:gosec // as it was written

func (r record) is(namespace, account string) bool {
	return string(r.namespace()) == namespace && string(r.account()) == account
}

func (r record) association() Association {
	return Association{string(r.namespace()), string(r.account()), string(r.id()), r.revision()}
}

// mix makes one hash of those of the two names.
func mix(namespace, account uint64) uint64 { return namespace*0x9e3779b97f4a7c15 + account }

func (x *index) hash(namespace, account string) uint64 {
	return mix(maphash.String(x.seed, namespace), maphash.String(x.seed, account))
}

func (x *index) hashOf(r record) uint64 {
	return mix(maphash.Bytes(x.seed, r.namespace()), maphash.Bytes(x.seed, r.account()))
}

// find returns the slot of the names, or the empty one where they would be.
func (x *index) find(namespace, account string) (slot int, found bool) {
	mask := len(x.slots) - 1
	for slot = int(x.hash(namespace, account)) & mask; x.slots[slot] != 0; slot = (slot + 1) & mask { //nolint:gosec // masked
		if recordAt(x.chunks, x.slots[slot]-1).is(namespace, account) {
			return slot, true
		}
	}
	return slot, false
}

func (x *index) get(namespace, account string) (record, bool) {
	slot, found := x.find(namespace, account)
	if !found {
		return nil, false
	}
	return recordAt(x.chunks, x.slots[slot]-1), true
}

// put adds an association or takes the place of the one with its names, and
// reports whether that changed anything.
func (x *index) put(a Association) (bool, error) {
	for _, text := range [...]string{a.Namespace, a.ServiceAccount, a.ID} {
		if text == "" || len(text) > maxText {
			return false, errText
		}
	}
	slot, found := x.find(a.Namespace, a.ServiceAccount)
	if found {
		r := recordAt(x.chunks, x.slots[slot]-1)
		if r.revision() == a.Revision && string(r.id()) == a.ID {
			return false, nil
		}
		x.live -= r.size()
	} else {
		if (x.count+1)*4 > len(x.slots)*3 {
			x.grow()
			slot, _ = x.find(a.Namespace, a.ServiceAccount)
		}
		x.count++
	}
	x.slots[slot] = x.write(a) + 1
	x.tidy()
	return true, nil
}

// write appends a record and returns its reference.
func (x *index) write(a Association) uint32 {
	size := head + len(a.Namespace) + len(a.ServiceAccount) + len(a.ID)
	last := len(x.chunks) - 1
	if last < 0 || len(x.chunks[last])+size > chunkSize {
		x.chunks = append(x.chunks, make([]byte, 0, chunkSize))
		last++
	}
	c := x.chunks[last]
	ref := uint32(last)<<16 | uint32(len(c))                                            //nolint:gosec // four GiB of records are far away
	c = append(c, byte(len(a.Namespace)), byte(len(a.ServiceAccount)), byte(len(a.ID))) //nolint:gosec // at most maxText
	c = binary.LittleEndian.AppendUint64(c, uint64(a.Revision))                         //nolint:gosec // read back as it is
	x.chunks[last] = append(append(append(c, a.Namespace...), a.ServiceAccount...), a.ID...)
	x.live += size
	x.total += size
	return ref
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]uint32, 2*len(old))
	mask := len(x.slots) - 1
	for _, v := range old {
		if v == 0 {
			continue
		}
		slot := int(x.hashOf(recordAt(x.chunks, v-1))) & mask //nolint:gosec // masked
		for x.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		x.slots[slot] = v
	}
}

// remove reports whether there was one.
func (x *index) remove(namespace, account string) bool {
	slot, found := x.find(namespace, account)
	if !found {
		return false
	}
	x.live -= recordAt(x.chunks, x.slots[slot]-1).size()
	x.count--
	x.close(slot)
	x.tidy()
	return true
}

// close empties a slot: those behind it that would no longer be found move up.
func (x *index) close(hole int) {
	mask := len(x.slots) - 1
	for slot := (hole + 1) & mask; x.slots[slot] != 0; slot = (slot + 1) & mask {
		home := int(x.hashOf(recordAt(x.chunks, x.slots[slot]-1))) & mask //nolint:gosec // masked
		if (slot-home)&mask >= (slot-hole)&mask {
			x.slots[hole] = x.slots[slot]
			hole = slot
		}
	}
	x.slots[hole] = 0
}

// tidy writes the index anew when most of its records are of the past.
func (x *index) tidy() {
	if x.total < 4*chunkSize || x.live > x.total/2 {
		return
	}
	old := x.chunks
	x.chunks, x.live, x.total = nil, 0, 0
	for i, v := range x.slots {
		if v != 0 {
			x.slots[i] = x.write(recordAt(old, v-1).association()) + 1
		}
	}
}

// Snapshot is what was known at one moment. It stays as it is.
type Snapshot struct {
	ClusterUID string // "" before anything was known
	Revision   int64
	chunks     [][]byte
	refs       []uint32 // in the order of their names
}

// Len is the number of associations.
func (s *Snapshot) Len() int { return len(s.refs) }

// All yields the associations in the order of their namespaces and names.
func (s *Snapshot) All() iter.Seq[Association] {
	return func(yield func(Association) bool) {
		for _, ref := range s.refs {
			if !yield(recordAt(s.chunks, ref).association()) {
				return
			}
		}
	}
}

// snapshot copies references, and no record.
func (x *index) snapshot() *Snapshot {
	s := &Snapshot{chunks: slices.Clone(x.chunks), refs: make([]uint32, 0, x.count)}
	for _, v := range x.slots {
		if v != 0 {
			s.refs = append(s.refs, v-1)
		}
	}
	return s
}

func (s *Snapshot) sort() {
	slices.SortFunc(s.refs, func(a, b uint32) int {
		x, y := recordAt(s.chunks, a), recordAt(s.chunks, b)
		return cmp.Or(bytes.Compare(x.namespace(), y.namespace()), bytes.Compare(x.account(), y.account()))
	})
}

// records yields all records, in no order.
func (x *index) records() iter.Seq[record] {
	return func(yield func(record) bool) {
		for _, v := range x.slots {
			if v != 0 && !yield(recordAt(x.chunks, v-1)) {
				return
			}
		}
	}
}
