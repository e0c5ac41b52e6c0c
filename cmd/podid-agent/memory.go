// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"podid/internal/resident"
)

// settle gives back what only the start needed. An agent idles on every node of a fleet: what it holds there is paid for
// a thousand times, and start-up is most of what it ever touches.
func settle(log *slog.Logger) {
	debug.FreeOSMemory()
	if err := resident.ReleaseText(); err != nil {
		log.Debug("give back start-up pages", slog.String("err", err.Error()))
	}
}

const (
	// restInterval is how often the agent looks whether a rush is over.
	restInterval = time.Second
	// fetchWork is what a call upstream leaves behind, in hits.
	fetchWork = 50
	// rushWork is the work that is worth cleaning up after, quietWork what is next to nothing within restInterval.
	rushWork  = 5000
	quietWork = 100
)

// rest watches for the end of a rush, when a hundred pods have started or thousands of requests came.
type rest struct{ last, settled uint64 }

// due is true once after each rush. work is a running total.
func (r *rest) due(work uint64) bool {
	quiet := work-r.last < quietWork
	r.last = work
	if !quiet || work-r.settled < rushWork {
		return false
	}
	r.settled = work
	return true
}

// keepSettled gives back what a rush has left, until ctx ends. The heap grows with a rush and stays: the collector's
// threshold is twice what is live, and nothing else makes it run on a quiet node.
func keepSettled(ctx context.Context, work func() (hits, fetches uint64), settle func()) {
	tick := time.NewTicker(restInterval)
	defer tick.Stop()
	var r rest
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if hits, fetches := work(); r.due(hits + fetchWork*fetches) {
			settle()
		}
	}
}
