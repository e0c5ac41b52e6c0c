// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lastknown

import (
	"context"
	"log/slog"
	"time"

	"podid/internal/operator/feed"
)

// Every is the least time between two writes.
const Every = 30 * time.Second

// Keeper writes what the feed knows, some time after it changed. All fields
// are required.
type Keeper struct {
	Feed    *feed.Feed
	Secrets *Secrets
	Log     *slog.Logger
}

// NeedLeaderElection says that one replica writes.
func (k *Keeper) NeedLeaderElection() bool { return true }

// Start writes until ctx ends, which is no error.
func (k *Keeper) Start(ctx context.Context) error {
	select {
	case <-k.Feed.Synced():
	case <-ctx.Done():
		return nil
	}
	for failing := false; ctx.Err() == nil; {
		changed := k.Feed.Changed()
		err := k.Secrets.Save(ctx, k.Feed.Snapshot())
		if err != nil && !failing && ctx.Err() == nil { // and not twice a minute
			k.Log.LogAttrs(ctx, slog.LevelError, "keep the associations for a restart", slog.String("error", err.Error()))
		}
		failing = err != nil
		again := time.NewTimer(Every)
		select {
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
		if failing {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil
}
