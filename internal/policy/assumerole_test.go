// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"
	"time"
)

const clusterARN = "arn:aws:eks:us-west-2:111122223333:cluster/prod"

// textbookTrust is the trust policy that AWS' guide gives for a role of pods,
// limited to one account and one cluster against the confused deputy.
const textbookTrust = `{"Version":"2012-10-17","Statement":[{"Sid":"AllowEksAuthToAssumeRoleForPodIdentity","Effect":"Allow",` +
	`"Principal":{"Service":"` + PodIdentityService + `"},"Action":["sts:AssumeRole","sts:TagSession"],` +
	`"Condition":{"StringEquals":{"aws:SourceAccount":"` + acct + `"},"ArnEquals":{"aws:SourceArn":"` + clusterARN + `"}}}]}`

var sixTags = []Tag{
	{"eks-cluster-arn", clusterARN},
	{"eks-cluster-name", "prod"},
	{"kubernetes-namespace", "web"},
	{"kubernetes-service-account", "frontend"},
	{"kubernetes-pod-name", "web-7d9f-abcde"},
	{"kubernetes-pod-uid", "0b1c2d3e-0000-4000-8000-1234567890ab"},
}

func tagKeys(tags []Tag) []string {
	out := make([]string, len(tags))
	for i, t := range tags {
		out[i] = t.Key
	}
	return out
}

// firstHop is the request that EKS Auth makes for a pod.
func firstHop(t testing.TB, trust string) *AssumeRole {
	t.Helper()
	return &AssumeRole{
		Caller: ServicePrincipal(PodIdentityService), RoleARN: target, RoleAccount: acct,
		Trust: Named{Name: "trust policy of role/target", ARN: target, Doc: mustParse(t, Trust, trust)},
		Tags:  sixTags, TransitiveKeys: tagKeys(sixTags), RoleSessionName: "eks-prod-web-1",
		SourceAccount: acct, SourceARN: clusterARN, SourceOrgID: "o-1", ResourceOrgID: "o-1",
		RoleTags: []Tag{{"team", "blue"}}, Now: time.Unix(1780272000, 0), SecureTransport: true, RequestedRegion: "us-west-2",
	}
}

// secondHop is a session of the first role that assumes a target role.
func secondHop(t testing.TB, trust string) *AssumeRole {
	t.Helper()
	a := firstHop(t, trust)
	a.Caller = SessionPrincipal(roleApp, sessApp).WithID("AROAABCDEFGHIJKLMNOPQ")
	a.Tags, a.Inherited, a.TransitiveKeys = nil, sixTags, nil
	a.SourceAccount, a.SourceARN, a.SourceOrgID = "", "", ""
	return a
}

func podTrust(condition string) string {
	return doc(`{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"],"Condition":` + condition + `}`)
}

func outcome(a *AssumeRole) string {
	allowed, decisions := a.Evaluate()
	var out []string
	for _, d := range decisions {
		out = append(out, strings.TrimPrefix(d.Action, "sts:")+"="+d.Decision.Cause.String())
	}
	if allowed {
		out = append(out, "ok")
	}
	return strings.Join(out, " ")
}

func TestFirstHopKeys(t *testing.T) {
	const ok = "AssumeRole=Allowed TagSession=Allowed ok"
	const refused = "AssumeRole=NoTrustAllow TagSession=NoTrustAllow"
	tests := []struct{ name, condition, want string }{
		{"service", `{"Bool":{"aws:PrincipalIsAWSService":"true"},"StringEquals":{"aws:PrincipalServiceName":"pods.eks.amazonaws.com"},"ForAnyValue:StringEquals":{"aws:PrincipalServiceNamesList":"pods.eks.amazonaws.com"}}`, ok},
		{"organisation", `{"StringEquals":{"aws:SourceOrgId":"${aws:ResourceOrgId}"}}`, ok},
		{"resource", `{"StringEquals":{"aws:ResourceAccount":"111122223333","iam:ResourceTag/team":"blue","aws:ResourceTag/Team":"blue"}}`, ok},
		{"time and transport", `{"DateEquals":{"aws:CurrentTime":"1780272000"},"NumericEquals":{"aws:EpochTime":"1780272000"},"Bool":{"aws:SecureTransport":"true","aws:ViaAWSService":"false"},"StringEquals":{"aws:RequestedRegion":"us-west-2"}}`, ok},
		{"tags", `{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"web"},"ForAllValues:StringLike":{"aws:TagKeys":["eks-*","kubernetes-*"],"sts:TransitiveTagKeys":["eks-*","kubernetes-*"]},"Null":{"aws:TagKeys":"false"}}`, ok},
		{"a service has no principal tags and no principal ARN", `{"Null":{"aws:PrincipalTag/kubernetes-namespace":"true","aws:PrincipalArn":"true"}}`, ok},
		{"other account", `{"StringEquals":{"aws:SourceAccount":"444455556666"}}`, refused},
		{"session name is no key of TagSession", `{"StringLike":{"sts:RoleSessionName":"eks-*"}}`, "AssumeRole=Allowed TagSession=NoTrustAllow"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := firstHop(t, podTrust(tt.condition))
			if got := outcome(a); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if got := outcome(a); got != tt.want {
				t.Errorf("second evaluation: %s, want %s", got, tt.want)
			}
		})
	}
}

