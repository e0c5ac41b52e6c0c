// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun_test

import (
	"strings"
	"testing"

	"podid/internal/iam"
	"podid/internal/stackrun"
)

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`

// podRole is a role for a pod with a policy of its own, as eksctl makes them.
const podRole = `{"AWSTemplateFormatVersion":"2010-09-09","Description":"IAM role for pod identity association","Resources":{
	"Policy1":{"Type":"AWS::IAM::Policy","Properties":{"PolicyName":{"Fn::Sub":"${AWS::StackName}-Policy1"},"Roles":[{"Ref":"Role1"}],
		"PolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"*"}]}}},
	"Role1":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":` + trust + `,
		"ManagedPolicyArns":["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]}}},
	"Outputs":{"Role1":{"Value":{"Fn::GetAtt":"Role1.Arn"}}}}`

func TestCreateDescribeDelete(t *testing.T) {
	h := newHouse(t)
	in := input("pods", podRole)
	in.Tags = []iam.Tag{{Key: "team", Value: "x"}, {Key: "team", Value: "x"}}
	in.TerminationProtection = true
	id, err := h.CreateStack(ctx, h.admin, in)
	if err != nil {
		t.Fatal(err)
	}
	h.status("pods", stackrun.CreateComplete)
	got := h.info(id)
	if got.Name != "pods" || !got.TerminationProtection || len(got.Tags) != 1 || len(got.Outputs) != 1 || got.Capabilities[0] != "CAPABILITY_NAMED_IAM" {
		t.Errorf("%+v", got)
	}
	if !strings.HasPrefix(got.Outputs[0].Value, "arn:aws:iam::111122223333:role/pods-Role1-") {
		t.Errorf("output %+v", got.Outputs)
	}
	all := h.world()
	if len(all) != 1 || !strings.Contains(all[0], "+arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess pods-Policy1={") || !strings.Contains(all[0], "team=x") {
		t.Errorf("%q", all)
	}
	err = h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: id})
	if err == nil || !strings.Contains(err.Error(), "cannot be deleted while TerminationProtection is enabled") {
		t.Fatal(err)
	}
	if _, err := h.UpdateTerminationProtection(ctx, h.admin, "pods", false); err != nil {
		t.Fatal(err)
	}
	h.delete("pods", stackrun.DeleteComplete)
	h.want("after the deletion")
	if _, _, err := h.DescribeStacks(ctx, h.admin, "pods", ""); err == nil || err.Error() != "Stack with id pods does not exist" {
		t.Error(err)
	}
	wantLines(t, h.events(id),
		"pods CREATE_IN_PROGRESS: User Initiated", "Role1 CREATE_IN_PROGRESS", "Role1 CREATE_COMPLETE", "Policy1 CREATE_IN_PROGRESS", "Policy1 CREATE_COMPLETE", "pods CREATE_COMPLETE",
		"pods DELETE_IN_PROGRESS: User Initiated", "Policy1 DELETE_IN_PROGRESS", "Policy1 DELETE_COMPLETE", "Role1 DELETE_IN_PROGRESS", "Role1 DELETE_COMPLETE", "pods DELETE_COMPLETE")
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func BenchmarkCreateDelete(b *testing.B) {
	h := newHouse(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.CreateStack(ctx, h.admin, input("pods", podRole)); err != nil {
			b.Fatal(err)
		}
		if err := h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: "pods"}); err != nil {
			b.Fatal(err)
		}
	}
}
