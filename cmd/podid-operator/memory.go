// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"time"
)

const (
	// collectAt is how much the heap may grow between two collections, in per cent of what is live. A review leaves some
	// 20 KB, and there are few of them; memory lies there all the time.
	collectAt = 50
	// settleAfter is when what the start needed is given back, settleEvery when what a rush has left is.
	settleAfter = 5 * time.Second
	settleEvery = 5 * time.Minute
)

// tune trades a little of the collector's time for memory, unless GOGC says how.
func tune() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
}

// withSettling runs f and gives memory back beside it.
func withSettling(ctx context.Context, log *slog.Logger, f func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		keepSettled(ctx, log)
	}()
	err := f(ctx)
	stop()
	<-done
	return err
}

func keepSettled(ctx context.Context, log *slog.Logger) {
	for wait := settleAfter; ; wait = settleEvery {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		settle(log)
	}
}

// settle gives back to the system what is not in use.
func settle(log *slog.Logger) {
	debug.FreeOSMemory()
	if err := releaseText(); err != nil {
		log.Debug("give back start-up pages", slog.String("error", err.Error()))
	}
}
