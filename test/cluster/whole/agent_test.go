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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/test/cluster/apiserver"
)

// associate makes a role with an association for a service account of a namespace.
func (b *bed) associate(t *testing.T, namespace, serviceAccount, role string) {
	t.Helper()
	b.must(t, "create", "podidentityassociation", "--cluster", clusterName, "--namespace", namespace, "--service-account-name", serviceAccount,
		"--role-name", role, "--permission-policy-arns", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
}

// TestEachNodeServesItsPods: a pod on each node gets credentials from the agent of its node.
func TestEachNodeServesItsPods(t *testing.T) {
	ns := lab.namespace(t, nil)
	role := "nodes-" + ns
	lab.associate(t, ns, "default", role)
	for _, n := range lab.Nodes {
		lab.run(t, ns, newPod("on-"+n.Name, "default", on(n), injected))
	}
	for _, n := range lab.Nodes {
		lab.waitLine(t, 2*time.Minute, ns, "on-"+n.Name, "credentials on "+n.Name, func(l line) bool {
			return strings.Contains(l.Arn, ":assumed-role/"+role+"/eks-")
		})
	}
}

// TestStolenToken: a token that was taken from a pod of one node is refused by the agent of another.
func TestStolenToken(t *testing.T) {
	ns := lab.namespace(t, nil)
	lab.associate(t, ns, "default", "stolen-"+ns)
	victim := lab.run(t, ns, newPod("victim", "default", on(lab.Nodes[0]), injected))
	lab.waitLine(t, 2*time.Minute, ns, "victim", "the victim's credentials", func(l line) bool { return l.Arn != "" })
	bound := lab.waitReady(t, ns, "victim")
	token := lab.Token(t, ns, "default", "pods.eks.amazonaws.com", bound) // what the kubelet asked for too
	_, err := lab.Client.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "loot"}, StringData: map[string]string{"token": token},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"status 200", "status 400"} {
		n := lab.Nodes[i]
		lab.run(t, ns, newPod("thief-"+n.Name, "default", on(n), running("fetch", agentURL, "/loot/token"), func(p *corev1.Pod) {
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "loot", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "loot"}}})
			p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "loot", MountPath: "/loot", ReadOnly: true})
		}))
		var log string
		apiserver.Eventually(t, 2*time.Minute, "the answer of the agent of "+n.Name, func(ctx context.Context) error {
			var err error
			if log, err = lab.log(ctx, ns, "thief-"+n.Name, "app"); err == nil && !strings.Contains(log, "status ") {
				err = fmt.Errorf("the pod printed %q", log)
			}
			return err
		})
		if !strings.Contains(log, want) {
			t.Errorf("the token of %s on %s: %s instead of %s", victim.Spec.NodeName, n.Name, strings.TrimSpace(log), want)
		}
	}
}
