// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubetest is an API server for tests of the operator's rooms:
// controller-runtime's fake client, as followers of objects need it. It is
// imported by tests only.
package kubetest

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// Client answers from memory.
type Client struct{ client.WithWatch }

// IsWatchListSemanticsUnSupported tells reflectors to list first and watch then.
func (Client) IsWatchListSemanticsUnSupported() bool { return true }

// Watch hands on metadata where metadata is asked for, as an API server does.
func (c Client) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	w, err := c.WithWatch.Watch(ctx, list, opts...)
	if _, ok := list.(*metav1.PartialObjectMetadataList); !ok || err != nil {
		return w, err
	}
	return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		if o, ok := e.Object.(client.Object); ok {
			e.Object = metadata(o)
		}
		return e, true
	}), nil
}

func metadata(o client.Object) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(), Labels: o.GetLabels(), Annotations: o.GetAnnotations(),
	}}
}

// New returns a client that has the objects.
func New(t testing.TB, funcs interceptor.Funcs, objects ...client.Object) Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	name := func(o client.Object) []string { return []string{o.GetName()} }
	b := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs)
	for gvk := range scheme.AllKnownTypes() {
		switch gvk.Kind {
		case "Secret", "ConfigMap", "MutatingWebhookConfiguration":
			if o, err := scheme.New(gvk); err == nil && (gvk.Version == "v1") {
				b = b.WithIndex(o.(client.Object), "metadata.name", name) //nolint:forcetypeassert // these kinds are
			}
		}
	}
	return Client{b.Build()}
}

// Eventually waits for a condition, ten seconds at the most.
func Eventually(t testing.TB, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !met(); {
		if time.Now().After(end) {
			t.Fatalf("%s: waited in vain", what)
		}
		timer := time.NewTimer(5 * time.Millisecond)
		<-timer.C
	}
}
