// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts_test

import (
	"testing"
	"time"

	"podid/internal/controlplane/controlplanetest/roomstest"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/session"
	"podid/internal/sts"
)

// temporary is a user with the credentials of a session of his own, or of
// somebody whom he vouches for.
func temporary(u iam.Caller, s *session.Session) iam.Caller {
	u.Session = s
	if s.Kind == session.Federated {
		u.Kind, u.ARN, u.UserID = iam.CallerFederated, s.ARN(), s.FederatedUserID()
	}
	return u
}

func TestMayCall(t *testing.T) {
	w := roomstest.New(t)
	user := w.User("jane", roomstest.AllowAll)
	role := w.Session(w.Role("r", trustAccount, "", nil), nil)
	own := temporary(user, &session.Session{Kind: session.OfUser, UserID: user.UserID})
	federated := temporary(user, &session.Session{Kind: session.Federated, UserID: user.UserID, Account: roomstest.Account, Name: "bob"})
	for operation, may := range map[string][4]bool{ // user, role, own, federated
		"AssumeRole": {true, true, true, false}, "GetCallerIdentity": {true, true, true, true}, "GetAccessKeyInfo": {true, true, false, false},
		"DecodeAuthorizationMessage": {true, true, false, false}, "GetSessionToken": {true, false, false, false}, "GetFederationToken": {true, false, false, false},
		"OfTomorrow": {true, true, false, false},
	} {
		for i, c := range []iam.Caller{user, role, own, federated} {
			if err := sts.MayCall(c, operation); (err == nil) != may[i] {
				t.Errorf("%s by %s: %v, want allowed %v", operation, c.ARN, err, may[i])
			}
		}
	}
	// The verb itself, whatever stands before it.
	if _, err := w.STS.AssumeRole(bg, federated, input(w.Role("app", trustAccount, "", nil))); !fault.Is(err, fault.AccessDenied) {
		t.Errorf("AssumeRole by a federated user: %v", err)
	}
}

// TestLineage: what a session was assumed with stays in it, so that revoking
// that reaches it.
func TestLineage(t *testing.T) {
	w := roomstest.New(t)
	w.Role("first", trustAccount, roomstest.AllowAll, nil)
	user := w.User("jane", roomstest.AllowAll)
	own, err := w.STS.GetSessionToken(bg, user, sts.SessionTokenInput{})
	if err != nil || own.Session.Expires.Sub(own.Session.Issued) != 12*time.Hour {
		t.Fatalf("%+v, %v", own, err)
	}
	role := w.Role("first", trustAccount, roomstest.AllowAll, func(r *iam.Role) { r.MaxSession = 43200 })
	in := input(role)
	in.Duration = 43200
	first, err := w.STS.AssumeRole(bg, temporary(user, own.Session), in)
	if err != nil {
		t.Fatal(err)
	}
	if s := first.Session; s.Chained || len(s.Chain) != 1 || s.Chain[0].PrincipalID != user.UserID || !s.Chain[0].Issued.Equal(own.Session.Issued) {
		t.Errorf("by a user's session: %+v", s)
	}
	second, err := w.STS.AssumeRole(bg, w.Session(role, func(s *session.Session) { *s = *first.Session }), input(w.Role("second", trustAccount, "", nil)))
	if err != nil {
		t.Fatal(err)
	}
	if s := second.Session; !s.Chained || len(s.Chain) != 2 || s.Chain[1].PrincipalID != role.ID || s.Expires.Sub(s.Issued) != time.Hour {
		t.Errorf("by a role's session: %+v", s)
	}
	plain, err := w.STS.AssumeRole(bg, user, input(role))
	if err != nil || plain.Session.Chain != nil {
		t.Errorf("by a key: %+v, %v", plain.Session, err)
	}
	opened, _, err := w.Minter.Open(bg, second.Credentials.AccessKeyID, second.Credentials.SessionToken.Reveal())
	if err != nil || len(opened.Chain) != 2 {
		t.Errorf("opened: %+v, %v", opened, err)
	}
}

// TestOriginOfWebIdentity: sessions of a pod's own token are revoked with the
// pod.
func TestOriginOfWebIdentity(t *testing.T) {
	w := roomstest.New(t)
	c := w.Cluster("my-cluster", nil)
	out, err := w.STS.AssumeRoleWithWebIdentity(bg, web(w.Role("r", ofCluster(c), "", nil).ARN(), c.Sign(c.Claims(sts.AudienceControlPlane))))
	if err != nil {
		t.Fatal(err)
	}
	if want := (session.Origin{ClusterUID: c.UID, PodUID: "pod-uid", Pod: "s3-app-ns/app1-v1-56b9f94b4-dvd5c"}); out.Session.Origin != want {
		t.Errorf("%+v, want %+v", out.Session.Origin, want)
	}
}
