// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clustertest supports tests of rooms whose verbs are on clusters: keys
// that a cluster can be registered with, and an Authorizer that lets a rival
// in between the answer and the write. It decides nothing: whoever asks may.
package clustertest

import (
	"context"
	"sync"

	"podid/internal/iam"
)

// JWKS is a public key of the NIST P-256 curve (RFC 7517, appendix A.1).
const JWKS = `{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"1"}]}`

// Meddler allows everything. The first time that it is asked for the action it
// has Then change something, after the question was put and before the answer
// is used.
type Meddler struct {
	Action string
	Then   func()

	once sync.Once
}

// Authorize allows.
func (m *Meddler) Authorize(_ context.Context, _ iam.Caller, q iam.Query) error {
	if q.Action == m.Action {
		m.once.Do(m.Then)
	}
	return nil
}
