// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"sync"
	"time"
)

// deadlined is context.WithDeadline that costs nothing until somebody waits:
// an exchange that the view can answer ends without having asked for Done, and
// a timer and its way through the parents for each would be the dearest part
// of the middleware. Whoever asks gets the standard library's context from
// then on. It is safe for concurrent use.
type deadlined struct {
	context.Context // the parent
	deadline        time.Time

	mu     sync.Mutex
	timed  context.Context // the real one, once somebody waited
	cancel context.CancelFunc
	ended  bool
}

// withDeadline returns the context; end must be called when the request is over.
func withDeadline(parent context.Context, deadline time.Time) *deadlined {
	return &deadlined{Context: parent, deadline: deadline}
}

// end cancels the context.
func (d *deadlined) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.cancel != nil {
		d.cancel()
	}
}

// Deadline implements context.Context; the parent's counts when it is earlier.
func (d *deadlined) Deadline() (time.Time, bool) {
	if at, ok := d.Context.Deadline(); ok && at.Before(d.deadline) {
		return at, true
	}
	return d.deadline, true
}

// Done implements context.Context.
func (d *deadlined) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.cancel = context.WithDeadline(d.Context, d.deadline)
		if d.ended {
			d.cancel()
		}
	}
	return d.timed.Done()
}

// Err implements context.Context.
func (d *deadlined) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.timed != nil:
		return d.timed.Err()
	case d.Context.Err() != nil:
		return d.Context.Err()
	case d.ended:
		return context.Canceled
	case !time.Now().Before(d.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements context.Context. Through the real context, children find
// what they attach to, and need no goroutine of their own.
func (d *deadlined) Value(key any) any {
	d.mu.Lock()
	timed := d.timed
	d.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return d.Context.Value(key)
}
