// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package admissionpolicy has a real API server evaluate the operator's
// MutatingAdmissionPolicy: the table that the webhook's patches are tested by.
package admissionpolicy

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"podid/internal/operator/admissionpolicy"
	"podid/internal/operator/podpatch"
	"podid/test/cluster/apiserver"
)

var server *apiserver.Server

func TestMain(m *testing.M) {
	os.Exit(apiserver.Main(m, &server, apiserver.Options{
		FeatureGates: []string{"MutatingAdmissionPolicy=true"}, RuntimeConfig: []string{"admissionregistration.k8s.io/v1beta1=true"},
	}))
}

// version is the newest of policies that the API server has: v1beta1 behind its gate on Kubernetes 1.34 and 1.35, else v1.
func version(t *testing.T) string {
	t.Helper()
	all, err := server.Client.Discovery().ServerResourcesForGroupVersion(admissionpolicy.Group + "/v1")
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(all.APIResources, func(r metav1.APIResource) bool { return r.Kind == admissionpolicy.Policy }) {
		return "v1"
	}
	return "v1beta1"
}

// testCase is a file of podpatch's table, as far as it is needed here.
type testCase struct {
	Settings struct {
		CredentialsURI string      `json:"credentialsURI"`
		Expiration     int         `json:"expirationSeconds"`
		Region         string      `json:"region"`
		RegionalSTS    bool        `json:"regionalSTS"`
		DisableIMDS    bool        `json:"disableIMDS"`
		STSEndpoint    string      `json:"stsEndpoint"`
		CA             podpatch.CA `json:"ca"`
	} `json:"settings"`
	Identity podpatch.Identity `json:"identity"`
	Pod      corev1.Pod        `json:"pod"`
	Want     struct {
		Pod corev1.Pod `json:"pod"`
	} `json:"want"`
}

func (c *testCase) settings() *podpatch.Settings {
	s := podpatch.DefaultSettings()
	if c.Settings.CredentialsURI != "" {
		s.CredentialsURI = c.Settings.CredentialsURI
	}
	if c.Settings.Expiration != 0 {
		s.Expiration = time.Duration(c.Settings.Expiration) * time.Second
	}
	s.Region, s.RegionalSTS, s.DisableIMDS = c.Settings.Region, c.Settings.RegionalSTS, c.Settings.DisableIMDS
	s.STSEndpoint, s.CA = c.Settings.STSEndpoint, c.Settings.CA
	return &s
}

func cases(t *testing.T) map[string]*testCase {
	t.Helper()
	files, err := filepath.Glob("../../../../internal/operator/podpatch/testdata/*.yaml")
	if err != nil || len(files) < 28 {
		t.Fatalf("%d cases: %v", len(files), err)
	}
	out := map[string]*testCase{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		c := &testCase{}
		if err := yaml.Unmarshal(text, c); err != nil {
			t.Fatal(f, err)
		}
		out[strings.TrimSuffix(filepath.Base(f), ".yaml")] = c
	}
	return out
}

// creatable makes of a pod of the table one that an API server takes.
func creatable(p corev1.Pod, namespace string) *corev1.Pod {
	out := p.DeepCopy()
	out.Namespace, out.Name, out.GenerateName = namespace, "", "app-"
	out.Spec.AutomountServiceAccountToken = new(bool)
	out.Spec.EphemeralContainers = nil // come later only
	for _, l := range [][]corev1.Container{out.Spec.Containers, out.Spec.InitContainers} {
		for i := range l {
			if l[i].Image == "" {
				l[i].Image = "image:1"
			}
		}
	}
	return out
}

// changed is what podid may change of a pod, with what an API server fills in taken away.
func changed(p *corev1.Pod) map[string]any {
	p = p.DeepCopy()
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if v.Projected != nil {
			v.Projected.DefaultMode = nil
			for j := range v.Projected.Sources {
				// The one documented difference: no jitter.
				if s := v.Projected.Sources[j].ServiceAccountToken; s.Audience == podpatch.AudiencePodIdentity && *s.ExpirationSeconds >= 79200 && *s.ExpirationSeconds < 86400 {
					*s.ExpirationSeconds = 86400
				}
			}
		}
		if v.ConfigMap != nil {
			v.ConfigMap.DefaultMode = nil
		}
	}
	containers := func(list []corev1.Container) []any {
		var out []any
		for _, c := range list {
			out = append(out, c.Name, c.Env, c.VolumeMounts)
		}
		return out
	}
	return map[string]any{
		"labels": p.Labels, "annotations": p.Annotations, "volumes": p.Spec.Volumes, "nodeSelector": p.Spec.NodeSelector,
		"containers": containers(p.Spec.Containers), "initContainers": containers(p.Spec.InitContainers),
	}
}

// install puts a case's own policy into effect for one namespace.
func install(t *testing.T, name, namespace string, c *testCase) {
	t.Helper()
	s := c.settings()
	account := c.Pod.Spec.ServiceAccountName
	server.ServiceAccount(t, namespace, account, nil)
	parameters := &unstructured.Unstructured{Object: map[string]any{"serviceAccounts": map[string]any{account: admissionpolicy.Parameter(s, c.Identity)}}}
	parameters.SetGroupVersionKind(admissionpolicy.Kind())
	parameters.SetNamespace(namespace)
	parameters.SetName(admissionpolicy.Name)
	objects := admissionpolicy.Objects(version(t), s, []string{"kube-system"}, nil)
	for _, o := range objects {
		o.SetName(name)
	}
	set := func(o *unstructured.Unstructured, value any, path ...string) {
		if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
			t.Fatal(err)
		}
	}
	set(objects[1], name, "spec", "policyName")
	set(objects[1], map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": namespace}}, "spec", "matchResources", "namespaceSelector")
	for _, o := range append(objects, parameters) {
		apply(t, o)
	}
}

func apply(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	apiserver.Eventually(t, 30*time.Second, "the API server to take "+o.GetKind(), func(ctx context.Context) error { return server.Apply(ctx, text) })
}

// TestTable: an API server changes pods as the webhook does.
func TestTable(t *testing.T) {
	all := cases(t)
	apply(t, admissionpolicy.Definition(nil))
	namespaces := map[string]string{}
	for name, c := range all {
		namespaces[name] = server.Namespace(t, nil)
		install(t, name, namespaces[name], c)
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			c, ns := all[name], namespaces[name]
			want := changed(creatable(c.Want.Pod, ns))
			apiserver.Eventually(t, time.Minute, "the policy to take effect", func(ctx context.Context) error {
				p, err := server.Client.CoreV1().Pods(ns).Create(ctx, creatable(c.Pod, ns), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
				if err != nil {
					return err
				}
				if diff := cmp.Diff(want, changed(p)); diff != "" {
					return errors.New("-want +got\n" + diff)
				}
				return nil
			})
		})
	}
}
