// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/fault"
	"podid/internal/feed"
	"podid/internal/iam"
)

// Feed is the verb of those who follow a cluster's associations.
type Feed interface {
	Follow(ctx context.Context, caller iam.Caller, in feed.Input) (*feed.Answer, error)
}

// FeedRoute makes the route of the feed:
//
//	GET /podid/v1/clusters/{name}/associations?clusterUid=…&after=…&wait=…&only=…
func FeedRoute(f Feed) restjson.Route {
	return Route(http.MethodGet, "/podid/v1/clusters/{name}/associations", "FollowAssociations", onCluster, true, follow(f))
}

// followOutput is an answer of the feed. A list that is null is empty.
type followOutput struct {
	ClusterUID   string             `json:"clusterUid"`
	Revision     int64              `json:"revision"`
	Complete     bool               `json:"complete"`
	Associations []followedJSON     `json:"associations"`
	Deleted      []unassociatedJSON `json:"deleted,omitempty"`
}

type followedJSON struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	AssociationID  string `json:"associationId"`
	Revision       int64  `json:"revision"`
}

type unassociatedJSON struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
}

func follow(f Feed) call.Handler {
	return func(ctx context.Context, c *call.Call) (any, error) {
		in, err := followInput(c.HTTP)
		if err != nil {
			return nil, err
		}
		c.Event.RequestParameters = map[string]any{"name": in.Cluster, "clusterUid": in.ClusterUID, "after": in.After, "wait": int(in.Wait / time.Second)}
		a, err := f.Follow(ctx, c.Caller, in)
		if err != nil {
			return nil, err
		}
		c.Extra().ClusterUID = a.ClusterUID
		out := followOutput{ClusterUID: a.ClusterUID, Revision: a.Revision, Complete: a.Complete, Associations: make([]followedJSON, len(a.Associations))}
		for i, x := range a.Associations {
			out.Associations[i] = followedJSON{x.Namespace, x.ServiceAccount, x.ID, x.Revision}
		}
		for _, x := range a.Deleted {
			out.Deleted = append(out.Deleted, unassociatedJSON{x.Namespace, x.ServiceAccount})
		}
		return out, nil
	}
}

func followInput(r *http.Request) (feed.Input, error) {
	q := r.URL.Query()
	in := feed.Input{Cluster: r.PathValue("name"), ClusterUID: q.Get("clusterUid")}
	switch only := q.Get("only"); only {
	case "":
	case "changes":
		in.OnlyChanges = true
	default:
		return in, fault.New(fault.InvalidParameter, "only is neither changes nor left out.").WithReason("feed-bounds")
	}
	var wait int64
	for name, to := range map[string]*int64{"after": &in.After, "wait": &wait} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return in, fault.New(fault.InvalidParameter, "%s is not a whole number.", name).WithReason("feed-bounds")
		}
		*to = n
	}
	// Seconds beyond all bounds stay so: the verb refuses them.
	in.Wait = time.Duration(max(min(wait, 1<<20), -1)) * time.Second
	return in, nil
}
