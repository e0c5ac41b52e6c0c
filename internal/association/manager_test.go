// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/cluster/clustertest"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

const (
	roleARN = "arn:aws:iam::123456789012:role/s3-app-eks-pod-identity-role"
	target  = "arn:aws:iam::222233334444:role/target"
	allowS3 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`
)

var (
	ctx = context.Background()
	me  = iam.Caller{Account: "123456789012"}
	id  = regexp.MustCompile(`^a-[a-z0-9]{17}$`)
)

// gatekeeper allows all but what deny names, and keeps what was asked.
type gatekeeper struct {
	mu    sync.Mutex
	deny  string // "action resource"
	asked []iam.Query
}

func (g *gatekeeper) Authorize(_ context.Context, _ iam.Caller, q iam.Query) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, q)
	if q.Action+" "+q.Resource == g.deny || q.Action == g.deny {
		return fault.New(fault.AccessDenied, "no")
	}
	return nil
}

func (g *gatekeeper) actions() []string {
	out := make([]string, len(g.asked))
	for i, q := range g.asked {
		out[i] = q.Action + " " + q.Resource
	}
	g.asked = nil
	return out
}

// roles knows which roles exist, and which of them trust.
type roles map[string]bool

func (r roles) AskRole(context.Context, store.Reader, *cluster.Cluster, *association.Association) association.RoleCheck {
	return r.check
}

func (r roles) check(_ context.Context, _ store.Reader, _ *cluster.Cluster, a *association.Association) error {
	trusts, exists := r[a.RoleARN]
	if !exists {
		return fault.New(fault.InvalidParameter, "Role provided in the request does not exist.")
	}
	if !trusts {
		return fault.New(fault.InvalidParameter, "Trust policy of the role provided is invalid. Follow the official documentation to resolve the issue.")
	}
	return nil
}

type fixture struct {
	*association.Manager
	clusters *cluster.Manager
	gate     *gatekeeper
	store    *storetest.Memory
	now      time.Time
}

func newFixture(tb testing.TB) *fixture {
	tb.Helper()
	f := &fixture{
		gate: &gatekeeper{}, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		store: storetest.NewMemory(store.NewSchema(cluster.Clusters, association.Associations, association.Requests)),
	}
	now := func() time.Time { return f.now }
	f.store.Now = now
	f.Manager = &association.Manager{
		Store: f.store, Authz: f.gate, Now: now, Rand: rand.Reader, Partition: "aws", Account: "123456789012", Region: "us-west-2",
		Roles: roles{roleARN: true, roleARN + "-2": true, "arn:aws:iam::123456789012:role/path/untrusting": false},
	}
	f.clusters = &cluster.Manager{
		Store: f.store, Authz: &gatekeeper{}, Now: now, Rand: rand.Reader, Partition: "aws", Account: "123456789012", Region: "us-west-2",
		Dependents: []cluster.Dependents{f.Manager},
	}
	f.register(tb, "my-cluster")
	return f
}

func (f *fixture) register(tb testing.TB, name string) *cluster.Cluster {
	tb.Helper()
	c, err := f.clusters.Register(ctx, me, cluster.RegisterInput{Name: name, Issuer: "https://issuer", JWKS: []byte(clustertest.JWKS)})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func input(sa string) association.CreateInput {
	return association.CreateInput{Cluster: "my-cluster", Namespace: "s3-app-ns", ServiceAccount: sa, RoleARN: roleARN}
}

func (f *fixture) create(tb testing.TB, in association.CreateInput) *association.Association {
	tb.Helper()
	a, err := f.Create(ctx, me, in)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func refused(t *testing.T, err error, kind fault.Kind, message string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(fault.As(err).Message, message) {
		t.Errorf("got %v, want kind %d with %q", err, kind, message)
	}
}

func TestCreate(t *testing.T) {
	f := newFixture(t)
	in := input("s3-app-sa")
	in.Tags, in.TargetRoleARN, in.DisableSessionTags, in.Policy = map[string]string{"team": "data"}, target, true, allowS3
	a := f.create(t, in)
	want := &association.Association{
		ID: a.ID, ClusterUID: a.ClusterUID, ClusterName: "my-cluster", ARN: "arn:aws:eks:us-west-2:123456789012:podidentityassociation/my-cluster/" + a.ID,
		Namespace: "s3-app-ns", ServiceAccount: "s3-app-sa", RoleARN: roleARN, TargetRoleARN: target,
		ExternalID: "us-west-2/123456789012/my-cluster/s3-app-ns/s3-app-sa", Policy: allowS3, DisableSessionTags: true,
		Tags: map[string]string{"team": "data"}, Created: f.now, Modified: f.now,
	}
	if d := cmp.Diff(want, a); d != "" || !id.MatchString(a.ID) {
		t.Error(a.ID, d)
	}
	passed := []iam.Query{
		{Action: "eks:CreatePodIdentityAssociation", Resource: "arn:aws:eks:us-west-2:123456789012:cluster/my-cluster", Keys: []iam.ConditionKey{
			{Name: "aws:RequestTag/team", Values: []string{"data"}}, {Name: "aws:TagKeys", Values: []string{"team"}, Multi: true},
		}},
		{Action: "iam:PassRole", Resource: roleARN, Keys: []iam.ConditionKey{
			{Name: "iam:PassedToService", Values: []string{"pods.eks.amazonaws.com"}},
			{Name: "iam:AssociatedResourceArn", Values: []string{"arn:aws:eks:us-west-2:123456789012:cluster/my-cluster"}},
		}},
	}
	if d := cmp.Diff(passed, f.gate.asked); d != "" {
		t.Error(d)
	}
	got, err := f.Describe(ctx, me, "my-cluster", a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateApproxTime(time.Microsecond)); d != "" {
		t.Error(d)
	}
	if found, ok := association.Find(f.store.View(), store.Scope{Account: "123456789012", Region: "us-west-2"}, a.ClusterUID, "s3-app-ns", "s3-app-sa"); !ok || found.ID != a.ID {
		t.Error("the exchange does not find it")
	}
	_, err = f.Create(ctx, me, in)
	refused(t, err, fault.AlreadyExists, "Association already exists: "+a.ID)
}

func TestCreateRefuses(t *testing.T) {
	type in = association.CreateInput
	long := strings.Repeat("a", 64)
	for _, tc := range []struct {
		name    string
		change  func(*in)
		kind    fault.Kind
		message string
	}{
		{"no namespace", func(i *in) { i.Namespace = "" }, fault.MissingParameter, "namespace is required"},
		{"no service account", func(i *in) { i.ServiceAccount = "" }, fault.MissingParameter, "serviceAccount is required"},
		{"no role", func(i *in) { i.RoleARN = "" }, fault.MissingParameter, "roleArn is required"},
		{"long namespace", func(i *in) { i.Namespace = long }, fault.InvalidParameter, "namespace"},
		{"capital", func(i *in) { i.Namespace = "Ns" }, fault.InvalidParameter, "namespace"},
		{"dot in namespace", func(i *in) { i.Namespace = "a.b" }, fault.InvalidParameter, "namespace"},
		{"slash in namespace", func(i *in) { i.Namespace = "a/b" }, fault.InvalidParameter, "namespace"},
		{"dash at the end", func(i *in) { i.Namespace = "a-" }, fault.InvalidParameter, "namespace"},
		{"newline at the end", func(i *in) { i.Namespace = "a\n" }, fault.InvalidParameter, "namespace"},
		{"wildcard", func(i *in) { i.ServiceAccount = "*" }, fault.InvalidParameter, "serviceAccount"},
		{"empty part", func(i *in) { i.ServiceAccount = "a..b" }, fault.InvalidParameter, "serviceAccount"},
		{"long service account", func(i *in) { i.ServiceAccount = strings.Repeat("a", 254) }, fault.InvalidParameter, "serviceAccount"},
		{"role is no ARN", func(i *in) { i.RoleARN = "s3-role" }, fault.InvalidParameter, "roleArn"},
		{"role is a user", func(i *in) { i.RoleARN = "arn:aws:iam::123456789012:user/x" }, fault.InvalidParameter, "roleArn"},
		{"role of another partition", func(i *in) { i.RoleARN = "arn:aws-cn:iam::123456789012:role/x" }, fault.InvalidParameter, "roleArn"},
		{"role of another account", func(i *in) { i.RoleARN = "arn:aws:iam::222233334444:role/x" }, fault.AccessDenied, "Cross-account pass role is not allowed."},
		{"role does not exist", func(i *in) { i.RoleARN = "arn:aws:iam::123456789012:role/none" }, fault.InvalidParameter, "Role provided in the request does not exist."},
		{"role does not trust", func(i *in) { i.RoleARN = "arn:aws:iam::123456789012:role/path/untrusting" }, fault.InvalidParameter, "Trust policy of the role provided is invalid. Follow the official documentation to resolve the issue."},
		{"target is no ARN", func(i *in) { i.TargetRoleARN = "x" }, fault.InvalidParameter, "targetRoleArn"},
		{"policy with session tags", func(i *in) { i.Policy = allowS3 }, fault.InvalidParameter, "disableSessionTags is true"},
		{"policy is not one", func(i *in) { i.Policy, i.DisableSessionTags = "{}", true }, fault.InvalidParameter, "not a valid session policy"},
		{"policy names a principal", func(i *in) {
			i.Policy, i.DisableSessionTags = strings.Replace(allowS3, `"Action"`, `"Principal":"*","Action"`, 1), true
		}, fault.InvalidParameter, "not a valid session policy"},
		{"long policy", func(i *in) { i.Policy, i.DisableSessionTags = allowS3+strings.Repeat(" ", 2048), true }, fault.InvalidParameter, "at most 2048"},
		{"reserved tag", func(i *in) { i.Tags = map[string]string{"aws:x": ""} }, fault.InvalidParameter, "reserved"},
		{"no cluster", func(i *in) { i.Cluster = "nope" }, fault.NotFound, "No cluster found for name: nope."},
		{"long token", func(i *in) { i.Token = strings.Repeat("t", 257) }, fault.InvalidParameter, "clientRequestToken"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t)
			i := input("sa")
			tc.change(&i)
			_, err := f.Create(ctx, me, i)
			refused(t, err, tc.kind, tc.message)
			if n := f.store.View().Len(); n != 1 {
				t.Errorf("%d records, only the cluster was there before", n)
			}
		})
	}
}

func TestNamesAtTheirLimits(t *testing.T) {
	f := newFixture(t)
	in := input(strings.Repeat("a", 253))
	in.Namespace = strings.Repeat("a", 63)
	f.create(t, in)
	in.ServiceAccount, in.Namespace = "a.b-c.0", "0"
	f.create(t, in)
}

// TestOrder: the eks action comes first, then iam:PassRole, then existence,
// then trust; so what may not be passed cannot be probed.
func TestOrder(t *testing.T) {
	f := newFixture(t)
	old := f.create(t, input("taken"))
	f.gate.actions()
	const none = "arn:aws:iam::123456789012:role/none"
	for _, tc := range []struct {
		name, deny string
		cluster    string
		role       string
		kind       fault.Kind
		message    string
		asked      []string
	}{
		{"nothing allowed", "eks:CreatePodIdentityAssociation", "nope", "rubbish", fault.AccessDenied, "no", []string{"eks:CreatePodIdentityAssociation arn:aws:eks:us-west-2:123456789012:cluster/nope"}},
		{"role may not be passed: it may not exist, nor the cluster", "iam:PassRole", "nope", none, fault.AccessDenied, "no", []string{"eks:CreatePodIdentityAssociation arn:aws:eks:us-west-2:123456789012:cluster/nope", "iam:PassRole " + none}},
		{"another account's role is not even asked for", "iam:PassRole", "nope", target, fault.AccessDenied, "Cross-account", []string{"eks:CreatePodIdentityAssociation arn:aws:eks:us-west-2:123456789012:cluster/nope"}},
		{"cluster before role", "", "nope", none, fault.NotFound, "No cluster", nil},
		{"duplicate before role", "", "my-cluster", none, fault.AlreadyExists, old.ID, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.gate.deny = tc.deny
			in := input("taken")
			in.Cluster, in.RoleARN = tc.cluster, tc.role
			_, err := f.Create(ctx, me, in)
			refused(t, err, tc.kind, tc.message)
			if got := f.gate.actions(); tc.asked != nil && !slices.Equal(got, tc.asked) {
				t.Errorf("asked %v, want %v", got, tc.asked)
			}
		})
	}
}

// TestDenied: every verb asks first, for whatever it is given.
func TestDenied(t *testing.T) {
	f := newFixture(t)
	a := f.create(t, input("sa"))
	role := roleARN
	for _, at := range [][2]string{{"my-cluster", a.ID}, {"nope", "short"}, {"my-cluster", "a-00000000000000000"}} {
		on := "arn:aws:eks:us-west-2:123456789012:podidentityassociation/" + at[0] + "/" + at[1]
		for action, verb := range map[string]func() error{
			"eks:DescribePodIdentityAssociation": func() error { _, err := f.Describe(ctx, me, at[0], at[1]); return err },
			"eks:UpdatePodIdentityAssociation": func() error {
				_, err := f.Update(ctx, me, association.UpdateInput{Cluster: at[0], ID: at[1], RoleARN: &role})
				return err
			},
			"eks:DeletePodIdentityAssociation": func() error { _, err := f.Delete(ctx, me, at[0], at[1]); return err },
			"eks:TagResource":                  func() error { return f.Tag(ctx, me, at[0], at[1], nil) },
			"eks:UntagResource":                func() error { return f.Untag(ctx, me, at[0], at[1], nil) },
			"eks:ListTagsForResource":          func() error { _, err := f.Tags(ctx, me, at[0], at[1]); return err },
		} {
			f.gate.deny = action + " " + on
			if err := verb(); !fault.Is(err, fault.AccessDenied) {
				t.Errorf("%s on %s: %v", action, on, err)
			}
		}
		f.gate.deny = "eks:ListPodIdentityAssociations arn:aws:eks:us-west-2:123456789012:cluster/" + at[0]
		if _, _, err := f.List(ctx, me, association.ListInput{Cluster: at[0]}); !fault.Is(err, fault.AccessDenied) {
			t.Errorf("list: %v", err)
		}
	}
}

func TestByID(t *testing.T) {
	f := newFixture(t)
	f.register(t, "other")
	a := f.create(t, input("sa"))
	for _, tc := range []struct {
		name, cluster, id string
		kind              fault.Kind
		message           string
	}{
		{"short id", "my-cluster", "a-x", fault.InvalidParameter, "The parameter associationId should be 19 characters long."},
		{"long id", "my-cluster", a.ID + "x", fault.InvalidParameter, "The parameter associationId should be 19 characters long."},
		{"unknown id", "my-cluster", "a-zzzzzzzzzzzzzzzzz", fault.NotFound, "No association found for id: a-zzzzzzzzzzzzzzzzz"},
		{"unknown cluster", "nope", a.ID, fault.NotFound, "No cluster found for name: nope."},
		{"id of another cluster", "other", a.ID, fault.NotFound, "No association found for id: " + a.ID},
	} {
		t.Run(tc.name, func(t *testing.T) {
			role := roleARN
			_, err := f.Describe(ctx, me, tc.cluster, tc.id)
			refused(t, err, tc.kind, tc.message)
			_, err = f.Delete(ctx, me, tc.cluster, tc.id)
			refused(t, err, tc.kind, tc.message)
			_, err = f.Update(ctx, me, association.UpdateInput{Cluster: tc.cluster, ID: tc.id, RoleARN: &role})
			refused(t, err, tc.kind, tc.message)
			refused(t, f.Tag(ctx, me, tc.cluster, tc.id, map[string]string{"a": "b"}), tc.kind, tc.message)
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestUpdate(t *testing.T) {
	type in = association.UpdateInput
	for _, tc := range []struct {
		name   string
		in     in
		check  func(*association.Association) bool
		passed bool // iam:PassRole was asked
		kind   fault.Kind
		msg    string
	}{
		{"role", in{RoleARN: ptr(roleARN + "-2")}, func(a *association.Association) bool { return a.RoleARN == roleARN+"-2" && a.TargetRoleARN == target }, true, 0, ""},
		{"same role is passed again", in{RoleARN: ptr(roleARN)}, func(a *association.Association) bool { return a.RoleARN == roleARN }, true, 0, ""},
		{"unset target", in{TargetRoleARN: ptr("")}, func(a *association.Association) bool { return a.TargetRoleARN == "" && a.ExternalID == "" }, false, 0, ""},
		{"other target", in{TargetRoleARN: ptr(target + "2")}, func(a *association.Association) bool {
			return a.TargetRoleARN == target+"2" && a.ExternalID == "us-west-2/123456789012/my-cluster/s3-app-ns/sa"
		}, false, 0, ""},
		{"unset policy", in{Policy: ptr("")}, func(a *association.Association) bool { return a.Policy == "" && a.DisableSessionTags }, false, 0, ""},
		{"unset policy and enable tags", in{Policy: ptr(""), DisableSessionTags: ptr(false)}, func(a *association.Association) bool { return a.Policy == "" && !a.DisableSessionTags }, false, 0, ""},
		{"enable tags under a policy", in{DisableSessionTags: ptr(false)}, nil, false, fault.InvalidParameter, "disableSessionTags is true"},
		{"nothing", in{}, nil, false, fault.InvalidParameter, "changes nothing"},
		{"empty role", in{RoleARN: ptr("")}, nil, false, fault.InvalidParameter, "roleArn"},
		{"role of another account", in{RoleARN: ptr(target)}, nil, false, fault.AccessDenied, "Cross-account pass role is not allowed."},
		{"role does not exist", in{RoleARN: ptr("arn:aws:iam::123456789012:role/none")}, nil, true, fault.InvalidParameter, "Role provided in the request does not exist."},
		{"role does not trust", in{RoleARN: ptr("arn:aws:iam::123456789012:role/path/untrusting")}, nil, true, fault.InvalidParameter, "Trust policy of the role provided is invalid."},
		{"bad policy", in{Policy: ptr("x")}, nil, false, fault.InvalidParameter, "not a valid session policy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t)
			i := input("sa")
			i.TargetRoleARN, i.Policy, i.DisableSessionTags = target, allowS3, true
			was := f.create(t, i)
			f.gate.actions()
			f.now = f.now.Add(time.Minute)
			tc.in.Cluster, tc.in.ID = "my-cluster", was.ID
			got, err := f.Update(ctx, me, tc.in)
			if asked := f.gate.actions(); slices.ContainsFunc(asked, func(s string) bool { return strings.HasPrefix(s, "iam:PassRole") }) != tc.passed {
				t.Errorf("asked %v", asked)
			}
			if tc.check == nil {
				refused(t, err, tc.kind, tc.msg)
				return
			}
			if err != nil || !tc.check(got) || !got.Modified.Equal(f.now) || got.ID != was.ID {
				t.Errorf("%+v %v", got, err)
			}
			if now, err := f.Describe(ctx, me, "my-cluster", was.ID); err != nil || !tc.check(now) {
				t.Errorf("described as %+v %v", now, err)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	f := newFixture(t)
	a := f.create(t, input("sa"))
	got, err := f.Delete(ctx, me, "my-cluster", a.ID)
	if err != nil || got.ID != a.ID || got.RoleARN != roleARN {
		t.Fatal(got, err)
	}
	_, err = f.Delete(ctx, me, "my-cluster", a.ID)
	refused(t, err, fault.NotFound, "No association found for id: "+a.ID)
	if b := f.create(t, input("sa")); b.ID == a.ID {
		t.Error("an id was used twice")
	}
}

// TestClusterTakesAll: associations go with their cluster, and a cluster
// registered anew under the name has none of them.
func TestClusterTakesAll(t *testing.T) {
	f := newFixture(t)
	f.register(t, "other")
	var last *association.Association
	for i := range 60 {
		last = f.create(t, input(fmt.Sprint("sa", i)))
	}
	in := input("sa1")
	in.Cluster = "other"
	kept := f.create(t, in)
	if _, err := f.clusters.Delete(ctx, me, "my-cluster"); err != nil {
		t.Fatal(err)
	}
	if n := f.store.View().Len(); n != 2 {
		t.Errorf("%d records left, want the other cluster and its association", n)
	}
	f.register(t, "my-cluster")
	_, err := f.Describe(ctx, me, "my-cluster", last.ID)
	refused(t, err, fault.NotFound, "No association found")
	if page, _, err := f.List(ctx, me, association.ListInput{Cluster: "my-cluster", Max: 100}); err != nil || len(page) != 0 {
		t.Errorf("the new cluster has %d associations: %v", len(page), err)
	}
	if _, err := f.Describe(ctx, me, "other", kept.ID); err != nil {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	f := newFixture(t)
	f.register(t, "other")
	for _, ns := range []string{"a", "a-b", "b"} {
		for _, sa := range []string{"x", "y", "z"} {
			in := input(sa)
			in.Namespace = ns
			f.create(t, in)
		}
	}
	in := input("x")
	in.Cluster, in.Namespace = "other", "a"
	f.create(t, in)
	names := func(page []*association.Association) []string {
		var out []string
		for _, a := range page {
			out = append(out, a.Namespace+"/"+a.ServiceAccount)
		}
		return out
	}
	type in4 = association.ListInput
	for _, tc := range []struct {
		name string
		in   in4
		want []string
	}{
		{"all", in4{}, []string{"a-b/x", "a-b/y", "a-b/z", "a/x", "a/y", "a/z", "b/x", "b/y", "b/z"}},
		{"namespace is not a prefix", in4{Namespace: "a"}, []string{"a/x", "a/y", "a/z"}},
		{"service account", in4{ServiceAccount: "y"}, []string{"a-b/y", "a/y", "b/y"}},
		{"both", in4{Namespace: "b", ServiceAccount: "z"}, []string{"b/z"}},
		{"none", in4{Namespace: "c"}, nil},
		{"filter that is no name", in4{Namespace: "a/x"}, nil},
		{"other cluster", in4{Cluster: "other"}, []string{"a/x"}},
	} {
		for _, size := range []int{1, 2, 3, 100} {
			tc.in.Max, tc.in.After = size, ""
			if tc.in.Cluster == "" {
				tc.in.Cluster = "my-cluster"
			}
			var got []string
			for {
				page, next, err := f.List(ctx, me, tc.in)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) > size {
					t.Fatalf("%s: a page of %d", tc.name, len(page))
				}
				got = append(got, names(page)...)
				if next == "" {
					break
				}
				tc.in.After = next
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%s by %d: %v, want %v", tc.name, size, got, tc.want)
			}
		}
	}
	_, _, err := f.List(ctx, me, in4{Cluster: "nope", Max: 1})
	refused(t, err, fault.NotFound, "No cluster found for name: nope.")
}

// TestListSurvivesChanges: what stays is listed once, whatever comes and goes
// between the pages, the last one seen included.
func TestListSurvivesChanges(t *testing.T) {
	f := newFixture(t)
	ids := map[string]string{}
	for i := range 9 {
		sa := fmt.Sprint("sa-", i)
		ids[sa] = f.create(t, input(sa)).ID
	}
	var got []string
	in := association.ListInput{Cluster: "my-cluster", Max: 3}
	for {
		page, next, err := f.List(ctx, me, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page {
			got = append(got, a.ServiceAccount)
		}
		if next == "" {
			break
		}
		last := page[len(page)-1]
		if _, err := f.Delete(ctx, me, "my-cluster", last.ID); err != nil {
			t.Fatal(err)
		}
		f.create(t, input("sa-0-"+strings.TrimPrefix(last.ServiceAccount, "sa-")+"-late"))
		in.After = next
	}
	if want := []string{"sa-0", "sa-1", "sa-2", "sa-3", "sa-4", "sa-5", "sa-6", "sa-7", "sa-8"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestLimit(t *testing.T) {
	f := newFixture(t)
	f.Limit = 3
	for i := range 3 {
		f.create(t, input(fmt.Sprint("sa", i)))
	}
	_, err := f.Create(ctx, me, input("sa3"))
	refused(t, err, fault.LimitExceeded, "limit of 3")
	f.register(t, "other")
	in := input("sa3")
	in.Cluster = "other"
	f.create(t, in)
}

// TestLimitUnderRaces: the quota holds however many come at once.
func TestLimitUnderRaces(t *testing.T) {
	f := newFixture(t)
	f.Limit = 5
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 30 {
		wg.Go(func() {
			_, err := f.Create(ctx, me, input(fmt.Sprint("sa", i)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if !fault.Is(err, fault.LimitExceeded) {
				t.Errorf("create: %v", err)
			}
		})
	}
	wg.Wait()
	if made != 5 {
		t.Errorf("%d made under a limit of 5", made)
	}
}

// TestOneWins: of 100 who create for one service account, one does, and the
// others are told its id.
func TestOneWins(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []string
	told := map[string]int{}
	for range 100 {
		wg.Go(func() {
			a, err := f.Create(ctx, me, input("sa"))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, a.ID)
				return
			}
			if !fault.Is(err, fault.AlreadyExists) {
				t.Errorf("create: %v", err)
			}
			told[fault.As(err).Message]++
		})
	}
	wg.Wait()
	if len(won) != 1 || told["Association already exists: "+won[0]] != 99 {
		t.Errorf("won %v, told %v", won, told)
	}
}

func TestStoreAway(t *testing.T) {
	f := newFixture(t)
	f.store.Fail(store.ErrUnavailable)
	_, err := f.Create(ctx, me, input("sa"))
	refused(t, err, fault.Unavailable, "Try again")
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the cause is lost: %v", err)
	}
	if _, _, err := f.List(ctx, me, association.ListInput{Cluster: "my-cluster", Max: 1}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("list: %v", err)
	}
}

func TestTags(t *testing.T) {
	f := newFixture(t)
	in := input("sa")
	in.Tags = map[string]string{"team": "data"}
	a := f.create(t, in)
	f.gate.asked = nil
	if err := f.Tag(ctx, me, "my-cluster", a.ID, map[string]string{"owner": "me"}); err != nil {
		t.Fatal(err)
	}
	want := iam.Query{Action: "eks:TagResource", Resource: a.ARN, Keys: []iam.ConditionKey{
		{Name: "aws:RequestTag/owner", Values: []string{"me"}}, {Name: "aws:TagKeys", Values: []string{"owner"}, Multi: true}, {Name: "aws:ResourceTag/team", Values: []string{"data"}},
	}}
	if d := cmp.Diff(want, f.gate.asked[0]); d != "" {
		t.Error(d)
	}
	if err := f.Untag(ctx, me, "my-cluster", a.ID, []string{"team"}); err != nil {
		t.Fatal(err)
	}
	got, err := f.Tags(ctx, me, "my-cluster", a.ID)
	if d := cmp.Diff(map[string]string{"owner": "me"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	refused(t, f.Tag(ctx, me, "my-cluster", a.ID, nil), fault.MissingParameter, "At least one tag")
}

func BenchmarkFind(b *testing.B) {
	f := newFixture(b)
	var uid string
	for i := range 1000 {
		uid = f.create(b, input(fmt.Sprint("sa", i))).ClusterUID
	}
	v, s := f.store.View(), store.Scope{Account: "123456789012", Region: "us-west-2"}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := association.Find(v, s, uid, "s3-app-ns", "sa500"); !ok {
			b.Fatal("not found")
		}
	}
}
