// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package missed finds pods whose service account has a pod identity
// association and that were not injected: the association came after the pod,
// or the webhook was away when the pod was made. It tells each such pod by an
// Event what to do, counts them, and, where it is told to, restarts what owns
// them, a few at a time. It owns what counts as missed; that a pod has an
// association is the feed's to say. It refuses to touch bare pods and Jobs,
// and to restart an owner again whose new pods were missed too. It runs on the
// leader only.
//
// It needs of the API server: list and watch of pods; get of namespaces;
// create of events. For restarts also get and patch of deployments,
// statefulsets and daemonsets.
package missed

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/internal/operator/follow"
	"podid/internal/operator/podpatch"
)

const (
	// interval lies between two looks. A pod is missed that is so in two of
	// them: what is just being deleted or changed is left alone.
	interval = 5 * time.Second
	// tellAgain is how often a pod is told that stays as it is.
	tellAgain = 6 * time.Hour
	// volume is the webhook's, and that of AWS' own.
	volume = "eks-pod-identity-token"
)

// Feed knows the associations.
type Feed interface {
	// Known returns the id of a service account's association, without asking.
	Known(namespace, serviceAccount string) (id string, revision int64, ok bool)
}

// Config is what a finder is made from. All fields are required but those
// that say otherwise.
type Config struct {
	Client    client.WithWatch // reads from the API server itself
	Feed      Feed
	Namespace string   // the operator's own, which is never injected
	Excluded  []string // further namespaces that are not; optional
	Restart   Rate     // of owners; the zero rate is none
	Metrics   *Metrics
	Log       *slog.Logger
	Now       func() time.Time
}

// A Finder looks for missed pods. Make one with New.
type Finder struct {
	cfg      Config
	follower *follow.Follower[*corev1.Pod]
	excluded map[string]bool
	tell     *rate.Limiter
	restart  *rate.Limiter // nil for none
	seen     map[types.UID]*missing
	later    map[string]time.Time // when an owner is looked at again

	mu   sync.Mutex
	pods map[types.UID]*pod // that were not injected
}

// A pod is what is kept of one.
type pod struct {
	uid                      types.UID
	namespace, name, account string
	created                  time.Time
	owner                    owner
}

// An owner is what would make a pod anew; the zero owner is none.
type owner struct{ kind, name string }

// missing is a pod that was found.
type missing struct {
	told int // how often it was told, by time: see turn
}

// New makes a finder.
func New(cfg Config) (*Finder, error) {
	not := func(key string, op selection.Operator, values ...string) (labels.Requirement, error) {
		r, err := labels.NewRequirement(key, op, values)
		if err != nil {
			return labels.Requirement{}, fmt.Errorf("select pods: %w", err)
		}
		return *r, nil
	}
	uninjected, err := not(podpatch.LabelEnabled, selection.NotEquals, "enabled")
	if err != nil {
		return nil, err
	}
	wants, err := not(podpatch.LabelSkip, selection.DoesNotExist)
	if err != nil {
		return nil, err
	}
	f := &Finder{
		cfg: cfg, tell: rate.NewLimiter(5, 50), pods: map[types.UID]*pod{}, seen: map[types.UID]*missing{}, later: map[string]time.Time{},
		excluded: map[string]bool{"kube-system": true, cfg.Namespace: true},
	}
	for _, n := range cfg.Excluded {
		f.excluded[n] = true
	}
	if cfg.Restart.Every > 0 {
		f.restart = rate.NewLimiter(rate.Every(cfg.Restart.Every), 1)
	}
	f.follower = follow.New[*corev1.Pod](cfg.Client, &corev1.PodList{}, sink{f}, cfg.Log,
		client.MatchingLabelsSelector{Selector: labels.NewSelector().Add(uninjected, wants)},
		client.MatchingFieldsSelector{Selector: fields.AndSelectors(
			fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)), fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
		)})
	return f, nil
}

// NeedLeaderElection: one replica looks.
func (f *Finder) NeedLeaderElection() bool { return true }

