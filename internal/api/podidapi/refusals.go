// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi

import (
	"context"
	"net/http"
	"time"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/feed"
	"podid/internal/iam"
)

// RefusalsFeed is the verb of those who follow what a cluster's pods were refused.
type RefusalsFeed interface {
	FollowRefusals(ctx context.Context, caller iam.Caller, in feed.Input, now func() time.Time) (*feed.RefusalsAnswer, error)
}

// RefusalsRoute makes the route of refusals:
//
//	GET /podid/v1/clusters/{name}/refusals?clusterUid=…&after=…&wait=…
func RefusalsRoute(f RefusalsFeed, now func() time.Time) restjson.Route {
	return Route(http.MethodGet, "/podid/v1/clusters/{name}/refusals", "FollowRefusals", onCluster, true, func(ctx context.Context, c *call.Call) (any, error) {
		in, err := followInput(c.HTTP)
		if err != nil {
			return nil, err
		}
		c.Event.RequestParameters = map[string]any{"name": in.Cluster, "clusterUid": in.ClusterUID, "after": in.After, "wait": int(in.Wait / time.Second)}
		a, err := f.FollowRefusals(ctx, c.Caller, in, now)
		if err != nil {
			return nil, err
		}
		c.Extra().ClusterUID = a.ClusterUID
		return newRefusals(a), nil
	})
}

type refusalsOutput struct {
	ClusterUID string        `json:"clusterUid"`
	Revision   int64         `json:"revision"`
	Complete   bool          `json:"complete"`
	Refusals   []refusalJSON `json:"refusals"`
}

// refusalJSON holds names and codes, and no value of a request or a policy.
type refusalJSON struct {
	Namespace      string        `json:"namespace"`
	Pod            string        `json:"pod"`
	PodUID         string        `json:"podUid"`
	ServiceAccount string        `json:"serviceAccount"`
	Reason         string        `json:"reason"`
	AssociationID  string        `json:"associationId,omitempty"`
	ConditionKey   string        `json:"conditionKey,omitempty"`
	Sid            string        `json:"sid,omitempty"`
	RequestID      string        `json:"requestId"`
	FirstSeen      restjson.Time `json:"firstSeen"`
	LastSeen       restjson.Time `json:"lastSeen"`
	Count          int64         `json:"count"`
}

func newRefusals(a *feed.RefusalsAnswer) refusalsOutput {
	out := refusalsOutput{ClusterUID: a.ClusterUID, Revision: a.Revision, Complete: a.Complete, Refusals: make([]refusalJSON, len(a.Refusals))}
	for i, r := range a.Refusals {
		out.Refusals[i] = refusalJSON{
			Namespace: r.Namespace, Pod: r.Pod, PodUID: r.PodUID, ServiceAccount: r.ServiceAccount, Reason: r.Reason, AssociationID: r.AssociationID,
			ConditionKey: r.ConditionKey, Sid: r.Sid, RequestID: r.RequestID, FirstSeen: restjson.Time(r.First), LastSeen: restjson.Time(r.Last), Count: r.Count,
		}
	}
	return out
}
