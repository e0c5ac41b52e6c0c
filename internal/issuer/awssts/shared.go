// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts

import (
	"context"
	"fmt"
	"sync"
	"time"

	"podid/internal/exchange"
	"podid/internal/fault"
)

// flight is a call under way and all who wait for it.
type flight struct {
	done chan struct{}
	out  *exchange.Issued
	err  error
}

// fly runs call once for all who ask under the same key. It does not end with
// the request that began it: an agent's next try finds it under way.
func (i *Issuer) fly(ctx context.Context, key string, call func(context.Context) (*exchange.Issued, error)) (*exchange.Issued, error) {
	i.mu.Lock()
	f := i.flights[key]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		if i.flights == nil {
			i.flights = map[string]*flight{}
		}
		i.flights[key] = f
		i.running.Add(1)
		go i.run(context.WithoutCancel(ctx), key, f, call)
	}
	i.mu.Unlock()
	select {
	case <-f.done:
		return f.out, f.err
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "The STS that issues for this account did not answer in time.").WithReason("upstream-timeout").Because(ctx.Err())
	}
}

func (i *Issuer) run(ctx context.Context, key string, f *flight, call func(context.Context) (*exchange.Issued, error)) {
	defer i.running.Done()
	ctx, cancel := context.WithTimeout(ctx, totalTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil { // no handler stands above to do it
			f.out, f.err = nil, &fault.Error{Kind: fault.Internal, Err: fmt.Errorf("panic in the issuer: %v", p)}
		}
		i.mu.Lock()
		delete(i.flights, key)
		i.mu.Unlock()
		close(f.done)
	}()
	f.out, f.err = call(ctx)
}

// maxShared bounds the sessions that are kept: one for each association
// without session tags.
const maxShared = 50_000

// staleMargin is what has to be left of a shared session that is given out
// while the upstream is away.
const staleMargin = 10 * time.Minute

// sharedSessions are the sessions of associations without session tags:
// nothing in them belongs to one pod, so all pods of the association share
// one until half of its life is over.
type sharedSessions struct {
	mu sync.Mutex
	m  map[string]sharedSession
}

type sharedSession struct {
	issued *exchange.Issued
	half   time.Time
}

func (s *sharedSessions) get(key string) (sharedSession, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.m[key]
	return e, ok
}

func (s *sharedSessions) put(key string, out *exchange.Issued, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]sharedSession{}
	}
	if len(s.m) >= maxShared {
		for k, e := range s.m {
			if !now.Before(e.half) {
				delete(s.m, k)
			}
		}
		if len(s.m) >= maxShared {
			return // more associations than are kept: theirs are asked for each time
		}
	}
	s.m[key] = sharedSession{out, now.Add(out.Credentials.Expires.Sub(now) / 2)}
}

// issueShared gives the association's session, a new one from half of its life
// on. While the upstream is away the old one serves on.
func (i *Issuer) issueShared(ctx context.Context, u *upstream, x *order) (*exchange.Issued, error) {
	key := x.key("")
	old, ok := i.shared.get(key)
	if ok && i.Now().Before(old.half) {
		return old.issued, nil
	}
	out, err := i.fly(ctx, key, func(ctx context.Context) (*exchange.Issued, error) {
		out, err := u.assume(ctx, x)
		if err == nil {
			i.shared.put(key, out, i.Now())
		}
		return out, err
	})
	if err != nil && ok && (fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Throttled)) && i.Now().Add(staleMargin).Before(old.issued.Credentials.Expires) {
		return old.issued, nil
	}
	return out, err
}
