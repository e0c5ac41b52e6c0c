// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// install puts podid into the cluster.
func (b *bed) install(ctx context.Context, say func(string)) error {
	if err := b.Volume(ctx, "podid", 65532); err != nil {
		return err
	}
	if err := b.ApplyFile(ctx, "testdata/interim.yaml"); err != nil {
		return err
	}
	data := filepath.Join(b.Dir, b.Nodes[0].Name, "volume-podid", "data")
	err := wait(ctx, "the control plane", func(context.Context) error {
		text, err := os.ReadFile(filepath.Join(data, "tls", "ca.crt"))
		b.ca = string(text)
		return err
	})
	if err != nil {
		return err
	}
	if err := b.settings([]string{"AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(data, "admin-credentials")}); err != nil {
		return err
	}
	if err := wait(ctx, "the control plane to answer", func(ctx context.Context) error {
		_, err := b.podid(ctx, "get", "clusters")
		return err
	}); err != nil {
		return err
	}
	say("the control plane answers")
	if _, err := b.podid(ctx, "register", "cluster", clusterName, "--kubeconfig", b.Kubeconfig); err != nil {
		return err
	}
	if _, err := b.Client.CoreV1().ConfigMaps(system).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "podid-ca"}, Data: map[string]string{"ca.crt": b.ca},
	}, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := wait(ctx, "the agents", func(ctx context.Context) error {
		ds, err := b.Client.AppsV1().DaemonSets(system).Get(ctx, "podid-agent", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if int(ds.Status.NumberReady) != len(b.Nodes) {
			return fmt.Errorf("%d of %d agents are ready", ds.Status.NumberReady, len(b.Nodes))
		}
		return nil
	}); err != nil {
		return err
	}
	say("the agents are ready")
	return nil
}
