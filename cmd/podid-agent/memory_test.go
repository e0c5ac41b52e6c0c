// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeepSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hits, fetches atomic.Uint64
		var settled atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			keepSettled(ctx, func() (uint64, uint64) { return hits.Load(), fetches.Load() }, func() { settled.Add(1) })
		}()
		step := func(name string, moreHits, moreFetches uint64, want int64) {
			t.Helper()
			hits.Add(moreHits)
			fetches.Add(moreFetches)
			time.Sleep(restInterval)
			synctest.Wait()
			if got := settled.Load(); got != want {
				t.Errorf("%s: settled %d times, want %d", name, got, want)
			}
		}
		step("nothing", 0, 0, 0)
		step("a rush", rushWork, 0, 0)
		step("it goes on", quietWork, 0, 0)
		step("it is over", 0, 0, 1)
		step("quiet", 0, 0, 1)
		step("a few pods", quietWork/2, 0, 1)
		step("many pods", 0, rushWork/fetchWork, 1)
		step("they have started", 0, 0, 2)
		cancel()
		<-done
	})
}
