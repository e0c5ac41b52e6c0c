// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"podid/internal/iam"
	"podid/internal/session"
)

// permission is what a session was allowed: a node's agent asks for the same
// action on the same cluster at every exchange of its hour. It is remembered
// when no policy that binds the session names a condition key: the decision
// then depends on nothing but these and the records of the view. Denials are
// never remembered. The session is shared by all calls with its token and never
// changed; the same holds for its address.
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

// bound tells which policies bind a caller: whose key was used, or which session.
type bound struct {
	kind    iam.CallerKind
	user    *iam.User
	session *session.Session
}

func boundOf(c iam.Caller) (bound, bool) {
	return bound{kind: c.Kind, user: c.User, session: c.Session}, c.User != nil || c.Session != nil
}
