// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package serviceaccounts_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"podid/internal/operator/kubetest"
	"podid/internal/operator/serviceaccounts"
)

const role = "eks.amazonaws.com/role-arn"

func account(namespace, name string, annotations map[string]string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: annotations}}
}

func newBook(t testing.TB, c client.WithWatch) *serviceaccounts.Book {
	t.Helper()
	b, err := serviceaccounts.New(c, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// counted is an API server that counts reads, and answers each as hold says.
func counted(t *testing.T, reads *atomic.Int64, hold func(context.Context) error, objects ...client.Object) client.WithWatch {
	t.Helper()
	return kubetest.New(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		reads.Add(1)
		if hold != nil {
			if err := hold(ctx); err != nil {
				return err
			}
		}
		return c.Get(ctx, key, o, opts...)
	}}, objects...)
}

func TestFollow(t *testing.T) {
	var reads atomic.Int64
	c := counted(t, &reads, nil, account("a", "irsa", map[string]string{role: "r1", "other": "x"}), account("a", "default", nil), account("b", "other", map[string]string{"other": "x"}))
	b := newBook(t, c)
	var mu sync.Mutex
	changed := map[string]int{}
	b.OnChange(func(namespace string) { mu.Lock(); defer mu.Unlock(); changed[namespace]++ })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.Start(ctx) }()
	defer func() { cancel(); <-done }()
	kubetest.Eventually(t, "all were seen", b.Ready)
	if a, ok := b.Annotations(ctx, "a", "irsa"); !ok || len(a) != 1 || a[role] != "r1" {
		t.Error(a, ok)
	}
	for _, n := range []serviceaccounts.Name{{Namespace: "a", Name: "default"}, {Namespace: "b", Name: "other"}} {
		if a, ok := b.Annotations(ctx, n.Namespace, n.Name); !ok || a != nil {
			t.Error(n, a, ok)
		}
	}
	if reads.Load() != 0 {
		t.Errorf("%d reads of what is known", reads.Load())
	}
	update := account("a", "irsa", map[string]string{role: "r2"})
	if err := c.Update(ctx, update); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, "the change is known", func() bool { a, _ := b.Annotations(ctx, "a", "irsa"); return a[role] == "r2" })
	update.Annotations = nil
	if err := c.Update(ctx, update); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, "it has none any more", func() bool { a, ok := b.Annotations(ctx, "a", "irsa"); return ok && a == nil })
	if err := c.Delete(ctx, account("b", "other", nil)); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, "it is gone", func() bool { _, ok := b.Annotations(ctx, "b", "other"); return !ok })
	n := 0
	b.Annotated(func(serviceaccounts.Name, map[string]string) { n++ })
	mu.Lock()
	defer mu.Unlock()
	if n != 0 || changed["a"] != 2 || changed["b"] != 0 || changed[""] != 1 {
		t.Error(n, changed)
	}
}

// TestLive: one that was made a moment ago is asked for, once for all who wait.
func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		release := make(chan struct{})
		b := newBook(t, counted(t, &reads, func(context.Context) error { <-release; return nil }, account("a", "new", map[string]string{role: "r"})))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if a, ok := b.Annotations(t.Context(), "a", "new"); !ok || a[role] != "r" {
					t.Error(a, ok)
				}
			})
		}
		synctest.Wait() // all wait for the one who asks
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, ok := b.Annotations(gone, "a", "new"); ok {
			t.Error("one who went was answered")
		}
		close(release)
		wg.Wait()
		if n := reads.Load(); n != 1 {
			t.Errorf("%d reads", n)
		}
		if _, ok := b.Annotations(t.Context(), "a", "absent"); ok {
			t.Error("found what is not there")
		}
	})
}

// TestLiveIsBounded: neither a slow API server nor many unknown accounts hold reviews up.
func TestLiveIsBounded(t *testing.T) {
	slow := kubetest.New(t, interceptor.Funcs{Get: func(ctx context.Context, _ client.WithWatch, _ client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t, slow)
		start := time.Now()
		if _, ok := b.Annotations(t.Context(), "a", "x"); ok || time.Since(start) != 500*time.Millisecond {
			t.Error(ok, time.Since(start))
		}
	})
	var reads atomic.Int64
	fast := counted(t, &reads, nil)
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t, fast)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { b.Annotations(t.Context(), "a", fmt.Sprint(i)) })
		}
		wg.Wait()
		if n, took := reads.Load(), time.Since(start); n < 20 || n > 25 || took > 500*time.Millisecond {
			t.Errorf("%d reads in %s", n, took)
		}
	})
}

// BenchmarkAnnotations: what a review pays.
func BenchmarkAnnotations(b *testing.B) {
	c := kubetest.New(b, interceptor.Funcs{}, account("a", "default", nil))
	book := newBook(b, c)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = book.Start(ctx) }()
	defer func() { cancel(); <-done }()
	kubetest.Eventually(b, "all were seen", book.Ready)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := book.Annotations(ctx, "a", "default"); !ok {
			b.Fatal("unknown")
		}
	}
}
