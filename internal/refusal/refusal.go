// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package refusal remembers for which pods of a cluster EKS Auth has refused
// credentials, so that the cluster's operator can tell their owners. It owns
// what is told: which pod, the reason's code, which statement and condition key
// of a policy it hung on, and never a value of a request or of a policy. It is
// no log, which audit is: the same refusal of a pod is one record, written
// again at most every few minutes; records are few and end after an hour; what
// is too much is left out. So refusals are no way to make the store work. No
// request waits for it. It refuses refusals of pods that are not known: only a
// token that was verified as the cluster's names one.
package refusal

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"podid/internal/cluster"
	"podid/internal/store"
)

// Bounds of what is remembered.
const (
	Life       = time.Hour       // since it was seen last
	Again      = 5 * time.Minute // between two writings of one record
	MaxRecords = 1000            // of a cluster
	maxNotes   = 4096            // in memory, of all clusters
	batch      = 24              // records in a transaction, and as many that have ended
	Every      = time.Second     // between two transactions
	maxText    = 256             // bytes of a name or Sid
)

// Refusal is that of a pod for a reason.
type Refusal struct {
	ClusterUID     string    `cbor:"1,keyasint"`
	Namespace      string    `cbor:"2,keyasint"`
	Pod            string    `cbor:"3,keyasint"`
	PodUID         string    `cbor:"4,keyasint"`
	ServiceAccount string    `cbor:"5,keyasint"`
	Reason         string    `cbor:"6,keyasint"` // the code that audit has
	AssociationID  string    `cbor:"7,keyasint,omitempty"`
	ConditionKey   string    `cbor:"8,keyasint,omitempty"` // that did not match, in the statement that came nearest
	Sid            string    `cbor:"9,keyasint,omitempty"` // of that statement, or of the one that denied
	RequestID      string    `cbor:"10,keyasint"`          // of the last
	First          time.Time `cbor:"11,keyasint"`
	Last           time.Time `cbor:"12,keyasint"`
	Count          int64     `cbor:"13,keyasint"` // as far as it was counted
}

// Refusals is the table; ids begin with the cluster's unique id and a slash.
var Refusals = store.NewTable[Refusal]("refusal", nil)

// id is short and has no slash but the first: pod and reason are not ours.
func (r *Refusal) id() string {
	return r.ClusterUID + "/" + base64.RawURLEncoding.EncodeToString([]byte(r.PodUID)) + "." + r.Reason
}

// Gone reports whether the refusal is too old to be told.
func (r *Refusal) Gone(now time.Time) bool { return !now.Before(r.Last.Add(Life)) }

// Log takes refusals of all accounts and writes them down. Fields are set once.
type Log struct {
	Store store.Store
	Now   func() time.Time
	// Dropped is told of refusals that found no room; may be nil.
	Dropped func()

	mu    sync.Mutex
	notes map[note]*pending
}

type note struct {
	scope store.Scope
	id    string
}

// pending is what was seen of a record since it was written.
type pending struct {
	seen    Refusal // Count is what is to be added
	written time.Time
}

// Note remembers a refusal. It costs a lock.
func (l *Log) Note(s store.Scope, r Refusal) {
	if r.ClusterUID == "" || r.PodUID == "" || r.Reason == "" || len(r.PodUID) > maxText || len(r.Reason) > maxText {
		return
	}
	for _, text := range []*string{&r.Namespace, &r.Pod, &r.ServiceAccount, &r.AssociationID, &r.ConditionKey, &r.Sid, &r.RequestID} {
		*text = (*text)[:min(len(*text), maxText)]
	}
	now := l.Now().UTC().Truncate(time.Millisecond)
	r.First, r.Last, r.Count = now, now, 1
	l.mu.Lock()
	defer l.mu.Unlock()
	k := note{s, r.id()}
	if p, ok := l.notes[k]; ok {
		if p.seen.Count > 0 {
			r.First, r.Count = p.seen.First, p.seen.Count+1
		}
		p.seen = r
		return
	}
	if len(l.notes) >= maxNotes {
		l.drop()
		return
	}
	if l.notes == nil {
		l.notes = map[note]*pending{}
	}
	l.notes[k] = &pending{seen: r}
}

func (l *Log) drop() {
	if l.Dropped != nil {
		l.Dropped()
	}
}

// Run writes until ctx ends. Failures go to report.
func (l *Log) Run(ctx context.Context, report func(error)) error {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := l.Write(ctx); err != nil && ctx.Err() == nil {
				report(err)
			}
		}
	}
}

// Write writes some of what is due, in one transaction.
func (l *Log) Write(ctx context.Context) error {
	due := l.due()
	if len(due) == 0 {
		return nil
	}
	now := l.Now()
	dropped := 0
	err := l.Store.Update(ctx, func(tx *store.Tx) error {
		dropped = 0
		room, old := map[string]int{}, batch
		for k, r := range due {
			if _, ok := cluster.ByUID(tx, k.scope, r.ClusterUID); !ok {
				continue // deleted meanwhile
			}
			if _, ok := room[r.ClusterUID]; !ok {
				room[r.ClusterUID] = prune(tx, k.scope, r.ClusterUID, now, &old)
			}
			have, ok := Refusals.Get(tx, k.scope, k.id)
			switch {
			case ok && !have.Gone(now):
				r.First, r.Count = have.First, have.Count+r.Count
			case room[r.ClusterUID] <= 0:
				dropped++
				continue
			default:
				room[r.ClusterUID]--
			}
			Refusals.Put(tx, k.scope, k.id, &r)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write refusals: %w", err)
	}
	for range dropped {
		l.drop()
	}
	l.written(due, now)
	return nil
}

// due picks what was seen and has not been written for a while, and forgets
// what has not been seen for as long.
func (l *Log) due() map[note]Refusal {
	now := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[note]Refusal{}
	for k, p := range l.notes {
		rests := now.Before(p.written.Add(Again))
		switch {
		case p.seen.Count == 0 && !rests:
			delete(l.notes, k)
		case p.seen.Count > 0 && !rests && len(out) < batch:
			out[k] = p.seen
		}
	}
	return out
}

func (l *Log) written(what map[note]Refusal, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, r := range what {
		if p, ok := l.notes[k]; ok {
			p.written = now
			p.seen.Count -= r.Count
			if p.seen.Count > 0 {
				p.seen.First = p.seen.Last
			}
		}
	}
}

// prune deletes at most limit of a cluster's records that have ended, and
// returns how many more there may be.
func prune(tx *store.Tx, s store.Scope, uid string, now time.Time, limit *int) int {
	left := MaxRecords
	for id, r := range Refusals.List(tx, s, uid+"/", "") {
		if *limit > 0 && r.Gone(now) {
			Refusals.Delete(tx, s, id)
			*limit--
			continue
		}
		left--
	}
	return left
}

// DeleteOf implements cluster.Dependents.
func (*Log) DeleteOf(tx *store.Tx, c *cluster.Cluster, limit int) int {
	n := 0
	for id := range Refusals.List(tx, c.Scope(), c.UID+"/", "") {
		if n == limit {
			break
		}
		Refusals.Delete(tx, c.Scope(), id)
		n++
	}
	return n
}
