// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"context"
	"strings"
	"testing"

	"podid/internal/association"
	"podid/internal/controlplane/controlplanetest/roomstest"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/sts"
)

// statement is a trust policy of one statement for podid's service.
func statement(effect, actions, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Effect":"` + effect + `","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":[` + actions + `]` + condition + `}`
}

func document(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// At create the trust policy must be able to hold for some pod of the service
// account: what is not known then passes, in Allow as in Deny.
func TestCheckRole(t *testing.T) {
	const (
		assume, tag, both = `"sts:AssumeRole"`, `"sts:TagSession"`, `"sts:AssumeRole","sts:TagSession"`
		clusterARN        = "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster"
	)
	allow := func(condition string) string { return document(statement("Allow", both, condition)) }
	deny := func(condition string) string {
		return document(statement("Allow", both, ""), statement("Deny", both, condition))
	}
	for _, tc := range []struct {
		name, trust string
		noTags      bool
		bad         bool
	}{
		{name: "plain", trust: roomstest.PodTrust},
		{name: "textbook", trust: allow(`{"StringEquals":{"aws:SourceAccount":"111122223333"},"ArnEquals":{"aws:SourceArn":"` + clusterARN + `"}}`)},
		{name: "other account", trust: allow(`{"StringEquals":{"aws:SourceAccount":"444455556666"}}`), bad: true},
		{name: "other cluster", trust: allow(`{"ArnLike":{"aws:SourceArn":"` + clusterARN + `x"}}`), bad: true},
		{name: "other service", trust: strings.ReplaceAll(roomstest.PodTrust, "pods.eks", "ec2"), bad: true},
		{name: "without sts:TagSession", trust: document(statement("Allow", assume, "")), bad: true},
		{name: "without sts:AssumeRole", trust: document(statement("Allow", tag, "")), bad: true},
		{name: "two statements", trust: document(statement("Allow", assume, ""), statement("Allow", tag, ""))},
		{name: "the namespace", trust: allow(`{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"s3-app-ns"}}`)},
		{name: "another namespace", trust: allow(`{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"default"}}`), bad: true},
		{name: "another service account", trust: allow(`{"StringEquals":{"aws:RequestTag/kubernetes-service-account":"x"}}`), bad: true},
		{name: "denied for the namespace", trust: deny(`{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"s3-app-ns"}}`), bad: true},
		{name: "denied for another namespace", trust: deny(`{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"default"}}`)},
		{name: "unknown pod name", trust: allow(`{"StringEquals":{"aws:RequestTag/kubernetes-pod-name":"x"}}`)},
		{name: "unknown pod uid", trust: allow(`{"StringLike":{"aws:RequestTag/kubernetes-pod-uid":"x*"}}`)},
		{name: "unknown pod name, denied", trust: deny(`{"StringEquals":{"aws:RequestTag/kubernetes-pod-name":"x"}}`)},
		{name: "unknown pod name, denied by its absence", trust: deny(`{"Null":{"aws:RequestTag/kubernetes-pod-name":"true"}}`)},
		{name: "unknown session name", trust: document(statement("Allow", assume, `{"StringLike":{"sts:RoleSessionName":"eks-*"}}`), statement("Allow", tag, ""))},
		{name: "unknown time", trust: allow(`{"DateGreaterThan":{"aws:CurrentTime":"2100-01-01T00:00:00Z"}}`)},
		{name: "unknown time, denied", trust: deny(`{"DateLessThan":{"aws:EpochTime":"4102444800"}}`)},
		{name: "unknown beside what is known and wrong", trust: allow(`{"StringEquals":{"aws:RequestTag/kubernetes-pod-name":"x","aws:SourceAccount":"1"}}`), bad: true},
		{name: "role's own tag", trust: allow(`{"StringEquals":{"aws:ResourceTag/env":"prod"}}`)},
		{name: "broken", trust: "{", bad: true},

		{name: "no tags: plain", trust: roomstest.PodTrust, noTags: true},
		{name: "no tags: a condition on one", trust: allow(`{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"s3-app-ns"}}`), noTags: true, bad: true},
		{name: "no tags: a condition on one for sts:TagSession", trust: document(statement("Allow", assume, ""), statement("Allow", tag, `{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"s3-app-ns"}}`)), noTags: true},
		{name: "no tags: without sts:TagSession", trust: document(statement("Allow", assume, "")), noTags: true, bad: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := roomstest.New(t)
			c := w.Cluster("my-cluster", nil)
			role := w.Role("app", tc.trust, "", func(r *iam.Role) { r.Tags = []iam.Tag{{Key: "env", Value: "prod"}} })
			err := w.Issuer.CheckRole(context.Background(), w.DB.View(), c.Cluster, &association.Association{
				ClusterUID: c.UID, ClusterName: c.Name, Namespace: "s3-app-ns", ServiceAccount: "s3-app-sa", RoleARN: role.ARN(), DisableSessionTags: tc.noTags,
			})
			if !tc.bad {
				if err != nil {
					t.Errorf("%v: %+v", err, fault.As(err).Detail)
				}
				return
			}
			f := fault.As(err)
			if tc.trust == "{" {
				if f.Kind != fault.Internal || f.Reason != "trust-policy-unreadable" {
					t.Errorf("%d %q", f.Kind, f.Reason)
				}
				return
			}
			if f.Kind != fault.InvalidParameter || f.Reason != "trust-policy-invalid" || f.Message != "Trust policy of the role provided is invalid. Follow the official documentation to resolve the issue." {
				t.Errorf("%d %q %s", f.Kind, f.Reason, f.Message)
			}
			if d, ok := f.Detail.(sts.Refusal); !ok || d.Role != role.ARN() || len(d.Actions) == 0 {
				t.Errorf("detail %+v", f.Detail)
			}
		})
	}
}

func TestCheckRoleNames(t *testing.T) {
	w := roomstest.New(t)
	c := w.Cluster("my-cluster", nil)
	w.Role("app", roomstest.PodTrust, "", func(r *iam.Role) { r.Path = "/team/" })
	for arn, want := range map[string]string{
		"arn:aws:iam::111122223333:role/team/app": "",
		"arn:aws:iam::111122223333:role/app":      "role-not-found", // the path is part of the name
		"arn:aws:iam::111122223333:role/team/App": "role-not-found", // as is its case
		"arn:aws:iam::111122223333:role/absent":   "role-not-found",
		"arn:aws:iam::444455556666:role/team/app": "role-other-account",
		"arn:aws-cn:iam::111122223333:role/app":   "role-not-found",
		"app":                                     "role-arn-malformed",
	} {
		err := w.Issuer.CheckRole(context.Background(), w.DB.View(), c.Cluster, &association.Association{Namespace: "n", ServiceAccount: "s", RoleARN: arn})
		if want == "" && err != nil || want != "" && (!fault.Is(err, fault.InvalidParameter) || fault.As(err).Reason != want) {
			t.Errorf("%s: %v (%q), want %q", arn, err, fault.As(err).Reason, want)
		}
	}
}
