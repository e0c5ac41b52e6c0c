// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/test/cluster/node"
)

// A podOption changes a pod before it is created.
type podOption func(*corev1.Pod)

// newPod is a pod that asks STS whom it is, as a user of the SDK would write it:
// where STS is and whom to trust, and nothing about credentials.
func newPod(name, serviceAccount string, options ...podOption) *corev1.Pod {
	no, yes, grace := false, true, int64(1)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			ServiceAccountName: serviceAccount, TerminationGracePeriodSeconds: &grace, EnableServiceLinks: &no,
			Containers: []corev1.Container{{
				Name: "app", Image: node.PauseImage, ImagePullPolicy: corev1.PullNever, Args: []string{"whoami", "1s"},
				Env: []corev1.EnvVar{
					{Name: "AWS_REGION", Value: region},
					{Name: "AWS_ENDPOINT_URL_STS", Value: endpoint},
					{Name: "AWS_CA_BUNDLE", Value: "/etc/control-plane/ca.crt"},
					{Name: "AWS_EC2_METADATA_DISABLED", Value: "true"},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "ca", MountPath: "/etc/control-plane", ReadOnly: true}},
				SecurityContext: &corev1.SecurityContext{
					RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
			}},
			Volumes: []corev1.Volume{{Name: "ca", VolumeSource: corev1.VolumeSource{
				ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "control-plane"}},
			}}},
		},
	}
	for _, o := range options {
		o(pod)
	}
	return pod
}

func on(n *node.Node) podOption {
	return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/hostname": n.Name} }
}

func running(args ...string) podOption {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Args = args }
}

const (
	tokenDir  = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount"
	tokenName = "eks-pod-identity-token"
	agentURL  = "http://169.254.170.23/v1/credentials"
)

// injected by hand is what the webhook does, for what is to be shown without one.
func injected(p *corev1.Pod) {
	life := int64(86400)
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: tokenName, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
			ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "pods.eks.amazonaws.com", ExpirationSeconds: &life, Path: tokenName},
		}}},
	}})
	c := &p.Spec.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: tokenName, MountPath: tokenDir, ReadOnly: true})
	c.Env = append(c.Env, corev1.EnvVar{Name: "AWS_CONTAINER_CREDENTIALS_FULL_URI", Value: agentURL},
		corev1.EnvVar{Name: "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Value: tokenDir + "/" + tokenName})
}

// run creates a pod.
func (b *bed) run(t *testing.T, namespace string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := b.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create pod: %v", err)
	}
	return made
}
