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

const (
	// MinInterval is the shortest time between two fetches of one Source.
	MinInterval = 30 * time.Second
	// DefaultMaxAge is how old keys may grow before they are fetched anew, so
	// that a key taken back by its issuer stops working.
	DefaultMaxAge = 10 * time.Minute
)

// ErrTooSoon: there are no keys, and the last attempt is too recent for another.
var ErrTooSoon = errors.New("keys were asked for too recently")

// Discoverer fetches the key set of an issuer; *Fetcher is one.
type Discoverer interface {
	Discover(ctx context.Context, issuer string) (jwks []byte, jwksURI string, err error)
}

// SourceOptions of a Source. Now and Parse are required.
type SourceOptions[T any] struct {
	Now func() time.Time
	// Parse makes keys of a key set; when it refuses, the old keys stay.
	Parse func(jwks []byte) (T, error)
	// MaxAge of keys, zero for DefaultMaxAge.
	MaxAge time.Duration
	// OnFetch, when set, hears of every attempt's outcome (nil for success).
	OnFetch func(error)
}

// Source keeps the keys of one issuer. It starts no goroutine before it is
// asked; a fetch in progress is shared by all who ask, outlives the one who
// began it, and ends within twice Timeout.
type Source[T any] struct {
	issuer string
	from   Discoverer
	o      SourceOptions[T]

	mu        sync.Mutex
	keys      T
	have      bool
	fetchedAt time.Time // of keys
	triedAt   time.Time // of the last attempt
	lastErr   error
	flight    chan struct{} // closed when the attempt in progress ends
}

// NewSource returns a Source without keys; the first call of Keys fetches them.
func NewSource[T any](issuer string, from Discoverer, o SourceOptions[T]) (*Source[T], error) {
	if issuer == "" || from == nil || o.Now == nil || o.Parse == nil {
		return nil, errors.New("key source: issuer, discoverer, clock and parse function are required")
	}
	if o.MaxAge <= 0 {
		o.MaxAge = DefaultMaxAge
	}
	return &Source[T]{issuer: issuer, from: from, o: o}, nil
}

// Seed sets last-known-good keys, such as those stored with a cluster, without
// counting as a fetch.
func (s *Source[T]) Seed(keys T, fetchedAt time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.have, s.fetchedAt = keys, true, fetchedAt
}

// Keys returns the keys. Keys beyond their age are returned as they are while
// a fetch goes on behind; only without any does the call wait. Its error then
// is that of the last attempt.
func (s *Source[T]) Keys(ctx context.Context) (T, error) {
	s.mu.Lock()
	if s.have {
		defer s.mu.Unlock()
		if s.o.Now().Sub(s.fetchedAt) >= s.o.MaxAge {
			s.start(ctx)
		}
		return s.keys, nil
	}
	flight := s.start(ctx)
	s.mu.Unlock()
	if err := wait(ctx, flight); err != nil {
		return *new(T), fmt.Errorf("wait for keys of %s: %w", s.issuer, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.have:
		return s.keys, nil
	case s.lastErr != nil:
		return *new(T), fmt.Errorf("keys of %s: %w", s.issuer, s.lastErr)
	}
	return *new(T), fmt.Errorf("keys of %s: %w", s.issuer, ErrTooSoon)
}

// Refresh is for a token whose key id is unknown: it fetches anew, at most once
// in MinInterval, and waits for a fetch in progress. fresh says whether the
// keys returned may differ from those of before; when it is false the token's
// key stays unknown and err, if any, says why. With keys at hand they are
// returned even when err is not nil.
func (s *Source[T]) Refresh(ctx context.Context) (keys T, fresh bool, err error) {
	s.mu.Lock()
	flight := s.start(ctx)
	if flight == nil {
		defer s.mu.Unlock()
		if !s.have {
			return s.keys, false, errors.Join(ErrTooSoon, s.lastErr)
		}
		return s.keys, false, nil
	}
	s.mu.Unlock()
	err = wait(ctx, flight)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.lastErr
	}
	if err != nil {
		return s.keys, false, fmt.Errorf("refresh keys of %s: %w", s.issuer, err)
	}
	return s.keys, true, nil
}

// start begins an attempt, or joins the one in progress. It returns nil when
// the last one is too recent. It is called with the lock held.
func (s *Source[T]) start(ctx context.Context) <-chan struct{} {
	if s.flight != nil {
		return s.flight
	}
	now := s.o.Now()
	if !s.triedAt.IsZero() && now.Sub(s.triedAt) < MinInterval {
		return nil
	}
	flight := make(chan struct{})
	s.flight, s.triedAt = flight, now
	// Two requests, each under its own time limit, bound this goroutine's life.
	go s.attempt(context.WithoutCancel(ctx), now, flight)
	return flight
}

func (s *Source[T]) attempt(ctx context.Context, began time.Time, flight chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, 2*Timeout)
	defer cancel()
	var keys T
	raw, _, err := s.from.Discover(ctx, s.issuer)
	if err == nil {
		if keys, err = s.o.Parse(raw); err != nil {
			err = fmt.Errorf("read key set: %w", err)
		}
	}
	s.mu.Lock()
	if err == nil {
		s.keys, s.have, s.fetchedAt = keys, true, began
	}
	s.lastErr, s.flight = err, nil
	s.mu.Unlock()
	if s.o.OnFetch != nil {
		s.o.OnFetch(err)
	}
	close(flight)
}

func wait(ctx context.Context, flight <-chan struct{}) error {
	if flight == nil {
		return nil
	}
	select {
	case <-flight:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
