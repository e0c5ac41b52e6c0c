// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"podid/internal/cluster"
	"podid/internal/jwks"
	"podid/internal/jwt"
	"podid/internal/store"
)

// discovery fetches the keys of clusters that publish them, when a token
// comes that is signed by an unknown key. One jwks.Source per cluster keeps the
// pace; what it finds goes to the store, so that every replica has it and it
// survives a restart.
type discovery struct {
	store   store.Store
	fetcher jwks.Discoverer
	now     func() time.Time
	log     *slog.Logger

	mu      sync.Mutex
	sources map[string]*jwks.Source // by cluster unique id
	found   map[string]finding      // by cluster unique id
}

// finding is what the last good fetch brought, and the state of the record
// that it was fetched for.
type finding struct {
	keys     []byte
	instead  []byte
	modified time.Time
}

// isFor reports whether the record has not changed since: the same keys may
// have been registered again.
func (f finding) isFor(c *cluster.Cluster) bool {
	return bytes.Equal(f.instead, c.JWKS) && f.modified.Equal(c.Modified)
}

func newKeySets(s store.Store, f jwks.Discoverer, now func() time.Time, log *slog.Logger) *cluster.KeySets {
	d := &discovery{store: s, fetcher: f, now: now, log: log, sources: map[string]*jwks.Source{}, found: map[string]finding{}}
	return &cluster.KeySets{Refresh: d.refresh, Now: now}
}

func (d *discovery) source(c *cluster.Cluster) (*jwks.Source, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.sources[c.UID]; ok {
		return s, nil
	}
	s, err := jwks.NewSource(c.Issuer, d.fetcher, jwks.SourceOptions{Now: d.now, Check: func(b []byte) error {
		_, err := jwt.ParseKeySet(b)
		return err
	}})
	if err == nil {
		d.sources[c.UID] = s
	}
	return s, err
}

// errNotFetched: nothing newer than the registered keys was fetched.
var errNotFetched = errors.New("no newer keys were fetched")

// refresh implements cluster.KeySets.Refresh. Keys that were not fetched just
// now count only while the record is still the one that they were fetched for:
// a key set that somebody has registered since, perhaps to take a stolen key
// back, must not be undone by what this process remembers.
func (d *discovery) refresh(ctx context.Context, c *cluster.Cluster, kid string) ([]byte, error) {
	s, err := d.source(c)
	if err != nil {
		return nil, err
	}
	keys, err := s.Refresh(ctx)
	switch {
	case errors.Is(err, jwks.ErrTooSoon):
		return d.remembered(c)
	case err != nil:
		return nil, err
	}
	d.mu.Lock()
	d.found[c.UID] = finding{keys: keys, instead: c.JWKS, modified: c.Modified}
	d.mu.Unlock()
	if bytes.Equal(keys, c.JWKS) {
		return keys, nil
	}
	if err := d.keep(ctx, c, keys); err != nil {
		// The keys are good all the same; the next unknown key tries again.
		d.log.WarnContext(ctx, "keep the keys of a cluster", "cluster", c.Name, "err", err)
	}
	d.log.InfoContext(ctx, "keys of a cluster changed", "cluster", c.Name, "kid", kid)
	return keys, nil
}

// remembered serves those whose view has not the fetched keys yet, and all
// while the store could not take them.
func (d *discovery) remembered(c *cluster.Cluster) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f, ok := d.found[c.UID]; ok && f.isFor(c) {
		return f.keys, nil
	}
	return nil, errNotFetched
}

func (d *discovery) keep(ctx context.Context, c *cluster.Cluster, keys []byte) error {
	return d.store.Update(ctx, func(tx *store.Tx) error {
		cur, ok := cluster.Clusters.Get(tx, c.Scope(), c.Name)
		if !ok || cur.UID != c.UID {
			return nil // deleted meanwhile: nothing to keep
		}
		if !bytes.Equal(cur.JWKS, c.JWKS) {
			return nil // registered or fetched anew meanwhile: that stands
		}
		next := *cur
		next.JWKS, next.Modified = keys, d.now()
		cluster.Clusters.Put(tx, c.Scope(), c.Name, &next)
		return nil
	})
}
