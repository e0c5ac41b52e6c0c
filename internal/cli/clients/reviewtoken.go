// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"net/http"
)

// CreateReviewToken calls podid:CreateReviewToken: it makes the bearer token
// by which a cluster's API server asks for reviews of tokens.
func (p *Podid) CreateReviewToken(ctx context.Context, cluster string) (SecretString, error) {
	var out struct{ Token SecretString }
	err := p.call(ctx, http.MethodPost, clusterPath(cluster)+"/review-token", nil, &out)
	return out.Token, err
}
