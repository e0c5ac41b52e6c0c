// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package reqctx owns what travels with a request through every room: its id,
// where it came from and whether it came over TLS. Logs, audit and condition
// keys read it. Callers' rights and dependencies do not travel here; they are
// arguments.
package reqctx

import (
	"context"
	"crypto/rand"
	"encoding/hex"
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

// NewID returns a random UUID (version 4), the form of AWS' request ids.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var d [36]byte
	hex.Encode(d[:8], b[:4])
	hex.Encode(d[9:13], b[4:6])
	hex.Encode(d[14:18], b[6:8])
	hex.Encode(d[19:23], b[8:10])
	hex.Encode(d[24:], b[10:])
	d[8], d[13], d[18], d[23] = '-', '-', '-', '-'
	return string(d[:])
}
