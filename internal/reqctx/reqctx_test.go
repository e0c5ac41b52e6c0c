// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package reqctx_test

import (
	"context"
	"net/netip"
	"regexp"
	"testing"

	"podid/internal/reqctx"
)

func TestFrom(t *testing.T) {
	if got := reqctx.From(context.Background()); got != (reqctx.Info{}) {
		t.Errorf("outside a request: %+v", got)
	}
	in := reqctx.Info{ID: "x", SourceIP: netip.MustParseAddr("10.0.0.1"), UserAgent: "ua", TLS: true}
	ctx := reqctx.With(context.Background(), in)
	in.ID = "changed later"
	if got := reqctx.From(ctx); got.ID != "x" || !got.TLS || got.UserAgent != "ua" {
		t.Errorf("From = %+v", got)
	}
}

func TestNewID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 100 {
		id := reqctx.NewID()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("id %q: not of the form, or twice", id)
		}
		seen[id] = true
	}
}

func BenchmarkNewID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = reqctx.NewID()
	}
}
