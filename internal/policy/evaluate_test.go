// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"
)

const (
	acct    = "111122223333"
	other   = "444455556666"
	roleApp = "arn:aws:iam::111122223333:role/team/app"
	sessApp = "arn:aws:sts::111122223333:assumed-role/app/s1"
	userBob = "arn:aws:iam::111122223333:user/bob"
	target  = "arn:aws:iam::111122223333:role/target"
)

func mustParse(t testing.TB, kind DocumentKind, text string) *Document {
	t.Helper()
	d, err := Parse(kind, text)
	if err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return d
}

func named(t testing.TB, kind DocumentKind, statements ...string) Named {
	t.Helper()
	return Named{Name: kind.String(), Doc: mustParse(t, kind, doc(statements...))}
}

// Statements of the tables below.
const (
	allowAll = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	allowEC2 = `{"Effect":"Allow","Action":"ec2:*","Resource":"*"}`
	denyS3   = `{"Effect":"Deny","Action":"s3:*","Resource":"*"}`
)

func resourceAllow(principal string) string {
	return `{"Effect":"Allow","Principal":` + principal + `,"Action":"s3:*","Resource":"arn:aws:s3:::b/*"}`
}

func TestCombination(t *testing.T) {
	session := SessionPrincipal(roleApp, sessApp).WithID("AROAABCDEFGHIJKLMNOPQ")
	user := UserPrincipal(userBob).WithID("AIDAABCDEFGHIJKLMNOPQ")
	toRole := resourceAllow(`{"AWS":"` + roleApp + `"}`)
	toSession := resourceAllow(`{"AWS":"` + sessApp + `"}`)
	toUser := resourceAllow(`{"AWS":"` + userBob + `"}`)
	toAccount := resourceAllow(`{"AWS":"` + acct + `"}`)
	toAll := resourceAllow(`"*"`)
	type docs []string
	tests := []struct {
		name                                    string
		who                                     Principal
		owner                                   string
		identity, boundary, session_, resource_ docs
		scps, rcps                              []docs
		cause                                   Cause
	}{
		{name: "nothing", who: session, cause: NoIdentityAllow},
		{name: "identity", who: session, identity: docs{allowAll}, cause: AllowedByStatement},
		{name: "explicit deny beside allow", who: session, identity: docs{allowAll, denyS3}, cause: ExplicitDeny},
		{name: "boundary silent", who: session, identity: docs{allowAll}, boundary: docs{allowEC2}, cause: NoBoundaryAllow},
		{name: "boundary denies what the resource grants the session", who: session, boundary: docs{allowAll, denyS3}, resource_: docs{toSession}, cause: ExplicitDeny},
		{name: "session policy silent", who: session, identity: docs{allowAll}, session_: docs{allowEC2}, cause: NoSessionAllow},
		{name: "session policy is no grant", who: session, session_: docs{allowAll}, cause: NoIdentityAllow},
		{name: "resource names the role", who: session, resource_: docs{toRole}, cause: AllowedByStatement},
		{name: "resource names the role's id", who: session, resource_: docs{resourceAllow(`{"AWS":"AROAABCDEFGHIJKLMNOPQ"}`)}, cause: AllowedByStatement},
		{name: "resource names another id", who: session, resource_: docs{resourceAllow(`{"AWS":"AROAABCDEFGHIJKLMNOPX"}`)}, cause: NoIdentityAllow},
		{name: "role grant is limited by the boundary", who: session, boundary: docs{allowEC2}, resource_: docs{toRole}, cause: NoBoundaryAllow},
		{name: "role grant is limited by the session policy", who: session, session_: docs{allowEC2}, resource_: docs{toRole}, cause: NoSessionAllow},
		{name: "session grant is limited by neither", who: session, boundary: docs{allowEC2}, session_: docs{allowEC2}, resource_: docs{toSession}, cause: AllowedByStatement},
		{name: "user grant is not limited by the boundary", who: user, boundary: docs{allowEC2}, resource_: docs{toUser}, cause: AllowedByStatement},
		{name: "account grant only delegates", who: session, resource_: docs{toAccount}, cause: NoIdentityAllow},
		{name: "account grant and identity", who: session, identity: docs{allowAll}, resource_: docs{toAccount}, cause: AllowedByStatement},
		{name: "everybody", who: session, resource_: docs{toAll}, cause: AllowedByStatement},
		{name: "everybody, anonymous", who: AnonymousPrincipal(), owner: acct, resource_: docs{toAll}, cause: AllowedByStatement},
		{name: "anonymous is in no account", who: AnonymousPrincipal(), owner: acct, resource_: docs{toAccount}, cause: NoResourceAllow},
		{name: "cross account, both", who: session, owner: other, identity: docs{allowAll}, resource_: docs{toAccount}, cause: AllowedByStatement},
		{name: "cross account, identity only", who: session, owner: other, identity: docs{allowAll}, cause: NoResourceAllow},
		{name: "cross account, resource only", who: session, owner: other, resource_: docs{toSession}, cause: NoIdentityAllow},
		{name: "cross account, everybody still needs identity", who: session, owner: other, resource_: docs{toAll}, cause: NoIdentityAllow},
		{name: "cross account, boundary", who: session, owner: other, identity: docs{allowAll}, boundary: docs{allowEC2}, resource_: docs{toSession}, cause: NoBoundaryAllow},
		{name: "service", who: ServicePrincipal("logs.amazonaws.com"), owner: acct, resource_: docs{resourceAllow(`{"Service":"logs.amazonaws.com"}`)}, cause: AllowedByStatement},
		{name: "service is not bound by SCPs", who: ServicePrincipal("logs.amazonaws.com"), owner: acct, resource_: docs{toAll}, scps: []docs{{denyS3}}, cause: AllowedByStatement},
		{name: "service is bound by RCPs", who: ServicePrincipal("logs.amazonaws.com"), owner: acct, resource_: docs{toAll}, rcps: []docs{{`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}`}}, cause: ExplicitDeny},
		{name: "root user needs no policy", who: root(), cause: AllowedByStatement},
		{name: "root user is bound by SCPs", who: root(), scps: []docs{{denyS3, allowAll}}, cause: ExplicitDeny},
		{name: "SCPs allow at each level", who: session, identity: docs{allowAll}, scps: []docs{{allowAll}, {allowEC2, `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`}}, cause: AllowedByStatement},
		{name: "an SCP level is silent", who: session, identity: docs{allowAll}, scps: []docs{{allowAll}, {allowEC2}}, cause: NoSCPAllow},
		{name: "an SCP level is empty", who: session, identity: docs{allowAll}, scps: []docs{{}}, cause: NoSCPAllow},
		{name: "an RCP that only denies others is open", who: session, identity: docs{allowAll}, rcps: []docs{{`{"Effect":"Deny","Principal":"*","Action":"ec2:*","Resource":"*"}`}}, cause: AllowedByStatement},
		{name: "Deny NotPrincipal spares the role", who: session, identity: docs{allowAll}, resource_: docs{`{"Effect":"Deny","NotPrincipal":{"AWS":["` + roleApp + `","` + sessApp + `"]},"Action":"*","Resource":"*"}`}, cause: AllowedByStatement},
		{name: "Deny NotPrincipal hits others", who: user, identity: docs{allowAll}, resource_: docs{`{"Effect":"Deny","NotPrincipal":{"AWS":"` + roleApp + `"},"Action":"*","Resource":"*"}`}, cause: ExplicitDeny},
		{name: "Deny NotPrincipal hits whoever has a boundary", who: session, identity: docs{allowAll}, boundary: docs{allowAll}, resource_: docs{`{"Effect":"Deny","NotPrincipal":{"AWS":"` + roleApp + `"},"Action":"*","Resource":"*"}`}, cause: ExplicitDeny},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := Input{Principal: tt.who, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", ResourceAccount: tt.owner, Context: &Context{}}
			if tt.identity != nil {
				in.Identity = []Named{named(t, Identity, tt.identity...)}
			}
			if tt.boundary != nil {
				b := named(t, Boundary, tt.boundary...)
				in.Boundary = &b
			}
			if tt.session_ != nil {
				in.Session, in.HasSession = []Named{named(t, SessionPolicy, tt.session_...)}, true
			}
			if tt.resource_ != nil {
				r := named(t, Resource, tt.resource_...)
				in.ResourcePolicy = &r
			}
			for _, level := range tt.scps {
				in.SCPs = append(in.SCPs, nil)
				if len(level) > 0 {
					in.SCPs[len(in.SCPs)-1] = []Named{named(t, SCP, level...)}
				}
			}
			for _, level := range tt.rcps {
				in.RCPs = append(in.RCPs, []Named{named(t, RCP, level...)})
			}
			d := Evaluate(&in)
			if d.Cause != tt.cause || d.Allowed != (tt.cause == AllowedByStatement) || d.Explicit != (tt.cause == ExplicitDeny) {
				t.Errorf("decision %+v, want %v", d, tt.cause)
			}
			in.Action = "sts:getcalleridentity"
			if d := Evaluate(&in); !d.Allowed || d.Cause != AlwaysAllowed {
				t.Errorf("GetCallerIdentity: %+v", d)
			}
		})
	}
}

