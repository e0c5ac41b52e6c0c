// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
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
)

const (
	account = "123456789012"
	devARN  = "arn:aws:iam::123456789012:role/team/dev"
	annARN  = "arn:aws:iam::123456789012:user/ann"
	view    = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
	edit    = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEditPolicy"
)

var (
	scope = store.Scope{Account: account, Region: "us-west-2"}
	me    = iam.Caller{Account: account}
)

// gatekeeper allows all but the action in deny, and keeps what was asked.
type gatekeeper struct {
	deny  string
	asked []iam.Query
}

func (g *gatekeeper) Authorize(_ context.Context, _ iam.Caller, q iam.Query) error {
	g.asked = append(g.asked, q)
	if q.Action == g.deny {
		return fault.New(fault.AccessDenied, "no").WithReason("denied")
	}
	return nil
}

// house is the entries of one cluster, c, of an account with one role and one
// user.
type house struct {
	*accessentry.Manager
	store    *storetest.Memory
	gate     *gatekeeper
	clusters *cluster.Manager
	now      time.Time
}

func newHouse(tb testing.TB) *house {
	tb.Helper()
	h := &house{
		store: storetest.NewMemory(store.NewSchema(cluster.Clusters, accessentry.Entries, accessentry.Reviewers, iam.Roles, iam.Users)),
		gate:  &gatekeeper{}, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
	}
	now := func() time.Time { return h.now }
	h.Manager = &accessentry.Manager{Store: h.store, Authz: h.gate, Now: now, Rand: rand.Reader, Partition: "aws", Account: account, Region: scope.Region}
	h.clusters = &cluster.Manager{
		Store: h.store, Authz: &gatekeeper{}, Now: now, Rand: rand.Reader, Partition: "aws", Account: account, Region: scope.Region,
		Dependents: []cluster.Dependents{h.Manager},
	}
	h.register(tb, "c")
	h.write(tb, func(tx *store.Tx) {
		global := store.Scope{Account: account, Region: store.Global}
		iam.Roles.Put(tx, global, "dev", &iam.Role{ID: "AROADEV", Partition: "aws", Account: account, Path: "/team/", Name: "dev"})
		iam.Users.Put(tx, global, "ann", &iam.User{ID: "AIDAANN", Partition: "aws", Account: account, Path: "/", Name: "ann"})
	})
	return h
}

