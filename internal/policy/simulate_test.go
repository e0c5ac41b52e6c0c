// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
	"testing"
)

func simulated(t *testing.T, kind DocumentKind, name string, statements ...string) Named {
	t.Helper()
	d, err := Parse(kind, doc(statements...))
	if err != nil {
		t.Fatal(err)
	}
	return Named{Name: name, Doc: d}
}

func matchedText(m []Matched) string {
	var out []string
	for _, s := range m {
		out = append(out, fmt.Sprintf("%s#%d", s.Document.Name, s.Statement))
	}
	return strings.Join(out, " ")
}

func TestSimulate(t *testing.T) {
	const (
		allowS3   = `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`
		denyPut   = `{"Effect":"Deny","Action":"s3:Put*","Resource":"*"}`
		fromHome  = `{"Effect":"Allow","Action":"s3:Get*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"StringEquals":{"AWS:sourceip":"x","s3:prefix":"${aws:username}"}}}`
		home      = `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${aws:username}/*"}`
		elsewhere = `{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::other/*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`
		toAll     = `{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}`
		toJane    = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/jane"},"Action":"s3:Get*","Resource":"*","Condition":{"StringEquals":{"aws:VpcSourceIp":"1"}}}`
		object    = "arn:aws:s3:::b/o"
	)
	for _, tc := range []struct {
		name      string
		identity  []string
		boundary  string
		resource  string
		scp       string
		action    string
		owner     string
		keys      map[string]string
		decision  Outcome
		parts     [4]Outcome // identity, resource, boundary, organisation
		matched   string
		missing   string
		crossways bool
	}{
		{name: "allowed", identity: []string{allowS3}, action: "s3:GetObject", decision: Allows, parts: [4]Outcome{Allows, DeniesImplicitly}, matched: "identity#0"},
		{name: "every allow counts", identity: []string{allowS3, denyPut, allowS3}, action: "s3:GetObject", decision: Allows, parts: [4]Outcome{Allows, DeniesImplicitly}, matched: "identity#0 identity#2"},
		{name: "a denial stands alone", identity: []string{allowS3, denyPut}, action: "s3:PutObject", decision: DeniesExplicitly, parts: [4]Outcome{DeniesExplicitly, DeniesImplicitly}, matched: "identity#1"},
		{name: "nothing about the action", identity: []string{fromHome}, action: "ec2:RunInstances", decision: DeniesImplicitly, parts: [4]Outcome{DeniesImplicitly, DeniesImplicitly}},
		{
			name: "keys in conditions and variables, once each", identity: []string{fromHome, home, elsewhere}, action: "s3:GetObject", decision: DeniesImplicitly,
			parts: [4]Outcome{DeniesImplicitly, DeniesImplicitly}, missing: "aws:SourceIp aws:username s3:prefix",
		},
		{
			name: "keys given", identity: []string{home, fromHome}, action: "s3:GetObject", keys: map[string]string{"AWS:SOURCEIP": "10.1.1.1", "aws:username": "jane"}, decision: DeniesImplicitly,
			parts: [4]Outcome{DeniesImplicitly, DeniesImplicitly}, missing: "s3:prefix",
		},
		{name: "boundary allows", identity: []string{allowS3}, boundary: allowS3, action: "s3:GetObject", decision: Allows, parts: [4]Outcome{Allows, DeniesImplicitly, Allows}, matched: "identity#0"},
		{name: "boundary does not", identity: []string{allowS3}, boundary: home, action: "s3:PutObject", decision: DeniesImplicitly, parts: [4]Outcome{Allows, DeniesImplicitly, DeniesImplicitly}},
		{name: "boundary denies", identity: []string{allowS3}, boundary: denyPut, action: "s3:PutObject", decision: DeniesExplicitly, parts: [4]Outcome{Allows, DeniesImplicitly, DeniesExplicitly}, matched: "boundary#0"},
		{name: "organisation allows", identity: []string{allowS3}, scp: allowS3, action: "s3:GetObject", decision: Allows, parts: [4]Outcome{Allows, DeniesImplicitly, 0, Allows}, matched: "identity#0"},
		{name: "organisation denies, unnamed", identity: []string{allowS3}, scp: denyPut, action: "s3:PutObject", decision: DeniesExplicitly, parts: [4]Outcome{Allows, DeniesImplicitly, 0, DeniesExplicitly}},
		{name: "resource policy alone", resource: toAll, action: "s3:GetObject", decision: Allows, parts: [4]Outcome{DeniesImplicitly, Allows}, matched: "resource#0"},
		{name: "another account, both", identity: []string{allowS3}, resource: toAll, owner: "999999999999", action: "s3:GetObject", decision: Allows, parts: [4]Outcome{Allows, Allows}, matched: "identity#0 resource#0", crossways: true},
		{name: "another account, one", identity: []string{allowS3}, owner: "999999999999", action: "s3:GetObject", decision: DeniesImplicitly, parts: [4]Outcome{Allows, DeniesImplicitly}, crossways: true},
		{name: "resource policy about somebody", resource: toJane, action: "s3:GetObject", decision: DeniesImplicitly, parts: [4]Outcome{DeniesImplicitly, DeniesImplicitly}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := &Input{Principal: UserPrincipal("arn:aws:iam::111122223333:user/bob"), Action: tc.action, Resource: object, ResourceAccount: tc.owner, Context: &Context{}}
			if len(tc.identity) > 0 {
				in.Identity = []Named{simulated(t, Identity, "identity", tc.identity...)}
			}
			if tc.boundary != "" {
				n := simulated(t, Boundary, "boundary", tc.boundary)
				in.Boundary = &n
			}
			if tc.resource != "" {
				n := simulated(t, Resource, "resource", tc.resource)
				in.ResourcePolicy = &n
			}
			if tc.scp != "" {
				in.SCPs = [][]Named{{simulated(t, SCP, "scp", tc.scp)}}
			}
			for k, v := range tc.keys {
				in.Context.Set(k, v)
			}
			s := Simulate(in)
			if got := s.Outcome(); got != tc.decision {
				t.Errorf("decision %d, want %d", got, tc.decision)
			}
			if got := [4]Outcome{s.Identity, s.Resource, s.Boundary, s.Organization}; got != tc.parts {
				t.Errorf("parts %v, want %v", got, tc.parts)
			}
			if got := matchedText(s.Matched); got != tc.matched {
				t.Errorf("matched %q, want %q", got, tc.matched)
			}
			if got := strings.Join(s.Missing, " "); got != tc.missing {
				t.Errorf("missing %q, want %q", got, tc.missing)
			}
			if s.CrossAccount != tc.crossways {
				t.Errorf("cross account %v", s.CrossAccount)
			}
		})
	}
}

