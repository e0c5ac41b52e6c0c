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
// gone. As Kubernetes wants it then, what lives on its own tokens is
// restarted, operator, agents and control plane; nobody tells podid the key.
func TestKeySwap(t *testing.T) {
	ns := lab.namespace(t, nil)
	lab.associate(t, ns, "default", "swap-"+ns)
	lab.expect(t, ns, "before", "swap-"+ns)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := lab.SwapTokenKey(ctx, false); err != nil {
		t.Fatal(err)
	}
	lab.restart(ctx, t, "deployment/podid-operator", "statefulset/podid", "daemonset/podid-agent")
	lab.waitInjected(t, ns) // what is ready first waits for the others
	lab.expect(t, ns, "after", "swap-"+ns)
}

// TestKeySwapByOperator is the same with an enrolment key, as a control plane
// elsewhere needs it: the control plane is left alone, and cannot ask the API
// server itself, since its own token is of the old key. The operator tells it
// the new one before it can have a session of its role. Agents are restarted
// too: they verify tokens by keys that they fetch with tokens of their own.
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
	lab.restart(ctx, t, "deployment/podid-operator", "daemonset/podid-agent")
	lab.waitInjected(t, ns) // the leader before could not give its lease back
	lab.expect(t, ns, "after", "swap-"+ns)
}

// waitInjected waits until pods of the default service account are injected, without making one.
func (b *bed) waitInjected(t *testing.T, namespace string) {
	t.Helper()
	apiserver.Eventually(t, time.Minute, "pods to be injected", func(ctx context.Context) error {
		pod, err := b.Client.CoreV1().Pods(namespace).Create(ctx, newPod("tried", "default"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && !isInjected(pod) {
			err = errors.New("the webhook leaves them alone")
		}
		return err
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