func TestTextbookTrust(t *testing.T) {
	a := firstHop(t, textbookTrust)
	if got := outcome(a); got != "AssumeRole=Allowed TagSession=Allowed ok" {
		t.Error(got)
	}
	a.SourceARN += "x"
	if got := outcome(a); got != "AssumeRole=NoTrustAllow TagSession=NoTrustAllow" {
		t.Error(got)
	}
}

func TestSourceIdentity(t *testing.T) {
	trust := func(actions string) string {
		return doc(`{"Effect":"Allow","Principal":{"AWS":"`+roleApp+`"},"Action":[`+actions+`],"Condition":{"StringEquals":{"sts:SourceIdentity":"alice"}}}`,
			`{"Effect":"Allow","Principal":{"AWS":"`+roleApp+`"},"Action":"sts:TagSession"}`)
	}
	a := secondHop(t, trust(`"sts:AssumeRole","sts:SetSourceIdentity"`))
	a.SourceIdentity = "alice"
	if got, want := outcome(a), "AssumeRole=Allowed TagSession=Allowed SetSourceIdentity=Allowed ok"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	a = secondHop(t, trust(`"sts:AssumeRole"`))
	a.SourceIdentity = "alice"
	if got, want := outcome(a), "AssumeRole=Allowed TagSession=Allowed SetSourceIdentity=NoTrustAllow"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	a.Trust.Doc = mustParse(t, Trust, doc(`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"Null":{"aws:TagKeys":"false"}}}`))
	if got, want := outcome(a), "AssumeRole=Allowed TagSession=Allowed SetSourceIdentity=NoTrustAllow"; got != want {
		t.Errorf("request tags are no keys of SetSourceIdentity: %s, want %s", got, want)
	}
}

