// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestExplainTrust(t *testing.T) {
	tests := []struct {
		name   string
		change func(*AssumeRole)
		trust  string
		reason string
		detail []string
	}{
		{
			name: "allowed", change: func(*AssumeRole) {}, trust: textbookTrust,
			reason: "sts:AssumeRole is allowed by trust policy statement 1 (AllowEksAuthToAssumeRoleForPodIdentity)",
			detail: []string{"[trust policy of role/target " + target + "]"},
		},
		{
			name: "other account", change: func(a *AssumeRole) { a.SourceAccount = "999999999999" }, trust: textbookTrust,
			reason: "no trust policy allows sts:AssumeRole: trust policy statement 1 (AllowEksAuthToAssumeRoleForPodIdentity): condition StringEquals on aws:SourceAccount is not met",
			detail: []string{`StringEquals aws:SourceAccount wants ["111122223333"], is ["999999999999"]`},
		},
		{
			name: "absent", change: func(a *AssumeRole) { a.SourceAccount = "" }, trust: textbookTrust,
			reason: "no trust policy allows sts:AssumeRole: trust policy statement 1 (AllowEksAuthToAssumeRoleForPodIdentity): condition StringEquals on aws:SourceAccount is not met (the request has no such key)",
			detail: []string{`wants ["111122223333"], is absent`},
		},
		{
			name: "other principal", change: func(*AssumeRole) {}, trust: doc(`{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`),
			reason: "no trust policy allows sts:AssumeRole: trust policy statement 1 does not name the caller",
			detail: []string{`Principal wants ["ec2.amazonaws.com"], is "pods.eks.amazonaws.com"`},
		},
		{
			name: "other action", change: func(*AssumeRole) {}, trust: doc(`{"Effect":"Allow","Principal":"*","Action":"sts:TagSession"}`),
			reason: "no trust policy allows sts:AssumeRole",
		},
		{
			name: "denied", change: func(*AssumeRole) {},
			trust: doc(`{"Effect":"Allow","Principal":"*","Action":"sts:*"}`,
				`{"Sid":"NoWeb","Effect":"Deny","Principal":"*","Action":"sts:*","Condition":{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"web"}}}`),
			reason: "sts:AssumeRole is explicitly denied by trust policy statement 2 (NoWeb)",
		},
		{
			name: "nearest first", change: func(*AssumeRole) {},
			trust: doc(`{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:*"}`,
				`{"Effect":"Allow","Principal":"*","Action":"sts:*","Condition":{"StringEquals":{"aws:TagKeys":"x"}}}`),
			reason: "no trust policy allows sts:AssumeRole: trust policy statement 2: condition StringEquals on aws:TagKeys is not met (the key has several values and the operator compares one)",
		},
		{
			name: "variable without a value", change: func(a *AssumeRole) { a.ResourceOrgID = "" },
			trust:  podTrust(`{"StringEquals":{"aws:SourceOrgID":"${aws:ResourceOrgID}"}}`),
			reason: "no trust policy allows sts:AssumeRole: trust policy statement 1: condition StringEquals on aws:SourceOrgID is not met (a variable has no value, or the actual value is not of the operator's type)",
		},
		{
			name: "open", change: func(a *AssumeRole) { a.Unknown = []string{"aws:RequestTag/kubernetes-pod-name"} },
			trust:  podTrust(`{"StringEquals":{"aws:RequestTag/kubernetes-pod-name":"x"}}`),
			reason: "sts:AssumeRole is allowed by trust policy statement 1; depends on aws:RequestTag/kubernetes-pod-name",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := firstHop(t, tt.trust)
			tt.change(a)
			x := a.Explain()[0].Explanation
			if got := x.Reason(); got != tt.reason {
				t.Errorf("reason\n %s\nwant\n %s", got, tt.reason)
			}
			for _, want := range tt.detail {
				if !strings.Contains(x.Detail(), want) {
					t.Errorf("detail\n %s\nlacks %s", x.Detail(), want)
				}
			}
		})
	}
}

func TestReasonNamesNoValues(t *testing.T) {
	a := firstHop(t, podTrust(`{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"secret-wanted"}}`))
	a.Tags = []Tag{{"kubernetes-namespace", "secret-actual"}}
	for _, x := range a.Explain() {
		if got := x.Explanation.Reason(); strings.Contains(got, "secret") {
			t.Errorf("reason holds a value: %s", got)
		}
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"cause":"NoTrustAllow"`, `"reason":"no trust policy allows`, `"policyType":"trust policy"`, `"nearMisses":[`, `"key":"aws:RequestTag/kubernetes-namespace"`, `"wanted":["secret-wanted"]`, `"actual":["secret-actual"]`} {
			if !strings.Contains(string(text), want) {
				t.Errorf("JSON %s lacks %s", text, want)
			}
		}
	}
}

