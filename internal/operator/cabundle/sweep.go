// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cabundle

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// podsAtOnce bounds how many pods of a namespace are in memory.
const podsAtOnce = 100

// Sweeper is what the leader does of a Keeper's work.
type Sweeper struct{ Keeper *Keeper }

// NeedLeaderElection: one does it.
func (Sweeper) NeedLeaderElection() bool { return true }

// Start writes changed authorities and takes away what nobody mounts, until ctx ends.
func (s Sweeper) Start(ctx context.Context) error {
	last := s.Keeper.cfg.Now()
	every(ctx, readEvery, func() {
		s.refresh(ctx)
		s.missed(ctx)
		if now := s.Keeper.cfg.Now(); now.Sub(last) >= sweepEvery {
			last = now
			s.sweep(ctx)
		}
	})
	return nil
}

// namespaces are those with a ConfigMap of ours, in order.
func (s Sweeper) namespaces(which func(state) bool) []string {
	s.Keeper.mu.Lock()
	defer s.Keeper.mu.Unlock()
	var out []string
	for _, ns := range slices.Sorted(maps.Keys(s.Keeper.known)) {
		if v := s.Keeper.known[ns]; v.ours && which(v) {
			out = append(out, ns)
		}
	}
	return out
}

// refresh writes the authorities where others are.
func (s Sweeper) refresh(ctx context.Context) {
	s.Keeper.mu.Lock()
	want := sum(s.Keeper.text)
	s.Keeper.mu.Unlock()
	for _, ns := range s.namespaces(func(v state) bool { return v.sum != want }) {
		limited(ctx, func(ctx context.Context) { s.Keeper.try(ctx, ns) })
	}
}

// missed makes anew what was deleted although a pod mounts it.
func (s Sweeper) missed(ctx context.Context) {
	k := s.Keeper
	k.mu.Lock()
	gone := slices.Sorted(maps.Keys(k.gone))
	clear(k.gone)
	k.mu.Unlock()
	for _, ns := range gone {
		limited(ctx, func(ctx context.Context) {
			used, err := s.used(ctx, ns)
			if err != nil {
				k.cfg.Log.Warn("look for pods that mount authorities", slog.String("namespace", ns), slog.String("error", err.Error()))
			}
			if used || err != nil {
				k.try(ctx, ns)
			}
		})
	}
}

func (s Sweeper) sweep(ctx context.Context) {
	for _, ns := range s.namespaces(func(state) bool { return true }) {
		limited(ctx, func(ctx context.Context) {
			if err := s.one(ctx, ns); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				s.Keeper.cfg.Log.Warn("look for pods that mount authorities", slog.String("namespace", ns), slog.String("error", err.Error()))
			}
		})
	}
}

// one marks, unmarks or deletes the ConfigMap of a namespace. Each write
// stands on what was read: whoever writes in between wins.
func (s Sweeper) one(ctx context.Context, namespace string) error {
	c := s.Keeper.cfg.Client
	live := &corev1.ConfigMap{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: Name}, live); err != nil {
		return fmt.Errorf("read ConfigMap: %w", err)
	}
	used, err := s.used(ctx, namespace)
	if err != nil {
		return err
	}
	text, marked := live.Annotations[markUnused]
	now := s.Keeper.cfg.Now()
	switch since, err := time.Parse(time.RFC3339, text); {
	case used && marked:
		delete(live.Annotations, markUnused)
	case used, !stateOf(live).ours:
		return nil
	case !marked || err != nil:
		if live.Annotations == nil {
			live.Annotations = map[string]string{}
		}
		live.Annotations[markUnused] = now.UTC().Format(time.RFC3339)
	case now.Sub(since) < unusedFor:
		return nil
	default:
		return c.Delete(ctx, live, client.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion})
	}
	return c.Update(ctx, live)
}

// used reports whether a pod of the namespace that has not ended mounts the ConfigMap.
func (s Sweeper) used(ctx context.Context, namespace string) (bool, error) {
	if s.Keeper.cfg.Needed != nil && s.Keeper.cfg.Needed(namespace) {
		return true, nil
	}
	next := ""
	for {
		var pods corev1.PodList
		if err := s.Keeper.cfg.Client.List(ctx, &pods, client.InNamespace(namespace), client.Limit(podsAtOnce), client.Continue(next)); err != nil {
			return false, fmt.Errorf("list pods: %w", err)
		}
		if slices.ContainsFunc(pods.Items, mounts) {
			return true, nil
		}
		if next = pods.Continue; next == "" {
			return false, nil
		}
	}
}

func mounts(p corev1.Pod) bool {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.ConfigMap != nil && v.ConfigMap.Name == Name })
}
