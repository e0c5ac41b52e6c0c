// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pace is how the agent's followers wait between their tries: as long
// as they say, a little apart from those of other nodes, and no longer than
// they are wanted. It owns no schedule; it refuses to sleep past the end of a
// context.
package pace

import (
	"context"
	"io"
	"time"
)

// Chance draws from [0, 1). It is 0 without a source, and where the source fails.
func Chance(source io.Reader) float64 {
	var b [2]byte
	if source == nil {
		return 0
	}
	if _, err := io.ReadFull(source, b[:]); err != nil {
		return 0
	}
	return float64(uint16(b[0])<<8|uint16(b[1])) / (1 << 16)
}

// Sleep waits for d, and reports false when ctx ended before.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
