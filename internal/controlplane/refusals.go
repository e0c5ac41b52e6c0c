// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"

	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/issuer/awssts"
	"podid/internal/policy"
	"podid/internal/refusal"
	"podid/internal/reqctx"
	"podid/internal/sts"
)

// refusedPod takes what is told of a refused exchange: names and codes, and no
// value. Without a token that was verified there is no pod, and nothing to tell.
func refusedPod(ctx context.Context, err error) (refusal.Refusal, bool) {
	f := fault.As(err)
	detail, ok := f.Detail.(exchange.Refusal)
	if !ok || detail.Extra.ClusterUID == "" || detail.Extra.PodUID == "" || f.Kind == fault.Internal || f.Kind == fault.Unavailable || f.Kind == fault.Throttled {
		return refusal.Refusal{}, false
	}
	x := detail.Extra
	out := refusal.Refusal{
		ClusterUID: x.ClusterUID, Namespace: x.Namespace, Pod: x.Pod, PodUID: x.PodUID, ServiceAccount: x.ServiceAccount,
		Reason: f.Reason, AssociationID: x.AssociationID, RequestID: reqctx.From(ctx).ID,
	}
	switch cause := detail.Cause.(type) {
	case sts.Refusal:
		out.Sid, out.ConditionKey = statement(cause.Actions)
	case awssts.TrustRefusal:
		out.Sid, out.ConditionKey = statement(cause.Actions)
	}
	return out, true
}

// statement is what the first refused action hung on: the statement that
// denied, or the one that came nearest to allowing and its condition.
func statement(actions []policy.ActionExplanation) (sid, conditionKey string) {
	for _, a := range actions {
		x := a.Explanation
		switch {
		case x.Decision.Allowed:
			continue
		case x.Decision.Explicit:
			return x.Decision.Source.Sid, ""
		case len(x.NearMisses) == 0:
			return "", ""
		}
		near := x.NearMisses[0]
		if near.Condition != nil {
			conditionKey = near.Condition.Key
		}
		return near.Sid, conditionKey
	}
	return "", ""
}
