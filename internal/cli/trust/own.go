// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"fmt"
	"strings"
)

// AgentPolicy is what a node role has beside AmazonEKSWorkerNodePolicy: the
// agents learn which service accounts have associations, and the cluster's keys
// where its API server does not tell them.
func AgentPolicy(clusterARN string) string {
	return mustFormat(fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
		{"Sid": "OwnCluster", "Effect": "Allow", "Action": ["podid:DescribeCluster", "podid:FollowAssociations"], "Resource": %q}]}`, clusterARN))
}

// OperatorPolicy lets a cluster's operator keep the associations of its own
// cluster. It can exchange no token, and change no cluster.
func OperatorPolicy(clusterARN string) string {
	return mustFormat(fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
		{"Sid": "OwnCluster", "Effect": "Allow", "Action": ["podid:DescribeCluster", "podid:FollowAssociations", "podid:FollowRefusals",
			"eks:DescribeCluster", "eks:CreatePodIdentityAssociation", "eks:ListPodIdentityAssociations"], "Resource": %q},
		{"Sid": "OwnAssociations", "Effect": "Allow", "Action": ["eks:DescribePodIdentityAssociation", "eks:UpdatePodIdentityAssociation",
			"eks:DeletePodIdentityAssociation", "eks:TagResource", "eks:UntagResource", "eks:ListTagsForResource"], "Resource": %q}]}`,
		clusterARN, strings.Replace(clusterARN, ":cluster/", ":podidentityassociation/", 1)+"/*"))
}

// OperatorPassRole lets a cluster's operator give pods of its own cluster the
// roles, which are ARNs or patterns of them, and look at those roles.
func OperatorPassRole(clusterARN string, roles []string) string {
	return mustFormat(fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
		{"Sid": "PassToOwnPods", "Effect": "Allow", "Action": "iam:PassRole", "Resource": [%[1]s],
			"Condition": {"StringEquals": {"iam:PassedToService": %[2]q}, "ArnEquals": {"iam:AssociatedResourceArn": %[3]q}}},
		{"Sid": "Look", "Effect": "Allow", "Action": "iam:GetRole", "Resource": [%[1]s]}]}`, quoted(roles), PodService, clusterARN))
}
