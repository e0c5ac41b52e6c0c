// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"podid/internal/cluster"
	"podid/internal/store"
)

// Sighting is what was last seen of a cluster's agents.
type Sighting struct {
	First  time.Time `cbor:"1,keyasint"`
	Good   time.Time `cbor:"2,keyasint"`           // a call of an agent that went well
	Failed time.Time `cbor:"3,keyasint"`           // one that was refused for want of rights
	Role   string    `cbor:"4,keyasint,omitempty"` // ARN of the role of the last good call
	Reason string    `cbor:"5,keyasint,omitempty"` // of the last refusal
}

// Seen is the table of sightings, by the cluster's unique id.
var Seen = store.NewTable[Sighting]("agent-sighting", nil)

// Quiet is how long the agents of a cluster may say nothing: while a pod uses
// a role, its agent exchanges at least every six hours, the life of the pod's
// session. An idle cluster that is quiet longer cannot be told from one whose
// agents are gone.
const Quiet = 7 * time.Hour

// DefaultSightingsEvery bounds how often a cluster costs a write, and how much
// a crash takes with it.
const DefaultSightingsEvery = 5 * time.Minute

// sightingsPerWrite bounds a transaction: etcd takes 128 operations in one.
const sightingsPerWrite = 32

// Sightings collects in memory when agents were seen and writes it down every
// now and then: no exchange waits for the store. What was not written yet is
// lost with the process, and not seen by other replicas. Fields are set once,
// before use.
type Sightings struct {
	Store store.Store
	Now   func() time.Time
	Every time.Duration // between writings; 0 is DefaultSightingsEvery

	mu  sync.Mutex
	not map[seenCluster]Sighting // not written yet
}

type seenCluster struct {
	scope store.Scope
	uid   string
}

// Good notes a call that an agent of the cluster made with the role.
func (s *Sightings) Good(scope store.Scope, clusterUID, role string) {
	now := s.Now().UTC().Truncate(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.not == nil {
		s.not = map[seenCluster]Sighting{}
	}
	k := seenCluster{scope, clusterUID}
	x := s.not[k]
	if x.First.IsZero() {
		x.First = now
	}
	x.Good, x.Role = now, role
	s.not[k] = x
}

// Refused notes that a session of the role was refused for want of rights. It
// counts only if the cluster's agents were seen with that role: others of the
// cluster's sessions prove nothing about its agents.
func (s *Sightings) Refused(scope store.Scope, clusterUID, role, reason string) {
	last, ok := s.Last(s.Store.View(), scope, clusterUID)
	if !ok || last.Role != role {
		return
	}
	last.Failed, last.Reason = s.Now().UTC().Truncate(time.Second), reason
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.not == nil {
		s.not = map[seenCluster]Sighting{}
	}
	k := seenCluster{scope, clusterUID}
	s.not[k] = later(s.not[k], last)
}

// Last is what r and this process know of a cluster's agents.
func (s *Sightings) Last(r store.Reader, scope store.Scope, clusterUID string) (Sighting, bool) {
	var x Sighting
	if stored, ok := Seen.Get(r, scope, clusterUID); ok {
		x = *stored
	}
	s.mu.Lock()
	x = later(x, s.not[seenCluster{scope, clusterUID}])
	s.mu.Unlock()
	return x, !x.First.IsZero()
}

// later joins two sightings of one cluster.
func later(a, b Sighting) Sighting {
	if a.First.IsZero() || !b.First.IsZero() && b.First.Before(a.First) {
		a.First = b.First
	}
	if b.Good.After(a.Good) {
		a.Good, a.Role = b.Good, b.Role
	}
	if b.Failed.After(a.Failed) {
		a.Failed, a.Reason = b.Failed, b.Reason
	}
	return a
}

// health is the state of a cluster's agent as an add-on.
func (s *Sightings) health(r store.Reader, scope store.Scope, clusterUID string, now time.Time) (Status, []Issue) {
	x, ok := s.Last(r, scope, clusterUID)
	switch {
	case !ok:
		return Degraded, []Issue{{Code: "InsufficientNumberOfReplicas", Message: "No agent of the cluster has been seen yet. Install podid's agent in it.", ResourceIDs: []string{}}}
	case !x.Failed.Before(x.Good):
		return Degraded, []Issue{{Code: "AccessDenied", Message: "Calls of the cluster's agents are refused: " + x.Reason, ResourceIDs: []string{x.Role}}}
	case now.Sub(x.Good) > Quiet:
		return Degraded, []Issue{{
			Code: "InsufficientNumberOfReplicas", Message: "No agent of the cluster has been seen since " + x.Good.Format(time.RFC3339) + ".", ResourceIDs: []string{},
		}}
	}
	return Active, []Issue{}
}

// Run writes until ctx ends. Failures go to report: what could not be written
// is tried again the next time.
func (s *Sightings) Run(ctx context.Context, report func(error)) error {
	every := s.Every
	if every == 0 {
		every = DefaultSightingsEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.Write(ctx); err != nil && ctx.Err() == nil {
				report(err)
			}
		}
	}
}

// Write writes what was noted so far.
func (s *Sightings) Write(ctx context.Context) error {
	s.mu.Lock()
	keys := make([]seenCluster, 0, len(s.not))
	for k := range s.not {
		keys = append(keys, k)
	}
	s.mu.Unlock()
	slices.SortFunc(keys, func(a, b seenCluster) int { return strings.Compare(a.scope.Account+a.uid, b.scope.Account+b.uid) })
	var errs []error
	for part := range slices.Chunk(keys, sightingsPerWrite) {
		errs = append(errs, s.write(ctx, part))
	}
	return errors.Join(errs...)
}

func (s *Sightings) write(ctx context.Context, keys []seenCluster) error {
	what := make(map[seenCluster]Sighting, len(keys))
	s.mu.Lock()
	for _, k := range keys {
		what[k] = s.not[k]
	}
	s.mu.Unlock()
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		gone := map[string]bool{}
		for _, k := range keys {
			gone[k.uid] = true
		}
		for _, k := range keys {
			for _, c := range cluster.Clusters.List(tx.View(), k.scope, "", "") {
				delete(gone, c.UID)
			}
		}
		for _, k := range keys {
			old, ok := Seen.Get(tx, k.scope, k.uid)
			if gone[k.uid] { // deleted meanwhile: it leaves nothing
				continue
			}
			x := what[k]
			if ok {
				x = later(*old, x)
			}
			Seen.Put(tx, k.scope, k.uid, &x)
		}
		return nil
	})
	if err != nil {
		return cluster.StoreFault("write sightings of agents", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, x := range what {
		if s.not[k] == x { // else it was seen meanwhile
			delete(s.not, k)
		}
	}
	return nil
}
