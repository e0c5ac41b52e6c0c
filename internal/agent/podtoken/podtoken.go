// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package podtoken judges on the node whether a service account token is genuine and a pod's of this node, so that
// nothing is served or sent for one that is not, and so that a rotated token needs no call upstream.
//
// It owns which keys tokens are held against: the cluster's, from a file, the API server or the control plane, kept
// fresh, fetched anew once for all who ask when a token names an unknown key, and remembered on disk over restarts. It
// refuses tokens of other keys, issuers, audiences and nodes, those outside their time, and those not bound to a pod;
// and all of them while it never had a key. The rules of claims are satoken's and those of signatures jwt's, the same
// code that the control plane judges with (ADR 0009). In the flow it stands between the agent's HTTP door and credcache.
package podtoken

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"podid/internal/jwt"
	"podid/internal/satoken"
)

// Audience is that of the tokens which EKS Pod Identity's webhook mounts.
const Audience = "pods.eks.amazonaws.com"

// Defaults of [Config].
const (
	// DefaultInterval is between two looks at the key set without cause.
	DefaultInterval = 10 * time.Minute
	// DefaultMinInterval is the least time between two fetches, whoever asks.
	DefaultMinInterval = 10 * time.Second
	// DefaultPatience is how long a token waits for a fetch: a pod's SDK waits for two seconds.
	DefaultPatience = 1500 * time.Millisecond
)

// anyLife leaves it to EKS Auth how long a token may have been issued for: AWS' may allow other lives than ours.
const anyLife = 10 * 366 * 24 * time.Hour

// ErrNoKeys is the answer while no key set could be had, or while the one key that is needed may be in a set that cannot
// be fetched. It says nothing about the token.
var ErrNoKeys = errors.New("the cluster's keys cannot be fetched, so that the token cannot be verified now")

// Refusal is why a token is not acceptable. Its text may be sent to the pod: it holds no part of the token but names of
// issuers, audiences and nodes.
type Refusal struct {
	Reason  string // a stable word, satoken's or [ReasonNode]
	Message string
}

// ReasonNode is the reason of a token that belongs to a pod of another node.
const ReasonNode = "token-node"

// Error is the message.
func (e *Refusal) Error() string { return e.Message }

// Expired tells a token whose time is over from one that was never good.
func (e *Refusal) Expired() bool { return e.Reason == satoken.ReasonExpired }

// OfTime tells refusals by the clock from all others, OfForm those of text that is no usable token at all.
func (e *Refusal) OfTime() bool { return e.Expired() || e.Reason == satoken.ReasonNotYetValid }

// OfForm is described at OfTime.
func (e *Refusal) OfForm() bool {
	return e.Reason == satoken.ReasonMalformed || e.Reason == satoken.ReasonHeader || e.Reason == satoken.ReasonAlgorithm
}

// Claims are what a verified token says.
type Claims struct {
	Namespace, ServiceAccount, PodUID string
	NotBefore, Expires                time.Time
}

// Config of a Verifier. Source and Log are required; zero values of the others mean their defaults.
type Config struct {
	Source Source
	// CacheFile keeps the last key set that was fetched, for a start while the source is away. Empty: nothing is kept.
	CacheFile string
	// Issuer is that of the cluster. Empty: what the source says, else any issuer whose tokens the keys verify.
	Issuer string
	// Node and NodeUID are this node's, where tokens name theirs; empty ones are not compared.
	Node, NodeUID string
	// Interval, MinInterval and Patience are described at their defaults.
	Interval, MinInterval, Patience time.Duration
	// Changed is called after other keys have taken the place of those before.
	Changed func()
	Log     *slog.Logger
	Now     func() time.Time
	// Rand spreads the looks at the key set; nil means no spread.
	Rand io.Reader
}

// Verifier is safe for concurrent use. It keeps its keys fresh while Run runs.
type Verifier struct {
	cfg  Config
	keys atomic.Pointer[keys]

	mu      sync.Mutex
	fetch   *fetch    // the one under way, or nil
	tried   time.Time // when the last one began
	failing bool      // the last one brought no keys
	fetches sync.WaitGroup
}

// keys are a key set in use.
type keys struct {
	set      *jwt.KeySet
	issuer   string
	document []byte // what it was read from
}

// New checks the configuration and returns a verifier that has no keys yet.
func New(cfg Config) (*Verifier, error) {
	if cfg.Source == nil || cfg.Log == nil {
		return nil, errors.New("verification of tokens: source of keys and log are required")
	}
	if cfg.Interval < 0 || cfg.MinInterval < 0 || cfg.Patience < 0 {
		return nil, errors.New("verification of tokens: intervals must not be negative")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&cfg.Interval, DefaultInterval}, {&cfg.MinInterval, DefaultMinInterval}, {&cfg.Patience, DefaultPatience}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Verifier{cfg: cfg}, nil
}

// Verify judges a token. A refusal is a *Refusal; ErrNoKeys says that no judgement is possible now.
func (v *Verifier) Verify(ctx context.Context, raw string) (Claims, error) {
	k := v.keys.Load()
	if k == nil {
		if k = v.refresh(ctx); k == nil {
			return Claims{}, ErrNoKeys
		}
	}
	claims, err := v.verify(raw, k)
	var unknown *jwt.UnknownKeyError
	if errors.As(err, &unknown) {
		switch fresh := v.refresh(ctx); {
		case fresh != nil && fresh != k:
			claims, err = v.verify(raw, fresh)
		case fresh == nil:
			return Claims{}, ErrNoKeys
		}
	}
	if err != nil {
		return Claims{}, refusal(err)
	}
	return v.checkNode(claims)
}

func (v *Verifier) verify(raw string, k *keys) (satoken.Claims, error) {
	issuer := v.cfg.Issuer
	if issuer == "" {
		issuer = k.issuer
	}
	if issuer == "" {
		issuer = ownIssuer(raw)
	}
	return satoken.Verify(raw, satoken.Params{Keys: k.set, Issuer: issuer, Audience: Audience, MaxLife: anyLife, RequirePod: true, Now: v.cfg.Now})
}

// ownIssuer lets a token name its issuer, for clusters whose issuer nobody has told: the keys are the cluster's all the
// same. Without any issuer the token's is compared with a word that none has.
func ownIssuer(raw string) string {
	var claims struct {
		Issuer string `json:"iss"`
	}
	_, payload, err := jwt.PeekUnverified(raw)
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Issuer == "" {
		return "none"
	}
	return claims.Issuer
}

func (v *Verifier) checkNode(c satoken.Claims) (Claims, error) {
	if other(c.NodeName, v.cfg.Node) || other(c.NodeUID, v.cfg.NodeUID) {
		return Claims{}, &Refusal{Reason: ReasonNode, Message: fmt.Sprintf("Token belongs to a pod of node %.100q, this node is %.100q", c.NodeName, v.cfg.Node)}
	}
	return Claims{Namespace: c.Namespace, ServiceAccount: c.ServiceAccount, PodUID: c.PodUID, NotBefore: c.NotBefore, Expires: c.Expires}, nil
}

func other(claimed, own string) bool { return claimed != "" && own != "" && claimed != own }

func refusal(err error) error {
	var e *satoken.Error
	if errors.As(err, &e) {
		return &Refusal{Reason: e.Reason, Message: e.Message}
	}
	return fmt.Errorf("verify token: %w", err)
}
