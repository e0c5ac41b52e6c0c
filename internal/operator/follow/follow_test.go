// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package follow_test

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"podid/internal/operator/follow"
	"podid/internal/operator/kubetest"
)

// seen keeps the data of ConfigMaps by name.
type seen struct {
	mu  sync.Mutex
	all map[string]string
}

func (s *seen) Set(c *corev1.ConfigMap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[c.Name] = c.Data["k"]
}

func (s *seen) Delete(c *corev1.ConfigMap) { s.mu.Lock(); defer s.mu.Unlock(); delete(s.all, c.Name) }

func (s *seen) Replace(all []*corev1.ConfigMap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = map[string]string{}
	for _, c := range all {
		s.all[c.Name] = c.Data["k"]
	}
}

func (s *seen) is(want map[string]string) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return maps.Equal(s.all, want)
	}
}

func configMap(namespace, name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{"k": value}}
}

func TestFollow(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	api := kubetest.New(t, interceptor.Funcs{}, configMap("n", "a", "1"), configMap("other", "x", "1"))
	s := &seen{}
	f := follow.New(api, &corev1.ConfigMapList{}, s, slog.New(slog.DiscardHandler), client.InNamespace("n"))
	select {
	case <-f.Synced():
		t.Fatal("synced before it started")
	default:
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Start(ctx) }()
	<-f.Synced()
	if !s.is(map[string]string{"a": "1"})() {
		t.Error(s.all)
	}
	for _, err := range []error{
		api.Create(ctx, configMap("n", "b", "1")), api.Create(ctx, configMap("other", "y", "1")),
		api.Update(ctx, configMap("n", "a", "2")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	kubetest.Eventually(t, "changes are seen", s.is(map[string]string{"a": "2", "b": "1"}))
	if err := api.Delete(ctx, configMap("n", "a", "")); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, "the end is seen", s.is(map[string]string{"b": "1"}))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
