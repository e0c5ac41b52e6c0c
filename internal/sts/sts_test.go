// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts_test

import (
	"context"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"podid/internal/controlplane/controlplanetest/roomstest"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/session"
	"podid/internal/store"
	"podid/internal/sts"
)

var bg = context.Background()

// trustAccount trusts the account for everything a role can be assumed with.
const trustAccount = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}}`

func trust(actions, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":[` + actions + `]` + condition + `}}`
}

func input(r *iam.Role) sts.AssumeRoleInput {
	return sts.AssumeRoleInput{RoleARN: r.ARN(), SessionName: "s1"}
}

func numbered(n int) []session.Tag {
	out := make([]session.Tag, n)
	for i := range out {
		out[i] = session.Tag{Key: "k" + strconv.Itoa(i), Value: "v"}
	}
	return out
}

func refused(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	f := fault.As(err)
	if err == nil || f.Kind != kind || !strings.Contains(f.Message, text) {
		t.Errorf("got %v (kind %d, %q), want kind %d with %q", err, f.Kind, f.Reason, kind, text)
	}
}

// The rules of what a caller may say, before any policy is asked.
func TestInput(t *testing.T) {
	w := roomstest.New(t)
	user := w.User("jane", roomstest.AllowAll)
	role := w.Role("app", trustAccount, "", func(r *iam.Role) { r.MaxSession = 7200 })
	chained := w.Session(w.Role("first", trustAccount, roomstest.AllowAll, nil), func(s *session.Session) {
		s.Tags = []session.Tag{{Key: "Team", Value: "a", Transitive: true}, {Key: "own", Value: "b"}}
	})
	for _, c := range []struct {
		name   string
		caller iam.Caller
		change func(in *sts.AssumeRoleInput)
		kind   fault.Kind
		text   string // "" = allowed
	}{
		{"plain", user, func(*sts.AssumeRoleInput) {}, 0, ""},
		{"no role ARN", user, func(in *sts.AssumeRoleInput) { in.RoleARN = "app" }, fault.InvalidParameter, "Value 'app' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20"},
		{"another ARN", user, func(in *sts.AssumeRoleInput) { in.RoleARN = "arn:aws:iam::111122223333:user/app" }, fault.InvalidParameter, "arn:aws:iam::111122223333:user/app is invalid"},
		{"name of one", user, func(in *sts.AssumeRoleInput) { in.SessionName = "s" }, fault.InvalidParameter, "roleSessionName"},
		{"name of 64", user, func(in *sts.AssumeRoleInput) { in.SessionName = strings.Repeat("s", 64) }, 0, ""},
		{"name of 65", user, func(in *sts.AssumeRoleInput) { in.SessionName = strings.Repeat("s", 65) }, fault.InvalidParameter, "roleSessionName"},
		{"name with a slash", user, func(in *sts.AssumeRoleInput) { in.SessionName = "a/b" }, fault.InvalidParameter, "roleSessionName"},
		{"name with a line end", user, func(in *sts.AssumeRoleInput) { in.SessionName = "ab\n" }, fault.InvalidParameter, "roleSessionName"},
		{"duration 899", user, func(in *sts.AssumeRoleInput) { in.Duration = 899 }, fault.InvalidParameter, "greater than or equal to 900"},
		{"duration 900", user, func(in *sts.AssumeRoleInput) { in.Duration = 900 }, 0, ""},
		{"duration negative", user, func(in *sts.AssumeRoleInput) { in.Duration = -1 }, fault.InvalidParameter, "greater than or equal to 900"},
		{"duration 43201", user, func(in *sts.AssumeRoleInput) { in.Duration = 43201 }, fault.InvalidParameter, "less than or equal to 43200"},
		{"duration of the role", user, func(in *sts.AssumeRoleInput) { in.Duration = 7200 }, 0, ""},
		{"duration above the role's", user, func(in *sts.AssumeRoleInput) { in.Duration = 7201 }, fault.InvalidParameter, "MaxSessionDuration"},
		{"chained for an hour", chained, func(in *sts.AssumeRoleInput) { in.Duration = 3600 }, 0, ""},
		{"chained for longer", chained, func(in *sts.AssumeRoleInput) { in.Duration = 3601 }, fault.InvalidParameter, "1 hour session limit for roles assumed by role chaining"},
		{"50 tags", user, func(in *sts.AssumeRoleInput) { in.Tags = numbered(50) }, 0, ""},
		{"51 tags", user, func(in *sts.AssumeRoleInput) { in.Tags = numbered(51) }, fault.InvalidParameter, "less than or equal to 50"},
		{"50 tags beside an inherited one", chained, func(in *sts.AssumeRoleInput) { in.Tags = numbered(50) }, fault.InvalidParameter, "less than or equal to 50"},
		{"tag twice but for case", user, func(in *sts.AssumeRoleInput) { in.Tags = []session.Tag{{Key: "a"}, {Key: "A"}} }, fault.InvalidRequest, "Duplicate tag keys"},
		{"tag without key", user, func(in *sts.AssumeRoleInput) { in.Tags = []session.Tag{{Value: "v"}} }, fault.InvalidParameter, "'tags.1.member.key' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"tag key of 128", user, func(in *sts.AssumeRoleInput) { in.Tags = []session.Tag{{Key: strings.Repeat("é", 128)}} }, 0, ""},
		{"tag key of 129", user, func(in *sts.AssumeRoleInput) { in.Tags = []session.Tag{{Key: strings.Repeat("k", 129)}} }, fault.InvalidParameter, "less than or equal to 128"},
		{"tag value of 257", user, func(in *sts.AssumeRoleInput) { in.Tags = []session.Tag{{Key: "k", Value: strings.Repeat("v", 257)}} }, fault.InvalidParameter, "tags.1.member.value"},
		{"reserved tag", user, func(in *sts.AssumeRoleInput) { in.Tags = []session.Tag{{Key: "AWS:x"}} }, fault.InvalidParameter, "tag key"},
		{"tag with a star", user, func(in *sts.AssumeRoleInput) { in.Tags = []session.Tag{{Key: "k", Value: "*"}} }, fault.InvalidParameter, "tags.1.member.value"},
		{"tag that is not text", user, func(in *sts.AssumeRoleInput) { in.Tags = []session.Tag{{Key: "k", Value: "\xff"}} }, fault.InvalidParameter, "tags.1.member.value"},
		{"transitive key that is no tag", user, func(in *sts.AssumeRoleInput) { in.TransitiveKeys = []string{"x"} }, fault.InvalidRequest, "must be included in the requested tags"},
		{"tag of the calling session, transitive", chained, func(in *sts.AssumeRoleInput) { in.Tags = []session.Tag{{Key: "TEAM", Value: "b"}} }, fault.InvalidRequest, "conflicts with a transitive tag key"},
		{"tag of the calling session, not transitive", chained, func(in *sts.AssumeRoleInput) { in.Tags = []session.Tag{{Key: "own", Value: "c"}} }, 0, ""},
		{"source identity of one", user, func(in *sts.AssumeRoleInput) { in.SourceIdentity = "x" }, fault.InvalidParameter, "sourceIdentity"},
		{"external id of one", user, func(in *sts.AssumeRoleInput) { in.ExternalID = "x" }, fault.InvalidParameter, "externalId"},
		{"external id of 1224", user, func(in *sts.AssumeRoleInput) { in.ExternalID = strings.Repeat("x:/", 408) }, 0, ""},
		{"external id of 1225", user, func(in *sts.AssumeRoleInput) { in.ExternalID = strings.Repeat("x", 1225) }, fault.InvalidParameter, "externalId"},
		{"external id with blanks", user, func(in *sts.AssumeRoleInput) { in.ExternalID = "a b" }, fault.InvalidParameter, "externalId"},
		{"session policy too long", user, func(in *sts.AssumeRoleInput) { in.Policy = strings.Repeat(" ", 2049) }, fault.InvalidParameter, "2048"},
		{"session policy broken", user, func(in *sts.AssumeRoleInput) { in.Policy = "{" }, fault.MalformedPolicy, "Syntax errors in policy."},
		{"session policy with a principal", user, func(in *sts.AssumeRoleInput) { in.Policy = roomstest.PodTrust }, fault.MalformedPolicy, ""},
		{"11 policy ARNs", user, func(in *sts.AssumeRoleInput) { in.PolicyARNs = make([]string, 11) }, fault.InvalidParameter, "less than or equal to 10"},
		{"policy ARN of nothing", user, func(in *sts.AssumeRoleInput) { in.PolicyARNs = []string{"arn:aws:iam::aws:policy/Nothing"} }, fault.InvalidParameter, "does not exist"},
		{"managed session policy", user, func(in *sts.AssumeRoleInput) { in.PolicyARNs = []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"} }, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(role)
			c.change(&in)
			out, err := w.STS.AssumeRole(bg, c.caller, in)
			if c.kind != 0 {
				refused(t, err, c.kind, c.text)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := time.Duration(in.Duration) * time.Second
			if in.Duration == 0 {
				want = time.Hour
			}
			if got := out.Session.Expires.Sub(out.Session.Issued); got != want || !out.Credentials.Expires.Equal(out.Session.Expires) {
				t.Errorf("lives %s, want %s", got, want)
			}
			if _, _, err := w.Minter.Open(bg, out.Credentials.AccessKeyID, out.Credentials.SessionToken.Reveal()); err != nil {
				t.Errorf("the token does not open: %v", err)
			}
		})
	}
}

// Who is not trusted learns nothing, not even that the role exists.
func TestRolesCannotBeProbed(t *testing.T) {
	w := roomstest.New(t)
	stranger := w.User("stranger", "")
	w.Role("secret", trustAccount, "", nil)
	for _, change := range []func(in *sts.AssumeRoleInput){
		func(*sts.AssumeRoleInput) {}, func(in *sts.AssumeRoleInput) { in.Duration = 43200 }, func(in *sts.AssumeRoleInput) { in.Duration = 1 },
		func(in *sts.AssumeRoleInput) { in.Tags = numbered(1) }, func(in *sts.AssumeRoleInput) { in.PolicyARNs = []string{"arn:aws:iam::aws:policy/X"} },
	} {
		var got [2]string
		for i, name := range []string{"secret", "absent"} {
			in := sts.AssumeRoleInput{RoleARN: "arn:aws:iam::111122223333:role/" + name, SessionName: "s1"}
			change(&in)
			_, err := w.STS.AssumeRole(bg, stranger, in)
			f := fault.As(err)
			got[i] = strconv.Itoa(int(f.Kind)) + strings.ReplaceAll(f.Message, name, "ROLE")
		}
		if got[0] != got[1] {
			t.Errorf("a role that exists: %s\none that does not: %s", got[0], got[1])
		}
	}
}

func TestTrust(t *testing.T) {
	const assume, tag, source = `"sts:AssumeRole"`, `"sts:AssumeRole","sts:TagSession"`, `"sts:AssumeRole","sts:SetSourceIdentity"`
	for _, c := range []struct {
		name, trust, identity string
		change                func(in *sts.AssumeRoleInput)
		reason, action        string // "" = allowed
	}{
		{"allowed", trust(assume, ""), roomstest.AllowAll, nil, "", ""},
		{"trust names nobody here", strings.ReplaceAll(trust(assume, ""), roomstest.Account, "444455556666"), roomstest.AllowAll, nil, "trust-policy-denied", "sts:AssumeRole"},
		{"identity does not allow", trust(assume, ""), "", nil, "assume-role-denied", "sts:AssumeRole"},
		{"tags without sts:TagSession", trust(assume, ""), roomstest.AllowAll, func(in *sts.AssumeRoleInput) { in.Tags = numbered(1) }, "trust-policy-denied-tag-session", "sts:TagSession"},
		{"tags with sts:TagSession", trust(tag, ""), roomstest.AllowAll, func(in *sts.AssumeRoleInput) { in.Tags = numbered(1) }, "", ""},
		{"source identity without its action", trust(assume, ""), roomstest.AllowAll, func(in *sts.AssumeRoleInput) { in.SourceIdentity = "jane" }, "trust-policy-denied-source-identity", "sts:SetSourceIdentity"},
		{"source identity with it", trust(source, ""), roomstest.AllowAll, func(in *sts.AssumeRoleInput) { in.SourceIdentity = "jane" }, "", ""},
		{"external id missing", trust(assume, `{"StringEquals":{"sts:ExternalId":"x1"}}`), roomstest.AllowAll, nil, "trust-policy-denied", "sts:AssumeRole"},
		{"external id given", trust(assume, `{"StringEquals":{"sts:ExternalId":"x1"}}`), roomstest.AllowAll, func(in *sts.AssumeRoleInput) { in.ExternalID = "x1" }, "", ""},
		{"request tag of another value", trust(tag, `{"StringEquals":{"aws:RequestTag/k0":"w"}}`), roomstest.AllowAll, func(in *sts.AssumeRoleInput) { in.Tags = numbered(1) }, "trust-policy-denied", "sts:AssumeRole"},
		{"session name", trust(assume, `{"StringLike":{"sts:RoleSessionName":"s?"}}`), roomstest.AllowAll, nil, "", ""},
		{"caller's user name", trust(assume, `{"StringEquals":{"aws:username":"jane"}}`), roomstest.AllowAll, nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := roomstest.New(t)
			in := input(w.Role("app", c.trust, "", nil))
			if c.change != nil {
				c.change(&in)
			}
			out, err := w.STS.AssumeRole(bg, w.User("jane", c.identity), in)
			if c.reason == "" {
				if err != nil || (out.PackedSize > 0) != (len(in.Tags) > 0) {
					t.Errorf("AssumeRole = %+v, %v", out, err)
				}
				return
			}
			refused(t, err, fault.AccessDenied, "User: arn:aws:iam::111122223333:user/jane is not authorized to perform: "+c.action+" on resource: "+in.RoleARN)
			f := fault.As(err)
			if d, ok := f.Detail.(sts.Refusal); f.Reason != c.reason || !ok || d.Role != in.RoleARN || len(d.Actions) == 0 {
				t.Errorf("reason %q, want %q; detail %+v", f.Reason, c.reason, f.Detail)
			}
		})
	}
}

// TestAgain: what was allowed a moment ago is decided anew after everything that may take it away, and for every request
// that differs in more than its name.
func TestAgain(t *testing.T) {
	const assume, tag = `"sts:AssumeRole"`, `"sts:AssumeRole","sts:TagSession"`
	const denial = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"sts:*","Resource":"*","Condition":{"StringEquals":{"sts:RoleSessionName":"bad"}}}]}`
	for _, c := range []struct {
		name, trust, identity string
		change                func(w *roomstest.World, role *iam.Role) // of records, between the two
		again                 func(in *sts.AssumeRoleInput)
		want                  bool
	}{
		{name: "the same", trust: trust(assume, ""), want: true},
		{name: "another name", trust: trust(assume, ""), again: func(in *sts.AssumeRoleInput) { in.SessionName = "other" }, want: true},
		{name: "tags", trust: trust(assume, ""), again: func(in *sts.AssumeRoleInput) { in.Tags = numbered(1) }},
		{name: "tags that the trust policy allows", trust: trust(tag, ""), again: func(in *sts.AssumeRoleInput) { in.Tags = numbered(1) }, want: true},
		{name: "a source identity", trust: trust(assume, ""), again: func(in *sts.AssumeRoleInput) { in.SourceIdentity = "jane" }},
		{name: "a name that the trust policy minds", trust: trust(assume, `{"StringEquals":{"sts:RoleSessionName":"s1"}}`), again: func(in *sts.AssumeRoleInput) { in.SessionName = "other" }},
		{name: "a name that the caller's policy minds", trust: trust(assume, ""), identity: denial, again: func(in *sts.AssumeRoleInput) { in.SessionName = "bad" }},
		{name: "another external id", trust: trust(assume, `{"StringNotEquals":{"sts:ExternalId":"x1"}}`), again: func(in *sts.AssumeRoleInput) { in.ExternalID = "x1" }},
		{name: "the trust policy has changed", trust: trust(assume, ""), change: func(w *roomstest.World, role *iam.Role) {
			w.Role(role.Name, strings.ReplaceAll(role.Trust, roomstest.Account, "444455556666"), "", nil)
		}},
		{name: "the caller's policy has changed", trust: trust(assume, ""), change: func(w *roomstest.World, _ *iam.Role) {
			w.User("jane", "")
			w.Role("jane", trustAccount, "", nil)
		}},
		{name: "the caller is gone", trust: trust(assume, ""), change: func(w *roomstest.World, _ *iam.Role) {
			w.Update(func(tx *store.Tx) {
				iam.Users.Delete(tx, store.Scope{Account: roomstest.Account, Region: store.Global}, "jane")
			})
			w.DeleteRole("jane")
		}},
		{name: "the role is gone", trust: trust(assume, ""), change: func(w *roomstest.World, role *iam.Role) { w.DeleteRole(role.Name) }},
		{name: "something else has changed", trust: trust(assume, ""), change: func(w *roomstest.World, _ *iam.Role) { w.User("john", "") }, want: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.identity == "" {
				c.identity = roomstest.AllowAll
			}
			for _, caller := range []func(w *roomstest.World) iam.Caller{
				func(w *roomstest.World) iam.Caller { return w.User("jane", c.identity) },
				func(w *roomstest.World) iam.Caller {
					return w.Session(w.Role("jane", trustAccount, c.identity, nil), nil)
				},
			} {
				w := roomstest.New(t)
				role, caller := w.Role("app", c.trust, "", nil), caller(w)
				in := input(role)
				for range 2 {
					if _, err := w.STS.AssumeRole(bg, caller, in); err != nil {
						t.Fatalf("%s: %v", caller.ARN, err)
					}
				}
				if c.change != nil {
					c.change(w, role)
				}
				if c.again != nil {
					c.again(&in)
				}
				for range 2 {
					if _, err := w.STS.AssumeRole(bg, caller, in); (err == nil) != c.want {
						t.Errorf("%s: %v, want allowed %v", caller.ARN, err, c.want)
					}
				}
			}
		})
	}
}

// TestAgainOfAnother: one caller's permission is not another's, and one role's is not another role's.
func TestAgainOfAnother(t *testing.T) {
	w := roomstest.New(t)
	app, other := w.Role("app", trustAccount, "", nil), w.Role("other", trust(`"sts:AssumeRole"`, `{"Bool":{"aws:SecureTransport":"never"}}`), "", nil)
	first := w.Role("first", trustAccount, roomstest.AllowAll, nil)
	jane, john := w.User("jane", roomstest.AllowAll), w.User("john", "")
	free, bound := w.Session(first, nil), w.Session(first, func(s *session.Session) {
		s.Policy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	})
	for range 3 {
		for _, c := range []struct {
			caller iam.Caller
			role   *iam.Role
			want   bool
		}{{jane, app, true}, {john, app, false}, {jane, other, false}, {free, app, true}, {bound, app, false}} {
			if _, err := w.STS.AssumeRole(bg, c.caller, input(c.role)); (err == nil) != c.want {
				t.Errorf("%s, role %s: %v, want allowed %v", c.caller.ARN, c.role.Name, err, c.want)
			}
		}
	}
}

// A broken trust policy is an error, never an allowance.
func TestBrokenTrust(t *testing.T) {
	w := roomstest.New(t)
	_, err := w.STS.AssumeRole(bg, w.User("jane", roomstest.AllowAll), input(w.Role("app", "{", "", nil)))
	if f := fault.As(err); f.Kind != fault.Internal || f.Reason != "trust-policy-unreadable" || f.Message != "" {
		t.Errorf("%v %q %q", f.Kind, f.Reason, f.Message)
	}
}

// Tags go down a chain when they are transitive; what the server set goes down
// whatever the caller asks for.
func TestChaining(t *testing.T) {
	w := roomstest.New(t)
	node := session.Node{ClusterUID: "c", Name: "n", UID: "u"}
	origin := session.Origin{ClusterUID: "c", AssociationID: "a", PodUID: "p"}
	first := w.Session(w.Role("first", trustAccount, roomstest.AllowAll, nil), func(s *session.Session) {
		s.Node, s.Origin, s.FederatedProvider = node, origin, "arn:aws:iam::111122223333:oidc-provider/x"
		s.Tags = []session.Tag{{Key: "team", Value: "a", Transitive: true}, {Key: "own", Value: "b"}}
	})
	// The condition holds only when the inherited tag counts as a request tag
	// and as transitive.
	second := w.Role("second", trust(`"sts:AssumeRole","sts:TagSession"`,
		`{"StringEquals":{"aws:RequestTag/team":"a","aws:PrincipalTag/own":"b"},"ForAnyValue:StringEquals":{"sts:TransitiveTagKeys":"team","aws:TagKeys":"team"}}`), roomstest.AllowAll, nil)
	in := input(second)
	in.Tags, in.TransitiveKeys = []session.Tag{{Key: "new", Value: "c"}, {Key: "gone", Value: "d"}}, []string{"NEW"}
	out, err := w.STS.AssumeRole(bg, first, in)
	if err != nil {
		t.Fatalf("%v: %+v", err, fault.As(err).Detail)
	}
	s := out.Session
	if want := []session.Tag{{Key: "team", Value: "a", Transitive: true}, {Key: "new", Value: "c", Transitive: true}, {Key: "gone", Value: "d"}}; !reflect.DeepEqual(s.Tags, want) {
		t.Errorf("tags %+v, want %+v", s.Tags, want)
	}
	if !s.Chained || s.Node != node || s.Origin != origin || s.FederatedProvider == "" {
		t.Errorf("not kept: %+v", s)
	}
	third := w.Role("third", trustAccount, "", nil)
	out, err = w.STS.AssumeRole(bg, w.Session(second, func(n *session.Session) { *n = *s }), input(third))
	if err != nil {
		t.Fatal(err)
	}
	if want := []session.Tag{{Key: "team", Value: "a", Transitive: true}, {Key: "new", Value: "c", Transitive: true}}; !reflect.DeepEqual(out.Session.Tags, want) {
		t.Errorf("two hops on: tags %+v, want %+v", out.Session.Tags, want)
	}
	if out.Session.Node != node || out.Session.Origin != origin {
		t.Errorf("two hops on, not kept: %+v", out.Session)
	}
}

func TestSourceIdentitySticks(t *testing.T) {
	w := roomstest.New(t)
	caller := w.Session(w.Role("first", trustAccount, roomstest.AllowAll, nil), func(s *session.Session) { s.SourceIdentity = "jane" })
	role := w.Role("second", trustAccount, "", nil)
	in := input(role)
	for _, given := range []string{"", "jane"} {
		in.SourceIdentity = given
		out, err := w.STS.AssumeRole(bg, caller, in)
		if err != nil || out.Session.SourceIdentity != "jane" {
			t.Errorf("given %q: %+v, %v", given, out, err)
		}
	}
	in.SourceIdentity = "eve"
	_, err := w.STS.AssumeRole(bg, caller, in)
	refused(t, err, fault.AccessDenied, "sts:SetSourceIdentity")
	// The trust policy must allow what is handed on, too.
	closed := w.Role("closed", trust(`"sts:AssumeRole"`, ""), "", nil)
	_, err = w.STS.AssumeRole(bg, caller, input(closed))
	refused(t, err, fault.AccessDenied, "sts:SetSourceIdentity")
}

// The session policies of the caller bind the next assumption.
func TestSessionPolicyOfTheCaller(t *testing.T) {
	w := roomstest.New(t)
	caller := w.Session(w.Role("first", trustAccount, roomstest.AllowAll, nil), func(s *session.Session) {
		s.Policy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	})
	_, err := w.STS.AssumeRole(bg, caller, input(w.Role("second", trustAccount, "", nil)))
	if f := fault.As(err); f.Kind != fault.AccessDenied || f.Reason != "assume-role-denied" {
		t.Errorf("%v %q", f.Kind, f.Reason)
	}
}

// A role that another replica made, or whose trust it changed, counts before a
// refusal is final.
func TestStaleView(t *testing.T) {
	w := roomstest.New(t)
	user := w.User("jane", roomstest.AllowAll)
	before := w.DB.View()
	role := w.Role("app", trustAccount, "", nil)
	w.DB.Lag(before)
	if _, err := w.STS.AssumeRole(bg, user, input(role)); err != nil || w.DB.Fences() != 1 {
		t.Errorf("%v, %d fences", err, w.DB.Fences())
	}
	w.DB.Lag(nil)
	if _, err := w.STS.AssumeRole(bg, user, input(role)); err != nil || w.DB.Fences() != 0 {
		t.Errorf("an allowed call costs %d fences (%v)", w.DB.Fences(), err)
	}
	w.DB.Fail(store.ErrUnavailable)
	in := input(role)
	in.RoleARN += "x"
	_, err := w.STS.AssumeRole(bg, user, in)
	if !fault.Is(err, fault.Unavailable) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a refusal that cannot be confirmed: %v", err)
	}
}

func TestTooLargeForAToken(t *testing.T) {
	w := roomstest.New(t)
	in := input(w.Role("app", trustAccount, "", nil))
	in.Tags = numbered(50)
	for i := range in.Tags {
		in.Tags[i].Value = strings.Repeat("v", 256)
	}
	_, err := w.STS.AssumeRole(bg, w.User("jane", roomstest.AllowAll), in)
	refused(t, err, fault.PackedPolicyTooLarge, "of allotted space")
}

func TestGetCallerIdentity(t *testing.T) {
	w := roomstest.New(t)
	got := w.STS.GetCallerIdentity(w.User("jane", ""))
	if want := (sts.Identity{Account: roomstest.Account, ARN: "arn:aws:iam::111122223333:user/jane", UserID: "AIDAJANE"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func BenchmarkAssumeRole(b *testing.B) {
	w := roomstest.New(b)
	caller := w.Session(w.Role("first", trustAccount, roomstest.AllowAll, nil), nil)
	in := input(w.Role("second", trustAccount, "", nil))
	in.Tags = numbered(3)
	w.DB.Lag(w.DB.View())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.STS.AssumeRole(bg, caller, in); err != nil {
			b.Fatal(err)
		}
	}
}
