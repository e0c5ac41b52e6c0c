// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controller makes of the PodIdentityAssociation objects of this
// cluster associations at the control plane, as far as its
// PodIdentityRolePolicy objects allow. It owns the objects' status, finalizer
// and Events, and the associations that carry the tag OwnerTag with an
// object's unique id. It denies by default: what no policy allows is not
// made, and is taken back where it was made before. It refuses to touch
// associations of others, save those whose adoption a policy allows. It runs
// on the leader only, and stands between the API server and EKS' API.
//
// It needs of the API server: get, list, watch of namespaces and of both of
// podid.dev's kinds; patch and update of podidentityassociations (for the
// finalizer), of podidentityassociations/status and of
// podidentityassociations/finalizers; create and patch of events in events.k8s.io.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"podid/api/v1alpha1"
)

// Finalizer is on each object that has an association.
const Finalizer = v1alpha1.Group + "/association"

// Feed is what the operator's webhook goes by.
type Feed interface {
	// Has waits as long as ctx lets it for what was acknowledged before the
	// call. The error tells why the answer may be out of date.
	Has(ctx context.Context, namespace, serviceAccount string) (bool, error)
	// Known returns the id of the association and the revision of its last
	// change as they are known, without asking.
	Known(namespace, serviceAccount string) (id string, revision int64, ok bool)
	// Changed is closed by the next change; it is taken before looking.
	Changed() <-chan struct{}
}

// Recorder writes Events.
type Recorder interface {
	Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any)
}

// Config is what the controller is made from. All fields are required but
// those with a default.
type Config struct {
	Cluster string // its name at the control plane
	EKS     EKS
	Roles   Roles // nil: roles are judged only where they are bound
	Feed    Feed
	Metrics *Metrics
	Log     *slog.Logger

	Resync      time.Duration // how often each object is compared with its association; 0 is DefaultResync
	Concurrency int           // objects at a time; 0 is DefaultConcurrency
	Now         func() time.Time
}

// The defaults of Config.
const (
	DefaultResync      = 10 * time.Minute
	DefaultConcurrency = 4
)

// Times between tries of one object.
const (
	leastBackoff  = time.Second
	mostBackoff   = 2 * time.Minute
	refusedAgain  = time.Minute     // at first, after a refusal
	conflictAgain = 2 * time.Minute // an association of others may go
	raceAgain     = time.Second
	// repairSpacing keeps an association from being repaired time and again,
	// should somebody else go on changing it.
	repairSpacing = 30 * time.Second
	// lookSpacing lies between two looks at the feed.
	lookSpacing = 200 * time.Millisecond
	// crdSpacing lies between two looks for the definitions.
	crdSpacing = 10 * time.Second
	// oneTry bounds the work on one object.
	oneTry = 30 * time.Second
)

// Reconciler brings one object at a time to where it should be.
type Reconciler struct {
	Config
	client client.Client // reads from the cache
	live   client.Reader // reads from the API server
	events Recorder
	wait   workqueue.TypedRateLimiter[reconcile.Request]
	sweep  chan event.TypedGenericEvent[*v1alpha1.PodIdentityAssociation]

	mu       sync.Mutex
	repaired map[types.UID]time.Time
	seen     map[types.NamespacedName]sighting
}

// A sighting is what the feed said last of an object's service account.
type sighting struct {
	id       string
	revision int64
}

func newReconciler(cfg Config, c client.Client, live client.Reader, events Recorder) *Reconciler {
	if cfg.Resync == 0 {
		cfg.Resync = DefaultResync
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Reconciler{
		Config: cfg, client: c, live: live, events: events,
		wait:     workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](leastBackoff, mostBackoff),
		sweep:    make(chan event.TypedGenericEvent[*v1alpha1.PodIdentityAssociation]),
		repaired: map[types.UID]time.Time{}, seen: map[types.NamespacedName]sighting{},
	}
}

// Add lets the manager run the controller on its leader. Where the
// definitions of podid.dev are not installed yet, it waits for them: the
// webhook has to be served all the same.
func Add(mgr manager.Manager, cfg Config) error {
	if err := v1alpha1.AddToScheme(mgr.GetScheme()); err != nil {
		return fmt.Errorf("register types: %w", err)
	}
	return mgr.Add(&starter{mgr: mgr, cfg: cfg})
}

type starter struct {
	mgr manager.Manager
	cfg Config
}

// Start implements manager.Runnable.
func (s *starter) Start(ctx context.Context) error {
	if err := s.defined(ctx); err != nil {
		return nil //nolint:nilerr // the context has ended
	}
	r := newReconciler(s.cfg, s.mgr.GetClient(), s.mgr.GetAPIReader(), s.mgr.GetEventRecorder("podid-operator"))
	if err := r.setUp(ctx, s.mgr); err != nil {
		return fmt.Errorf("set up associations' controller: %w", err)
	}
	return r.follow(ctx)
}

// defined waits until the API server knows podid.dev's kinds.
func (s *starter) defined(ctx context.Context) error {
	for told := false; ; {
		err := errors.Join(s.knows("PodIdentityAssociation"), s.knows("PodIdentityRolePolicy"))
		if err == nil {
			return nil
		}
		if !told {
			s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "podid.dev's custom resources are not served: waiting for their definitions", slog.String("error", err.Error()))
			told = true
		}
		if err := pause(ctx, crdSpacing); err != nil {
			return err
		}
	}
}

