// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"podid/internal/operator/feed"
)

// catchUps counts the requests that did not wait.
func (h *harness) catchUps() int {
	n := 0
	for _, r := range h.plane.requests() {
		if strings.HasSuffix(r, "wait=0") {
			n++
		}
	}
	return n
}

func (h *harness) has(t *testing.T, key string) (bool, time.Duration, error) {
	t.Helper()
	begin := time.Now()
	namespace, account, _ := strings.Cut(key, "/")
	has, err := h.Has(t.Context(), namespace, account)
	return has, time.Since(begin), err
}

// quiet keeps the poll from telling anything before a catch-up does.
func (h *harness) quiet() {
	h.plane.with(func(p *plane) {
		p.fail = func(wait string) error {
			if wait != "0" {
				return errors.New("the poll fails")
			}
			return nil
		}
	})
	time.Sleep(time.Minute)
}

func TestHas(t *testing.T) {
	follow(t, nil, func(t *testing.T, h *harness) {
		h.quiet()
		if has, took, err := h.has(t, "shop/cart"); !has || err != nil || took != 0 || h.catchUps() != 0 {
			t.Errorf("a hit: %t, %v, %s, %d requests", has, err, took, h.catchUps())
		}
		h.plane.with(func(p *plane) { p.delay = 30 * time.Millisecond })
		h.plane.set("shop/new", "a-2")
		if has, took, err := h.has(t, "shop/new"); !has || err != nil || took != 30*time.Millisecond {
			t.Errorf("acknowledged before the call: %t, %v, %s", has, err, took)
		}
		if has, _, err := h.has(t, "shop/nobody"); has || err != nil {
			t.Errorf("a miss: %t, %v", has, err)
		}
		h.plane.set("shop/cart", "")
		if has, _, _ := h.has(t, "shop/nobody"); has {
			t.Error("has what is not there")
		}
		if has, _, err := h.has(t, "shop/cart"); has || err != nil {
			t.Errorf("deleted: %t, %v", has, err)
		}
		for label, want := range map[string]float64{"hit": 1, "caught_up": 1, "absent": 3, "stale": 0} {
			if got := h.metric(t, "lookups_total", label); got != want {
				t.Errorf("%v %s, want %v", got, label, want)
			}
		}
		if got := h.metric(t, "catch_up_seconds", ""); got != 4 {
			t.Errorf("%v catch-ups measured", got)
		}
	})
}

// TestHasShares: who comes while a request is under way waits for the next
// one, and all of those share it.
func TestHasShares(t *testing.T) {
	follow(t, nil, func(t *testing.T, h *harness) {
		h.quiet()
		h.plane.with(func(p *plane) { p.delay = 50 * time.Millisecond })
		var all sync.WaitGroup
		var found atomic.Int32
		look := func(account string) {
			all.Go(func() {
				has, err := h.Has(t.Context(), "shop", account)
				if err != nil {
					t.Error(err)
				}
				if has {
					found.Add(1)
				}
			})
		}
		look("nobody")
		synctest.Wait() // the first request has been answered, and its answer is on its way
		h.plane.set("shop/new", "a-2")
		for range 100 {
			look("new")
		}
		all.Wait()
		if found.Load() != 100 || h.catchUps() != 2 {
			t.Errorf("%d of 100 found the new one, by %d requests", found.Load(), h.catchUps())
		}
	})
}

// TestHasIsBounded: nobody waits for longer than 200 ms, and while the control
// plane is away nearly nobody waits.
func TestHasIsBounded(t *testing.T) {
	follow(t, nil, func(t *testing.T, h *harness) {
		h.plane.with(func(p *plane) { p.delay = time.Hour })
		time.Sleep(10 * time.Second)
		waited := 0
		for i := range 600 { // a minute of misses
			has, took, err := h.has(t, fmt.Sprint("shop/", i))
			if has || !errors.Is(err, feed.ErrStale) || took > 200*time.Millisecond {
				t.Fatalf("%t, %v, %s", has, err, took)
			}
			if took > 0 {
				waited++
			}
			time.Sleep(100*time.Millisecond - took%(100*time.Millisecond))
		}
		if waited == 0 || waited > 40 { // one in some two seconds: 1 s of a request, 1 s without
			t.Errorf("%d of 600 waited", waited)
		}
		if n := strings.Count(h.log.String(), "reviews are answered with what is known"); n != 1 {
			t.Errorf("told %d times", n)
		}
		if has, took, err := h.has(t, "shop/cart"); !has || err != nil || took != 0 {
			t.Errorf("a hit while the control plane is away: %t, %v, %s", has, err, took)
		}
		h.plane.with(func(p *plane) { p.delay = 0 })
		time.Sleep(3 * time.Second)
		h.plane.set("shop/new", "a-2")
		if has, _, err := h.has(t, "shop/new"); !has || err != nil {
			t.Errorf("after the outage: %t, %v", has, err)
		}
	})
}

