// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podwatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"podid/internal/agent/kubeapi"
)

// cluster is an API server whose answers a test gives, one for each call.
type cluster struct {
	mu      sync.Mutex
	calls   []string // what was asked: list or watch, and from which version
	answers []func(ctx context.Context) (io.ReadCloser, error)
}

func (c *cluster) Do(ctx context.Context, in kubeapi.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := "list"
	if in.Query.Get("watch") == "1" {
		what = "watch"
	}
	c.calls = append(c.calls, strings.TrimSpace(what+" "+in.Query.Get("resourceVersion")+" "+in.Query.Get("continue")))
	if want := "spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed"; in.Query.Get("fieldSelector") != want || in.Path != "/api/v1/pods" {
		return nil, fmt.Errorf("asked %s %v", in.Path, in.Query)
	}
	if len(c.answers) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	answer := c.answers[0]
	c.answers = c.answers[1:]
	body, err := answer(ctx)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: body}, nil
}

func (c *cluster) asked() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

type cache struct {
	mu   sync.Mutex
	uids []string
	gone []string
}

func (c *cache) PodUIDs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uids
}

func (c *cache) holds(uids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uids = uids
}

func (c *cache) Gone(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = append(c.gone, uid)
}

func (c *cache) ended() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.gone)
	return strings.Join(c.gone, " ")
}

type answer = func(ctx context.Context) (io.ReadCloser, error)

// shows is a list of pods.
func shows(version, next string, uids ...string) answer {
	var items []string
	for _, uid := range uids {
		items = append(items, `{"metadata":{"name":"x","uid":"`+uid+`","resourceVersion":"1","managedFields":[{"a":{}}]}}`)
	}
	return text(`{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"` + version + `","continue":"` + next + `"},"items":[` + strings.Join(items, ",") + `],"other":{"a":[1]}}`)
}

func text(s string) answer {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

func status(code int) answer {
	return func(context.Context) (io.ReadCloser, error) {
		return nil, &kubeapi.StatusError{Status: code, Reason: "R"}
	}
}

// stream is a watch that a test writes.
func stream() (*io.PipeWriter, answer) {
	r, w := io.Pipe()
	return w, func(ctx context.Context) (io.ReadCloser, error) {
		context.AfterFunc(ctx, func() { _ = r.CloseWithError(ctx.Err()) })
		return r, nil
	}
}

func line(t *testing.T, w io.Writer, kind, uid, version string) {
	t.Helper()
	if _, err := fmt.Fprintf(w, `{"type":%q,"object":{"kind":"PartialObjectMetadata","metadata":{"uid":%q,"resourceVersion":%q}}}`+"\n", kind, uid, version); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

type bed struct {
	*cluster
	cache *cache
	log   strings.Builder
	on    bool
	stop  func()
}

func start(t *testing.T, uids []string, answers ...answer) *bed {
	t.Helper()
	b := &bed{cluster: &cluster{answers: answers}, cache: &cache{uids: uids}}
	w, err := New(Config{
		API: b.cluster, Node: "n1", Cache: b.cache, Log: slog.New(slog.NewTextHandler(&b.log, nil)), Following: func(on bool) { b.on = on },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return b
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, watch := stream()
		second, again := stream()
		b := start(t, []string{"a", "b", "late", "old"}, shows("5", "more", "a"), shows("7", "", "b"), watch, again)
		defer b.stop()
		line(t, first, "ADDED", "late", "8")
		line(t, first, "DELETED", "a", "9")
		if b.cache.ended() != "a" || !b.on {
			t.Errorf("gone %q, following %v", b.cache.ended(), b.on)
		}
		time.Sleep(grace + time.Second)
		synctest.Wait()
		if b.cache.ended() != "a old" {
			t.Errorf("gone %q: what neither list nor watch shows has ended", b.cache.ended())
		}
		line(t, first, "BOOKMARK", "", "20")
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		line(t, second, "DELETED", "b", "21")
		if d := cmp.Diff([]string{"list 0", "list  more", "watch 7", "watch 20"}, b.asked()); d != "" || b.cache.ended() != "a b old" {
			t.Errorf("%s\ngone %q", d, b.cache.ended())
		}
	})
}

// TestRelist: after a version that is too old everything is listed anew, whichever way that is said.
func TestRelist(t *testing.T) {
	for name, gone := range map[string]answer{"status": status(http.StatusGone), "event": text(`{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}`)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, watch := stream()
				b := start(t, nil, shows("5", "", "a"), gone, shows("9", ""), watch)
				defer b.stop()
				b.cache.holds("a")
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if d := cmp.Diff([]string{"list 0", "watch 5", "list 0", "watch 9"}, b.asked()); d != "" {
					t.Error(d)
				}
				if b.cache.ended() != "" {
					t.Error("a pod has ended because a list did not show it")
				}
				time.Sleep(grace)
				synctest.Wait()
				if b.cache.ended() != "a" {
					t.Error("a pod that is gone was not noticed")
				}
				_ = w
			})
		})
	}
}

func TestForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, watch := stream()
		b := start(t, nil, status(403), status(403), shows("5", ""), watch)
		defer b.stop()
		time.Sleep(2*forbiddenPause + time.Second)
		synctest.Wait()
		if d := cmp.Diff([]string{"list 0", "list 0", "list 0", "watch 5"}, b.asked()); d != "" || !b.on {
			t.Error(d, b.on)
		}
		if n := strings.Count(b.log.String(), "not watched"); n != 1 || !strings.Contains(b.log.String(), "are watched") {
			t.Errorf("log: %s", b.log.String())
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []answer{shows("5", "")}
		for range 12 {
			answers = append(answers, text(""))
		}
		answers = append(answers, text("garbage"), status(500), func(context.Context) (io.ReadCloser, error) { return nil, errors.New("lost") })
		b := start(t, nil, answers...)
		defer b.stop()
		began := time.Now()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		// 1+2+4+8+16+32 s, then a minute each.
		if n := len(b.asked()); n != 15+1 {
			t.Errorf("%d calls in %s: %v", n, time.Since(began), b.asked())
		}
	})
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("no error")
	}
}

func FuzzDecodeList(f *testing.F) {
	f.Add(`{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"uid":"a"}}]}`)
	f.Add(`{"items":null,"metadata":{"continue":"x"},"x":[1,{"y":null}]}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, in string) {
		n := 0
		if _, err := decodeList(strings.NewReader(in), func(object) { n++ }); err == nil && !strings.HasPrefix(strings.TrimSpace(in), "{") {
			t.Errorf("accepted %q", in)
		}
		if n > len(in) {
			t.Errorf("%d items in %d bytes", n, len(in))
		}
	})
}
