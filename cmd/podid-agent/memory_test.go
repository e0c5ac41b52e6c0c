// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeepSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hits, fetches uint64
		settled := 0
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			keepSettled(ctx, func() (uint64, uint64) { return hits, fetches }, func() { settled++ })
		}()
		step := func(name string, moreHits, moreFetches uint64, want int) {
			t.Helper()
			hits, fetches = hits+moreHits, fetches+moreFetches
			time.Sleep(restInterval)
			synctest.Wait()
			if settled != want {
				t.Errorf("%s: settled %d times, want %d", name, settled, want)
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
