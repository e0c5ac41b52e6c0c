// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"runtime/debug"
)

// settle gives back what only the start needed. An agent idles on every node of a fleet: what it holds there is paid for
// a thousand times, and start-up is most of what it ever touches.
func settle(log *slog.Logger) {
	debug.FreeOSMemory()
	if err := releaseText(); err != nil {
		log.Debug("give back start-up pages", slog.String("err", err.Error()))
	}
}
