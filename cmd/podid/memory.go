// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// headroom is what may at least be allocated between two collections. Go's
	// default doubles the heap, which for a server that holds ten megabytes is a
	// collection every few hundred requests: a tenth of its work.
	headroom = 48 << 20

	minPercent, maxPercent = 100, 800
	paceEvery              = 15 * time.Second
)

// paceCollector gives the collector its headroom until ctx ends: much for a
// small heap, Go's own measure for a large one. GOGC beats it.
func paceCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		debug.SetGCPercent(percentFor(liveHeap()))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
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
