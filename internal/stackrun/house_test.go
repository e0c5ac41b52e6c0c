// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"podid/internal/association"
	"podid/internal/authz"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/stackrun"
	"podid/internal/store"
	"podid/internal/store/storetest"
	"podid/internal/sts"
)

const (
	account   = "111122223333"
	region    = "us-west-2"
	partition = "aws"

	allowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	jwks     = `{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"1"}]}`
)

var (
	scope  = store.Scope{Account: account, Region: region}
	global = store.Scope{Account: account, Region: store.Global}
	ctx    = context.Background()
)

// plain seals nothing; it marks what was sealed, so that tests can look for it.
type plain struct{}

func (plain) Seal(p, aad []byte) ([]byte, error) {
	out := append(slices.Clone(aad), 0)
	for _, b := range p {
		out = append(out, b^0x55)
	}
	return out, nil
}

func (plain) Open(s, aad []byte) ([]byte, error) {
	rest, ok := strings.CutPrefix(string(s), string(aad)+"\x00")
	if !ok {
		return nil, errors.New("sealed for something else")
	}
	out := []byte(rest)
	for i := range out {
		out[i] ^= 0x55
	}
	return out, nil
}

type anyRole struct{}

func (a anyRole) AskRole(context.Context, store.Reader, *cluster.Cluster, *association.Association) association.RoleCheck {
	return a.check
}

func (anyRole) check(_ context.Context, r store.Reader, _ *cluster.Cluster, a *association.Association) error {
	if _, ok := iam.RoleByARN(r, a.RoleARN); !ok {
		return fault.New(fault.InvalidParameter, "Role provided in the request does not exist.")
	}
	return nil
}

// disk is a store that can fail: at the write with the number at, counted from
// arm, and with dead at all that follow.
type disk struct {
	*storetest.Memory

	mu    sync.Mutex
	n, at int
	kept  bool // the write that fails is kept
	dead  bool
	gone  bool
	err   error
}

func (d *disk) arm(at int, kept, dead bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n, d.at, d.kept, d.dead, d.gone, d.err = 0, at, kept, dead, false, err
}

func (d *disk) Fence(ctx context.Context) (*store.View, error) {
	d.mu.Lock()
	gone := d.gone
	d.mu.Unlock()
	if gone {
		return nil, store.ErrUnavailable
	}
	return d.Memory.Fence(ctx)
}

func (d *disk) Update(ctx context.Context, fn func(tx *store.Tx) error) error {
	d.mu.Lock()
	if d.gone {
		d.mu.Unlock()
		return store.ErrUnavailable
	}
	d.n++
	hit := d.at > 0 && d.n == d.at
	kept, err := d.kept, d.err
	d.gone = hit && d.dead
	d.mu.Unlock()
	if hit && !kept {
		return err
	}
	if uerr := d.Memory.Update(ctx, fn); uerr != nil || !hit {
		return uerr
	}
	return err
}

// house is the stacks of an account with IAM and a cluster under a clock.
type house struct {
	*stackrun.Manager

	t        testing.TB
	now      time.Time
	disk     *disk
	authz    *watch
	clusters *cluster.Manager
	admin    iam.Caller
}

// watch is the authorizer, which can refuse and call something in between.
type watch struct {
	inner *authz.Authorizer
	mu    sync.Mutex
	deny  map[string]bool // actions
	hook  map[string]func()
	asked []string
}

func (w *watch) Authorize(ctx context.Context, c iam.Caller, q iam.Query) error {
	w.mu.Lock()
	w.asked = append(w.asked, q.Action)
	deny, hook := w.deny[q.Action], w.hook[q.Action]
	delete(w.hook, q.Action)
	w.mu.Unlock()
	if hook != nil {
		hook()
	}
	if deny {
		return fault.New(fault.AccessDenied, "User: %s is not authorized to perform: %s on resource: %s", c.ARN, q.Action, q.Resource)
	}
	return w.inner.Authorize(ctx, c, q)
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	h.disk = &disk{Memory: storetest.NewMemory(store.NewSchema(
		iam.Users, iam.Roles, iam.Groups, iam.Policies, iam.OIDCProviders, iam.InstanceProfiles, iam.AWSPolicies, iam.PolicySets, cluster.Clusters,
		association.Associations, association.Requests, stackrun.Stacks, stackrun.Deleted, stackrun.Resources, stackrun.Templates, stackrun.Events, stackrun.ChangeSets,
	))}
	now := func() time.Time { return h.now }
	h.disk.Now = now
	policies := policy.NewCache(1 << 20)
	h.authz = &watch{inner: &authz.Authorizer{Store: h.disk, Policies: policies, Now: now, Region: region}, deny: map[string]bool{}, hook: map[string]func(){}}
	im := &iam.Manager{Store: h.disk, Authz: h.authz, Sealer: plain{}, Now: now, Rand: rand.Reader, Partition: partition, Account: account}
	as := &association.Manager{Store: h.disk, Authz: h.authz, Roles: anyRole{}, Now: now, Rand: rand.Reader, Partition: partition, Account: account, Region: region}
	h.Manager = &stackrun.Manager{
		Store: h.disk, Authz: h.authz, IAM: im, Associations: as, Sealer: plain{}, Now: now, Rand: rand.Reader, Partition: partition, Account: account, Region: region,
		Sessions: &sts.Service{Store: h.disk, Callers: h.authz.inner, Policies: policies, Now: now, Rand: rand.Reader, Partition: partition, Account: account, Region: region},
	}
	h.clusters = &cluster.Manager{
		Store: h.disk, Authz: h.authz, Now: now, Rand: rand.Reader, Partition: partition, Account: account, Region: region, Dependents: []cluster.Dependents{as},
	}
	h.admin = h.user("admin", allowAll)
	if _, err := h.clusters.Register(ctx, h.admin, cluster.RegisterInput{Name: "my-cluster", Issuer: "https://issuer.example", JWKS: []byte(jwks)}); err != nil {
		t.Fatal(err)
	}
	return h
}

