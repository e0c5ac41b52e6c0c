// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/eks"

	"podid/internal/controlplane/controlplanetest"
)

// TestTextbook walks the path of the textbook example with AWS' own clients.
func TestTextbook(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	cl := cp.Register("my-cluster", nil)
	node := cl.Node(cl.NodeRole(), "node-1")
	role := cp.Role("s3-app-eks-pod-identity-role", cl.PodTrust(), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
	ns, sa := "s3-app-ns", "s3-app-sa"
	out, err := cp.EKS().CreatePodIdentityAssociation(context.Background(), &eks.CreatePodIdentityAssociationInput{
		ClusterName: &cl.Name, Namespace: &ns, ServiceAccount: &sa, RoleArn: &role,
	})
	if err != nil {
		t.Fatal(err)
	}
	a := cl.Exchange(node, cl.Token(controlplanetest.Pod{}))
	if a.Status != 200 {
		t.Fatalf("exchange: %d %s %s", a.Status, a.Code, a.Raw)
	}
	t.Logf("%s %s", *out.Association.AssociationId, a.Raw)
}
