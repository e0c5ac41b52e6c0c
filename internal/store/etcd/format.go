// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"podid/internal/store"
)

// Format is the version of the layout of keys and values. A release that
// changes the layout raises it and brings the way from the old one.
const Format = 1

const (
	tableFormat = "format"
	tableGone   = "gone"
	tableCommit = "commit"

	prefixOwn    = store.System + "/" + store.Global + "/"
	prefixGone   = prefixOwn + tableGone + "/"
	prefixCommit = prefixOwn + tableCommit + "/"
	keyFormat    = prefixOwn + tableFormat + "/data"
)

// ours says whether the key belongs to this package and not to a table.
func ours(key string) bool {
	rest, ok := strings.CutPrefix(key, prefixOwn)
	if !ok {
		return false
	}
	table, _, _ := strings.Cut(rest, "/")
	return table == tableFormat || table == tableGone || table == tableCommit
}

// goneKey is the marker of deletions in the table that key or range is in.
func goneKey(key string) string {
	n := 0
	for range 3 {
		n += strings.IndexByte(key[n:], '/') + 1
	}
	return prefixGone + key[:n-1]
}

// formatRecord stays JSON whatever the format, so that every release can say
// who wrote the data.
type formatRecord struct {
	Format  int    `json:"format"`
	Release string `json:"release"` // the last that opened the data for writing
}

// FormatError: the data has a format that this release cannot read.
type FormatError struct {
	Format  int
	Release string // which wrote the data
	This    string // which refuses it
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("data is format %d, written by release %s; this is release %s, which reads format %d",
		e.Format, quoteEmpty(e.Release), quoteEmpty(e.This), Format)
}

func quoteEmpty(s string) string {
	if s == "" {
		return "(unnamed)"
	}
	return s
}

// checkFormat reads the format record. Without one the store must be empty.
func (db *DB) checkFormat(ctx context.Context) error {
	ctx, cancel := db.callContext(ctx)
	defer cancel()
	resp, err := db.client.Get(ctx, keyFormat)
	if err != nil {
		return readError(ctx, "read the format record", err)
	}
	if len(resp.Kvs) > 0 {
		return db.acceptFormat(resp.Kvs[0].Value)
	}
	all, err := db.client.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithLimit(1), clientv3.WithKeysOnly(),
		clientv3.WithRev(resp.Header.Revision))
	if err != nil {
		return readError(ctx, "look for records", err)
	}
	if len(all.Kvs) > 0 {
		return fmt.Errorf("the store has records (%q) and no format record: it was not written by podid", all.Kvs[0].Key)
	}
	return nil
}

func (db *DB) acceptFormat(data []byte) error {
	var rec formatRecord
	if err := json.Unmarshal(data, &rec); err != nil {
		return fmt.Errorf("read the format record: %w", err)
	}
	if rec.Format != Format {
		return &FormatError{Format: rec.Format, Release: rec.Release, This: db.opts.Release}
	}
	db.writer = rec.Release
	return nil
}

// sign writes the format record if it is absent or names another release. It
// comes after the load: a release that cannot read the data does not sign it.
func (db *DB) sign(ctx context.Context) error {
	ctx, cancel := db.callContext(ctx)
	defer cancel()
	want, err := json.Marshal(formatRecord{Format, db.opts.Release})
	if err != nil {
		return fmt.Errorf("encode the format record: %w", err)
	}
	// Markers of processes that are gone serve nobody: each reads only its
	// own, and from the watch.
	resp, err := db.client.Txn(ctx).
		If(clientv3.Compare(clientv3.Value(keyFormat), "=", string(want))).
		Then(clientv3.OpDelete(prefixCommit, clientv3.WithPrefix())).
		Else(clientv3.OpGet(keyFormat)).Commit()
	if err != nil {
		return readError(ctx, "sign the format record", err)
	}
	if resp.Succeeded {
		return nil
	}
	seen := int64(0)
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		if err := db.acceptFormat(kvs[0].Value); err != nil {
			return err // another replica was quicker
		}
		seen = kvs[0].ModRevision
	}
	// A lost race means that another replica signed: its format is checked
	// when the watch shows it.
	if _, err := db.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(keyFormat), "=", seen)).
		Then(clientv3.OpPut(keyFormat, string(want))).Commit(); err != nil {
		return readError(ctx, "sign the format record", err)
	}
	return nil
}

// explain adds to a refusal who wrote the data.
func (db *DB) explain(err error) error {
	var refused *refusal
	if !asRefusal(err, &refused) {
		return err
	}
	return fmt.Errorf("%w (data last written by release %s; this is release %s)",
		err, quoteEmpty(db.writer), quoteEmpty(db.opts.Release))
}
