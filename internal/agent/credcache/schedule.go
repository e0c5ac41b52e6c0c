// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import "container/heap"

// schedule is a heap of entries. An entry is in one schedule at most.
type schedule struct {
	entries []*entry
	before  func(a, b *entry) bool
}

// moreUrgent is the order of renewals: what the control plane said has changed, then what ends first.
func moreUrgent(a, b *entry) bool {
	if a.urgent != b.urgent {
		return a.urgent
	}
	return a.end().Before(b.end())
}

// Len implements heap.Interface.
func (s *schedule) Len() int { return len(s.entries) }

// Less implements heap.Interface.
func (s *schedule) Less(i, j int) bool { return s.before(s.entries[i], s.entries[j]) }

// Swap implements heap.Interface.
func (s *schedule) Swap(i, j int) {
	s.entries[i], s.entries[j] = s.entries[j], s.entries[i]
	s.entries[i].index, s.entries[j].index = i, j
}

// Push implements heap.Interface.
func (s *schedule) Push(x any) {
	e := x.(*entry)
	e.queue, e.index = s, len(s.entries)
	s.entries = append(s.entries, e)
}

// Pop implements heap.Interface.
func (s *schedule) Pop() any {
	last := len(s.entries) - 1
	e := s.entries[last]
	s.entries[last] = nil
	s.entries = s.entries[:last]
	e.queue = nil
	return e
}

func (s *schedule) head() *entry {
	if len(s.entries) == 0 {
		return nil
	}
	return s.entries[0]
}

// put moves the entry here, or to its new place here.
func (s *schedule) put(e *entry) {
	if e.queue == s {
		heap.Fix(s, e.index)
		return
	}
	e.unschedule()
	heap.Push(s, e)
}

func (e *entry) unschedule() {
	if e.queue != nil {
		heap.Remove(e.queue, e.index)
	}
}
