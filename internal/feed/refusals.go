// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"time"

	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/refusal"
	"podid/internal/store"
)

// ActionRefusals is what a caller needs on the cluster to follow its refusals.
const ActionRefusals = "podid:FollowRefusals"

// RefusalsAnswer brings a follower of refusals to Revision.
type RefusalsAnswer struct {
	ClusterUID string
	Revision   int64
	// Complete: Refusals are all that are remembered. Else they are those that
	// are new or were seen again since.
	Complete bool
	Refusals []refusal.Refusal
}

// FollowRefusals is Follow for what EKS Auth has refused to the cluster's pods.
// Now ends what is too old. What was refused a moment ago comes a second or
// two later: no exchange waits for the store.
func (s *Service) FollowRefusals(ctx context.Context, caller iam.Caller, in Input, now func() time.Time) (*RefusalsAnswer, error) {
	f, err := s.await(ctx, caller, ActionRefusals, in, func(v *store.View, c *cluster.Cluster) ([]string, bool) {
		return refusal.Refusals.Changes(v, s.Rights.Scope(), c.UID+"/", in.After)
	})
	if err != nil {
		return nil, err
	}
	out := &RefusalsAnswer{ClusterUID: f.cluster.UID, Revision: f.view.Revision(), Complete: f.complete}
	take := func(r *refusal.Refusal) {
		if !r.Gone(now()) {
			out.Refusals = append(out.Refusals, *r)
		}
	}
	if f.complete {
		for _, r := range refusal.Refusals.List(f.view, s.Rights.Scope(), f.cluster.UID+"/", "") {
			take(r)
		}
		return out, nil
	}
	for _, id := range f.ids {
		if r, ok := refusal.Refusals.Get(f.view, s.Rights.Scope(), id); ok {
			take(r)
		}
	}
	return out, nil
}
