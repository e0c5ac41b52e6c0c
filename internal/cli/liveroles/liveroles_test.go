// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package liveroles_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"podid/internal/cli/clients"
	"podid/internal/cli/liveroles"
)

// answers are what IAM says to each action, without the envelope.
var answers = map[string]string{
	"GetRole": `<Role><RoleName>app</RoleName><RoleId>AROAEXAMPLE</RoleId><Arn>arn:aws:iam::111122223333:role/app</Arn><Path>/</Path><CreateDate>2026-01-01T00:00:00Z</CreateDate>` +
		`<AssumeRolePolicyDocument>` + url.PathEscape(`{"trust":"a b+c"}`) + `</AssumeRolePolicyDocument><Tags><member><Key>team</Key><Value>red</Value></member></Tags>` +
		`<PermissionsBoundary><PermissionsBoundaryType>Policy</PermissionsBoundaryType><PermissionsBoundaryArn>arn:aws:iam::111122223333:policy/bound</PermissionsBoundaryArn></PermissionsBoundary></Role>`,
	"ListAttachedRolePolicies": `<AttachedPolicies><member><PolicyName>read</PolicyName><PolicyArn>arn:aws:iam::111122223333:policy/read</PolicyArn></member></AttachedPolicies><IsTruncated>false</IsTruncated>`,
	"ListRolePolicies":         `<PolicyNames><member>inline</member></PolicyNames><IsTruncated>false</IsTruncated>`,
	"GetRolePolicy":            `<RoleName>app</RoleName><PolicyName>inline</PolicyName><PolicyDocument>` + url.PathEscape(`{"inline":1}`) + `</PolicyDocument>`,
}

// server answers as IAM does; it refuses one action.
func server(t *testing.T, refused string) *clients.Clients {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		action := r.Form.Get("Action")
		_, name, _ := strings.Cut(r.Form.Get("PolicyArn"), "/")
		answer := answers[action]
		switch action {
		case refused:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>`)
			return
		case "GetPolicy":
			answer = `<Policy><PolicyName>` + name + `</PolicyName><DefaultVersionId>v2</DefaultVersionId></Policy>`
		case "GetPolicyVersion":
			answer = `<PolicyVersion><VersionId>` + r.Form.Get("VersionId") + `</VersionId><Document>` + url.PathEscape(`{"`+name+`":"`+r.Form.Get("VersionId")+`"}`) + `</Document></PolicyVersion>`
		}
		fmt.Fprintf(w, `<%[1]sResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>`, action, answer)
	}))
	t.Cleanup(srv.Close)
	return clients.New(aws.Config{
		Region: "us-west-2", BaseEndpoint: &srv.URL, HTTPClient: srv.Client(), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

func TestFetch(t *testing.T) {
	got, err := liveroles.Fetch(context.Background(), server(t, ""), "app")
	if err != nil {
		t.Fatal(err)
	}
	want := &liveroles.Role{
		Name: "app", ARN: "arn:aws:iam::111122223333:role/app", Trust: `{"trust":"a b+c"}`, Tags: map[string]string{"team": "red"},
		Boundary: &liveroles.Document{Name: "bound", ARN: "arn:aws:iam::111122223333:policy/bound", Text: `{"bound":"v2"}`},
		Inline:   []liveroles.Document{{Name: "inline", Text: `{"inline":1}`}},
		Attached: []liveroles.Document{{Name: "read", ARN: "arn:aws:iam::111122223333:policy/read", Text: `{"read":"v2"}`}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestFetchRefused holds that no document is left out: what the caller may not
// read is an error that names it.
func TestFetchRefused(t *testing.T) {
	for action, want := range map[string]string{
		"GetRole": "read role app", "ListRolePolicies": "read role app", "ListAttachedRolePolicies": "read role app",
		"GetRolePolicy": "read inline policy inline of role app", "GetPolicy": "read policy arn:aws:iam::111122223333:policy/read",
		"GetPolicyVersion": "read version v2 of policy arn:aws:iam::111122223333:policy/read",
	} {
		t.Run(action, func(t *testing.T) {
			got, err := liveroles.Fetch(context.Background(), server(t, action), "app")
			if err == nil || got != nil || !strings.HasPrefix(err.Error(), want) || !clients.IsRefused(err) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