// Start looks until ctx ends.
func (f *Finder) Start(ctx context.Context) error {
	var following sync.WaitGroup
	following.Go(func() { _ = f.follower.Start(ctx) }) // its only error is that ctx has ended
	defer following.Wait()
	defer f.cfg.Metrics.pods.Set(0) // the next leader counts
	select {
	case <-f.follower.Synced():
	case <-ctx.Done():
		return nil
	}
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		f.look(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look goes through all pods once.
func (f *Finder) look(ctx context.Context) {
	found, before := map[types.UID]*missing{}, f.seen
	var act []*pod
	f.mu.Lock()
	for uid, p := range f.pods {
		if _, _, ok := f.cfg.Feed.Known(p.namespace, p.account); !ok {
			continue
		}
		m, again := before[uid]
		if !again {
			m = &missing{}
		} else if f.turn(p) > m.told || f.restart != nil {
			act = append(act, p)
		}
		found[uid] = m
	}
	f.mu.Unlock()
	f.seen = found
	now := f.cfg.Now()
	maps.DeleteFunc(f.later, func(_ string, at time.Time) bool { return !now.Before(at) })
	f.cfg.Metrics.pods.Set(float64(len(found)))
	for _, p := range act {
		if ctx.Err() != nil {
			return
		}
		f.act(ctx, p, found[p.uid])
	}
}

// turn numbers the times at which a pod is told: from 1 on, one more every
// tellAgain of its life. So a new leader does not tell again what was told.
func (f *Finder) turn(p *pod) int { return 1 + int(f.cfg.Now().Sub(p.created)/tellAgain) }

// act tells a pod, and restarts its owner if that is wanted.
func (f *Finder) act(ctx context.Context, p *pod, m *missing) {
	excluded := f.isExcluded(ctx, p.namespace)
	if turn := f.turn(p); turn > m.told && f.tell.Allow() && f.event(ctx, p, turn, excluded) {
		m.told = turn
	}
	if f.restart != nil && !excluded {
		f.restartOwner(ctx, p)
	}
}

// isExcluded says whether the webhook is not asked about a namespace's pods.
func (f *Finder) isExcluded(ctx context.Context, name string) bool {
	if f.excluded[name] {
		return true
	}
	ns := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	if err := f.cfg.Client.Get(ctx, client.ObjectKey{Name: name}, ns); err != nil {
		f.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "read namespace of a missed pod", slog.String("namespace", name), slog.String("error", err.Error()))
		return false
	}
	return ns.Labels["podid.dev/injection"] == "disabled"
}

// sink keeps those pods that were not injected.
type sink struct{ f *Finder }

func (s sink) Set(o *corev1.Pod) {
	p := keep(o)
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if p == nil {
		delete(s.f.pods, o.UID)
		return
	}
	s.f.pods[p.uid] = p
}

func (s sink) Delete(o *corev1.Pod) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	delete(s.f.pods, o.UID)
}

func (s sink) Replace(all []*corev1.Pod) {
	pods := make(map[types.UID]*pod, len(all))
	for _, o := range all {
		if p := keep(o); p != nil {
			pods[p.uid] = p
		}
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.pods = pods
}

// keep returns what is remembered of a pod, nil for one that cannot be missed:
// it is going, was injected by a webhook that puts no label on, or is the
// image of a static pod, which no webhook changes.
func keep(o *corev1.Pod) *pod {
	_, mirror := o.Annotations[corev1.MirrorPodAnnotationKey]
	_, skip := o.Labels[podpatch.LabelSkip]
	if o.DeletionTimestamp != nil || mirror || skip || o.Labels[podpatch.LabelEnabled] == "enabled" {
		return nil
	}
	for i := range o.Spec.Volumes {
		if o.Spec.Volumes[i].Name == volume {
			return nil
		}
	}
	p := &pod{
		uid: types.UID(strings.Clone(string(o.UID))), namespace: strings.Clone(o.Namespace), name: strings.Clone(o.Name),
		account: strings.Clone(o.Spec.ServiceAccountName), created: o.CreationTimestamp.Time,
	}
	if p.account == "" {
		p.account = "default"
	}
	if c := metav1.GetControllerOf(o); c != nil {
		p.owner = owner{strings.Clone(c.Kind), strings.Clone(c.Name)}
		hash := "-" + o.Labels["pod-template-hash"]
		if name, ok := strings.CutSuffix(p.owner.name, hash); ok && c.Kind == "ReplicaSet" && hash != "-" {
			p.owner = owner{"Deployment", name}
		}
	}
	return p
}
