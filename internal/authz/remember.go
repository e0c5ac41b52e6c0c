// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"sync"
	"sync/atomic"

	"podid/internal/iam"
	"podid/internal/session"
	"podid/internal/store"
)

// rememberedSize bounds the permissions that are remembered for one view.
const rememberedSize = 4096

// permissions remembers what sessions were allowed: a node's agent asks for
// the same action on the same cluster at every exchange of its hour. Only what
// depends on nothing but session, action, resource and the records of one view
// gets in, see remember; any change of any record begins with nothing. Denials
// are never remembered. The zero value is ready; it is safe for concurrent use.
type permissions struct {
	now atomic.Pointer[viewPermissions]
}

// viewPermissions are those of one view. The view is compared by identity: it
// is immutable, and the reference keeps its address from being used again.
type viewPermissions struct {
	view *store.View

	mu      sync.RWMutex
	allowed map[permission]struct{}
}

// permission is found by the session itself, which is shared by all calls with
// its token and never changed; the same holds for its address.
type permission struct {
	session          *session.Session
	action, resource string
}

func permissionOf(c iam.Caller, q iam.Query) (permission, bool) {
	if c.Kind != iam.CallerSession || c.Session == nil || c.Account != c.Session.Account {
		return permission{}, false
	}
	return permission{c.Session, q.Action, q.Resource}, true
}

// has reports whether the query was allowed on that very view.
func (p *permissions) has(v *store.View, c iam.Caller, q iam.Query) bool {
	vp := p.now.Load()
	if vp == nil || vp.view != v {
		return false
	}
	key, ok := permissionOf(c, q)
	if !ok {
		return false
	}
	vp.mu.RLock()
	defer vp.mu.RUnlock()
	_, ok = vp.allowed[key]
	return ok
}

// remember keeps that the query was allowed on the view. The caller has made
// sure that no policy that binds c names a condition key: the decision then
// depends neither on the request nor on the time.
func (p *permissions) remember(v *store.View, c iam.Caller, q iam.Query) {
	key, ok := permissionOf(c, q)
	if !ok {
		return
	}
	vp := p.now.Load()
	if vp == nil || vp.view != v {
		// A slower caller may put an older view back: that costs time, no more.
		vp = &viewPermissions{view: v, allowed: map[permission]struct{}{}}
		p.now.Store(vp)
	}
	vp.mu.Lock()
	defer vp.mu.Unlock()
	if len(vp.allowed) >= rememberedSize {
		clear(vp.allowed)
	}
	vp.allowed[key] = struct{}{}
}
