// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"errors"
	"fmt"
	"time"

	"podid/internal/agent/eksauthclient"
)

var (
	// ErrBusy is the answer to a miss beyond MaxFetches.
	ErrBusy = errors.New("the agent waits for too many answers of EKS Auth already")
	// ErrStopped is the answer to a miss after [Cache.Run] has ended.
	ErrStopped = errors.New("the agent is stopping")
	// ErrSlow is the answer to a request that waited for WaitTimeout; the credentials may be there a moment later.
	ErrSlow = errors.New("EKS Auth did not answer in time, the agent still waits for it")
	// ErrTooShort is an upstream answer that ends too soon to be served.
	ErrTooShort = fmt.Errorf("fetched credentials are expired or will expire within the next %d seconds", int(MinRemaining/time.Second))
)

// denies tells whether err takes a pod's credentials away. A refusal of the token alone does so only where nobody on
// this side has verified it: an EKS Auth that lags behind a rotation of the cluster's keys must not cost running pods
// their credentials.
func denies(err error, proven bool) bool {
	var api *eksauthclient.APIError
	if !errors.As(err, &api) || !api.Final() {
		return false
	}
	return !proven || !api.OfToken()
}
