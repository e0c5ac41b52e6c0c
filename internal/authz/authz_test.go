// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authz_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"podid/internal/authz"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/reqctx"
	"podid/internal/session"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

const (
	account    = "111122223333"
	clusterARN = "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster"
	allowAll   = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	denyEKS    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"eks:*","Resource":"*"}]}`
	allowS3    = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	boundary   = "arn:aws:iam::111122223333:policy/limit"
)

var (
	now    = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	scope  = store.Scope{Account: account, Region: store.Global}
	schema = store.NewSchema(iam.Users, iam.Roles, iam.Groups, iam.Policies)
	query  = iam.Query{Action: "eks:DescribeCluster", Resource: clusterARN}
)

type lagging struct {
	*storetest.Memory
	stale  *store.View
	fences int
}

func (l *lagging) View() *store.View {
	if l.stale != nil {
		return l.stale
	}
	return l.Memory.View()
}

func (l *lagging) Fence(ctx context.Context) (*store.View, error) {
	l.fences++
	return l.Memory.Fence(ctx)
}

func put(t testing.TB, db store.Store, fn func(tx *store.Tx)) {
	t.Helper()
	if err := db.Update(context.Background(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func newAuthorizer(t testing.TB) (*authz.Authorizer, *lagging) {
	t.Helper()
	db := &lagging{Memory: storetest.NewMemory(schema)}
	return &authz.Authorizer{
		Store: db, Policies: policy.NewCache(1 << 20), Now: func() time.Time { return now }, Region: "us-west-2", OrgID: "o-1",
	}, db
}

// principal describes a caller by the policies that bind it.
type principal struct{ identity, boundary, session string }

func role(p principal) *iam.Role {
	r := &iam.Role{ID: "AROA1", Partition: "aws", Account: account, Path: "/team/", Name: "App", Tags: []iam.Tag{{Key: "env", Value: "role"}, {Key: "cost", Value: "7"}}}
	if p.identity != "" {
		r.Inline = []iam.InlinePolicy{{Name: "p", Document: p.identity}}
	}
	if p.boundary != "" {
		r.Boundary = boundary
	}
	return r
}

func asSession(t testing.TB, db store.Store, p principal) iam.Caller {
	t.Helper()
	r := role(p)
	put(t, db, func(tx *store.Tx) {
		iam.Roles.Put(tx, scope, "app", r)
		if p.boundary != "" {
			putBoundary(tx, p.boundary)
		}
	})
	s := &session.Session{
		Partition: "aws", Account: account, RoleID: r.ID, RolePath: r.Path, RoleName: r.Name, Name: "s1", Issued: now.Add(-time.Minute), Expires: now.Add(time.Hour),
		Policy: p.session, SourceIdentity: "jane", FederatedProvider: "arn:aws:iam::111122223333:oidc-provider/x",
		Tags: []session.Tag{{Key: "Env", Value: "session"}},
	}
	return iam.Caller{Kind: iam.CallerSession, Partition: "aws", Account: account, ARN: s.ARN(), UserID: s.AssumedRoleID(), Role: r, Session: s}
}

func putBoundary(tx *store.Tx, document string) {
	iam.Policies.Put(tx, scope, "limit", &iam.Policy{
		ID: "ANPA1", Partition: "aws", Account: account, Path: "/", Name: "limit", Default: "v1", Versions: []iam.PolicyVersion{{ID: "v1", Document: document}},
	})
}

func asUser(t testing.TB, db store.Store, p principal) iam.Caller {
	t.Helper()
	u := &iam.User{ID: "AIDA1", Partition: "aws", Account: account, Path: "/", Name: "Jane", Tags: []iam.Tag{{Key: "team", Value: "a"}}}
	if p.identity != "" {
		u.Inline = []iam.InlinePolicy{{Name: "p", Document: p.identity}}
	}
	put(t, db, func(tx *store.Tx) {
		if p.boundary != "" {
			u.Boundary = boundary
			putBoundary(tx, p.boundary)
		}
		iam.Users.Put(tx, scope, "jane", u)
	})
	return iam.Caller{Kind: iam.CallerUser, Partition: "aws", Account: account, ARN: u.ARN(), UserID: u.ID, User: u}
}

// The sentences are AWS' own (IAM User Guide, "Access denied error messages").
func TestSentences(t *testing.T) {
	const (
		user  = "User: arn:aws:iam::111122223333:user/Jane is not authorized to perform: eks:DescribeCluster on resource: " + clusterARN + " "
		sess  = "User: arn:aws:sts::111122223333:assumed-role/App/s1 is not authorized to perform: eks:DescribeCluster on resource: " + clusterARN + " "
		cause = " allows the eks:DescribeCluster action"
	)
	for _, c := range []struct {
		name string
		user bool
		p    principal
		want string // "" = allowed
	}{
		{"user allowed", true, principal{identity: allowAll}, ""},
		{"session allowed", false, principal{allowAll, allowAll, allowAll}, ""},
		{"no policy at all", true, principal{}, user + "because no identity-based policy" + cause},
		{"policy about something else", false, principal{identity: allowS3}, sess + "because no identity-based policy" + cause},
		{"boundary does not allow", true, principal{allowAll, allowS3, ""}, user + "because no permissions boundary" + cause},
		{"boundary of a role does not allow", false, principal{allowAll, allowS3, ""}, sess + "because no permissions boundary" + cause},
		{"session policy does not allow", false, principal{allowAll, "", allowS3}, sess + "because no session policy" + cause},
		{"denied by identity", true, principal{denyEKS, "", ""}, user + "with an explicit deny in an identity-based policy"},
		{"denied by boundary", false, principal{allowAll, denyEKS, ""}, sess + "with an explicit deny in a permissions boundary"},
		{"denied by session policy", false, principal{allowAll, allowAll, denyEKS}, sess + "with an explicit deny in a session policy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, db := newAuthorizer(t)
			var caller iam.Caller
			if c.user {
				caller = asUser(t, db, c.p)
			} else {
				caller = asSession(t, db, c.p)
			}
			err := a.Authorize(context.Background(), caller, query)
			ok, aerr := a.Allowed(context.Background(), caller, query)
			if aerr != nil || ok != (c.want == "") {
				t.Errorf("Allowed = %v, %v", ok, aerr)
			}
			if c.want == "" {
				if err != nil || db.fences != 0 {
					t.Errorf("Authorize = %v, %d fences", err, db.fences)
				}
				return
			}
			f := fault.As(err)
			if f.Kind != fault.AccessDenied || f.Message != c.want || f.Reason != "not-authorized" {
				t.Errorf("Authorize = %v %q\n got %s\nwant %s", f.Kind, f.Reason, f.Message, c.want)
			}
			if x, ok := f.Detail.(policy.Explanation); !ok || x.Decision.Allowed {
				t.Errorf("detail %+v", f.Detail)
			}
		})
	}
}

// Each key is visible to policies exactly as AWS has it.
func TestConditionKeys(t *testing.T) {
	a, db := newAuthorizer(t)
	ctx := reqctx.With(context.Background(), reqctx.Info{SourceIP: netip.MustParseAddr("::ffff:192.0.2.7"), UserAgent: "aws-cli/2", TLS: true})
	q := query
	q.Keys = []iam.ConditionKey{
		{Name: "aws:RequestTag/team", Values: []string{"a"}},
		{Name: "aws:TagKeys", Values: []string{"team"}, Multi: true},
		{Name: "iam:Several", Values: []string{"x", "y"}},
		{Name: "iam:None"},
	}
	both := map[string]string{
		"aws:PrincipalAccount": account, "aws:ResourceAccount": account, "aws:PrincipalOrgID": "o-1", "aws:ResourceOrgID": "o-1",
		"aws:CurrentTime": "2026-11-22T10:00:00Z", "aws:EpochTime": "1795341600", "aws:SecureTransport": "true", "aws:RequestedRegion": "us-west-2",
		"aws:SourceIp": "192.0.2.7", "aws:UserAgent": "aws-cli/2", "aws:ViaAWSService": "false", "aws:PrincipalIsAWSService": "false",
		"aws:RequestTag/team": "a",
	}
	for _, c := range []struct {
		name   string
		make   func(p principal) iam.Caller
		keys   map[string]string
		absent []string
	}{
		{"user", func(p principal) iam.Caller { return asUser(t, db, p) }, map[string]string{
			"aws:PrincipalArn": "arn:aws:iam::111122223333:user/Jane", "aws:PrincipalType": "User", "aws:username": "Jane", "aws:userid": "AIDA1", "aws:PrincipalTag/team": "a",
		}, []string{"aws:TokenIssueTime", "aws:FederatedProvider", "aws:SourceIdentity", "iam:None"}},
		{"session", func(p principal) iam.Caller { return asSession(t, db, p) }, map[string]string{
			"aws:PrincipalArn": "arn:aws:iam::111122223333:role/team/App", "aws:PrincipalType": "AssumedRole", "aws:userid": "AROA1:s1",
			"aws:PrincipalTag/env": "session", "aws:PrincipalTag/cost": "7", "aws:TokenIssueTime": "2026-11-22T09:59:00Z",
			"aws:FederatedProvider": "arn:aws:iam::111122223333:oidc-provider/x", "aws:SourceIdentity": "jane",
		}, []string{"aws:username", "iam:None"}},
	} {
		for key, want := range both {
			c.keys[key] = want
		}
		for key, want := range c.keys {
			op := "StringEquals"
			if key == "aws:SourceIp" {
				op = "IpAddress"
			}
			doc := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"` + op + `":{"` + key + `":"` + want + `"}}}}`
			if err := a.Authorize(ctx, c.make(principal{identity: doc}), q); err != nil {
				t.Errorf("%s: %s is not %q: %v", c.name, key, want, fault.As(err).Detail)
			}
		}
		for _, key := range c.absent {
			doc := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Null":{"` + key + `":"true"}}}}`
			if err := a.Authorize(ctx, c.make(principal{identity: doc}), q); err != nil {
				t.Errorf("%s: %s is set: %v", c.name, key, fault.As(err).Detail)
			}
		}
		several := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":"team"},"ForAnyValue:StringEquals":{"iam:Several":"y"}}}}`
		if err := a.Authorize(ctx, c.make(principal{identity: several}), q); err != nil {
			t.Errorf("%s: multi-valued keys: %v", c.name, fault.As(err).Detail)
		}
	}
}

