// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package admissionpolicy

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"podid/internal/operator/kubetest"
	"podid/internal/operator/podpatch"
	"podid/internal/operator/serviceaccounts"
)

const role = "arn:aws:iam::111122223333:role/r"

// world is what a maintainer is told.
type world struct {
	mu          sync.Mutex
	associated  map[string]bool // namespace/name
	annotations map[serviceaccounts.Name]map[string]string
	change      chan struct{}
	told        []func(string)
}

func newWorld(associated ...string) *world {
	w := &world{associated: map[string]bool{}, annotations: map[serviceaccounts.Name]map[string]string{}, change: make(chan struct{})}
	for _, a := range associated {
		w.associated[a] = true
	}
	return w
}

func (w *world) Synced() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.change
}

func (w *world) All() iter.Seq2[string, string] {
	w.mu.Lock()
	all := slices.Sorted(maps.Keys(w.associated))
	w.mu.Unlock()
	return func(yield func(string, string) bool) {
		for _, a := range all {
			if ns, sa, _ := strings.Cut(a, "/"); !yield(ns, sa) {
				return
			}
		}
	}
}

func (w *world) Annotations(_ context.Context, namespace, name string) (map[string]string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.annotations[serviceaccounts.Name{Namespace: namespace, Name: name}]
	return a, ok
}

func (w *world) Annotated(f func(serviceaccounts.Name, map[string]string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, a := range w.annotations {
		f(n, a)
	}
}

func (w *world) OnChange(f func(string)) { w.told = append(w.told, f) }

// associate changes an association; annotate a service account.
func (w *world) associate(a string, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if delete(w.associated, a); on {
		w.associated[a] = true
	}
	close(w.change)
	w.change = make(chan struct{})
}

func (w *world) annotate(namespace, name string, a map[string]string) {
	w.mu.Lock()
	if delete(w.annotations, serviceaccounts.Name{Namespace: namespace, Name: name}); a != nil {
		w.annotations[serviceaccounts.Name{Namespace: namespace, Name: name}] = a
	}
	w.mu.Unlock()
	for _, f := range w.told {
		f(namespace)
	}
}

func mapper(versions ...string) meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, v := range versions {
		m.Add(schema.GroupVersionKind{Group: Group, Version: v, Kind: Policy}, meta.RESTScopeRoot)
	}
	return m
}

