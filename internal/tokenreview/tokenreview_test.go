// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenreview_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"podid/internal/accessentry"
	"podid/internal/cluster"
	"podid/internal/cluster/clustertest"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/store/storetest"
	"podid/internal/tokenreview"
)

const (
	account = "123456789012"
	region  = "us-west-2"
	view    = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
	token   = "k8s-aws-v1.aGVsbG8"
)

var (
	hosts = []string{"sts.us-west-2.amazonaws.com"}
	admin = iam.Caller{Account: account}
	dev   = &iam.Role{ID: "AROADEV", Partition: "aws", Account: account, Path: "/team/", Name: "dev"}
	ann   = &iam.User{ID: "AIDAANN", Partition: "aws", Account: account, Path: "/", Name: "ann"}
)

func session(role *iam.Role) iam.Caller {
	return iam.Caller{
		Kind: iam.CallerSession, Partition: "aws", Account: role.Account, ARN: "arn:aws:sts::" + role.Account + ":assumed-role/" + role.Name + "/ann@example.com",
		UserID: role.ID + ":ann@example.com", AccessKeyID: "ASIADEV", Role: role,
	}
}

// prover has proven who it is told, and remembers what it was asked.
type prover struct {
	caller         iam.Caller
	err            error
	token, cluster string
	hosts          []string
}

func (p *prover) KubeCaller(_ context.Context, token, clusterName string, hosts []string) (iam.Caller, error) {
	p.token, p.cluster, p.hosts = token, clusterName, hosts
	return p.caller, p.err
}

type anything struct{}

func (anything) Authorize(context.Context, iam.Caller, iam.Query) error { return nil }

// late is a store whose own view does not change after stop: what comes then
// is seen by a fence only, as another replica's writes may be.
type late struct {
	*storetest.Memory
	old     *store.View
	broken  error
	fences  int
	stopped bool
}

func (l *late) stop() { l.old, l.stopped = l.Memory.View(), true }

func (l *late) View() *store.View {
	if l.stopped {
		return l.old
	}
	return l.Memory.View()
}

func (l *late) Fence(ctx context.Context) (*store.View, error) {
	l.fences++
	if l.broken != nil {
		return nil, l.broken
	}
	return l.Memory.Fence(ctx)
}

// house is the cluster c, whose API server may ask.
type house struct {
	*tokenreview.Service
	prover  *prover
	store   *late
	entries *accessentry.Manager
	cluster *cluster.Cluster
	bearer  string
}

