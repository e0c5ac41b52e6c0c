// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cabundle

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"podid/internal/operator/kubetest"
)

// world is a keeper with its leader's part, and what they see.
type world struct {
	*Keeper
	api  client.WithWatch
	mu   sync.Mutex
	now  time.Time
	text string
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) authorities() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.text == "" {
		return nil, errors.New("nothing to read")
	}
	return []byte(w.text), nil
}

func (w *world) forward(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) is(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = text
}

func replica(t *testing.T, api client.WithWatch) *world {
	t.Helper()
	w := &world{api: api, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), text: "ca-1"}
	var err error
	if w.Keeper, err = New(Config{
		Client: api, Read: w.authorities, Now: w.clock, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
		Owner: func(context.Context) []metav1.OwnerReference {
			return []metav1.OwnerReference{{APIVersion: "v1", Kind: "X", Name: "o", UID: "u"}}
		},
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Start(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-w.follow.Synced()
	return w
}

func (w *world) get(t *testing.T, namespace string) *corev1.ConfigMap {
	t.Helper()
	out := &corev1.ConfigMap{}
	switch err := w.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: Name}, out); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		t.Fatal(err)
	}
	return out
}

// sees waits until the keeper knows a namespace's ConfigMap as it is.
func (w *world) sees(t *testing.T, namespace string, met func(state, bool) bool) {
	t.Helper()
	kubetest.Eventually(t, "the keeper sees it", func() bool {
		w.Keeper.mu.Lock()
		defer w.Keeper.mu.Unlock()
		s, ok := w.known[namespace]
		return met(s, ok)
	})
}

func mounting(namespace, name string, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Status: corev1.PodStatus{Phase: phase},
		Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "podid-ca", VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: Name}},
		}}}},
	}
}

func there(_ state, ok bool) bool { return ok }

func TestInjected(t *testing.T) {
	var calls atomic.Int64
	api := kubetest.New(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		calls.Add(1)
		return c.Get(ctx, key, o, opts...)
	}}, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "own", Name: Name}, Data: map[string]string{Key: "mine"}})
	a := replica(t, api)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { a.Injected(t.Context(), "app") })
	}
	wg.Wait()
	c := a.get(t, "app")
	if c == nil || c.Data[Key] != "ca-1" || len(c.OwnerReferences) != 1 || c.Labels[labelManager] != manager {
		t.Fatal(c)
	}
	before := calls.Load()
	a.Injected(t.Context(), "app")
	if n := calls.Load() - before; n != 0 {
		t.Errorf("%d calls for what is there", n)
	}
	a.Injected(t.Context(), "own")
	if c := a.get(t, "own"); c.Data[Key] != "mine" {
		t.Error("somebody's own was written over")
	}
}

func TestFailureIsTriedAgain(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	w := replica(t, kubetest.New(t, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
		if broken.Load() {
			return errors.New("away")
		}
		return c.Create(ctx, o, opts...)
	}}))
	w.Injected(t.Context(), "app")
	if w.get(t, "app") != nil {
		t.Fatal("it is there")
	}
	broken.Store(false)
	w.again(t.Context())
	if w.get(t, "app") == nil || len(w.wanted) != 0 {
		t.Error("it was not tried again")
	}
}

func TestNewAuthorities(t *testing.T) {
	w := replica(t, kubetest.New(t, interceptor.Funcs{}))
	w.Injected(t.Context(), "app")
	w.is("ca-2")
	if err := w.read(); err != nil {
		t.Fatal(err)
	}
	w.sees(t, "app", there)
	Sweeper{w.Keeper}.refresh(t.Context())
	if c := w.get(t, "app"); c.Data[Key] != "ca-2" {
		t.Error(c.Data)
	}
	w.is("")
	if w.read() == nil || w.text == "ca-1" {
		t.Error("read what is not there")
	}
	w.Injected(t.Context(), "other")
	if c := w.get(t, "other"); c.Data[Key] != "ca-2" {
		t.Error("authorities were lost", c.Data)
	}
}

// TestSweep: what no pod mounts goes, after it was marked for a while.
func TestSweep(t *testing.T) {
	api := kubetest.New(t, interceptor.Funcs{}, mounting("used", "p", corev1.PodRunning), mounting("ended", "p", corev1.PodSucceeded))
	w := replica(t, api)
	s := Sweeper{w.Keeper}
	for _, ns := range []string{"used", "ended", "empty"} {
		w.Injected(t.Context(), ns)
		w.sees(t, ns, there)
	}
	s.sweep(t.Context())
	for ns, want := range map[string]bool{"used": false, "ended": true, "empty": true} {
		w.sees(t, ns, func(v state, _ bool) bool { return v.marked == want })
	}
	s.sweep(t.Context())
	if w.get(t, "empty") == nil {
		t.Fatal("it went at once")
	}
	w.Injected(t.Context(), "ended") // a pod comes
	if err := api.Create(t.Context(), mounting("ended", "q", corev1.PodPending)); err != nil {
		t.Fatal(err)
	}
	w.forward(unusedFor)
	s.sweep(t.Context())
	if w.get(t, "empty") != nil || w.get(t, "ended") == nil || w.get(t, "used") == nil {
		t.Error("the wrong ones went")
	}
	w.sees(t, "empty", func(_ state, ok bool) bool { return !ok })
	s.missed(t.Context())
	if w.get(t, "empty") != nil {
		t.Error("it came back although nobody mounts it")
	}
	if err := api.Delete(t.Context(), w.get(t, "used")); err != nil {
		t.Fatal(err)
	}
	w.sees(t, "used", func(_ state, ok bool) bool { return !ok })
	s.missed(t.Context())
	if w.get(t, "used") == nil {
		t.Error("what a pod mounts was not made anew")
	}
}

// TestSweepLoses: who marks or deletes on what has changed meanwhile, does not.
func TestSweepLoses(t *testing.T) {
	var other func()
	api := kubetest.New(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, ok := list.(*corev1.PodList); ok && other != nil {
			other()
		}
		return c.List(ctx, list, opts...)
	}})
	w := replica(t, api)
	w.Injected(t.Context(), "app")
	w.sees(t, "app", there)
	s := Sweeper{w.Keeper}
	if err := s.one(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	w.sees(t, "app", func(v state, _ bool) bool { return v.marked })
	w.forward(unusedFor)
	other = func() { w.Injected(t.Context(), "app") } // while pods are listed
	if err := s.one(t.Context(), "app"); !apierrors.IsConflict(err) {
		t.Error(err)
	}
	if c := w.get(t, "app"); c == nil || c.Annotations[markUnused] != "" {
		t.Error("the pod that came lost its authorities", c)
	}
}

func TestPEM(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		f := filepath.Join(dir, name)
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	const cert = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"
	one, two, none := put("one", cert), put("two", cert+"\n"), put("none", "x")
	if got, err := PEM(os.ReadFile, one, two)(); err != nil || string(got) != cert+"\n"+cert+"\n" {
		t.Error(err, string(got))
	}
	for _, f := range []string{none, filepath.Join(dir, "absent")} {
		if _, err := PEM(os.ReadFile, one, f)(); err == nil {
			t.Error("accepted", f)
		}
	}
}
