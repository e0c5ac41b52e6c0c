// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"context"
	"runtime"
	"testing"
)

func TestPercentFor(t *testing.T) {
	p := Pace{Headroom: 48 << 20, Min: 100, Max: 800}
	for _, tc := range []struct {
		name string
		live uint64
		want int
	}{
		{"before the first collection", 0, 800},
		{"small", 1 << 20, 800},
		{"idle server", 12 << 20, 400},
		{"as large as the headroom", 48 << 20, 100},
		{"a million records", 2 << 30, 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := p.percentFor(tc.live); got != tc.want {
				t.Errorf("percentFor(%d) = %d, want %d", tc.live, got, tc.want)
			}
		})
	}
}

func TestLiveHeap(t *testing.T) {
	runtime.GC()
	if liveHeap() == 0 {
		t.Error("a collection left nothing: the metric has another name in this release of Go")
	}
}

// Every collection is told of, to one who is slow to look as well, and none
// once the context has ended.
func TestNotify(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	collected := make(chan struct{}, 1)
	notify(ctx, collected)
	for range 3 {
		for len(collected) == 0 {
			runtime.GC()
			runtime.Gosched()
		}
		runtime.GC() // in vain
		<-collected
	}
	cancel()
	for range 10 { // what is under way may still come
		runtime.GC()
		runtime.Gosched()
	}
	for len(collected) > 0 {
		<-collected
	}
	for range 10 {
		runtime.GC()
		runtime.Gosched()
	}
	if len(collected) > 0 {
		t.Error("told of a collection after the end")
	}
}