func TestSecondHop(t *testing.T) {
	allow := func(principal, condition string) string {
		return doc(`{"Effect":"Allow","Principal":` + principal + `,"Action":["sts:AssumeRole","sts:TagSession"],"Condition":` + condition + `}`)
	}
	const ok = "AssumeRole=Allowed TagSession=Allowed ok"
	byRole, byAccount := `{"AWS":"`+roleApp+`"}`, `{"AWS":"`+acct+`"}`
	mayAssume := `{"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession"],"Resource":"*"}`
	tests := []struct {
		name, trust, want string
		identity          []string
		change            func(*AssumeRole)
	}{
		{name: "inherited tags are request tags and principal tags", trust: allow(byRole, `{"StringEquals":{"aws:RequestTag/eks-cluster-arn":"`+clusterARN+`","aws:PrincipalTag/kubernetes-namespace":"web"},"ForAnyValue:StringEquals":{"aws:TagKeys":"kubernetes-pod-uid","sts:TransitiveTagKeys":"kubernetes-pod-uid"}}`), want: ok},
		{name: "principal ARN is the role's", trust: allow(`{"AWS":"*"}`, `{"ArnEquals":{"aws:PrincipalArn":"`+roleApp+`"},"StringEquals":{"aws:PrincipalAccount":"111122223333","aws:userid":"AROAABCDEFGHIJKLMNOPQ:s1","aws:PrincipalType":"AssumedRole"}}`), want: ok},
		{name: "account named, no identity policy", trust: allow(byAccount, `{}`), want: "AssumeRole=NoIdentityAllow TagSession=NoIdentityAllow"},
		{name: "account named, identity policy", trust: allow(byAccount, `{}`), identity: []string{mayAssume}, want: ok},
		{name: "not named, identity policy", trust: allow(`{"AWS":"444455556666"}`, `{}`), identity: []string{mayAssume}, want: "AssumeRole=NoTrustAllow TagSession=NoTrustAllow"},
		{name: "no trust policy", trust: allow(byRole, `{}`), change: func(a *AssumeRole) { a.Trust = Named{} }, want: "AssumeRole=NoTrustAllow TagSession=NoTrustAllow"},
		{name: "cross account, trust only", trust: allow(byRole, `{}`), change: func(a *AssumeRole) { a.RoleAccount = other }, want: "AssumeRole=NoIdentityAllow TagSession=NoIdentityAllow"},
		{name: "cross account, both", trust: allow(byRole, `{}`), identity: []string{mayAssume}, change: func(a *AssumeRole) { a.RoleAccount = other }, want: ok},
		{name: "external id is no key of TagSession", trust: allow(byRole, `{"StringEquals":{"sts:ExternalId":"x"}}`), change: func(a *AssumeRole) { a.ExternalID = "x" }, want: "AssumeRole=Allowed TagSession=NoTrustAllow"},
		{name: "external id without tags", trust: allow(byRole, `{"StringEquals":{"sts:ExternalId":"x"}}`), change: func(a *AssumeRole) { a.ExternalID, a.Inherited = "x", nil }, want: "AssumeRole=Allowed ok"},
		{name: "new tags are no principal tags", trust: allow(byRole, `{"Null":{"aws:PrincipalTag/new":"true","aws:RequestTag/new":"false"}}`), change: func(a *AssumeRole) { a.Tags = []Tag{{"new", "1"}} }, want: ok},
		{name: "root user", trust: allow(byAccount, `{}`), change: func(a *AssumeRole) { a.Caller = root() }, want: "AssumeRole=RootMayNotAssume TagSession=RootMayNotAssume"},
		{name: "session policy silent", trust: allow(byRole, `{}`), change: func(a *AssumeRole) { a.HasSession = true }, want: "AssumeRole=NoSessionAllow TagSession=NoSessionAllow"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := secondHop(t, tt.trust)
			if tt.identity != nil {
				a.Identity = []Named{named(t, Identity, tt.identity...)}
			}
			if tt.change != nil {
				tt.change(a)
			}
			if got := outcome(a); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestUnknownAtCreate(t *testing.T) {
	unknown := []string{"aws:RequestTag/kubernetes-pod-name", "aws:RequestTag/kubernetes-pod-uid", "sts:RoleSessionName", "aws:CurrentTime", "aws:EpochTime"}
	a := firstHop(t, podTrust(`{"StringLike":{"aws:RequestTag/kubernetes-pod-name":"db-*"},"StringEquals":{"aws:RequestTag/kubernetes-namespace":"web"},"DateLessThan":{"aws:CurrentTime":"2020-01-01"}}`))
	a.Unknown = unknown
	allowed, decisions := a.Evaluate()
	if !allowed || len(decisions) != 2 {
		t.Fatalf("decisions %+v", decisions)
	}
	for _, d := range decisions {
		if got := strings.Join(d.Decision.Open, " "); got != "aws:CurrentTime aws:RequestTag/kubernetes-pod-name" {
			t.Errorf("%s is open on %q", d.Action, got)
		}
	}
	a = firstHop(t, podTrust(`{"StringLike":{"sts:RoleSessionName":"x"}}`))
	a.Unknown = unknown
	if got, want := outcome(a), "AssumeRole=Allowed TagSession=NoTrustAllow"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	a = firstHop(t, podTrust(`{"Null":{"aws:RequestTag/kubernetes-pod-name":"false"}}`))
	a.Unknown, a.Tags, a.TransitiveKeys = unknown, nil, nil
	if got, want := outcome(a), "AssumeRole=NoTrustAllow"; got != want {
		t.Errorf("without tags the tag is absent, not unknown: %s, want %s", got, want)
	}
}

func TestWebIdentity(t *testing.T) {
	const provider = "arn:aws:iam::111122223333:oidc-provider/oidc.example.org/id"
	a := &AssumeRole{
		Caller: FederatedPrincipal(provider), RoleARN: target, Action: ActionAssumeRoleWithWebIdentity,
		Trust: Named{Doc: mustParse(t, Trust, doc(`{"Effect":"Allow","Principal":{"Federated":"`+provider+`"},"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession"],`+
			`"Condition":{"StringEquals":{"oidc.example.org/id:sub":"system:serviceaccount:web:frontend","OIDC.example.org/id:aud":"sts.amazonaws.com"},"ForAnyValue:StringEquals":{"oidc.example.org/id:amr":"authenticated"}}}`))},
		Tags: []Tag{{"a", "b"}},
		WebIdentity: &WebIdentity{ProviderARN: provider, Issuer: "oidc.example.org/id", Claims: map[string][]string{
			"sub": {"system:serviceaccount:web:frontend"}, "aud": {"sts.amazonaws.com"}, "amr": {"authenticated"},
		}},
	}
	if got, want := outcome(a), "AssumeRoleWithWebIdentity=Allowed TagSession=Allowed ok"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	a.Caller = Principal{}
	if got, want := outcome(a), "AssumeRoleWithWebIdentity=Allowed TagSession=Allowed ok"; got != want {
		t.Errorf("caller left out: %s, want %s", got, want)
	}
	a.Caller = FederatedPrincipal(provider + "2")
	if got, want := outcome(a), "AssumeRoleWithWebIdentity=NoTrustAllow TagSession=NoTrustAllow"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSetCaller(t *testing.T) {
	tests := []struct {
		name string
		who  Principal
		want map[string]string
	}{
		{"user", UserPrincipal(userBob).WithID("AIDA1"), map[string]string{"aws:username": "bob", "aws:userid": "AIDA1", "aws:PrincipalType": "User", "aws:PrincipalArn": userBob}},
		{"root", root(), map[string]string{"aws:userid": acct, "aws:PrincipalType": "Account", "aws:PrincipalArn": "arn:aws:iam::111122223333:root"}},
		{"session without id", SessionPrincipal(roleApp, sessApp), map[string]string{"aws:PrincipalArn": roleApp, "aws:PrincipalAccount": acct, "aws:PrincipalIsAWSService": "false"}},
		{"federated user", FederatedUserPrincipal("arn:aws:sts::111122223333:federated-user/f"), map[string]string{"aws:PrincipalType": "FederatedUser"}},
		{"anonymous", AnonymousPrincipal(), map[string]string{"aws:PrincipalType": "Anonymous", "aws:userid": "anonymous"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c Context
			c.SetCaller(tt.who)
			for key, want := range tt.want {
				if e := find(&c, key); e == nil || e.value != want {
					t.Errorf("%s is %+v, want %q", key, e, want)
				}
			}
		})
	}
}

func TestParsePrincipal(t *testing.T) {
	tests := []struct {
		text    string
		kind    PrincipalKind
		account string
		role    string
	}{
		{"pods.eks.amazonaws.com", ServiceKind, "", ""},
		{"arn:aws:iam::111122223333:root", RootKind, acct, ""},
		{userBob, UserKind, acct, ""},
		{sessApp, RoleSessionKind, acct, "arn:aws:iam::111122223333:role/app"},
		{"arn:aws-cn:sts::111122223333:assumed-role/app/s", RoleSessionKind, acct, "arn:aws-cn:iam::111122223333:role/app"},
		{roleApp, RoleSessionKind, acct, roleApp},
		{"arn:aws:sts::111122223333:federated-user/f", FederatedUserKind, acct, ""},
		{"arn:aws:iam::111122223333:oidc-provider/h", FederatedKind, "", ""},
	}
	for _, tt := range tests {
		p, err := ParsePrincipal(tt.text)
		if err != nil || p.Kind() != tt.kind || p.Account() != tt.account || p.RoleARN() != tt.role || p.String() != tt.text {
			t.Errorf("%s: %+v, %v", tt.text, p, err)
		}
	}
	for _, bad := range []string{"", "bob", "*", "arn:aws:iam::1:user/x", "arn:aws:iam::111122223333:user/", "arn:aws:iam::111122223333:group/g", "arn:aws:sts::111122223333:assumed-role/app", "arn:aws:iam:111122223333"} {
		if p, err := ParsePrincipal(bad); err == nil {
			t.Errorf("%q was taken as %+v", bad, p)
		}
	}
}
