// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package webhook has a real API server call the operator's webhook, through a
// Service, with a certificate and a trust that the operator made itself.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"podid/internal/operator"
	"podid/internal/operator/cabundle"
	"podid/internal/operator/podpatch"
	"podid/internal/operator/webhookconfig"
	"podid/test/cluster/apiserver"
	"podid/test/cluster/plane"
)

var server *apiserver.Server

func TestMain(m *testing.M) {
	// No kube-proxy routes Services here: the API server looks their endpoints up itself.
	os.Exit(apiserver.Main(m, &server, apiserver.Options{Args: []string{"--enable-aggregator-routing=true"}}))
}

// rights are all that the operator's rooms of the webhook need, and no more.
const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: podid-operator}
rules:
- {apiGroups: [""], resources: [serviceaccounts], verbs: [get, list, watch]}
- {apiGroups: [admissionregistration.k8s.io], resources: [mutatingwebhookconfigurations], resourceNames: [podid-operator], verbs: [get, list, watch, patch]}
- {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [podid-operator], verbs: [get]}
- {apiGroups: [""], resources: [configmaps], verbs: [create]}
- {apiGroups: [""], resources: [configmaps], resourceNames: [podid-ca-bundle], verbs: [get, list, watch, update, delete]}
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch]}
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
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: podid-operator, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: podid-operator}
subjects: [{kind: ServiceAccount, name: podid-operator, namespace: NAMESPACE}]
`

// address is one of this machine's that a Service may have as an endpoint.
func address(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	t.Fatal("this machine has no IPv4 address but loopback's")
	return netip.Addr{}
}

func freePort(t *testing.T, a netip.Addr) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// endpoint makes the Service by which the API server finds the webhook.
func endpoint(t *testing.T, namespace string, a netip.Addr, port int) {
	t.Helper()
	core := server.Client.CoreV1()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: webhookconfig.Name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "webhook", Port: 443}}},
	}
	if _, err := core.Services(namespace).Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	name, p, ready := "webhook", int32(port), true
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: webhookconfig.Name, Labels: map[string]string{discoveryv1.LabelServiceName: webhookconfig.Name}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &p}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{a.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}
	if _, err := server.Client.DiscoveryV1().EndpointSlices(namespace).Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// install does what the chart does, and starts the operator; the result stops it.
func install(t *testing.T, namespace string, known *plane.Plane) (stop func()) {
	t.Helper()
	server.ServiceAccount(t, namespace, "podid-operator", nil)
	config, err := yaml.Marshal(webhookconfig.Desired(webhookconfig.Options{Namespace: namespace}))
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range []string{strings.ReplaceAll(rights, "NAMESPACE", namespace), string(config)} {
		if err := server.Apply(t.Context(), []byte(manifest)); err != nil {
			t.Fatal(err)
		}
	}
	authorities := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(authorities, server.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	a := address(t)
	port, health := freePort(t, a), freePort(t, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	endpoint(t, namespace, a, port)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	began := time.Now()
	go func() {
		done <- operator.Run(ctx, operator.Config{
			Cluster: "test", Namespace: namespace, MetricsAddress: "0", HealthAddress: "127.0.0.1:" + strconv.Itoa(health),
			ControlPlane: known.Client, Kubernetes: server.AsServiceAccount(t, namespace, "podid-operator"), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			Injection: operator.Injection{
				Address: netip.AddrPortFrom(a, uint16(port)).String(), Certificates: operator.CertificatesSelf, Owner: "podid-operator", Settings: podpatch.DefaultSettings(), CAFiles: []string{authorities},
			},
		})
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the operator ended: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	apiserver.Eventually(t, 30*time.Second, "the operator to be ready", func(ctx context.Context) error {
		return get(ctx, "http://127.0.0.1:"+strconv.Itoa(health)+"/readyz")
	})
	apiserver.Eventually(t, 30*time.Second, "the webhook to be trusted", func(ctx context.Context) error { return trusted(ctx) })
	t.Logf("ready after %s", time.Since(began).Round(10*time.Millisecond))
	return stop
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %w", resp.Status, text, err)
	}
	return nil
}

func trusted(ctx context.Context) error {
	c, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, webhookconfig.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, w := range c.Webhooks {
		if len(w.ClientConfig.CABundle) == 0 {
			return errors.New(w.Name + " has no authorities")
		}
	}
	return nil
}

func pod(account string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "app-", Labels: labels},
		Spec: corev1.PodSpec{
			ServiceAccountName: account, AutomountServiceAccountToken: new(bool),
			InitContainers: []corev1.Container{{Name: "init", Image: "init:1"}}, Containers: []corev1.Container{{Name: "app", Image: "app:1"}, {Name: "other", Image: "other:1"}},
		},
	}
}

func create(t *testing.T, namespace string, p *corev1.Pod) (*corev1.Pod, error) {
	t.Helper()
	return server.Client.CoreV1().Pods(namespace).Create(t.Context(), p, metav1.CreateOptions{})
}

// volume is the identity's volume that a pod was given; "" for none.
func volume(p *corev1.Pod) string {
	for _, v := range p.Spec.Volumes {
		if v.Name == "eks-pod-identity-token" || v.Name == "aws-iam-token" {
			return v.Name
		}
	}
	return ""
}

func TestWebhook(t *testing.T) {
	own := server.Namespace(t, nil)
	app := server.Namespace(t, nil)
	off := server.Namespace(t, map[string]string{webhookconfig.LabelInjection: webhookconfig.Disabled})
	strict := server.Namespace(t, map[string]string{webhookconfig.LabelInjection: webhookconfig.Required})
	known := plane.New(t, app+"/s3", off+"/s3", strict+"/s3", own+"/s3")
	for _, ns := range []string{own, app, off, strict} {
		server.ServiceAccount(t, ns, "s3", nil)
	}
	server.ServiceAccount(t, app, "plain", nil)
	stop := install(t, own, known)

	required := map[string]string{webhookconfig.LabelInjection: webhookconfig.Required}
	apiserver.Eventually(t, 10*time.Second, "the API server to know the webhook", func(context.Context) error {
		p, err := create(t, app, pod("s3", nil))
		if err == nil && volume(p) == "" {
			return errors.New("the pod was not injected")
		}
		return err
	})
	server.ServiceAccount(t, app, "irsa", map[string]string{podpatch.AnnotationRole: "arn:aws:iam::111122223333:role/irsa"}) // a moment before its pod
	for _, tt := range []struct {
		name, namespace, account string
		labels                   map[string]string
		want                     string
	}{
		{"association", app, "s3", nil, "eks-pod-identity-token"},
		{"annotation", app, "irsa", nil, "aws-iam-token"},
		{"neither", app, "plain", nil, ""},
		{"pod that skips", app, "s3", map[string]string{podpatch.LabelSkip: "true"}, ""},
		{"pod that requires", app, "s3", required, "eks-pod-identity-token"},
		{"namespace that requires", strict, "s3", nil, "eks-pod-identity-token"},
		{"both require", strict, "s3", required, "eks-pod-identity-token"},
		{"namespace without reviews", off, "s3", required, ""},
		{"the operator's own", own, "s3", required, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := create(t, tt.namespace, pod(tt.account, tt.labels))
			if err != nil {
				t.Fatal(err)
			}
			if got := volume(p); got != tt.want {
				t.Errorf("volume %q, want %q", got, tt.want)
			}
			if tt.want == "eks-pod-identity-token" && (p.Labels[podpatch.LabelEnabled] != "enabled" || len(p.Spec.Containers[1].Env) != 4 || len(p.Spec.InitContainers[0].VolumeMounts) != 2) {
				t.Errorf("%+v", p.Spec)
			}
		})
	}

	t.Run("authorities are where pods mount them", func(t *testing.T) {
		for ns, want := range map[string]bool{app: true, strict: true, off: false, own: false} {
			c, err := server.Client.CoreV1().ConfigMaps(ns).Get(t.Context(), cabundle.Name, metav1.GetOptions{})
			if err == nil && !bytes.Contains([]byte(c.Data[cabundle.Key]), server.CA()) || err != nil && !apierrors.IsNotFound(err) || (err == nil) != want {
				t.Errorf("%s: %v %v", ns, c.Data, err)
			}
		}
	})
	t.Run("a dry run writes nothing", func(t *testing.T) {
		other := server.Namespace(t, nil)
		server.ServiceAccount(t, other, "irsa", map[string]string{podpatch.AnnotationRole: "arn:aws:iam::111122223333:role/irsa"})
		p, err := server.Client.CoreV1().Pods(other).Create(t.Context(), pod("irsa", nil), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil || volume(p) != "aws-iam-token" {
			t.Error(err, volume(p))
		}
		if _, err := server.Client.CoreV1().ConfigMaps(other).Get(t.Context(), cabundle.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})

	injected := func(what string) {
		t.Helper()
		apiserver.Eventually(t, 20*time.Second, what, func(ctx context.Context) error {
			p, err := create(t, strict, pod("s3", nil))
			if err == nil && volume(p) == "" {
				err = errors.New("the pod was not injected")
			}
			return errors.Join(err, trusted(ctx))
		})
	}
	t.Run("who applies the configuration again leaves the authorities", func(t *testing.T) {
		config, err := yaml.Marshal(webhookconfig.Desired(webhookconfig.Options{Namespace: own}))
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Apply(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		if err := trusted(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("authorities that were taken away come back", func(t *testing.T) {
		patch := []byte(`[{"op": "remove", "path": "/webhooks/1/clientConfig/caBundle"}]`)
		if _, err := server.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(t.Context(), webhookconfig.Name, types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		injected("the webhook to be trusted again")
	})
	t.Run("a certificate that was deleted is made anew", func(t *testing.T) {
		secrets := server.Client.CoreV1().Secrets(own)
		before, err := secrets.Get(t.Context(), "podid-operator-webhook", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := secrets.Delete(t.Context(), before.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		apiserver.Eventually(t, 20*time.Second, "another certificate", func(ctx context.Context) error {
			after, err := secrets.Get(ctx, before.Name, metav1.GetOptions{})
			if err == nil && bytes.Equal(after.Data["ca.crt"], before.Data["ca.crt"]) {
				err = errors.New("it is the same")
			}
			return err
		})
		injected("the webhook to be trusted by the new authority")
	})

	stop()
	t.Run("with the operator away, pods are let through", func(t *testing.T) {
		p, err := create(t, app, pod("s3", nil))
		if err != nil || volume(p) != "" {
			t.Error(err, volume(p))
		}
	})
	for name, refused := range map[string]func() error{
		"pods that require it are not":            func() error { _, err := create(t, app, pod("s3", required)); return err },
		"pods of namespaces that require it, too": func() error { _, err := create(t, strict, pod("s3", nil)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			if err := refused(); !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), "webhook.podid.dev") {
				t.Errorf("got %v", err)
			}
		})
	}
}
