// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func rotated(t *testing.T, path string) []string {
	t.Helper()
	files, err := filepath.Glob(strings.TrimSuffix(path, ".log") + "-*.log")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

func TestRotateBySize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	c := newClock()
	l := openTest(t, FileConfig{Path: path, MaxSize: 1, Keep: 2}, c)
	foreign := filepath.Join(filepath.Dir(path), "audit-notes.log")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"A", "B", "C", "D"} { // the clock stands still: names must not collide
		record(t, l, n)
	}
	wantNames(t, path, "D")
	files := slices.DeleteFunc(rotated(t, path), func(f string) bool { return f == foreign })
	if len(files) != 2 {
		t.Fatalf("rotated files %q, want 2", files)
	}
	wantNames(t, files[0], "B")
	wantNames(t, files[1], "C")
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file of another name was removed: %v", err)
	}
}

func TestRotateByAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	c := newClock()
	cfg := FileConfig{Path: path, MaxAge: time.Hour}
	l := openTest(t, cfg, c)
	record(t, l, "A")
	c.add(30 * time.Minute)
	record(t, l, "B")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.add(29 * time.Minute)
	l = openTest(t, cfg, c) // the age goes on across a restart
	record(t, l, "C")
	c.add(time.Minute)
	record(t, l, "D")
	wantNames(t, path, "D")
	files := rotated(t, path)
	if len(files) != 1 {
		t.Fatalf("rotated files %q, want 1", files)
	}
	wantNames(t, files[0], "A", "B", "C")
}

func TestOthersMoveTheFile(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(path string) error
		want []string
	}{
		{"deleted", os.Remove, []string{"B", "C"}},
		{"directory deleted", func(p string) error { return os.RemoveAll(filepath.Dir(p)) }, []string{"B", "C"}},
		{"renamed", func(p string) error { return os.Rename(p, p+".1") }, []string{"C"}}, // B follows the rename
		{"cut to nothing", func(p string) error { return os.Truncate(p, 0) }, []string{"B", "C"}},
		{"replaced", func(p string) error {
			if err := os.Rename(p, p+".1"); err != nil {
				return err
			}
			return os.WriteFile(p, nil, 0o600)
		}, []string{"C"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit", "audit.log")
			c := newClock()
			l := openTest(t, FileConfig{Path: path, MaxSize: 1 << 20}, c)
			record(t, l, "A")
			if err := tc.do(path); err != nil {
				t.Fatal(err)
			}
			record(t, l, "B")
			c.add(identityEvery)
			record(t, l, "C")
			wantNames(t, path, tc.want...)
			if _, err := os.Stat(path + ".1"); err == nil {
				wantNames(t, path+".1", "A", "B")
			}
		})
	}
}

func TestHalfLineOfACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"eventName":"Ha`), 0o600); err != nil {
		t.Fatal(err)
	}
	l := openTest(t, FileConfig{Path: path}, newClock())
	record(t, l, "A")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	half, rest, _ := strings.Cut(string(text), "\n")
	if got := namesIn(t, rest); half != `{"eventName":"Ha` || !slices.Equal(got, []string{"A"}) {
		t.Errorf("file is %q", text)
	}
}

func TestDiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	c := newClock()
	l := openTest(t, FileConfig{Path: path, MaxSize: 1 << 20, MaxAge: time.Hour}, c)
	if err := l.Record(t.Context(), event("Lost")); err == nil {
		t.Fatal("recorded on a full device")
	}
	c.add(time.Minute)
	if err := l.Ready(); err == nil {
		t.Fatal("ready on a full device")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.add(time.Minute)
	if err := l.Ready(); err != nil {
		t.Fatalf("Ready after the device is gone: %v", err)
	}
	record(t, l, "A")
	wantNames(t, path, GapName, "A")
}

func TestPathCannotBeOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	c := newClock()
	l := openTest(t, FileConfig{Path: path}, c)
	record(t, l, "A")
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), event("Lost")); err == nil {
		t.Fatal("recorded in a directory")
	}
	if err := l.Ready(); err == nil {
		t.Fatal("ready without a file")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	record(t, l, "B") // an event tries at once, whatever the probe's pace
	if err := l.Ready(); err != nil {
		t.Errorf("Ready after recovery: %v", err)
	}
	wantNames(t, path, GapName, "B")
}

// TestRotationFails: a file that cannot be renamed is too long rather than lost.
func TestRotationFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	c := newClock()
	l := openTest(t, FileConfig{Path: path, MaxSize: 1, Keep: 1}, c)
	// Names of the future: every free name is taken, so the rotation cannot go on.
	r, ok := l.out.(*rotating)
	if !ok {
		t.Fatalf("sink is a %T", l.out)
	}
	for i := range 1000 {
		name := r.stem() + c.now().Add(time.Duration(i)).Format(stamp) + ".log"
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	record(t, l, "A")
	record(t, l, "B")
	c.add(time.Second)
	record(t, l, "C")
	wantNames(t, path, "A", "B", "C")
	c.add(rotateRetry)
	record(t, l, "D")
	wantNames(t, path, "D")
	if got := rotated(t, path); len(got) != 1 {
		t.Errorf("%d rotated files, want 1", len(got))
	}
}
