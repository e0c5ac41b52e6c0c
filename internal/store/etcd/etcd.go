// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcd keeps the records of a store.Schema in etcd, in this process or
// elsewhere: the same client code for both. It owns the format record, the
// load of all records at one revision, the watch that keeps the index current,
// the fence and the optimistic commit. It refuses data of a format, a table or
// a value version that this release does not know, and it never guesses
// whether a write happened: see store.ErrUnknown.
//
// It takes the whole key space of its client. To share an etcd, give it a
// client of go.etcd.io/etcd/client/v3/namespace.
//
// Besides the records there are three families of its own, all in
// system/global: format (who wrote the data), gone (the last deletion in a
// table, so that a transaction that walked it notices) and commit (the last
// commit of each process, so that it recognises its own after a broken call).
package etcd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"podid/internal/store"
)

// Options are the settings of Open.
type Options struct {
	// Log is told about reconnects and reloads. Required.
	Log *slog.Logger
	// Release names this release in the format record and in refusals.
	Release string
	// Rand gives the process its name among the replicas. Required.
	Rand io.Reader
	// Alone says that no other process writes to this etcd while the store is
	// open. All that was ever acknowledged is in View then, and a fence needs
	// no call.
	Alone bool
	// Timeout bounds one call to etcd and one wait for the watch, beside the
	// caller's context. 0 means 5 s.
	Timeout time.Duration
}

const defaultTimeout = 5 * time.Second

// DB is a store.Store over etcd. Make it with Open; while it is used, Run must
// be running.
type DB struct {
	client *clientv3.Client
	schema *store.Schema
	opts   Options
	self   string // key of this process' commit marker
	writer string // release that last wrote the data, for refusals

	view atomic.Pointer[store.View]

	mu      sync.Mutex
	moved   chan struct{} // closed and replaced with every new view
	commits map[string]int64
	done    chan struct{} // closed when Run has ended
	err     error         // why; set before done is closed

	fences fences
	nudge  chan struct{} // asks the watch for a bookmark
	queue  chan struct{} // one token: held by updates that lost a race
	nonce  atomic.Uint64
}

var _ store.Store = (*DB)(nil)

// Open checks the format of the data, or marks empty storage with it, and
// loads all records. It refuses formats, tables and versions that this release
// does not know (see FormatError), and names the release that wrote them.
func Open(ctx context.Context, client *clientv3.Client, schema *store.Schema, opts Options) (*DB, error) {
	for _, name := range []string{tableFormat, tableGone, tableCommit} {
		if schema.Has(name) {
			return nil, fmt.Errorf("open store: the table name %q is reserved", name)
		}
	}
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	var id [8]byte
	if _, err := io.ReadFull(opts.Rand, id[:]); err != nil {
		return nil, fmt.Errorf("name this replica: %w", err)
	}
	db := &DB{
		client: client, schema: schema, opts: opts,
		self:  prefixCommit + fmt.Sprintf("%x", id),
		moved: make(chan struct{}), commits: map[string]int64{}, done: make(chan struct{}),
		queue: make(chan struct{}, 1), fences: fences{wake: make(chan struct{}, 1)}, nudge: make(chan struct{}, 1),
	}
	if err := db.checkFormat(ctx); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	view, err := db.load(ctx, store.EmptyView())
	if err != nil {
		return nil, fmt.Errorf("open store: %w", db.explain(err))
	}
	if err := db.sign(ctx); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	db.publish(view)
	return db, nil
}

// View implements store.Store. It goes on with the last view when etcd is
// away or Run has ended.
func (db *DB) View() *store.View { return db.view.Load() }

// publish makes v the newest view and wakes who waits for it. Only Open and
// Run's goroutine call it.
func (db *DB) publish(v *store.View) {
	db.view.Store(v)
	db.mu.Lock()
	close(db.moved)
	db.moved = make(chan struct{})
	db.mu.Unlock()
}

// Next implements store.Store.
func (db *DB) Next(ctx context.Context, revision int64) (*store.View, error) {
	for {
		db.mu.Lock()
		moved := db.moved
		db.mu.Unlock()
		if v := db.View(); v.Revision() > revision {
			return v, nil
		}
		select {
		case <-moved:
		case <-db.done:
			return nil, db.ended()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// waitFor waits until the view shows rev. Where no event brings it, because
// the revision belongs to others' keys, it asks for a bookmark.
func (db *DB) waitFor(ctx context.Context, rev int64) (*store.View, error) {
	if v := db.View(); v.Revision() >= rev {
		return v, nil
	}
	ctx, cancel := db.callContext(ctx)
	defer cancel()
	ask := time.NewTicker(nudgeWait)
	defer ask.Stop()
	for {
		db.mu.Lock()
		moved := db.moved
		db.mu.Unlock()
		if v := db.View(); v.Revision() >= rev {
			return v, nil
		}
		select {
		case <-moved:
		case <-ask.C:
			select {
			case db.nudge <- struct{}{}:
			default:
			}
		case <-db.done:
			return nil, db.ended()
		case <-ctx.Done():
			return nil, away(ctx, "wait for revision "+strconv.FormatInt(rev, 10))
		}
	}
}

// ended is the error of every call that needs Run after its end.
func (db *DB) ended() error {
	return fmt.Errorf("%w: %w", store.ErrUnavailable, db.err)
}
