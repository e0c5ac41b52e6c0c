// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package follow hands the objects of one kind on to a room that keeps of them
// what it needs, and nothing else: no copy of an object stays in memory, as it
// would in an informer. It owns list, watch, resumption and back-off, which
// are client-go's reflector's. It refuses objects of another kind than it was
// set up for.
package follow

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A Sink keeps what it needs of objects. Its methods are called one at a time.
type Sink[T client.Object] interface {
	Set(T)
	Delete(T)
	Replace([]T) // all that there are: what was known is void
}

// A Follower follows one kind of object. Make one with New.
type Follower[T client.Object] struct {
	name   string
	source cache.ListerWatcher
	sink   Sink[T]
	log    *slog.Logger
	synced chan struct{}
	once   sync.Once
}

// New returns a follower that Start sets to work. The list says kind and
// version, and is not written to; options narrow down what is followed.
func New[T client.Object](c client.WithWatch, list client.ObjectList, sink Sink[T], log *slog.Logger, options ...client.ListOption) *Follower[T] {
	with := func(raw metav1.ListOptions) []client.ListOption {
		return append([]client.ListOption{&client.ListOptions{Raw: &raw}}, options...)
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			out := list.DeepCopyObject().(client.ObjectList) //nolint:forcetypeassert // a copy is of its original's type
			return out, c.List(ctx, out, with(o)...)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.Watch(ctx, list.DeepCopyObject().(client.ObjectList), with(o)...) //nolint:forcetypeassert // as above
		},
	}
	return &Follower[T]{
		name: fmt.Sprintf("%T", sink), source: cache.ToListWatcherWithWatchListSemantics(lw, c), sink: sink, log: log, synced: make(chan struct{}),
	}
}

// NeedLeaderElection: every replica follows.
func (*Follower[T]) NeedLeaderElection() bool { return false }

// Start follows until ctx ends.
func (f *Follower[T]) Start(ctx context.Context) error {
	logger := logr.FromSlogHandler(f.log.Handler())
	cache.NewReflectorWithOptions(f.source, example[T](), (*store[T])(f), cache.ReflectorOptions{Name: f.name, Logger: &logger}).RunWithContext(ctx)
	return nil
}

// example is what a reflector takes a kind from: it looks into one without a type of its own.
func example[T client.Object]() any {
	var kind T
	if _, ok := any(kind).(*unstructured.Unstructured); ok {
		return &unstructured.Unstructured{}
	}
	return kind
}

// Synced is closed once the sink has been told of all objects.
func (f *Follower[T]) Synced() <-chan struct{} { return f.synced }

// store is a Follower as a reflector sees it.
type store[T client.Object] Follower[T]

func (s *store[T]) object(obj any) (T, error) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	o, ok := obj.(T)
	if !ok {
		return o, fmt.Errorf("%s follows %T, got %T", s.name, o, obj)
	}
	return o, nil
}

func (s *store[T]) Add(obj any) error {
	o, err := s.object(obj)
	if err == nil {
		s.sink.Set(o)
	}
	return err
}

func (s *store[T]) Update(obj any) error { return s.Add(obj) }

func (s *store[T]) Delete(obj any) error {
	o, err := s.object(obj)
	if err == nil {
		s.sink.Delete(o)
	}
	return err
}

func (s *store[T]) Replace(list []any, _ string) error {
	all := make([]T, 0, len(list))
	for _, obj := range list {
		o, err := s.object(obj)
		if err != nil {
			return err
		}
		all = append(all, o)
	}
	s.sink.Replace(all)
	s.once.Do(func() { close(s.synced) })
	return nil
}

func (*store[T]) Resync() error { return nil }

// Transformer takes away, before a first list is complete, what no room looks
// at and what is half of an object's size.
func (*store[T]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		if o, ok := obj.(client.Object); ok {
			o.SetManagedFields(nil)
		}
		return obj, nil
	}
}
