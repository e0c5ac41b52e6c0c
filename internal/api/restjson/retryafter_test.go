// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package restjson_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/fault"
)

// A fault that knows how long another try has no hope says so, in whole
// seconds and never too early.
func TestRetryAfter(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "", time.Millisecond: "1", 2 * time.Second: "2", 2*time.Second + 1: "3"} {
		w := httptest.NewRecorder()
		restjson.NewCodec(nil).Error(w, "id", call.Operation{}, fault.New(fault.Unavailable, "away").After(wait))
		if got := w.Header().Get("Retry-After"); got != want || w.Code != 503 {
			t.Errorf("%s: %q, status %d; want %q", wait, got, w.Code, want)
		}
	}
}
