// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"podid/internal/store"
)

// fences gathers the callers of Fence. One read is in flight; who comes
// meanwhile shares the next one, never the one already sent, which may have
// been answered before his call began.
type fences struct {
	mu      sync.Mutex
	waiting *fence
	wake    chan struct{}
}

type fence struct {
	done chan struct{}
	rev  int64
	err  error
}

// join returns the fence that the next read will answer.
func (f *fences) join() *fence {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting == nil {
		f.waiting = &fence{done: make(chan struct{})}
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	return f.waiting
}

func (f *fences) take() *fence {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.waiting
	f.waiting = nil
	return w
}

// Fence implements store.Store. Who is alone has what it acknowledged in its
// own view already: Update returns when the watch has shown what it wrote.
func (db *DB) Fence(ctx context.Context) (*store.View, error) {
	if !db.opts.Alone {
		return db.fence(ctx)
	}
	select {
	case <-db.done:
		return nil, db.ended()
	default:
		return db.View(), nil
	}
}

// Ping reports whether etcd answers, and the watch follows it.
func (db *DB) Ping(ctx context.Context) error {
	_, err := db.fence(ctx)
	return err
}

// fence is one linearizable read for all who wait, then the wait until the
// watch has shown its revision.
func (db *DB) fence(ctx context.Context) (*store.View, error) {
	f := db.fences.join()
	wctx, cancel := db.callContext(ctx)
	defer cancel()
	select {
	case <-f.done:
	case <-db.done:
		return nil, db.ended()
	case <-wctx.Done():
		return nil, away(wctx, "fence")
	}
	if f.err != nil {
		return nil, f.err
	}
	return db.waitFor(ctx, f.rev)
}

// serveFences reads the store's revision for whoever waits, one read at a
// time.
func (db *DB) serveFences(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-db.fences.wake:
		}
		f := db.fences.take()
		if f == nil {
			continue
		}
		f.rev, f.err = db.revision(ctx)
		close(f.done)
	}
}

// revision is the store's revision by a linearizable read, the cheapest there
// is.
func (db *DB) revision(ctx context.Context) (int64, error) {
	ctx, cancel := db.callContext(ctx)
	defer cancel()
	resp, err := db.client.Get(ctx, keyFormat, clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("fence: %w", readError(ctx, "read the revision", err))
	}
	return resp.Header.Revision, nil
}