func TestContextKeys(t *testing.T) {
	a := simulated(t, Identity, "a", `{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b/${aws:username}","*"],"Condition":{"StringLike":{"s3:prefix":["${aws:PrincipalTag/Team, 'x'}/${*}"]},"Null":{"AWS:TokenIssueTime":"true"}}}`)
	b := simulated(t, Identity, "b", `{"Effect":"Deny","NotAction":"s3:*","Resource":"*","Condition":{"DateLessThan":{"aws:tokenissuetime":"2026-01-01"},"ArnLike":{"aws:SourceArn":"${aws:PrincipalArn}"}}}`)
	old, err := Parse(Identity, `{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:userid}"}}`)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(ContextKeys(a.Doc, b.Doc, old), " ")
	if want := "aws:PrincipalArn aws:PrincipalTag/Team aws:SourceArn AWS:TokenIssueTime aws:username s3:prefix"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := ContextKeys(); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// TestEvidence: an explanation keeps what it was made of, though the request's
// context is used again.
func TestEvidence(t *testing.T) {
	n := simulated(t, Identity, "p", `{"Sid":"No","Effect":"Deny","NotAction":["iam:*","s3:*"],"Resource":["arn:aws:ec2:*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}`)
	ctx := &Context{}
	ctx.Set("aws:SourceIp", "192.0.2.1")
	ctx.SetTag("aws:PrincipalTag/", "Team", "blue")
	ctx.SetUnknown("aws:RequestTag/a")
	ctx.SetMulti("aws:TagKeys", "a", "b")
	ctx.SetMulti("aws:CalledVia")
	ctx.Set("aws:SecureTransport", "false")
	x := Explain(&Input{Principal: UserPrincipal("arn:aws:iam::111122223333:user/bob"), Action: "ec2:RunInstances", Resource: "arn:aws:ec2:us-west-2:111122223333:instance/i-1", Context: ctx, Identity: []Named{n}})
	ctx.Reset()
	ctx.Set("aws:SourceIp", "198.51.100.1")
	if got, want := fmt.Sprint(x.Request()), "[{aws:SecureTransport [false] true} {aws:SourceIp [192.0.2.1] false} {aws:PrincipalTag/Team [blue] false} {aws:TagKeys [a b] false}]"; got != want {
		t.Errorf("request %s\nwant %s", got, want)
	}
	s, ok := x.Deciding()
	if got, want := fmt.Sprintf("%+v", s), "{Kind:identity policy Document:p Statement:0 Sid:No Deny:true Principals:[] Actions:[iam:* s3:*] Resources:[arn:aws:ec2:*] "+
		"NotPrincipal:false NotAction:true NotResource:false Conditions:[{Key:aws:SecureTransport Values:[false] Named:true}]}"; !ok || got != want {
		t.Errorf("%v, %s\nwant %s", ok, got, want)
	}
	implicit := Explain(&Input{Principal: UserPrincipal("arn:aws:iam::111122223333:user/bob"), Action: "s3:GetObject", Resource: "*", Identity: []Named{n}})
	if _, ok := implicit.Deciding(); ok || len(implicit.Request()) != 0 {
		t.Error("an implicit denial has a statement")
	}
}
