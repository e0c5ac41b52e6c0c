// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"podid/internal/agent/eksauthclient"
)

func (cfg *Config) validate() error {
	var problems []error
	if cfg.Exchanger == nil || cfg.Log == nil || cfg.Observer == nil {
		problems = append(problems, errors.New("cache: exchanger, log and observer are required"))
	}
	if cfg.MaxEntries < 0 {
		problems = append(problems, fmt.Errorf("max cache size %d: must not be negative (0 switches the cache off)", cfg.MaxEntries))
	}
	if cfg.Retention < 0 {
		problems = append(problems, fmt.Errorf("max credential retention %s: must not be negative (0 switches the cache off)", cfg.Retention))
	}
	if cfg.FetchTimeout < 0 {
		problems = append(problems, fmt.Errorf("fetch time-out %s: must not be negative", cfg.FetchTimeout))
	}
	caching := cfg.MaxEntries > 0 && cfg.Retention > 0
	switch {
	case cfg.RefreshQPS < 0, caching && cfg.RefreshQPS == 0:
		problems = append(problems, fmt.Errorf("max service qps %d: must be at least 1", cfg.RefreshQPS))
	case caching && float64(cfg.RefreshQPS)*cfg.Retention.Seconds() < float64(cfg.MaxEntries)/2:
		// The rule of AWS' agent, which panics here: below it renewals cannot keep up with a full cache.
		problems = append(problems, fmt.Errorf("max service qps %d renews at most %.0f entries in the retention of %s, less than half of the cache of %d: raise --max-service-qps or --max-credential-retention-before-renewal, or lower --max-cache-size",
			cfg.RefreshQPS, float64(cfg.RefreshQPS)*cfg.Retention.Seconds(), cfg.Retention, cfg.MaxEntries))
	}
	return errors.Join(problems...)
}

func (cfg *Config) setDefaults() {
	if cfg.FetchTimeout == 0 {
		cfg.FetchTimeout = eksauthclient.DefaultTotalTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
}
