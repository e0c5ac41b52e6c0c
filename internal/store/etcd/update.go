// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"

	"podid/internal/store"
)

// maxTries bounds how often the function of one update runs. While one that
// lost a race tries again, the updates of this process go one by one, so that
// each has only other replicas to race with. At about a millisecond each, the
// bound is for what can never win.
const maxTries = 256

// Update implements store.Store.
//
// A refusal by fn is believed only on a fresh view: if another replica has
// changed something meanwhile, fn runs again. So nobody is told that a record
// is missing which another replica has acknowledged.
func (db *DB) Update(ctx context.Context, fn func(tx *store.Tx) error) error {
	view, fresh, queued := db.View(), false, false
	for try := range maxTries {
		if !queued && (try > 0 || len(db.queue) > 0) {
			if err := db.lockQueue(ctx); err != nil {
				return err
			}
			queued = true
			defer func() { <-db.queue }()
			view = db.View()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		tx := store.NewTx(view)
		if refused := fn(tx); refused != nil {
			if fresh {
				return refused
			}
			newer, err := db.Fence(ctx)
			if err != nil || newer.Revision() == view.Revision() {
				return refused
			}
			view, fresh = newer, true
			continue
		}
		if len(tx.Writes()) == 0 {
			return nil
		}
		rev, won, err := db.commit(ctx, tx)
		if err != nil {
			return err
		}
		if view, err = db.waitFor(ctx, rev); err != nil {
			if won {
				return fmt.Errorf("%w: committed at revision %d, which the watch has not shown: %s", store.ErrUnknown, rev, err.Error())
			}
			return err
		}
		if won {
			return nil
		}
		fresh = false
	}
	return fmt.Errorf("%w: gave up after %d tries", store.ErrConflict, maxTries)
}

func (db *DB) lockQueue(ctx context.Context) error {
	select {
	case db.queue <- struct{}{}:
		return nil
	case <-db.done:
		return db.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commit sends one transaction. won is false when something it read has
// changed; the view has to reach rev before the next try.
func (db *DB) commit(ctx context.Context, tx *store.Tx) (rev int64, won bool, err error) {
	select {
	case <-db.done:
		return 0, false, db.ended()
	default:
	}
	if err := db.connected(ctx); err != nil {
		return 0, false, fmt.Errorf("commit: %w", err)
	}
	leases := map[int64]clientv3.LeaseID{}
	puts, err := db.operations(ctx, tx, leases)
	if err != nil {
		db.revoke(leases)
		return 0, false, err
	}
	nonce := strconv.FormatUint(db.nonce.Add(1), 36)
	puts = append(puts, clientv3.OpPut(db.self, nonce))
	db.expectCommit(nonce)
	defer db.forgetCommit(nonce)

	cctx, cancel := db.callContext(ctx)
	defer cancel()
	resp, err := db.client.Txn(cctx).If(conditions(tx)...).Then(puts...).Commit()
	if err != nil {
		err = commitError(cctx, err)
		if !errors.Is(err, store.ErrUnknown) {
			db.revoke(leases)
			return 0, false, err
		}
		if rev, done := db.resolve(ctx, nonce); done {
			return rev, true, nil
		}
		return 0, false, err
	}
	if !resp.Succeeded {
		db.revoke(leases)
		return resp.Header.Revision, false, nil
	}
	return resp.Header.Revision, true, nil
}

// connected waits for a connection: what is not sent has certainly not
// happened, whatever goes wrong after it may have.
func (db *DB) connected(ctx context.Context) error {
	ctx, cancel := db.callContext(ctx)
	defer cancel()
	conn := db.client.ActiveConnection()
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Idle:
			conn.Connect()
		case connectivity.Shutdown:
			return fmt.Errorf("%w: the client is closed", store.ErrUnavailable)
		}
		if !conn.WaitForStateChange(ctx, state) {
			return away(ctx, "wait for a connection")
		}
	}
}

// conditions are what has to hold for the commit.
func conditions(tx *store.Tx) []clientv3.Cmp {
	var out []clientv3.Cmp
	reads := tx.Reads()
	for _, key := range slices.Sorted(maps.Keys(reads)) {
		out = append(out, clientv3.Compare(clientv3.ModRevision(key), "=", reads[key]))
	}
	next := tx.View().Revision() + 1
	var tables []string
	for _, prefix := range tx.Ranges() {
		// Nothing in the range is newer than the view …
		out = append(out, clientv3.Compare(clientv3.ModRevision(prefix), "<", next).WithPrefix())
		if key := goneKey(prefix); !slices.Contains(tables, key) {
			// … and nothing in its table was deleted since: a deleted record
			// has no revision that could be compared.
			tables = append(tables, key)
			out = append(out, clientv3.Compare(clientv3.ModRevision(key), "<", next))
		}
	}
	return out
}

// operations are the writes, with a lease for each time to live.
func (db *DB) operations(ctx context.Context, tx *store.Tx, leases map[int64]clientv3.LeaseID) ([]clientv3.Op, error) {
	var out []clientv3.Op
	gone := map[string]bool{}
	for _, w := range tx.Writes() {
		if w.Value == nil {
			out = append(out, clientv3.OpDelete(w.Key))
			if key := goneKey(w.Key); !gone[key] {
				gone[key] = true
				out = append(out, clientv3.OpPut(key, ""))
			}
			continue
		}
		data, err := w.Encode()
		if err != nil {
			return nil, err
		}
		var opts []clientv3.OpOption
		if w.TTL > 0 {
			id, err := db.grant(ctx, w.TTL, leases)
			if err != nil {
				return nil, err
			}
			opts = append(opts, clientv3.WithLease(id))
		}
		out = append(out, clientv3.OpPut(w.Key, string(data), opts...))
	}
	return out, nil
}

func (db *DB) grant(ctx context.Context, ttl time.Duration, leases map[int64]clientv3.LeaseID) (clientv3.LeaseID, error) {
	seconds := int64((ttl + time.Second - 1) / time.Second)
	if id, ok := leases[seconds]; ok {
		return id, nil
	}
	ctx, cancel := db.callContext(ctx)
	defer cancel()
	resp, err := db.client.Grant(ctx, seconds)
	if err != nil {
		return 0, readError(ctx, "grant a lease", err)
	}
	leases[seconds] = resp.ID
	return resp.ID, nil
}

// revoke gives back the leases of a commit that did not happen. Those it
// cannot give back end by themselves, so that is only logged.
func (db *DB) revoke(leases map[int64]clientv3.LeaseID) {
	for _, id := range leases {
		ctx, cancel := db.callContext(context.Background())
		if _, err := db.client.Revoke(ctx, id); err != nil {
			db.opts.Log.Debug("revoke an unused lease", "lease", int64(id), "error", err)
		}
		cancel()
	}
}

func (db *DB) expectCommit(nonce string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.commits[nonce] = 0
}

func (db *DB) forgetCommit(nonce string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	delete(db.commits, nonce)
}

// resolve finds out whether a commit whose answer was lost has happened: then
// the watch has shown its marker. That it was not shown proves nothing, since
// the request may still be on its way.
func (db *DB) resolve(ctx context.Context, nonce string) (rev int64, done bool) {
	if _, err := db.fence(ctx); err != nil {
		return 0, false
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	rev = db.commits[nonce]
	return rev, rev != 0
}

// ErrTooLarge: an update reads or writes more records, or more bytes, than
// one transaction of etcd can hold. Nothing was written.
var ErrTooLarge = errors.New("the change is too large for one transaction")

// commitError classifies the error of a commit by whether it can have
// happened.
func commitError(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge), tooLarge(err):
		return fmt.Errorf("commit: %w: %w", ErrTooLarge, err)
	case errors.Is(err, rpctypes.ErrNoSpace), errors.Is(err, rpctypes.ErrTooManyRequests),
		errors.Is(err, rpctypes.ErrNoLeader), neverSent(err):
		return fmt.Errorf("commit: %w: %w", store.ErrUnavailable, err)
	case broken(ctx, err):
		return fmt.Errorf("commit: %w: %w", store.ErrUnknown, err)
	}
	return fmt.Errorf("commit: %w", err)
}
