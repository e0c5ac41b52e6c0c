// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package revocation

import (
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

	// none is the last view that was seen to hold no epoch: the ordinary case
	// costs a comparison. Views are immutable, and the reference keeps the
	// address from being used again.
	none atomic.Pointer[store.View]
}

// Check returns nil for a session that counts. The fault of one that does not
// is that of a session that is over: clients react to it by getting new
// credentials.
func (c *Checker) Check(s *session.Session) error {
	v := c.Store.View()
	if v == c.none.Load() {
		return nil
	}
	if empty(v) {
		c.none.Store(v)
		return nil
	}
	if e := find(v, s); e != nil {
		return fault.New(fault.ExpiredCredentials, "The security token included in the request is expired").WithReason("session-revoked").
			WithDetail(map[string]string{"revoked": string(e.Kind), "subject": e.Subject, "notBefore": e.NotBefore.Format(time.RFC3339Nano)})
	}
	return nil
}

func empty(r store.Reader) bool {
	for range Epochs.List(r, scope, "", "") {
		return false
	}
	return true
}

// find returns the epoch that refuses the session, nil if none does. Of a
// chain every session counts by itself; association and pod are those that the
// chain began with, so its first session is the one that counts.
func find(r store.Reader, s *session.Session) *Epoch {
	if e := refuses(r, s.Account, principalKind(s), s.PrincipalID(), s.Issued); e != nil {
		return e
	}
	if e := findOrigin(r, s.Account, s); e != nil {
		return e
	}
	for i := range s.Chain {
		a := &s.Chain[i]
		for _, k := range [...]Kind{Role, User} {
			if e := refuses(r, a.Account, k, a.PrincipalID, a.Issued); e != nil {
				return e
			}
		}
		if a.Account != s.Account {
			if e := findOrigin(r, a.Account, s); e != nil {
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

// findOrigin looks for epochs of an account on where the session came from.
func findOrigin(r store.Reader, account string, s *session.Session) *Epoch {
	o := &s.Origin
	if *o == (session.Origin{}) {
		return nil
	}
	began := s.Began()
	if o.AssociationID != "" {
		if e := refuses(r, account, Association, o.AssociationID, began); e != nil {
			return e
		}
	}
	if o.PodUID != "" {
		if e := refuses(r, account, Pod, podID(o.ClusterUID, o.PodUID), began); e != nil {
			return e
		}
	}
	if pod := s.Pod(); pod != "" {
		return refuses(r, account, PodName, podID(o.ClusterUID, pod), began)
	}
	return nil
}

// refuses returns the epoch of a subject if it refuses what was issued then.
func refuses(r store.Reader, account string, k Kind, id string, issued time.Time) *Epoch {
	e, ok := Epochs.Get(r, scope, key(account, k, id))
	if !ok || issued.After(e.NotBefore) {
		return nil
	}
	return e
}
