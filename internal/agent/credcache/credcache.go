// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package credcache keeps the credentials of a node's pods, renews them before they end, and makes at most one upstream
// call at a time for one token, however many requests wait for it.
//
// It owns the rules of when credentials may be served, when they are renewed and when they are dropped. It refuses to
// serve an entry to anything but the byte-equal token that EKS Auth accepted: the agent does not check signatures, so a
// token that merely claims another pod's uid must earn its own answer. In the flow it stands between the agent's HTTP
// door and eksauthclient.
package credcache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"podid/internal/agent/eksauthclient"
)

// MinRemaining is the life that credentials must still have to be served, as in AWS' agent.
const MinRemaining = 15 * time.Second

// Defaults of [Config], those of AWS' agent.
const (
	DefaultMaxEntries = 2000
	DefaultRetention  = 3 * time.Hour
	DefaultRefreshQPS = 3
)

// MaxFetches bounds the upstream calls under way for requests. Every token has a call of its own, and anybody on the
// node can make up tokens: while the upstream hangs they would pile up.
const MaxFetches = 512

// ErrBusy is the answer to a miss beyond MaxFetches.
var ErrBusy = errors.New("the agent waits for too many answers of EKS Auth already")

// ErrStopped is the answer to a miss after [Cache.Run] has ended.
var ErrStopped = errors.New("the agent is stopping")

// ErrTooShort is an upstream answer that ends too soon to be served.
var ErrTooShort = fmt.Errorf("fetched credentials are expired or will expire within the next %d seconds", int(MinRemaining/time.Second))

// Exchanger turns a token into credentials; eksauthclient.Client is one.
type Exchanger interface {
	AssumeRoleForPodIdentity(ctx context.Context, token eksauthclient.Secret) (*eksauthclient.Session, error)
}

// Observer is told what happens; the agent turns it into metrics. Its methods must not block.
type Observer interface {
	// Hit is a request answered from the cache, Miss one that was not (waiters of one call count each).
	Hit()
	Miss()
	// Evicted is an entry that left before its time, to make room.
	Evicted()
	// Refreshed is a finished background renewal; err is nil when it brought new credentials.
	Refreshed(err error)
}

// Config of a cache. Exchanger, Log and Observer are required.
type Config struct {
	Exchanger Exchanger
	// MaxEntries bounds the cache; 0 switches it off: every request goes upstream, still one call per token at a time.
	MaxEntries int
	// Retention is the age at which credentials are renewed at the latest; 0 switches the cache off as well.
	Retention time.Duration
	// RefreshQPS is the rate of background renewals per second, and their burst.
	RefreshQPS int
	// FetchTimeout bounds one upstream call with its retries; 0 means eksauthclient.DefaultTotalTimeout. The call
	// outlives the request that caused it.
	FetchTimeout time.Duration
	Log          *slog.Logger
	Observer     Observer
	// Now is the clock of all decisions; nil means time.Now.
	Now func() time.Time
	// Rand gives renewals their jitter; nil means crypto/rand.
	Rand io.Reader
}

// Pod is what a token claims about its bearer: the key under which a rotated token supersedes its forerunner. It is
// trusted only after EKS Auth has accepted the token.
type Pod struct {
	Namespace, ServiceAccount, UID string
}

// Token is a service account token that was parsed, not verified.
type Token struct {
	// Raw is the token itself, and as a whole the key of the cache.
	Raw eksauthclient.Secret
	// Pod is zero when the token has no pod claims.
	Pod Pod
	// NotBefore and Expiry are zero when the token has none.
	NotBefore, Expiry time.Time
}

// Answer is credentials ready to be written to a pod. Both fields are shared and must not be changed.
type Answer struct {
	// Body is the JSON document; ContentLength is its length in decimal, as a header value list.
	Body          []byte
	ContentLength []string
}

// String hides the body.
func (Answer) String() string { return "[secret]" }

// LogValue hides the body from slog.
func (Answer) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Cache is safe for concurrent use. It renews only while Run runs.
type Cache struct {
	cfg     Config
	enabled bool

	// life ends when the cache stops; all upstream calls hang on it, none on a request.
	life context.Context
	end  context.CancelFunc

	// The maps are keyed by the whole token. Their hash is seeded at random and bytes are compared only where it agrees,
	// so that the time of a look-up tells nothing about a token one does not have.
	mu      sync.Mutex
	stopped bool
	calls   sync.WaitGroup // upstream calls under way; grows only while !stopped
	entries map[eksauthclient.Secret]*entry
	order   *list.List // of *entry, the most recently used in front
	newest  map[Pod]*entry
	flights map[eksauthclient.Secret]*flight
	due     schedule
	wake    chan struct{} // capacity 1: the schedule has a new head
}

// New checks the configuration, reporting all its problems at once, and returns an empty cache.
func New(cfg Config) (*Cache, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	life, end := context.WithCancel(context.Background())
	return &Cache{
		cfg:     cfg,
		enabled: cfg.MaxEntries > 0 && cfg.Retention > 0,
		life:    life,
		end:     end,
		entries: make(map[eksauthclient.Secret]*entry),
		order:   list.New(),
		newest:  make(map[Pod]*entry),
		flights: make(map[eksauthclient.Secret]*flight),
		wake:    make(chan struct{}, 1),
	}, nil
}

// Lookup returns the answer for a byte-equal token that was exchanged before. It is false when there is none, when the
// credentials have no more than MinRemaining left, or when the token is outside its own time: then the caller parses the
// token and calls Get.
func (c *Cache) Lookup(raw eksauthclient.Secret, now time.Time) (Answer, bool) {
	c.mu.Lock()
	e, ok := c.entries[raw]
	if !ok || !e.servable(now) {
		c.mu.Unlock()
		return Answer{}, false
	}
	c.order.MoveToFront(e.place)
	answer := e.answer
	c.mu.Unlock()
	c.cfg.Observer.Hit()
	return answer, true
}

// Get returns credentials for the token, from the cache or from EKS Auth. Concurrent calls with one token share one
// upstream call and its outcome, error or not. When ctx ends first, Get returns its error and the call goes on.
func (c *Cache) Get(ctx context.Context, token Token) (Answer, error) {
	if answer, ok := c.Lookup(token.Raw, c.cfg.Now()); ok {
		return answer, nil
	}
	c.cfg.Observer.Miss()
	f, err := c.join(token)
	if err != nil {
		return Answer{}, err
	}
	select {
	case <-f.done:
		return f.answer, f.err
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

// Len is the number of entries.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

// Run renews credentials until ctx ends, then ends the upstream calls under way and waits for them.
func (c *Cache) Run(ctx context.Context) error {
	c.refreshLoop(ctx)
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.end()
	c.calls.Wait()
	return nil
}
