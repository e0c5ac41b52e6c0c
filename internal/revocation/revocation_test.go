// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package revocation_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/revocation"
	"podid/internal/session"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

const (
	account = "111122223333"
	region  = "us-west-2"
	known   = "a-0123456789abcdefg"
	podUID  = "0b1c2d3e-0000-4000-8000-1234567890ab"
	uid     = "00112233445566778899aabbccddeeff"
)

var (
	start    = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	admin    = iam.Caller{Kind: iam.CallerUser, Account: account, ARN: "arn:aws:iam::111122223333:user/admin"}
	global   = store.Scope{Account: account, Region: store.Global}
	inRegion = store.Scope{Account: account, Region: region}
)

// rights notes what was asked, and denies one resource.
type rights struct {
	deny  string
	asked []iam.Query
}

func (r *rights) Authorize(_ context.Context, _ iam.Caller, q iam.Query) error {
	r.asked = append(r.asked, q)
	if r.deny == "*" || q.Resource == r.deny {
		return fault.New(fault.AccessDenied, "not authorized to perform: %s on resource: %s", q.Action, q.Resource)
	}
	return nil
}

type world struct {
	*revocation.Manager
	db     *storetest.Memory
	rights *rights
	check  *revocation.Checker
	now    time.Time
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{db: storetest.NewMemory(store.NewSchema(iam.Roles, iam.Users, cluster.Clusters, association.Associations, revocation.Epochs)), rights: &rights{}, now: start}
	clock := func() time.Time { return w.now }
	w.db.Now = clock
	w.check = &revocation.Checker{Store: w.db}
	w.Manager = &revocation.Manager{Store: w.db, Authz: w.rights, Now: clock, Partition: "aws", Account: account, Region: region}
	w.update(tb, func(tx *store.Tx) {
		iam.Roles.Put(tx, global, "app", &iam.Role{ID: "AROAAPP", Partition: "aws", Account: account, Path: "/team/", Name: "App", Tags: []iam.Tag{{Key: "team", Value: "blue"}}})
		iam.Users.Put(tx, global, "jane", &iam.User{ID: "AIDAJANE", Partition: "aws", Account: account, Path: "/", Name: "jane"})
		cluster.Clusters.Put(tx, inRegion, "my-cluster", &cluster.Cluster{UID: uid, Name: "my-cluster", Tags: map[string]string{"stage": "dev"}})
		association.Associations.Put(tx, inRegion, association.Key(uid, "ns", "sa"), &association.Association{ID: known, ClusterUID: uid, ClusterName: "my-cluster"})
	})
	return w
}

