// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/test/cluster/apiserver"
)

const (
	storm = 500
	// patience with one creation: the webhook's time-out is five seconds.
	stormPatience = 10 * time.Second
)

// TestStorm: the webhook is killed during a storm of pods. None is blocked, and those that were missed are reported.
func TestStorm(t *testing.T) {
	ns := lab.namespace(t, nil)
	lab.associate(t, ns, "default", "storm-"+ns)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		if err := lab.scale(ctx, "deployment/podid-operator", 2); err != nil {
			t.Error(err)
		}
		if err := lab.waitOperator(ctx); err != nil {
			t.Error(err)
		}
	})
	var made, injected atomic.Int64
	slowest := make(chan time.Duration, storm)
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(16)
	for i := range storm {
		if i == storm/5 {
			if err := lab.killOperator(ctx); err != nil {
				t.Fatal(err)
			}
		}
		g.Go(func() error {
			began := time.Now()
			pod, err := lab.Client.CoreV1().Pods(ns).Create(ctx, newPod("p-"+strconv.Itoa(i), "default", gated(i)), metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("pod %d was blocked: %w", i, err)
			}
			slowest <- time.Since(began)
			made.Add(1)
			if isInjected(pod) {
				injected.Add(1)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	close(slowest)
	var longest time.Duration
	for d := range slowest {
		longest = max(longest, d)
	}
	missed := made.Load() - injected.Load()
	t.Logf("%d pods made, %d injected, %d missed; the slowest creation took %s", made.Load(), injected.Load(), missed, longest.Round(time.Millisecond))
	if longest > stormPatience {
		t.Errorf("one creation took %s", longest)
	}
	if missed == 0 || injected.Load() == 0 {
		t.Fatal("the webhook was not killed during the storm")
	}
	lab.gone(t, "operator")
	if err := lab.scale(t.Context(), "deployment/podid-operator", 2); err != nil {
		t.Fatal(err)
	}
	lab.waitMetric(t, "podid_operator_missed_pods", func(v float64) bool { return v == float64(missed) })
	apiserver.Eventually(t, 4*time.Minute, "an Event for each missed pod", func(ctx context.Context) error {
		events, err := lab.Client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=NotInjected"})
		if err == nil && int64(len(events.Items)) != missed {
			err = fmt.Errorf("%d Events for %d pods", len(events.Items), missed)
		}
		return err
	})
}

// gated lets most pods of a storm never be scheduled: it is a storm of reviews, and two nodes have no room for five hundred processes.
func gated(i int) podOption {
	return func(p *corev1.Pod) {
		if i%50 != 0 {
			p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "podid.test/storm"}}
		}
	}
}

// killOperator ends both replicas without giving them time, and keeps them away.
func (b *bed) killOperator(ctx context.Context) error {
	if err := b.scale(ctx, "deployment/podid-operator", 0); err != nil {
		return err
	}
	for _, n := range b.Nodes {
		if err := n.Kill(ctx, system, "operator"); err != nil {
			return err
		}
	}
	return nil
}

// event waits for an Event about a pod and returns what it says.
func (b *bed) event(t *testing.T, namespace string, pod *corev1.Pod, reason string) (message string) {
	t.Helper()
	apiserver.Eventually(t, time.Minute, "an Event "+reason+" about pod "+pod.Name, func(ctx context.Context) error {
		events, err := b.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(pod.UID) + ",reason=" + reason})
		if err != nil {
			return err
		}
		if len(events.Items) == 0 {
			return errors.New("there is none")
		}
		message = events.Items[0].Message
		return nil
	})
	return message
}

// waitMetric waits until the sum of a metric over the operator's replicas is as wanted.
func (b *bed) waitMetric(t *testing.T, name string, wanted func(float64) bool) {
	t.Helper()
	apiserver.Eventually(t, time.Minute, "metric "+name, func(ctx context.Context) error {
		v, err := b.metric(ctx, name)
		if err == nil && !wanted(v) {
			err = fmt.Errorf("it is %v", v)
		}
		return err
	})
}

func (b *bed) metric(ctx context.Context, name string) (sum float64, err error) {
	pods, err := b.Client.CoreV1().Pods(system).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=operator"})
	if err != nil {
		return 0, err
	}
	for i := range pods.Items {
		text, err := b.Client.CoreV1().Pods(system).ProxyGet("http", pods.Items[i].Name, "8080", "/metrics", nil).DoRaw(ctx)
		if err != nil {
			return 0, fmt.Errorf("read metrics of %s: %w", pods.Items[i].Name, err)
		}
		for l := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(l, name+" "); ok {
				v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
				if err != nil {
					return 0, err
				}
				sum += v
			}
		}
	}
	return sum, nil
}
