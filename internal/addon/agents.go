// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"context"
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

// Sightings knows when agents were last seen: what was written down, and the
// notes of this process. Fields are set once, before use.
type Sightings struct {
	Store store.Store
	Now   func() time.Time

	notes store.Notes[seenCluster, Sighting]
}

type seenCluster struct {
	scope store.Scope
	uid   string
}

// Good notes a call that an agent of the cluster made with the role.
func (s *Sightings) Good(scope store.Scope, clusterUID, role string) {
	now := s.Now().UTC().Truncate(time.Second)
	s.note(scope, clusterUID, Sighting{First: now, Good: now, Role: role})
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
	s.note(scope, clusterUID, last)
}

func (s *Sightings) note(scope store.Scope, clusterUID string, x Sighting) {
	s.notes.Note(seenCluster{scope, clusterUID}, func(was Sighting) Sighting { return later(was, x) })
}

// Last is what r and this process know of a cluster's agents.
func (s *Sightings) Last(r store.Reader, scope store.Scope, clusterUID string) (Sighting, bool) {
	x, _ := s.notes.Peek(seenCluster{scope, clusterUID})
	if stored, ok := Seen.Get(r, scope, clusterUID); ok {
		x = later(*stored, x)
	}
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

// Run writes every store.NotesEvery until ctx ends; failures go to report.
func (s *Sightings) Run(ctx context.Context, report func(error)) error {
	return store.WriteNotes(ctx, s.Write, report)
}

// Write writes what was noted so far.
func (s *Sightings) Write(ctx context.Context) error {
	if err := s.notes.Write(ctx, s.Store, writeSighting); err != nil {
		return cluster.StoreFault("write sightings of agents", err)
	}
	return nil
}

// writeSighting joins a note with what other replicas have written of the same
// cluster. A cluster that was deleted meanwhile leaves nothing.
func writeSighting(tx *store.Tx, k seenCluster, x Sighting) {
	if _, ok := cluster.ByUID(tx, k.scope, k.uid); !ok {
		return
	}
	if old, ok := Seen.Get(tx, k.scope, k.uid); ok {
		x = later(*old, x)
	}
	Seen.Put(tx, k.scope, k.uid, &x)
}
