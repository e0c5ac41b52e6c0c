// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

func event(name string) *Event {
	return &Event{
		EventVersion: "1.11", EventTime: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), EventSource: "eks.amazonaws.com",
		EventName: name, RequestParameters: map[string]string{"name": "a <b> & c\nd"}, EventType: "AwsApiCall",
	}
}

func options(c *clock) Options {
	return Options{Now: c.now, Register: prometheus.NewRegistry(), Region: "us-west-2", Account: "111122223333"}
}

func openTest(t *testing.T, cfg FileConfig, c *clock) *Log {
	t.Helper()
	l, err := OpenFile(cfg, options(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func record(t *testing.T, l *Log, name string) {
	t.Helper()
	if err := l.Record(t.Context(), event(name)); err != nil {
		t.Fatalf("Record(%s): %v", name, err)
	}
}

// names returns the event names of a file's lines; every line must be whole.
func names(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return namesIn(t, string(text))
}

func namesIn(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(text) {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("line %q is not whole: %v", line, err)
		}
		out = append(out, e.EventName)
	}
	return out
}

func wantNames(t *testing.T, path string, want ...string) {
	t.Helper()
	if got := names(t, path); !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", filepath.Base(path), got, want)
	}
}

func TestFileIsForTheOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit", "audit.log")
	l := openTest(t, FileConfig{Path: path}, newClock())
	record(t, l, "A")
	record(t, l, "B")
	wantNames(t, path, "A", "B")
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", p, info.Mode(), want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, cfg := range map[string]FileConfig{
		"empty path":     {},
		"a directory":    {Path: dir},
		"negative size":  {Path: filepath.Join(dir, "a"), MaxSize: -1},
		"file as parent": {Path: "/dev/null/audit.log"},
	} {
		t.Run(name, func(t *testing.T) {
			if l, err := OpenFile(cfg, options(newClock())); err == nil {
				t.Errorf("opened %v", l)
			}
		})
	}
	if _, err := NewStream(&bytes.Buffer{}, Options{}); err == nil {
		t.Error("a log without a clock was made")
	}
}

func TestCloseRefusesEvents(t *testing.T) {
	l := openTest(t, FileConfig{Path: filepath.Join(t.TempDir(), "a.log")}, newClock())
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), event("A")); !errors.Is(err, errClosed) {
		t.Errorf("Record after Close: %v", err)
	}
	if err := l.Ready(); !errors.Is(err, errClosed) {
		t.Errorf("Ready after Close: %v", err)
	}
}

func TestUnencodableEventLeavesTheLogReady(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	l := openTest(t, FileConfig{Path: path}, newClock())
	bad := event("Bad")
	bad.ResponseElements = func() {}
	if err := l.Record(t.Context(), bad); err == nil {
		t.Error("an event that cannot be encoded was recorded")
	}
	if err := l.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	record(t, l, "A")
	wantNames(t, path, "A")
}

func TestConcurrentWritersLeaveWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	l := openTest(t, FileConfig{Path: path, MaxSize: 20_000}, newClock())
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 100 {
				if err := l.Record(t.Context(), event(fmt.Sprintf("%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range files {
		for _, n := range names(t, f) {
			seen[n] = true
		}
	}
	if len(seen) != 800 || len(files) < 5 {
		t.Errorf("%d different lines in %d files, want 800 in several", len(seen), len(files))
	}
}

// slow is a writer whose writes wait until they are let go.
type slow struct {
	flaky
	letGo  chan struct{}
	writes int
}

func (s *slow) Write(p []byte) (int, error) {
	<-s.letGo // begun
	<-s.letGo // let go
	s.writes++
	return s.flaky.Write(p)
}

// Events that come while a write is under way share the next one, and its fate.
func TestWaitingEventsShareAWrite(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int
		lost  int
	}{{"written", 1 << 20, 0}, {"lost", 900, 7}} {
		t.Run(c.name, func(t *testing.T) {
			w := &slow{flaky: flaky{limit: c.limit}, letGo: make(chan struct{})}
			l, err := NewStream(w, Options{Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			var lost atomic.Int32
			send := func(name string) {
				wg.Go(func() {
					if l.Record(t.Context(), event(name)) != nil {
						lost.Add(1)
					}
				})
			}
			send("first")
			w.letGo <- struct{}{} // it is in its write
			for i := range 7 {
				send(strconv.Itoa(i))
			}
			for waiting(l) < 7 {
				runtime.Gosched()
			}
			close(w.letGo)
			wg.Wait()
			if w.writes != 2 || int(lost.Load()) != c.lost || int(l.dropped) != c.lost {
				t.Errorf("%d writes, %d events lost, the gap tells of %d; want 2 writes and %d lost", w.writes, lost.Load(), l.dropped, c.lost)
			}
			if got := strings.Count(w.String(), "\n"); c.lost == 0 && got != 8 {
				t.Errorf("%d lines, want 8", got)
			}
		})
	}
}

// waiting is how many events wait for the write before theirs.
func waiting(l *Log) int {
	l.joining.Lock()
	defer l.joining.Unlock()
	if l.next == nil {
		return 0
	}
	return int(l.next.events)
}

// flaky is a writer that takes limit bytes and then fails.
type flaky struct {
	bytes.Buffer
	limit int
}

var errFull = errors.New("no space left")

func (f *flaky) Write(p []byte) (int, error) {
	if len(p) > f.limit {
		n, _ := f.Buffer.Write(p[:f.limit])
		f.limit = 0
		return n, errFull
	}
	f.limit -= len(p)
	return f.Buffer.Write(p)
}

func TestStreamRecovers(t *testing.T) {
	c, w := newClock(), &flaky{limit: 1 << 20}
	reg := prometheus.NewRegistry()
	opts := options(c)
	opts.Register = reg
	l, err := NewStream(w, opts)
	if err != nil {
		t.Fatal(err)
	}
	record(t, l, "A")
	w.limit = 25 // half a line goes out
	for range 3 {
		if err := l.Record(t.Context(), event("Lost")); !errors.Is(err, errFull) {
			t.Fatalf("Record: %v", err)
		}
	}
	if err := l.Ready(); !errors.Is(err, errFull) {
		t.Errorf("Ready while full: %v", err)
	}
	w.limit = 1 << 20
	if err := l.Ready(); err == nil {
		t.Error("Ready tried again within the second")
	}
	c.add(probeEvery)
	if err := l.Ready(); err != nil {
		t.Errorf("Ready after recovery: %v", err)
	}
	record(t, l, "B")
	lines := strings.SplitAfter(w.String(), "\n")
	if got := namesIn(t, lines[0]+strings.Join(lines[2:], "")); !slices.Equal(got, []string{"A", GapName, "B"}) {
		t.Errorf("lines %q", got)
	}
	if !strings.Contains(lines[2], `"eventsLost":3`) || !strings.Contains(lines[2], "no space left") {
		t.Errorf("the gap's line is %s", lines[2])
	}
	if n := counter(t, reg, "podid_audit_events_dropped_total"); n != 3 {
		t.Errorf("%v events counted as dropped, want 3", n)
	}
	if n := counter(t, reg, "podid_audit_write_errors_total"); n != 3 {
		t.Errorf("%v write errors counted, want 3", n)
	}
}

// counter returns the sum of a counter over its labels.
func counter(t *testing.T, reg prometheus.Gatherer, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func BenchmarkRecord(b *testing.B) {
	l, err := OpenFile(FileConfig{Path: filepath.Join(b.TempDir(), "a.log"), MaxSize: 64 << 20, Keep: 1}, Options{Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	e := event("AssumeRoleForPodIdentity")
	e.UserIdentity = UserIdentity{Type: "AssumedRole", ARN: "arn:aws:sts::111122223333:assumed-role/node/agent", AccountID: "111122223333"}
	e.Podid = &Extra{AssociationID: "a-aaaaaaaaaaaaaaaaa", Namespace: "s3-app-ns", ServiceAccount: "s3-app-sa", Pod: "s3-app", Node: "node-1"}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Record(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}
