// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/policy/policytest"
)

// TestGuide runs the first example of docs/policy-tests.md and compares with
// the output that the page shows.
func TestGuide(t *testing.T) {
	page, err := os.ReadFile("../../../docs/policy-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(begin string) string {
		_, text, ok := strings.Cut(string(page), begin)
		if !ok {
			t.Fatalf("the page has no %q", begin)
		}
		text, _, _ = strings.Cut(text, "```")
		return text
	}
	documents := map[string]string{
		"trust.json": `{"Version":"2012-10-17","Statement":[{"Sid":"Pods","Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},` +
			`"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"Web"}}}]}`,
		"read.json": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject",` +
			`"Resource":"arn:aws:s3:::bucket/${aws:PrincipalTag/kubernetes-namespace}/*"},{"Sid":"NoDeletes","Effect":"Deny","Action":"s3:Delete*","Resource":"*"}]}`,
	}
	suite, err := policytest.Load("app_test.yaml", []byte(block("```yaml\n")), func(name string) ([]byte, error) {
		if text, ok := documents[name]; ok {
			return []byte(text), nil
		}
		return nil, errors.New("no such file")
	})
	if err != nil {
		t.Fatal(err)
	}
	report := policytest.Report{Files: []policytest.FileReport{suite.Run(nil)}}
	var got strings.Builder
	if err := report.WriteHuman(&got, false); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(block("$ podid policy test app_test.yaml\n"), got.String()); d != "" {
		t.Errorf("the page shows another output (-page +run):\n%s", d)
	}
}
