// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package revocation

import (
	"strings"
	"sync/atomic"
	"time"

	"podid/internal/fault"
	"podid/internal/session"
	"podid/internal/store"
)

// Viewer gives the newest view that this process has seen. It never waits.
type Viewer interface {
	View() *store.View
}

// Checker tells which sessions are revoked, from memory. It is safe for
// concurrent use; Store is set once, before use.
type Checker struct {
	Store Viewer

	now atomic.Pointer[standing]
}

// standing are the epochs of one view, ready to be asked. The view is compared
// by identity: it is immutable, and the reference keeps its address from being
// used again.
type standing struct {
	view   *store.View
	epochs map[about]*Epoch
	kinds  map[Kind]bool // that there are any of
}

// about is what sessions are looked up by. cluster is "" but for pods.
type about struct {
	account     string
	kind        Kind
	cluster, id string
}

func aboutOf(e *Epoch) about {
	a := about{account: e.Account, kind: e.Kind, id: e.ID}
	if e.Kind == Pod || e.Kind == PodName {
		a.cluster, a.id, _ = strings.Cut(e.ID, "/")
	}
	return a
}

// Check returns nil for a session that counts. The fault of one that does not
// is that of a session that is over: clients react to it by getting new
// credentials. Without any epoch it costs a comparison.
func (c *Checker) Check(s *session.Session) error {
	st := c.standing()
	if len(st.epochs) == 0 {
		return nil
	}
	e := st.find(s)
	if e == nil {
		return nil
	}
	return fault.New(fault.ExpiredCredentials, "The security token included in the request is expired").WithReason("session-revoked").
		WithDetail(map[string]string{"revoked": string(e.Kind), "subject": e.Subject, "notBefore": e.until().Format(time.RFC3339Nano)})
}

// standing reads the epochs once for each view. Most views differ in something
// else: then what was read before serves on.
func (c *Checker) standing() *standing {
	v, old := c.Store.View(), c.now.Load()
	if old != nil && old.view == v {
		return old
	}
	next := &standing{view: v}
	if old.same(v) {
		next.epochs, next.kinds = old.epochs, old.kinds
	} else {
		next.epochs, next.kinds = map[about]*Epoch{}, map[Kind]bool{}
		for _, e := range Epochs.List(v, scope, "", "") {
			next.epochs[aboutOf(e)] = e
			next.kinds[e.Kind] = true
		}
	}
	// A slower caller may put an older view back: that costs time, no more.
	c.now.Store(next)
	return next
}

// same reports whether the view has the very epochs of st: records are
// immutable, so the same record is the same epoch.
func (st *standing) same(v *store.View) bool {
	if st == nil {
		return false
	}
	n := 0
	for _, e := range Epochs.List(v, scope, "", "") {
		if st.epochs[aboutOf(e)] != e {
			return false
		}
		n++
	}
	return n == len(st.epochs)
}

// find returns the epoch that refuses the session, nil if none does. Of a
// chain every session counts by itself; association and pod are those that the
// chain began with, so its first session is the one that counts.
func (st *standing) find(s *session.Session) *Epoch {
	if e := st.principal(s.Account, principalKind(s), s.PrincipalID(), s.Issued); e != nil {
		return e
	}
	if e := st.origin(s.Account, s); e != nil {
		return e
	}
	for i := range s.Chain {
		a := &s.Chain[i]
		for _, k := range [...]Kind{Role, User} {
			if e := st.principal(a.Account, k, a.PrincipalID, a.Issued); e != nil {
				return e
			}
		}
		if a.Account != s.Account {
			if e := st.origin(a.Account, s); e != nil {
				return e
			}
		}
	}
	return nil
}

func principalKind(s *session.Session) Kind {
	if s.Kind == session.OfRole {
		return Role
	}
	return User
}

func (st *standing) principal(account string, k Kind, id string, issued time.Time) *Epoch {
	if !st.kinds[k] {
		return nil
	}
	return st.refuses(about{account: account, kind: k, id: id}, issued)
}

// origin looks for epochs of an account on where the session came from.
func (st *standing) origin(account string, s *session.Session) *Epoch {
	o := &s.Origin
	if o.AssociationID != "" && st.kinds[Association] {
		if e := st.refuses(about{account, Association, "", o.AssociationID}, s.Began()); e != nil {
			return e
		}
	}
	if o.PodUID != "" && st.kinds[Pod] {
		if e := st.refuses(about{account, Pod, o.ClusterUID, o.PodUID}, s.Began()); e != nil {
			return e
		}
	}
	if !st.kinds[PodName] {
		return nil
	}
	pod := s.Pod()
	if pod == "" {
		return nil
	}
	return st.refuses(about{account, PodName, o.ClusterUID, pod}, s.Began())
}

// refuses returns the epoch of a subject if it refuses what was issued then.
func (st *standing) refuses(a about, issued time.Time) *Epoch {
	e, ok := st.epochs[a]
	if !ok || issued.After(e.until()) {
		return nil
	}
	return e
}
