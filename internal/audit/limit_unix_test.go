// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package audit

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// TestShortWrite makes the kernel take half a line, as a disk does that fills
// up, by a limit on the size of files.
func TestShortWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	c := newClock()
	l := openTest(t, FileConfig{Path: path}, c)
	record(t, l, "A")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}

	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = uint64(before.Size()) + 40
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	lost := l.Record(t.Context(), event("Lost"))
	after, statErr := os.Stat(path)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}

	if lost == nil {
		t.Error("half a line was taken for a whole one")
	}
	if statErr != nil || after.Size() != before.Size() {
		t.Errorf("half a line was left: %v bytes before, %v after (%v)", before.Size(), after.Size(), statErr)
	}
	record(t, l, "B")
	wantNames(t, path, "A", GapName, "B")
}
