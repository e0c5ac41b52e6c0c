// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package refusal_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"podid/internal/cluster"
	"podid/internal/refusal"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

var (
	scope = store.Scope{Account: "111122223333", Region: "us-west-2"}
	uid   = strings.Repeat("a", 32)
)

type house struct {
	refusal.Log
	t       *testing.T
	store   *storetest.Memory
	now     time.Time
	dropped int
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, store: storetest.NewMemory(store.NewSchema(cluster.Clusters, refusal.Refusals)), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	h.Log = refusal.Log{Store: h.store, Now: func() time.Time { return h.now }, Dropped: func() { h.dropped++ }}
	for name, uid := range map[string]string{"one": uid, "two": strings.Repeat("b", 32)} {
		if err := h.store.Update(t.Context(), func(tx *store.Tx) error {
			cluster.Clusters.Put(tx, scope, name, &cluster.Cluster{UID: uid, Name: name, Account: scope.Account, Region: scope.Region, Issuer: "https://" + name})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *house) note(pod, reason string) {
	h.Note(scope, refusal.Refusal{ClusterUID: uid, Namespace: "n", Pod: pod, PodUID: pod + "-uid", ServiceAccount: "s", Reason: reason, RequestID: "r"})
}

// write writes as often as Run would in that time.
func (h *house) write(times int) {
	h.t.Helper()
	for range times {
		h.now = h.now.Add(refusal.Every)
		if err := h.Write(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *house) have() []string {
	var out []string
	for _, r := range refusal.Refusals.List(h.store.View(), scope, uid+"/", "") {
		out = append(out, fmt.Sprint(r.Pod, " ", r.Reason, " ", r.Count))
	}
	return out
}

// TestNotes: one record for a pod and a reason, written again after a while.
func TestNotes(t *testing.T) {
	h := newHouse(t)
	for range 3 {
		h.note("a", "x")
	}
	h.note("b", "x")
	h.write(1)
	if got := fmt.Sprint(h.have()); got != "[a x 3 b x 1]" {
		t.Errorf("got %s", got)
	}
	revision := h.store.View().Revision()
	for range 100 {
		h.note("a", "x")
		h.write(1)
	}
	if got := h.store.View().Revision(); got != revision {
		t.Errorf("the store had to work %d times", got-revision)
	}
	h.write(int(refusal.Again / refusal.Every))
	if got := fmt.Sprint(h.have()); got != "[a x 103 b x 1]" {
		t.Errorf("later: %s", got)
	}
	_, r, _ := first(h)
	if r.First.After(r.Last.Add(-time.Minute)) || r.RequestID != "r" {
		t.Errorf("%+v", r)
	}

	// What has ended goes when something else is written.
	h.now = h.now.Add(refusal.Life)
	h.note("c", "y")
	h.write(1)
	if got := fmt.Sprint(h.have()); got != "[c y 1]" {
		t.Errorf("at the end: %s", got)
	}
}

func first(h *house) (string, *refusal.Refusal, bool) {
	for id, r := range refusal.Refusals.List(h.store.View(), scope, uid+"/", "") {
		return id, r, true
	}
	return "", nil, false
}

// TestBounds: records are few, and so is what waits in memory.
func TestBounds(t *testing.T) {
	h := newHouse(t)
	for i := range refusal.MaxRecords + 50 {
		h.note(fmt.Sprint("pod-", i), "x")
	}
	h.write(60)
	if n := len(h.have()); n != refusal.MaxRecords || h.dropped != 50 {
		t.Errorf("%d records, %d dropped", n, h.dropped)
	}
	for i := range 5000 {
		h.note(fmt.Sprint("more-", i), "x")
	}
	if h.dropped < 900 {
		t.Errorf("%d dropped", h.dropped)
	}
	for _, r := range []refusal.Refusal{{}, {ClusterUID: uid, Reason: "x"}, {ClusterUID: uid, PodUID: "u"}, {ClusterUID: uid, PodUID: strings.Repeat("u", 300), Reason: "x"}} {
		h.Note(scope, r) // of no pod
	}
	long := newHouse(t)
	long.Note(scope, refusal.Refusal{ClusterUID: uid, PodUID: "u/../..", Reason: "x", Sid: strings.Repeat("s", 5000)})
	long.Note(scope, refusal.Refusal{ClusterUID: strings.Repeat("c", 32), PodUID: "u", Reason: "x"}) // no such cluster
	long.write(1)
	id, r, ok := first(long)
	if !ok || len(r.Sid) != 256 || strings.Count(id, "/") != 1 || long.store.View().Len() != 3 {
		t.Errorf("%s %+v", id, r)
	}
}

func TestWithoutStore(t *testing.T) {
	h := newHouse(t)
	h.note("a", "x")
	h.store.Fail(store.ErrUnavailable)
	if err := h.Write(t.Context()); err == nil {
		t.Error("written")
	}
	h.store.Fail(nil)
	h.write(1)
	if len(h.have()) != 1 {
		t.Error("lost")
	}
}

func TestDeleteOf(t *testing.T) {
	h := newHouse(t)
	for i := range 7 {
		h.note(fmt.Sprint("pod-", i), "x")
	}
	h.write(1)
	c, _ := cluster.ByUID(h.store.View(), scope, uid)
	for _, want := range []int{5, 2, 0} {
		got := 0
		if err := h.store.Update(t.Context(), func(tx *store.Tx) error { got = h.DeleteOf(tx, c, 5); return nil }); err != nil || got != want {
			t.Errorf("%d, %v", got, err)
		}
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx, func(err error) { t.Error(err) }) }()
		h.note("a", "x")
		time.Sleep(refusal.Every)
		synctest.Wait()
		if len(h.have()) != 1 {
			t.Error("not written")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