// condCase is one condition against one context.
type condCase struct {
	name, condition string
	set             func(*Context)
	want            bool
}

func one(key, value string) func(*Context) { return func(c *Context) { c.Set(key, value) } }

func many(key string, values ...string) func(*Context) {
	return func(c *Context) { c.SetMulti(key, values...) }
}

func TestConditions(t *testing.T) {
	none := func(*Context) {}
	tests := []condCase{
		{"Numeric exact beyond float", `{"NumericEquals":{"k":"9007199254740993"}}`, one("k", "9007199254740992"), false},
		{"Numeric leading zeros and fraction", `{"NumericEquals":{"k":"007.50"}}`, one("k", "7.5"), true},
		{"Numeric minus zero", `{"NumericEquals":{"k":"-0"}}`, one("k", "0"), true},
		{"Numeric negative order", `{"NumericLessThan":{"k":"-1.5"}}`, one("k", "-2"), true},
		{"Numeric exponent is no number", `{"NumericEquals":{"k":"1e3"}}`, one("k", "1000"), false},
		{"Numeric garbage, negated", `{"NumericNotEquals":{"k":"5"}}`, one("k", "five"), false},
		{"Numeric trailing text", `{"NumericEquals":{"k":"5"}}`, one("k", "5x"), false},
		{"Date garbage, negated", `{"DateNotEquals":{"k":"2026-01-01"}}`, one("k", "soon"), false},
		{"Date epoch against ISO", `{"DateEquals":{"k":"0"}}`, one("k", "1970-01-01T00:00:00Z"), true},
		{"Date leap day", `{"DateEquals":{"k":"2024-03-01"}}`, one("k", "2024-02-29T24:00:00Z"), true},
		{"Date year", `{"DateEquals":{"k":"2026"}}`, one("k", "2026-01-01T00:00Z"), true},
		{"Date fraction", `{"DateGreaterThan":{"k":"2026-01-01T00:00:00.1Z"}}`, one("k", "2026-01-01T00:00:00.15Z"), true},
		{"Date offset", `{"DateEquals":{"k":"2026-06-01T02:00:00+02:00"}}`, one("k", "2026-05-31T23:30:00-00:30"), true},
		{"Bool case", `{"Bool":{"k":"True"}}`, one("k", "tRUE"), true},
		{"Bool garbage", `{"Bool":{"k":"yes"}}`, one("k", "yes"), false},
		{"BoolIfExists absent", `{"BoolIfExists":{"k":"true"}}`, none, true},
		{"Binary equal", `{"BinaryEquals":{"k":"QmluYXJ5"}}`, one("k", "QmluYXJ5"), true},
		{"Binary other", `{"BinaryEquals":{"k":"QmluYXJ5"}}`, one("k", "QmluYXJ6"), false},
		{"Binary garbage", `{"BinaryEquals":{"k":"!"}}`, one("k", "!"), false},
		{"IP whole world", `{"IpAddress":{"k":"0.0.0.0/0"}}`, one("k", "198.51.100.7"), true},
		{"IP network with host bits", `{"IpAddress":{"k":"10.1.2.3/8"}}`, one("k", "10.9.9.9"), true},
		{"IP mapped", `{"IpAddress":{"k":"10.0.0.0/8"}}`, one("k", "::ffff:10.1.1.1"), true},
		{"IP garbage, negated", `{"NotIpAddress":{"k":"10.0.0.0/8"}}`, one("k", "x"), false},
		{"IP absent, negated", `{"NotIpAddress":{"k":"10.0.0.0/8"}}`, none, true},
		{"Null and an empty set", `{"Null":{"k":"true"}}`, many("k"), true},
		{"Null false and an empty set", `{"Null":{"k":"false"}}`, many("k"), false},
		{"Null false and an empty text", `{"Null":{"k":"false"}}`, one("k", ""), true},
		{"Null JSON boolean", `{"Null":{"k":true}}`, none, true},
		{"several values, no set operator", `{"StringEquals":{"k":"a"}}`, many("k", "a"), false},
		{"several values, negated, no set operator", `{"StringNotEquals":{"k":"z"}}`, many("k", "a"), false},
		{"ForAllValues single-valued", `{"ForAllValues:StringEquals":{"k":["a","b"]}}`, one("k", "b"), true},
		{"ForAllValues one outside", `{"ForAllValues:StringEquals":{"k":["a","b"]}}`, many("k", "a", "c"), false},
		{"ForAllValues empty text", `{"ForAllValues:StringEquals":{"k":"a"}}`, many("k", ""), true},
		{"ForAllValues NotLike", `{"ForAllValues:StringNotLike":{"k":"a*"}}`, many("k", "b", "ab"), false},
		{"ForAnyValue Not, one differs", `{"ForAnyValue:StringNotEquals":{"k":["a"]}}`, many("k", "a", "c"), true},
		{"ForAnyValue Not, absent", `{"ForAnyValue:StringNotEquals":{"k":["a"]}}`, none, false},
		{"ForAnyValue IfExists, absent", `{"ForAnyValue:StringEqualsIfExists":{"k":"a"}}`, none, true},
		{"ForAllValues numbers", `{"ForAllValues:NumericLessThan":{"k":"5"}}`, many("k", "1", "4.9"), true},
		{"operators are joined by and", `{"StringEquals":{"k":"a"},"StringLike":{"k":"b*"}}`, one("k", "a"), false},
		{"key without values", `{"StringEquals":{"k":[]}}`, one("k", "a"), false},
		{"key case", `{"StringEquals":{"AWS:PrincipalTag/TEAM":"x"}}`, one("aws:principaltag/team", "x"), true},
		{"key case beyond ASCII", `{"StringEquals":{"aws:PrincipalTag/ÄÖ":"x"}}`, one("aws:PrincipalTag/äö", "x"), true},
		{"value case", `{"StringEquals":{"k":"x"}}`, one("k", "X"), false},
		{"ignore case beyond ASCII", `{"StringEqualsIgnoreCase":{"k":"straÄe"}}`, one("k", "STRaäE"), true},
		{"? is one character", `{"StringLike":{"k":"a?c"}}`, one("k", "aéc"), true},
		{"wildcards are literal in Equals", `{"StringEquals":{"k":"a*"}}`, one("k", "abc"), false},
		{"ARN variable in a middle part", `{"ArnLike":{"k":"arn:aws:eks:*:${aws:PrincipalAccount}:cluster/*"}}`, func(c *Context) {
			c.Set("k", "arn:aws:eks:eu-west-1:111122223333:cluster/c")
			c.Set("aws:PrincipalAccount", "111122223333")
		}, true},
		{"ARN star", `{"ArnLike":{"k":"*"}}`, one("k", "arn:aws:s3:::b"), true},
		{"ARN star, no ARN", `{"ArnLike":{"k":"*"}}`, one("k", "b"), false},
		{"ARN no ARN, negated", `{"ArnNotLike":{"k":"arn:aws:s3:::b"}}`, one("k", "b"), false},
		{"ARN of fewer parts, negated", `{"ArnNotLike":{"k":"arn:aws:s3"}}`, one("k", "arn:aws:s3:::b"), true},
		{"ARN star does not cross colons", `{"ArnLike":{"k":"arn:aws:*:cluster/c"}}`, one("k", "arn:aws:eks:r:1:cluster/c"), false},
		{"ARN last part may hold colons", `{"ArnLike":{"k":"arn:aws:x:r:1:a*z"}}`, one("k", "arn:aws:x:r:1:a:b:z"), true},
		{"variable missing in one of two values", `{"StringEquals":{"k":["${nothing}","a"]}}`, one("k", "a"), true},
		{"variable missing in one of two values, negated", `{"StringNotEquals":{"k":["${nothing}","b"]}}`, one("k", "a"), false},
		{"variable default", `{"StringEquals":{"k":"${nothing, 'a'}"}}`, one("k", "a"), true},
		{"variable default with a brace", `{"StringEquals":{"k":"${nothing, 'a}b'}!"}}`, one("k", "a}b!"), true},
		{"variable value is literal", `{"StringLike":{"k":"${v}"}}`, func(c *Context) { c.Set("k", "abc"); c.Set("v", "*") }, false},
		{"variable is multi-valued, default stays out", `{"StringEquals":{"k":"${v, 'a'}"}}`, func(c *Context) { c.Set("k", "a"); c.SetMulti("v", "a") }, false},
		{"escapes", `{"StringLike":{"k":"${*}${?}${$}*"}}`, one("k", "*?$x"), true},
		{"escapes do not glob", `{"StringLike":{"k":"${*}"}}`, one("k", "x"), false},
		{"unfinished variable is text", `{"StringEquals":{"k":"${abc"}}`, one("k", "${abc"), true},
		{"empty variable is text", `{"StringEquals":{"k":"${}"}}`, one("k", "${}"), true},
		{"many variables", `{"StringEquals":{"k":"${v}${v}${v}${v}${v}${v}${v}${v}${v}${v}"}}`, func(c *Context) { c.Set("k", "aaaaaaaaaa"); c.Set("v", "a") }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := Input{
				Principal: UserPrincipal(userBob), Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Context: &Context{},
				Identity: []Named{named(t, Identity, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":`+tt.condition+`}`)},
			}
			tt.set(in.Context)
			if d := Evaluate(&in); d.Allowed != tt.want {
				t.Errorf("allowed %v, want %v", d.Allowed, tt.want)
			}
		})
	}
}

func TestResources(t *testing.T) {
	tests := []struct {
		name, element, resource string
		want                    bool
	}{
		{"exact", `"Resource":"arn:aws:s3:::b/k"`, "arn:aws:s3:::b/k", true},
		{"case", `"Resource":"arn:aws:s3:::B/k"`, "arn:aws:s3:::b/k", false},
		{"star over slashes", `"Resource":"arn:aws:s3:::b/*"`, "arn:aws:s3:::b/a/b:c", true},
		{"short", `"Resource":"arn:aws:s3*"`, "arn:aws:s3:::b/k", true},
		{"no resource named", `"Resource":"arn:aws:s3:::*"`, "*", false},
		{"no resource named, star", `"Resource":"*"`, "*", true},
		{"NotResource hit", `"NotResource":["arn:aws:s3:::x","arn:aws:s3:::b/*"]`, "arn:aws:s3:::b/k", false},
		{"NotResource miss", `"NotResource":"arn:aws:s3:::x/*"`, "arn:aws:s3:::b/k", true},
		{"variable", `"Resource":"arn:aws:s3:::b/${aws:username}/*"`, "arn:aws:s3:::b/bob/k", true},
		{"variable missing", `"Resource":"arn:aws:s3:::b/${nothing}/*"`, "arn:aws:s3:::b/bob/k", false},
		{"variable missing, NotResource", `"NotResource":"arn:aws:s3:::b/${nothing}/*"`, "arn:aws:s3:::b/bob/k", false},
		{"variable outside the last part", `"Resource":"arn:aws:s3::${aws:username}:b/*"`, "arn:aws:s3::bob:b/k", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := Input{
				Principal: UserPrincipal(userBob), Action: "s3:GetObject", Resource: tt.resource, Context: &Context{},
				Identity: []Named{named(t, Identity, `{"Effect":"Allow","Action":"s3:get*",`+tt.element+`}`)},
			}
			in.Context.Set("aws:username", "bob")
			if d := Evaluate(&in); d.Allowed != tt.want {
				t.Errorf("allowed %v, want %v", d.Allowed, tt.want)
			}
		})
	}
	t.Run("variables are text in the old version", func(t *testing.T) {
		text := strings.Replace(doc(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::b/${aws:username}"}`), VersionCurrent, VersionOld, 1)
		in := Input{Principal: UserPrincipal(userBob), Action: "s3:GetObject", Resource: "arn:aws:s3:::b/bob", Context: &Context{}, Identity: []Named{{Doc: mustParse(t, Identity, text)}}}
		in.Context.Set("aws:username", "bob")
		if Evaluate(&in).Allowed {
			t.Error("variable was resolved")
		}
		in.Resource = "arn:aws:s3:::b/${aws:username}"
		if !Evaluate(&in).Allowed {
			t.Error("literal text did not match")
		}
	})
	t.Run("short ARN in a resource policy", func(t *testing.T) {
		for pattern, want := range map[string]bool{"arn:aws:s3": false, "arn:aws:s3*": true, "arn:aws:*": true, "arn:aws:e*": false} {
			r := named(t, Resource, `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"`+pattern+`"}`)
			in := Input{Principal: UserPrincipal(userBob), Action: "s3:GetObject", Resource: "arn:aws:s3:::b", ResourcePolicy: &r}
			if got := Evaluate(&in).Allowed; got != want {
				t.Errorf("%s: allowed %v, want %v", pattern, got, want)
			}
		}
	})
}

func TestUnknownKeys(t *testing.T) {
	const cond = `,"Condition":{"StringLike":{"aws:RequestTag/pod":"web-*"}}`
	const allow = `{"Effect":"Allow","Action":"*","Resource":"*"`
	const deny = `{"Effect":"Deny","Action":"*","Resource":"*"`
	tests := []struct {
		name       string
		statements []string
		allowed    bool
		open       string
	}{
		{"allow on it", []string{allow + cond + `}`}, true, "aws:RequestTag/pod"},
		{"allow on it, and without it", []string{allow + cond + `}`, allow + `}`}, true, ""},
		{"deny on it", []string{allow + `}`, deny + cond + `}`}, true, "aws:RequestTag/pod"},
		{"deny without it", []string{allow + cond + `}`, deny + `}`}, false, ""},
		{"another condition fails", []string{allow + `,"Condition":{"StringLike":{"aws:RequestTag/pod":"web-*"},"StringEquals":{"a":"b"}}}`}, false, ""},
		{"Null", []string{allow + `,"Condition":{"Null":{"aws:RequestTag/pod":"true"}}}`}, true, "aws:RequestTag/pod"},
		{"in a variable", []string{allow + `,"Condition":{"StringEquals":{"known":["z","${aws:RequestTag/pod}"]}}}`}, true, "aws:RequestTag/pod"},
		{"in a variable beside a value that matches", []string{allow + `,"Condition":{"StringEquals":{"known":["x","${aws:RequestTag/pod}"]}}}`}, true, ""},
		{"in a negated variable", []string{allow + `,"Condition":{"StringNotEquals":{"known":["${aws:RequestTag/pod}"]}}}`}, true, "aws:RequestTag/pod"},
		{"in a resource", []string{`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:RequestTag/pod}"}`}, true, "aws:RequestTag/pod"},
		{"two keys", []string{allow + `,"Condition":{"StringLike":{"aws:RequestTag/pod":"x"},"DateLessThan":{"aws:CurrentTime":"2026-01-01"}}}`}, true, "aws:CurrentTime aws:RequestTag/pod"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := Input{
				Principal: UserPrincipal(userBob), Action: "s3:GetObject", Resource: "arn:aws:s3:::b", Context: &Context{},
				Identity: []Named{named(t, Identity, tt.statements...)},
			}
			in.Context.Set("known", "x")
			in.Context.SetUnknown("AWS:RequestTag/Pod")
			in.Context.SetUnknown("aws:CurrentTime")
			d := Evaluate(&in)
			if d.Allowed != tt.allowed || strings.Join(d.Open, " ") != tt.open {
				t.Errorf("allowed %v, open %q; want %v, %q", d.Allowed, d.Open, tt.allowed, tt.open)
			}
		})
	}
}

// find looks a key up by its text.
// root is the root user of the account.
func root() Principal {
	p, err := ParsePrincipal("arn:aws:iam::" + acct + ":root")
	if err != nil {
		panic(err) // a constant of this test
	}
	return p
}

func find(c *Context, key string) *entry {
	k := newKeyRef(key)
	return c.lookup(&k)
}

func TestContext(t *testing.T) {
	var c Context
	c.SetTag("aws:RequestTag/", "Team", "a")
	c.Set("AWS:requesttag/TEAM", "b")
	if c.Len() != 1 || find(&c, "aws:RequestTag/team") == nil || find(&c, "aws:requestTag/team").value != "b" {
		t.Errorf("context %+v: the second Set did not replace the first", c.entries)
	}
	var merged Context
	merged.Set("aws:RequestTag/team", "z")
	merged.Merge(&c)
	merged.Merge(nil)
	if merged.Len() != 1 || find(&merged, "aws:RequestTag/team").value != "b" {
		t.Errorf("merged %+v", merged.entries)
	}
	c.Reset()
	if c.Len() != 0 || find(&c, "aws:RequestTag/team") != nil {
		t.Error("Reset left keys")
	}
}
