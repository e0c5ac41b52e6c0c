// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"podid/internal/store"
)

// refusal: stored data that this release cannot read.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func asRefusal(err error, to **refusal) bool { return errors.As(err, to) }

// load reads all records at one revision and returns the view of them. What
// base already has at the same revision of a key is taken over undecoded.
//
// Never in pages by limit: etcd counts the rest of the range for every page.
// It streams, or walks prefix by prefix where the server is too old for that.
func (db *DB) load(ctx context.Context, base *store.View) (*store.View, error) {
	known := make(map[string]int64, base.Len())
	for key, rev := range base.Records() {
		known[key] = rev
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := db.client.Get(ctx, keyFormat, clientv3.WithCountOnly())
	if err != nil {
		return nil, readError(ctx, "read the revision", err)
	}
	rev := resp.Header.Revision
	d := &decoder{schema: db.schema, known: known}
	err = d.run(ctx, db.chunks(ctx, rev))
	if err != nil {
		return nil, err
	}
	for key := range known {
		if _, there := d.seen[key]; !there {
			d.changes = append(d.changes, store.Change{Key: key, Revision: rev})
		}
	}
	return base.Apply(db.schema, rev, d.changes)
}

type chunk struct {
	kvs []*mvccpb.KeyValue
	err error
}

// chunks yields all pairs at rev.
func (db *DB) chunks(ctx context.Context, rev int64) iter.Seq[chunk] {
	return func(yield func(chunk) bool) {
		stream, err := db.client.GetStream(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(rev))
		if err != nil {
			db.unstreamed(ctx, rev, err, yield)
			return
		}
		for r := range stream {
			if err := r.Err(); err != nil {
				db.unstreamed(ctx, rev, err, yield)
				return
			}
			if !yield(chunk{kvs: r.RangeResponse.GetKvs()}) {
				return
			}
		}
	}
}

// unstreamed goes on where a server, before etcd 3.7, or a namespaced client
// cannot stream: they say so before the first pair.
func (db *DB) unstreamed(ctx context.Context, rev int64, err error, yield func(chunk) bool) {
	if status.Code(err) == codes.Unimplemented {
		db.prefixes(ctx, rev, yield)
		return
	}
	yield(chunk{err: readError(ctx, "load records", err)})
}

// prefixes yields the pairs of each account, region and table in turn.
func (db *DB) prefixes(ctx context.Context, rev int64, yield func(chunk) bool) {
	from := "\x00"
	for {
		first, err := db.client.Get(ctx, from, clientv3.WithFromKey(), clientv3.WithLimit(1),
			clientv3.WithKeysOnly(), clientv3.WithRev(rev))
		if err != nil {
			yield(chunk{err: readError(ctx, "find the next table", err)})
			return
		}
		if len(first.Kvs) == 0 {
			return
		}
		prefix := tablePrefix(string(first.Kvs[0].Key))
		resp, err := db.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(rev))
		if err != nil {
			yield(chunk{err: readError(ctx, "load "+prefix, err)})
			return
		}
		if !yield(chunk{kvs: resp.Kvs}) {
			return
		}
		from = clientv3.GetPrefixRangeEnd(prefix)
	}
}

// tablePrefix is the key up to its third slash, or all of it.
func tablePrefix(key string) string {
	n := 0
	for range 3 {
		i := strings.IndexByte(key[n:], '/')
		if i < 0 {
			return key
		}
		n += i + 1
	}
	return key[:n]
}

// decoder turns pairs into changes, many chunks at a time.
type decoder struct {
	schema *store.Schema
	known  map[string]int64

	seen    map[string]struct{}
	changes []store.Change
}

func (d *decoder) run(ctx context.Context, chunks iter.Seq[chunk]) error {
	d.seen = make(map[string]struct{}, len(d.known))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	var parts []*[]store.Change
	for c := range chunks {
		if c.err != nil {
			// A refusal is the first cause; the cut stream its consequence.
			if err := group.Wait(); err != nil {
				return err
			}
			return c.err
		}
		if gctx.Err() != nil {
			break
		}
		if len(d.known) > 0 {
			for _, kv := range c.kvs {
				d.seen[string(kv.Key)] = struct{}{}
			}
		}
		out := new([]store.Change)
		parts = append(parts, out)
		group.Go(func() (err error) {
			*out, err = d.decode(c.kvs)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	n := 0
	for _, p := range parts {
		n += len(*p)
	}
	d.changes = make([]store.Change, 0, n)
	for _, p := range parts {
		d.changes = append(d.changes, *p...)
	}
	return ctx.Err()
}

func (d *decoder) decode(kvs []*mvccpb.KeyValue) ([]store.Change, error) {
	out := make([]store.Change, 0, len(kvs))
	for _, kv := range kvs {
		key := string(kv.Key)
		if ours(key) || d.known[key] == kv.ModRevision {
			continue
		}
		v, err := d.schema.Decode(key, kv.Value)
		if err != nil {
			return nil, &refusal{fmt.Errorf("load: %w", err)}
		}
		out = append(out, store.Change{Key: key, Revision: kv.ModRevision, Value: v})
	}
	return out, nil
}
