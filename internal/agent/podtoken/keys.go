// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podtoken

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"podid/internal/jwt"
)

// maxKeySetBytes bounds a key set, wherever it comes from.
const maxKeySetBytes = 1 << 20

// fetchTimeout bounds one fetch; it outlives the token that caused it.
const fetchTimeout = 10 * time.Second

// KeySet is what a source gives: a JWK set (RFC 7517), and the issuer if the source knows it.
type KeySet struct {
	JWKS   []byte
	Issuer string
}

// Source gives the cluster's key set. Keys is called by one goroutine at a time.
type Source interface {
	Keys(ctx context.Context) (KeySet, error)
	// String names the source, for the log.
	String() string
}

// fetch is one look at the source; keys is nil when it failed. It is settled when done is closed.
type fetch struct {
	done chan struct{}
	keys *keys
}

// Run fetches keys, then looks for others every Interval, until ctx ends; it waits for fetches under way. While there
// are none it tries again every MinInterval.
func (v *Verifier) Run(ctx context.Context) error {
	defer v.fetches.Wait()
	v.restore()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		f := v.begin(ctx)
		if f != nil {
			select {
			case <-f.done:
			case <-ctx.Done():
				return nil
			}
		}
		pause := v.cfg.Interval
		if f == nil || f.keys == nil {
			pause = v.cfg.MinInterval
		}
		timer.Reset(v.spread(pause))
	}
}

// spread lets the agents of many nodes, which start together, look at different times.
func (v *Verifier) spread(d time.Duration) time.Duration {
	var b [1]byte
	if v.cfg.Rand == nil {
		return d
	}
	if _, err := io.ReadFull(v.cfg.Rand, b[:]); err != nil {
		return d
	}
	return d + d*time.Duration(b[0])/1024
}

// refresh fetches keys, or joins the fetch under way, and waits for it. It returns the keys in use then; nil when they may
// lack what the source has. Within MinInterval of the last fetch nothing is fetched.
func (v *Verifier) refresh(ctx context.Context) *keys {
	f := v.begin(ctx)
	if f == nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.failing {
			return nil
		}
		return v.keys.Load()
	}
	timer := time.NewTimer(v.cfg.Patience)
	defer timer.Stop()
	select {
	case <-f.done:
		return f.keys
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// begin joins or starts a fetch; nil when the last one is too recent.
func (v *Verifier) begin(ctx context.Context) *fetch {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fetch != nil {
		return v.fetch
	}
	now := v.cfg.Now()
	if !v.tried.IsZero() && now.Sub(v.tried) < v.cfg.MinInterval {
		return nil
	}
	f := &fetch{done: make(chan struct{})}
	v.fetch, v.tried = f, now
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	v.fetches.Go(func() {
		defer cancel()
		v.run(ctx, f)
	})
	return f
}

func (v *Verifier) run(ctx context.Context, f *fetch) {
	k, err := v.load(ctx)
	if err != nil {
		v.cfg.Log.WarnContext(ctx, "fetch the cluster's keys; tokens are held against those of before", slog.String("source", v.cfg.Source.String()), slog.String("err", err.Error()))
	} else {
		k = v.use(ctx, k)
		f.keys = k
	}
	v.mu.Lock()
	v.fetch, v.failing = nil, err != nil
	v.mu.Unlock()
	close(f.done)
}

func (v *Verifier) load(ctx context.Context) (*keys, error) {
	got, err := v.cfg.Source.Keys(ctx)
	if err != nil {
		return nil, err
	}
	return parse(got)
}

func parse(got KeySet) (*keys, error) {
	set, err := jwt.ParseKeySet(got.JWKS)
	if err != nil {
		return nil, err
	}
	return &keys{set: set, issuer: got.Issuer, document: got.JWKS}, nil
}

// use puts keys in the place of those before, and keeps them on disk. Equal ones change nothing.
func (v *Verifier) use(ctx context.Context, k *keys) *keys {
	before := v.keys.Load()
	if before != nil && before.issuer == k.issuer && bytes.Equal(before.document, k.document) {
		return before
	}
	v.keys.Store(k)
	v.cfg.Log.InfoContext(ctx, "the cluster's keys are in use", slog.String("source", v.cfg.Source.String()), slog.Int("keys", k.set.Len()))
	if before != nil && v.cfg.Changed != nil {
		v.cfg.Changed()
	}
	if err := v.keep(k); err != nil {
		v.cfg.Log.WarnContext(ctx, "keep the cluster's keys for the next start", slog.String("err", err.Error()))
	}
	return k
}

// cacheJSON is the key set on disk: a JWK set with the issuer as a member more.
type cacheJSON struct {
	Issuer string            `json:"issuer,omitempty"`
	Keys   []json.RawMessage `json:"keys"`
}

// keep writes the key set, which was found to hold public keys only, in one step.
func (v *Verifier) keep(k *keys) error {
	if v.cfg.CacheFile == "" {
		return nil
	}
	out := cacheJSON{}
	if err := json.Unmarshal(k.document, &out); err != nil {
		return fmt.Errorf("encode keys: %w", err)
	}
	out.Issuer = k.issuer
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode keys: %w", err)
	}
	return writeFile(v.cfg.CacheFile, text)
}

func writeFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write keys: %w", errors.Join(err, os.Remove(f.Name())))
		}
	}()
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// restore takes the keys that were kept before the last stop, until the source gives its own.
func (v *Verifier) restore() {
	if v.cfg.CacheFile == "" || v.keys.Load() != nil {
		return
	}
	text, err := readFile(v.cfg.CacheFile)
	if errors.Is(err, fs.ErrNotExist) {
		return // the first start
	}
	var in cacheJSON
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	var k *keys
	if err == nil {
		k, err = parse(KeySet{JWKS: text, Issuer: in.Issuer})
	}
	if err != nil {
		v.cfg.Log.Warn("read the keys that were kept; waiting for the source's", slog.String("err", err.Error()))
		return
	}
	v.keys.CompareAndSwap(nil, k)
}

// readFile reads a file of bounded size.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeySetBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeySetBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxKeySetBytes)
	}
	return text, nil
}
