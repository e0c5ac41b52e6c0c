// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/strvals"
)

// TestRefusals holds what the schema refuses, and that the message names the value.
func TestRefusals(t *testing.T) {
	const external = "controlPlane.externalEtcd.endpoints={https://etcd:2379},controlPlane.externalEtcd.tlsSecretName=etcd,controlPlane.externalEtcd.rootKeySecretName=key"
	for _, tc := range []struct {
		name, set string
		want      []string // in the message; none: it is permitted
	}{
		{"defaults", "", nil},
		{"a misspelt value", "controlPlane.replicas=2", []string{"/controlPlane", "'replicas' not allowed"}},
		{"a value of nothing", "agents.enabled=true", []string{"'agents' not allowed"}},
		{"replicas on the etcd inside", "controlPlane.replicaCount=3", []string{"/controlPlane/replicaCount", "got 3, want 1"}},
		{"replicas without one certificate", "controlPlane.replicaCount=3," + external, []string{"/controlPlane/tls/secretName"}},
		{"replicas on an etcd outside", "controlPlane.replicaCount=3,controlPlane.tls.secretName=tls," + external, nil},
		{"replicas, certificate by cert-manager", "controlPlane.replicaCount=3,certManager.enabled=true," + external, nil},
		{"etcd outside without TLS", "controlPlane.externalEtcd.endpoints={https://e:2379},controlPlane.externalEtcd.rootKeySecretName=key", []string{"tlsSecretName"}},
		{"etcd outside by http", "controlPlane.externalEtcd.endpoints={http://e:2379},controlPlane.externalEtcd.rootKeySecretName=key,controlPlane.externalEtcd.tlsSecretName=x", []string{"/controlPlane/externalEtcd/endpoints/0"}},
		{"etcd outside by http, on purpose", "controlPlane.externalEtcd.endpoints={http://e:2379},controlPlane.externalEtcd.rootKeySecretName=key,controlPlane.externalEtcd.insecure=true", nil},
		{"etcd outside without the root key", "controlPlane.externalEtcd.endpoints={https://e:2379},controlPlane.externalEtcd.tlsSecretName=x", []string{"rootKeySecretName"}},
		{"no control plane at all", "controlPlane.enabled=false", []string{"/endpoint"}},
		{"a control plane elsewhere", "controlPlane.enabled=false,endpoint=https://podid.example:8443", nil},
		{"an endpoint with a path", "controlPlane.enabled=false,endpoint=https://podid.example/x", []string{"/endpoint", "pattern"}},
		{"nothing but the definitions", "controlPlane.enabled=false,operator.enabled=false,agent.enabled=false", nil},
		{"an account that YAML read as a number", "accountId=111122223333", []string{"/accountId", "want string"}},
		{"an account of 3 digits", "accountId=x12", []string{"/accountId", "pattern"}},
		{"a cluster's name with a dot", "clusterName=a.b", []string{"/clusterName"}},
		{"a region in capitals", "region=US", []string{"/region"}},
		{"an unknown partition", "partition=gcp", []string{"/partition"}},
		{"a CA that is no PEM", "caBundle=abc", []string{"/caBundle"}},
		{"a role that is none", "agent.roleArn=podid-node", []string{"/agent/roleArn"}},
		{"a user as a passable role", "controlPlane.operatorPassRoles={arn:aws:iam::111122223333:user/x}", []string{"/controlPlane/operatorPassRoles/0"}},
		{"a control plane as root", "controlPlane.podSecurityContext.runAsNonRoot=false", []string{"/controlPlane/podSecurityContext/runAsNonRoot"}},
		{"a privileged operator", "operator.securityContext.privileged=true", []string{"/operator/securityContext/privileged"}},
		{"a writable root", "operator.securityContext.readOnlyRootFilesystem=false", []string{"readOnlyRootFilesystem"}},
		{"a service account that registration does not know", "agent.serviceAccount.name=nodes", []string{"/agent/serviceAccount/name", "podid-agent"}},
		{"a service account registered by hand", "agent.serviceAccount.name=nodes,controlPlane.registerCluster=false", nil},
		{"excluded namespaces without a webhook", "operator.mode=admission-policy,operator.webhook.excludedNamespaces={a}", []string{"/operator/webhook/excludedNamespaces"}},
		{"an unknown mode", "operator.mode=sidecar", []string{"/operator/mode"}},
		{"a webhook that waits for a minute", "operator.webhook.timeoutSeconds=60", []string{"/operator/webhook/timeoutSeconds"}},
		{"a digest that is none", "agent.image.digest=latest", []string{"/agent/image/digest"}},
		{"a collector without a scheme", "agent.otlp.endpoint=collector:4318", []string{"/agent/otlp/endpoint"}},
		{"a collector with a password", "agent.otlp.endpoint=http://u:p@collector", []string{"/agent/otlp/endpoint"}},
		{"a collector", "agent.otlp.endpoint=https://collector.example/otlp", nil},
		{"an argument without dashes", "agent.extraArgs={verbose}", []string{"/agent/extraArgs/0"}},
		{"a size that is none", "controlPlane.persistence.size=big", []string{"/controlPlane/persistence/size"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			values, err := strvals.Parse(tc.set)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Render(chartDir, Release{Values: values})
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %q", err, want)
				}
			}
		})
	}
}
