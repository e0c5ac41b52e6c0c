// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/feed"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

const (
	account = "111122223333"
	uid     = "0123456789abcdef0123456789abcdef"
)

// house is a store with a cluster, and whoever may follow it.
type house struct {
	*feed.Service
	t     testing.TB
	store *storetest.Memory
	asked []iam.Query
	deny  bool
}

func (h *house) Authorize(_ context.Context, _ iam.Caller, q iam.Query) error {
	h.asked = append(h.asked, q)
	if h.deny {
		return fault.New(fault.AccessDenied, "no")
	}
	return nil
}

func newHouse(t testing.TB) *house {
	h := &house{t: t, store: storetest.NewMemory(store.NewSchema(cluster.Clusters, association.Associations, iam.Roles))}
	h.Service = &feed.Service{Rights: cluster.Rights{Store: h.store, Authz: h, Partition: "aws", Account: account, Region: "us-west-2"}}
	h.cluster("my-cluster", uid)
	h.cluster("other", strings.Repeat("f", 32))
	h.put(strings.Repeat("f", 32), "ns", "elsewhere")
	return h
}

func (h *house) update(fn func(tx *store.Tx)) {
	h.t.Helper()
	if err := h.store.Update(context.Background(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) cluster(name, uid string) {
	h.update(func(tx *store.Tx) {
		cluster.Clusters.Put(tx, h.Rights.Scope(), name, &cluster.Cluster{UID: uid, Name: name, Account: account, Region: "us-west-2", Issuer: "https://" + name, Tags: map[string]string{"team": "a"}})
	})
}

func (h *house) put(uid, namespace, account string) {
	h.update(func(tx *store.Tx) {
		association.Associations.Put(tx, h.Rights.Scope(), association.Key(uid, namespace, account), &association.Association{
			ID: "a-" + account, ClusterUID: uid, Namespace: namespace, ServiceAccount: account, RoleARN: "arn:aws:iam::111122223333:role/secret", Modified: time.Now(),
		})
	})
}

func (h *house) remove(namespace, account string) {
	h.update(func(tx *store.Tx) {
		association.Associations.Delete(tx, h.Rights.Scope(), association.Key(uid, namespace, account))
	})
}

func (h *house) follow(in feed.Input) *feed.Answer {
	h.t.Helper()
	in.Cluster = "my-cluster"
	a, err := h.Follow(h.t.Context(), iam.Caller{}, in)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// follower keeps what it is told, as an operator does.
type follower struct {
	uid      string
	revision int64
	have     map[string]string
}

func (f *follower) take(a *feed.Answer) {
	if a.Complete {
		f.have = map[string]string{}
	}
	f.uid, f.revision = a.ClusterUID, a.Revision
	for _, x := range a.Associations {
		f.have[x.Namespace+"/"+x.ServiceAccount] = x.ID
	}
	for _, x := range a.Deleted {
		delete(f.have, x.Namespace+"/"+x.ServiceAccount)
	}
}

func TestFollow(t *testing.T) {
	h := newHouse(t)
	h.put(uid, "ns", "first")
	f := follower{}
	for i, c := range []struct {
		what     string
		change   func()
		complete bool
		want     map[string]string
	}{
		{"all at first", func() {}, true, map[string]string{"ns/first": "a-first"}},
		{"nothing new", func() {}, false, map[string]string{"ns/first": "a-first"}},
		{"another cluster's", func() { h.put(strings.Repeat("f", 32), "ns", "second") }, false, map[string]string{"ns/first": "a-first"}},
		{"one more", func() { h.put(uid, "ns", "second") }, false, map[string]string{"ns/first": "a-first", "ns/second": "a-second"}},
		{"one less, one changed", func() { h.remove("ns", "first"); h.put(uid, "ns", "second") }, false, map[string]string{"ns/second": "a-second"}},
		{"made and gone", func() { h.put(uid, "ns", "brief"); h.remove("ns", "brief") }, false, map[string]string{"ns/second": "a-second"}},
		{"too far behind", func() {
			for i := range 200 {
				h.update(func(tx *store.Tx) {
					for j := range 120 {
						key := association.Key(strings.Repeat("f", 32), "ns", fmt.Sprint("sa-", j))
						association.Associations.Put(tx, h.Rights.Scope(), key, &association.Association{ID: fmt.Sprint(i), Namespace: "ns"})
					}
				})
			}
		}, true, map[string]string{"ns/second": "a-second"}},
		{"of another life of the store", func() { f.revision += 1000 }, true, map[string]string{"ns/second": "a-second"}},
		{"the name is another cluster's now", func() { h.cluster("my-cluster", strings.Repeat("e", 32)) }, true, map[string]string{}},
	} {
		c.change()
		a := h.follow(feed.Input{ClusterUID: f.uid, After: f.revision})
		if a.Complete != c.complete {
			t.Errorf("%d, %s: complete %v", i, c.what, a.Complete)
		}
		if a.Revision != h.store.View().Revision() {
			t.Errorf("%d, %s: revision %d of %d", i, c.what, a.Revision, h.store.View().Revision())
		}
		if f.take(a); !maps.Equal(f.have, c.want) {
			t.Errorf("%d, %s: %v, want %v", i, c.what, f.have, c.want)
		}
	}
}

// TestAnswer: names, ids and revisions, and nothing else of an association.
func TestAnswer(t *testing.T) {
	h := newHouse(t)
	h.put(uid, "ns", "first")
	made := h.store.View().Revision()
	h.put(strings.Repeat("f", 32), "ns", "other")
	want := &feed.Answer{ClusterUID: uid, Revision: made + 1, Complete: true, Associations: []feed.Association{{Namespace: "ns", ServiceAccount: "first", ID: "a-first", Revision: made}}}
	if d := cmp.Diff(want, h.follow(feed.Input{})); d != "" {
		t.Error(d)
	}
	h.remove("ns", "first")
	want = &feed.Answer{ClusterUID: uid, Revision: made + 2, Deleted: []feed.Association{{Namespace: "ns", ServiceAccount: "first"}}}
	if d := cmp.Diff(want, h.follow(feed.Input{ClusterUID: uid, After: made + 1})); d != "" {
		t.Error(d)
	}
	q := h.asked[len(h.asked)-1]
	if q.Action != "podid:FollowAssociations" || q.Resource != "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster" || len(q.Keys) == 0 {
		t.Errorf("asked %+v", q)
	}
}

func (h *house) role(name string, there bool) {
	h.update(func(tx *store.Tx) {
		scope := store.Scope{Account: account, Region: store.Global}
		if there {
			iam.Roles.Put(tx, scope, strings.ToLower(name), &iam.Role{Name: name, Created: time.Now()})
		} else {
			iam.Roles.Delete(tx, scope, strings.ToLower(name))
		}
	})
}

// TestOnlyChanges: no list at first nor when too much has changed, and the associations of roles that changed.
func TestOnlyChanges(t *testing.T) {
	h := newHouse(t)
	h.put(uid, "ns", "first")
	void := func(after int64) *feed.Answer {
		t.Helper()
		a := h.follow(feed.Input{ClusterUID: map[bool]string{true: uid}[after > 0], After: after, OnlyChanges: true})
		if !a.Complete || len(a.Associations)+len(a.Deleted) != 0 || a.Revision != h.store.View().Revision() || a.ClusterUID != uid {
			t.Errorf("after %d: %+v", after, a)
		}
		return a
	}
	at := void(0).Revision
	for i, c := range []struct {
		change     func()
		told, gone string
	}{
		{func() {}, "", ""},
		{func() { h.put(uid, "ns", "second") }, "second", ""},
		{func() { h.remove("ns", "second") }, "", "second"},
		{func() { h.role("Secret", true) }, "first", ""},
		{func() { h.role("other", true) }, "", ""},
		{func() { h.role("Secret", false); h.put(uid, "ns", "second") }, "first second", ""},
	} {
		c.change()
		var told, gone []string
		for range 2 { // the second answer comes out of memory
			a := h.follow(feed.Input{ClusterUID: uid, After: at, OnlyChanges: true})
			told, gone = nil, nil
			for _, x := range a.Associations {
				told = append(told, x.ServiceAccount)
			}
			for _, x := range a.Deleted {
				gone = append(gone, x.ServiceAccount)
			}
			if strings.Join(told, " ") != c.told || strings.Join(gone, " ") != c.gone || a.Complete {
				t.Errorf("%d: told %v, gone %v", i, told, gone)
			}
		}
		if n := len(h.follow(feed.Input{ClusterUID: uid, After: at}).Associations); i == 3 && n != 0 {
			t.Errorf("%d: %d told to one that did not ask for roles", i, n)
		}
		at = h.store.View().Revision()
	}
	void(at + 1000)
}

func TestRefused(t *testing.T) {
	h := newHouse(t)
	refused := func(in feed.Input, kind fault.Kind) {
		t.Helper()
		if _, err := h.Follow(t.Context(), iam.Caller{}, in); !fault.Is(err, kind) {
			t.Errorf("%+v: %v", in, err)
		}
	}
	refused(feed.Input{Cluster: "none"}, fault.NotFound)
	refused(feed.Input{Cluster: "my-cluster", After: -1}, fault.InvalidParameter)
	refused(feed.Input{Cluster: "my-cluster", Wait: -time.Second}, fault.InvalidParameter)
	refused(feed.Input{Cluster: "my-cluster", Wait: feed.MaxWait + 1}, fault.InvalidParameter)
	h.deny = true
	refused(feed.Input{Cluster: "my-cluster"}, fault.AccessDenied)
	refused(feed.Input{Cluster: "none"}, fault.AccessDenied) // which names exist is not told
	h.deny = false
	h.store.Fail(store.ErrUnavailable)
	refused(feed.Input{Cluster: "my-cluster"}, fault.Unavailable)
}

// waiting is a follower that waits for what is new.
func (h *house) waiting(ctx context.Context, wait time.Duration) <-chan any {
	out := make(chan any, 1)
	in := feed.Input{Cluster: "my-cluster", ClusterUID: uid, After: h.store.View().Revision(), Wait: wait}
	go func() {
		a, err := h.Follow(ctx, iam.Caller{}, in)
		if err != nil {
			out <- err
			return
		}
		out <- a
	}()
	synctest.Wait()
	return out
}

func TestWaiting(t *testing.T) {
	for _, c := range []struct {
		name    string
		happens func(h *house, closing chan struct{}, cancel func())
		after   time.Duration // until the answer
		check   func(a *feed.Answer, err error) bool
	}{
		{"a change of the cluster's", func(h *house, _ chan struct{}, _ func()) { h.put(uid, "ns", "new") }, 0, func(a *feed.Answer, _ error) bool { return len(a.Associations) == 1 && a.Associations[0].ID == "a-new" }},
		{"changes of others", func(h *house, _ chan struct{}, _ func()) { h.put(strings.Repeat("f", 32), "ns", "new") }, 10 * time.Second, func(a *feed.Answer, _ error) bool {
			return !a.Complete && len(a.Associations)+len(a.Deleted) == 0 && a.Revision == 5
		}},
		{"nothing", func(*house, chan struct{}, func()) {}, 10 * time.Second, func(a *feed.Answer, _ error) bool { return a.Revision == 4 && !a.Complete }},
		{"the service closes", func(_ *house, closing chan struct{}, _ func()) { close(closing) }, 0, func(a *feed.Answer, _ error) bool { return len(a.Associations) == 0 && !a.Complete }},
		{"the follower leaves", func(_ *house, _ chan struct{}, cancel func()) { cancel() }, 0, func(_ *feed.Answer, err error) bool { return errors.Is(err, context.Canceled) }},
		{"the cluster is deleted", func(h *house, _ chan struct{}, _ func()) {
			h.update(func(tx *store.Tx) { cluster.Clusters.Delete(tx, h.Rights.Scope(), "my-cluster") })
		}, 0, func(_ *feed.Answer, err error) bool { return fault.Is(err, fault.NotFound) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				closing := make(chan struct{})
				h.Closing = closing
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start := time.Now()
				got := h.waiting(ctx, 10*time.Second)
				select {
				case x := <-got:
					t.Fatalf("answered at once: %v", x)
				default:
				}
				c.happens(h, closing, cancel)
				x := <-got
				if took := time.Since(start); took != c.after {
					t.Errorf("answered after %s, want %s", took, c.after)
				}
				a, _ := x.(*feed.Answer)
				err, _ := x.(error)
				if (a == nil) == (err == nil) || a == nil && !c.check(nil, err) || a != nil && !c.check(a, nil) {
					t.Errorf("%+v %v", a, err)
				}
			})
		})
	}
}

// TestWaitEndsInTime: a request's own deadline is answered before.
func TestWaitEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		if a, ok := (<-h.waiting(ctx, feed.MaxWait)).(*feed.Answer); !ok || a.Complete || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %s", a, time.Since(start))
		}
	})
}

func BenchmarkFollow(b *testing.B) {
	h := newHouse(b)
	for i := range 10_000 {
		h.put(uid, "ns", fmt.Sprint("sa-", i))
	}
	in := feed.Input{Cluster: "my-cluster", ClusterUID: uid, After: h.store.View().Revision() - 1}
	h.asked = nil
	b.ReportAllocs()
	for b.Loop() {
		if a, err := h.Follow(b.Context(), iam.Caller{}, in); err != nil || len(a.Associations) != 1 {
			b.Fatal(err)
		}
		h.asked = h.asked[:0]
	}
}
