// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chart lets a real API server judge what the chart renders: every
// object of every set of values, what each service account may and may not,
// and whether an uninstall leaves nothing that waits. The renders are the
// golden ones of test/chart, which has Helm.
package chart

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/internal/operator/uninstall"
	"podid/test/cluster/apiserver"
)

const (
	golden    = "../../../chart/testdata/golden"
	manifests = "../../../../deploy"
	namespace = "podid-system"
)

var server *apiserver.Server

func TestMain(m *testing.M) { os.Exit(apiserver.Main(m, &server, apiserver.Options{})) }

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func makeNamespace(t *testing.T, name string) {
	t.Helper()
	_, err := server.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// TestDryRun has every render judged, hooks too. Of what other projects define the cluster knows the names only.
func TestDryRun(t *testing.T) {
	if err := server.ApplyFile(t.Context(), "testdata/foreign.yaml"); err != nil {
		t.Fatal(err)
	}
	makeNamespace(t, namespace)
	makeNamespace(t, "identity")
	files, err := filepath.Glob(golden + "/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d golden renders (%v), want 6", len(files), err)
	}
	for _, file := range append(files, manifests+"/podid.yaml", manifests+"/podid-uninstall.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if err := server.DryRun(t.Context(), read(t, file)); err != nil {
				t.Error(err)
			}
		})
	}
}

// install applies the static manifest, and the uninstall's.
func install(t *testing.T) {
	t.Helper()
	for _, file := range []string{"podid.yaml", "podid-uninstall.yaml"} {
		if err := server.ApplyFile(t.Context(), filepath.Join(manifests, file)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPodSecurity holds which level each pod of the default set needs: restricted, but for the agent.
func TestPodSecurity(t *testing.T) {
	restricted := server.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	baseline := server.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "baseline"})
	privileged := server.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "privileged"})
	for name, pod := range templates(t, read(t, golden+"/default.yaml")) {
		for _, tc := range []struct {
			namespace string
			accepted  bool
		}{{restricted, name != "DaemonSet/podid-agent"}, {baseline, name != "DaemonSet/podid-agent"}, {privileged, true}} {
			t.Run(name+" in "+tc.namespace, func(t *testing.T) {
				p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-", Namespace: tc.namespace, Labels: pod.Labels}, Spec: *pod.Spec.DeepCopy()}
				p.Spec.ServiceAccountName = "default"
				_, err := server.Client.CoreV1().Pods(tc.namespace).Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
				if (err == nil) != tc.accepted {
					t.Errorf("error %v, accepted should be %v", err, tc.accepted)
				}
			})
		}
	}
}

// templates are the pods that a stream of objects asks for.
func templates(t *testing.T, stream []byte) map[string]corev1.PodTemplateSpec {
	t.Helper()
	out := map[string]corev1.PodTemplateSpec{}
	for dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(stream), 4096); ; {
		var o struct {
			Kind     string
			Metadata metav1.ObjectMeta
			Spec     struct{ Template *corev1.PodTemplateSpec }
		}
		switch err := dec.Decode(&o); {
		case errors.Is(err, io.EOF):
			if len(out) != 4 {
				t.Fatalf("%d pod templates, want those of control plane, operator, agent and uninstall", len(out))
			}
			return out
		case err != nil:
			t.Fatal(err)
		}
		if o.Spec.Template != nil {
			if o.Kind == "StatefulSet" { // its volume comes from the claim's template
				o.Spec.Template.Spec.Volumes = append(o.Spec.Template.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
			}
			out[o.Kind+"/"+o.Metadata.Name] = *o.Spec.Template
		}
	}
}

