// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/stack"
	"podid/internal/store"
)

const (
	// leaseTime is how long a run is believed to work since it last wrote.
	leaseTime = time.Minute
	// workTime bounds a run's way forward, and then its way back.
	workTime = 10 * time.Minute
	// reloadTime bounds the wait for a store that has failed.
	reloadTime = 10 * time.Second
	// tries of an action that meets a store that is away for a moment.
	tries = 3
	// Bounds of what waits for the next write: the engine takes 128
	// operations and 1.5 MiB in one.
	maxStaged      = 40
	maxStagedBytes = 256 << 10
)

// errStopped is in the errors of runs that cannot go on, and must write
// nothing more: the store is away, or another has taken over.
var errStopped = errors.New("the work on the stack has stopped")

// A run is a verb at work on a stack. It holds the record's lease.
type run struct {
	m       *Manager
	actor   actor
	token   string
	secrets []string // values that reasons must not show

	rec       *Record              // as it was last written
	resources map[string]*Resource // likewise
	staged    map[string]*Resource // to be written with the next write; nil for a record that goes
	events    []Event              // likewise
	gone      []GoneResource       // likewise
}

// outcome is what a transaction has made of the stack's records.
type outcome struct {
	rec     *Record
	changed map[string]*Resource
}

// entry is what a transaction changes of the stack's records beside what is
// staged. Both may run several times.
type entry struct {
	id       string // of the resource
	resource func(tx *store.Tx, n *Resource) error
	record   func(tx *store.Tx, n *Record)
}

// get returns a resource as it will be with the next write; nil for none.
func (r *run) get(id string) *Resource {
	if res, ok := r.staged[id]; ok {
		return res
	}
	return r.resources[id]
}

// stage has a resource written with the next write; nil removes its record.
func (r *run) stage(id string, res *Resource) {
	if r.staged == nil {
		r.staged = map[string]*Resource{}
	}
	r.staged[id] = res
}

// all returns the logical ids of the resources, in order.
func (r *run) all() []string {
	ids := map[string]bool{}
	for id := range r.resources {
		ids[id] = true
	}
	for id := range r.staged {
		ids[id] = true
	}
	out := slices.Sorted(maps.Keys(ids))
	return slices.DeleteFunc(out, func(id string) bool { return r.get(id) == nil })
}

// mark sets a resource's status, with an event, at the next write.
func (r *run) mark(id string, s Status, reason string) {
	res := r.get(id).clone()
	res.Status, res.Reason, res.Updated = s, cut(masked(reason, r.secrets)), r.m.now()
	r.stage(id, res)
	r.events = append(r.events, Event{
		LogicalID: id, PhysicalID: res.physicalID(), Type: res.Type, Status: s, Reason: res.Reason, Token: r.token, Time: res.Updated,
	})
}

// hold returns the stack's record in a transaction; it refuses when the run
// does not hold it any more.
func (r *run) hold(tx *store.Tx) (*Record, error) {
	rec, ok := Stacks.Get(tx, r.m.scope(), r.rec.Name)
	if !ok || rec.ID != r.rec.ID || rec.Run != r.rec.Run {
		return nil, fmt.Errorf("%w: another has taken over", errStopped)
	}
	return rec.clone(), nil
}

// write puts the stack's records into the transaction.
func (r *run) write(tx *store.Tx, e entry) (*outcome, error) {
	n, err := r.hold(tx)
	if err != nil {
		return nil, err
	}
	out := &outcome{rec: n, changed: maps.Clone(r.staged)}
	if out.changed == nil {
		out.changed = map[string]*Resource{}
	}
	if e.resource != nil {
		res := r.get(e.id).clone()
		if err := e.resource(tx, res); err != nil {
			return nil, err
		}
		out.changed[e.id] = res
	}
	for id, res := range out.changed {
		if res == nil {
			Resources.Delete(tx, r.m.scope(), n.UID+"/"+id)
			continue
		}
		Resources.Put(tx, r.m.scope(), n.UID+"/"+id, res)
	}
	r.m.appendEvents(tx, n, r.events)
	n.Gone = append(n.Gone, r.gone...)
	n.Writes, n.Lease = n.Writes+1, r.m.now().Add(leaseTime)
	if e.record != nil {
		e.record(tx, n)
	}
	if n.Status != DeleteComplete {
		Stacks.Put(tx, r.m.scope(), n.Name, n)
	}
	return out, nil
}

// adopt takes over what a transaction has written.
func (r *run) adopt(out *outcome) {
	r.rec = out.rec
	for id, res := range out.changed {
		if res == nil {
			delete(r.resources, id)
			continue
		}
		r.resources[id] = res
	}
	r.staged, r.events, r.gone = nil, nil, nil
}

// put writes what is staged and e. A store that is away stops the run.
func (r *run) put(ctx context.Context, e entry) error {
	for try := 1; ; try++ {
		var out *outcome
		err := r.m.Store.Update(ctx, func(tx *store.Tx) (err error) {
			out, err = r.write(tx, e)
			return err
		})
		if err == nil {
			r.adopt(out)
			return nil
		}
		if errors.Is(err, errStopped) {
			return err
		}
		before := r.rec.Writes
		if lost := r.reload(ctx); lost != nil {
			return lost
		}
		switch {
		case r.rec.Writes != before:
			return nil // it was written all the same
		case fault.As(err).Kind != fault.Internal:
			return err // e's own refusal
		case try == tries:
			return fmt.Errorf("%w: %w", errStopped, err)
		}
	}
}

