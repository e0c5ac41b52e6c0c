// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package admissionpolicy

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/internal/operator/follow"
	"podid/internal/operator/podpatch"
	"podid/internal/operator/serviceaccounts"
)

const (
	fieldOwner  = "podid-operator"
	applyEvery  = time.Minute // policy and binding, should somebody have changed them
	gather      = 50 * time.Millisecond
	retryAfter  = 2 * time.Second
	defineAfter = 200 * time.Millisecond
	callLimit   = 15 * time.Second
)

// Associated are the service accounts with an association.
type Associated interface {
	Synced() <-chan struct{}
	Changed() <-chan struct{} // closed by the next change; to be taken before All
	All() iter.Seq2[string, string]
}

// Accounts are the service accounts' annotations.
type Accounts interface {
	Synced() <-chan struct{}
	Annotations(ctx context.Context, namespace, name string) (map[string]string, bool)
	Annotated(f func(serviceaccounts.Name, map[string]string))
	OnChange(f func(namespace string))
}

// Config of a Maintainer. All fields but Injected are required.
type Config struct {
	Client     client.WithWatch
	Mapper     meta.RESTMapper
	Associated Associated
	Accounts   Accounts
	Settings   podpatch.Settings
	Excluded   []string // namespaces that are left alone
	Owner      func(context.Context) []metav1.OwnerReference
	// Injected is told of each namespace that has parameters, before it has them.
	Injected func(ctx context.Context, namespace string)
	Metrics  prometheus.Registerer
	Log      *slog.Logger
}

// Maintainer keeps policy, binding and parameters. Make one with New; Start has to run.
type Maintainer struct {
	cfg        Config
	parameters *follow.Follower[*unstructured.Unstructured]
	names      *follow.Follower[*metav1.PartialObjectMetadata]
	dirty      chan struct{}
	count      prometheus.Gauge
	failures   prometheus.Counter

	mu         sync.Mutex
	known      map[string]uint64 // namespaces with parameters, and their sums
	namespaces map[string]struct{}
}

// New registers the maintainer's metrics.
func New(cfg Config) (*Maintainer, error) {
	m := &Maintainer{
		cfg: cfg, dirty: make(chan struct{}, 1), known: map[string]uint64{}, namespaces: map[string]struct{}{},
		count:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "podid_operator_policy_namespaces", Help: "Namespaces with parameters of the MutatingAdmissionPolicy."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "podid_operator_policy_failures_total", Help: "Writes of policy, binding or parameters that failed; they are tried again."}),
	}
	all := &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(Kind().GroupVersion().WithKind(Kind().Kind + "List"))
	m.parameters = follow.New(cfg.Client, all, parameterSink{m}, cfg.Log)
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "NamespaceList"})
	m.names = follow.New(cfg.Client, list, namespaceSink{m}, cfg.Log)
	cfg.Accounts.OnChange(func(string) { m.wake() })
	for _, c := range []prometheus.Collector{m.count, m.failures} {
		if err := cfg.Metrics.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// NeedLeaderElection: one writes.
func (*Maintainer) NeedLeaderElection() bool { return true }

// Has reports whether a namespace has parameters.
func (m *Maintainer) Has(namespace string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.known[namespace]
	return ok
}

func (m *Maintainer) wake() {
	select {
	case m.dirty <- struct{}{}:
	default:
	}
}

// Version is the newest version of policies that the API server has. The
// error says what is missing where it has none.
func Version(mapper meta.RESTMapper) (string, error) {
	for _, v := range []string{"v1", "v1beta1"} {
		switch _, err := mapper.RESTMapping(schema.GroupKind{Group: Group, Kind: Policy}, v); {
		case err == nil:
			return v, nil
		case !meta.IsNoMatchError(err):
			return "", fmt.Errorf("ask the API server for its kinds: %w", err)
		}
	}
	return "", fmt.Errorf("the API server has no %s: it comes with Kubernetes 1.36, and before with feature gate %s and --runtime-config=%s/v1beta1=true; use --mode=webhook", Policy, Policy, Group)
}

// Start keeps everything as it should be until ctx ends. It fails where the
// API server has no policies.
func (m *Maintainer) Start(ctx context.Context) error {
	version, err := Version(m.cfg.Mapper)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { m.define(ctx); return m.parameters.Start(ctx) })
	g.Go(func() error { return m.names.Start(ctx) })
	g.Go(func() error { m.keep(ctx, version); return nil })
	return g.Wait()
}

func (m *Maintainer) keep(ctx context.Context, version string) {
	for _, synced := range []<-chan struct{}{m.parameters.Synced(), m.names.Synced(), m.cfg.Associated.Synced(), m.cfg.Accounts.Synced()} {
		select {
		case <-ctx.Done():
			return
		case <-synced:
		}
	}
	apply := time.NewTicker(applyEvery)
	defer apply.Stop()
	applied := false
	for {
		changed := m.cfg.Associated.Changed()
		if !applied {
			applied = m.apply(ctx, version)
		}
		var again <-chan time.Time
		if failed := m.write(ctx); failed || !applied {
			again = time.After(retryAfter)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-m.dirty:
		case <-again:
		case <-apply.C:
			applied = false
		}
		select { // changes come in crowds
		case <-ctx.Done():
			return
		case <-time.After(gather):
		}
	}
}

func (m *Maintainer) failed(what, namespace string, err error) {
	m.failures.Inc()
	m.cfg.Log.Warn(what, slog.String("namespace", namespace), slog.String("error", err.Error()))
}

