// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// Namespace makes a namespace for one test, with a service account named
// default in it. It is deleted when the test ends, without waiting for it.
func (s *Server) Namespace(t testing.TB, labels map[string]string) string {
	t.Helper()
	name := "test-" + strconv.Itoa(s.next())
	_, err := s.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create namespace: %v", err)
	}
	t.Cleanup(func() {
		err := s.Client.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("delete namespace: %v", err)
		}
	})
	s.ServiceAccount(t, name, "default", nil)
	return name
}

// ServiceAccount makes a service account, if the controllers have not made it before.
func (s *Server) ServiceAccount(t testing.TB, namespace, name string, annotations map[string]string) {
	t.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Annotations: annotations}}
	_, err := s.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), sa, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatalf("create service account: %v", err)
	}
}

// Token asks for a service account's token of an audience, bound to a pod if one is given.
func (s *Server) Token(t testing.TB, namespace, name, audience string, pod *corev1.Pod) string {
	t.Helper()
	req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	if pod != nil {
		req.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	}
	got, err := s.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), name, req, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("request token: %v", err)
	}
	return got.Status.Token
}

// As is the way in of another user, by a certificate of its own: what RBAC grants it, no more.
func (s *Server) As(t testing.TB, user string, groups ...string) *rest.Config {
	t.Helper()
	id, err := s.authority.Issue(user, groups)
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{Host: s.url, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: s.CA(), CertData: id.Cert, KeyData: id.Key}}
}

// AsServiceAccount is the way in of a service account, by a token for the API server.
func (s *Server) AsServiceAccount(t testing.TB, namespace, name string) *rest.Config {
	t.Helper()
	return &rest.Config{
		Host: s.url, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: s.CA()},
		BearerToken: s.Token(t, namespace, name, "https://kubernetes.default.svc", nil),
	}
}

// Certificate is one that the cluster's authority signed, for a test that
// serves a webhook on loopback: certificate and key in PEM. CA verifies it.
func (s *Server) Certificate(t testing.TB, names ...string) (cert, key []byte) {
	t.Helper()
	id, err := s.authority.Issue("test", nil, names...)
	if err != nil {
		t.Fatal(err)
	}
	return id.Cert, id.Key
}

// Apply makes the objects of a YAML or JSON stream as they are there, as
// `kubectl apply --server-side --force-conflicts` does.
func (s *Server) Apply(ctx context.Context, manifest []byte) error {
	return Apply(ctx, s.Config, manifest, false)
}

// ApplyFile is Apply of a file.
func (s *Server) ApplyFile(ctx context.Context, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return s.Apply(ctx, text)
}

// DryRun lets the API server judge a stream of objects without keeping them.
// Objects are judged one by one: what one needs of another must be there.
func (s *Server) DryRun(ctx context.Context, manifest []byte) error {
	return Apply(ctx, s.Config, manifest, true)
}

// Apply makes the objects of a stream at any API server. Every object is tried; the error names all that were refused.
func Apply(ctx context.Context, cfg *rest.Config, manifest []byte, dryRun bool) error {
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	objects, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(clients.Discovery()))
	opts := metav1.ApplyOptions{FieldManager: "test", Force: true}
	if dryRun {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	var problems []error
	for {
		var o unstructured.Unstructured
		switch err := dec.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return errors.Join(problems...)
		case err != nil:
			return errors.Join(append(problems, fmt.Errorf("read manifest: %w", err))...)
		case len(o.Object) == 0:
			continue
		}
		if err := applyOne(ctx, objects, mapper, &o, opts); err != nil {
			problems = append(problems, fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err))
		}
	}
}

func applyOne(ctx context.Context, objects dynamic.Interface, mapper *restmapper.DeferredDiscoveryRESTMapper, o *unstructured.Unstructured, opts metav1.ApplyOptions) error {
	kind := o.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	for range 50 { // a CRD that was applied just now is served within moments
		if err == nil {
			break
		}
		if ctxErr := pause(ctx, 100*time.Millisecond); ctxErr != nil {
			return ctxErr
		}
		mapper.Reset()
		mapping, err = mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return err
	}
	var to dynamic.ResourceInterface = objects.Resource(mapping.Resource)
	if mapping.Scope.Name() == "namespace" {
		namespace := o.GetNamespace()
		if namespace == "" {
			namespace = "default"
		}
		to = objects.Resource(mapping.Resource).Namespace(namespace)
	}
	_, err = to.Apply(ctx, o.GetName(), o, opts)
	return err
}

// Eventually asks every 50 ms until ask does well, for at most limit, and fails the test with the last error else.
func Eventually(t testing.TB, limit time.Duration, what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			t.Fatalf("wait %s for %s: %v", limit, what, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func exists(ctx context.Context, c kubernetes.Interface, namespace, serviceAccount string) error {
	_, err := c.CoreV1().ServiceAccounts(namespace).Get(ctx, serviceAccount, metav1.GetOptions{})
	return err
}

func counter() func() int {
	var n atomic.Int64
	return func() int { return int(n.Add(1)) }
}
