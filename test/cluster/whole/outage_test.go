// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/test/cluster/apiserver"
)

// outage is how long the control plane is away, by answers of a pod that asks every second.
const outage = 120

// scale changes the replicas of a Deployment or StatefulSet of podid.
func (b *bed) scale(ctx context.Context, object string, replicas int) error {
	_, err := b.kubectl(ctx, "-n", system, "scale", object, fmt.Sprintf("--replicas=%d", replicas))
	return err
}

// gone waits until no pod of a component is left.
func (b *bed) gone(t *testing.T, component string) {
	t.Helper()
	apiserver.Eventually(t, time.Minute, component+" to be away", func(ctx context.Context) error {
		pods, err := b.Client.CoreV1().Pods(system).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=" + component})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d pods are left", len(pods.Items))
		}
		return err
	})
}

// stopControlPlane kills it, and brings it back when the test ends if the test has not.
func (b *bed) stopControlPlane(t *testing.T) (start func()) {
	t.Helper()
	if err := b.scale(t.Context(), "statefulset/podid", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.kubectl(t.Context(), "-n", system, "delete", "pod", "podid-0", "--grace-period=0", "--force"); err != nil {
		t.Fatal(err)
	}
	b.gone(t, "control-plane")
	start = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		if err := b.scale(ctx, "statefulset/podid", 1); err != nil {
			t.Error(err)
		}
		if err := wait(ctx, "the control plane to be back", func(ctx context.Context) error {
			_, err := b.podid(ctx, "get", "cluster", clusterName)
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(start)
	return start
}

// TestOutage: the control plane is away for two minutes. Running pods have
// credentials all the time, new pods of known associations are injected, by
// an operator too that was restarted meanwhile, and get theirs when it is back.
func TestOutage(t *testing.T) {
	ns := lab.namespace(t, nil)
	lab.associate(t, ns, "default", "outage-"+ns)
	lab.run(t, ns, newPod("old", "default", running("credentials", "1s")))
	lab.waitLine(t, time.Minute, ns, "old", "credentials", func(l line) bool { return l.AccessKeyID != "" })
	// Every replica keeps what it knows over a restart of its own: the last-known-good is written some time after a change.
	lab.waitKnown(t)
	before, err := lab.lines(t.Context(), ns, "old")
	if err != nil {
		t.Fatal(err)
	}
	start := lab.stopControlPlane(t)
	if made := lab.run(t, ns, newPod("new", "default")); !isInjected(made) {
		t.Error("a new pod was left alone while the control plane is away")
	}
	if _, err := lab.kubectl(t.Context(), "-n", system, "rollout", "restart", "deployment/podid-operator"); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.kubectl(t.Context(), "-n", system, "rollout", "status", "deployment/podid-operator", "--timeout=120s"); err != nil {
		t.Error(err)
	}
	if made := lab.run(t, ns, newPod("newer", "default")); !isInjected(made) {
		t.Error("a new pod was left alone by an operator that began while the control plane was away")
	}
	var after []line
	apiserver.Eventually(t, 5*time.Minute, "the outage to last", func(ctx context.Context) error {
		if after, err = lab.lines(ctx, ns, "old"); err == nil && len(after) < len(before)+outage {
			err = fmt.Errorf("%d of %d lines", len(after)-len(before), outage)
		}
		return err
	})
	for _, l := range after[len(before):] {
		if l.Error != "" {
			t.Errorf("at %s the running pod was told %s", l.At.Format(time.TimeOnly), l.Error)
		}
	}
	start()
	for _, pod := range []string{"new", "newer"} {
		lab.waitLine(t, time.Minute, ns, pod, "the identity of pod "+pod+" after the outage", func(l line) bool { return l.Arn != "" })
	}
}

// waitKnown waits until an association is in the operator's last-known-good: some Secret of it is younger.
func (b *bed) waitKnown(t *testing.T) {
	t.Helper()
	since := time.Now()
	apiserver.Eventually(t, 2*time.Minute, "the last-known-good to be written", func(ctx context.Context) error {
		secrets, err := b.Client.CoreV1().Secrets(system).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, s := range secrets.Items {
			if len(s.Name) < len("podid-operator-associations") || s.Name[:len("podid-operator-associations")] != "podid-operator-associations" {
				continue
			}
			for _, f := range s.ManagedFields {
				if f.Time != nil && f.Time.After(since.Add(-time.Second)) {
					return nil
				}
			}
		}
		return errors.New("no Secret has been written since")
	})
}

// TestRotation: tokens change under a running pod, and none of its requests fails.
func TestRotation(t *testing.T) {
	ns := lab.namespace(t, nil)
	lab.associate(t, ns, "default", "rotation-"+ns)
	n := lab.Nodes[1] // the control plane is on the other
	lab.run(t, ns, newPod("app", "default", on(n), running("credentials", "200ms")))
	last := lab.waitLine(t, time.Minute, ns, "app", "credentials", func(l line) bool { return l.AccessKeyID != "" })
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := n.RestartKubelet(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		old := last.Token
		last = lab.waitLine(t, 3*time.Minute, ns, "app", "another token", func(l line) bool { return l.Token != old })
	}
	lines, err := lab.lines(t.Context(), ns, "app")
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]bool{}
	for _, l := range lines {
		tokens[l.Token] = true
		if l.Error != "" {
			t.Errorf("at %s the pod was told %s", l.At.Format(time.TimeOnly), l.Error)
		}
	}
	if len(tokens) < 4 {
		t.Errorf("%d tokens were shown instead of 4", len(tokens))
	}
	t.Logf("%d requests with %d tokens", len(lines), len(tokens))
}