func (h *house) register(tb testing.TB, name string) *cluster.Cluster {
	tb.Helper()
	c, err := h.clusters.Register(tb.Context(), me, cluster.RegisterInput{
		Name: name, Issuer: "https://issuer.example", JWKS: []byte(clustertest.JWKS), Tags: map[string]string{"env": "test"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func (h *house) write(tb testing.TB, fn func(*store.Tx)) {
	tb.Helper()
	if err := h.store.Update(tb.Context(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		tb.Fatal(err)
	}
}

func (h *house) create(tb testing.TB, in accessentry.CreateInput) *accessentry.Entry {
	tb.Helper()
	in.Cluster = "c"
	e, err := h.Create(tb.Context(), me, in)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func refused(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	if !fault.Is(err, kind) || fault.As(err).Reason != reason {
		t.Errorf("%v (%s), want %s", err, fault.As(err).Reason, reason)
	}
}

func TestCreate(t *testing.T) {
	h := newHouse(t)
	e := h.create(t, accessentry.CreateInput{PrincipalARN: devARN, Groups: []string{"devs"}, Tags: map[string]string{"a": "b"}})
	if !regexp.MustCompile(`^arn:aws:eks:us-west-2:123456789012:access-entry/c/role/123456789012/dev/[0-9a-f-]{36}$`).MatchString(e.ARN) {
		t.Errorf("ARN %s", e.ARN)
	}
	if e.PrincipalID != "AROADEV" || e.Type != accessentry.Standard || e.Username != "arn:aws:sts::123456789012:assumed-role/dev/{{SessionName}}" || !e.Created.Equal(h.now) {
		t.Errorf("%+v", e)
	}
	if e := h.create(t, accessentry.CreateInput{PrincipalARN: annARN}); e.Username != annARN || e.PrincipalID != "AIDAANN" {
		t.Errorf("of a user: %+v", e)
	}
	_, err := h.Create(t.Context(), me, accessentry.CreateInput{Cluster: "c", PrincipalARN: annARN})
	refused(t, err, fault.AlreadyExists, "access-entry-exists")
}

// A repeat of a call with a token is answered with the entry as it is now.
func TestCreateAgain(t *testing.T) {
	h := newHouse(t)
	in := accessentry.CreateInput{Cluster: "c", PrincipalARN: devARN, Token: "t"}
	first := h.create(t, in)
	if again := h.create(t, in); again.ARN != first.ARN {
		t.Errorf("a repeat made %s", again.ARN)
	}
	other := in
	other.Username = "x"
	_, err := h.Create(t.Context(), me, other)
	refused(t, err, fault.InvalidParameter, "client-request-token")
	_, err = h.Create(t.Context(), iam.Caller{Account: "210987654321"}, in)
	refused(t, err, fault.AlreadyExists, "access-entry-exists")
	if err := h.Delete(t.Context(), me, "c", devARN); err != nil {
		t.Fatal(err)
	}
	if anew := h.create(t, in); anew.ARN == first.ARN {
		t.Error("what was deleted came back")
	}
}

func TestCreateRefuses(t *testing.T) {
	h := newHouse(t)
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	for _, tc := range []struct {
		name, reason string
		in           accessentry.CreateInput
	}{
		{"no principal", "principal-missing", accessentry.CreateInput{}},
		{"no ARN", "principal", accessentry.CreateInput{PrincipalARN: "dev"}},
		{"long ARN", "principal", accessentry.CreateInput{PrincipalARN: "arn:aws:iam::123456789012:role/" + strings.Repeat("x", 3000)}},
		{"path left out", "principal", accessentry.CreateInput{PrincipalARN: "arn:aws:iam::123456789012:role/dev"}},
		{"other case", "principal", accessentry.CreateInput{PrincipalARN: "arn:aws:iam::123456789012:role/team/Dev"}},
		{"role named as a user", "principal", accessentry.CreateInput{PrincipalARN: "arn:aws:iam::123456789012:user/team/dev"}},
		{"another account", "principal", accessentry.CreateInput{PrincipalARN: "arn:aws:iam::210987654321:role/team/dev"}},
		{"another partition", "principal", accessentry.CreateInput{PrincipalARN: "arn:aws-cn:iam::123456789012:role/team/dev"}},
		{"a session", "principal", accessentry.CreateInput{PrincipalARN: "arn:aws:sts::123456789012:assumed-role/dev/x"}},
		{"a region", "principal", accessentry.CreateInput{PrincipalARN: "arn:aws:iam:us-west-2:123456789012:role/team/dev"}},
		{"root", "principal", accessentry.CreateInput{PrincipalARN: "arn:aws:iam::123456789012:root"}},
		{"unknown type", "entry-type", accessentry.CreateInput{PrincipalARN: devARN, Type: "standard"}},
		{"node type of a user", "entry-type", accessentry.CreateInput{PrincipalARN: annARN, Type: "EC2_LINUX"}},
		{"node type with a name", "entry-type", accessentry.CreateInput{PrincipalARN: devARN, Type: "EC2_LINUX", Username: "x"}},
		{"long token", "client-request-token", accessentry.CreateInput{PrincipalARN: devARN, Token: strings.Repeat("x", 257)}},
		{"long name", "username", accessentry.CreateInput{PrincipalARN: devARN, Username: strings.Repeat("x", 257)}},
		{"name with a line end", "username", accessentry.CreateInput{PrincipalARN: devARN, Username: "a\nb"}},
		{"name with a space before", "username", accessentry.CreateInput{PrincipalARN: devARN, Username: " system:admin"}},
		{"name that is no text", "username", accessentry.CreateInput{PrincipalARN: devARN, Username: "a\xff"}},
		{"system's name", "username-reserved", accessentry.CreateInput{PrincipalARN: devARN, Username: "system:admin"}},
		{"unknown word", "username-template", accessentry.CreateInput{PrincipalARN: devARN, Username: "x:{{Groups}}"}},
		{"half a word", "username-template", accessentry.CreateInput{PrincipalARN: devARN, Username: "x:{{SessionName}"}},
		{"word in a word", "username-template", accessentry.CreateInput{PrincipalARN: devARN, Username: "x:{{{{SessionName}}}}"}},
		{"session's name alone", "username-session", accessentry.CreateInput{PrincipalARN: devARN, Username: "{{SessionName}}"}},
		{"colon too late", "username-session", accessentry.CreateInput{PrincipalARN: devARN, Username: "{{SessionNameRaw}}:x"}},
		{"too many groups", "group-count", accessentry.CreateInput{PrincipalARN: devARN, Groups: many}},
		{"empty group", "group", accessentry.CreateInput{PrincipalARN: devARN, Groups: []string{""}}},
		{"masters", "group-reserved", accessentry.CreateInput{PrincipalARN: devARN, Groups: []string{"system:masters"}}},
		{"group of a policy", "group-reserved", accessentry.CreateInput{PrincipalARN: devARN, Groups: []string{"podid.dev:cluster:AmazonEKSClusterAdminPolicy"}}},
		{"group twice", "group-twice", accessentry.CreateInput{PrincipalARN: devARN, Groups: []string{"a", "a"}}},
		{"reserved tag", "tag-reserved", accessentry.CreateInput{PrincipalARN: devARN, Tags: map[string]string{"AWS:x": "y"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.in.Cluster = "c"
			_, err := h.Create(t.Context(), me, tc.in)
			if got := fault.As(err); got.Reason != tc.reason || !fault.Is(err, fault.InvalidParameter) && !fault.Is(err, fault.MissingParameter) {
				t.Errorf("%v (%s), want %s", err, got.Reason, tc.reason)
			}
		})
	}
	_, err := h.Create(t.Context(), me, accessentry.CreateInput{Cluster: "none", PrincipalARN: devARN})
	refused(t, err, fault.NotFound, "cluster-not-found")
}

func TestLimit(t *testing.T) {
	h := newHouse(t)
	c, _ := cluster.Clusters.Get(h.store.View(), scope, "c")
	h.write(t, func(tx *store.Tx) {
		for i := range accessentry.MaxEntries {
			accessentry.Entries.Put(tx, scope, accessentry.Key(c.UID, fmt.Sprint("p", i)), &accessentry.Entry{})
		}
	})
	_, err := h.Create(t.Context(), me, accessentry.CreateInput{Cluster: "c", PrincipalARN: devARN})
	refused(t, err, fault.LimitExceeded, "access-entry-limit")
}

func TestUpdate(t *testing.T) {
	h := newHouse(t)
	h.create(t, accessentry.CreateInput{PrincipalARN: devARN, Username: "a", Groups: []string{"g"}})
	name, none, system, groups := "b", "", "system:x", []string{"h"}
	h.now = h.now.Add(time.Minute)
	for _, tc := range []struct {
		what         string
		in           accessentry.UpdateInput
		name, groups string
	}{
		{"nothing", accessentry.UpdateInput{}, "a", "g"},
		{"name", accessentry.UpdateInput{Username: &name}, "b", "g"},
		{"groups", accessentry.UpdateInput{Groups: &groups}, "b", "h"},
		{"default name", accessentry.UpdateInput{Username: &none, Groups: &[]string{}}, "arn:aws:sts::123456789012:assumed-role/dev/{{SessionName}}", ""},
	} {
		tc.in.Cluster, tc.in.PrincipalARN = "c", devARN
		e, err := h.Update(t.Context(), me, tc.in)
		if err != nil || e.Username != tc.name || strings.Join(e.Groups, " ") != tc.groups || !e.Modified.Equal(h.now) || e.Created.Equal(h.now) {
			t.Errorf("%s: %+v %v", tc.what, e, err)
		}
	}
	_, err := h.Update(t.Context(), me, accessentry.UpdateInput{Cluster: "c", PrincipalARN: devARN, Username: &system})
	refused(t, err, fault.InvalidParameter, "username-reserved")
	_, err = h.Update(t.Context(), me, accessentry.UpdateInput{Cluster: "c", PrincipalARN: devARN, Groups: &[]string{"eks:x"}})
	refused(t, err, fault.InvalidParameter, "group-reserved")
	_, err = h.Update(t.Context(), me, accessentry.UpdateInput{Cluster: "c", PrincipalARN: annARN, Username: &name})
	refused(t, err, fault.NotFound, "access-entry-not-found")
	_, err = h.Update(t.Context(), me, accessentry.UpdateInput{Cluster: "none", PrincipalARN: devARN})
	refused(t, err, fault.NotFound, "cluster-not-found")
}

func TestPolicies(t *testing.T) {
	h := newHouse(t)
	h.create(t, accessentry.CreateInput{PrincipalARN: devARN})
	h.create(t, accessentry.CreateInput{PrincipalARN: annARN})
	associate := func(in accessentry.AssociateInput) error {
		in.Cluster = "c"
		if in.PrincipalARN == "" {
			in.PrincipalARN = devARN
		}
		_, err := h.Associate(t.Context(), me, in)
		return err
	}
	for _, tc := range []struct {
		name, reason string
		in           accessentry.AssociateInput
	}{
		{"of IAM", "access-policy", accessentry.AssociateInput{PolicyARN: "arn:aws:iam::aws:policy/AdministratorAccess", Scope: "cluster"}},
		{"of another partition", "access-policy", accessentry.AssociateInput{PolicyARN: strings.Replace(view, "aws", "aws-cn", 1), Scope: "cluster"}},
		{"no scope", "access-scope", accessentry.AssociateInput{PolicyARN: view}},
		{"cluster with namespaces", "access-scope", accessentry.AssociateInput{PolicyARN: view, Scope: "cluster", Namespaces: []string{"a"}}},
		{"no namespace", "access-scope", accessentry.AssociateInput{PolicyARN: view, Scope: "namespace"}},
		{"101 namespaces", "access-scope", accessentry.AssociateInput{PolicyARN: view, Scope: "namespace", Namespaces: make([]string, 101)}},
		{"pattern", "access-scope", accessentry.AssociateInput{PolicyARN: view, Scope: "namespace", Namespaces: []string{"dev-*"}}},
		{"namespace twice", "access-scope", accessentry.AssociateInput{PolicyARN: view, Scope: "namespace", Namespaces: []string{"a", "a"}}},
	} {
		t.Run(tc.name, func(t *testing.T) { refused(t, associate(tc.in), fault.InvalidParameter, tc.reason) })
	}
	for _, in := range []accessentry.AssociateInput{
		{PolicyARN: view, Scope: "cluster"},
		{PolicyARN: edit, Scope: "namespace", Namespaces: []string{"a", "b"}},
		{PolicyARN: view, Scope: "namespace", Namespaces: []string{"c"}},
		{PrincipalARN: annARN, PolicyARN: view, Scope: "cluster"},
	} {
		h.now = h.now.Add(time.Minute)
		if err := associate(in); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.ListAssociated(t.Context(), me, "c", devARN)
	if err != nil || len(got) != 2 || got[0].PolicyARN != edit || got[1].PolicyARN != view || got[1].Namespaces[0] != "c" || !got[1].Created.Before(got[1].Modified) {
		t.Errorf("%+v %v", got, err)
	}
	page, _, err := h.List(t.Context(), me, accessentry.ListInput{Cluster: "c", PolicyARN: edit, Max: 10})
	if err != nil || !slices.Equal(page, []string{devARN}) {
		t.Errorf("with the policy: %v %v", page, err)
	}
	if err := h.Disassociate(t.Context(), me, "c", devARN, edit); err != nil {
		t.Fatal(err)
	}
	refused(t, h.Disassociate(t.Context(), me, "c", devARN, edit), fault.NotFound, "access-policy-not-associated")
	h.write(t, func(tx *store.Tx) {
		c, _ := cluster.Clusters.Get(tx, scope, "c")
		e, _ := accessentry.Entries.Get(tx, scope, accessentry.Key(c.UID, devARN))
		n := *e
		n.Policies = make([]accessentry.Associated, accessentry.MaxPolicies)
		accessentry.Entries.Put(tx, scope, accessentry.Key(c.UID, devARN), &n)
	})
	refused(t, associate(accessentry.AssociateInput{PolicyARN: view, Scope: "cluster"}), fault.LimitExceeded, "access-policy-limit")
}

// An entry for nodes gets no policies.
func TestPolicyOfNodes(t *testing.T) {
	h := newHouse(t)
	if e := h.create(t, accessentry.CreateInput{PrincipalARN: devARN, Type: "EC2_LINUX"}); e.Username != "" {
		t.Errorf("named %s", e.Username)
	}
	_, err := h.Associate(t.Context(), me, accessentry.AssociateInput{Cluster: "c", PrincipalARN: devARN, PolicyARN: view, Scope: "cluster"})
	refused(t, err, fault.InvalidParameter, "entry-type")
}

func TestListPages(t *testing.T) {
	h := newHouse(t)
	h.create(t, accessentry.CreateInput{PrincipalARN: devARN})
	h.create(t, accessentry.CreateInput{PrincipalARN: annARN})
	var got []string
	in := accessentry.ListInput{Cluster: "c", Max: 1}
	for {
		page, next, err := h.List(t.Context(), me, in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
		if next == "" {
			break
		}
		in.After = next
	}
	if !slices.Equal(got, []string{devARN, annARN}) {
		t.Errorf("%v", got)
	}
	for _, n := range []int{0, 101} {
		_, _, err := h.List(t.Context(), me, accessentry.ListInput{Cluster: "c", Max: n})
		refused(t, err, fault.InvalidParameter, "max-results")
	}
	_, _, err := h.List(t.Context(), me, accessentry.ListInput{Cluster: "none", Max: 1})
	refused(t, err, fault.NotFound, "cluster-not-found")
}

// Entries go with their cluster, and none is the next one's of that name.
func TestDeleteWithCluster(t *testing.T) {
	h := newHouse(t)
	h.create(t, accessentry.CreateInput{PrincipalARN: devARN})
	if _, err := h.CreateReviewToken(t.Context(), me, "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.clusters.Delete(t.Context(), me, "c"); err != nil {
		t.Fatal(err)
	}
	for id := range accessentry.Entries.List(h.store.View(), scope, "", "") {
		t.Errorf("left: entry %s", id)
	}
	for id := range accessentry.Reviewers.List(h.store.View(), scope, "", "") {
		t.Errorf("left: reviewer %s", id)
	}
}

// Every verb asks first, for its own action and with the tags that count, and
// changes nothing when it is refused.
func TestVerbsAsk(t *testing.T) {
	h := newHouse(t)
	e := h.create(t, accessentry.CreateInput{PrincipalARN: devARN, Tags: map[string]string{"team": "a"}})
	name := "x"
	const onCluster = "arn:aws:eks:us-west-2:123456789012:cluster/c"
	for _, tc := range []struct {
		action, resource, tag string
		verb                  func(context.Context) error
	}{
		{"eks:CreateAccessEntry", onCluster, "env", func(ctx context.Context) error {
			_, err := h.Create(ctx, me, accessentry.CreateInput{Cluster: "c", PrincipalARN: annARN})
			return err
		}},
		{"eks:DescribeAccessEntry", e.ARN, "team", func(ctx context.Context) error { _, err := h.Describe(ctx, me, "c", devARN); return err }},
		{"eks:ListAccessEntries", onCluster, "env", func(ctx context.Context) error {
			_, _, err := h.List(ctx, me, accessentry.ListInput{Cluster: "c", Max: 1})
			return err
		}},
		{"eks:UpdateAccessEntry", e.ARN, "team", func(ctx context.Context) error {
			_, err := h.Update(ctx, me, accessentry.UpdateInput{Cluster: "c", PrincipalARN: devARN, Username: &name})
			return err
		}},
		{"eks:AssociateAccessPolicy", e.ARN, "team", func(ctx context.Context) error {
			_, err := h.Associate(ctx, me, accessentry.AssociateInput{Cluster: "c", PrincipalARN: devARN, PolicyARN: view, Scope: "cluster"})
			return err
		}},
		{"eks:ListAssociatedAccessPolicies", e.ARN, "team", func(ctx context.Context) error { _, err := h.ListAssociated(ctx, me, "c", devARN); return err }},
		{"eks:DisassociateAccessPolicy", e.ARN, "team", func(ctx context.Context) error { return h.Disassociate(ctx, me, "c", devARN, view) }},
		{"eks:DeleteAccessEntry", e.ARN, "team", func(ctx context.Context) error { return h.Delete(ctx, me, "c", devARN) }},
		{"eks:TagResource", e.ARN, "team", func(ctx context.Context) error { return h.Tag(ctx, me, "c", e.ARN, map[string]string{"team": "b"}) }},
		{"eks:UntagResource", e.ARN, "team", func(ctx context.Context) error { return h.Untag(ctx, me, "c", e.ARN, []string{"team"}) }},
		{"eks:ListTagsForResource", e.ARN, "team", func(ctx context.Context) error { _, err := h.Tags(ctx, me, "c", e.ARN); return err }},
		{"eks:ListAccessPolicies", "*", "", func(ctx context.Context) error { _, err := h.ListPolicies(ctx, me); return err }},
		{"podid:CreateReviewToken", onCluster, "env", func(ctx context.Context) error { _, err := h.CreateReviewToken(ctx, me, "c"); return err }},
	} {
		t.Run(tc.action, func(t *testing.T) {
			h.gate.deny, h.gate.asked = tc.action, nil
			refused(t, tc.verb(t.Context()), fault.AccessDenied, "denied")
			q := h.gate.asked[0]
			hasTag := slices.ContainsFunc(q.Keys, func(k iam.ConditionKey) bool { return k.Name == "aws:ResourceTag/"+tc.tag })
			if len(h.gate.asked) != 1 || q.Action != tc.action || q.Resource != tc.resource || tc.tag != "" && !hasTag {
				t.Errorf("asked %+v", h.gate.asked)
			}
			got, err := h.clone().Describe(t.Context(), me, "c", devARN)
			if err != nil || cmp.Diff(e, got) != "" {
				t.Errorf("%v %s", err, cmp.Diff(e, got))
			}
			for id := range accessentry.Reviewers.List(h.store.View(), scope, "", "") {
				t.Errorf("made a review token for %s", id)
			}
		})
	}
	h.gate.deny = "eks:DescribeAccessEntry"
	for _, name := range []string{"none", "c"} {
		_, err := h.Describe(t.Context(), me, name, annARN)
		refused(t, err, fault.AccessDenied, "denied") // and not that there is none
	}
}

// clone is the manager for one who may do everything.
func (h *house) clone() *accessentry.Manager {
	m := *h.Manager
	m.Authz = &gatekeeper{}
	return &m
}
