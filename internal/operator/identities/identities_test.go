// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package identities_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"podid/internal/operator/feed"
	"podid/internal/operator/identities"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plane tells names, and again when they change.
type plane struct {
	mu       sync.Mutex
	revision int
	names    []string
	changed  chan struct{}
}

func (p *plane) set(names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision++
	p.names = names
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *plane) Stream(ctx context.Context, _, path string, read func(io.Reader) error) error {
	for {
		p.mu.Lock()
		var list []string
		for i, n := range p.names {
			list = append(list, fmt.Sprintf(`{"namespace":"ns","serviceAccount":%q,"associationId":"a-%d","revision":%d}`, n, i, p.revision))
		}
		text := fmt.Sprintf(`{"clusterUid":"u","revision":%d,"complete":true,"associations":[%s]}`, p.revision, strings.Join(list, ","))
		told, changed := strings.Contains(path, fmt.Sprint("after=", p.revision, "&")), p.changed
		p.mu.Unlock()
		if !told {
			return read(strings.NewReader(text))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run runs feed and writer to the end of the test.
func run(t *testing.T, p *plane, path string) {
	t.Helper()
	m, err := feed.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	f := feed.New(feed.Config{Cluster: "c", Caller: p, Metrics: m, Log: log})
	w := &identities.Writer{Feed: f, Path: path, Log: log}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- f.Run(ctx) }()
	go func() { done <- w.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
}

// reads waits until the file has a text.
func reads(t *testing.T, path, want string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var got []byte
	for range 2000 {
		var err error
		if got, err = os.ReadFile(path); err == nil && string(got) == want {
			return
		}
		<-tick.C
	}
	t.Fatalf("the file holds %q, want %q", got, want)
}

func text(names ...string) string {
	var lines []string
	for _, n := range names {
		lines = append(lines, fmt.Sprintf("\n"+`{"namespace":"ns","serviceAccount":%q}`, n))
	}
	return `{"identities":[` + strings.Join(lines, ",") + "\n]}\n"
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identities.json")
	p := &plane{names: []string{"b", "a", "c"}, revision: 1, changed: make(chan struct{})}
	run(t, p, path)
	reads(t, path, text("a", "b", "c"))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	var form struct {
		Identities []struct{ Namespace, ServiceAccount string }
	}
	if err := json.Unmarshal([]byte(text("a", "b", "c")), &form); err != nil || len(form.Identities) != 3 {
		t.Errorf("%v, %v", form, err)
	}
	p.set("b", "d")
	reads(t, path, text("b", "d"))
	p.set()
	reads(t, path, text())
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestUnchanged: a file that says so already is not touched.
func TestUnchanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identities.json")
	if err := os.WriteFile(path, []byte(text("a")), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{names: []string{"a"}, revision: 1, changed: make(chan struct{})}
	other := filepath.Join(t.TempDir(), "other.json")
	run(t, p, path)
	run(t, p, other)
	reads(t, other, text("a"))
	p.set("a") // the same in another revision
	p.set("a", "b")
	reads(t, other, text("a", "b"))
	reads(t, path, text("a", "b"))
	after, err := os.Stat(path)
	if err != nil || os.SameFile(before, after) {
		t.Errorf("not put there by renaming: %v", err)
	}
}

// TestInPlace: where no file can be made beside it, the file itself is written.
func TestInPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("x", 250)) // a name beside it would be too long
	if err := os.WriteFile(path, []byte("a text that is longer than the new one, so that its end would be left"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, &plane{revision: 1, changed: make(chan struct{})}, path)
	reads(t, path, text())
}

func TestRefused(t *testing.T) {
	m, err := feed.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	for name, path := range map[string]string{"no folder": filepath.Join(dir, "none", "f"), "a folder": dir} {
		w := &identities.Writer{Feed: feed.New(feed.Config{Cluster: "c", Metrics: m, Log: log}), Path: path, Log: log}
		if err := w.Write(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
