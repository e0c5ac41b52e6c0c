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
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if cfg.Exchanger == nil || cfg.Log == nil || cfg.Observer == nil {
		complain("cache: exchanger, log and observer are required")
	}
	if cfg.MaxEntries < 0 || cfg.MaxBytes < 0 {
		complain("max cache size %d, bytes %d: must not be negative (size 0 switches the cache off)", cfg.MaxEntries, cfg.MaxBytes)
	}
	if cfg.Retention < 0 {
		complain("max credential retention %s: must not be negative (0 switches the cache off)", cfg.Retention)
	}
	if cfg.FetchTimeout < 0 || cfg.WaitTimeout < 0 || cfg.RenewFloor < 0 {
		complain("fetch time-out %s, wait time-out %s, renewal floor %s: must not be negative", cfg.FetchTimeout, cfg.WaitTimeout, cfg.RenewFloor)
	}
	if cfg.DenialTTL < 0 || cfg.DenialTTL > time.Minute || cfg.FailureTTL < 0 || cfg.FailureTTL > time.Minute {
		complain("memory of refusals %s, of failures %s: want 0 to 1m", cfg.DenialTTL, cfg.FailureTTL)
	}
	if cfg.PodRate < 0 || cfg.PodRate > 0 && cfg.PodBurst < 1 {
		complain("requests of one pod %d/s, burst %d: must not be negative, and the burst not 0", cfg.PodRate, cfg.PodBurst)
	}
	caching := cfg.MaxEntries > 0 && cfg.Retention > 0
	switch {
	case cfg.RefreshQPS < 0, caching && cfg.RefreshQPS == 0:
		complain("max service qps %d: must be at least 1", cfg.RefreshQPS)
	case caching && float64(cfg.RefreshQPS)*cfg.Retention.Seconds() < float64(cfg.MaxEntries)/2:
		// The rule of AWS' agent, which panics here: below it renewals cannot keep up with a full cache.
		complain("max service qps %d renews at most %.0f entries in the retention of %s, less than half of the cache of %d: raise --max-service-qps or --max-credential-retention-before-renewal, or lower --max-cache-size",
			cfg.RefreshQPS, float64(cfg.RefreshQPS)*cfg.Retention.Seconds(), cfg.Retention, cfg.MaxEntries)
	}
	return errors.Join(problems...)
}

func (cfg *Config) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&cfg.FetchTimeout, eksauthclient.DefaultTotalTimeout},
		{&cfg.WaitTimeout, DefaultWaitTimeout},
		{&cfg.RenewFloor, DefaultRenewFloor},
		{&cfg.DenialTTL, DefaultDenialTTL},
		{&cfg.FailureTTL, DefaultFailureTTL},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
}
