// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package addon_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"podid/internal/addon"
	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/cluster/clustertest"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

const roleARN = "arn:aws:iam::123456789012:role/node"

var (
	scope = store.Scope{Account: "123456789012", Region: "us-west-2"}
	me    = iam.Caller{Account: "123456789012"}
)

type anything struct{}

func (anything) Authorize(context.Context, iam.Caller, iam.Query) error { return nil }
func (anything) AskRole(context.Context, store.Reader, *cluster.Cluster, *association.Association) association.RoleCheck {
	return func(context.Context, store.Reader, *cluster.Cluster, *association.Association) error { return nil }
}

// house is add-ons of one cluster under a clock.
type house struct {
	now      time.Time
	store    store.Store
	seen     *addon.Sightings
	addons   *addon.Manager
	clusters *cluster.Manager
	cluster  *cluster.Cluster
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	h.store = storetest.NewMemory(store.NewSchema(cluster.Clusters, association.Associations, association.Requests, addon.Addons, addon.Seen))
	now := func() time.Time { return h.now }
	as := &association.Manager{Store: h.store, Authz: anything{}, Roles: anything{}, Now: now, Rand: rand.Reader, Partition: "aws", Account: scope.Account, Region: scope.Region}
	h.seen = h.sightings()
	h.addons = &addon.Manager{
		Store: h.store, Authz: anything{}, Associations: as, Agents: h.seen, Now: now, Rand: rand.Reader, Partition: "aws", Account: scope.Account, Region: scope.Region,
	}
	h.clusters = &cluster.Manager{
		Store: h.store, Authz: anything{}, Now: now, Rand: rand.Reader, Partition: "aws", Account: scope.Account, Region: scope.Region,
		Dependents: []cluster.Dependents{h.addons, as},
	}
	var err error
	if h.cluster, err = h.clusters.Register(t.Context(), me, cluster.RegisterInput{Name: "c", Issuer: "https://issuer.example", JWKS: []byte(clustertest.JWKS)}); err != nil {
		t.Fatal(err)
	}
	return h
}

// sightings are those of one more process on the store.
func (h *house) sightings() *addon.Sightings {
	return &addon.Sightings{Store: h.store, Now: func() time.Time { return h.now }}
}

func (h *house) agent(t *testing.T) string {
	t.Helper()
	s, err := h.addons.Describe(t.Context(), me, "c", addon.Agent)
	if fault.Is(err, fault.NotFound) {
		return "absent"
	}
	if err != nil {
		t.Fatal(err)
	}
	text := string(s.Status)
	for _, i := range s.Issues {
		text += " " + i.Code
	}
	return text
}

// The state of the agent follows what was seen of it.
func TestAgentState(t *testing.T) {
	h := newHouse(t)
	want := func(what, state string) {
		t.Helper()
		if got := h.agent(t); got != state {
			t.Errorf("%s: %s, want %s", what, got, state)
		}
	}
	want("never seen", "absent")
	h.seen.Refused(scope, h.cluster.UID, roleARN, "no")
	want("a refusal of who was never seen", "absent")
	if _, err := h.addons.Create(t.Context(), me, addon.CreateInput{Cluster: "c", Name: addon.Agent}); err != nil {
		t.Fatal(err)
	}
	want("created, never seen", "DEGRADED InsufficientNumberOfReplicas")
	h.seen.Good(scope, h.cluster.UID, roleARN)
	want("seen", "ACTIVE")
	h.now = h.now.Add(time.Second)
	h.seen.Refused(scope, h.cluster.UID, "arn:aws:iam::123456789012:role/other", "no")
	want("another role's refusal", "ACTIVE")
	h.seen.Refused(scope, h.cluster.UID, roleARN, "no")
	want("refused", "DEGRADED AccessDenied")
	h.now = h.now.Add(time.Second)
	h.seen.Good(scope, h.cluster.UID, roleARN)
	want("well again", "ACTIVE")
	h.now = h.now.Add(addon.Quiet)
	want("quiet for as long as may be", "ACTIVE")
	h.now = h.now.Add(time.Second)
	want("quiet for longer", "DEGRADED InsufficientNumberOfReplicas")
	if _, err := h.addons.Delete(t.Context(), me, "c", addon.Agent, false); err != nil {
		t.Fatal(err)
	}
	want("record deleted, agent once seen", "DEGRADED InsufficientNumberOfReplicas")
}

// What one process has seen and written, another knows; a cluster that is
// deleted takes it along, and what comes late brings nothing back.
func TestSightingsAreWritten(t *testing.T) {
	h := newHouse(t)
	h.seen.Good(scope, h.cluster.UID, roleARN)
	other := h.sightings()
	if _, ok := other.Last(h.store.View(), scope, h.cluster.UID); ok {
		t.Error("known before it was written")
	}
	if err := h.seen.Write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if x, ok := other.Last(h.store.View(), scope, h.cluster.UID); !ok || !x.Good.Equal(h.now) || x.Role != roleARN {
		t.Errorf("%+v %v", x, ok)
	}
	h.now = h.now.Add(time.Minute)
	other.Good(scope, h.cluster.UID, roleARN)
	if _, err := h.clusters.Delete(t.Context(), me, "c"); err != nil {
		t.Fatal(err)
	}
	if err := other.Write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.sightings().Last(h.store.View(), scope, h.cluster.UID); ok {
		t.Error("a deleted cluster's agent is still known")
	}
}

// Updates are remembered, newest last, up to a bound; a token repeats one.
func TestUpdatesAreBounded(t *testing.T) {
	h := newHouse(t)
	if _, err := h.addons.Create(t.Context(), me, addon.CreateInput{Cluster: "c", Name: "coredns"}); err != nil {
		t.Fatal(err)
	}
	var last string
	for i := range 25 {
		values := fmt.Sprintf(`{"replicaCount":%d}`, i)
		in := addon.UpdateInput{Cluster: "c", Name: "coredns", ConfigurationValues: &values, Token: fmt.Sprint(i)}
		u, err := h.addons.Update(t.Context(), me, in)
		if err != nil {
			t.Fatal(err)
		}
		again, err := h.addons.Update(t.Context(), me, in)
		if err != nil || again.ID != u.ID {
			t.Fatalf("a repeat is another update: %v %v", again, err)
		}
		last = u.ID
	}
	ids, err := h.addons.ListUpdates(t.Context(), me, "c", "coredns")
	if err != nil || len(ids) != 20 || ids[0] != last {
		t.Errorf("%d updates, %v", len(ids), err)
	}
	if _, err := h.addons.DescribeUpdate(t.Context(), me, "c", "coredns", "nope"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	if _, err := h.addons.DescribeUpdate(t.Context(), me, "c", "", last); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
}

// The catalog is in order, which List and paging rely on.
func TestCatalogOrder(t *testing.T) {
	var names []string
	for _, k := range addon.Catalog() {
		names = append(names, k.Name)
		if len(k.Versions) == 0 || k.Namespace == "" || k.Type == "" {
			t.Errorf("%+v", k)
		}
	}
	if !slices.IsSorted(names) || len(names) != len(slices.Compact(slices.Clone(names))) {
		t.Errorf("%v", names)
	}
	for i, n := range names {
		if got := addon.After(n); len(got) != len(names)-i-1 {
			t.Errorf("after %s come %d", n, len(got))
		}
	}
}
