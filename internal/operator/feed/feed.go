// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package feed holds which service accounts of this cluster have a pod
// identity association, for the webhook and all others in the operator that
// ask. It follows the control plane's feed by long polls, on every replica,
// and owns the index of what it was told, where it goes on, and what is
// answered while the control plane is away: the last that was known. It
// refuses to guess: an answer that is not certain to hold everything
// acknowledged before it was asked for comes with ErrStale.
package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"podid/internal/operator/podidclient"
)

const (
	// poll is how long the control plane is asked to wait for changes.
	poll = 20 * time.Second
	// pollLimit is for a poll with its answer, which may be of 100,000 associations.
	pollLimit = 90 * time.Second
	// spacing lies between two polls: what changes within it comes at once.
	spacing = 20 * time.Millisecond
	// idleSpacing is that where answers come at once and tell nothing, one after the other.
	idleSpacing = 500 * time.Millisecond
	// loadLimit is for what is known from before the start.
	loadLimit = 10 * time.Second
)

// Back-off: from least, doubling; a control plane that is away is asked again
// after at most mostAway, one that refuses after at most mostRefused. Half of
// it is left to chance, so that the replicas of many clusters do not come together.
const (
	leastBackoff = 250 * time.Millisecond
	mostAway     = 5 * time.Second
	mostRefused  = 30 * time.Second
)

// Caller calls the control plane; a podidclient.Client is one.
type Caller interface {
	// Stream gives the body of a successful answer to read, whose error it returns.
	Stream(ctx context.Context, method, path string, read func(io.Reader) error) error
}

// Store has what was known before a restart.
type Store interface {
	// Load tells each association to add, and then the cluster and the
	// revision that they are of; an empty clusterUID says that there are none.
	Load(ctx context.Context, add func(Association) error) (clusterUID string, revision int64, err error)
}

// Config is what a feed is made from. Fields are required unless they say otherwise.
type Config struct {
	Cluster string // name
	Caller  Caller
	Store   Store // optional
	Metrics *Metrics
	Log     *slog.Logger
	Now     func() time.Time // optional: time.Now
}

// position is where a feed stands.
type position struct {
	clusterUID string
	revision   int64
	// era counts the complete answers: what was asked for in another era may
	// be about another history of the control plane's store.
	era int
}

// Feed is safe for concurrent use.
type Feed struct {
	cfg    Config
	catch  catchUp
	synced chan struct{} // closed once something is known

	mu      sync.RWMutex
	index   *index
	at      position
	changed chan struct{} // closed by the next change
}

// New makes a feed that knows nothing until Run.
func New(cfg Config) *Feed {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Feed{cfg: cfg, index: newIndex(), synced: make(chan struct{}), changed: make(chan struct{})}
}

// NeedLeaderElection says that every replica follows.
func (f *Feed) NeedLeaderElection() bool { return false }

// Synced is closed once the associations are known, from the control plane or
// from before the start.
func (f *Feed) Synced() <-chan struct{} { return f.synced }

// Check is a readiness check: nil once the feed is synced.
func (f *Feed) Check(*http.Request) error {
	select {
	case <-f.synced:
		return nil
	default:
		return errors.New("the pod identity associations are not known yet")
	}
}

// Changed is closed by the next change of any association; take it before
// looking. Bookmarks, which only move the revision on, are no change.
func (f *Feed) Changed() <-chan struct{} {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.changed
}

// Get returns what is known of a service account, without asking.
func (f *Feed) Get(namespace, serviceAccount string) (Association, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	r, ok := f.index.get(namespace, serviceAccount)
	if !ok {
		return Association{}, false
	}
	return r.association(), true
}

// Position is the cluster that the control plane knows by the name, and the
// revision of its store up to which everything is known; "" and 0 before that.
func (f *Feed) Position() (clusterUID string, revision int64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.at.clusterUID, f.at.revision
}

// Snapshot is all that is known now.
func (f *Feed) Snapshot() *Snapshot {
	f.mu.RLock()
	s := f.index.snapshot()
	s.ClusterUID, s.Revision = f.at.clusterUID, f.at.revision
	f.mu.RUnlock()
	s.sort()
	return s
}