func (w *world) update(tb testing.TB, fn func(tx *store.Tx)) {
	tb.Helper()
	if err := w.db.Update(context.Background(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		tb.Fatal(err)
	}
}

func TestRevoke(t *testing.T) {
	const clusterARN = "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster"
	for _, c := range []struct {
		name         string
		in           revocation.RevokeInput
		kind         revocation.Kind
		id, resource string
		fault        fault.Kind
		text         string
	}{
		{"role", revocation.RevokeInput{Role: "app"}, revocation.Role, "AROAAPP", "arn:aws:iam::111122223333:role/team/App", 0, ""},
		{"role by ARN", revocation.RevokeInput{Role: "arn:aws:iam::111122223333:role/team/App"}, revocation.Role, "AROAAPP", "arn:aws:iam::111122223333:role/team/App", 0, ""},
		{"role of another path", revocation.RevokeInput{Role: "arn:aws:iam::111122223333:role/App"}, "", "", "arn:aws:iam::111122223333:role/App", fault.NotFound, "cannot be found"},
		{"role of another account", revocation.RevokeInput{Role: "arn:aws:iam::444455556666:role/team/App"}, "", "", "arn:aws:iam::444455556666:role/team/App", fault.NotFound, "cannot be found"},
		{"no such role", revocation.RevokeInput{Role: "nothing"}, "", "", "arn:aws:iam::111122223333:role/nothing", fault.NotFound, "The role nothing cannot be found."},
		{"user", revocation.RevokeInput{User: "JANE"}, revocation.User, "AIDAJANE", "arn:aws:iam::111122223333:user/jane", 0, ""},
		{"no such user", revocation.RevokeInput{User: "bob"}, "", "", "arn:aws:iam::111122223333:user/bob", fault.NotFound, "cannot be found"},
		{"association", revocation.RevokeInput{Association: known}, revocation.Association, known, "arn:aws:eks:us-west-2:111122223333:podidentityassociation/my-cluster/" + known, 0, ""},
		{"association of another cluster", revocation.RevokeInput{Association: known, Cluster: "other"}, "", "", "arn:aws:eks:us-west-2:111122223333:podidentityassociation/other/" + known, fault.NotFound, "is not one of cluster other"},
		{"association that was deleted", revocation.RevokeInput{Association: "a-zzzzzzzzzzzzzzzzz", Cluster: "my-cluster"}, revocation.Association, "a-zzzzzzzzzzzzzzzzz", "arn:aws:eks:us-west-2:111122223333:podidentityassociation/my-cluster/a-zzzzzzzzzzzzzzzzz", 0, ""},
		{"association of who knows where", revocation.RevokeInput{Association: "a-zzzzzzzzzzzzzzzzz"}, "", "", "arn:aws:eks:us-west-2:111122223333:podidentityassociation/*/a-zzzzzzzzzzzzzzzzz", fault.NotFound, "name its cluster too"},
		{"no association id", revocation.RevokeInput{Association: "x", Cluster: "my-cluster"}, "", "", "arn:aws:eks:us-west-2:111122223333:podidentityassociation/my-cluster/x", fault.InvalidParameter, "a- and 17"},
		{"pod by name", revocation.RevokeInput{Pod: "ns/app-1", Cluster: "my-cluster"}, revocation.PodName, uid + "/ns/app-1", clusterARN, 0, ""},
		{"pod by UID", revocation.RevokeInput{Pod: podUID, Cluster: "my-cluster"}, revocation.Pod, uid + "/" + podUID, clusterARN, 0, ""},
		{"pod of no cluster", revocation.RevokeInput{Pod: podUID, Cluster: "nowhere"}, "", "", "arn:aws:eks:us-west-2:111122223333:cluster/nowhere", fault.NotFound, "No cluster found for name: nowhere."},
		{"pod that is no name", revocation.RevokeInput{Pod: "ns/a/b", Cluster: "my-cluster"}, "", "", clusterARN, fault.InvalidParameter, "namespace and a name"},
		{"pod that is no UID", revocation.RevokeInput{Pod: "a b", Cluster: "my-cluster"}, "", "", clusterARN, fault.InvalidParameter, "neither"},
		{"pod without a cluster", revocation.RevokeInput{Pod: podUID}, "", "", "", fault.InvalidParameter, "together with its cluster"},
		{"nothing", revocation.RevokeInput{}, "", "", "", fault.InvalidParameter, "not 0 of them"},
		{"two", revocation.RevokeInput{Role: "app", User: "jane"}, "", "", "", fault.InvalidParameter, "not 2 of them"},
		{"cluster for a role", revocation.RevokeInput{Role: "app", Cluster: "my-cluster"}, "", "", "", fault.InvalidParameter, "only"},
		{"long ago", revocation.RevokeInput{Role: "app", At: start.Add(-36*time.Hour - time.Second)}, "", "", "arn:aws:iam::111122223333:role/team/App", fault.InvalidParameter, "more than 36h0m0s ago"},
		{"ahead", revocation.RevokeInput{Role: "app", At: start.Add(5*time.Minute + time.Second)}, "", "", "arn:aws:iam::111122223333:role/team/App", fault.InvalidParameter, "more than 5m0s ahead"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			e, err := w.Revoke(t.Context(), admin, c.in)
			if c.fault != 0 {
				if !fault.Is(err, c.fault) || !strings.Contains(fault.As(err).Message, c.text) {
					t.Errorf("%v, want %q", err, c.text)
				}
			} else if err != nil || e.Kind != c.kind || e.ID != c.id || !e.NotBefore.Equal(start) || e.By != admin.ARN || e.Account != account {
				t.Errorf("%+v, %v", e, err)
			}
			if c.resource == "" {
				return
			}
			if len(w.rights.asked) != 1 || w.rights.asked[0].Action != "podid:RevokeSessions" || w.rights.asked[0].Resource != c.resource {
				t.Errorf("asked %+v, want %s", w.rights.asked, c.resource)
			}
			w.rights.deny = "*"
			if _, err := w.Revoke(t.Context(), admin, c.in); !fault.Is(err, fault.AccessDenied) {
				t.Errorf("who may not: %v", err)
			}
		})
	}
}

func TestResourceTagsAreAsked(t *testing.T) {
	w := newWorld(t)
	for in, want := range map[revocation.RevokeInput]string{{Role: "app"}: "aws:ResourceTag/team", {Pod: podUID, Cluster: "my-cluster"}: "aws:ResourceTag/stage"} {
		if _, err := w.Revoke(t.Context(), admin, in); err != nil {
			t.Fatal(err)
		}
		keys := w.rights.asked[len(w.rights.asked)-1].Keys
		if !slices.ContainsFunc(keys, func(k iam.ConditionKey) bool { return k.Name == want }) {
			t.Errorf("%+v: keys %+v", in, keys)
		}
	}
}

