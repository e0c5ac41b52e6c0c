// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"podid/internal/store"
)

// errSlow is the cause of a context that ended by our time-out, not by the
// caller.
var errSlow = errors.New("no answer in time")

// callContext bounds one call or wait by the store's time-out.
func (db *DB) callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, db.opts.Timeout, errSlow)
}

// away turns the end of a context into an error: the caller's own end stays
// what it is, our time-out is an unavailable store.
func away(ctx context.Context, doing string) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errSlow) {
		return fmt.Errorf("%s: %w", doing, cause)
	}
	return fmt.Errorf("%s: %w: %w", doing, store.ErrUnavailable, errSlow)
}

// readError classifies the error of a call that changes nothing, or whose
// change does not matter.
func readError(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return away(ctx, doing)
	}
	if broken(ctx, err) {
		return fmt.Errorf("%s: %w: %w", doing, store.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// broken says whether the call ended without an answer that means anything.
func broken(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	switch code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.Internal, codes.Unknown:
		return true
	}
	return false
}

// code is the gRPC code of an error of the client, which has types of its own
// for etcd's errors.
func code(err error) codes.Code {
	var own interface{ Code() codes.Code }
	if errors.As(err, &own) {
		return own.Code()
	}
	return status.Code(err)
}

// neverSent says whether there was no connection to send the request on. gRPC
// tells only by text.
func neverSent(err error) bool {
	if code(err) != codes.Unavailable {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "error while dialing") || strings.Contains(text, "Error while dialing") ||
		strings.Contains(text, "there is no connection available") || strings.Contains(text, "there is no address available")
}

// tooLarge says whether the client refused to send the message for its size.
func tooLarge(err error) bool {
	return code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "larger than max")
}