// apply writes policy and binding.
func (m *Maintainer) apply(ctx context.Context, version string) bool {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	owners := m.cfg.Owner(ctx)
	for _, o := range append([]*unstructured.Unstructured{Definition(owners)}, Objects(version, &m.cfg.Settings, m.cfg.Excluded, owners)...) {
		if err := m.declare(ctx, o); err != nil {
			m.failed("write "+o.GetKind(), "", err)
			return false
		}
	}
	return true
}

func (m *Maintainer) declare(ctx context.Context, o *unstructured.Unstructured) error {
	return m.cfg.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(fieldOwner), client.ForceOwnership)
}

// define tells the API server what parameters are, and waits until it serves
// them: what follows them backs off for long where there are none.
func (m *Maintainer) define(ctx context.Context) {
	for ctx.Err() == nil {
		d := Definition(m.cfg.Owner(ctx))
		err := m.declare(ctx, d)
		if err == nil {
			all := &unstructured.UnstructuredList{}
			all.SetGroupVersionKind(Kind().GroupVersion().WithKind(Kind().Kind + "List"))
			if m.cfg.Client.List(ctx, all, client.Limit(1)) == nil {
				return
			}
		} else {
			m.failed("write "+d.GetKind(), "", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(defineAfter):
		}
	}
}

// write brings the parameters of all namespaces up to date, one after the other.
func (m *Maintainer) write(ctx context.Context) (failed bool) {
	annotated := map[string]map[string]map[string]string{}
	m.cfg.Accounts.Annotated(func(n serviceaccounts.Name, a map[string]string) {
		if annotated[n.Namespace] == nil {
			annotated[n.Namespace] = map[string]map[string]string{}
		}
		annotated[n.Namespace][n.Name] = a
	})
	done, written := map[string]struct{}{}, 0
	one := func(namespace string, accounts []string) {
		done[namespace] = struct{}{}
		data := m.data(accounts, annotated[namespace])
		if len(data) > 0 && !slices.Contains(m.cfg.Excluded, namespace) {
			written++
		} else {
			data = nil
		}
		if err := m.set(ctx, namespace, data); err != nil {
			failed = true
			m.failed("write parameters", namespace, err)
		}
	}
	var accounts []string
	last := ""
	for namespace, account := range m.cfg.Associated.All() {
		if namespace != last && len(accounts) > 0 {
			one(last, accounts)
			accounts = accounts[:0]
		}
		last = namespace
		accounts = append(accounts, account)
	}
	if len(accounts) > 0 {
		one(last, accounts)
	}
	m.mu.Lock()
	rest := slices.Sorted(maps.Keys(m.known))
	m.mu.Unlock()
	for _, namespace := range slices.Concat(slices.Sorted(maps.Keys(annotated)), rest) {
		if _, ok := done[namespace]; !ok {
			one(namespace, nil)
		}
	}
	m.count.Set(float64(written))
	return failed
}

// data are a namespace's parameters: associations go before annotations.
func (m *Maintainer) data(accounts []string, annotated map[string]map[string]string) map[string]any {
	out := map[string]any{}
	put := func(account string, id podpatch.Identity) { out[account] = Parameter(&m.cfg.Settings, id) }
	for account, a := range annotated {
		if role := a[podpatch.AnnotationRole]; role != "" {
			put(account, podpatch.Identity{Kind: podpatch.WebIdentity, RoleARN: role, Annotations: a})
		}
	}
	for _, account := range accounts {
		put(account, podpatch.Identity{Kind: podpatch.PodIdentity, Annotations: annotated[account]})
	}
	return out
}

// namespaceSink and parameterSink are a Maintainer as what it follows sees it.
type (
	namespaceSink struct{ m *Maintainer }
	parameterSink struct{ m *Maintainer }
)

func (s namespaceSink) Set(n *metav1.PartialObjectMetadata) {
	s.m.mu.Lock()
	_, had := s.m.namespaces[n.Name]
	if n.DeletionTimestamp == nil {
		s.m.namespaces[strings.Clone(n.Name)] = struct{}{}
	} else {
		delete(s.m.namespaces, n.Name)
	}
	s.m.mu.Unlock()
	if !had {
		s.m.wake()
	}
}

func (s namespaceSink) Delete(n *metav1.PartialObjectMetadata) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	delete(s.m.namespaces, n.Name)
}

func (s namespaceSink) Replace(all []*metav1.PartialObjectMetadata) {
	names := make(map[string]struct{}, len(all))
	for _, n := range all {
		if n.DeletionTimestamp == nil {
			names[strings.Clone(n.Name)] = struct{}{}
		}
	}
	s.m.mu.Lock()
	s.m.namespaces = names
	s.m.mu.Unlock()
	s.m.wake()
}

func (s parameterSink) Set(u *unstructured.Unstructured) {
	if u.GetName() != Name {
		return
	}
	namespace := u.GetNamespace()
	s.m.mu.Lock()
	had, ok := s.m.known[namespace]
	now := sumOf(u)
	s.m.known[namespace] = now
	s.m.mu.Unlock()
	if !ok || had != now {
		s.m.wake()
	}
}

func (s parameterSink) Delete(u *unstructured.Unstructured) {
	if u.GetName() != Name {
		return
	}
	s.m.mu.Lock()
	delete(s.m.known, u.GetNamespace())
	s.m.mu.Unlock()
	s.m.wake()
}

func (s parameterSink) Replace(all []*unstructured.Unstructured) {
	known := make(map[string]uint64, len(all))
	for _, u := range all {
		if u.GetName() == Name {
			known[u.GetNamespace()] = sumOf(u)
		}
	}
	s.m.mu.Lock()
	s.m.known = known
	s.m.mu.Unlock()
	s.m.wake()
}
