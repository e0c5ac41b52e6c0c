// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import "container/heap"

// schedule is a heap of entries.
type schedule struct {
	entries []*entry
	before  func(a, b *entry) bool
	seat    func(*entry) *seat // of the entry in a schedule of this kind
}

// seat is where an entry is in the one schedule of a kind that it is in, if it is.
type seat struct {
	in    *schedule
	index int
}

// turn and ending are the two kinds of schedule: when an entry is looked at, and when its token ends.
func turn(e *entry) *seat   { return &e.turn }
func ending(e *entry) *seat { return &e.ending }

// moreUrgent is the order of renewals: what the control plane said has changed, then what ends first.
func moreUrgent(a, b *entry) bool {
	if a.urgent != b.urgent {
		return a.urgent
	}
	return a.end().Before(b.end())
}

// endsFirst is the order in which pods' youngest tokens end; a zero time is never.
func endsFirst(a, b *entry) bool {
	if a.token.Expiry.IsZero() || b.token.Expiry.IsZero() {
		return !a.token.Expiry.IsZero()
	}
	return a.token.Expiry.Before(b.token.Expiry)
}

// Len implements heap.Interface.
func (s *schedule) Len() int { return len(s.entries) }

// Less implements heap.Interface.
func (s *schedule) Less(i, j int) bool { return s.before(s.entries[i], s.entries[j]) }

// Swap implements heap.Interface.
func (s *schedule) Swap(i, j int) {
	s.entries[i], s.entries[j] = s.entries[j], s.entries[i]
	s.seat(s.entries[i]).index, s.seat(s.entries[j]).index = i, j
}

// Push implements heap.Interface.
func (s *schedule) Push(x any) {
	e := x.(*entry)
	*s.seat(e) = seat{s, len(s.entries)}
	s.entries = append(s.entries, e)
}

// Pop implements heap.Interface.
func (s *schedule) Pop() any {
	last := len(s.entries) - 1
	e := s.entries[last]
	s.entries[last] = nil
	s.entries = s.entries[:last]
	*s.seat(e) = seat{}
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
	place := s.seat(e)
	if place.in == s {
		heap.Fix(s, place.index)
		return
	}
	place.leave()
	heap.Push(s, e)
}

// leave takes the entry out of the schedule that it is in.
func (p *seat) leave() {
	if p.in != nil {
		heap.Remove(p.in, p.index)
	}
}
