// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"podid/internal/controlplane/controlplanetest"
)

// The target role examples of the EKS User Guide, "Access AWS resources using
// EKS Pod Identity target IAM roles".
const (
	sourceRole = "arn:aws:iam::111122223333:role/pod-role"
	targetRole = "arn:aws:iam::111122223333:role/target-role"
	externalID = "us-west-2/111122223333/my-cluster/s3-app-ns/untagged"
)

// taggedTarget trusts the first role's sessions by the tags that come along.
func taggedTarget(cl *controlplanetest.Cluster) map[string]any {
	return controlplanetest.Document(object{
		"Effect": "Allow", "Principal": object{"AWS": "arn:aws:iam::111122223333:root"}, "Action": []string{"sts:AssumeRole", "sts:TagSession"},
		"Condition": object{"StringEquals": object{
			"aws:RequestTag/eks-cluster-arn": cl.ARN(), "aws:RequestTag/kubernetes-namespace": "s3-app-ns", "aws:RequestTag/kubernetes-service-account": "tagged",
		}, "ArnEquals": object{"aws:PrincipalArn": sourceRole}},
	})
}

// externalTarget trusts them by the external id, for associations without
// tags. The statement for sts:TagSession stands apart: it has no such key.
func externalTarget(id string) map[string]any {
	principal := object{"AWS": "arn:aws:iam::111122223333:root"}
	return controlplanetest.Document(
		object{
			"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole",
			"Condition": object{"StringEquals": object{"sts:ExternalId": id}, "ArnEquals": object{"aws:PrincipalArn": sourceRole}},
		},
		object{"Effect": "Allow", "Principal": principal, "Action": "sts:TagSession"},
	)
}

func TestTargetRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	w.Role("pod-role", podTrust(nil))
	w.RolePolicy("pod-role", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"sts:AssumeRole", "sts:TagSession"}, targetRole, nil)))
	w.Role("target-role", taggedTarget(w.cl), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
	associate := func(sa string, tags bool, policy string) {
		a := w.cl.Associate(sa, sourceRole, func(in *eks.CreatePodIdentityAssociationInput) {
			in.TargetRoleArn, in.DisableSessionTags = aws.String(targetRole), aws.Bool(!tags)
			if policy != "" {
				in.Policy = &policy
			}
		})
		if got, want := aws.ToString(a.ExternalId), "us-west-2/111122223333/my-cluster/s3-app-ns/"+sa; got != want {
			t.Errorf("external id %q, want %q", got, want)
		}
	}
	associate("tagged", true, "")
	associate("untagged", false, "")
	associate("bounded", false, controlplanetest.JSON(t, controlplanetest.Document(controlplanetest.Statement("Allow", []string{"iam:GetRole"}, "*", nil))))

	t.Run("session", func(t *testing.T) { testTargetSession(t, w) })
	anyone := controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"AWS": sourceRole}, "Action": []string{"sts:AssumeRole", "sts:TagSession"}})
	for name, tc := range map[string]struct {
		sa     string
		trust  map[string]any
		reason string // "" = issued
	}{
		"tags":                          {"tagged", taggedTarget(w.cl), ""},
		"tags of another service":       {"untagged", taggedTarget(w.cl), "trust-policy-denied"},
		"external id without tags":      {"untagged", externalTarget(externalID), ""},
		"external id is another's":      {"untagged", externalTarget(externalID + "x"), "trust-policy-denied"},
		"no external id with tags":      {"tagged", externalTarget("us-west-2/111122223333/my-cluster/s3-app-ns/tagged"), "trust-policy-denied"},
		"role named as the principal":   {"tagged", anyone, ""},
		"trusts the service, not us":    {"tagged", podTrust(nil), "trust-policy-denied"},
		"must be able to tag":           {"tagged", controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"AWS": sourceRole}, "Action": "sts:AssumeRole"}), "trust-policy-denied-tag-session"},
		"need not tag without tags":     {"untagged", controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"AWS": sourceRole}, "Action": "sts:AssumeRole"}), ""},
		"session policy needs no right": {"bounded", anyone, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w.Trust("target-role", tc.trust)
			a := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: tc.sa}))
			if tc.reason == "" {
				a.Credentials(t)
				return
			}
			a.Want(t, 400, "AccessDeniedException", denied)
			if got := w.LastReason("AssumeRoleForPodIdentity"); got != tc.reason {
				t.Errorf("reason %q, want %q", got, tc.reason)
			}
		})
	}
	t.Run("first role may not assume", func(t *testing.T) {
		w.Trust("target-role", taggedTarget(w.cl))
		w.RolePolicy("pod-role", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"s3:*"}, "*", nil)))
		w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "tagged"})).Want(t, 400, "AccessDeniedException", denied)
		if got := w.LastReason("AssumeRoleForPodIdentity"); got != "assume-role-denied" {
			t.Errorf("reason %q", got)
		}
	})
}

func testTargetSession(t *testing.T, w *world) {
	before := time.Now()
	a := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "tagged"}))
	p := a.Credentials(t)
	creds, _ := a.Body["credentials"].(map[string]any)
	exp, _ := creds["expiration"].(float64)
	if life := time.Unix(int64(exp), 0).Sub(before); life < 59*time.Minute-2*time.Second || life > 59*time.Minute+5*time.Second {
		t.Errorf("life %s, want 59 min", life)
	}
	want := sixTags(w.cl)
	want[3].Value = "tagged"
	if diff := cmp.Diff(want, w.LastAudit("AssumeRoleForPodIdentity").Podid.SessionTags); diff != "" {
		t.Errorf("tags of the target session (-want +got):\n%s", diff)
	}
	id, err := sts.NewFromConfig(w.Config(p)).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	if got := controlplanetest.Name((*id.Arn)[:len(*id.Arn)-len(controlplanetest.Name(*id.Arn))-1]); got != "target-role" {
		t.Errorf("identity %s", *id.Arn)
	}
}
