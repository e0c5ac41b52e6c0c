// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"podid/internal/store"
)

func TestCommitError(t *testing.T) {
	slow, cancel := context.WithTimeoutCause(t.Context(), 0, errSlow)
	defer cancel()
	for name, tc := range map[string]struct {
		ctx  context.Context
		err  error
		want error
	}{
		"too many operations":  {t.Context(), rpctypes.ErrTooManyOps, ErrTooLarge},
		"too many bytes":       {t.Context(), rpctypes.ErrRequestTooLarge, ErrTooLarge},
		"not even sent":        {t.Context(), status.Error(codes.ResourceExhausted, "trying to send message larger than max"), ErrTooLarge},
		"disk quota":           {t.Context(), rpctypes.ErrNoSpace, store.ErrUnavailable},
		"no leader":            {t.Context(), rpctypes.ErrNoLeader, store.ErrUnavailable},
		"overload":             {t.Context(), rpctypes.ErrTooManyRequests, store.ErrUnavailable},
		"no connection":        {t.Context(), status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: refused"`), store.ErrUnavailable},
		"connection broke":     {t.Context(), status.Error(codes.Unavailable, "error reading from server: EOF"), store.ErrUnknown},
		"server timed out":     {t.Context(), rpctypes.ErrTimeout, store.ErrUnknown},
		"leader changed":       {t.Context(), rpctypes.ErrLeaderChanged, store.ErrUnknown},
		"server stopped":       {t.Context(), rpctypes.ErrStopped, store.ErrUnknown},
		"our time is over":     {slow, context.DeadlineExceeded, store.ErrUnknown},
		"not allowed to write": {t.Context(), rpctypes.ErrPermissionDenied, rpctypes.ErrPermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			got := commitError(tc.ctx, tc.err)
			if !errors.Is(got, tc.want) {
				t.Errorf("%v is not %v", got, tc.want)
			}
			if errors.Is(got, store.ErrUnknown) && errors.Is(got, store.ErrUnavailable) {
				t.Errorf("%v is two things", got)
			}
		})
	}
}