// TestRights holds what each of the service accounts may, and what would be too much.
func TestRights(t *testing.T) {
	install(t)
	for _, tc := range []struct {
		account, verb, resource, namespace, name string // resource: plural[.group][/sub]
		may                                      bool
	}{
		{"podid", "create", "configmaps", namespace, "", true},
		{"podid", "update", "configmaps", namespace, "podid-ca", true},
		{"podid", "update", "configmaps", namespace, "another", false},
		{"podid", "get", "secrets", namespace, "x", false},
		{"podid", "list", "pods", "", "", false},

		{"podid-agent", "watch", "pods", "", "", true},
		{"podid-agent", "create", "pods", "", "", false},
		{"podid-agent", "get", "secrets", namespace, "x", false},
		{"podid-agent", "list", "podidentityassociations.podid.dev", "", "", false},

		{"podid-operator", "watch", "pods", "", "", true},
		{"podid-operator", "delete", "pods", "app", "x", false},
		{"podid-operator", "watch", "serviceaccounts", "", "", true},
		{"podid-operator", "create", "serviceaccounts/token", "app", "x", false},
		{"podid-operator", "create", "events", "app", "", true},
		{"podid-operator", "create", "events.events.k8s.io", "app", "", true},
		{"podid-operator", "update", "podidentityassociations.podid.dev", "app", "x", true},
		{"podid-operator", "patch", "podidentityassociations.podid.dev/status", "app", "x", true},
		{"podid-operator", "delete", "podidentityassociations.podid.dev", "app", "x", false},
		{"podid-operator", "list", "podidentityrolepolicies.podid.dev", "", "", true},
		{"podid-operator", "update", "podidentityrolepolicies.podid.dev", "", "x", false},
		{"podid-operator", "patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "", "podid-operator", true},
		{"podid-operator", "patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "", "another", false},
		{"podid-operator", "create", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "", "", false},
		{"podid-operator", "create", "secrets", namespace, "", true},
		{"podid-operator", "get", "secrets", "app", "x", false},
		{"podid-operator", "update", "leases.coordination.k8s.io", namespace, "podid-operator", true},
		{"podid-operator", "patch", "clusterroles.rbac.authorization.k8s.io", "", "podid-operator", false},

		{"podid-uninstall", "delete", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "", "podid-operator", true},
		{"podid-uninstall", "delete", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "", "another", false},
		{"podid-uninstall", "get", "secrets", namespace, "x", false},
	} {
		resource, sub, _ := strings.Cut(tc.resource, "/")
		resource, group, _ := strings.Cut(resource, ".")
		t.Run(strings.Join([]string{tc.account, tc.verb, tc.resource, tc.namespace, tc.name}, " "), func(t *testing.T) {
			got, err := server.Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "system:serviceaccount:" + namespace + ":" + tc.account, Groups: []string{"system:serviceaccounts", "system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: tc.verb, Group: group, Resource: resource, Subresource: sub, Namespace: tc.namespace, Name: tc.name},
			}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Status.Allowed != tc.may {
				t.Errorf("may: %v, want %v (%s)", got.Status.Allowed, tc.may, got.Status.Reason)
			}
		})
	}
}

// TestUninstall runs the hook's program with the hook's rights.
func TestUninstall(t *testing.T) {
	install(t)
	associations := schema.GroupVersionResource{Group: "podid.dev", Version: "v1alpha1", Resource: "podidentityassociations"}
	app := server.Namespace(t, nil)
	err := server.Apply(t.Context(), []byte(`
apiVersion: podid.dev/v1alpha1
kind: PodIdentityAssociation
metadata: {name: s3-app, namespace: `+app+`, finalizers: [podid.dev/association, example.com/other]}
spec: {serviceAccount: s3-app-sa, roleArn: "arn:aws:iam::111122223333:role/s3-app"}
`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(server.AsServiceAccount(t, namespace, "podid-uninstall"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = uninstall.Run(ctx, uninstall.Config{Client: c, Namespace: namespace, Poll: 100 * time.Millisecond, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, "podid-operator", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the webhook's configuration is still there (%v)", err)
	}
	if _, err := server.Client.AppsV1().Deployments(namespace).Get(ctx, "podid-operator", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the operator is still there (%v)", err)
	}
	objects, err := dynamic.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := objects.Resource(associations).Namespace(app).Get(ctx, "s3-app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f := got.GetFinalizers(); len(f) != 1 || f[0] != "example.com/other" {
		t.Errorf("finalizers %v, want another's only", f)
	}
}
