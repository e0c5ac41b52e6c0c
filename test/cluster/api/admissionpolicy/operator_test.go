// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package admissionpolicy

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"podid/internal/operator"
	"podid/internal/operator/admissionpolicy"
	"podid/internal/operator/cabundle"
	"podid/internal/operator/podpatch"
	"podid/test/cluster/apiserver"
	"podid/test/cluster/plane"
)

// rights are all that the operator's rooms of this mode need, and no more.
const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: podid-operator}
rules:
- {apiGroups: [""], resources: [serviceaccounts, namespaces], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch]}
- {apiGroups: ["", events.k8s.io], resources: [events], verbs: [create, patch]}
- {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [podid-operator], verbs: [get]}
- {apiGroups: [""], resources: [configmaps], verbs: [create]}
- {apiGroups: [""], resources: [configmaps], resourceNames: [podid-ca-bundle], verbs: [get, list, watch, update, delete]}
- {apiGroups: [podid.dev], resources: [podidentityinjections], verbs: [get, list, watch, create, update, delete]}
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [create]}
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], resourceNames: [podidentityinjections.podid.dev], verbs: [get, patch]}
- {apiGroups: [admissionregistration.k8s.io], resources: [mutatingadmissionpolicies, mutatingadmissionpolicybindings], verbs: [create]}
- {apiGroups: [admissionregistration.k8s.io], resources: [mutatingadmissionpolicies, mutatingadmissionpolicybindings], resourceNames: [podid-operator], verbs: [get, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: podid-operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: podid-operator}
subjects: [{kind: ServiceAccount, name: podid-operator, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: podid-operator, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, update, delete]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: podid-operator, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: podid-operator}
subjects: [{kind: ServiceAccount, name: podid-operator, namespace: NAMESPACE}]
`

// run starts the operator as its own service account; the result stops it.
func run(t *testing.T, namespace string, known *plane.Plane) (stop func()) {
	t.Helper()
	server.ServiceAccount(t, namespace, "podid-operator", nil)
	if err := server.Apply(t.Context(), []byte(strings.ReplaceAll(rights, "NAMESPACE", namespace))); err != nil {
		t.Fatal(err)
	}
	authorities := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(authorities, server.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- operator.Run(ctx, operator.Config{
			Cluster: "test", Namespace: namespace, MetricsAddress: "0", HealthAddress: "0",
			ControlPlane: known.Client, Kubernetes: server.AsServiceAccount(t, namespace, "podid-operator"), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			Injection: operator.Injection{Mode: operator.ModePolicy, Owner: "podid-operator", Settings: podpatch.DefaultSettings(), CAFiles: []string{authorities}},
		})
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the operator ended: %v", err)
		}
	}
}

// volume is the identity's volume that a new pod of an account gets; "" for none.
func volume(t *testing.T, namespace, account string, labels map[string]string) (string, error) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "app-", Labels: labels}, Spec: corev1.PodSpec{ServiceAccountName: account, Containers: []corev1.Container{{Name: "app", Image: "app:1"}}}}
	p, err := server.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	for _, v := range p.Spec.Volumes {
		if v.Name == "eks-pod-identity-token" || v.Name == "aws-iam-token" {
			return v.Name, nil
		}
	}
	return "", nil
}

// TestOperator: the operator's own policy, written with its own rights, follows
// associations and annotations, and works on when the operator is away.
func TestOperator(t *testing.T) {
	own, app := server.Namespace(t, nil), server.Namespace(t, nil)
	off := server.Namespace(t, map[string]string{"podid.dev/injection": "disabled"})
	server.ServiceAccount(t, app, "s3", nil)
	server.ServiceAccount(t, app, "irsa", map[string]string{podpatch.AnnotationRole: "arn:aws:iam::111122223333:role/irsa"})
	server.ServiceAccount(t, off, "s3", nil)
	known := plane.New(t, off+"/s3")
	stop := run(t, own, known)

	gets := func(what, namespace, account, want string) {
		t.Helper()
		apiserver.Eventually(t, time.Minute, what, func(context.Context) error {
			got, err := volume(t, namespace, account, nil)
			if err == nil && got != want {
				err = errors.New("the pod got volume " + got)
			}
			return err
		})
	}
	gets("an annotated account's pod to be changed", app, "irsa", "aws-iam-token")
	gets("a pod without association to be left", app, "s3", "")
	known.Associate(app+"/s3", true)
	gets("an associated account's pod to be changed", app, "s3", "eks-pod-identity-token")
	if got, err := volume(t, app, "s3", map[string]string{podpatch.LabelSkip: ""}); err != nil || got != "" {
		t.Error("a pod that skips got", got, err)
	}
	if got, err := volume(t, off, "s3", nil); err != nil || got != "" {
		t.Error("a pod of a namespace that is left alone got", got, err)
	}
	if c, err := server.Client.CoreV1().ConfigMaps(app).Get(t.Context(), cabundle.Name, metav1.GetOptions{}); err != nil || len(c.OwnerReferences) != 1 {
		t.Error("authorities", err)
	}
	if _, err := server.Client.CoreV1().ConfigMaps(own).Get(t.Context(), cabundle.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error("authorities where no pod needs them", err)
	}
	stop()
	gets("pods to be changed with the operator away", app, "s3", "eks-pod-identity-token")
	for _, o := range admissionpolicy.Objects(version(t), &podpatch.Settings{}, nil, nil) {
		gvr, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		c, err := dynamic.NewForConfig(server.Config)
		if err == nil {
			err = c.Resource(gvr).Delete(t.Context(), o.GetName(), metav1.DeleteOptions{})
		}
		if err != nil {
			t.Error(err)
		}
	}
	gets("pods to be left when the policy is gone", app, "s3", "")
}