// What another replica attached or detached counts, although the caller's own
// record is from before.
func TestSecondLook(t *testing.T) {
	a, db := newAuthorizer(t)
	caller := asSession(t, db, principal{})
	before := db.View()
	asSession(t, db, principal{identity: allowAll}) // elsewhere: attached
	db.stale, db.fences = before, 0
	if err := a.Authorize(context.Background(), caller, query); err != nil || db.fences != 1 {
		t.Errorf("a policy attached elsewhere does not count: %v, %d fences", err, db.fences)
	}
	db.stale = nil
	allowed := asSession(t, db, principal{identity: allowAll})
	asSession(t, db, principal{}) // detached
	if err := a.Authorize(context.Background(), allowed, query); !fault.Is(err, fault.AccessDenied) {
		t.Errorf("a policy that was detached since authentication counts: %v", err)
	}
	put(t, db, func(tx *store.Tx) { iam.Roles.Delete(tx, scope, "app") })
	if err := a.Authorize(context.Background(), allowed, query); fault.As(err).Reason != "session-role-deleted" {
		t.Errorf("role deleted since authentication: %v", err)
	}
	user := asUser(t, db, principal{identity: allowAll})
	put(t, db, func(tx *store.Tx) { iam.Users.Delete(tx, scope, "jane") })
	if err := a.Authorize(context.Background(), user, query); fault.As(err).Reason != "user-deleted" {
		t.Errorf("user deleted since authentication: %v", err)
	}
	denied := asUser(t, db, principal{})
	db.Fail(store.ErrUnavailable)
	if err := a.Authorize(context.Background(), denied, query); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a refusal that cannot be confirmed: %v", err)
	}
}

