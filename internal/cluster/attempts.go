// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Pace of wrong codes from one source.
const (
	attemptsAtOnce = 10
	attemptsEvery  = 6 * time.Second
)

// attempts counts wrong codes by where they come from. Its memory is fixed:
// sources share a few hundred places by a hash that nobody outside knows.
type attempts struct {
	seed maphash.Seed

	mu     sync.Mutex
	places [512]time.Time // when the source's last attempt is paid for
}

func newAttempts() *attempts { return &attempts{seed: maphash.MakeSeed()} }

// wait counts an attempt, or returns how long the source has to wait with it.
// Neighbours in an IPv6 network of 64 bits, which one machine can own, are one.
func (t *attempts) wait(from netip.Addr, now time.Time) time.Duration {
	from = from.Unmap().WithZone("")
	if from.Is6() {
		if p, err := from.Prefix(64); err == nil {
			from = p.Addr()
		}
	}
	i := maphash.Comparable(t.seed, from) % uint64(len(t.places))
	t.mu.Lock()
	defer t.mu.Unlock()
	paid := t.places[i]
	if paid.Before(now) {
		paid = now
	}
	if over := paid.Sub(now) - (attemptsAtOnce-1)*attemptsEvery; over > 0 {
		return over
	}
	t.places[i] = paid.Add(attemptsEvery)
	return 0
}
