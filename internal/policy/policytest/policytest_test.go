// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"podid/internal/policy/policytest"
)

// TestVectors grades the evaluator: every graded line of every family agrees.
func TestVectors(t *testing.T) {
	f, err := os.Open("../testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum, err := policytest.Run(f, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for family, n := range sum.ByFamily {
		t.Logf("%-10s %d of %d", family, n.Agreed, n.Graded)
	}
	for _, m := range sum.Mismatches {
		t.Errorf("%s: verdict %s, want %s: %s", m.ID, m.Verdict, m.Want, m.Detail)
	}
	if sum.Cases < 180 {
		t.Errorf("only %d cases were read", sum.Cases)
	}
}

// TestDocumentedCases holds the evaluator to the cases under testdata, whose
// verdicts are AWS' documentation's.
func TestDocumentedCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	cases, ids := 0, map[string]bool{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			sum, err := policytest.Run(bytes.NewReader(data), &out)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range sum.Mismatches {
				t.Errorf("%s: verdict %s, want %s: %s", m.ID, m.Verdict, m.Want, m.Detail)
			}
			for line := range strings.Lines(out.String()) {
				var res policytest.Result
				if err := json.Unmarshal([]byte(line), &res); err != nil {
					t.Fatal(err)
				}
				if ids[res.ID] {
					t.Errorf("id %s is given twice", res.ID)
				}
				ids[res.ID] = true
				if strings.Contains(res.Detail, "is ignored") {
					t.Errorf("%s: %s", res.ID, res.Detail)
				}
			}
			cases += sum.Cases
		})
	}
	if cases < 1000 {
		t.Errorf("only %d cases were read", cases)
	}
}

func TestRunOutput(t *testing.T) {
	const good = `{"id":"a","principal":"arn:aws:iam::111122223333:user/u","action":"s3:GetObject","resource":"arn:aws:s3:::b/k","context":{"aws:MultiFactorAuthAge":300,"aws:SecureTransport":true},` +
		`"identityPolicies":[{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}]}`
	tests := []struct {
		name, in, wantOut, wantErr string
		ok                         bool
	}{
		{"allowed without want", good, `{"id":"a","verdict":"allow",`, "", true},
		{"blank lines", "\n\n" + good + "\n\n", `"verdict":"allow"`, "", true},
		{"want disagrees", strings.Replace(good, `{"id":"a"`, `{"want":"deny","id":"a"`, 1), `"verdict":"allow"`, "", false},
		{"either is not graded", strings.Replace(good, `{"id":"a"`, `{"want":"either","id":"a"`, 1), `"verdict":"allow"`, "", true},
		{"array of actions must all pass", strings.Replace(good, `"s3:GetObject"`, `["s3:GetObject","ec2:RunInstances"]`, 1), `"verdict":"deny"`, "", true},
		{"anonymous", strings.Replace(good, `"arn:aws:iam::111122223333:user/u"`, `{"type":"Anonymous"}`, 1), `"verdict":"deny"`, "", true},
		{"malformed document", strings.Replace(good, `"Allow"`, `"allow"`, 1), `"verdict":"error"`, "", true},
		{"second line is broken", good + "\n{", `"verdict":"allow"`, "line 2: read case", false},
		{"first line is broken", "{\n" + good, `"verdict":"allow"`, "line 1: read case", false},
		{"unknown member", strings.Replace(good, `{"id":"a"`, `{"scp":[],"id":"a"`, 1), `unknown member \"scp\" is ignored`, "", true},
		{"unknown member of assumeRole", `{"id":"a","principal":"ec2.amazonaws.com","assumeRole":{"roleArn":"arn:aws:iam::111122223333:role/r","sourceARN":"x","tag":{}}}`, `unknown member \"assumeRole.tag\" is ignored`, "", true},
		{"no id", `{"principal":"ec2.amazonaws.com","action":"a:b"}`, "", "line 1: id is missing", false},
		{"no principal", `{"id":"x","action":"a:b"}`, "", `line 1: case "x": principal is missing`, false},
		{"nothing asked", `{"id":"x","principal":"ec2.amazonaws.com"}`, "", "neither action nor assumeRole", false},
		{"both asked", `{"id":"x","principal":"ec2.amazonaws.com","action":"a:b","assumeRole":{"roleArn":"r"}}`, "", "exclude each other", false},
		{"bad want", `{"id":"x","principal":"ec2.amazonaws.com","action":"a:b","want":"yes"}`, "", `want "yes" is none of`, false},
		{"bad principal", `{"id":"x","principal":"nobody","action":"a:b"}`, "", "neither an ARN nor the name of a service", false},
		{"trailing text", good + `{}`, "", "invalid character", false},
		{"bad context value", `{"id":"x","principal":"ec2.amazonaws.com","action":"a:b","context":{"k":{}}}`, "", "is no string, number or boolean", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			sum, err := policytest.Run(strings.NewReader(tt.in), &out)
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Fatalf("error %v, want %q", err, tt.wantErr)
			}
			if !strings.Contains(out.String(), tt.wantOut) {
				t.Errorf("output %q, want %q in it", out.String(), tt.wantOut)
			}
			if sum.OK() != tt.ok {
				t.Errorf("OK is %v, want %v", sum.OK(), tt.ok)
			}
		})
	}
}

func TestWebIdentityForms(t *testing.T) {
	const provider = "arn:aws:iam::111122223333:oidc-provider/oidc.example.org/id/1"
	const trust = `"trustPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},` +
		`"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.example.org/id/1:sub":"system:serviceaccount:web:frontend","oidc.example.org/id/1:aud":"sts.amazonaws.com"}}}]}`
	tests := []struct{ name, principal, web, context, want string }{
		{"claims", provider, `{"issuer":"https://oidc.example.org/id/1","claims":{"sub":"system:serviceaccount:web:frontend","aud":"sts.amazonaws.com"}}`, `{}`, "allow"},
		{"claims beside the issuer", provider, `{"sub":"system:serviceaccount:web:frontend","aud":"sts.amazonaws.com"}`, `{}`, "allow"},
		{"provider given", "pods.eks.amazonaws.com", `{"providerArn":"` + provider + `","sub":"system:serviceaccount:web:frontend","aud":"sts.amazonaws.com"}`, `{}`, "allow"},
		{"keys in the context", provider, `true`, `{"oidc.example.org/id/1:sub":"system:serviceaccount:web:frontend","oidc.example.org/id/1:aud":"sts.amazonaws.com"}`, "allow"},
		{"other subject", provider, `{"sub":"system:serviceaccount:web:other","aud":"sts.amazonaws.com"}`, `{}`, "deny"},
		{"other provider", provider + "2", `{"issuer":"oidc.example.org/id/1","sub":"system:serviceaccount:web:frontend","aud":"sts.amazonaws.com"}`, `{}`, "deny"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			line := `{"id":"w","principal":"` + tt.principal + `",` + trust + `,"context":` + tt.context +
				`,"assumeRole":{"roleArn":"arn:aws:iam::111122223333:role/app","webIdentity":` + tt.web + `}}`
			var out strings.Builder
			if _, err := policytest.Run(strings.NewReader(line), &out); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), `"verdict":"`+tt.want+`"`) {
				t.Errorf("output %s, want %s", out.String(), tt.want)
			}
		})
	}
}