func newHouse(tb testing.TB) *house {
	tb.Helper()
	mem := storetest.NewMemory(store.NewSchema(cluster.Clusters, accessentry.Entries, accessentry.Reviewers, iam.Roles, iam.Users))
	now := func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }
	h := &house{
		prover: &prover{}, store: &late{Memory: mem},
		entries: &accessentry.Manager{Store: mem, Authz: anything{}, Now: now, Rand: rand.Reader, Partition: "aws", Account: account, Region: region},
	}
	h.Service = &tokenreview.Service{Store: h.store, Prover: h.prover, Region: region, Hosts: func() []string { return hosts }}
	clusters := &cluster.Manager{Store: mem, Authz: anything{}, Now: now, Rand: rand.Reader, Partition: "aws", Account: account, Region: region}
	var err error
	if h.cluster, err = clusters.Register(tb.Context(), admin, cluster.RegisterInput{Name: "c", Issuer: "https://issuer.example", JWKS: []byte(clustertest.JWKS)}); err != nil {
		tb.Fatal(err)
	}
	err = mem.Update(tb.Context(), func(tx *store.Tx) error {
		global := store.Scope{Account: account, Region: store.Global}
		iam.Roles.Put(tx, global, "dev", dev)
		iam.Users.Put(tx, global, "ann", ann)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	h.bearer = h.reviewToken(tb)
	return h
}

func (h *house) reviewToken(tb testing.TB) string {
	tb.Helper()
	s, err := h.entries.CreateReviewToken(tb.Context(), admin, "c")
	if err != nil {
		tb.Fatal(err)
	}
	return s.Reveal()
}

func (h *house) letIn(tb testing.TB, in accessentry.CreateInput) {
	tb.Helper()
	in.Cluster = "c"
	if _, err := h.entries.Create(tb.Context(), admin, in); err != nil {
		tb.Fatal(err)
	}
}

func refused(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	if !fault.Is(err, kind) || fault.As(err).Reason != reason {
		t.Errorf("%v (%s), want %s", err, fault.As(err).Reason, reason)
	}
	if err != nil && strings.Contains(err.Error(), token) {
		t.Errorf("the token is in %v", err)
	}
}

func TestUser(t *testing.T) {
	h := newHouse(t)
	h.letIn(t, accessentry.CreateInput{PrincipalARN: ann.ARN(), Username: "ann", Groups: []string{"ops"}})
	h.prover.caller = iam.Caller{Kind: iam.CallerUser, Account: account, ARN: ann.ARN(), UserID: ann.ID, AccessKeyID: "AKIAANN", User: ann}
	caller, u, err := h.Review(t.Context(), h.cluster, token)
	if err != nil || caller.ARN != ann.ARN() || h.prover.token != token || h.prover.cluster != "c" || !slices.Equal(h.prover.hosts, hosts) {
		t.Fatalf("%+v %v, asked %+v", caller, err, h.prover)
	}
	want := &tokenreview.User{Username: "ann", UID: "aws-iam-authenticator:123456789012:AIDAANN", Groups: []string{"ops"}, Extra: map[string][]string{
		"arn": {ann.ARN()}, "canonicalArn": {ann.ARN()}, "sessionName": {""}, "accessKeyId": {"AKIAANN"}, "principalId": {"AIDAANN"},
		"sigs.k8s.io/aws-iam-authenticator/principalId": {"AIDAANN"},
	}}
	if diff := cmp.Diff(want, u); diff != "" {
		t.Error(diff)
	}
	if h.store.fences != 0 {
		t.Errorf("%d fences for somebody who is known", h.store.fences)
	}
}

func TestSession(t *testing.T) {
	h := newHouse(t)
	h.letIn(t, accessentry.CreateInput{PrincipalARN: dev.ARN()})
	if _, err := h.entries.Associate(t.Context(), admin, accessentry.AssociateInput{Cluster: "c", PrincipalARN: dev.ARN(), PolicyARN: view, Scope: "namespace", Namespaces: []string{"ns"}}); err != nil {
		t.Fatal(err)
	}
	h.prover.caller = session(dev)
	_, u, err := h.Review(t.Context(), h.cluster, token)
	if err != nil {
		t.Fatal(err)
	}
	if u.Username != "arn:aws:sts::123456789012:assumed-role/dev/ann-example.com" || !slices.Equal(u.Groups, []string{"podid.dev:namespace:ns:AmazonEKSViewPolicy"}) {
		t.Errorf("%+v", u)
	}
	// The principal is the role with its path, which the session's ARN has not.
	if u.Extra["canonicalArn"][0] != dev.ARN() || u.Extra["sessionName"][0] != "ann@example.com" || u.Extra["podid.dev/access-policies"][0] != view {
		t.Errorf("%+v", u.Extra)
	}
}

// Who is proven is not therefore let in.
func TestNobodyElse(t *testing.T) {
	again := *dev
	again.ID = "AROANEW"
	stranger := *dev
	stranger.Account = "210987654321"
	nodes := accessentry.CreateInput{PrincipalARN: dev.ARN(), Type: "EC2_LINUX"}
	standard := accessentry.CreateInput{PrincipalARN: dev.ARN()}
	lost := session(dev)
	lost.Role = nil
	for _, tc := range []struct {
		name   string
		entry  accessentry.CreateInput
		caller iam.Caller
		reason string
	}{
		{"no entry", accessentry.CreateInput{PrincipalARN: ann.ARN()}, session(dev), "access-entry-none"},
		{"entry for nodes", nodes, session(dev), "access-entry-type"},
		{"role made anew", standard, session(&again), "access-entry-none"},
		{"namesake of another account", standard, session(&stranger), "access-entry-none"},
		{"session without its role", standard, lost, "access-entry-none"},
		{"federated user", accessentry.CreateInput{PrincipalARN: ann.ARN()}, iam.Caller{Kind: iam.CallerFederated, Account: account, User: ann}, "access-entry-none"},
		{"service", standard, iam.Caller{Kind: iam.CallerService, Account: account, Role: dev}, "access-entry-none"},
		{"nobody", standard, iam.Caller{}, "access-entry-none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t)
			h.letIn(t, tc.entry)
			h.prover.caller = tc.caller
			caller, u, err := h.Review(t.Context(), h.cluster, token)
			refused(t, err, fault.AccessDenied, tc.reason)
			if u != nil || caller.ARN != tc.caller.ARN {
				t.Errorf("%+v for %+v", u, caller) // the audit log names who was refused
			}
		})
	}
}