func rootOf(t *testing.T) Principal {
	t.Helper()
	p, err := ParsePrincipal("arn:aws:iam::111122223333:root")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExplainGroups(t *testing.T) {
	narrow := named(t, Identity, `{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::other/*"}`)
	all := named(t, Identity, allowAll)
	boundary := named(t, Boundary, `{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`)
	session := named(t, SessionPolicy, `{"Effect":"Allow","Action":"ec2:*","Resource":"*"}`)
	scp := named(t, SCP, `{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::x"}`)
	base := Input{Principal: UserPrincipal(userBob), Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Context: &Context{}}
	tests := []struct {
		name   string
		change func(*Input)
		want   string
	}{
		{"identity", func(in *Input) { in.Identity = []Named{narrow} }, "no identity policy allows s3:GetObject: identity policy statement 1 does not name the resource"},
		{"boundary", func(in *Input) { in.Identity, in.Boundary = []Named{all}, &boundary }, "no permissions boundary allows s3:GetObject: permissions boundary statement 1: condition Bool on aws:SecureTransport is not met (the request has no such key)"},
		{"session", func(in *Input) { in.Identity, in.Session = []Named{all}, []Named{session} }, "no session policy allows s3:GetObject"},
		{"organisation", func(in *Input) { in.Identity, in.SCPs = []Named{all}, [][]Named{{scp}} }, "no service control policy allows s3:GetObject: service control policy statement 1 does not name the resource"},
		{"organisation, the level that is closed", func(in *Input) { in.Identity, in.SCPs = []Named{all}, [][]Named{{all, scp}, {narrow}} }, "no service control policy allows s3:GetObject: identity policy statement 1 does not name the resource"},
		{"variable without a value", func(in *Input) {
			in.Identity = []Named{named(t, Identity, `{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::other/${aws:userid}","arn:aws:s3:::b/${aws:PrincipalTag/team}/*"]}`)}
		}, "no identity policy allows s3:GetObject: identity policy statement 1 does not name the resource (the request has no aws:PrincipalTag/team)"},
		{"denied by one of two of a name", func(in *Input) {
			in.Identity = []Named{all, named(t, Identity, `{"Effect":"Deny","Action":"ec2:*","Resource":"*"}`), named(t, Identity, `{"Effect":"Deny","Action":"s3:*","Resource":"*"}`)}
		}, "s3:GetObject is explicitly denied by identity policy statement 1"},
		{"root", func(in *Input) { in.Principal = rootOf(t) }, "s3:GetObject is allowed to the root user of the account"},
		{"other account", func(in *Input) { in.ResourceAccount = other }, "no resource policy allows s3:GetObject"},
		{"nobody is refused their identity", func(in *Input) { in.Action = "sts:GetCallerIdentity" }, "sts:GetCallerIdentity is always allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := base
			tt.change(&in)
			x := Explain(&in)
			if got := x.Reason(); got != tt.want {
				t.Errorf("reason\n %s\nwant\n %s", got, tt.want)
			}
		})
	}
}

func TestCache(t *testing.T) {
	text := func(n int) string {
		return doc(`{"Effect":"Allow","Action":"s3:` + strings.Repeat("a", n) + `","Resource":"*"}`)
	}
	c := NewCache(3 * len(text(10)))
	first, err := c.Get(Identity, text(10))
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := c.Get(Identity, text(10)); again != first {
		t.Error("the same text was compiled twice")
	}
	if other, _ := c.Get(Boundary, text(10)); other == first || other.Kind() != Boundary {
		t.Error("kinds are mixed up")
	}
	for n := 1; n < 10; n++ {
		if _, err := c.Get(Identity, text(n)); err != nil {
			t.Fatal(err)
		}
	}
	if c.Len() > 3 || c.Len() == 0 {
		t.Errorf("cache holds %d documents", c.Len())
	}
	if again, _ := c.Get(Identity, text(10)); again == first {
		t.Error("the least recently used document was not dropped")
	}
	before := c.Len()
	if _, err := c.Get(Identity, `{}`); message(err) != msgSyntax || c.Len() != before {
		t.Errorf("refused document: %v, %d held", err, c.Len())
	}
	if d, err := NewCache(0).Get(Identity, text(1)); err != nil || d == nil {
		t.Errorf("cache without room: %v", err)
	}
}
