// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package webhookconfig looks after the MutatingWebhookConfiguration. The chart
// (or whoever applies what Desired returns) owns the object: an uninstall then
// takes it away, which an operator that is deleted at the same time cannot be
// trusted with, and an entry of failurePolicy Fail that outlives its webhook
// stops a namespace. The operator owns one field of each entry, the
// authorities by which the API server trusts the webhook, and puts it right
// whenever it is not, on whichever replica sees it first.
//
// It never makes the object: one that is not there was taken away on purpose,
// or was never installed. It tells so, and what else of it differs from what
// the webhook is made for, by a metric and in the log.
//
// RBAC: mutatingwebhookconfigurations get, list, watch and patch of the one
// named podid-operator.
package webhookconfig

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/internal/operator/follow"
	"podid/internal/operator/upkeep"
)

const (
	fieldOwner = "podid-operator-webhook"
	checkEvery = 10 * time.Minute
)

// Config of a Keeper.
type Config struct {
	Client client.WithWatch
	// Authorities are what is to be written in; nil while there are none yet.
	Authorities func() []byte
	// Foreign says that somebody else writes them in: cert-manager.
	Foreign bool
	Desired *admissionv1.MutatingWebhookConfiguration
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// Keeper keeps the authorities right. Make one with New; Start has to run.
type Keeper struct {
	cfg    Config
	follow *follow.Follower[*admissionv1.MutatingWebhookConfiguration]
	wake   chan struct{}
	state  *prometheus.GaugeVec
	told   string
}

// New registers the keeper's metrics.
func New(cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg, wake: make(chan struct{}, 1), state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "podid_operator_webhook_configuration", Help: "1 for the state in which the MutatingWebhookConfiguration is: right, absent or different.",
	}, []string{"state"})}
	k.follow = follow.New(cfg.Client, &admissionv1.MutatingWebhookConfigurationList{}, sink{k}, cfg.Log, client.MatchingFields{"metadata.name": Name})
	return k, cfg.Metrics.Register(k.state)
}

// NeedLeaderElection: a replica that waits for a lease would leave API servers
// without trust in the webhook for as long.
func (*Keeper) NeedLeaderElection() bool { return false }

// Wake has the keeper look again: the authorities are others.
func (k *Keeper) Wake() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Start keeps the configuration right until ctx ends.
func (k *Keeper) Start(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return k.follow.Start(ctx) })
	g.Go(func() error { k.keep(ctx); return nil })
	return g.Wait()
}

func (k *Keeper) keep(ctx context.Context) {
	upkeep.Task{
		What: "keep the webhook configuration", Seen: k.wake, Check: k.check, Log: k.cfg.Log,
		Every: func() time.Duration { return checkEvery },
	}.Run(ctx)
}

func (k *Keeper) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	live := &admissionv1.MutatingWebhookConfiguration{}
	switch err := k.cfg.Client.Get(ctx, client.ObjectKey{Name: Name}, live); {
	case apierrors.IsNotFound(err):
		k.tell("absent", "there is no MutatingWebhookConfiguration "+Name+": no pod is reviewed")
		return nil
	case err != nil:
		return fmt.Errorf("read configuration: %w", err)
	}
	if live.DeletionTimestamp != nil {
		return nil
	}
	if d := Differences(k.cfg.Desired, live); len(d) > 0 {
		k.tell("different", strings.Join(d, "; "))
	} else {
		k.tell("right", "")
	}
	return k.trust(ctx, live)
}

// trust writes the authorities into the entries that lack them.
func (k *Keeper) trust(ctx context.Context, live *admissionv1.MutatingWebhookConfiguration) error {
	authorities := k.cfg.Authorities()
	if k.cfg.Foreign || len(authorities) == 0 {
		return nil
	}
	var entries []any
	missing := false
	for i := range live.Webhooks {
		w := &live.Webhooks[i]
		if s := w.ClientConfig.Service; s == nil || s.Name != Name {
			continue // somebody's own entry, with an address of its own
		}
		missing = missing || !bytes.Equal(w.ClientConfig.CABundle, authorities)
		entries = append(entries, map[string]any{"name": w.Name, "clientConfig": map[string]any{"caBundle": encode(authorities)}})
	}
	if !missing {
		return nil
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
		// The uid keeps this from making the object anew where it went meanwhile.
		"metadata": map[string]any{"name": Name, "uid": string(live.UID), "resourceVersion": live.ResourceVersion}, "webhooks": entries,
	}}
	if err := k.cfg.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("write authorities: %w", err)
	}
	k.cfg.Log.Info("wrote the webhook's authorities into its configuration")
	return nil
}

// tell sets the metric, and logs what is wrong once.
func (k *Keeper) tell(state, problem string) {
	for _, s := range []string{"right", "absent", "different"} {
		v := 0.0
		if s == state {
			v = 1
		}
		k.state.WithLabelValues(s).Set(v)
	}
	if problem != "" && problem != k.told {
		k.cfg.Log.Warn("webhook configuration", slog.String("problem", problem))
	}
	k.told = problem
}

// sink wakes a Keeper.
type sink struct{ k *Keeper }

func (s sink) Set(*admissionv1.MutatingWebhookConfiguration)       { s.k.Wake() }
func (s sink) Delete(*admissionv1.MutatingWebhookConfiguration)    { s.k.Wake() }
func (s sink) Replace([]*admissionv1.MutatingWebhookConfiguration) { s.k.Wake() }
