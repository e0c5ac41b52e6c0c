// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of refused tokens of one source address: to judge a token costs more than to refuse unread. Requests with a
// token that is known never come here, so others on the same address (pods on the host's network) keep theirs.
const (
	offenceRate  = 100 // a second
	offenceBurst = 500
	maxOffenders = 1024
)

// offences counts the refused tokens of each source address. A nil *offences counts nothing.
type offences struct {
	mu      sync.Mutex
	sources map[netip.Addr]offender
}

// offender has so many offences that time has not paid off.
type offender struct {
	count float64
	at    time.Time
}

func (o offender) left(now time.Time) float64 {
	return max(o.count-max(now.Sub(o.at).Seconds(), 0)*offenceRate, 0)
}

func newOffences() *offences { return &offences{sources: map[netip.Addr]offender{}} }

// mayTry is false, with the time to wait, for a source that sent too many bad tokens of late.
func (o *offences) mayTry(from netip.Addr, now time.Time) (time.Duration, bool) {
	if o == nil {
		return 0, true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	left := o.sources[from].left(now)
	if left < offenceBurst {
		return 0, true
	}
	return time.Duration((left + 1 - offenceBurst) / offenceRate * float64(time.Second)), false
}

// add counts an offence.
func (o *offences) add(from netip.Addr, now time.Time) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.sources) >= maxOffenders {
		o.forgive(now)
	}
	o.sources[from] = offender{count: o.sources[from].left(now) + 1, at: now}
}

// forgive makes room: who has paid is forgotten, and else the one with the least to pay.
func (o *offences) forgive(now time.Time) {
	var least netip.Addr
	lowest := -1.0
	for from, of := range o.sources {
		left := of.left(now)
		if left == 0 {
			delete(o.sources, from)
		} else if lowest < 0 || left < lowest {
			least, lowest = from, left
		}
	}
	if len(o.sources) >= maxOffenders {
		delete(o.sources, least)
	}
}

// sourceAddr is the address of a request's peer; the zero Addr stands for all that have none.
func sourceAddr(remote string) netip.Addr {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
