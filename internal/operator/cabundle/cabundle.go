// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cabundle keeps a ConfigMap of certificate authorities in every
// namespace with a pod that mounts one. The webhook tells of each pod that it
// is about to give the mount to; where there is no ConfigMap yet, one is made
// before the pod is. The leader writes changed authorities into all of them,
// and takes away those that no pod mounts: it marks one first, and deletes it
// ten minutes later if it is marked still; a pod that comes meanwhile, through
// whichever replica, takes the mark away.
//
// It refuses to touch a ConfigMap of the name without its label: that is
// somebody's own list of authorities.
//
// RBAC, in all namespaces: configmaps create; get, list, watch, update and
// delete of the ones named podid-ca-bundle; pods list.
package cabundle

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/internal/operator/follow"
)

// Names of the ConfigMap and what is in it.
const (
	Name         = "podid-ca-bundle"
	Key          = "ca.crt"
	labelManager = "app.kubernetes.io/managed-by"
	manager      = "podid-operator"
	markUnused   = "podid.dev/unused-since"
)

const (
	reviewLimit = time.Second // that a review waits for a ConfigMap to be made
	callLimit   = 15 * time.Second
	readEvery   = 30 * time.Second // how often authorities are read again
	sweepEvery  = 10 * time.Minute
	unusedFor   = 10 * time.Minute
)

// Config says what is kept where. All fields but Owner and Needed are required.
type Config struct {
	Client client.WithWatch
	Read   func() ([]byte, error) // the authorities, in PEM
	Owner  func(context.Context) []metav1.OwnerReference
	// Needed says of namespaces without a pod that mounts the ConfigMap whether they keep it.
	Needed  func(namespace string) bool
	Now     func() time.Time
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// state is what is known of a namespace's ConfigMap.
type state struct {
	ours   bool
	sum    uint64
	marked bool
}

// Keeper keeps ConfigMaps. Make one with New; Start has to run. It is safe for
// concurrent use.
type Keeper struct {
	cfg      Config
	follow   *follow.Follower[*corev1.ConfigMap]
	calls    singleflight.Group
	failures prometheus.Counter

	mu     sync.Mutex
	text   string
	known  map[string]state
	wanted map[string]struct{} // namespaces that are tried again
	gone   map[string]struct{} // those whose ConfigMap was deleted
}

// New reads the authorities, and registers the keeper's metrics.
func New(cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg, known: map[string]state{}, wanted: map[string]struct{}{}, gone: map[string]struct{}{}, failures: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "podid_operator_ca_bundle_failures_total", Help: "ConfigMaps of authorities that could not be written; they are tried again.",
	})}
	if err := k.read(); err != nil {
		return nil, err
	}
	k.follow = follow.New(cfg.Client, &corev1.ConfigMapList{}, sink{k}, cfg.Log, client.MatchingFields{"metadata.name": Name})
	return k, cfg.Metrics.Register(k.failures)
}

// NeedLeaderElection: every replica reviews pods.
func (*Keeper) NeedLeaderElection() bool { return false }

// Start follows what there is, and tries again what failed, until ctx ends.
func (k *Keeper) Start(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return k.follow.Start(ctx) })
	g.Go(func() error {
		every(ctx, readEvery, func() {
			if err := k.read(); err != nil {
				k.cfg.Log.Warn("read authorities", slog.String("error", err.Error()))
			}
			k.again(ctx)
		})
		return nil
	})
	return g.Wait()
}

func every(ctx context.Context, d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f()
		}
	}
}

// read takes new authorities over; ones that cannot be read leave those of before.
func (k *Keeper) read() error {
	text, err := k.cfg.Read()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.text = string(text)
	return nil
}

// Injected sees to it that a namespace has the ConfigMap: a pod that mounts it
// comes. It waits a second at the most; what fails is tried again, and the
// kubelet waits for it.
func (k *Keeper) Injected(ctx context.Context, namespace string) {
	if k.right(namespace) {
		return
	}
	c := k.calls.DoChan(namespace, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
		defer cancel()
		k.try(ctx, namespace)
		return nil, nil
	})
	t := time.NewTimer(reviewLimit)
	defer t.Stop()
	select {
	case <-c:
	case <-ctx.Done():
	case <-t.C:
	}
}

