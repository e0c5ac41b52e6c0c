// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"

	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
	"podid/internal/fault"
)

// noTokens stands for podid dev's issuer.
type noTokens struct{}

func (noTokens) Token(context.Context, controlplane.TokenRequest) (controlplane.Token, error) {
	return controlplane.Token{}, fault.New(fault.NotFound, "No such cluster.")
}

func allow(action, resource string, condition object) map[string]any {
	var more map[string]any
	if condition != nil {
		more = object{"Condition": condition}
	}
	return controlplanetest.Statement("Allow", []string{action}, resource, more)
}

// TestCreateOrder: action, PassRole, existence, trust, in this order; who may
// not pass a role learns nothing of it.
func TestCreateOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	w.Role("untrusting", controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}))
	w.Role("trusting", podTrust(nil))
	caller := w.User("caller", nil)
	create, update := allow("eks:CreatePodIdentityAssociation", "*", nil), allow("eks:UpdatePodIdentityAssociation", "*", nil)
	pass := func(service string) map[string]any {
		return allow("iam:PassRole", "*", object{"StringEquals": object{"iam:PassedToService": service}})
	}
	const notPass = "User: arn:aws:iam::111122223333:user/caller is not authorized to perform: iam:PassRole on resource: "
	const trust = "Trust policy of the role provided is invalid. Follow the official documentation to resolve the issue."
	for _, tc := range []struct {
		name          string
		policy        map[string]any
		cluster, role string
		code, message string
	}{
		{"nothing allowed", controlplanetest.Document(allow("s3:*", "*", nil)), "my-cluster", "trusting", "AccessDeniedException", "not authorized to perform: eks:CreatePodIdentityAssociation on resource: arn:aws:eks:us-west-2:111122223333:cluster/my-cluster"},
		{"nothing allowed, no cluster", controlplanetest.Document(allow("s3:*", "*", nil)), "nowhere", "trusting", "AccessDeniedException", "not authorized to perform: eks:CreatePodIdentityAssociation"},
		{"PassRole alone", controlplanetest.Document(pass(podService)), "my-cluster", "trusting", "AccessDeniedException", "eks:CreatePodIdentityAssociation"},
		{"no PassRole, role there", controlplanetest.Document(create), "my-cluster", "trusting", "AccessDeniedException", notPass + roleARN + "trusting because"},
		{"no PassRole, role untrusting", controlplanetest.Document(create), "my-cluster", "untrusting", "AccessDeniedException", notPass + roleARN + "untrusting because"},
		{"no PassRole, no role", controlplanetest.Document(create), "my-cluster", "nothing", "AccessDeniedException", notPass + roleARN + "nothing because"},
		{"no PassRole, no cluster", controlplanetest.Document(create), "nowhere", "trusting", "AccessDeniedException", notPass},
		{"PassRole to another service", controlplanetest.Document(create, pass("ec2.amazonaws.com")), "my-cluster", "trusting", "AccessDeniedException", notPass},
		{"no cluster", controlplanetest.Document(create, pass(podService)), "nowhere", "nothing", "ResourceNotFoundException", "No cluster found for name: nowhere."},
		{"no role", controlplanetest.Document(create, pass(podService)), "my-cluster", "nothing", "InvalidParameterException", "Role provided in the request does not exist."},
		{"untrusting role", controlplanetest.Document(create, pass(podService)), "my-cluster", "untrusting", "InvalidParameterException", trust},
		{"all is well", controlplanetest.Document(create, pass(podService)), "my-cluster", "trusting", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.UserPolicy("caller", tc.policy)
			_, err := eks.NewFromConfig(w.Config(caller)).CreatePodIdentityAssociation(context.Background(), &eks.CreatePodIdentityAssociationInput{
				ClusterName: &tc.cluster, Namespace: aws.String("ns"), ServiceAccount: aws.String("order"), RoleArn: aws.String(roleARN + tc.role),
			})
			if tc.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantAPIError(t, err, tc.code, tc.message)
		})
	}
	t.Run("update", func(t *testing.T) {
		out, err := w.EKS().ListPodIdentityAssociations(context.Background(), &eks.ListPodIdentityAssociationsInput{ClusterName: &w.cl.Name, Namespace: aws.String("ns")})
		if err != nil || len(out.Associations) != 1 {
			t.Fatalf("%v %v", out, err)
		}
		id, client := out.Associations[0].AssociationId, eks.NewFromConfig(w.Config(caller))
		change := func(in eks.UpdatePodIdentityAssociationInput) error {
			in.ClusterName, in.AssociationId = &w.cl.Name, id
			_, err := client.UpdatePodIdentityAssociation(context.Background(), &in)
			return err
		}
		w.UserPolicy("caller", controlplanetest.Document(update))
		if err := change(eks.UpdatePodIdentityAssociationInput{DisableSessionTags: aws.Bool(true)}); err != nil {
			t.Errorf("no role named: %v", err)
		}
		// The role is named, be it the same one.
		wantAPIError(t, change(eks.UpdatePodIdentityAssociationInput{RoleArn: aws.String(roleARN + "trusting")}), "AccessDeniedException", notPass)
		w.UserPolicy("caller", controlplanetest.Document(update, pass(podService)))
		if err := change(eks.UpdatePodIdentityAssociationInput{RoleArn: aws.String(roleARN + "trusting")}); err != nil {
			t.Error(err)
		}
		wantAPIError(t, change(eks.UpdatePodIdentityAssociationInput{RoleArn: aws.String(roleARN + "untrusting")}), "InvalidParameterException", trust)
		wantAPIError(t, change(eks.UpdatePodIdentityAssociationInput{RoleArn: aws.String("arn:aws:iam::444455556666:role/x")}), "AccessDeniedException", "Cross-account pass role is not allowed.")
	})
	t.Run("tags", func(t *testing.T) { testTagConditions(t, w, caller) })
	// Last: it takes the admin's rights away.
	t.Run("admin", func(t *testing.T) { testAdminDenied(t, w) })
}