func TestUnproven(t *testing.T) {
	h := newHouse(t)
	h.letIn(t, accessentry.CreateInput{PrincipalARN: dev.ARN()})
	h.prover.caller, h.prover.err = session(dev), fault.New(fault.InvalidToken, "no").WithReason("kube-token-form")
	_, u, err := h.Review(t.Context(), h.cluster, token)
	refused(t, err, fault.InvalidToken, "kube-token-form")
	if u != nil {
		t.Errorf("%+v", u)
	}
}

// What another replica has acknowledged counts before a refusal; without the
// store nobody is told that he has no entry.
func TestRefusalsLookAgain(t *testing.T) {
	h := newHouse(t)
	h.store.stop()
	h.letIn(t, accessentry.CreateInput{PrincipalARN: dev.ARN()})
	bearer := h.reviewToken(t)
	h.prover.caller = session(dev)
	if _, u, err := h.Review(t.Context(), h.cluster, token); err != nil || u == nil {
		t.Errorf("entry of a moment ago: %v", err)
	}
	if c, err := h.Cluster(t.Context(), "c", bearer); err != nil || c.UID != h.cluster.UID {
		t.Errorf("bearer token of a moment ago: %v", err)
	}
	h.store.broken = store.ErrUnavailable
	_, _, err := h.Review(t.Context(), h.cluster, token)
	if !fault.Is(err, fault.Unavailable) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("store away: %v", err)
	}
	if _, err := h.Cluster(t.Context(), "c", bearer); !fault.Is(err, fault.Unavailable) {
		t.Errorf("store away: %v", err)
	}
	if c, err := h.Cluster(t.Context(), "c", h.bearer); err != nil || c.Name != "c" {
		t.Errorf("store away, bearer token known: %v", err)
	}
}

// One text for all refusals: nobody learns which clusters there are.
func TestClusterRefuses(t *testing.T) {
	h := newHouse(t)
	fences := 0
	for _, tc := range []struct{ name, cluster, bearer string }{
		{"no such cluster", "d", h.bearer},
		{"no bearer token", "c", ""},
		{"a kube token", "c", token},
		{"another account's", "c", strings.Replace(h.bearer, account, "210987654321", 1)},
		{"cut", "c", h.bearer[:len(h.bearer)-1]},
		{"padded", "c", h.bearer + "="},
		{"binary", "c", "podid-review." + account + ".\x00\xff"},
		{"huge", "c", strings.Repeat(h.bearer, 10000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := h.Cluster(t.Context(), tc.cluster, tc.bearer)
			refused(t, err, fault.AccessDenied, "review-token")
			if c != nil || fault.As(err).Message != "The bearer token is not that of this cluster's API server." {
				t.Errorf("%v %v", c, err)
			}
			if tc.bearer == "" && h.store.fences != fences {
				t.Error("a call without a token costs a fence")
			}
			fences = h.store.fences
		})
	}
}

func BenchmarkReview(b *testing.B) {
	h := newHouse(b)
	h.letIn(b, accessentry.CreateInput{PrincipalARN: dev.ARN()})
	h.prover.caller = session(dev)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := h.Review(b.Context(), h.cluster, token); err != nil {
			b.Fatal(err)
		}
	}
}
