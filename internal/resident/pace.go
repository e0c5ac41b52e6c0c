// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// headroom is what may at least be allocated between two collections. Go's
	// default doubles the heap, which for a server that holds ten megabytes is a
	// collection every few hundred requests: a tenth of its work.
	headroom = 48 << 20

	minPercent, maxPercent = 100, 800
)

// paceCollector gives the collector its headroom until ctx ends: much for a
// small heap, Go's own measure for a large one. GOGC beats it. It looks after
// every collection: a heap that grew three times since the last look, as an
// import lets it, would be allowed to grow as many times its new size.
func paceCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	collected := make(chan struct{}, 1)
	notify(ctx, collected)
	for {
		debug.SetGCPercent(percentFor(liveHeap()))
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

// percentFor is the GC percentage that lets headroom bytes be allocated on top
// of live ones.
func percentFor(live uint64) int {
	return int(min(max(headroom*100/max(live, 1), minPercent), maxPercent))
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
