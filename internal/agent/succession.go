// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"log/slog"
	"net"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"podid/internal/agent/assocfeed"
	"podid/internal/agent/credcache"
	"podid/internal/agent/handover"
)

const (
	// saveInterval is how often the cache is kept for a restart, if it has changed.
	saveInterval = 10 * time.Second
	// freeInterval is how often an address is tried that the process before still has.
	freeInterval = 100 * time.Millisecond
)

// inherit takes over from the process that serves on this node, or what this container kept before its restart. What
// cannot be taken over is no failure: the agent then begins with an empty cache.
func (a *Agent) inherit(ctx context.Context) (sockets map[string]*net.TCPListener, tie *handover.Tie) {
	if a.cfg.HandoverDir == "" {
		return nil, nil
	}
	var records []credcache.Record
	collect := func(text []byte) error {
		var r credcache.Record
		err := json.Unmarshal(text, &r)
		records = append(records, r)
		return err
	}
	parcel, tie, err := handover.Ask(ctx, a.cfg.HandoverDir, collect)
	switch {
	case err == nil:
		sockets = parcel.Sockets
		if len(parcel.Key) > 0 {
			a.handler.witness.key = parcel.Key
		}
		a.adopt(ctx, "the process before", *parcel, records)
		return sockets, tie
	case !errors.Is(err, handover.ErrNobody):
		a.cfg.Log.WarnContext(ctx, "the process before hands nothing over: waiting for its addresses", slog.String("err", err.Error()))
		return nil, nil
	case a.saved == nil:
		return nil, nil
	}
	records = nil
	kept, err := a.saved.Load(collect)
	if err == nil {
		a.adopt(ctx, "before the restart", kept, records)
	} else if !errors.Is(err, fs.ErrNotExist) {
		a.cfg.Log.WarnContext(ctx, "the state of before cannot be used: beginning with an empty cache", slog.String("err", err.Error()))
	}
	return nil, nil
}

// adopt fills the cache. Credentials of another cluster are nobody's here.
func (a *Agent) adopt(ctx context.Context, from string, p handover.Parcel, records []credcache.Record) {
	pods := 0
	if p.Cluster == a.clusterName() {
		for _, r := range records {
			if a.cache.Adopt(r) {
				pods++
			}
		}
		if a.feed != nil {
			a.feed.Resume(assocfeed.Position{ClusterUID: p.FeedUID, Revision: p.FeedRevision})
		}
	}
	a.cfg.Log.InfoContext(ctx, "took over", slog.String("from", from), slog.Int("pods", pods), slog.Int("sockets", len(p.Sockets)))
}

func (a *Agent) clusterName() string { return a.cfg.Region + "/" + a.cfg.Cluster }

// give is what a successor gets.
func (a *Agent) give() (handover.Parcel, iter.Seq[any]) {
	p := handover.Parcel{Cluster: a.clusterName(), Key: a.handler.witness.key, Sockets: map[string]*net.TCPListener{}}
	if a.feed != nil {
		at := a.feed.Position()
		p.FeedUID, p.FeedRevision = at.ClusterUID, at.Revision
	}
	a.mu.Lock()
	for _, d := range a.doors {
		if d.socket != nil {
			p.Sockets[d.name()] = d.socket
		}
	}
	a.mu.Unlock()
	return p, func(yield func(any) bool) {
		for _, r := range a.cache.Records() {
			if !yield(r) {
				return
			}
		}
	}
}

// work serves until ctx ends. A process that takes over makes this one stand by: it accepts nothing, keeps its sockets
// open so that nobody is refused should the other one fail, and then serves again.
func (a *Agent) work(ctx context.Context) error {
	for {
		successor, err := a.phase(ctx)
		if err != nil || successor == nil {
			return err
		}
		a.cfg.Log.InfoContext(ctx, "another process has taken over; standing by until told to end")
		if !successor.Lost(ctx) {
			return nil
		}
		a.cfg.Log.WarnContext(ctx, "the process that took over has ended and this one has not been told to: serving again")
		a.cache.Rest(false)
		a.succeeded.Store(false)
		a.handler.leaving.Store(false)
	}
}

// phase serves until ctx ends, or another process has taken over and the requests that were under way are done.
func (a *Agent) phase(ctx context.Context) (*handover.Successor, error) {
	serving, retire := context.WithCancel(ctx)
	defer retire()
	var successor *handover.Successor
	group, failed := errgroup.WithContext(serving)
	if a.cfg.HandoverDir != "" {
		group.Go(func() error {
			if successor = a.offer(failed); successor != nil {
				a.succeeded.Store(true)
				a.cache.Rest(true)
				retire()
			}
			return nil
		})
	}
	if a.saved != nil {
		group.Go(func() error { a.keepSaved(failed); return nil })
	}
	group.Go(func() error { return a.serve(failed) })
	return successor, group.Wait()
}

// offer waits for a successor. An agent that cannot hand over serves all the same.
func (a *Agent) offer(ctx context.Context) *handover.Successor {
	o, err := handover.Listen(a.cfg.HandoverDir, a.cfg.Log)
	if err == nil {
		var s *handover.Successor
		s, err = o.Serve(ctx, a.give)
		err = errors.Join(err, ignoreClosed(o.Close()))
		if s != nil {
			return s
		}
	}
	if err != nil && ctx.Err() == nil {
		a.cfg.Log.ErrorContext(ctx, "no hand-over is possible; an upgrade will refuse requests for a moment", slog.String("err", err.Error()))
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// keepSaved keeps the cache for a restart of the container, until ctx ends.
func (a *Agent) keepSaved(ctx context.Context) {
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	var saved uint64
	trouble := ""
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if a.succeeded.Load() {
			if err := a.saved.Remove(); err != nil {
				a.cfg.Log.WarnContext(ctx, "remove what was kept for a restart", slog.String("err", err.Error()))
			}
			return
		}
		generation := a.cache.Generation()
		if generation == saved {
			continue
		}
		p, records := a.give()
		if err := a.saved.Save(p, records); err == nil {
			saved, trouble = generation, ""
		} else if err.Error() != trouble {
			trouble = err.Error()
			a.cfg.Log.ErrorContext(ctx, "keep the cache for a restart; trying again", slog.String("err", trouble))
		}
	}
}

// arrive tells the container's startup probe that this process serves, or will as soon as the one before lets it: that one
// is told to end only then.
func (a *Agent) arrive(ctx context.Context) {
	if a.cfg.StateDir == "" || a.arrival != nil {
		return
	}
	var err error
	if a.arrival, err = handover.Arrive(a.cfg.StateDir); err != nil {
		a.cfg.Log.ErrorContext(ctx, "tell the startup probe that this process serves", slog.String("err", err.Error()))
	}
}

func (a *Agent) depart() {
	if a.arrival != nil {
		_ = a.arrival.Close() // nothing was written to it
	}
}

// bindPatiently waits for an address that the process before still has, where there may be one.
func (a *Agent) bindPatiently(ctx context.Context, d *door) error {
	err := a.bind(ctx, d)
	if a.cfg.HandoverDir == "" || !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	a.cfg.Log.WarnContext(ctx, "waiting for the process before to end", slog.String("err", err.Error()))
	a.arrive(ctx)
	tick := time.NewTicker(freeInterval)
	defer tick.Stop()
	for errors.Is(err, syscall.EADDRINUSE) {
		select {
		case <-tick.C:
			err = a.bind(ctx, d)
		case <-ctx.Done():
			return err
		}
	}
	return err
}