// right reports whether the ConfigMap is known to be there as it should.
func (k *Keeper) right(namespace string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.known[namespace]
	return ok && (!s.ours || s.sum == sum(k.text) && !s.marked)
}

func (k *Keeper) try(ctx context.Context, namespace string) {
	err := k.ensure(ctx, namespace)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.wanted, namespace)
	if err == nil {
		return
	}
	k.failures.Inc()
	k.cfg.Log.Warn("write authorities", slog.String("namespace", namespace), slog.String("error", err.Error()))
	if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) && !apierrors.IsNotFound(err) { // a namespace that goes needs none
		k.wanted[namespace] = struct{}{}
	}
}

// again tries what failed.
func (k *Keeper) again(ctx context.Context) {
	k.mu.Lock()
	var list []string
	for ns := range k.wanted {
		list = append(list, ns)
	}
	k.mu.Unlock()
	for _, ns := range list {
		if ctx.Err() != nil {
			return
		}
		limited(ctx, func(ctx context.Context) { k.try(ctx, ns) })
	}
}

func limited(ctx context.Context, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	f(ctx)
}

// ensure makes the ConfigMap, or puts it right. Losing a race to another replica is no failure.
func (k *Keeper) ensure(ctx context.Context, namespace string) error {
	k.mu.Lock()
	text := k.text
	k.mu.Unlock()
	for {
		live := &corev1.ConfigMap{}
		err := k.cfg.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: Name}, live)
		switch {
		case apierrors.IsNotFound(err):
			live = &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name, Labels: map[string]string{labelManager: manager}},
				Data:       map[string]string{Key: text},
			}
			if k.cfg.Owner != nil {
				live.OwnerReferences = k.cfg.Owner(ctx)
			}
			err = k.cfg.Client.Create(ctx, live)
		case err != nil:
			return fmt.Errorf("read ConfigMap: %w", err)
		default:
			s := stateOf(live)
			if !s.ours || s.sum == sum(text) && !s.marked {
				k.set(namespace, s)
				return nil
			}
			live.Data = map[string]string{Key: text}
			delete(live.Annotations, markUnused)
			err = k.cfg.Client.Update(ctx, live)
		}
		switch {
		case err == nil:
			k.set(namespace, stateOf(live))
			return nil
		case !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err), ctx.Err() != nil:
			return fmt.Errorf("write ConfigMap: %w", err)
		}
		if apierrors.IsNotFound(err) && live.ResourceVersion == "" { // the namespace itself
			return fmt.Errorf("write ConfigMap: %w", err)
		}
	}
}

func (k *Keeper) set(namespace string, s state) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known[namespace] = s
}

func sum(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}

func stateOf(c *corev1.ConfigMap) state {
	_, marked := c.Annotations[markUnused]
	return state{ours: c.Labels[labelManager] == manager, sum: sum(c.Data[Key]), marked: marked}
}

// sink is a Keeper as what it follows sees it.
type sink struct{ k *Keeper }

func (s sink) Set(c *corev1.ConfigMap) { s.k.set(strings.Clone(c.Namespace), stateOf(c)) }

// Delete has the leader look whether the ConfigMap is missed.
func (s sink) Delete(c *corev1.ConfigMap) {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	delete(s.k.known, c.Namespace)
	s.k.gone[strings.Clone(c.Namespace)] = struct{}{}
}

func (s sink) Replace(all []*corev1.ConfigMap) {
	known := make(map[string]state, len(all))
	for _, c := range all {
		known[strings.Clone(c.Namespace)] = stateOf(c)
	}
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	for ns := range s.k.known {
		if _, ok := known[ns]; !ok {
			s.k.gone[ns] = struct{}{}
		}
	}
	s.k.known = known
}

// PEM reads authorities from files, one after the other, with a function that
// reads one. It refuses a file without a certificate.
func PEM(read func(string) ([]byte, error), files ...string) func() ([]byte, error) {
	return func() ([]byte, error) {
		var out []byte
		for _, f := range files {
			text, err := read(f)
			if err != nil {
				return nil, fmt.Errorf("read authorities: %w", err)
			}
			if !strings.Contains(string(text), "-----BEGIN CERTIFICATE-----") {
				return nil, errors.New("read authorities: " + f + " has no certificate in PEM")
			}
			out = append(out, text...)
			if out[len(out)-1] != '\n' {
				out = append(out, '\n')
			}
		}
		return out, nil
	}
}
