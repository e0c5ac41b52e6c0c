// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/test/cluster/apiserver"
	"podid/test/cluster/node"
)

const (
	system       = "podid-system"
	clusterName  = "my-cluster"
	region       = "us-west-2"
	account      = "111122223333"
	serviceIP    = "10.96.0.50"
	endpoint     = "https://" + serviceIP + ":8443"
	architecture = runtime.GOARCH
)

// A bed is the cluster with podid in it.
type bed struct {
	*node.Cluster
	bin string
	env []string // of the CLI, as the administrator
	ca  string   // the control plane's CA in PEM
}

// podid runs the CLI as the administrator.
func (b *bed) podid(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "podid"), args...)
	cmd.Env = b.env
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("podid %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), problem.String())
	}
	return out.String(), nil
}

// kubectl runs kubectl as the cluster's administrator.
func (b *bed) kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, b.Binary("kubectl"), append([]string{"--kubeconfig", b.Kubeconfig}, args...)...)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, problem.String())
	}
	return out.String(), nil
}

// settings makes the CLI's environment.
func (b *bed) settings(credentials []string) error {
	file := filepath.Join(b.Dir, "podid-ca.crt")
	if err := os.WriteFile(file, []byte(b.ca), 0o600); err != nil {
		return err
	}
	b.env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	b.env = append(b.env, "AWS_ENDPOINT_URL="+endpoint, "AWS_CA_BUNDLE="+file, "AWS_REGION="+region, "HOME="+b.Dir)
	b.env = append(b.env, credentials...)
	return nil
}

// must is podid in a test.
func (b *bed) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := b.podid(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// namespace is one of the test's own with the control plane's CA in it; what is in it is shown if the test fails.
func (b *bed) namespace(t *testing.T, labels map[string]string) string {
	t.Helper()
	ns := b.Namespace(t, labels)
	_, err := b.Client.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "control-plane"}, Data: map[string]string{"ca.crt": b.ca},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.describe(context.WithoutCancel(t.Context()), ns))
		}
	})
	return ns
}

// A line is what the pods' program prints.
type line struct {
	At          time.Time `json:"at"`
	Arn         string    `json:"arn"`
	AccessKeyID string    `json:"accessKeyId"`
	Source      string    `json:"source"`
	Expires     time.Time `json:"expires"`
	Token       string    `json:"token"`
	Error       string    `json:"error"`
}

// lines are what a pod has printed by now.
func (b *bed) lines(ctx context.Context, namespace, pod string) ([]line, error) {
	text, err := b.log(ctx, namespace, pod, "app")
	if err != nil {
		return nil, err
	}
	var out []line
	for raw := range strings.Lines(text) {
		var l line
		if err := json.Unmarshal([]byte(raw), &l); err != nil {
			return nil, fmt.Errorf("line %q: %w", raw, err)
		}
		out = append(out, l)
	}
	return out, nil
}

func (b *bed) log(ctx context.Context, namespace, pod, container string) (string, error) {
	text, err := b.Client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
	return string(text), err
}

// waitLine waits until a pod's last line is as wanted.
func (b *bed) waitLine(t *testing.T, limit time.Duration, namespace, pod, what string, wanted func(line) bool) line {
	t.Helper()
	var last line
	apiserver.Eventually(t, limit, what, func(ctx context.Context) error {
		lines, err := b.lines(ctx, namespace, pod)
		switch {
		case err != nil:
			return err
		case len(lines) == 0:
			return errors.New("the pod has printed nothing")
		}
		if last = lines[len(lines)-1]; !wanted(last) {
			return fmt.Errorf("the pod's last line is %+v", last)
		}
		return nil
	})
	return last
}

// waitReady waits until a pod runs.
func (b *bed) waitReady(t *testing.T, namespace, pod string) *corev1.Pod {
	t.Helper()
	var got *corev1.Pod
	apiserver.Eventually(t, 2*time.Minute, "pod "+pod+" to be ready", func(ctx context.Context) error {
		var err error
		if got, err = b.Client.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{}); err != nil {
			return err
		}
		for _, c := range got.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("the pod is %s: %+v", got.Status.Phase, got.Status.ContainerStatuses)
	})
	return got
}

// describe is what a person wants to see of a namespace after a failure: its pods, events and logs.
func (b *bed) describe(ctx context.Context, namespace string) string {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var out strings.Builder
	show := func(title string, args ...string) {
		text, err := b.kubectl(ctx, args...)
		if err != nil {
			text = err.Error()
		}
		if len(text) > 20_000 {
			text = text[:20_000] + "\n…"
		}
		fmt.Fprintf(&out, "--- %s\n%s\n", title, strings.TrimSpace(text))
	}
	show("pods of "+namespace, "-n", namespace, "get", "pods", "-o", "wide")
	show("events of "+namespace, "-n", namespace, "get", "events", "--sort-by=.lastTimestamp")
	pods, err := b.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{Limit: 10})
	if err != nil {
		return out.String() + err.Error()
	}
	for _, p := range pods.Items {
		show("pod "+p.Name, "-n", namespace, "describe", "pod", p.Name)
		show("log of "+p.Name, "-n", namespace, "logs", p.Name, "--all-containers", "--tail=40", "--prefix")
	}
	return out.String()
}

// wait asks until ask does well: apiserver.Eventually for the set-up, where there is no test.
func wait(ctx context.Context, what string, ask func(context.Context) error) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last answer: %w", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}
