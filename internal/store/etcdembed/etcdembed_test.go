// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcdembed_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"podid/internal/store/etcdembed"
)

func start(t *testing.T, dir string) *etcdembed.Member {
	t.Helper()
	m, err := etcdembed.Start(t.Context(), etcdembed.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
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

func TestStart(t *testing.T) {
	t0 := time.Now()
	m := start(t, filepath.Join(t.TempDir(), "etcd"))
	t.Logf("ready after %v", time.Since(t0))
	if _, err := m.Client().Put(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	t.Logf("put after %v", time.Since(t0))
	b, _ := os.ReadFile("/proc/self/status")
	for l := range strings.Lines(string(b)) {
		if strings.HasPrefix(l, "VmRSS") {
			t.Log(l)
		}
	}
}
