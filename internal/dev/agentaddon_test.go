// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// wantAgents asks with the env file's exports for the add-on of each cluster's
// agent, as eksctl does before it makes an association: it is there at once.
func wantAgents(t *testing.T, env string, clusters []string) {
	t.Helper()
	c := exported(t, env).EKS
	for _, name := range clusters {
		out, err := c.DescribeAddon(t.Context(), &eks.DescribeAddonInput{ClusterName: aws.String(name), AddonName: aws.String("eks-pod-identity-agent")})
		if err != nil || out.Addon.Status != types.AddonStatusActive {
			t.Errorf("agent of %s: %+v, %v", name, out, err)
		}
	}
}
