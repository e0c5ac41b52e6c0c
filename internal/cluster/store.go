// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"

	"podid/internal/fault"
	"podid/internal/store"
)

// Update runs fn on a view that has all that any replica has acknowledged:
// what fn refuses is refused for good, so it must not look at an older one.
// Verbs on clusters and on what belongs to them write through it. What says
// which verb it is, for the log. A fault of fn is returned as it is; see
// StoreFault for the engine's errors.
func Update(ctx context.Context, s store.Store, what string, fn func(*store.Tx) error) error {
	if _, err := s.Fence(ctx); err != nil {
		return StoreFault(what, err)
	}
	return Commit(ctx, s, what, fn)
}

// Commit is Update for verbs that have fenced already.
func Commit(ctx context.Context, s store.Store, what string, fn func(*store.Tx) error) error {
	if err := s.Update(ctx, fn); err != nil {
		return StoreFault(what, err)
	}
	return nil
}

// StoreFault gives the engine's errors the kind that callers retry on; faults
// stay as they are, and anything else says what it broke.
func StoreFault(what string, err error) error {
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrConflict) {
		return fault.New(fault.Unavailable, "The store cannot take the request at the moment. Try again.").
			WithReason("store-unavailable").Because(fmt.Errorf("%s: %w", what, err))
	}
	if fault.As(err).Kind != fault.Internal {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// ChangedMeanwhile is the fault of a write whose record is no longer the one
// that the caller's right was judged on: its tags may forbid what those allowed.
func ChangedMeanwhile(what string) error {
	return fault.New(fault.Unavailable, "The %s was changed at the same time. Try again.", what).WithReason("changed-meanwhile")
}
