// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"time"

	"podid/internal/jwks"
	"podid/internal/sts"
)

// newProviderKeys fetches the keys of OIDC providers under the rules that hold
// for those of clusters, and takes servers that thumbprints vouch for.
func newProviderKeys(f *jwks.Fetcher, now func() time.Time) *sts.ProviderKeys {
	return &sts.ProviderKeys{Now: now, Fetch: func(ctx context.Context, issuer string, thumbprints []string) ([]byte, error) {
		keys, _, err := f.Pinned(thumbprints).Discover(ctx, issuer)
		return keys, err
	}}
}
