// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"podid/internal/operator/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plane is a control plane's feed, by the rules of docs/feed.md.
type plane struct {
	mu       sync.Mutex
	uid      string
	revision int64
	since    int64 // after it all changes are known
	records  map[string]change
	moved    chan struct{}

	delay time.Duration               // of an answer, once it is made
	fail  func(wait string) error     // of a request
	asked []string                    // the requests, but for the cluster's name
	hold  func(answer map[string]any) // sees an answer before it is sent
}

type change struct {
	id       string // "" for one deleted
	revision int64
}

func newPlane() *plane {
	return &plane{uid: "uid-1", revision: 100, records: map[string]change{}, moved: make(chan struct{})}
}

// set makes an association, or deletes it with an empty id.
func (p *plane) set(key, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision++
	p.records[key] = change{id, p.revision}
	p.move()
}

func (p *plane) move() {
	close(p.moved)
	p.moved = make(chan struct{})
}

// with changes the plane in another way.
func (p *plane) with(f func(*plane)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
	p.move()
}

func (p *plane) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

// Stream implements feed.Caller.
func (p *plane) Stream(ctx context.Context, method, path string, read func(io.Reader) error) error {
	u, err := url.Parse(path)
	if err != nil || method != http.MethodGet || u.Path != "/podid/v1/clusters/c/associations" {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	q := u.Query()
	p.mu.Lock()
	p.asked = append(p.asked, u.RawQuery)
	fail := p.fail
	p.mu.Unlock()
	if fail != nil {
		if err := fail(q.Get("wait")); err != nil {
			return err
		}
	}
	answer, err := p.answer(ctx, q)
	if err != nil {
		return err
	}
	p.mu.Lock()
	delay, hold := p.delay, p.hold
	p.mu.Unlock()
	if hold != nil {
		hold(answer)
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	text, err := json.Marshal(answer)
	return errors.Join(err, read(bytes.NewReader(text)))
}

func (p *plane) answer(ctx context.Context, q url.Values) (map[string]any, error) {
	after, _ := strconv.ParseInt(q.Get("after"), 10, 64)
	wait, _ := strconv.Atoi(q.Get("wait"))
	end := time.After(time.Duration(wait) * time.Second)
	for {
		p.mu.Lock()
		complete := q.Get("clusterUid") != p.uid || after < p.since || after > p.revision
		made, deleted := []any{}, []any{}
		for key, c := range p.records {
			namespace, account, _ := strings.Cut(key, "/")
			switch n := map[string]any{"namespace": namespace, "serviceAccount": account}; {
			case !complete && c.revision <= after, complete && c.id == "":
			case c.id == "":
				deleted = append(deleted, n)
			default:
				n["associationId"], n["revision"] = c.id, c.revision
				made = append(made, n)
			}
		}
		out := map[string]any{"clusterUid": p.uid, "revision": p.revision, "complete": complete, "associations": made, "deleted": deleted}
		moved := p.moved
		p.mu.Unlock()
		if complete || len(made)+len(deleted) > 0 || wait == 0 {
			return out, nil
		}
		select {
		case <-moved:
		case <-end:
			wait = 0
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type harness struct {
	*feed.Feed
	plane    *plane
	registry *prometheus.Registry
	log      *output
}

// output is written by the feed and read by the test.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// follow runs a feed of a plane while f looks at it, in a bubble of its own time.
func follow(t *testing.T, store feed.Store, f func(t *testing.T, h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &harness{plane: newPlane(), registry: prometheus.NewRegistry(), log: new(output)}
		h.plane.set("shop/cart", "a-1")
		m, err := feed.NewMetrics(h.registry)
		if err != nil {
			t.Fatal(err)
		}
		h.Feed = feed.New(feed.Config{Cluster: "c", Caller: h.plane, Store: store, Metrics: m, Log: slog.New(slog.NewTextHandler(h.log, nil))})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		synctest.Wait()
		f(t, h)
		stop()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// metric sums what is counted under a name and, if it is not empty, a value of its label.
func (h *harness) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "podid_operator_feed_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func (h *harness) knows(t *testing.T, key, id string) {
	t.Helper()
	namespace, account, _ := strings.Cut(key, "/")
	if a, ok := h.Get(namespace, account); ok != (id != "") || a.ID != id {
		t.Errorf("%s: %v, want %q", key, a, id)
	}
}

func TestFollow(t *testing.T) {
	follow(t, nil, func(t *testing.T, h *harness) {
		if err := h.Check(nil); err != nil {
			t.Errorf("not ready after the first answer: %v", err)
		}
		h.knows(t, "shop/cart", "a-1")
		changed := h.Changed()
		h.plane.set("shop/till", "a-2")
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		select {
		case <-changed:
		default:
			t.Error("a change is not told")
		}
		h.knows(t, "shop/till", "a-2")
		time.Sleep(time.Second)
		h.plane.set("shop/cart", "")
		h.plane.set("shop/till", "a-3")
		time.Sleep(time.Second)
		h.knows(t, "shop/cart", "")
		h.knows(t, "shop/till", "a-3")
		if uid, revision := h.Position(); uid != "uid-1" || revision != 104 {
			t.Errorf("at %s %d", uid, revision)
		}
		// A minute without changes: a bookmark every 20 s, and what other records make of the revision.
		changed, before := h.Changed(), len(h.plane.requests())
		h.plane.with(func(p *plane) { p.revision += 1000 })
		time.Sleep(time.Minute)
		if n := len(h.plane.requests()) - before; n < 2 || n > 4 {
			t.Errorf("%d requests in a minute", n)
		}
		select {
		case <-changed:
			t.Error("a bookmark is told as a change")
		default:
		}
		if _, revision := h.Position(); revision != 1104 {
			t.Errorf("at %d after a bookmark", revision)
		}
		if got := h.metric(t, "associations", ""); got != 1 {
			t.Errorf("%v associations", got)
		}
	})
}

func TestBeginAnew(t *testing.T) {
	tests := []struct {
		name string
		what func(p *plane)
	}{
		{"cluster made anew", func(p *plane) { p.uid = "uid-2" }},
		{"store restored to an earlier state", func(p *plane) { p.revision = 50 }},
		{"too far behind", func(p *plane) { p.revision += 10; p.since = p.revision }},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			follow(t, nil, func(t *testing.T, h *harness) {
				h.plane.with(func(p *plane) {
					tc.what(p)
					p.records = map[string]change{"other/one": {"a-9", p.revision}}
				})
				time.Sleep(25 * time.Second) // a poll that waits has to end first
				h.knows(t, "shop/cart", "")
				h.knows(t, "other/one", "a-9")
				h.plane.set("other/two", "a-10")
				time.Sleep(time.Second)
				h.knows(t, "other/two", "a-10")
			})
		})
	}
}

// TestOutage: what was known stays in force, the control plane is not pressed, and all is well once it is back.
func TestOutage(t *testing.T) {
	follow(t, nil, func(t *testing.T, h *harness) {
		before := len(h.plane.requests())
		h.plane.with(func(p *plane) {
			p.fail = func(string) error {
				return &smithy.GenericAPIError{Code: "ServiceUnavailable", Fault: smithy.FaultServer}
			}
			p.records["shop/late"] = change{"a-4", p.revision + 1}
			p.revision++
		})
		time.Sleep(10 * time.Minute)
		h.knows(t, "shop/cart", "a-1")
		if n := len(h.plane.requests()) - before; n < 100 || n > 400 {
			t.Errorf("%d requests in ten minutes", n)
		}
		if n := strings.Count(h.log.String(), "stays in force"); n != 1 {
			t.Errorf("an outage is told %d times:\n%s", n, h.log)
		}
		if err := h.Check(nil); err != nil {
			t.Errorf("an outage ends readiness: %v", err)
		}
		h.plane.with(func(p *plane) { p.fail = nil })
		time.Sleep(6 * time.Second)
		h.knows(t, "shop/late", "a-4")
		if n := strings.Count(h.log.String(), "answers again"); n != 1 {
			t.Errorf("its end is told %d times", n)
		}
	})
}

type stored struct {
	uid      string
	revision int64
	is       []feed.Association
	err      error
}

func (s stored) Load(_ context.Context, add func(feed.Association) error) (string, int64, error) {
	for _, a := range s.is {
		if err := add(a); err != nil {
			return "", 0, err
		}
	}
	return s.uid, s.revision, s.err
}

func TestStored(t *testing.T) {
	known := []feed.Association{{Namespace: "shop", ServiceAccount: "cart", ID: "a-1", Revision: 101}}
	away := func(string) error { return io.ErrUnexpectedEOF }
	t.Run("control plane away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPlane()
			p.fail = away
			f := begin(t, p, stored{"uid-1", 101, known, nil})
			synctest.Wait()
			if err := f.Check(nil); err != nil {
				t.Errorf("not ready: %v", err)
			}
			if has, err := f.Has(t.Context(), "shop", "cart"); !has || err != nil {
				t.Errorf("has: %t, %v", has, err)
			}
			if has, err := f.Has(t.Context(), "shop", "other"); has || !errors.Is(err, feed.ErrStale) {
				t.Errorf("has: %t, %v", has, err)
			}
		})
	})
	t.Run("goes on from there", func(t *testing.T) {
		follow(t, stored{"uid-1", 100, nil, nil}, func(t *testing.T, h *harness) {
			if got := h.plane.requests()[0]; got != "after=100&clusterUid=uid-1&wait=20" {
				t.Errorf("asked %s", got)
			}
			h.knows(t, "shop/cart", "a-1")
		})
	})
	for name, s := range map[string]stored{
		"nothing":      {},
		"broken":       {"uid-1", 101, known, errors.New("checksum")},
		"broken entry": {"uid-1", 101, []feed.Association{{}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlane()
				p.fail = away
				f := begin(t, p, s)
				synctest.Wait()
				if f.Check(nil) == nil {
					t.Error("ready without knowing anything")
				}
				if _, ok := f.Get("shop", "cart"); ok {
					t.Error("half of what is broken is used")
				}
			})
		})
	}
}

// begin runs a feed to the end of the test.
func begin(t *testing.T, p *plane, store feed.Store) *feed.Feed {
	t.Helper()
	m, err := feed.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	f := feed.New(feed.Config{Cluster: "c", Caller: p, Store: store, Metrics: m, Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}
