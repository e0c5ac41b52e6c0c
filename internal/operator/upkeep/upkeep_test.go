// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package upkeep_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"podid/internal/operator/upkeep"
)

// TestRun: a success lasts, a failure is tried again after ever longer waits,
// and what was seen ends any wait.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began, seen := time.Now(), make(chan struct{})
		var at []time.Duration
		fail := true
		done := make(chan struct{})
		go func() {
			defer close(done)
			upkeep.Task{What: "test", Every: func() time.Duration { return time.Hour }, Seen: seen, Log: slog.New(slog.DiscardHandler), Check: func(context.Context) error {
				at = append(at, time.Since(began))
				if fail {
					return errors.New("away")
				}
				return nil
			}}.Run(ctx)
		}()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		want := []time.Duration{0, 1, 3, 7, 15, 31, 63, 127} // half seconds
		for i := range want {
			want[i] *= time.Second / 2
		}
		if !slices.Equal(at, want) {
			t.Errorf("tried at %v, want %v", at, want)
		}
		fail, at = false, nil
		seen <- struct{}{} // at 100 s
		time.Sleep(2*time.Hour + time.Minute)
		synctest.Wait()
		if want := []time.Duration{100 * time.Second, 100*time.Second + time.Hour, 100*time.Second + 2*time.Hour}; !slices.Equal(at, want) {
			t.Errorf("looked at %v, want %v", at, want)
		}
		cancel()
		<-done
	})
}
