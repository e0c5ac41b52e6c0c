// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package trust owns the policy documents that the CLI writes: the textbook
// trust policy for pods, the trust policies and policies of a cluster's own
// roles, and the change that lets one more cluster use a role. Documents that
// people wrote keep their order and all that is not changed. It never widens
// a statement beyond the cluster that is added.
package trust

import (
	"fmt"
	"strings"
)

// PodService is the principal that assumes roles for pods.
const PodService = "pods.eks.amazonaws.com"

// AgentAudience is the audience of the token that a node agent assumes its
// node role with.
const AgentAudience = "podid.dev/control-plane"

const podActions = `["sts:AssumeRole", "sts:TagSession"]`

// ForPods is the trust policy of the EKS User Guide's walk-through, bound to
// the account and, when there are any, to exactly these clusters.
func ForPods(account string, clusterARNs ...string) string {
	return mustFormat(`{"Version": "2012-10-17", "Statement": [` + podStatement("", account, clusterARNs) + `]}`)
}

func podStatement(sid, account string, clusterARNs []string) string {
	source := ""
	switch len(clusterARNs) {
	case 0:
	case 1:
		source = fmt.Sprintf(`, "ArnEquals": {"aws:SourceArn": %q}`, clusterARNs[0])
	default:
		source = `, "ArnEquals": {"aws:SourceArn": [` + quoted(clusterARNs) + `]}`
	}
	if sid != "" {
		sid = fmt.Sprintf(`"Sid": %q, `, sid)
	}
	return fmt.Sprintf(`{%s"Effect": "Allow", "Principal": {"Service": %q}, "Action": %s, "Condition": {"StringEquals": {"aws:SourceAccount": %q}%s}}`,
		sid, PodService, podActions, account, source)
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(out, ", ")
}

// ForAgent is the trust policy of a cluster's own roles, those of its agents
// and of its operator: the tokens of one service account of the one cluster
// that the provider stands for.
func ForAgent(providerARN, namespace, serviceAccount string) string {
	_, host, _ := strings.Cut(providerARN, ":oidc-provider/")
	return mustFormat(fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Federated": %q},
		"Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {%q: %q, %q: %q}}}]}`,
		providerARN, host+":sub", "system:serviceaccount:"+namespace+":"+serviceAccount, host+":aud", AgentAudience))
}

// NodeBoundary limits a node role to exchanges of its own cluster and says
// nothing about other services.
func NodeBoundary(clusterARN string) string {
	return mustFormat(fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
		{"Sid": "OtherServices", "Effect": "Allow", "NotAction": "eks-auth:*", "Resource": "*"},
		{"Sid": "OwnCluster", "Effect": "Allow", "Action": "eks-auth:*", "Resource": %q}]}`, clusterARN))
}
