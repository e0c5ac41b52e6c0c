// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// catchUpWait is the longest that a review waits for the control plane.
	catchUpWait = 200 * time.Millisecond
	// catchUpLimit is for a request: one that takes longer than a review waits may still serve those to come.
	catchUpLimit = time.Second
	// catchUpPause is how long none is asked after one that failed.
	catchUpPause = time.Second
)

// ErrStale says that an answer is the last that was known, and that the
// control plane may have acknowledged an association since.
var ErrStale = errors.New("associations made in the meantime are not known")

// Has reports whether a service account has an association. What is known
// answers at once; else the review waits, for 200 ms at most, until all that
// was acknowledged before the call is known. With an error that is ErrStale
// the answer is the last that was known.
func (f *Feed) Has(ctx context.Context, namespace, serviceAccount string) (bool, error) {
	if f.has(namespace, serviceAccount) {
		f.cfg.Metrics.hits.Inc()
		return true, nil
	}
	err := f.catchUp(ctx)
	switch found := f.has(namespace, serviceAccount); {
	case found:
		f.cfg.Metrics.caughtUp.Inc()
		return true, nil
	case err != nil:
		f.cfg.Metrics.stale.Inc()
		return false, fmt.Errorf("%w: %w", ErrStale, err)
	}
	f.cfg.Metrics.absent.Inc()
	return false, nil
}

func (f *Feed) has(namespace, serviceAccount string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	_, ok := f.index.get(namespace, serviceAccount)
	return ok
}

// catchUp has all who wait share requests: one is under way at a time, and who
// comes meanwhile waits for the next, because the control plane may have
// answered the first one before they came.
type catchUp struct {
	mu      sync.Mutex
	stopped bool
	next    *round    // whom the next request is for; nil for nobody
	running bool      // a goroutine makes requests
	began   time.Time // of the request under way; zero when there is none
	closed  time.Time // until then none is made
	failure error     // of the last one; nil if it was answered
	flights sync.WaitGroup
}

// round is those who wait for the same request.
type round struct {
	done chan struct{} // closed when err is set
	err  error
}

var (
	errStopped = errors.New("the operator stops")
	errLate    = fmt.Errorf("no answer within %s", catchUpWait)
)

// catchUp returns once everything that was acknowledged before the call is
// known, or with why it may not be.
func (f *Feed) catchUp(ctx context.Context) error {
	r, err := f.join(ctx)
	if err != nil {
		return err
	}
	limit := time.NewTimer(catchUpWait)
	defer limit.Stop()
	select {
	case <-r.done:
		return r.err
	case <-limit.C:
		return errLate
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// join finds the request to wait for. Where the control plane is away nobody
// waits: not within a second of a request that failed, nor for one that is
// under way for longer than anybody would wait.
func (f *Feed) join(ctx context.Context) (*round, error) {
	c, now := &f.catch, f.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
		return nil, errStopped
	case now.Before(c.closed):
		return nil, c.failure
	case !c.began.IsZero() && now.Sub(c.began) >= catchUpWait:
		return nil, errLate
	}
	if c.next == nil {
		c.next = &round{done: make(chan struct{})}
	}
	r := c.next
	if !c.running {
		c.running = true
		detached := context.WithoutCancel(ctx) // the request is not only for this review
		c.flights.Go(func() { f.serveRounds(detached) })
	}
	return r, nil
}

// serveRounds makes requests until nobody waits for one.
func (f *Feed) serveRounds(ctx context.Context) {
	c := &f.catch
	for {
		c.mu.Lock()
		r := c.next
		c.next, c.began = nil, time.Time{}
		if r == nil {
			c.running = false
			c.mu.Unlock()
			return
		}
		var err error
		if f.cfg.Now().Before(c.closed) { // they joined while the one that failed was under way
			err = c.failure
		} else {
			c.began = f.cfg.Now()
		}
		c.mu.Unlock()
		if err == nil {
			err = f.catchUpOnce(ctx)
		}
		r.err = err
		close(r.done)
	}
}

func (f *Feed) catchUpOnce(ctx context.Context) error {
	begin := f.cfg.Now()
	_, err := f.ask(ctx, 0, catchUpLimit)
	if errors.Is(err, errOvertaken) { // by a poll that began the feed anew
		_, err = f.ask(ctx, 0, catchUpLimit)
	}
	now := f.cfg.Now()
	f.cfg.Metrics.catchUp.Observe(now.Sub(begin).Seconds())
	if err == nil {
		if f.catch.answered() {
			f.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "reviews can wait for the control plane again")
		}
		return nil
	}
	f.cfg.Metrics.catchUpFailures.Inc()
	if f.catch.failed(err, now.Add(catchUpPause)) {
		f.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "catch up with the control plane: reviews are answered with what is known", slog.String("error", err.Error()))
	}
	return err
}

// answered lets requests be made again, and reports whether that is news.
func (c *catchUp) answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.failure != nil
	c.failure, c.closed = nil, time.Time{}
	return news
}

// failed lets no request be made for a while, and reports whether that is news.
func (c *catchUp) failed(err error, until time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.failure == nil
	c.failure, c.closed = err, until
	return news
}

// stop lets no request be made any more and waits for those under way.
func (c *catchUp) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.flights.Wait()
}
