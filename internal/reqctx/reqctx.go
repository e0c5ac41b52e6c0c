// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package reqctx owns what travels with a request through every room: its id,
// where it came from and whether it came over TLS. Logs, audit and condition
// keys read it. Callers' rights and dependencies do not travel here; they are
// arguments.
package reqctx

import (
	"context"
	"net/netip"
)

// Info is what the listener knows of a request.
type Info struct {
	ID        string     // a UUID; x-amzn-RequestId of the answer
	SourceIP  netip.Addr // the peer's address (the zero Addr when in process)
	UserAgent string
	TLS       bool
}

type key struct{}

// With returns ctx carrying in.
func With(ctx context.Context, in Info) context.Context { return context.WithValue(ctx, key{}, &in) }

// From returns the request's info; the zero Info outside a request.
func From(ctx context.Context) Info {
	if p, ok := ctx.Value(key{}).(*Info); ok {
		return *p
	}
	return Info{}
}
