// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package upkeep repeats what keeps an object of the cluster right: every so
// often, when it was seen to change, and sooner after it failed. It owns the
// waiting; what is kept, and whether it is right, is its caller's.
package upkeep

import (
	"context"
	"log/slog"
	"time"
)

const (
	retryFirst = 500 * time.Millisecond
	retryMost  = time.Minute
)

// Task is what is repeated. All fields are required.
type Task struct {
	What  string               // for the log, when it failed
	Every func() time.Duration // how long a success lasts
	Seen  <-chan struct{}      // ends a wait before its time
	Check func(context.Context) error
	Log   *slog.Logger
}

// Run repeats the task until ctx ends.
func (t Task) Run(ctx context.Context) {
	retry := retryFirst
	for {
		wait := t.Every()
		if err := t.Check(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			t.Log.Warn(t.What, slog.String("error", err.Error()), slog.Duration("again_in", retry))
			wait, retry = retry, min(2*retry, retryMost)
		} else {
			retry = retryFirst
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-t.Seen:
			timer.Stop()
		case <-timer.C:
		}
	}
}
