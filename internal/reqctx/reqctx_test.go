// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package reqctx_test

import (
	"context"
	"net/netip"
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
