// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/test/cluster/apiserver"
)

// TestKeySwap: the API server gets another signing key at once, the old one is
// gone, and only the operator is restarted. The control plane and the agents
// have tokens of the old key, which the API server refuses: the operator's new
// one lets it read the new key and bring it under the enrolment key that the
// control plane made for it; the agents have it from the control plane.
func TestKeySwap(t *testing.T) {
	ns := lab.namespace(t, nil)
	lab.associate(t, ns, "default", "swap-"+ns)
	lab.expect(t, ns, "before", "swap-"+ns)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := lab.SwapTokenKey(ctx, false); err != nil {
		t.Fatal(err)
	}
	lab.restart(ctx, t, "deployment/podid-operator")
	lab.waitInjected(t, ns) // the leader before could not give its lease back
	lab.expect(t, ns, "after", "swap-"+ns)
}

// TestKeySwapByOperator is the same with an enrolment key that the CLI put into
// the cluster, as a control plane elsewhere needs it.
func TestKeySwapByOperator(t *testing.T) {
	ns := lab.namespace(t, nil)
	lab.associate(t, ns, "default", "swap-"+ns)
	lab.expect(t, ns, "before", "swap-"+ns)
	lab.must(t, "update", "cluster", clusterName, "--new-enrolment-key", "--enrolment-secret", "--kubeconfig", lab.Kubeconfig)
	if out, err := lab.helm(t.Context(), "upgrade", "podid", "../../../charts/podid", "--namespace", system, "--reuse-values",
		"--set", "operator.enrolmentSecretName=podid-operator-enrolment"); err != nil {
		t.Fatal(err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if _, err := lab.kubectl(ctx, "-n", system, "rollout", "status", "deployment/podid-operator", "--timeout=180s"); err != nil {
		t.Fatal(err)
	}
	if err := lab.SwapTokenKey(ctx, false); err != nil {
		t.Fatal(err)
	}
	lab.restart(ctx, t, "deployment/podid-operator")
	lab.waitInjected(t, ns) // the leader before could not give its lease back
	lab.expect(t, ns, "after", "swap-"+ns)
}

// waitInjected waits until pods of the default service account are injected, without making one. Often on end: each
// replica of the operator is let in again by itself, and the API server asks any of them.
func (b *bed) waitInjected(t *testing.T, namespace string) {
	t.Helper()
	apiserver.Eventually(t, time.Minute, "pods to be injected by every replica", func(ctx context.Context) error {
		for range 40 {
			pod, err := b.Client.CoreV1().Pods(namespace).Create(ctx, newPod("tried", "default"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err != nil {
				return err
			}
			if !isInjected(pod) {
				return errors.New("the webhook leaves them alone")
			}
		}
		return nil
	})
}

// restart makes all pods of podid's parts anew and waits for them.
func (b *bed) restart(ctx context.Context, t *testing.T, objects ...string) {
	t.Helper()
	for _, o := range objects {
		if _, err := b.kubectl(ctx, "-n", system, "rollout", "restart", o); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range objects {
		if _, err := b.kubectl(ctx, "-n", system, "rollout", "status", o, "--timeout=180s"); err != nil {
			t.Fatal(err)
		}
	}
}
