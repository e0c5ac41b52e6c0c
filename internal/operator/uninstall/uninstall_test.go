// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package uninstall

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"podid/api/v1alpha1"
)

const namespace = "podid-system"

func newClient(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	err := errors.Join(corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme), admissionv1.AddToScheme(scheme), coordinationv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
	if err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).Build()
}

func association(name string, finalizers ...string) *v1alpha1.PodIdentityAssociation {
	return &v1alpha1.PodIdentityAssociation{ObjectMeta: metav1.ObjectMeta{Namespace: "app", Name: name, Finalizers: finalizers}}
}

func operatorPod() *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "podid-operator-x", Labels: operatorPods}}
}

// installed is what an installation leaves in the API server.
func installed() []client.Object {
	managed := map[string]string{managedBy: name}
	return []client.Object{
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "another"}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}},
		&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "podid-operator-associations-0", Labels: managed}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "podid-operator-enrolment"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "app", Name: "theirs", Labels: managed}},
		association("both", "podid.dev/association", "example.com/other"), association("ours", "podid.dev/association"), association("none"),
	}
}

func run(ctx context.Context, c client.Client) error {
	return Run(ctx, Config{Client: c, Namespace: namespace, Poll: time.Second, Log: slog.New(slog.DiscardHandler)})
}

func exists(t *testing.T, c client.Client, o client.Object, namespace, name string) bool {
	t.Helper()
	err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o)
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

func TestRun(t *testing.T) {
	c := newClient(t, interceptor.Funcs{}, installed()...)
	for range 2 { // the second time there is nothing left to do
		if err := run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		what            string
		object          client.Object
		namespace, name string
		stays           bool
	}{
		{"webhook", &admissionv1.MutatingWebhookConfiguration{}, "", name, false},
		{"another's webhook", &admissionv1.MutatingWebhookConfiguration{}, "", "another", true},
		{"deployment", &appsv1.Deployment{}, namespace, name, false},
		{"lease", &coordinationv1.Lease{}, namespace, name, false},
		{"what the feed told", &corev1.Secret{}, namespace, "podid-operator-associations-0", false},
		{"the enrolment key, which a person put there", &corev1.Secret{}, namespace, "podid-operator-enrolment", true},
		{"a Secret elsewhere", &corev1.Secret{}, "app", "theirs", true},
		{"an association", &v1alpha1.PodIdentityAssociation{}, "app", "ours", true},
	} {
		if got := exists(t, c, tc.object, tc.namespace, tc.name); got != tc.stays {
			t.Errorf("%s: is there %v, want %v", tc.what, got, tc.stays)
		}
	}
	for name, want := range map[string][]string{"both": {"example.com/other"}, "ours": nil, "none": nil} {
		var o v1alpha1.PodIdentityAssociation
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "app", Name: name}, &o); err != nil || !slices.Equal(o.Finalizers, want) {
			t.Errorf("%s has finalizers %v (%v), want %v", name, o.Finalizers, err, want)
		}
	}
}

// TestOrder holds that no finalizer is lifted while an operator that would put it back runs.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, interceptor.Funcs{}, append(installed(), operatorPod())...)
		done := make(chan error, 1)
		go func() { done <- run(t.Context(), c) }()
		synctest.Wait()
		var o v1alpha1.PodIdentityAssociation
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "app", Name: "ours"}, &o); err != nil || len(o.Finalizers) != 1 {
			t.Errorf("with a pod still there the finalizers are %v (%v)", o.Finalizers, err)
		}
		if exists(t, c, &admissionv1.MutatingWebhookConfiguration{}, "", name) {
			t.Error("the webhook's entries are not the first to go")
		}
		if err := c.Delete(t.Context(), operatorPod()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestPodStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, interceptor.Funcs{}, append(installed(), operatorPod())...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := run(ctx, c); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stop the operator: 1 of its pods still run") {
			t.Errorf("error %v", err)
		}
	})
}

func TestFaults(t *testing.T) {
	refused := apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "x", errors.New("no right"))
	noKind := &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: group, Kind: "PodIdentityAssociation"}}
	ofGroup := func(o client.ObjectList) bool { return o.GetObjectKind().GroupVersionKind().Group == group }
	for _, tc := range []struct {
		name  string
		funcs interceptor.Funcs
		want  string // in the error; none: no error
	}{
		{"no definitions in the cluster", interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, o client.ObjectList, opts ...client.ListOption) error {
			if ofGroup(o) {
				return noKind
			}
			return c.List(ctx, o, opts...)
		}}, ""},
		{"no right to list objects", interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, o client.ObjectList, opts ...client.ListOption) error {
			if ofGroup(o) {
				return refused
			}
			return c.List(ctx, o, opts...)
		}}, "lift finalizers: list PodIdentityAssociation"},
		{
			"no right to delete",
			interceptor.Funcs{Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return refused }},
			"take the webhook away: delete MutatingWebhookConfiguration podid-operator",
		},
		{"an object that is changed meanwhile", interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return apierrors.NewConflict(schema.GroupResource{Group: group, Resource: "podidentityassociations"}, "ours", errors.New("changed"))
		}}, "patch PodIdentityAssociation app/ours"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := run(t.Context(), newClient(t, tc.funcs, installed()...))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}
