// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package podwatch tells the node agent which pods of its node have ended, so that nothing is renewed for them.
//
// It owns one list and watch of the node's pods: the API server filters by node and phase and sends metadata only, of
// which uid and resource version are read. It keeps no pods. It refuses to call a pod ended because a list did not show
// it: lists may be older than the pod, so that the watch has a minute to show it first. Where the right to list pods is
// missing it says so once and asks again every ten minutes. In the flow it stands beside credcache.
package podwatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"podid/internal/agent/kubeapi"
	"podid/internal/agent/pace"
)

const (
	// grace is how long the watch has to show a pod that a list did not.
	grace = time.Minute
	// A failed call is made again after retryMin, doubling up to retryMax, plus up to half of that as jitter; one that
	// was forbidden after forbiddenPause.
	retryMin       = time.Second
	retryMax       = time.Minute
	forbiddenPause = 10 * time.Minute
	// watchSeconds is how long a watch is asked for; up to as much again is added.
	watchSeconds = 300
	pageSize     = 500
)

// partial is the form in which pods are asked for: without spec and status.
const partial = "application/json;as=PartialObjectMetadata%s;g=meta.k8s.io;v=v1"

// API makes calls; kubeapi.Client is one.
type API interface {
	Do(ctx context.Context, in kubeapi.Request) (*http.Response, error)
}

// Cache is what is told; credcache.Cache is one.
type Cache interface {
	// PodUIDs are the pods that something is kept of.
	PodUIDs() []string
	// Gone drops what is kept of a pod.
	Gone(podUID string)
}

// Config of a Watcher. API, Node, Cache and Log are required.
type Config struct {
	API   API
	Node  string // this node's name
	Cache Cache
	Log   *slog.Logger
	// Following, when set, is told when a watch stands and when none does.
	Following func(bool)
	// Rand spreads tries; nil: they are not spread.
	Rand io.Reader
}

// Watcher works while Run runs.
type Watcher struct {
	cfg     Config
	version string          // where the next watch begins; empty: a list comes first
	missing map[string]bool // pods of the cache that the last list did not show, until that is acted upon
	listed  time.Time       // when that list was made
	told    bool            // that the right is missing
}

// New checks the configuration.
func New(cfg Config) (*Watcher, error) {
	if cfg.API == nil || cfg.Node == "" || cfg.Cache == nil || cfg.Log == nil {
		return nil, errors.New("watch of pods: API, node, cache and log are required")
	}
	return &Watcher{cfg: cfg}, nil
}

// Run follows the node's pods until ctx ends, whatever fails.
func (w *Watcher) Run(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		began := time.Now()
		err := w.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		switch {
		case err == nil && time.Since(began) >= retryMin:
			failures = 0
			continue
		case kubeapi.IsStatus(err, http.StatusGone):
			w.version = "" // what happened meanwhile is not known any more
		}
		if time.Since(began) > retryMax {
			failures = 0
		}
		failures++
		w.tell(ctx, err)
		if !pace.Sleep(ctx, w.pause(err, failures)) {
			break
		}
	}
	return nil
}

// follow lists if need be, then watches until the API server ends that.
func (w *Watcher) follow(ctx context.Context) error {
	if w.version == "" {
		if err := w.list(ctx); err != nil {
			return err
		}
	}
	return w.watch(ctx)
}

func (w *Watcher) query() url.Values {
	return url.Values{"fieldSelector": {"spec.nodeName=" + w.cfg.Node + ",status.phase!=Succeeded,status.phase!=Failed"}}
}

