// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"podid/test/cluster/apiserver"
)

// object applies a PodIdentityAssociation of a service account.
func (b *bed) object(t *testing.T, namespace, serviceAccount, role string) {
	t.Helper()
	err := b.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: podid.dev/v1alpha1
kind: PodIdentityAssociation
metadata: {name: app, namespace: %s}
spec: {serviceAccount: %s, roleArn: "%s"}
`, namespace, serviceAccount, role))
	if err != nil {
		t.Fatal(err)
	}
}

// condition waits until the object's condition Ready is as wanted and is about the spec of now.
func (b *bed) condition(t *testing.T, namespace, status, reason string) {
	t.Helper()
	const path = `jsonpath={.metadata.generation} {.status.conditions[?(@.type=="Ready")].observedGeneration} ` +
		`{.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].reason}`
	apiserver.Eventually(t, time.Minute, "Ready="+status+" "+reason, func(ctx context.Context) error {
		text, err := b.kubectl(ctx, "-n", namespace, "get", "pia", "app", "-o", path)
		if err != nil {
			return err
		}
		f := strings.Fields(text)
		if len(f) != 4 || f[0] != f[1] || f[2] != status || reason != "" && f[3] != reason {
			return fmt.Errorf("generation, observed, status and reason are %q", text)
		}
		return nil
	})
}

// appRole makes a role that the operator may pass.
func (b *bed) appRole(t *testing.T, name string) (arn string) {
	t.Helper()
	b.must(t, "create", "role", name, "--path", "/app/", "--trust", "pod-identity", "--cluster", clusterName)
	return "arn:aws:iam::" + account + ":role/app/" + name
}

// TestObjects: an association as an object of the cluster: refused without a
// policy, ready with one, edited, and gone.
func TestObjects(t *testing.T) {
	ns := lab.namespace(t, nil)
	first, second := lab.appRole(t, "first-"+ns), lab.appRole(t, "second-"+ns)
	lab.object(t, ns, "default", first)
	lab.condition(t, ns, "False", "RoleNotAllowed")
	if made := lab.run(t, ns, newPod("early", "default")); isInjected(made) {
		t.Error("a pod was injected before its role was allowed")
	}
	err := lab.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: podid.dev/v1alpha1
kind: PodIdentityRolePolicy
metadata: {name: %[1]s}
spec:
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
  serviceAccounts: [default]
  roleArns: ["arn:aws:iam::%[2]s:role/app/*"]
`, ns, account))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := lab.kubectl(context.WithoutCancel(t.Context()), "delete", "pirp", ns); err != nil {
			t.Error(err)
		}
	})
	lab.condition(t, ns, "True", "")
	lab.expect(t, ns, "allowed", "first-"+ns)
	lab.object(t, ns, "default", second)
	lab.condition(t, ns, "True", "")
	lab.expect(t, ns, "edited", "second-"+ns)
	if _, err := lab.kubectl(t.Context(), "-n", ns, "delete", "pia", "app", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
	left := lab.must(t, "get", "podidentityassociation", "--cluster", clusterName, "--namespace", ns, "-o", "json")
	if strings.Contains(left, "associationArn") || strings.Contains(left, ns) {
		t.Errorf("the object is gone and the association is there: %s", left)
	}
}

// expect runs a pod and wants it to be of a role.
func (b *bed) expect(t *testing.T, namespace, pod, role string) {
	t.Helper()
	made := b.run(t, namespace, newPod(pod, "default"))
	if !isInjected(made) {
		t.Fatalf("the webhook left pod %s alone: %+v", pod, made.Spec)
	}
	got := b.waitLine(t, time.Minute, namespace, pod, "the identity of pod "+pod, func(l line) bool { return l.Arn != "" })
	if !strings.Contains(got.Arn, ":assumed-role/"+role+"/") {
		t.Errorf("pod %s is %s, not of role %s", pod, got.Arn, role)
	}
}
