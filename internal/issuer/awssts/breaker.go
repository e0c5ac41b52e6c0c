// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts

import (
	"sync"
	"time"
)

// The breaker opens after this many failures in a row. Each time that the one
// try after a pause fails too, the pause doubles.
const (
	breakAfter = 5
	firstPause = 2 * time.Second
	longPause  = 30 * time.Second
)

// breaker spares an upstream that is away, and the callers that would wait for
// it. Only outages count: a refusal is an answer. The zero value with now is
// closed.
type breaker struct {
	now func() time.Time

	mu       sync.Mutex
	failures int
	pause    time.Duration // 0: closed
	until    time.Time
	trying   bool // the one try of a half-open breaker is under way
}

// enter reports whether a call may be made; if not, how long none will be.
// Whoever enters has to leave.
func (b *breaker) enter() (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return 0, true
	}
	if left := b.until.Sub(b.now()); left > 0 {
		return left, false
	}
	if b.trying {
		return time.Second, false
	}
	b.trying = true
	return 0, true
}

// leave counts what a call came to and returns "opened" or "closed" when that
// changed the breaker.
func (b *breaker) leave(failed bool) (change string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tried := b.trying
	switch {
	case !failed && b.pause > 0 && !tried:
		return "" // began before the breaker opened: says nothing of now
	case !failed:
		if b.pause > 0 {
			change = "closed"
		}
		b.failures, b.pause, b.trying = 0, 0, false
		return change
	case tried:
		b.trying = false
		b.pause = min(2*b.pause, longPause)
	case b.pause > 0:
		return ""
	default:
		if b.failures++; b.failures < breakAfter {
			return ""
		}
		b.pause, change = firstPause, "opened"
	}
	b.until = b.now().Add(b.pause)
	return change
}
