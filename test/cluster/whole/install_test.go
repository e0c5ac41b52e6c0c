// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// values are all that differs from the chart's defaults: there is no cluster
// DNS here, so the control plane has a fixed address; and the operator may bind roles of one path.
var values = []string{
	"controlPlane.service.clusterIP=" + serviceIP,
	"controlPlane.operatorPassRoles={arn:aws:iam::" + account + ":role/app/*}",
	"operator.injection.stsEndpoint=" + endpoint,
}

// install is what docs/install tells a user to do.
func (b *bed) install(ctx context.Context, say func(string)) error {
	if _, err := b.kubectl(ctx, "create", "namespace", system); err != nil {
		return err
	}
	if err := b.Claim(ctx, system, "data-podid-0", 65532); err != nil { // the StatefulSet's: it takes one that is there
		return err
	}
	args := []string{"install", "podid", "../../../charts/podid", "--namespace", system}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	if out, err := b.helm(ctx, args...); err != nil {
		return errors.Join(err, errors.New(out))
	}
	say("the chart is installed")
	if err := b.administrate(ctx); err != nil {
		return err
	}
	say("the control plane answers its administrator")
	if err := b.waitAgents(ctx); err != nil {
		return err
	}
	say("the agents are ready")
	if err := b.waitOperator(ctx); err != nil {
		return err
	}
	say("the operator is ready")
	return nil
}

func (b *bed) helm(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, os.Getenv("HELM"), append([]string{"--kubeconfig", b.Kubeconfig}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+b.Dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("helm %s: %w", args[0], err)
	}
	return string(out), nil
}

// administrate makes the CLI's settings: the CA that the control plane
// publishes, and the administrator's key, which is in no Secret.
func (b *bed) administrate(ctx context.Context) error {
	if err := wait(ctx, "the control plane's CA", func(ctx context.Context) error {
		ca, err := b.Client.CoreV1().ConfigMaps(system).Get(ctx, "podid-ca", metav1.GetOptions{})
		if err == nil {
			b.ca = ca.Data["ca.crt"]
		}
		return err
	}); err != nil {
		return err
	}
	text, err := b.kubectl(ctx, "-n", system, "exec", "podid-0", "--", "podid", "admin", "credentials", "--format", "json")
	if err != nil {
		return err
	}
	var key struct{ AccessKeyId, SecretAccessKey string }
	if err := json.Unmarshal([]byte(text), &key); err != nil {
		return fmt.Errorf("read the administrator's key: %w", err)
	}
	if err := b.settings([]string{"AWS_ACCESS_KEY_ID=" + key.AccessKeyId, "AWS_SECRET_ACCESS_KEY=" + key.SecretAccessKey}); err != nil {
		return err
	}
	return wait(ctx, "the control plane", func(ctx context.Context) error {
		_, err := b.podid(ctx, "get", "cluster", clusterName)
		return err
	})
}

func (b *bed) waitAgents(ctx context.Context) error {
	return wait(ctx, "the agents", func(ctx context.Context) error {
		ds, err := b.Client.AppsV1().DaemonSets(system).Get(ctx, "podid-agent", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if int(ds.Status.NumberReady) != len(b.Nodes) {
			return fmt.Errorf("%d of %d agents are ready", ds.Status.NumberReady, len(b.Nodes))
		}
		return nil
	})
}

func (b *bed) waitOperator(ctx context.Context) error {
	return wait(ctx, "the operator", func(ctx context.Context) error {
		d, err := b.Client.AppsV1().Deployments(system).Get(ctx, "podid-operator", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Status.ReadyReplicas != *d.Spec.Replicas {
			return fmt.Errorf("%d of %d operators are ready", d.Status.ReadyReplicas, *d.Spec.Replicas)
		}
		return nil
	})
}