// flush writes what is staged when it is much.
func (r *run) flush(ctx context.Context) error {
	size := 0
	for _, res := range r.staged {
		size += res.size()
	}
	if len(r.staged) < maxStaged && size < maxStagedBytes && len(r.events) < chunkSize {
		return nil
	}
	return r.put(ctx, entry{})
}

// load reads the resources' records.
func (r *run) load(v store.Reader) {
	r.resources = map[string]*Resource{}
	for _, res := range Resources.List(v, r.m.scope(), r.rec.UID+"/", "") {
		r.resources[res.LogicalID] = res
	}
}

// reload reads the records anew after an error: the write may have happened.
func (r *run) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reloadTime) // the time for the work may be over
	defer cancel()
	v, err := r.m.Store.Fence(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errStopped, err)
	}
	rec, ok := Stacks.Get(v, r.m.scope(), r.rec.Name)
	if !ok || rec.ID != r.rec.ID || rec.Run != r.rec.Run {
		return fmt.Errorf("%w: another has taken over", errStopped)
	}
	if rec.Writes != r.rec.Writes {
		r.staged, r.events, r.gone = nil, nil, nil
	}
	r.rec = rec
	r.load(v)
	return nil
}

// settle takes the thing in the slot to the goal, action by action; a nil goal
// removes it.
func (r *run) settle(ctx context.Context, id string, s slot, goal stack.Properties) error {
	failed := 0
	for {
		p := &planner{m: r.m, view: r.m.Store.View(), stackName: r.rec.Name, logicalID: id}
		t := s.get(r.get(id))
		a, err := p.next(t, goal)
		if err != nil || a == nil {
			return err
		}
		err = r.act(ctx, id, s, a)
		if err == nil {
			failed = 0
			continue
		}
		if errors.Is(err, errStopped) {
			return err
		}
		before := r.rec.Writes
		if lost := r.reload(ctx); lost != nil {
			return lost
		}
		failed++
		switch {
		case r.rec.Writes != before: // the store broke off, and had done it
		case a.gone != nil && (errors.Is(err, errNotOurs) || fault.Is(err, fault.NotFound)):
			if err := r.put(ctx, entry{id: id, resource: func(_ *store.Tx, n *Resource) error { s.set(n, a.gone(t)); return nil }}); err != nil {
				return err
			}
		case fault.Is(err, fault.Unavailable) && failed < tries:
		default:
			return err
		}
	}
}

// act does one action.
func (r *run) act(ctx context.Context, id string, s slot, a *action) error {
	e := entry{id: id, resource: func(tx *store.Tx, n *Resource) error {
		was := s.get(n)
		t, err := a.done(tx, was)
		if err != nil {
			return err
		}
		if t != nil && was == nil {
			t.Made = r.rec.Change
		}
		s.set(n, t)
		return nil
	}}
	if a.do == nil {
		return r.put(ctx, e)
	}
	j := &journal{Store: r.m.Store, r: r, guard: a.guard, entry: e}
	im, as := *r.m.IAM, *r.m.Associations
	im.Store, as.Store = j, j
	if r.actor.via {
		im.Authz, as.Authz = via{im.Authz}, via{as.Authz}
	}
	if err := a.do(ctx, &worker{iam: &im, associations: &as, who: r.actor.who}); err != nil {
		return err
	}
	if j.out == nil { // the verb had nothing to write
		return r.put(ctx, e)
	}
	r.adopt(j.out)
	return nil
}

// take begins a run on a stack that was judged: allowed judges its state, and
// change writes the beginning.
func (m *Manager) take(ctx context.Context, judged *Record, r *run, allowed func(s Status) error, change func(tx *store.Tx, n *Record) error) error {
	id, err := m.newUID()
	if err != nil {
		return err
	}
	var out *Record
	err = cluster.Commit(ctx, m.Store, "change stack", func(tx *store.Tx) error {
		rec, ok := Stacks.Get(tx, m.scope(), judged.Name)
		if !ok || rec.ID != judged.ID {
			return noStack(judged.Name)
		}
		if err := asJudged(judged, rec); err != nil {
			return err
		}
		now := m.now()
		state, reason := rec.shown(now)
		if err := allowed(state); err != nil {
			return err
		}
		n := rec.clone()
		var events []Event
		if rec.lapsed(now) {
			events = append(events, stackEvent(n, now, "", state, reason))
		}
		n.Run, n.Lease, n.Status, n.Reason = id, now.Add(leaseTime), state, reason
		m.appendEvents(tx, n, events)
		if err := change(tx, n); err != nil {
			return err
		}
		Stacks.Put(tx, m.scope(), n.Name, n)
		out = n
		return nil
	})
	if err != nil {
		return err
	}
	r.m, r.rec = m, out
	r.load(m.Store.View())
	return nil
}

// setStatus writes a new state of the stack, with an event and what is staged.
func (r *run) setStatus(ctx context.Context, s Status, reason string, also func(tx *store.Tx, n *Record)) error {
	reason = cut(masked(reason, r.secrets))
	r.events = append(r.events, stackEvent(r.rec, r.m.now(), r.token, s, reason))
	return r.put(ctx, entry{record: func(tx *store.Tx, n *Record) {
		n.Status, n.Reason = s, reason
		if also != nil {
			also(tx, n)
		}
	}})
}

// done gives the stack back.
func done(_ *store.Tx, n *Record) { n.Run, n.Lease = "", time.Time{} }

// stopped turns the end of a run that could not go on into what the caller is told.
func stopped(err error) error {
	if !errors.Is(err, errStopped) {
		return err
	}
	return fault.New(fault.Unavailable, "The work on the stack was interrupted. Describe the stack to see how far it came.").WithReason("stack-interrupted").Because(err)
}
