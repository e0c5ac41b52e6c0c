// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"podid/internal/store"
)

const (
	// rewatchWait and rewatchMax bound the pause before a watch that ended is
	// made anew.
	rewatchWait = 20 * time.Millisecond
	rewatchMax  = 2 * time.Second
	// nudgeWait is how long a call waits for events before it asks etcd for a
	// bookmark, and how often it asks.
	nudgeWait = 50 * time.Millisecond
)

// errStopped is why calls fail after an ordinary end of Run.
var errStopped = errors.New("the store is closed")

// Run follows the store until ctx ends, then returns nil. It outlives lost
// connections and compactions. It returns an error when the store holds data
// that this release cannot read: from then on Fence and Update refuse, and
// the process had better stop. Call it once.
func (db *DB) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return db.follow(ctx) })
	group.Go(func() error { return db.serveFences(ctx) })
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("follow store: %w", db.explain(err))
	}
	db.err = err
	if err == nil {
		db.err = errStopped
	}
	close(db.done)
	return err
}

func (db *DB) follow(ctx context.Context) error {
	wait := rewatchWait
	for {
		before := db.View().Revision()
		err := db.watch(ctx)
		var refused *refusal
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if asRefusal(err, &refused) || isFormat(err) {
			return err
		}
		if errors.Is(err, rpctypes.ErrCompacted) {
			db.opts.Log.Warn("store history is compacted beyond our revision, loading anew", "revision", before)
			if err = db.reload(ctx); err == nil {
				wait = rewatchWait
				continue
			}
			if asRefusal(err, &refused) || isFormat(err) {
				return err
			}
		}
		if db.View().Revision() > before {
			wait = rewatchWait
		}
		db.opts.Log.Warn("store watch ended, watching again", "error", err, "revision", db.View().Revision(), "wait", wait)
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, rewatchMax)
	}
}

func isFormat(err error) bool {
	var f *FormatError
	return errors.As(err, &f)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reload builds a view from all records, keeping those that did not change.
func (db *DB) reload(ctx context.Context) error {
	if err := db.checkFormat(ctx); err != nil {
		return err
	}
	view, err := db.load(ctx, db.View())
	if err != nil {
		return err
	}
	db.publish(view)
	return nil
}

// watch applies what follows the view's revision until the watch ends. The
// client reconnects by itself and goes on where it was.
func (db *DB) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	events := db.client.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(db.View().Revision()+1),
		clientv3.WithProgressNotify(), clientv3.WithFragment(), clientv3.WithCreatedNotify())
	for {
		select {
		case resp, open := <-events:
			if !open {
				return errors.New("the watch was closed")
			}
			if err := resp.Err(); err != nil {
				return err
			}
			if err := db.take(&resp); err != nil {
				return err
			}
		case <-db.nudge:
			// The answer comes as a bookmark on the same stream.
			if err := db.client.RequestProgress(ctx); err != nil {
				return fmt.Errorf("ask for a bookmark: %w", err)
			}
		}
	}
}

// take applies one answer of the watch: all events of its revisions, or a
// bookmark.
func (db *DB) take(resp *clientv3.WatchResponse) error {
	old := db.View()
	if len(resp.Events) == 0 {
		// Only a bookmark promises that all before it has been sent.
		if !resp.IsProgressNotify() || resp.Header.Revision <= old.Revision() {
			return nil
		}
		v, err := old.Apply(db.schema, resp.Header.Revision, nil)
		if err != nil {
			return err
		}
		db.publish(v)
		return nil
	}
	changes := make([]store.Change, 0, len(resp.Events))
	var own []*clientv3.Event
	for _, e := range resp.Events {
		key := string(e.Kv.Key)
		if ours(key) {
			own = append(own, e)
			continue
		}
		c := store.Change{Key: key, Revision: e.Kv.ModRevision}
		if e.Type == mvccpb.Event_PUT {
			var err error
			if c.Value, err = db.schema.Decode(key, e.Kv.Value); err != nil {
				return &refusal{fmt.Errorf("revision %d: %w", e.Kv.ModRevision, err)}
			}
		}
		changes = append(changes, c)
	}
	if err := db.takeOwn(own); err != nil {
		return err
	}
	// The header may be ahead of what was sent; the last event is not.
	rev := resp.Events[len(resp.Events)-1].Kv.ModRevision
	v, err := old.Apply(db.schema, rev, changes)
	if err != nil {
		return &refusal{err}
	}
	db.publish(v)
	return nil
}

// takeOwn looks at this package's keys: a new format, our commits.
func (db *DB) takeOwn(events []*clientv3.Event) error {
	for _, e := range events {
		if e.Type != mvccpb.Event_PUT {
			continue
		}
		switch string(e.Kv.Key) {
		case keyFormat:
			if err := db.acceptFormat(e.Kv.Value); err != nil {
				return err
			}
		case db.self:
			db.mu.Lock()
			if _, asked := db.commits[string(e.Kv.Value)]; asked {
				db.commits[string(e.Kv.Value)] = e.Kv.ModRevision
			}
			db.mu.Unlock()
		}
	}
	return nil
}