// A document that cannot be read might hold a denial.
func TestBrokenDocumentsAllowNothing(t *testing.T) {
	missing := "arn:aws:iam::111122223333:policy/gone"
	for name, change := range map[string]func(r *iam.Role, s *session.Session){
		"identity": func(r *iam.Role, _ *session.Session) {
			r.Inline = append(r.Inline, iam.InlinePolicy{Name: "b", Document: "{"})
		},
		"attached, gone":          func(r *iam.Role, _ *session.Session) { r.Attached = []string{missing} },
		"boundary gone":           func(r *iam.Role, _ *session.Session) { r.Boundary = missing },
		"session policy":          func(_ *iam.Role, s *session.Session) { s.Policy = "{" },
		"session policy ARN gone": func(_ *iam.Role, s *session.Session) { s.PolicyARNs = []string{missing} },
	} {
		t.Run(name, func(t *testing.T) {
			a, db := newAuthorizer(t)
			c := asSession(t, db, principal{identity: allowAll})
			change(c.Role, c.Session)
			put(t, db, func(tx *store.Tx) { iam.Roles.Put(tx, scope, "app", c.Role) })
			if err := a.Authorize(context.Background(), c, query); err == nil {
				t.Error("allowed")
			}
			if ok, err := a.Allowed(context.Background(), c, query); ok || err == nil {
				t.Errorf("Allowed = %v, %v", ok, err)
			}
			if _, err := a.Explain(context.Background(), db.View(), c, query); err == nil {
				t.Error("explained")
			}
		})
	}
}

func TestOtherCallers(t *testing.T) {
	a, db := newAuthorizer(t)
	if err := a.Authorize(context.Background(), iam.Caller{}, query); !fault.Is(err, fault.MissingAuthentication) {
		t.Errorf("nobody: %v", err)
	}
	service := iam.Caller{Kind: iam.CallerService, Partition: "aws", Account: account, ARN: "pods.eks.amazonaws.com", Service: "pods.eks.amazonaws.com"}
	if err := a.Authorize(context.Background(), service, query); !fault.Is(err, fault.AccessDenied) {
		t.Errorf("a service has policies: %v", err)
	}
	c := asSession(t, db, principal{identity: allowAll})
	x, err := a.Explain(context.Background(), db.View(), c, query)
	if err != nil || !x.Decision.Allowed || x.Decision.Source.Document != "p" || !strings.Contains(x.Reason(), "identity policy") {
		t.Errorf("Explain = %+v, %v", x, err)
	}
	for c, want := range map[*iam.Caller]string{
		{Kind: iam.CallerUser, ARN: "arn:aws:iam::111122223333:user/u", User: &iam.User{}}: "arn:aws:iam::111122223333:user/u", &c: c.ARN, &service: "pods.eks.amazonaws.com",
	} {
		if got := authz.Principal(*c).String(); got != want {
			t.Errorf("Principal = %s, want %s", got, want)
		}
	}
}

func BenchmarkAuthorize(b *testing.B) {
	a, db := newAuthorizer(b)
	c := asSession(b, db, principal{identity: allowAll, boundary: allowAll})
	db.stale = db.View()
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Authorize(context.Background(), c, query); err != nil {
			b.Fatal(err)
		}
	}
}
