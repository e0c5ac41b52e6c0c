// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package credcache keeps the credentials of a node's pods, renews them before they end, and makes at most one upstream
// call at a time for one pod, however many requests wait for it and whatever comes of it.
//
// It owns the rules of when credentials may be served, when they are renewed and when they are dropped, how long a
// refusal is remembered, and how often one pod may ask. An entry belongs to a pod (namespace, service account, uid) and
// is served to tokens that are proven to be that pod's: verified by the caller, or accepted by EKS Auth byte for byte.
// It refuses everything else: a token that merely claims another pod's uid earns its own answer. In the flow it stands
// between the agent's HTTP door and eksauthclient.
package credcache

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"podid/internal/agent/eksauthclient"
)

// MinRemaining is the life below which credentials are served only when no newer ones can be had.
const MinRemaining = 15 * time.Second

// lastSecond is the life below which nothing is served at all.
const lastSecond = time.Second

// Defaults of [Config].
const (
	DefaultMaxEntries  = 2000
	DefaultMaxBytes    = 16 << 20
	DefaultRetention   = 3 * time.Hour
	DefaultRenewFloor  = 10 * time.Second
	DefaultRefreshQPS  = 10
	DefaultDenialTTL   = 3 * time.Second
	DefaultFailureTTL  = 2 * time.Second
	DefaultWaitTimeout = 1800 * time.Millisecond
	DefaultPodRate     = 1000
	DefaultPodBurst    = 2000
)

// MaxFetches bounds the upstream calls under way for requests. Where tokens are not verified before, each has a call of
// its own, and anybody on the node can make up tokens: while the upstream hangs they would pile up.
const MaxFetches = 512

// hitSample: of so many answers from the cache one is logged.
const hitSample = 1000

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
	// MaxEntries bounds the pods kept; 0 switches the cache off: every request goes upstream, still one call per pod at a
	// time. MaxBytes bounds answers and tokens together; 0 means DefaultMaxBytes.
	MaxEntries int
	MaxBytes   int64
	// Retention is the age at which credentials are due for renewal where half of their life is not over before; 0
	// switches the cache off as well.
	Retention time.Duration
	// RenewFloor is the least age at which credentials are renewed, for very short ones; 0 means DefaultRenewFloor.
	RenewFloor time.Duration
	// RefreshQPS is the rate of background renewals per second, and their burst.
	RefreshQPS int
	// FetchTimeout bounds one upstream call with its retries; 0 means eksauthclient.DefaultTotalTimeout. The call
	// outlives the request that caused it, which waits for WaitTimeout at most (0 means DefaultWaitTimeout).
	FetchTimeout, WaitTimeout time.Duration
	// DenialTTL and FailureTTL are for how long a refusal, and a failure to get any answer, are repeated to the pod
	// without another call. 0 means the default.
	DenialTTL, FailureTTL time.Duration
	// PodRate per second and PodBurst bound the requests of one pod; a rate of 0 means no bound.
	PodRate, PodBurst int
	Log               *slog.Logger
	Observer          Observer
	// Now is the clock of all decisions; nil means time.Now.
	Now func() time.Time
	// Rand gives renewals their jitter; nil means crypto/rand.
	Rand io.Reader
}

// Pod is the owner of an entry, as its token claims.
type Pod struct {
	Namespace, ServiceAccount, UID string
}

// Token is a service account token that was parsed.
type Token struct {
	// Raw is the token itself.
	Raw eksauthclient.Secret
	// Pod is zero when the token has no pod claims.
	Pod Pod
	// Proven says that signature and claims were verified. Otherwise Pod is trusted only after EKS Auth has accepted the
	// token.
	Proven bool
	// NotBefore and Expiry are zero when the token has none.
	NotBefore, Expiry time.Time
}

// within tells whether the token is within its own time.
func (t *Token) within(now time.Time) bool {
	return (t.Expiry.IsZero() || now.Before(t.Expiry)) && !now.Before(t.NotBefore)
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

	mu      sync.Mutex
	stopped bool
	resting bool           // another process renews
	calls   sync.WaitGroup // upstream calls under way; grows only while !stopped
	flights map[key]*flight
	waiting int    // requests that wait for a flight
	lookups uint64 // that were answered
	fetched uint64 // calls upstream that were begun
	table
	due   schedule      // entries by the time at which they are next looked at
	ready schedule      // entries whose renewal is due, by the end of their credentials
	wake  chan struct{} // capacity 1: due has a new head
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
		flights: make(map[key]*flight),
		table:   newTable(maphash.MakeSeed()),
		due:     schedule{before: func(a, b *entry) bool { return a.at.Before(b.at) }, seat: turn},
		ready:   schedule{before: moreUrgent, seat: turn},
		wake:    make(chan struct{}, 1),
	}, nil
}

