// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package store owns the contract between the domain and storage: typed
// tables of records, immutable views of all records at one revision, and
// optimistic transactions. It owns the in-memory index that every read is
// answered from. It knows no engine: store/etcd keeps the records durable and
// feeds the index by load and watch; the domain declares its tables here and
// never sees etcd.
//
// Every key is account/region/table/id (region "global" for IAM), so one
// account's records stand together and a prefix is a scope.
package store

import (
	"context"
	"errors"
)

// Global is the region of records that belong to no region (IAM).
const Global = "global"

// System is the account of records that belong to the installation itself.
const System = "system"

// Scope is the account and region that a record belongs to.
type Scope struct{ Account, Region string }

func (s Scope) prefix() string { return s.Account + "/" + s.Region + "/" }

// Errors that an engine returns, to be met with errors.Is.
var (
	// ErrUnavailable: the engine cannot be reached or has no quorum. Nothing
	// is known to have been written; see ErrUnknown.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrUnknown: the connection broke during a commit; the write may or may
	// not have happened. Callers that need to know repeat with a request token.
	ErrUnknown = errors.New("the outcome of the write is unknown")
	// ErrConflict: a transaction lost its race too often.
	ErrConflict = errors.New("too many concurrent changes")
)

// Store is what the domain needs of storage.
type Store interface {
	// View returns the newest view that this process has seen. It never
	// waits. Everything that this process has committed is in it.
	View() *View
	// Fence returns a view that has every write which any replica had
	// acknowledged at the time of the call.
	// Concurrent calls share one round trip; where no other replica can write
	// there is none. Returns ErrUnavailable.
	Fence(ctx context.Context) (*View, error)
	// Next waits for a view newer than the revision and returns the newest
	// that this process has seen. The error is ctx's when that ends first, or
	// ErrUnavailable when there will be no other view.
	Next(ctx context.Context, revision int64) (*View, error)
	// Update runs fn on a transaction and commits what it wrote, if nothing
	// it read has changed; otherwise fn runs again on a newer view. So fn
	// must have no side effects. An error from fn ends the update unchanged
	// and is returned as it is; where other replicas write, fn is first asked
	// again on a fenced view if that is newer. When Update returns nil the write is durable
	// and in View.
	Update(ctx context.Context, fn func(tx *Tx) error) error
}