// Run follows the control plane until ctx ends, which is no error.
func (f *Feed) Run(ctx context.Context) error {
	defer f.catch.stop()
	f.load(ctx)
	backoff, failing, hasty := leastBackoff, false, false
	for ctx.Err() == nil {
		begin := f.cfg.Now()
		more, err := f.ask(ctx, poll, pollLimit)
		switch {
		case ctx.Err() != nil, errors.Is(err, errOvertaken):
		case err != nil:
			f.cfg.Metrics.failures.Inc()
			if !failing { // and not at every attempt
				f.cfg.Log.LogAttrs(ctx, slog.LevelError, "follow associations: what is known stays in force", slog.String("error", err.Error()))
			}
			failing = true
			pause(ctx, backoff/2+rand.N(backoff/2)) //nolint:gosec // spreads load
			backoff = min(2*backoff, mostBackoff(err))
		default:
			if failing {
				f.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "follow associations: the control plane answers again")
			}
			backoff, failing = leastBackoff, false
			f.catch.answered()
			again := hasty
			if hasty = !more && f.cfg.Now().Sub(begin) < idleSpacing; hasty && again {
				pause(ctx, idleSpacing)
			} else {
				pause(ctx, spacing)
			}
		}
	}
	return nil
}

// Start is Run, as controller-runtime's manager calls it.
func (f *Feed) Start(ctx context.Context) error { return f.Run(ctx) }

func mostBackoff(err error) time.Duration {
	if podidclient.Away(err) {
		return mostAway
	}
	return mostRefused
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// load begins with what was known before the start: pods get their
// associations though the control plane is away.
func (f *Feed) load(ctx context.Context) {
	if f.cfg.Store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	x := newIndex()
	uid, revision, err := f.cfg.Store.Load(ctx, func(a Association) error {
		_, err := x.put(a)
		return err
	})
	if err != nil {
		f.cfg.Log.LogAttrs(ctx, slog.LevelError, "load the associations known last: begin without them", slog.String("error", err.Error()))
		return
	}
	if uid == "" {
		return
	}
	f.mu.Lock()
	f.replace(x, position{clusterUID: uid, revision: revision, era: f.at.era + 1})
	f.mu.Unlock()
	f.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "begin with the associations known last", slog.Int("associations", x.count), slog.Int64("revision", revision))
}

// replace takes the place of all that was known; mu is held.
func (f *Feed) replace(x *index, at position) {
	f.index, f.at = x, at
	f.told()
	select {
	case <-f.synced:
	default:
		close(f.synced)
	}
}

// told says that something changed; mu is held.
func (f *Feed) told() {
	close(f.changed)
	f.changed = make(chan struct{})
	f.cfg.Metrics.associations.Set(float64(f.index.count))
	f.cfg.Metrics.revision.Set(float64(f.at.revision))
}

// errOvertaken says that an answer came from before the feed began anew.
var errOvertaken = errors.New("the feed's answer is about an earlier state")

// ask makes one request and takes its answer in. The limit is for all of it.
// More may follow at once where single changes were told.
func (f *Feed) ask(ctx context.Context, wait, limit time.Duration) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f.mu.RLock()
	from := f.at
	f.mu.RUnlock()
	query := url.Values{"wait": {strconv.Itoa(int(wait / time.Second))}}
	if from.clusterUID != "" {
		query.Set("clusterUid", from.clusterUID)
		query.Set("after", strconv.FormatInt(from.revision, 10))
	}
	var a *answer
	err = f.cfg.Caller.Stream(ctx, http.MethodGet, "/podid/v1/clusters/"+url.PathEscape(f.cfg.Cluster)+"/associations?"+query.Encode(), func(r io.Reader) (err error) {
		a, err = readAnswer(r)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("ask the control plane for associations: %w", err)
	}
	more, err = f.take(ctx, from, a)
	if err == nil {
		f.cfg.Metrics.success.Set(float64(f.cfg.Now().Unix()))
	}
	return more, err
}

// take brings what is known up to an answer to what was asked at from. A poll
// and a catch-up may overtake each other: an answer that does not reach beyond
// what is known is left out, for what is known holds it already.
func (f *Feed) take(ctx context.Context, from position, a *answer) (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	same := a.clusterUID == f.at.clusterUID
	switch {
	case from.era != f.at.era && (!a.complete || !same):
		return false, errOvertaken
	case !a.complete && !same:
		return false, fmt.Errorf("the feed's answer is about cluster %.64q, asked was about %.64q", a.clusterUID, f.at.clusterUID)
	case same && a.revision <= f.at.revision && (!a.complete || from.era != f.at.era || a.revision >= from.revision):
		return false, nil
	case a.complete:
		f.replace(a.named, position{a.clusterUID, a.revision, f.at.era + 1})
		f.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "all associations were told anew", slog.Int("associations", a.named.count),
			slog.Int64("revision", a.revision), slog.String("cluster_uid", a.clusterUID))
		return false, nil
	}
	for r := range a.named.records() {
		put, err := f.index.put(r.association())
		if err != nil {
			return false, err // not of a record that was put before
		}
		changed = changed || put
	}
	for _, n := range a.deleted {
		changed = f.index.remove(n.Namespace, n.ServiceAccount) || changed
	}
	f.at.revision = a.revision
	f.cfg.Metrics.revision.Set(float64(a.revision))
	if changed {
		f.told()
	}
	return changed, nil
}
