// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package feed tells a cluster's operator which of its pods were refused
// credentials, which of its service accounts have
// pod identity associations, and what changed since it asked last. It owns
// what is told (names, association ids and revisions; no role, no policy), to
// those who ask for changes only also that an association's role changed, and
// the waiting for changes. It refuses callers without the right to follow the
// cluster, on every call: a right withdrawn ends the feed with the next one.
package feed

import (
	"context"
	"strings"
	"time"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// Action is what a caller needs on the cluster.
const Action = "podid:FollowAssociations"

// MaxWait is the longest that a call waits for changes.
const MaxWait = 20 * time.Second

// margin is left of a request's time to answer it.
const margin = 2 * time.Second

// Service holds the verb. Fields are set once.
type Service struct {
	Rights cluster.Rights
	// Closing ends all waiting when it is closed: followers ask again, and
	// another replica. Optional.
	Closing <-chan struct{}

	roles rolesMemo
}

// Input is where a follower stands.
type Input struct {
	Cluster string // name
	// ClusterUID and After are those of the last answer; empty and 0 for the
	// first call.
	ClusterUID string
	After      int64
	// Wait is how long to wait where nothing has changed; 0 answers at once.
	Wait time.Duration
	// OnlyChanges is for those who keep no list: no answer holds all
	// associations, and those whose role changed are told too.
	OnlyChanges bool
}

// Association is a service account that has one.
type Association struct {
	Namespace, ServiceAccount, ID string
	Revision                      int64 // of its last change
}

// Answer brings a follower to Revision. Everything that was acknowledged
// before the call is in it.
type Answer struct {
	ClusterUID string
	Revision   int64
	// Complete: Associations are all there are (or none, for those who want
	// changes only), and what the follower knew is void. Else they are those
	// made or changed since.
	Complete     bool
	Associations []Association
	Deleted      []Association // names only
}

// Follow answers with all associations of the cluster where the follower is
// new, too far behind or knows another cluster of the name; else with what
// changed, if need be after waiting for it.
func (s *Service) Follow(ctx context.Context, caller iam.Caller, in Input) (*Answer, error) {
	f, err := s.await(ctx, caller, Action, in, func(v *store.View, c *cluster.Cluster) ([]string, bool) { return s.changes(v, c, in) })
	switch {
	case err != nil:
		return nil, err
	case f.complete:
		return s.all(f.view, f.cluster, in), nil
	}
	return s.changed(f.view, f.cluster, f.ids), nil
}

// found is what a follower's call came to: all is to be told, or the ids.
type found struct {
	view     *store.View
	cluster  *cluster.Cluster
	complete bool
	ids      []string
}

// await judges the caller and waits for changes, which changes finds in a view;
// it reports false when the view does not remember that far.
func (s *Service) await(ctx context.Context, caller iam.Caller, action string, in Input, changes func(*store.View, *cluster.Cluster) ([]string, bool)) (*found, error) {
	if in.After < 0 || in.Wait < 0 || in.Wait > MaxWait {
		return nil, fault.New(fault.InvalidParameter, "after must not be negative, and wait must be from 0 to %d seconds.", int(MaxWait/time.Second)).WithReason("feed-bounds")
	}
	v, c, err := s.Rights.On(ctx, caller, action, in.Cluster)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, cluster.Unknown(in.Cluster)
	}
	if in.ClusterUID != c.UID {
		return &found{view: v, cluster: c, complete: true}, nil
	}
	wait, stop := s.waiting(ctx, in.Wait)
	defer stop()
	for {
		ids, known := changes(v, c)
		if !known || len(ids) > 0 || in.Wait == 0 {
			return &found{v, c, !known, ids}, nil
		}
		next, err := s.Rights.Store.Next(wait, v.Revision())
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case wait.Err() != nil: // nothing came
			return &found{view: v, cluster: c}, nil
		case err != nil:
			return nil, cluster.StoreFault("follow a cluster", err)
		}
		if now, ok := cluster.ByUID(next, s.Rights.Scope(), c.UID); !ok || now.Name != in.Cluster {
			return nil, cluster.Unknown(in.Cluster)
		}
		v = next
	}
}

// waiting is the part of ctx that may be waited in: it ends in time for an
// answer, and with the service.
func (s *Service) waiting(ctx context.Context, most time.Duration) (context.Context, func()) {
	if end, ok := ctx.Deadline(); ok {
		most = min(most, max(0, time.Until(end)-margin))
	}
	wait, cancel := context.WithTimeout(ctx, most)
	if s.Closing == nil || most == 0 {
		return wait, cancel
	}
	go func() {
		select {
		case <-s.Closing:
			cancel()
		case <-wait.Done():
		}
	}()
	return wait, cancel
}

func (s *Service) all(v *store.View, c *cluster.Cluster, in Input) *Answer {
	out := &Answer{ClusterUID: c.UID, Revision: v.Revision(), Complete: true}
	if in.OnlyChanges {
		return out
	}
	for id, a := range association.Associations.List(v, s.Rights.Scope(), c.UID+"/", "") {
		out.Associations = append(out.Associations, s.of(v, id, a))
	}
	return out
}

func (s *Service) changed(v *store.View, c *cluster.Cluster, ids []string) *Answer {
	out := &Answer{ClusterUID: c.UID, Revision: v.Revision()}
	for _, id := range ids {
		if a, ok := association.Associations.Get(v, s.Rights.Scope(), id); ok {
			out.Associations = append(out.Associations, s.of(v, id, a))
			continue
		}
		// The id is the cluster's, the namespace and the service account, which hold no slash.
		if p := strings.Split(id, "/"); len(p) == 3 {
			out.Deleted = append(out.Deleted, Association{Namespace: p[1], ServiceAccount: p[2]})
		}
	}
	return out
}

func (s *Service) of(v *store.View, id string, a *association.Association) Association {
	return Association{a.Namespace, a.ServiceAccount, a.ID, association.Associations.Revision(v, s.Rights.Scope(), id)}
}
