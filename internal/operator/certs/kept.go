// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/internal/operator/follow"
	"podid/internal/operator/upkeep"
)

// checkEvery is how often a certificate is looked at.
const checkEvery = 10 * time.Minute

// KeptConfig says what is kept where.
type KeptConfig struct {
	Client client.WithWatch
	Secret client.ObjectKey
	Names  []string // that the webhook is called by, the usual one first
	// Owner, if not nil, owns the Secret: it goes when its owner goes.
	Owner func(context.Context) []metav1.OwnerReference
	Now   func() time.Time
	Log   *slog.Logger
}

// Kept is a certificate that the operator makes and renews. Start has to run.
type Kept struct {
	Current
	cfg    KeptConfig
	make   *maker
	follow *follow.Follower[*corev1.Secret]
	seen   chan struct{} // the Secret is another
}

// NewKept returns a certificate that is not there yet.
func NewKept(cfg KeptConfig) *Kept {
	k := &Kept{cfg: cfg, make: newMaker(cfg.Names), seen: make(chan struct{}, 1)}
	k.follow = follow.New(cfg.Client, &corev1.SecretList{}, secretSink{k}, cfg.Log,
		client.InNamespace(cfg.Secret.Namespace), client.MatchingFields{"metadata.name": cfg.Secret.Name})
	return k
}

// NeedLeaderElection: every replica serves, and any may renew.
func (*Kept) NeedLeaderElection() bool { return false }

// Start keeps the certificate until ctx ends.
func (k *Kept) Start(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return k.follow.Start(ctx) })
	g.Go(func() error { k.keep(ctx); return nil })
	return g.Wait()
}

func (k *Kept) keep(ctx context.Context) {
	upkeep.Task{
		What: "keep the webhook's certificate", Seen: k.seen, Check: k.check, Log: k.cfg.Log,
		Every: func() time.Duration { return checkEvery + rand.N(checkEvery/10) }, //nolint:gosec // spreads replicas, guards nothing
	}.Run(ctx)
}

// check reads the Secret, serves with what it holds, and does what is to be done about it.
func (k *Kept) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	secret := &corev1.Secret{}
	err := k.cfg.Client.Get(ctx, k.cfg.Secret, secret)
	absent := apierrors.IsNotFound(err)
	if err != nil && !absent {
		return fmt.Errorf("read Secret: %w", err)
	}
	data, why, err := k.make.next(secret.Data, k.cfg.Now())
	if err != nil {
		return err
	}
	if data == nil {
		return k.take(secret.Data)
	}
	secret.Data = data
	if err := k.write(ctx, secret, absent); err != nil {
		return err
	}
	k.cfg.Log.Info("webhook certificate renewed", slog.String("reason", why))
	return k.take(data)
}

func (k *Kept) write(ctx context.Context, s *corev1.Secret, absent bool) error {
	if !absent {
		if err := k.cfg.Client.Update(ctx, s); err != nil { // by its resource version: one replica wins
			return fmt.Errorf("write Secret: %w", err)
		}
		return nil
	}
	s.Name, s.Namespace, s.Type = k.cfg.Secret.Name, k.cfg.Secret.Namespace, corev1.SecretTypeOpaque
	s.Labels = map[string]string{"app.kubernetes.io/managed-by": "podid-operator"}
	if k.cfg.Owner != nil {
		s.OwnerReferences = k.cfg.Owner(ctx)
	}
	if err := k.cfg.Client.Create(ctx, s); err != nil {
		return fmt.Errorf("make Secret: %w", err)
	}
	return nil
}

// take serves with what is there from now on, if it can be served with.
func (k *Kept) take(data map[string][]byte) error {
	if p := k.pair.Load(); p != nil && bytes.Equal(p.authorities, data[keyAuthority]) && bytes.Equal(leafPEM(p), data[keyServer]) {
		return nil
	}
	if err := k.make.serves(splitPEM(data[keyAuthority]), data, k.cfg.Now()); err != nil {
		return fmt.Errorf("judge what the Secret holds: %w", err)
	}
	c, err := tls.X509KeyPair(data[keyServer], data[keyServerKey])
	if err != nil {
		return fmt.Errorf("read what the Secret holds: %w", err)
	}
	k.set(&pair{certificate: &c, authorities: bytes.Clone(data[keyAuthority])})
	return nil
}

// secretSink wakes a Kept: what it takes over it reads itself.
type secretSink struct{ k *Kept }

func (s secretSink) wake() {
	select {
	case s.k.seen <- struct{}{}:
	default:
	}
}

func (s secretSink) Set(*corev1.Secret)       { s.wake() }
func (s secretSink) Delete(*corev1.Secret)    { s.wake() }
func (s secretSink) Replace([]*corev1.Secret) { s.wake() }
