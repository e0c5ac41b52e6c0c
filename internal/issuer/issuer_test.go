// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package issuer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"podid/internal/account"
	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/issuer"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

const (
	first  = "111122223333"
	second = "444455556666"
)

// gate is an authorizer that refuses the actions named.
type gate struct{ refused, asked []string }

func (g *gate) Authorize(_ context.Context, _ iam.Caller, q iam.Query) error {
	g.asked = append(g.asked, q.Action+" "+q.Resource)
	for _, a := range g.refused {
		if a == q.Action {
			return fault.New(fault.AccessDenied, "no")
		}
	}
	return nil
}

// probe stands for the upstream.
type probe struct{ err error }

func (p *probe) Probe(_ context.Context, _ string, c issuer.Choice) (string, error) {
	return "arn:aws:iam::" + first + ":user/" + c.AWS.Profile, p.err
}

func newManager(t *testing.T) (*issuer.Manager, *gate, *probe) {
	t.Helper()
	db := storetest.NewMemory(store.NewSchema(account.Accounts, issuer.Choices))
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for _, id := range []string{first, second} {
			account.Accounts.Put(tx, account.Scope, id, &account.Account{ID: id})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g, p := &gate{}, &probe{}
	return &issuer.Manager{
		Store: db, Authz: g, Probe: p, Now: func() time.Time { return time.Unix(1_790_000_000, 0) }, Partition: "aws", Region: "us-west-2", Account: first, First: first,
	}, g, p
}

func caller(id string) iam.Caller {
	return iam.Caller{Kind: iam.CallerUser, Account: id, ARN: "arn:aws:iam::" + id + ":user/me"}
}

func TestSetAndDescribe(t *testing.T) {
	m, g, p := newManager(t)
	got, err := m.Describe(t.Context(), caller(first), second)
	if err != nil || got.Choice.Kind != issuer.Embedded || got.BaseARN != "" {
		t.Errorf("before a choice: %+v, %v", got, err)
	}
	got, err = m.Set(t.Context(), caller(first), second, issuer.Choice{Kind: issuer.AWSSTS, AWS: issuer.AWS{Profile: "x"}})
	if err != nil || got.Choice.AWS.Region != "us-west-2" || got.BaseARN != "arn:aws:iam::111122223333:user/x" || got.Choice.Modified.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	p.err = fault.New(fault.Unavailable, "It is away.").Because(errors.New("the cause"))
	got, err = m.Describe(t.Context(), caller(first), second)
	if err != nil || got.Choice.Kind != issuer.AWSSTS || got.Problem != "It is away." {
		t.Errorf("%+v, %v", got, err)
	}
	if issuer.Find(m.Store.View(), first).Kind != issuer.Embedded {
		t.Error("the other account's issuer has changed")
	}
	if _, err = m.Set(t.Context(), caller(first), second, issuer.Choice{Kind: issuer.Embedded}); err != nil || issuer.Find(m.Store.View(), second).Kind != issuer.Embedded {
		t.Errorf("back: %v", err)
	}
	if g.asked[1] != "podid:SetAccountIssuer arn:aws:podid::111122223333:account/444455556666" || g.asked[0] != "podid:DescribeAccountIssuer arn:aws:podid::111122223333:account/444455556666" {
		t.Error(g.asked)
	}
}

func TestWhoMayChoose(t *testing.T) {
	m, g, _ := newManager(t)
	embedded := issuer.Choice{Kind: issuer.Embedded}
	g.refused = []string{issuer.ActionSet, issuer.ActionDescribe}
	if _, err := m.Set(t.Context(), caller(first), "x", issuer.Choice{}); !fault.Is(err, fault.AccessDenied) {
		t.Errorf("not allowed: %v", err)
	}
	if _, err := m.Describe(t.Context(), caller(first), "x"); !fault.Is(err, fault.AccessDenied) {
		t.Errorf("not allowed: %v", err)
	}
	g.refused = nil
	if _, err := m.Set(t.Context(), caller(first), "999999999999", embedded); !fault.Is(err, fault.NotFound) {
		t.Errorf("no such account: %v", err)
	}
	if _, err := m.Set(t.Context(), caller(first), "x", embedded); !fault.Is(err, fault.InvalidParameter) {
		t.Errorf("no account: %v", err)
	}
	m.Account = second
	for _, id := range []string{first, second} {
		if _, err := m.Set(t.Context(), caller(second), id, embedded); !fault.Is(err, fault.AccessDenied) || fault.As(err).Reason != "not-first-account" {
			t.Errorf("by the second account: %v", err)
		}
	}
	if _, err := m.Describe(t.Context(), caller(second), second); err != nil {
		t.Errorf("its own: %v", err)
	}
	_, other := m.Describe(t.Context(), caller(second), first)
	_, none := m.Describe(t.Context(), caller(second), "999999999999")
	if !fault.Is(other, fault.NotFound) || strings.ReplaceAll(other.Error(), first, "") != strings.ReplaceAll(none.Error(), "999999999999", "") {
		t.Errorf("another's account is told from none: %v, %v", other, none)
	}
}

func TestValidate(t *testing.T) {
	good := func(change func(*issuer.AWS)) issuer.Choice {
		a := issuer.AWS{Region: "us-west-2"}
		change(&a)
		return issuer.Choice{Kind: issuer.AWSSTS, AWS: a}
	}
	for name, tc := range map[string]struct {
		c      issuer.Choice
		reason string
	}{
		"embedded":               {issuer.Choice{Kind: issuer.Embedded}, ""},
		"embedded with settings": {issuer.Choice{Kind: issuer.Embedded, AWS: issuer.AWS{Region: "us-west-2"}}, "issuer-settings"},
		"none":                   {issuer.Choice{}, "issuer-missing"},
		"unknown":                {issuer.Choice{Kind: "vault"}, "issuer-kind"},
		"AWS":                    {good(func(*issuer.AWS) {}), ""},
		"everything": {good(func(a *issuer.AWS) {
			a.STSEndpoint, a.IAMEndpoint, a.Profile, a.ExternalID, a.Rate = "https://sts.example.com:8443/", "https://iam.example.com", "a/b.c@d", "acme:1/2", 20
		}), ""},
		"loopback in the clear":      {good(func(a *issuer.AWS) { a.STSEndpoint = "http://127.0.0.1:4566" }), ""},
		"localhost in the clear":     {good(func(a *issuer.AWS) { a.STSEndpoint = "http://localhost:4566" }), ""},
		"elsewhere in the clear":     {good(func(a *issuer.AWS) { a.STSEndpoint = "http://10.0.0.1:4566" }), "issuer-endpoint-plain"},
		"a name that looks local":    {good(func(a *issuer.AWS) { a.IAMEndpoint = "http://localhost.example.com" }), "issuer-endpoint-plain"},
		"no scheme":                  {good(func(a *issuer.AWS) { a.STSEndpoint = "sts.example.com" }), "issuer-endpoint"},
		"another scheme":             {good(func(a *issuer.AWS) { a.STSEndpoint = "file:///etc/passwd" }), "issuer-endpoint"},
		"a path":                     {good(func(a *issuer.AWS) { a.STSEndpoint = "https://sts.example.com/x" }), "issuer-endpoint"},
		"a user":                     {good(func(a *issuer.AWS) { a.STSEndpoint = "https://u:p@sts.example.com" }), "issuer-endpoint"},
		"a query":                    {good(func(a *issuer.AWS) { a.STSEndpoint = "https://sts.example.com?x=y" }), "issuer-endpoint"},
		"no host":                    {good(func(a *issuer.AWS) { a.STSEndpoint = "https://:443" }), "issuer-endpoint"},
		"tokens":                     {issuer.Choice{Kind: issuer.WebIdentity, AWS: issuer.AWS{Region: "us-west-2", Audience: "acme", Rate: 3}}, ""},
		"tokens with a profile":      {issuer.Choice{Kind: issuer.WebIdentity, AWS: issuer.AWS{Region: "us-west-2", Profile: "x"}}, "issuer-settings"},
		"tokens with an external id": {issuer.Choice{Kind: issuer.WebIdentity, AWS: issuer.AWS{Region: "us-west-2", ExternalID: "xx"}}, "issuer-settings"},
		"tokens, audience":           {issuer.Choice{Kind: issuer.WebIdentity, AWS: issuer.AWS{Region: "us-west-2", Audience: "a b"}}, "issuer-audience"},
		"audience without tokens":    {good(func(a *issuer.AWS) { a.Audience = "x" }), "issuer-settings"},
		"region":                     {good(func(a *issuer.AWS) { a.Region = "US West" }), "issuer-region"},
		"no region":                  {good(func(a *issuer.AWS) { a.Region = "" }), "issuer-region"},
		"profile":                    {good(func(a *issuer.AWS) { a.Profile = "a b\n" }), "issuer-profile"},
		"external id":                {good(func(a *issuer.AWS) { a.ExternalID = "a" }), "issuer-external-id"},
		"external id, characters":    {good(func(a *issuer.AWS) { a.ExternalID = "a b" }), "issuer-external-id"},
		"rate":                       {good(func(a *issuer.AWS) { a.Rate = -1 }), "issuer-rate"},
		"certificates":               {good(func(a *issuer.AWS) { a.CA = "x" }), "issuer-ca"},
		"certificates are a key":     {good(func(a *issuer.AWS) { a.CA = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" }), "issuer-ca"},
		"certificates, unreadable":   {good(func(a *issuer.AWS) { a.CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }), "issuer-ca"},
		"certificates, too many":     {good(func(a *issuer.AWS) { a.CA = strings.Repeat(" ", 65<<10) }), "issuer-ca"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.c.Validate()
			if (err == nil) != (tc.reason == "") || err != nil && fault.As(err).Reason != tc.reason {
				t.Errorf("%v, want %q", err, tc.reason)
			}
		})
	}
}

// An endpoint that is accepted is https, or does not leave the machine.
func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{"https://a", "http://127.0.0.1:1", "http://[::1]:1/", "https://a:b@c", "http://localhost", "https://", "//a", "http://127.0.0.1.example.com", "HTTP://[::ffff:127.0.0.1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := issuer.Choice{Kind: issuer.AWSSTS, AWS: issuer.AWS{Region: "us-west-2", STSEndpoint: s}}
		if c.Validate() != nil || s == "" {
			return
		}
		low := strings.ToLower(s)
		if !strings.HasPrefix(low, "https://") && !strings.HasPrefix(low, "http://localhost") && !strings.HasPrefix(low, "http://127.") && !strings.HasPrefix(low, "http://[") {
			t.Errorf("%q is accepted", s)
		}
	})
}

// plugin tells who was asked.
type plugin struct{ name string }

func (p plugin) Issue(context.Context, store.Reader, *exchange.Order, *exchange.Trace) (*exchange.Issued, error) {
	return &exchange.Issued{RoleARN: p.name}, nil
}

func (p plugin) AskRole(context.Context, store.Reader, *cluster.Cluster, *association.Association) association.RoleCheck {
	return func(context.Context, store.Reader, *cluster.Cluster, *association.Association) error {
		return errors.New(p.name)
	}
}

// checkRole asks and checks at once.
func checkRole(t *testing.T, r *issuer.Router, v store.Reader, c *cluster.Cluster) error {
	t.Helper()
	return r.AskRole(t.Context(), v, c, nil)(t.Context(), v, c, nil)
}

func TestRouter(t *testing.T) {
	m, _, _ := newManager(t)
	r := &issuer.Router{Embedded: plugin{"embedded"}, AWSSTS: plugin{"awssts"}}
	if _, err := m.Set(t.Context(), caller(first), second, issuer.Choice{Kind: issuer.AWSSTS}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{first: "embedded", second: "awssts"} {
		c := &cluster.Cluster{Account: id}
		out, err := r.Issue(t.Context(), m.Store.View(), &exchange.Order{Cluster: c}, nil)
		if err != nil || out.RoleARN != want {
			t.Errorf("%s: %v, %v", id, out, err)
		}
		if err := checkRole(t, r, m.Store.View(), c); err == nil || err.Error() != want {
			t.Errorf("%s: %v", id, err)
		}
	}
	check, theirs := r.AskRole(t.Context(), m.Store.View(), &cluster.Cluster{Account: second}, nil), &cluster.Cluster{Account: second}
	if _, err := m.Set(t.Context(), caller(first), second, issuer.Choice{Kind: issuer.AWSSTS, AWS: issuer.AWS{Region: "eu-west-1"}}); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), m.Store.View(), theirs, nil); fault.As(err).Reason != "changed-meanwhile" {
		t.Errorf("asked of another choice: %v", err)
	}
	err := m.Store.Update(t.Context(), func(tx *store.Tx) error {
		issuer.Choices.Put(tx, store.Scope{Account: second, Region: store.Global}, "choice", &issuer.Choice{Kind: "of a later release"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Issue(t.Context(), m.Store.View(), &exchange.Order{Cluster: &cluster.Cluster{Account: second}}, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("unknown issuer: %v", err)
	}
	if err := checkRole(t, r, m.Store.View(), &cluster.Cluster{Account: second}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("unknown issuer: %v", err)
	}
}
