// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package pace_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"podid/internal/agent/pace"
)

func TestChance(t *testing.T) {
	for _, tc := range []struct {
		name   string
		source *bytes.Reader
		want   float64
	}{
		{"the least", bytes.NewReader([]byte{0, 0}), 0},
		{"the middle", bytes.NewReader([]byte{0x80, 0}), 0.5},
		{"the most", bytes.NewReader([]byte{0xff, 0xff}), 65535.0 / 65536},
		{"a source that ends", bytes.NewReader([]byte{0xff}), 0},
	} {
		if got := pace.Chance(tc.source); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	if got := pace.Chance(nil); got != 0 {
		t.Errorf("no source: %v", got)
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !pace.Sleep(t.Context(), time.Hour) || time.Since(began) != time.Hour {
			t.Errorf("slept %s", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		if pace.Sleep(ctx, time.Hour) || time.Since(began) != time.Minute {
			t.Errorf("slept %s past the end", time.Since(began))
		}
	})
}