// Lookup answers a byte-equal token that is known already: with its pod's credentials, or with an error when the pod asks
// too often (*LimitError) or was refused a moment ago. It is false when the caller has to read the token and call Get.
func (c *Cache) Lookup(raw eksauthclient.Secret, now time.Time) (Answer, bool, error) {
	c.mu.Lock()
	k := c.find(raw)
	if k == nil || !k.token.within(now) {
		c.mu.Unlock()
		return Answer{}, false, nil
	}
	e := k.entry
	answer, settled, err := e.settled(now)
	if !settled {
		c.mu.Unlock()
		return Answer{}, false, nil
	}
	if limited := c.take(e, now); limited != nil {
		err = limited
	} else {
		c.touch(e)
	}
	c.lookups++
	sampled := c.lookups%hitSample == 0
	c.mu.Unlock()
	if err != nil {
		return Answer{}, true, err
	}
	c.cfg.Observer.Hit()
	if sampled {
		c.cfg.Log.Debug("served from the cache, one line of many", podAttrs(k.token.Pod)...)
	}
	return answer, true, nil
}

// Get returns credentials for the token, from the cache or from EKS Auth. A proven token of a pod that is known is
// answered from the cache, however young the token. Otherwise concurrent calls for one pod share one upstream call and
// its outcome, error or not. Get waits no longer than WaitTimeout ([ErrSlow]) or ctx; the call goes on.
func (c *Cache) Get(ctx context.Context, token Token) (Answer, error) {
	now := c.cfg.Now()
	c.mu.Lock()
	k, e := c.locate(&token)
	if e != nil {
		if limited := c.take(e, now); limited != nil {
			c.mu.Unlock()
			return Answer{}, limited
		}
		if token.Proven {
			c.learn(e, token)
		}
		if answer, settled, err := e.settled(now); settled {
			c.touch(e)
			c.mu.Unlock()
			if err == nil {
				c.cfg.Observer.Hit()
			}
			return answer, err
		}
	}
	f, err := c.join(k, token)
	if err != nil {
		c.mu.Unlock()
		return c.lastResort(k, err)
	}
	c.waiting++
	c.mu.Unlock()
	c.cfg.Observer.Miss()
	return c.wait(ctx, f)
}

// wait is for the outcome of a call, for as long as the pod's SDK waits.
func (c *Cache) wait(ctx context.Context, f *flight) (Answer, error) {
	timer := time.NewTimer(c.cfg.WaitTimeout)
	defer timer.Stop()
	defer func() {
		c.mu.Lock()
		c.waiting--
		c.mu.Unlock()
	}()
	select {
	case <-f.done:
		if f.err == nil {
			return f.answer, nil
		}
		return c.lastResort(f.key, f.err)
	case <-timer.C:
		return c.lastResort(f.key, ErrSlow)
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

// lastResort serves credentials in their last seconds when no newer ones came; err says why none did.
func (c *Cache) lastResort(k key, err error) (Answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[k]; e != nil && e.alive(c.cfg.Now()) {
		return e.answer, nil
	}
	return Answer{}, err
}

// Gone drops what is kept of a pod that has ended: nothing is renewed for it any more, and its token has to be proven
// anew.
func (c *Cache) Gone(podUID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if podUID == "" {
		return
	}
	for k, e := range c.entries {
		if k.pod.UID == podUID {
			c.drop(e)
		}
	}
	for k, f := range c.flights {
		f.gone = f.gone || k.pod.UID == podUID
	}
}

// PodUIDs are the pods that something is kept of.
func (c *Cache) PodUIDs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := make(map[string]bool, len(c.entries))
	for k := range c.entries {
		if k.pod.UID != "" {
			seen[k.pod.UID] = true
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// ForgetProofs makes every token be read and verified again before it is answered. It is for a change of the keys that
// tokens were verified with; credentials are kept.
func (c *Cache) ForgetProofs() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table.forgetTokens()
}

// Stats are figures of a moment.
type Stats struct {
	Entries  int   // pods whose credentials are cached
	Refusals int   // pods or tokens whose refusal is remembered
	Bytes    int64 // of answers and tokens
	Waiting  int   // requests that wait for an upstream call
	Fetches  int   // upstream calls under way
	Backlog  int   // renewals that are due and have not begun
	// Soonest is the least life that cached credentials have left, and Oldest the greatest age; 0 when there are none.
	Soonest, Oldest time.Duration
}

// Stats counts.
func (c *Cache) Stats() Stats {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{
		Entries: c.live.Len(), Refusals: c.weak.Len(), Bytes: c.bytes, Waiting: c.waiting, Fetches: len(c.flights), Backlog: c.ready.Len(),
	}
	for _, e := range c.entries {
		if !e.granted() {
			continue
		}
		if left := e.expires.Sub(now); s.Soonest == 0 || left < s.Soonest {
			s.Soonest = left
		}
		s.Oldest = max(s.Oldest, now.Sub(e.fetched))
	}
	return s
}

// Work is how many look-ups were answered and how many calls upstream were begun, in all.
func (c *Cache) Work() (lookups, fetches uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lookups, c.fetched
}

// Len is the number of pods whose credentials are cached.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live.Len()
}

// Run renews credentials until ctx ends, then ends the upstream calls under way and waits for them.
func (c *Cache) Run(ctx context.Context) error {
	c.renewLoop(ctx)
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.end()
	c.calls.Wait()
	return nil
}

// LimitError is a request beyond the bound of one pod.
type LimitError struct {
	// RetryAfter is when the next request is let through.
	RetryAfter time.Duration
}

// Error is what the pod is told.
func (e *LimitError) Error() string {
	return fmt.Sprintf("too many requests of one pod, try again in %s", max(e.RetryAfter.Round(time.Millisecond), time.Millisecond))
}