// user makes a user with a policy.
func (h *house) user(name, document string) iam.Caller {
	h.t.Helper()
	u := &iam.User{ID: "AIDAEXAMPLE" + strings.ToUpper(name), Partition: partition, Account: account, Path: "/", Name: name}
	u.Inline = []iam.InlinePolicy{{Name: "inline", Document: document}}
	h.update(func(tx *store.Tx) { iam.Users.Put(tx, global, strings.ToLower(name), u) })
	return iam.Caller{Kind: iam.CallerUser, Partition: partition, Account: account, ARN: u.ARN(), UserID: u.ID, User: u}
}

func (h *house) update(fn func(tx *store.Tx)) {
	h.t.Helper()
	if err := h.disk.Memory.Update(ctx, func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		h.t.Fatal(err)
	}
}

// create makes a stack as the admin and wants the status.
func (h *house) create(name, template string, want stackrun.Status) string {
	h.t.Helper()
	id, err := h.CreateStack(ctx, h.admin, input(name, template))
	if err != nil {
		h.t.Fatal(err)
	}
	h.status(id, want)
	return id
}

func input(name, template string) stackrun.CreateInput {
	return stackrun.CreateInput{Name: name, Source: source(template)}
}

func source(template string) stackrun.Source {
	return stackrun.Source{Template: template, Capabilities: []string{"CAPABILITY_NAMED_IAM"}}
}

// change updates a stack as the admin and wants the status.
func (h *house) change(name, template string, want stackrun.Status) {
	h.t.Helper()
	id, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: name, Source: source(template)})
	if err != nil {
		h.t.Fatal(err)
	}
	h.status(id, want)
}

func (h *house) delete(name string, want stackrun.Status) {
	h.t.Helper()
	id := h.info(name).ID
	if err := h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: name}); err != nil {
		h.t.Fatal(err)
	}
	h.status(id, want)
}

func (h *house) info(name string) stackrun.StackInfo {
	h.t.Helper()
	got, _, err := h.DescribeStacks(ctx, h.admin, name, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return got[0]
}

func (h *house) status(name string, want stackrun.Status) {
	h.t.Helper()
	if got := h.info(name); got.Status != want {
		h.t.Fatalf("the stack is %s (%s), want %s; events:\n%s", got.Status, got.Reason, want, strings.Join(h.events(name), "\n"))
	}
}

// events are a stack's, oldest first.
func (h *house) events(name string) []string {
	h.t.Helper()
	var out []string
	for after, more := "", true; more; more = after != "" {
		part, next, err := h.DescribeStackEvents(ctx, h.admin, name, after)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, e := range part {
			line := e.LogicalID + " " + string(e.Status)
			if e.Reason != "" {
				line += ": " + e.Reason
			}
			out = append(out, line)
		}
		after = next
	}
	slices.Reverse(out)
	return out
}

// said wants an event that begins with start and has the text in it.
func (h *house) said(name, start, text string) {
	h.t.Helper()
	all := h.events(name)
	if !slices.ContainsFunc(all, func(e string) bool { return strings.HasPrefix(e, start) && strings.Contains(e, text) }) {
		h.t.Errorf("no event %q with %q in:\n%s", start, text, strings.Join(all, "\n"))
	}
}

// world lists everything that IAM and EKS have, but for users.
func (h *house) world() []string {
	v := h.disk.Memory.View()
	out := []string{}
	for _, r := range iam.Roles.List(v, global, "", "") {
		line := "role " + r.Path + r.Name + " " + r.Description
		for _, p := range slices.Sorted(slices.Values(r.Attached)) {
			line += " +" + p
		}
		for _, p := range r.Inline {
			line += " " + p.Name + "=" + p.Document
		}
		for _, t := range slices.SortedFunc(slices.Values(r.Tags), func(a, b iam.Tag) int { return strings.Compare(a.Key, b.Key) }) {
			line += " " + t.Key + "=" + t.Value
		}
		out = append(out, line+" "+r.Boundary+" "+r.Trust)
	}
	for _, p := range iam.Policies.List(v, global, "", "") {
		out = append(out, "policy "+p.Name+" "+p.Document())
	}
	for _, p := range iam.OIDCProviders.List(v, global, "", "") {
		out = append(out, "provider "+p.URL+" "+strings.Join(slices.Sorted(slices.Values(p.ClientIDs)), ","))
	}
	for _, p := range iam.InstanceProfiles.List(v, global, "", "") {
		out = append(out, "profile "+p.Name+" "+p.RoleID)
	}
	for _, a := range association.Associations.List(v, scope, "", "") {
		out = append(out, "association "+a.Namespace+"/"+a.ServiceAccount+" "+a.RoleARN)
	}
	for _, g := range iam.Groups.List(v, global, "", "") {
		out = append(out, "group "+g.Name)
	}
	return out
}

func (h *house) want(what string, lines ...string) {
	h.t.Helper()
	if got := h.world(); !slices.Equal(got, lines) && len(got)+len(lines) > 0 {
		h.t.Errorf("%s: there is\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

func refused(t testing.TB, err error, kind fault.Kind, text string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(fault.As(err).Message, text) {
		t.Errorf("got %v (kind %d), want kind %d with %q", err, fault.As(err).Kind, kind, text)
	}
}

func contextWithCancel() (context.Context, func()) { return context.WithCancel(ctx) }
