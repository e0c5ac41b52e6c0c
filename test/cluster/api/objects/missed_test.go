// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"context"
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const restartRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAMESPACE-restart}
rules:
- {apiGroups: [apps], resources: [deployments, statefulsets, daemonsets], verbs: [get, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE-restart}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE-restart}
subjects: [{kind: ServiceAccount, name: podid-operator, namespace: NAMESPACE}]
`

// podSpec is that of a pod of the service account s3-app-sa.
func podSpec() corev1.PodSpec {
	return corev1.PodSpec{ServiceAccountName: "s3-app-sa", Containers: []corev1.Container{{Name: "c", Image: "none"}}}
}

func (w *world) pod(name string, labels map[string]string, owners ...metav1.OwnerReference) *corev1.Pod {
	w.t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: name, Labels: labels, OwnerReferences: owners}, Spec: podSpec()}
	if err := w.kube.Create(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// TestMissedPods: the association comes after the pods.
func TestMissedPods(t *testing.T) {
	w := newWorld(t)
	w.apply(strings.ReplaceAll(restartRights, "NAMESPACE", w.ns))
	server.ServiceAccount(t, w.apps, "s3-app-sa", nil)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: "web"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}, Spec: podSpec()},
	}}
	if err := w.kube.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	yes := true // as the Deployment's controller would have it
	w.pod("web-5d4f-x", map[string]string{"app": "web", "pod-template-hash": "5d4f"}, metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d4f", UID: "u", Controller: &yes})
	w.pod("bare", nil)
	w.pod("injected", map[string]string{"eks.amazonaws.com/pod-identity": "enabled"})
	w.pod("wants-none", map[string]string{"eks.amazonaws.com/skip-pod-identity-webhook": "true"})

	w.operator("--restart-missed", "60/m")
	w.podid("create", "pia", "--cluster", "c", "--namespace", w.apps, "--service-account-name", "s3-app-sa", "--role-arn", roleA)
	w.told("bare", "NotInjected")
	w.told("web-5d4f-x", "NotInjected")
	w.eventually("the Deployment to be restarted", func(ctx context.Context) error {
		if err := w.kube.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
			return err
		}
		if d.Spec.Template.Annotations["podid.dev/restarted-at"] == "" {
			return errors.New("not yet")
		}
		return nil
	})
	var events corev1.EventList
	if err := w.kube.List(t.Context(), &events, client.InNamespace(w.apps)); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, e := range events.Items {
		count[e.InvolvedObject.Name]++
	}
	if count["injected"]+count["wants-none"] > 0 || count["bare"] != 1 {
		t.Errorf("told %v", count)
	}
	var missed []struct{ Name, Reason, Advice string }
	w.decode(w.podid("get", "pods", "--missing", "--cluster", "c", "--namespace", w.apps, "--kubeconfig", server.Kubeconfig, "-o", "json"), &missed)
	if len(missed) != 2 || missed[0].Name != "bare" || missed[1].Reason != "association-is-newer" || missed[1].Advice != "kubectl -n "+w.apps+" rollout restart deployment/web" {
		t.Errorf("the CLI shows %+v", missed)
	}
}
