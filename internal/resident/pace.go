// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package resident keeps a process small: it paces the collector by what is
// live, gives back to the kernel what only the start of a program needed, and
// makes a short-lived goroutine's stack grow once.
// It owns no time of its own: its callers say how long and when.
package resident

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Pace is how much may be allocated between two collections.
type Pace struct {
	// Headroom is what may at least be, in bytes. Go's default doubles the heap,
	// which for a server that holds ten megabytes is a collection every few
	// hundred requests: a tenth of its work.
	Headroom uint64
	// Min and Max bound it, in per cent of what is live.
	Min, Max uint64
}

// Keep gives the collector its headroom until ctx ends: much for a small heap,
// Min for a large one. GOGC beats it. It looks after every collection: a heap
// that grew three times since the last look, as an import lets it, would be
// allowed to grow as many times its new size.
func (p Pace) Keep(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	collected := make(chan struct{}, 1)
	notify(ctx, collected)
	for {
		debug.SetGCPercent(p.percentFor(liveHeap()))
		select {
		case <-ctx.Done():
			return
		case <-collected:
		}
	}
}

// notify sends to c after every collection until ctx ends. The runtime tells
// of them by finalizers only: one of an object that nobody holds runs after
// each, and makes the next such object.
func notify(ctx context.Context, c chan<- struct{}) {
	type unheld struct{ _ *byte } // with a pointer, so that it shares its memory with no other
	runtime.SetFinalizer(&unheld{}, func(*unheld) {
		if ctx.Err() != nil {
			return
		}
		select {
		case c <- struct{}{}:
		default: // the last one was not seen to yet
		}
		notify(ctx, c)
	})
}

// percentFor is the GC percentage that lets Headroom bytes be allocated on top
// of live ones.
func (p Pace) percentFor(live uint64) int {
	return int(min(max(p.Headroom*100/max(live, 1), p.Min), p.Max)) //nolint:gosec // at most Max
}

// liveHeap is what the last collection left, in bytes; 0 before the first.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}
