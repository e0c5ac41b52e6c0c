// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package serviceaccounts knows the annotations of service accounts that
// concern a pod's identity. It follows the metadata of all service accounts
// and keeps the annotations of those that have one of eks.amazonaws.com; of
// the others it keeps eight bytes each, by which it knows that they are there.
//
// A pod may come before what is followed has shown its service account, which
// was made a moment ago: one the package does not know is read from the API
// server. It refuses to do that often or for long: reviews that ask for the
// same one share a call, calls are limited, and an answer that does not come
// in time is none.
//
// RBAC: serviceaccounts get, list, watch, in all namespaces.
package serviceaccounts

import (
	"context"
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/internal/operator/follow"
)

// Limits of reading from the API server.
const (
	liveTimeout = 500 * time.Millisecond
	livePerSec  = 10
	liveAtOnce  = 20
	domain      = "eks.amazonaws.com/"
)

// Name is that of a service account.
type Name struct{ Namespace, Name string }

// Book holds what is known of service accounts. Make one with New; its Start
// has to run. It is safe for concurrent use.
type Book struct {
	*follow.Follower[*metav1.PartialObjectMetadata]
	api     client.Reader
	log     *slog.Logger
	limit   *rate.Limiter
	calls   singleflight.Group
	seed    maphash.Seed
	lookups *prometheus.CounterVec

	mu        sync.RWMutex
	annotated map[Name]map[string]string
	known     map[uint64]struct{} // hashes of names: two with the same one cost a call less
	changed   []func(namespace string)
}

// New makes a book that knows nothing yet, and registers its metrics.
func New(c client.WithWatch, r prometheus.Registerer, log *slog.Logger) (*Book, error) {
	b := &Book{
		api: c, log: log, limit: rate.NewLimiter(livePerSec, liveAtOnce), seed: maphash.MakeSeed(),
		annotated: map[Name]map[string]string{}, known: map[uint64]struct{}{},
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podid_operator_serviceaccount_lookups_total", Help: "Service accounts that were read from the API server because they were not known, by what came of it.",
		}, []string{"result"}),
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(serviceAccount().GroupVersionKind().GroupVersion().WithKind("ServiceAccountList"))
	b.Follower = follow.New(c, list, sink{b}, log)
	return b, r.Register(b.lookups)
}

func serviceAccount() *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}}
}

// Ready reports whether all service accounts were seen once.
func (b *Book) Ready() bool {
	select {
	case <-b.Synced():
		return true
	default:
		return false
	}
}

// OnChange has f called with the namespace in which annotations changed, or
// with "" for all. It is called before Start, and f must not block.
func (b *Book) OnChange(f func(namespace string)) { b.changed = append(b.changed, f) }

// Annotations returns those of eks.amazonaws.com, and whether the service
// account is known. The map is shared: it must not be changed.
func (b *Book) Annotations(ctx context.Context, namespace, name string) (map[string]string, bool) {
	n := Name{namespace, name}
	b.mu.RLock()
	a, ok := b.annotated[n]
	if !ok {
		_, ok = b.known[b.hash(n)]
	}
	b.mu.RUnlock()
	if ok {
		return a, true
	}
	return b.live(ctx, n)
}

// Annotated calls f with every service account that has annotations.
func (b *Book) Annotated(f func(Name, map[string]string)) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for n, a := range b.annotated {
		f(n, a)
	}
}

type answer struct {
	annotations map[string]string
	found       bool
}

// live asks the API server. The call outlives a caller that hangs up: others may wait for it.
func (b *Book) live(ctx context.Context, n Name) (map[string]string, bool) {
	c := b.calls.DoChan(n.Namespace+"/"+n.Name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), liveTimeout)
		defer cancel()
		return b.read(ctx, n), nil
	})
	select {
	case <-ctx.Done():
		return nil, false
	case r := <-c:
		a := r.Val.(answer) //nolint:forcetypeassert // the function above returns nothing else
		return a.annotations, a.found
	}
}

func (b *Book) read(ctx context.Context, n Name) answer {
	if err := b.limit.Wait(ctx); err != nil {
		b.count("limited", n, err)
		return answer{}
	}
	sa := serviceAccount()
	switch err := b.api.Get(ctx, client.ObjectKey{Namespace: n.Namespace, Name: n.Name}, sa); {
	case apierrors.IsNotFound(err):
		b.count("absent", n, nil)
		return answer{}
	case err != nil:
		b.count("error", n, err)
		return answer{}
	}
	b.count("found", n, nil)
	return answer{annotations: ours(sa), found: true}
}

func (b *Book) count(result string, n Name, err error) {
	b.lookups.WithLabelValues(result).Inc()
	if err != nil {
		b.log.Warn("read service account", slog.String("namespace", n.Namespace), slog.String("service_account", n.Name), slog.String("error", err.Error()))
	}
}

func (b *Book) hash(n Name) uint64 { return maphash.Comparable(b.seed, n) }

// ours are the annotations that concern an identity; nil if there are none.
func ours(sa *metav1.PartialObjectMetadata) map[string]string {
	var out map[string]string
	for k, v := range sa.Annotations {
		if strings.HasPrefix(k, domain) {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = strings.Clone(v) // or it holds the whole answer that it came in
		}
	}
	return out
}

func (b *Book) tell(namespace string) {
	for _, f := range b.changed {
		f(namespace)
	}
}

// sink is a Book as what it follows sees it.
type sink struct{ b *Book }

func (s sink) Set(sa *metav1.PartialObjectMetadata) {
	n := Name{strings.Clone(sa.Namespace), strings.Clone(sa.Name)}
	a := ours(sa)
	s.b.mu.Lock()
	_, had := s.b.annotated[n]
	s.b.known[s.b.hash(n)] = struct{}{}
	if a != nil {
		s.b.annotated[n] = a
	} else {
		delete(s.b.annotated, n)
	}
	s.b.mu.Unlock()
	if had || a != nil {
		s.b.tell(n.Namespace)
	}
}

func (s sink) Delete(sa *metav1.PartialObjectMetadata) {
	n := Name{sa.Namespace, sa.Name}
	s.b.mu.Lock()
	_, had := s.b.annotated[n]
	delete(s.b.annotated, n)
	delete(s.b.known, s.b.hash(n))
	s.b.mu.Unlock()
	if had {
		s.b.tell(n.Namespace)
	}
}

func (s sink) Replace(all []*metav1.PartialObjectMetadata) {
	annotated, known := map[Name]map[string]string{}, make(map[uint64]struct{}, len(all))
	for _, sa := range all {
		n := Name{strings.Clone(sa.Namespace), strings.Clone(sa.Name)}
		known[s.b.hash(n)] = struct{}{}
		if a := ours(sa); a != nil {
			annotated[n] = a
		}
	}
	s.b.mu.Lock()
	s.b.annotated, s.b.known = annotated, known
	s.b.mu.Unlock()
	s.b.tell("")
}