// testTagConditions: rights by tag, of the request and of the resource.
func testTagConditions(t *testing.T, w *world, caller aws.CredentialsProvider) {
	tag := func(p aws.CredentialsProvider, value string) controlplanetest.Answer {
		return rest(t, w.ControlPlane, p, "eks", http.MethodPost, "/tags/"+url.PathEscape(w.cl.ARN()), object{"tags": object{"team": value}})
	}
	if a := tag(w.Admin, "blue"); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	describe := func() controlplanetest.Answer {
		return rest(t, w.ControlPlane, caller, "eks", http.MethodGet, "/clusters/my-cluster", nil)
	}
	w.UserPolicy("caller", controlplanetest.Document(
		allow("eks:DescribeCluster", "*", object{"StringEquals": object{"aws:ResourceTag/team": "blue"}}),
		allow("eks:TagResource", "*", object{"StringEquals": object{"aws:RequestTag/team": "green"}})))
	if a := describe(); a.Status != 200 {
		t.Errorf("resource tag: %d %s", a.Status, a.Raw)
	}
	tag(caller, "red").Want(t, 403, "AccessDeniedException", "")
	if a := tag(caller, "green"); a.Status != 200 {
		t.Errorf("request tag: %d %s", a.Status, a.Raw)
	}
	describe().Want(t, 403, "AccessDeniedException", "")
}

// testAdminDenied: podid-admin is a user like any other.
func testAdminDenied(t *testing.T, w *world) {
	w.UserPolicy("podid-admin", controlplanetest.Document(controlplanetest.Statement("Deny", []string{"eks:ListClusters", "podid:*"}, "*", nil)))
	_, err := w.EKS().ListClusters(context.Background(), &eks.ListClustersInput{})
	wantAPIError(t, err, "AccessDeniedException", "with an explicit deny")
	a := rest(t, w.ControlPlane, w.Admin, "podid", http.MethodGet, "/podid/v1/clusters/my-cluster", nil)
	a.Want(t, 403, "AccessDeniedException", "")
	e := w.LastAudit("DescribeCluster")
	if e.EventSource != "podid.dev" || e.UserIdentity.Type != "IAMUser" || e.UserIdentity.UserName != "podid-admin" || e.ErrorCode != "AccessDeniedException" {
		t.Errorf("audit %+v", e)
	}
	if !strings.Contains(controlplanetest.JSON(t, e.Podid.Detail), "test") {
		t.Errorf("audit does not name the policy that denied: %v", e.Podid.Detail)
	}
}
