// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubetest is an API server for tests of the operator's rooms:
// controller-runtime's fake client, as followers of objects need it. It is
// imported by tests only.
package kubetest

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// Client answers from memory.
type Client struct {
	client.WithWatch
	lists *lists
}

// lists are the lists that were given out, so that a watch can begin where
// its list ended: the fake client's own begins when it is asked for, and what
// changed before that is lost.
type lists struct {
	mu    sync.Mutex
	given map[string]map[client.ObjectKey]client.Object // by resource version of the list
}

// firstList is the resource version of the first list; objects' are lower.
const firstList = 1 << 40

// keep remembers a list and gives it a resource version.
func (l *lists) keep(list client.ObjectList) error {
	have := map[client.ObjectKey]client.Object{}
	err := each(list, func(o client.Object) { have[client.ObjectKeyFromObject(o)] = o.DeepCopyObject().(client.Object) }) //nolint:forcetypeassert // a copy is of its original's type
	l.mu.Lock()
	defer l.mu.Unlock()
	version := strconv.Itoa(firstList + len(l.given))
	l.given[version] = have
	list.SetResourceVersion(version)
	return err
}

// since says what happened between that list and this one.
func (l *lists) since(version string, list client.ObjectList) ([]watch.Event, error) {
	l.mu.Lock()
	had, ok := l.given[version]
	l.mu.Unlock()
	if !ok {
		return nil, nil
	}
	var out []watch.Event
	left := maps.Clone(had)
	err := each(list, func(o client.Object) {
		key := client.ObjectKeyFromObject(o)
		switch was, ok := had[key]; {
		case !ok:
			out = append(out, watch.Event{Type: watch.Added, Object: o})
		case was.GetResourceVersion() != o.GetResourceVersion():
			out = append(out, watch.Event{Type: watch.Modified, Object: o})
		}
		delete(left, key)
	})
	for _, gone := range left {
		out = append(out, watch.Event{Type: watch.Deleted, Object: gone})
	}
	return out, err
}

func each(list client.ObjectList, do func(client.Object)) error {
	return meta.EachListItem(list, func(o runtime.Object) error {
		do(o.(client.Object)) //nolint:forcetypeassert // an item of such a list is
		return nil
	})
}

// List gives the list a resource version, from which Watch goes on.
func (c Client) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if err := c.WithWatch.List(ctx, list, opts...); err != nil {
		return err
	}
	return c.lists.keep(list)
}

// IsWatchListSemanticsUnSupported tells reflectors to list first and watch then.
func (Client) IsWatchListSemanticsUnSupported() bool { return true }

// Watch hands on metadata where metadata is asked for, as an API server does.
func (c Client) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	w, err := c.watch(ctx, list, opts...)
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

func (c Client) watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	w, err := c.WithWatch.Watch(ctx, list, opts...)
	var asked client.ListOptions
	asked.ApplyOptions(opts)
	if err != nil || asked.Raw == nil {
		return w, err
	}
	now := list.DeepCopyObject().(client.ObjectList) //nolint:forcetypeassert // a copy is of its original's type
	if err := c.WithWatch.List(ctx, now, opts...); err != nil {
		w.Stop()
		return nil, err
	}
	missed, err := c.lists.since(asked.Raw.ResourceVersion, now)
	if err != nil || len(missed) == 0 {
		return w, err
	}
	return after(missed, w), nil
}

// after watches on after what was missed.
func after(missed []watch.Event, w watch.Interface) watch.Interface {
	out := make(chan watch.Event)
	p := watch.NewProxyWatcher(out)
	go func() {
		defer close(out)
		defer w.Stop()
		for _, e := range missed {
			select {
			case out <- e:
			case <-p.StopChan():
				return
			}
		}
		for {
			select {
			case <-p.StopChan():
				return
			case e, ok := <-w.ResultChan():
				if !ok {
					return
				}
				select {
				case out <- e:
				case <-p.StopChan():
					return
				}
			}
		}
	}()
	return p
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
	return Client{b.Build(), &lists{given: map[string]map[client.ObjectKey]client.Object{}}}
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