// TestHasAway: a control plane that refuses connections costs no waiting.
func TestHasAway(t *testing.T) {
	follow(t, nil, func(t *testing.T, h *harness) {
		h.plane.with(func(p *plane) { p.fail = func(string) error { return errors.New("connection refused") } })
		for range 100 {
			if has, took, err := h.has(t, "shop/nobody"); has || !errors.Is(err, feed.ErrStale) || took != 0 {
				t.Fatalf("%t, %v, %s", has, err, took)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if n := h.catchUps(); n < 4 || n > 6 {
			t.Errorf("%d requests in 5 s", n)
		}
		if got := h.metric(t, "lookups_total", "stale"); got != 100 {
			t.Errorf("%v stale", got)
		}
	})
}

func TestHasGivesUpWithItsReview(t *testing.T) {
	follow(t, nil, func(t *testing.T, h *harness) {
		h.plane.with(func(p *plane) { p.delay = 150 * time.Millisecond })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if has, err := h.Has(ctx, "shop", "nobody"); has || !errors.Is(err, feed.ErrStale) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%t, %v", has, err)
		}
	})
}

func TestHasAfterTheEnd(t *testing.T) {
	var f *feed.Feed
	follow(t, nil, func(_ *testing.T, h *harness) { f = h.Feed })
	synctest.Test(t, func(t *testing.T) {
		if has, err := f.Has(t.Context(), "shop", "cart"); !has || err != nil {
			t.Errorf("%t, %v", has, err)
		}
		if _, err := f.Has(t.Context(), "shop", "nobody"); !errors.Is(err, feed.ErrStale) {
			t.Errorf("%v", err)
		}
	})
}

// TestOvertaken: an answer on its way does not undo what came after it was made.
func TestOvertaken(t *testing.T) {
	follow(t, nil, func(t *testing.T, h *harness) {
		// The poll's answer tells that there is a new one, and takes 150 ms; meanwhile it is deleted and a review catches up.
		h.plane.with(func(p *plane) { p.delay = 150 * time.Millisecond })
		h.plane.set("shop/new", "a-2")
		synctest.Wait()
		h.plane.with(func(p *plane) { p.delay = 0 })
		h.plane.set("shop/new", "")
		if has, _, err := h.has(t, "shop/new"); has || err != nil {
			t.Errorf("%t, %v", has, err)
		}
		time.Sleep(140 * time.Millisecond)
		h.knows(t, "shop/new", "")
		time.Sleep(20 * time.Millisecond) // the poll's answer is here
		h.knows(t, "shop/new", "")
		time.Sleep(time.Second)
		h.knows(t, "shop/new", "")
	})
}

// TestOvertakenByAnotherCluster: the same, where the feed began anew meanwhile.
func TestOvertakenByAnotherCluster(t *testing.T) {
	follow(t, nil, func(t *testing.T, h *harness) {
		h.plane.with(func(p *plane) { p.delay = 150 * time.Millisecond })
		h.plane.set("shop/new", "a-2")
		synctest.Wait()
		h.plane.with(func(p *plane) {
			p.delay, p.uid, p.revision, p.records = 0, "uid-2", 300, map[string]change{}
		})
		if has, _, err := h.has(t, "shop/nobody"); has || err != nil {
			t.Errorf("%t, %v", has, err)
		}
		h.knows(t, "shop/cart", "")
		time.Sleep(time.Second)
		h.knows(t, "shop/new", "")
		if uid, _ := h.Position(); uid != "uid-2" {
			t.Errorf("at %s", uid)
		}
	})
}