// object is the metadata of a pod, or a Status.
type object struct {
	Metadata struct {
		UID             string `json:"uid"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// list finds where to watch from, and which pods of the cache are not there.
func (w *Watcher) list(ctx context.Context) error {
	missing := map[string]bool{}
	for _, uid := range w.cfg.Cache.PodUIDs() {
		missing[uid] = true
	}
	q := w.query()
	q.Set("limit", strconv.Itoa(pageSize))
	q.Set("resourceVersion", "0") // from the API server's memory: a node must not cost etcd a scan
	for {
		page, err := w.page(ctx, q, func(o object) { delete(missing, o.Metadata.UID) })
		if err != nil {
			return fmt.Errorf("list pods of the node: %w", err)
		}
		if page.Continue == "" {
			w.version, w.missing, w.listed = page.ResourceVersion, missing, time.Now()
			return nil
		}
		q.Del("resourceVersion")
		q.Set("continue", page.Continue)
	}
}

type listMeta struct {
	ResourceVersion string `json:"resourceVersion"`
	Continue        string `json:"continue"`
}

func (w *Watcher) page(ctx context.Context, q url.Values, each func(object)) (meta listMeta, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	resp, err := w.cfg.API.Do(ctx, kubeapi.Request{Method: http.MethodGet, Path: "/api/v1/pods", Query: q, Accept: fmt.Sprintf(partial, "List")})
	if err != nil {
		return meta, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	meta, err = decodeList(resp.Body, each)
	if err == nil && meta.ResourceVersion == "" {
		err = errors.New("the list has no resource version")
	}
	return meta, err
}

// decodeList reads a list item by item: at no time is more than one of them in memory.
func decodeList(from io.Reader, each func(object)) (meta listMeta, err error) {
	dec := json.NewDecoder(from)
	if err := want(dec, json.Delim('{')); err != nil {
		return meta, err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return meta, fmt.Errorf("decode list: %w", err)
		}
		switch name {
		case "metadata":
			err = dec.Decode(&meta)
		case "items":
			err = decodeItems(dec, each)
		default:
			err = dec.Decode(&skipped{})
		}
		if err != nil {
			return meta, fmt.Errorf("decode list: %w", err)
		}
	}
	return meta, want(dec, json.Delim('}'))
}

// skipped is any value.
type skipped struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (skipped) UnmarshalJSON([]byte) error { return nil }

func decodeItems(dec *json.Decoder, each func(object)) error {
	token, err := dec.Token()
	if err != nil || token == nil { // null is a list without items
		return err
	}
	if token != json.Delim('[') {
		return errors.New("items are no list")
	}
	for dec.More() {
		var o object
		if err := dec.Decode(&o); err != nil {
			return err
		}
		each(o)
	}
	return want(dec, json.Delim(']'))
}

func want(dec *json.Decoder, delim json.Delim) error {
	token, err := dec.Token()
	if err != nil {
		return fmt.Errorf("decode list: %w", err)
	}
	if token != delim {
		return fmt.Errorf("decode list: %v instead of %s", token, delim)
	}
	return nil
}

// watch reads events until the API server ends the stream, which it does every few minutes.
func (w *Watcher) watch(ctx context.Context) (err error) {
	seconds := watchSeconds + int(pace.Chance(w.cfg.Rand)*watchSeconds)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+grace)
	defer cancel()
	q := w.query()
	q.Set("watch", "1")
	q.Set("allowWatchBookmarks", "true")
	q.Set("resourceVersion", w.version)
	q.Set("timeoutSeconds", strconv.Itoa(seconds))
	resp, err := w.cfg.API.Do(ctx, kubeapi.Request{Method: http.MethodGet, Path: "/api/v1/pods", Query: q, Accept: fmt.Sprintf(partial, "")})
	if err != nil {
		return fmt.Errorf("watch pods of the node: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	w.following(ctx, true)
	defer w.following(ctx, false)
	events, failed := make(chan event), make(chan error, 1)
	go func() { failed <- readEvents(ctx, resp.Body, events) }()
	return w.take(events, failed)
}

// take acts on events until their reader has ended, and on the end of the grace.
func (w *Watcher) take(events <-chan event, failed <-chan error) error {
	// A watch that has only begun may have to show what happened before it.
	timer := time.NewTimer(max(time.Until(w.listed.Add(grace)), grace/10))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			for uid := range w.missing {
				w.cfg.Cache.Gone(uid)
			}
			w.missing = nil
		case e := <-events:
			if e.Type == "ERROR" { // and the reader ends by itself
				return &kubeapi.StatusError{Status: e.Object.Code, Reason: e.Object.Reason, Message: e.Object.Message}
			}
			w.apply(e)
		case err := <-failed:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("watch pods of the node: %w", err)
		}
	}
}

type event struct {
	Type   string `json:"type"`
	Object object `json:"object"`
}

// readEvents passes events on until the stream ends, which is io.EOF, or ctx does.
func readEvents(ctx context.Context, from io.Reader, to chan<- event) error {
	dec := json.NewDecoder(from)
	for {
		var e event
		if err := dec.Decode(&e); err != nil {
			return err
		}
		select {
		case to <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
		if e.Type == "ERROR" {
			return io.EOF
		}
	}
}

func (w *Watcher) apply(e event) {
	if v := e.Object.Metadata.ResourceVersion; v != "" {
		w.version = v
	}
	switch uid := e.Object.Metadata.UID; e.Type {
	case "ADDED", "MODIFIED":
		delete(w.missing, uid)
	case "DELETED": // or its phase is an end
		w.cfg.Cache.Gone(uid)
	}
}

func (w *Watcher) following(ctx context.Context, on bool) {
	if w.cfg.Following != nil {
		w.cfg.Following(on)
	}
	if on && w.told {
		w.told = false
		w.cfg.Log.InfoContext(ctx, "pods of the node are watched")
	}
}

// tell logs what is wrong: that the right is missing only once.
func (w *Watcher) tell(ctx context.Context, err error) {
	switch {
	case err == nil, kubeapi.IsStatus(err, http.StatusGone):
	case !forbidden(err):
		w.cfg.Log.InfoContext(ctx, "follow pods of the node; trying again", slog.String("err", err.Error()))
	case !w.told:
		w.told = true
		w.cfg.Log.WarnContext(ctx, "pods of the node are not watched, for want of the right to list and watch pods: renewals end with the pods' tokens", slog.String("err", err.Error()))
	}
}

func forbidden(err error) bool { return kubeapi.IsStatus(err, http.StatusForbidden) }

func (w *Watcher) pause(err error, failures int) time.Duration {
	pause := min(retryMin<<min(failures-1, 10), retryMax)
	if forbidden(err) {
		pause = forbiddenPause
	}
	return pause + time.Duration(pace.Chance(w.cfg.Rand)*float64(pause)/2)
}
