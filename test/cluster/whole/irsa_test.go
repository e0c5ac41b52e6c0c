// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

var provider = regexp.MustCompile(`clusters\.podid\.dev/[0-9A-Za-z-]+`)

// TestIRSA: a service account that names its role by annotation gets it, by the cluster's own OIDC provider.
func TestIRSA(t *testing.T) {
	ns := lab.namespace(t, nil)
	host := provider.FindString(lab.must(t, "get", "role", "podid-node-"+clusterName, "-o", "json"))
	if host == "" {
		t.Fatal("the node role's trust policy names no provider of the cluster")
	}
	role := "irsa-" + ns
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::%s:oidc-provider/%s"},`+
		`"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"%[2]s:aud":"sts.amazonaws.com","%[2]s:sub":"system:serviceaccount:%s:irsa"}}}]}`, account, host, ns)
	lab.must(t, "create", "role", role, "--trust-policy", trust)
	arn := fmt.Sprintf("arn:aws:iam::%s:role/%s", account, role)
	lab.ServiceAccount(t, ns, "irsa", map[string]string{"eks.amazonaws.com/role-arn": arn})
	made := lab.run(t, ns, newPod("app", "irsa"))
	if environment(made, "AWS_ROLE_ARN") != arn || environment(made, "AWS_CONTAINER_CREDENTIALS_FULL_URI") != "" {
		t.Fatalf("the webhook made of the pod: %+v", made.Spec.Containers[0].Env)
	}
	got := lab.waitLine(t, time.Minute, ns, "app", "the pod's identity", func(l line) bool { return l.Arn != "" })
	if !strings.Contains(got.Arn, ":assumed-role/"+role+"/") {
		t.Errorf("the pod is %s", got.Arn)
	}
}