// pods is a session that EKS Auth issued then.
func pods(at time.Time) *session.Session {
	return &session.Session{
		Account: account, RoleID: "AROAAPP", Issued: at, Expires: at.Add(6 * time.Hour),
		Origin: session.Origin{ClusterUID: uid, AssociationID: known, PodUID: podUID},
		Tags:   []session.Tag{{Key: "kubernetes-namespace", Value: "ns", Transitive: true}, {Key: "kubernetes-pod-name", Value: "app-1", Transitive: true}},
	}
}

// onto is a session of another role, in another account, that was assumed with
// s.
func onto(s *session.Session, role string, at time.Time) *session.Session {
	next := *s
	next.Account, next.RoleID, next.Issued, next.Chained, next.Chain = "444455556666", role, at, true, s.Lineage()
	return &next
}

func TestCheck(t *testing.T) {
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	byUser := func(kind session.Kind, ms int) *session.Session {
		return &session.Session{Kind: kind, Account: account, UserID: "AIDAJANE", Issued: at(ms)}
	}
	chained := onto(pods(at(-2)), "AROAB", at(1))
	twice := onto(chained, "AROAC", at(2))
	untagged := pods(at(-1))
	untagged.Tags, untagged.Origin.Pod = nil, "ns/app-1"
	another := pods(at(-1))
	another.Origin = session.Origin{ClusterUID: "ff", AssociationID: "a-other", PodUID: "other"}
	another.RoleID = "AROAOTHER"
	revoke := map[string]revocation.RevokeInput{
		"role": {Role: "app"}, "user": {User: "jane"}, "association": {Association: known},
		"pod": {Pod: podUID, Cluster: "my-cluster"}, "name": {Pod: "ns/app-1", Cluster: "my-cluster"},
	}
	all := []string{"role", "association", "pod", "name"}
	for _, c := range []struct {
		name string
		s    *session.Session
		by   []string // revoked by these
	}{
		{"issued before", pods(at(-1)), all},
		{"issued in that millisecond", pods(at(0)), all},
		{"issued after", pods(at(1)), nil},
		{"without tags", untagged, all},
		{"of another pod and role", another, nil},
		{"chained from one issued before", chained, all},
		{"chained twice", twice, all},
		{"chained from one issued after", onto(pods(at(1)), "AROAB", at(2)), nil},
		{"of a user, before", byUser(session.OfUser, -1), []string{"user"}},
		{"of a user, after", byUser(session.OfUser, 1), nil},
		{"federated", byUser(session.Federated, -1), []string{"user"}},
		{"assumed with a user's", onto(byUser(session.OfUser, -1), "AROAB", at(1)), []string{"user"}},
		{"role with the id of the user", &session.Session{Account: account, RoleID: "AIDAJANE", Issued: at(-1)}, nil},
		{"same ids in another account", &session.Session{Account: "777788889999", RoleID: "AROAAPP", Issued: at(-1)}, nil},
	} {
		for what, in := range revoke {
			w := newWorld(t)
			if err := w.check.Check(c.s); err != nil {
				t.Fatalf("%s: without a revocation: %v", c.name, err)
			}
			if _, err := w.Revoke(t.Context(), admin, in); err != nil {
				t.Fatal(err)
			}
			err := w.check.Check(c.s)
			if revoked := slices.Contains(c.by, what); revoked != (err != nil) {
				t.Errorf("%s: %s revoked: %v, want refused %v", c.name, what, err, revoked)
			}
			if err != nil && (!fault.Is(err, fault.ExpiredCredentials) || fault.As(err).Reason != "session-revoked") {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

// TestEpochsMoveForward: a later epoch takes the place of an earlier one, never
// the other way round; one that nothing needs any more goes by itself.
func TestEpochsMoveForward(t *testing.T) {
	w := newWorld(t)
	revoke := func(at time.Time) *revocation.Epoch {
		t.Helper()
		e, err := w.Revoke(t.Context(), admin, revocation.RevokeInput{Role: "app", At: at})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	list := func() []*revocation.Epoch {
		t.Helper()
		out, err := w.List(t.Context(), admin)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	revoke(start)
	if e := revoke(start.Add(-time.Hour)); !e.NotBefore.Equal(start) {
		t.Errorf("moved back to %s", e.NotBefore)
	}
	if e := revoke(start.Add(time.Minute)); !e.NotBefore.Equal(start.Add(time.Minute)) {
		t.Errorf("not moved on: %s", e.NotBefore)
	}
	if got := list(); len(got) != 1 || got[0].Kind != revocation.Role {
		t.Errorf("%+v", got)
	}
	w.now = start.Add(time.Minute + 37*time.Hour - time.Second)
	if len(list()) != 1 {
		t.Error("forgotten while a session may be alive")
	}
	w.now = w.now.Add(2 * time.Second)
	if got := list(); len(got) != 0 {
		t.Errorf("kept: %+v", got)
	}
	n := 0
	for range revocation.Epochs.List(w.db.View(), store.Scope{Account: store.System, Region: store.Global}, "", "") {
		n++
	}
	if n != 0 {
		t.Errorf("%d epochs are left in the store", n)
	}
	w.rights.deny = "*"
	if _, err := w.List(t.Context(), admin); !fault.Is(err, fault.AccessDenied) || w.rights.asked[len(w.rights.asked)-1].Action != "podid:ListRevocations" {
		t.Errorf("list by who may not: %v", err)
	}
}

func TestLimit(t *testing.T) {
	w := newWorld(t)
	w.update(t, func(tx *store.Tx) {
		for i := range 1000 {
			revocation.Epochs.Put(tx, store.Scope{Account: store.System, Region: store.Global}, fmt.Sprintf("%s/pod/%d", account, i), &revocation.Epoch{Account: account, NotBefore: start, Created: start})
		}
	})
	if _, err := w.Revoke(t.Context(), admin, revocation.RevokeInput{Role: "app"}); !fault.Is(err, fault.LimitExceeded) {
		t.Errorf("%v", err)
	}
	other := *w.Manager
	other.Account = "444455556666"
	if got, err := other.List(t.Context(), admin); err != nil || len(got) != 0 {
		t.Errorf("another account sees %d, %v", len(got), err)
	}
}

// TestOtherChanges: what changes beside the epochs changes nothing for them, and
// one that is gone refuses no more.
func TestOtherChanges(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Revoke(t.Context(), admin, revocation.RevokeInput{Association: known}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		w.update(t, func(tx *store.Tx) { iam.Roles.Put(tx, global, fmt.Sprint(i), &iam.Role{ID: fmt.Sprint(i)}) })
		if err := w.check.Check(pods(start)); err == nil {
			t.Fatal("the revocation is lost")
		}
		if err := w.check.Check(pods(start.Add(time.Second))); err != nil {
			t.Fatal(err)
		}
	}
	w.update(t, func(tx *store.Tx) {
		revocation.Epochs.Delete(tx, store.Scope{Account: store.System, Region: store.Global}, account+"/association/"+known)
	})
	if err := w.check.Check(pods(start)); err != nil {
		t.Error(err)
	}
}

// TestSameMillisecond: a session that was issued in the millisecond of the epoch is refused, and one of the next is not,
// as the epoch comes back from the store, whose times may lie below the millisecond that was put in.
func TestSameMillisecond(t *testing.T) {
	w := newWorld(t)
	scope, id := store.Scope{Account: store.System, Region: store.Global}, account+"/association/"+known
	below := 0
	for ms := range 1000 {
		at := start.Add(time.Duration(ms) * time.Millisecond)
		w.update(t, func(tx *store.Tx) {
			revocation.Epochs.Put(tx, scope, id, &revocation.Epoch{Account: account, Kind: revocation.Association, ID: known, NotBefore: at, Created: at})
		})
		if e, ok := revocation.Epochs.Get(w.db.View(), scope, id); !ok || e.NotBefore.Before(at) {
			below++
		}
		if err := w.check.Check(pods(at)); !fault.Is(err, fault.ExpiredCredentials) {
			t.Errorf("issued at %s, as the epoch: %v", at, err)
		}
		if err := w.check.Check(pods(at.Add(time.Millisecond))); err != nil {
			t.Errorf("issued a millisecond later: %v", err)
		}
	}
	if below == 0 {
		t.Error("no time lies below its millisecond: this tries nothing")
	}
}

func TestStoreAway(t *testing.T) {
	w := newWorld(t)
	w.db.Fail(store.ErrUnavailable)
	if _, err := w.Revoke(t.Context(), admin, revocation.RevokeInput{Role: "app"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	if err := w.check.Check(pods(start)); err != nil {
		t.Errorf("sessions are checked from memory: %v", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("epochs=%d", n), func(b *testing.B) {
			w := newWorld(b)
			w.update(b, func(tx *store.Tx) {
				for i := range n {
					revocation.Epochs.Put(tx, store.Scope{Account: store.System, Region: store.Global}, fmt.Sprintf("%s/pod/%d", account, i), &revocation.Epoch{Account: account, Kind: revocation.Pod, ID: fmt.Sprintf("%s/%d", uid, i), NotBefore: start, Created: start})
				}
			})
			s := pods(start)
			b.ReportAllocs()
			for b.Loop() {
				if err := w.check.Check(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
