// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keys keeps the control plane's idea of the keys that the cluster's
// API server signs service account tokens with. It looks at /openid/v1/jwks,
// and brings what has changed under the cluster's enrolment key, which lies in
// a Secret. It needs neither a role nor a session: when the signing key was
// swapped, those are to be had only after the control plane knows the new one.
// It runs on the leader, and never gives up; it refuses to bring an empty
// answer. In the cluster it needs the ClusterRole
// system:service-account-issuer-discovery, which every service account has
// unless the binding was removed.
package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/aws/smithy-go"
	"github.com/prometheus/client_golang/prometheus"
)

// ControlPlane takes a call that carries its own proof.
type ControlPlane interface {
	Unsigned(ctx context.Context, method, path string, header http.Header, body []byte, out any) error
}

// Config is what a Keeper is made of. All fields but Now are required.
type Config struct {
	ControlPlane ControlPlane
	KeyFile      string                                         // the enrolment key; read again for each use
	Published    func(context.Context) (json.RawMessage, error) // what the API server publishes
	Metrics      *Metrics
	Log          *slog.Logger
	Now          func() time.Time // nil: time.Now
}

// Metrics of this room.
type Metrics struct {
	pushes *prometheus.CounterVec
	last   prometheus.Gauge
	behind prometheus.Gauge
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "podid_operator_cluster_keys_pushes_total", Help: "Times that the API server's keys were brought to the control plane, by result: taken, refused or away."}, []string{"result"}),
		last:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "podid_operator_cluster_keys_last_success_timestamp_seconds", Help: "When the control plane took the API server's keys last."}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{Name: "podid_operator_cluster_keys_out_of_date", Help: "1 while the control plane has not taken the keys that the API server publishes."}),
	}
	return m, errors.Join(r.Register(m.pushes), r.Register(m.last), r.Register(m.behind))
}

// Times of the upkeep.
const (
	lookEvery  = 10 * time.Second
	againEvery = time.Hour // whatever the control plane was told by others meanwhile
	retryFirst = time.Second
	retryMost  = 30 * time.Second
)

// Keeper brings the keys.
type Keeper struct {
	cfg    Config
	taken  string // the set that the control plane has
	when   time.Time
	signed time.Time // of the last proof: each has to be newer than the one before
}

// New makes a Keeper.
func New(cfg Config) *Keeper {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Keeper{cfg: cfg}
}

// NeedLeaderElection says that one replica is enough.
func (*Keeper) NeedLeaderElection() bool { return true }

// Start works until ctx ends. The same failure is logged once.
func (k *Keeper) Start(ctx context.Context) error {
	retry, last := retryFirst, ""
	for {
		wait := lookEvery - lookEvery/10 + time.Duration(rand.Int64N(int64(lookEvery/5))) //nolint:gosec // operators of many clusters shall not ask at once
		switch err := k.Step(ctx); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if text := err.Error(); text != last {
				k.cfg.Log.WarnContext(ctx, "the control plane has not taken the cluster's keys: trying again", "err", err)
				last = text
			}
			wait, retry = retry, min(2*retry, retryMost)
		default:
			retry, last = retryFirst, ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Step looks once, and brings the keys if need be.
func (k *Keeper) Step(ctx context.Context) error {
	jwks, err := k.cfg.Published(ctx)
	if err != nil {
		return fmt.Errorf("read the API server's keys: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil || len(set.Keys) == 0 {
		return errors.New("read the API server's keys: it publishes none")
	}
	if string(jwks) == k.taken && k.cfg.Now().Sub(k.when) < againEvery {
		return nil
	}
	if string(jwks) != k.taken {
		k.cfg.Metrics.behind.Set(1)
	}
	return k.bring(ctx, jwks)
}

func (k *Keeper) bring(ctx context.Context, jwks json.RawMessage) error {
	text, err := os.ReadFile(k.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("read enrolment key: %w", err)
	}
	key, err := ParseKey(text)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]json.RawMessage{"jwks": jwks})
	if err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	now := k.cfg.Now()
	if at := k.signed.Add(time.Millisecond); now.Before(at) {
		now = at
	}
	k.signed = now
	proof, err := key.Proof(body, now)
	if err != nil {
		return err
	}
	var out struct {
		Cluster struct {
			KeyIDs []string `json:"keyIds"`
		} `json:"cluster"`
	}
	err = k.cfg.ControlPlane.Unsigned(ctx, http.MethodPut, "/podid/v1/clusters/"+url.PathEscape(key.name)+"/keys", http.Header{"Authorization": {"Podid-Enrolment " + proof}}, body, &out)
	if err != nil {
		k.cfg.Metrics.pushes.WithLabelValues(result(err)).Inc()
		return fmt.Errorf("bring the keys under enrolment key %s: %w", key.ID(), err)
	}
	if string(jwks) != k.taken {
		k.cfg.Log.InfoContext(ctx, "the control plane has the API server's keys", "keys", out.Cluster.KeyIDs)
	}
	k.taken, k.when = string(jwks), k.cfg.Now()
	k.cfg.Metrics.pushes.WithLabelValues("taken").Inc()
	k.cfg.Metrics.last.Set(float64(k.when.Unix()))
	k.cfg.Metrics.behind.Set(0)
	return nil
}

func result(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorFault() == smithy.FaultClient {
		return "refused"
	}
	return "away"
}
