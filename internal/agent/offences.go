// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of what one source address may send to no purpose.
const (
	// Bad tokens: to judge one costs more than to refuse it unread. Requests with a token that is known never come here,
	// so others on the same address (pods on the host's network) keep theirs.
	badTokenRate  = 100 // a second
	badTokenBurst = 500
	// Long requests: to read one costs in proportion to its length, and no pod has a reason to send any.
	longRate  = 1 // a second
	longBurst = 5

	maxOffenders = 1024
)

// offences counts what each source address does too often. A nil *offences counts nothing.
type offences struct {
	rate, burst float64 // what time pays off in a second; what is borne at once

	mu      sync.Mutex
	sources map[netip.Addr]offender
}

// offender has so many offences that time has not paid off.
type offender struct {
	count float64
	at    time.Time
}

func newOffences(rate, burst float64) *offences {
	return &offences{rate: rate, burst: burst, sources: map[netip.Addr]offender{}}
}

// left is what a source still has to pay.
func (o *offences) left(of offender, now time.Time) float64 {
	return max(of.count-max(now.Sub(of.at).Seconds(), 0)*o.rate, 0)
}

// mayTry is false, with the time to wait, for a source that offended too often of late.
func (o *offences) mayTry(from netip.Addr, now time.Time) (time.Duration, bool) {
	if o == nil {
		return 0, true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	left := o.left(o.sources[from], now)
	if left < o.burst {
		return 0, true
	}
	return time.Duration((left + 1 - o.burst) / o.rate * float64(time.Second)), false
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
	o.sources[from] = offender{count: o.left(o.sources[from], now) + 1, at: now}
}

// forgive makes room: who has paid is forgotten, and else the one with the least to pay.
func (o *offences) forgive(now time.Time) {
	var least netip.Addr
	lowest := -1.0
	for from, of := range o.sources {
		left := o.left(of, now)
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
