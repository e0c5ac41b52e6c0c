// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"strings"

	"podid/internal/addon"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/refusal"
	"podid/internal/store"
	"podid/internal/sts"
)

// agentServiceAccount is the name of the service account that podid's agents
// run as, in whatever namespace.
const agentServiceAccount = "podid-agent"

// seenExchange notes which clusters' agents exchange, for the state of the
// add-on that stands for them, and for which pods they were refused.
type seenExchange struct {
	*exchange.Service
	seen     *addon.Sightings
	refusals *refusal.Log
	settings routeSettings
}

func (s routeSettings) scope() store.Scope { return store.Scope{Account: s.account, Region: s.region} }

// AssumeRoleForPodIdentity is the exchange, watched. Only a caller whose own
// session was proven by the cluster's keys counts for it; of refusals, only
// those of the caller's right say anything of the agent.
func (x seenExchange) AssumeRoleForPodIdentity(ctx context.Context, caller iam.Caller, in exchange.Request) (*exchange.Result, error) {
	out, err := x.Service.AssumeRoleForPodIdentity(ctx, caller, in)
	if err != nil {
		if r, ok := refusedPod(ctx, err); ok {
			x.refusals.Note(x.settings.scope(), r)
		}
	}
	if caller.Session == nil || caller.Session.Node.ClusterUID == "" {
		return out, err
	}
	uid, role := caller.Session.Node.ClusterUID, caller.Session.RoleARN()
	if err == nil {
		x.seen.Good(x.settings.scope(), uid, role)
		return out, nil
	}
	if f := fault.As(err); f.Kind == fault.AccessDenied && f.Reason == "not-authorized" {
		x.seen.Refused(x.settings.scope(), uid, role, f.Message)
	}
	return out, err
}

// seenSTS notes which clusters' agents get sessions of their own.
type seenSTS struct {
	*sts.Service
	seen     *addon.Sightings
	settings routeSettings
}

// AssumeRoleWithWebIdentity is STS', watched.
func (x seenSTS) AssumeRoleWithWebIdentity(ctx context.Context, in sts.WebIdentityInput) (*sts.WebIdentityResult, error) {
	out, err := x.Service.AssumeRoleWithWebIdentity(ctx, in)
	if err == nil && out.Audience == sts.AudienceControlPlane && strings.HasSuffix(out.Subject, ":"+agentServiceAccount) && out.Session.Node.ClusterUID != "" {
		x.seen.Good(x.settings.scope(), out.Session.Node.ClusterUID, out.Session.RoleARN())
	}
	return out, err
}