func newMaintainer(t *testing.T, api client.WithWatch, w *world) *Maintainer {
	t.Helper()
	m, err := New(Config{
		Client: api, Mapper: mapper("v1beta1"), Associated: w, Accounts: w, Settings: podpatch.DefaultSettings(), Excluded: []string{"kube-system", "own"},
		Owner: func(context.Context) []metav1.OwnerReference {
			return []metav1.OwnerReference{{APIVersion: "v1", Kind: "X", Name: "o", UID: "u"}}
		},
		Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func start(t *testing.T, m *Maintainer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// told are a namespace's parameters; nil if it has none.
func told(t *testing.T, api client.Client, namespace string) map[string]any {
	t.Helper()
	u := parameters(namespace, nil, nil)
	switch err := api.Get(t.Context(), client.ObjectKeyFromObject(u), u); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		t.Fatal(err)
	}
	out, _, _ := unstructured.NestedMap(u.Object, "serviceAccounts")
	return out
}

// eventually waits for a namespace's service accounts to be these, of one kind each.
func eventually(t *testing.T, api client.Client, namespace string, want map[string]podpatch.Kind) {
	t.Helper()
	kubetest.Eventually(t, "parameters of "+namespace, func() bool {
		got := told(t, api, namespace)
		for account, kind := range want {
			if entry, _ := got[account].(map[string]any); entry["kind"] != string(kind) {
				return false
			}
		}
		return len(got) == len(want)
	})
}

func TestMaintain(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("", func(t *testing.T) {
		const pod, web = podpatch.PodIdentity, podpatch.WebIdentity
		api := kubetest.New(t, interceptor.Funcs{}, namespace("a"), namespace("b"), namespace("own"),
			parameters("b", map[string]any{"left": Parameter(&podpatch.Settings{}, podpatch.Identity{})}, nil))
		w := newWorld("a/one", "a/two", "own/x", "later/one")
		m := newMaintainer(t, api, w)
		start(t, m)
		eventually(t, api, "a", map[string]podpatch.Kind{"one": pod, "two": pod})
		eventually(t, api, "b", nil)
		for _, kind := range []string{Policy, Binding} {
			kubetest.Eventually(t, kind, func() bool {
				u := &unstructured.Unstructured{}
				u.SetGroupVersionKind(schema.GroupVersionKind{Group: Group, Version: "v1beta1", Kind: kind})
				return api.Get(t.Context(), client.ObjectKey{Name: Name}, u) == nil && len(u.GetOwnerReferences()) == 1
			})
		}
		w.associate("a/two", false)
		w.annotate("b", "irsa", map[string]string{podpatch.AnnotationRole: role})
		w.annotate("a", "one", map[string]string{podpatch.AnnotationRole: role, podpatch.AnnotationExpiration: "7200"})
		eventually(t, api, "a", map[string]podpatch.Kind{"one": pod})
		eventually(t, api, "b", map[string]podpatch.Kind{"irsa": web})
		kubetest.Eventually(t, "annotations count", func() bool {
			entry, _ := told(t, api, "a")["one"].(map[string]any)
			return entry["tokenExpirationSeconds"] == int64(7200)
		})
		if err := api.Create(t.Context(), namespace("later")); err != nil {
			t.Fatal(err)
		}
		eventually(t, api, "later", map[string]podpatch.Kind{"one": pod})
		// Somebody changes and deletes what is ours.
		changed := parameters("b", nil, nil)
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(changed), changed); err != nil {
			t.Fatal(err)
		}
		changed.Object["serviceAccounts"] = map[string]any{"mine": Parameter(&podpatch.Settings{}, podpatch.Identity{Kind: pod})}
		if err := api.Update(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		eventually(t, api, "b", map[string]podpatch.Kind{"irsa": web})
		if err := api.Delete(t.Context(), parameters("a", nil, nil)); err != nil {
			t.Fatal(err)
		}
		eventually(t, api, "a", map[string]podpatch.Kind{"one": pod})
		w.associate("a/one", false)
		w.annotate("a", "one", nil)
		eventually(t, api, "a", nil)
		if m.Has("a") || told(t, api, "own") != nil {
			t.Error("parameters where none should be")
		}
	})
}

// TestTooMany: more service accounts than a ConfigMap takes are told, and others get theirs.
func TestTooMany(t *testing.T) {
	api := kubetest.New(t, interceptor.Funcs{}, namespace("a"), namespace("b"))
	w := newWorld("b/one")
	for i := range 7000 {
		w.associated["a/"+strings.Repeat("x", 60)+string(rune('a'+i%26))+strings.Repeat("y", i/26%100)+strings.Repeat("z", i/2600)] = true
	}
	m := newMaintainer(t, api, w)
	start(t, m)
	eventually(t, api, "b", map[string]podpatch.Kind{"one": podpatch.PodIdentity})
	if told(t, api, "a") != nil {
		t.Error("parameters that do not fit were written")
	}
}

func TestRetried(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	api := kubetest.New(t, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if broken.Swap(false) {
			return errors.New("away")
		}
		return c.Create(ctx, o, opts...)
	}}, namespace("a"))
	start(t, newMaintainer(t, api, newWorld("a/one")))
	eventually(t, api, "a", map[string]podpatch.Kind{"one": podpatch.PodIdentity})
}

func TestVersion(t *testing.T) {
	for _, tt := range []struct {
		has  []string
		want string
	}{{[]string{"v1"}, "v1"}, {[]string{"v1beta1"}, "v1beta1"}, {[]string{"v1beta1", "v1"}, "v1"}, {[]string{"v1alpha1"}, ""}, {nil, ""}} {
		got, err := Version(mapper(tt.has...))
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%v: %q %v", tt.has, got, err)
		}
	}
	m := newMaintainer(t, kubetest.New(t, interceptor.Funcs{}), newWorld())
	m.cfg.Mapper = mapper()
	if err := m.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "--mode=webhook") {
		t.Error(err)
	}
}

func TestParameter(t *testing.T) {
	s := podpatch.DefaultSettings()
	for _, tt := range []struct {
		name string
		id   podpatch.Identity
		want map[string]any
	}{
		{"association", podpatch.Identity{Kind: podpatch.PodIdentity}, map[string]any{
			"kind": "pod-identity", "tokenExpirationSeconds": int64(86400), "regionalSTS": false, "audience": "pods.eks.amazonaws.com",
		}},
		{"annotations", podpatch.Identity{Kind: podpatch.WebIdentity, RoleARN: role, Annotations: map[string]string{
			podpatch.AnnotationAudience: "a", podpatch.AnnotationExpiration: "60", podpatch.AnnotationRegionalSTS: "true",
		}}, map[string]any{"kind": "web-identity", "tokenExpirationSeconds": int64(600), "regionalSTS": true, "audience": "a", "roleARN": role}},
		{"unreadable ones are left out", podpatch.Identity{Kind: podpatch.PodIdentity, Annotations: map[string]string{podpatch.AnnotationExpiration: "1h", podpatch.AnnotationRegionalSTS: "maybe"}}, map[string]any{
			"kind": "pod-identity", "tokenExpirationSeconds": int64(86400), "regionalSTS": false, "audience": "pods.eks.amazonaws.com",
		}},
	} {
		if got := Parameter(&s, tt.id); !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