func (s *starter) knows(kind string) error {
	_, err := s.mgr.GetRESTMapper().RESTMapping(v1alpha1.GroupVersion().WithKind(kind).GroupKind(), v1alpha1.Version)
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// accountIndex finds objects by their service account.
const accountIndex = "spec.serviceAccount"

func accountOf(o client.Object) []string {
	a, ok := o.(*v1alpha1.PodIdentityAssociation)
	if !ok {
		return nil
	}
	return []string{a.Spec.ServiceAccount}
}

func (r *Reconciler) setUp(ctx context.Context, mgr manager.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.PodIdentityAssociation{}, accountIndex, accountOf); err != nil {
		return fmt.Errorf("index objects: %w", err)
	}
	unnamed := true // a leader may come back to the same process
	return builder.ControllerManagedBy(mgr).Named("podidentityassociation").
		For(&v1alpha1.PodIdentityAssociation{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		// What one object lets go of, the next one for the same service account may have.
		Watches(&v1alpha1.PodIdentityAssociation{}, handler.EnqueueRequestsFromMapFunc(r.siblings), builder.WithPredicates(predicate.Funcs{
			CreateFunc:  func(event.CreateEvent) bool { return false },
			UpdateFunc:  func(event.UpdateEvent) bool { return false },
			GenericFunc: func(event.GenericEvent) bool { return false },
		})).
		Watches(&v1alpha1.PodIdentityRolePolicy{}, handler.EnqueueRequestsFromMapFunc(r.all)).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.ofNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesRawSource(source.Channel(r.sweep, &handler.TypedEnqueueRequestForObject[*v1alpha1.PodIdentityAssociation]{})).
		WithOptions(ctrl.Options{MaxConcurrentReconciles: r.Concurrency, SkipNameValidation: &unnamed}).
		Complete(r)
}

func (r *Reconciler) requests(ctx context.Context, opts ...client.ListOption) []reconcile.Request {
	list, err := r.list(ctx, opts...)
	if err != nil {
		r.Log.LogAttrs(ctx, slog.LevelError, "list associations' objects", slog.String("error", err.Error()))
		return nil
	}
	out := make([]reconcile.Request, 0, len(list))
	for i := range list {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list[i])})
	}
	return out
}

// list reads objects from the cache; they are not the caller's to change.
func (r *Reconciler) list(ctx context.Context, opts ...client.ListOption) ([]v1alpha1.PodIdentityAssociation, error) {
	var list v1alpha1.PodIdentityAssociationList
	if err := r.client.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	return list.Items, nil
}

func (r *Reconciler) all(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.requests(ctx)
}

func (r *Reconciler) ofNamespace(ctx context.Context, o client.Object) []reconcile.Request {
	return r.requests(ctx, client.InNamespace(o.GetName()))
}

func (r *Reconciler) siblings(ctx context.Context, o client.Object) []reconcile.Request {
	a, ok := o.(*v1alpha1.PodIdentityAssociation)
	if !ok {
		return nil
	}
	return r.requests(ctx, client.InNamespace(a.Namespace), client.MatchingFields{accountIndex: a.Spec.ServiceAccount})
}

// follow has those objects looked at whose association the feed tells a
// change of: a drift is repaired when it happens, not at the next resync.
func (r *Reconciler) follow(ctx context.Context) error {
	for {
		changed := r.Feed.Changed()
		objects, err := r.list(ctx)
		if err != nil && ctx.Err() == nil {
			r.Log.LogAttrs(ctx, slog.LevelError, "look for changed associations", slog.String("error", err.Error()))
		}
		for i := range objects {
			o := &objects[i]
			if !r.sighted(o) {
				continue
			}
			select {
			case r.sweep <- event.TypedGenericEvent[*v1alpha1.PodIdentityAssociation]{Object: o}:
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
		if pause(ctx, lookSpacing) != nil {
			return nil
		}
	}
}

// sighted reports whether the feed says something new of an object.
func (r *Reconciler) sighted(o *v1alpha1.PodIdentityAssociation) bool {
	id, revision, _ := r.Feed.Known(o.Namespace, o.Spec.ServiceAccount)
	now, key := sighting{id, revision}, client.ObjectKeyFromObject(o)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[key] == now {
		return false
	}
	r.seen[key] = now
	return true
}

func (r *Reconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, key)
}

// soon is the resync's time with a tenth left to chance.
func (r *Reconciler) soon() time.Duration {
	return r.Resync - r.Resync/20 + rand.N(r.Resync/10) //nolint:gosec // spreads load
}

// namespaceLabels reads a namespace's labels from the cache of metadata. One
// that is not there yet is looked for at the API server: what is bound is not
// taken back because a cache lags.
func (r *Reconciler) namespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := r.client.Get(ctx, types.NamespacedName{Name: name}, ns)
	if apierrors.IsNotFound(err) {
		err = r.live.Get(ctx, types.NamespacedName{Name: name}, ns)
	}
	if err != nil {
		return nil, fmt.Errorf("read namespace %s: %w", name, err)
	}
	return ns.Labels, nil
}

// setCondition sets a condition of the object's present generation.
func setCondition(o *v1alpha1.PodIdentityAssociation, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&o.Status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: o.Generation,
	})
}
