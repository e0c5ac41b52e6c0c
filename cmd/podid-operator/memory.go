// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"podid/internal/resident"
)

const (
	// settleEvery is how often is looked whether there is anything to give back.
	settleEvery = 2 * time.Second
	// rushAllocs is what must have been allocated for that, quietAllocs what an operator allocates meanwhile that idles.
	rushAllocs  = 8 << 20
	quietAllocs = 1 << 20
	// pauseTicks lie between two rushes that are cleaned up after: reviews that come in bursts would pay for it each time.
	pauseTicks = 15
)

// lull notices when a rush is over: the start, a great many associations, a
// storm of pods, or the little that an idle operator does, after some minutes.
type lull struct {
	last, settled uint64
	ticks         int // since the last one
}

// due is true once after each rush. allocs is a running total.
func (r *lull) due(allocs uint64) bool {
	quiet := allocs-r.last < quietAllocs
	r.last = allocs
	r.ticks++
	if !quiet || r.settled > 0 && (allocs-r.settled < rushAllocs || r.ticks < pauseTicks) { // the start is a rush, however little it allocates
		return false
	}
	r.settled, r.ticks = allocs, 0
	return true
}

// pace lets the collector be while reviews come: one leaves some 15 KB, and a
// collection costs as much as a hundred of them, most of it for what every
// program of client-go's has.
func pace() resident.Pace { return resident.Pace{Headroom: 16 << 20, Min: 50, Max: 400} }

// withSettling runs f and keeps the process small beside it.
func withSettling(ctx context.Context, log *slog.Logger, f func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { keepSettled(ctx, log) })
	beside.Go(func() { pace().Keep(ctx) })
	err := f(ctx)
	stop()
	beside.Wait()
	return err
}

func keepSettled(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	var r lull
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if r.due(allocated()) {
			settle(log)
		}
	}
}

// allocated is how much was allocated since the start, in bytes.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}

// settle gives back to the system what is not in use.
func settle(log *slog.Logger) {
	debug.FreeOSMemory()
	if err := resident.ReleaseText(); err != nil {
		log.Debug("give back start-up pages", slog.String("error", err.Error()))
	}
}
