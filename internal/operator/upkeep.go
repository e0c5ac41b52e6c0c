// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"podid/internal/operator/keys"
	"podid/internal/operator/refusals"
)

// addKeys brings the API server's keys to the control plane, on the leader.
func addKeys(mgr manager.Manager, cfg *Config, _ *rooms) error {
	if cfg.EnrolmentKeyFile == "" {
		return nil // somebody else does: the control plane itself, in a single cluster
	}
	m, err := keys.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return mgr.Add(keys.New(keys.Config{
		ControlPlane: cfg.ControlPlane, KeyFile: cfg.EnrolmentKeyFile, Published: published(mgr.GetConfig(), mgr.GetHTTPClient()), Metrics: m, Log: cfg.Log,
	}))
}

// addRefusals tells pods what was refused to them, on the leader.
func addRefusals(mgr manager.Manager, cfg *Config, _ *rooms) error {
	m, err := refusals.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	kube, err := uncached(mgr)
	if err != nil {
		return err
	}
	return mgr.Add(refusals.New(refusals.Config{Cluster: cfg.Cluster, Caller: cfg.ControlPlane, Client: kube, Metrics: m, Log: cfg.Log}))
}

// Bounds of the API server's answer.
const (
	publishedTime = 10 * time.Second
	maxPublished  = 256 << 10
)

// published reads the key set that the API server publishes.
// Source: Kubernetes, "Service account issuer discovery".
func published(cfg *rest.Config, client *http.Client) func(context.Context) (json.RawMessage, error) {
	return func(ctx context.Context) (json.RawMessage, error) {
		ctx, cancel := context.WithTimeout(ctx, publishedTime)
		defer cancel()
		base, _, err := rest.DefaultServerUrlFor(cfg)
		if err != nil {
			return nil, fmt.Errorf("find the API server: %w", err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("openid", "v1", "jwks").String(), nil)
		if err != nil {
			return nil, fmt.Errorf("make request: %w", err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, fmt.Errorf("ask the API server: %w", err)
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxPublished+1))
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return nil, fmt.Errorf("read the API server's answer: %w", err)
		}
		if resp.StatusCode != http.StatusOK || len(text) > maxPublished {
			return nil, fmt.Errorf("the API server answered %s with %d bytes", resp.Status, len(text))
		}
		return text, nil
	}
}
