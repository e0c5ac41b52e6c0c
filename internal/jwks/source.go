// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package jwks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MinInterval is the shortest time between two fetches of one Source.
const MinInterval = 30 * time.Second

// ErrTooSoon: the last fetch is too recent for another.
var ErrTooSoon = errors.New("keys were asked for too recently")

// Discoverer fetches the key set of an issuer; *Fetcher is one.
type Discoverer interface {
	Discover(ctx context.Context, issuer string) (jwks []byte, jwksURI string, err error)
}

// SourceOptions of a Source. All are required.
type SourceOptions struct {
	Now func() time.Time
	// Check refuses key sets that cannot be used.
	Check func(jwks []byte) error
}

// Source sets the pace at which the keys of one issuer are fetched. It
// remembers none: what to do with them is the caller's. It starts no goroutine
// before it is asked; a fetch in progress is shared by all who ask, outlives
// the one who began it, and ends within twice Timeout. It is safe for
// concurrent use.
type Source struct {
	issuer string
	from   Discoverer
	o      SourceOptions

	mu      sync.Mutex
	triedAt time.Time // of the last fetch, zero before the first
	flight  *flight   // the fetch in progress, or nil
}

// A flight is one fetch; jwks and err are set when done is closed.
type flight struct {
	done chan struct{}
	jwks []byte
	err  error
}

// NewSource returns a Source; the first call of Refresh fetches.
func NewSource(issuer string, from Discoverer, o SourceOptions) (*Source, error) {
	if issuer == "" || from == nil || o.Now == nil || o.Check == nil {
		return nil, errors.New("key source: issuer, discoverer, clock and check are required")
	}
	return &Source{issuer: issuer, from: from, o: o}, nil
}

// Refresh is for a token whose key id is unknown: it fetches the key set and
// returns it as JSON, at most once in MinInterval whatever the outcome, and
// waits for a fetch in progress. ErrTooSoon says that nothing was fetched.
// Other errors are those of the fetch, of Check, or of ctx.
func (s *Source) Refresh(ctx context.Context) ([]byte, error) {
	f := s.start(ctx)
	if f == nil {
		return nil, fmt.Errorf("refresh keys of %s: %w", s.issuer, ErrTooSoon)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("refresh keys of %s: %w", s.issuer, ctx.Err())
	}
	if f.err != nil {
		return nil, fmt.Errorf("refresh keys of %s: %w", s.issuer, f.err)
	}
	return f.jwks, nil
}

// start begins a fetch, or joins the one in progress. It returns nil when the
// last one is too recent.
func (s *Source) start(ctx context.Context) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	now := s.o.Now()
	if !s.triedAt.IsZero() && now.Sub(s.triedAt) < MinInterval {
		return nil
	}
	f := &flight{done: make(chan struct{})}
	s.flight, s.triedAt = f, now
	// Two requests, each under its own time limit, bound this goroutine's life.
	go s.fetch(context.WithoutCancel(ctx), f)
	return f
}

func (s *Source) fetch(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, 2*Timeout)
	defer cancel()
	f.jwks, _, f.err = s.from.Discover(ctx, s.issuer)
	if f.err == nil {
		if err := s.o.Check(f.jwks); err != nil {
			f.err = fmt.Errorf("read key set: %w", err)
		}
	}
	s.mu.Lock()
	s.flight = nil
	s.mu.Unlock()
	close(f.done)
}
