// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcdembed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"podid/internal/store/etcdembed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func start(t testing.TB, dir string) *etcdembed.Member {
	t.Helper()
	m, err := etcdembed.Start(context.Background(), etcdembed.Config{Dir: dir, Log: quiet()})
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return m
}

func put(t testing.TB, m *etcdembed.Member, key, value string) {
	t.Helper()
	if _, err := m.Client().Put(t.Context(), key, value); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func get(t testing.TB, m *etcdembed.Member, key string) string {
	t.Helper()
	r, err := m.Client().Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if len(r.Kvs) == 0 {
		return ""
	}
	return string(r.Kvs[0].Value)
}

// listening returns the listening sockets of this process.
func listening(t *testing.T) []string {
	t.Helper()
	mine := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		// A descriptor may be gone by now, that of the directory itself is.
		if link, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			if inode, ok := strings.CutPrefix(link, "socket:["); ok {
				mine[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	var out []string
	for file, at := range map[string]struct {
		state, inode int
		listen       *regexp.Regexp
	}{
		"tcp":  {3, 9, regexp.MustCompile("^0A$")},
		"tcp6": {3, 9, regexp.MustCompile("^0A$")},
		"unix": {3, 6, regexp.MustCompile("^00010000$")}, // flags: accepts connections
	} {
		b, err := os.ReadFile("/proc/self/net/" + file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > at.inode && at.listen.MatchString(f[at.state]) && mine[f[at.inode]] {
				out = append(out, file+" "+strings.TrimSpace(line))
			}
		}
	}
	return out
}

func TestNothingListens(t *testing.T) {
	m := start(t, t.TempDir())
	put(t, m, "a", "b")
	if got := listening(t); len(got) != 0 {
		t.Errorf("listening sockets: %q", got)
	}
}

func TestDataSurvivesRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	m := start(t, dir)
	put(t, m, "a", "1")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Err(); err != nil {
		t.Errorf("Err after Close: %v", err)
	}
	select {
	case <-m.Done():
	default:
		t.Error("Done is open after Close")
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: %v, %v", info.Mode(), err)
	}
	m = start(t, dir)
	if got := get(t, m, "a"); got != "1" {
		t.Errorf("after a restart a is %q", got)
	}
}

func TestStartRefuses(t *testing.T) {
	used := t.TempDir()
	start(t, used)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := t.TempDir()
	m := start(t, damaged)
	put(t, m, "a", "1")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "member/snap/db"), bytes.Repeat([]byte("x"), 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ dir, want string }{
		"in use":             {used, fmt.Sprintf("is locked by process %d", os.Getpid())},
		"no directory given": {"", "no data directory"},
		"a file":             {file, "not a directory"},
		"below a file":       {filepath.Join(file, "x"), "not a directory"},
		"a damaged database": {damaged, "open etcd data in " + damaged},
		"read-only":          {"/proc/podid", "make data directory"},
		"a full device":      {"/dev/full", "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := etcdembed.Start(t.Context(), etcdembed.Config{Dir: tc.dir, Log: quiet()})
			if err == nil {
				t.Fatal("started", m.Close())
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want %q in it", err, tc.want)
			}
		})
	}
	_, err := etcdembed.Start(t.Context(), etcdembed.Config{Dir: used, Log: quiet()})
	if !errors.Is(err, etcdembed.ErrLocked) {
		t.Errorf("error %v is not ErrLocked", err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestLogGoesToSlog(t *testing.T) {
	for _, tc := range []struct {
		level slog.Level
		want  bool
	}{{slog.LevelInfo, false}, {slog.LevelDebug, true}} {
		var out lockedBuffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: tc.level}))
		m, err := etcdembed.Start(t.Context(), etcdembed.Config{Dir: t.TempDir(), Log: log})
		if err != nil {
			t.Fatal(err)
		}
		put(t, m, "a", "b")
		said := out.String()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		// On a slow machine etcd has warnings; its talk is what must not show.
		if strings.Contains(said, "level=INFO") || strings.Contains(said, "level=DEBUG") != tc.want {
			t.Errorf("a good start says at level %v:\n%s", tc.level, said)
		}
	}
}

func TestSnapshot(t *testing.T) {
	tmp := t.TempDir()
	m := start(t, filepath.Join(tmp, "old"))
	for i := range 200 {
		put(t, m, fmt.Sprintf("k%03d", i), strings.Repeat("v", i))
	}
	if _, err := m.Client().Delete(t.Context(), "k007"); err != nil {
		t.Fatal(err)
	}
	var snap bytes.Buffer
	if err := etcdembed.Save(t.Context(), m.Client(), &snap); err != nil {
		t.Fatal(err)
	}
	put(t, m, "later", "x")
	file := filepath.Join(tmp, "snap")
	if err := os.WriteFile(file, snap.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(tmp, "new")
	if err := etcdembed.Restore(file, dir, quiet()); err != nil {
		t.Fatal(err)
	}
	n := start(t, dir)
	for i := range 200 {
		want := strings.Repeat("v", i)
		if i == 7 {
			want = ""
		}
		if got := get(t, n, fmt.Sprintf("k%03d", i)); got != want {
			t.Errorf("k%03d is %q, want %q", i, got, want)
		}
	}
	if got := get(t, n, "later"); got != "" {
		t.Errorf("what came after the snapshot is in it: %q", got)
	}
	put(t, n, "works", "yes")
	left, err := filepath.Glob(filepath.Join(tmp, ".restore-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	tmp := t.TempDir()
	m := start(t, filepath.Join(tmp, "old"))
	put(t, m, "a", "1")
	var snap bytes.Buffer
	if err := etcdembed.Save(t.Context(), m.Client(), &snap); err != nil {
		t.Fatal(err)
	}
	good := snap.Bytes()
	altered := bytes.Clone(good)
	altered[len(altered)/2] ^= 1
	for name, tc := range map[string]struct {
		data []byte
		dir  string
		want string
	}{
		"not empty": {good, "old", "is not empty"},
		"altered":   {altered, "a", "hash does not fit"},
		"cut short": {good[:len(good)-512], "b", "hash does not fit"},
		"cut odd":   {good[:len(good)-100], "c", "not whole sectors"},
		"empty":     {nil, "d", "0 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "snap")
			if err := os.WriteFile(file, tc.data, 0o600); err != nil {
				t.Fatal(err)
			}
			err := etcdembed.Restore(file, filepath.Join(tmp, tc.dir), quiet())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
			if _, err := os.Stat(filepath.Join(tmp, tc.dir)); tc.dir != "old" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the directory was made: %v", err)
			}
		})
	}
	if got := get(t, m, "a"); got != "1" {
		t.Errorf("the running member's data changed: a is %q", got)
	}
	if err := etcdembed.Restore(filepath.Join(tmp, "absent"), filepath.Join(tmp, "e"), quiet()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

// BenchmarkStart measures an empty directory to the first durable write.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		t0 := time.Now()
		m, err := etcdembed.Start(b.Context(), etcdembed.Config{Dir: dir, Log: quiet()})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(t0).Milliseconds()), "ms/ready")
		put(b, m, "a", "1")
		if status, err := os.ReadFile("/proc/self/status"); err == nil {
			if f := regexp.MustCompile(`VmRSS:\s+(\d+)`).FindSubmatch(status); f != nil {
				b.Logf("VmRSS %s kB", f[1])
			}
		}
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
