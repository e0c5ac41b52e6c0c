// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts

import (
	"context"
	"strings"
	"time"

	"podid/internal/fault"
	"podid/internal/issuer"
)

// A role's MaxSessionDuration is learned from iam:GetRole where podid may ask,
// else by trying. It is believed for an hour, since roles change.
const (
	rememberLife  = time.Hour
	maxRemembered = 10_000
)

type lifetime struct {
	life  time.Duration
	until time.Time
}

// shorter are the lives tried one after another, the choices of AWS' console.
var shorter = []time.Duration{issuer.Lifetime, 4 * time.Hour, 2 * time.Hour, time.Hour}

// longest is what to ask for. Temporary base credentials are a role's, and a
// chained session lasts an hour at most.
func (u *upstream) longest(ctx context.Context, roleARN string) (time.Duration, error) {
	creds, err := u.credentials.Retrieve(ctx)
	if err != nil {
		return 0, noCredentials(u.name, err)
	}
	if creds.SessionToken != "" {
		return time.Hour, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if l, ok := u.lifetimes[roleARN]; ok && u.now().Before(l.until) {
		return l.life, nil
	}
	return issuer.Lifetime, nil
}

func (u *upstream) remember(roleARN string, life time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.lifetimes) >= maxRemembered {
		clear(u.lifetimes) // it is learned again
	}
	u.lifetimes[roleARN] = lifetime{min(life, issuer.Lifetime), u.now().Add(rememberLife)}
}

// shorten says whether an error is about the life that was asked for, and what
// to ask for instead.
func shorten(life time.Duration, err error) (time.Duration, bool) {
	if err == nil || life <= time.Hour {
		return 0, false
	}
	d, ok := fault.As(err).Detail.(Refusal)
	if !ok || !strings.Contains(d.Message, "DurationSeconds") || d.Code != "ValidationError" && d.Code != "InvalidParameterValue" {
		return 0, false
	}
	if strings.Contains(d.Message, "chaining") {
		return time.Hour, true
	}
	for _, s := range shorter {
		if s < life {
			return s, true
		}
	}
	return 0, false
}
