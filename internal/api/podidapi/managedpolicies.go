// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/fault"
	"podid/internal/iam"
)

// ManagedPolicies takes over AWS' own policies.
type ManagedPolicies interface {
	ImportManagedPolicies(ctx context.Context, caller iam.Caller, dry bool, open func() (io.Reader, error)) (*iam.ImportResult, error)
}

// MaxImport bounds the file of an import in bytes. AWS' own policies take some
// 8 MB as the AWS CLI prints them.
const MaxImport = 32 << 20

const onManaged = "arn:${Partition}:iam::aws:policy/*"

func (a *API) policyRoutes() []restjson.Route {
	r := Route(http.MethodPost, "/podid/v1/managed-policies", "ImportManagedPolicies", onManaged, false, nil)
	r.Operation.MaxBody = MaxImport
	op := r.Operation
	r.Handler = func(ctx context.Context, c *call.Call) (any, error) { return a.importPolicies(ctx, c, op) }
	return []restjson.Route{r}
}

func (a *API) importPolicies(ctx context.Context, c *call.Call, op call.Operation) (any, error) {
	dry := false
	if q := c.HTTP.URL.Query(); q.Has("dryRun") {
		var err error
		if dry, err = strconv.ParseBool(q.Get("dryRun")); err != nil {
			return nil, fault.New(fault.InvalidParameter, "The parameter dryRun must be true or false.").WithReason("invalid-dry-run")
		}
	}
	c.Event.RequestParameters = map[string]any{"dryRun": dry, "bytes": c.HTTP.ContentLength}
	out, err := a.Policies.ImportManagedPolicies(ctx, c.Caller, dry, func() (io.Reader, error) { return c.OpenLarge(op) })
	if err != nil {
		return nil, err
	}
	c.Event.ResponseElements = map[string]any{
		"policies": out.Policies, "added": len(out.Added), "updated": len(out.Updated), "unchanged": out.Unchanged, "total": out.Total,
	}
	return out, nil
}
