// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"podid/internal/controlplane"
)

// TestRun starts everything, asks an agent for credentials as a pod would,
// and starts again on the same state.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	for _, start := range []string{"empty directory", "state of an earlier run"} {
		t.Run(start, func(t *testing.T) {
			var out, log bytes.Buffer
			d := &process{issuers: issuers{}, cfg: Config{
				Dir: dir, Clusters: []string{"my-cluster", "other"}, AccountID: "111122223333", Region: "us-west-2", Listen: "127.0.0.1:0", Release: "test",
				Log: slog.New(slog.NewTextHandler(&log, nil)), Out: &out, Now: time.Now, Rand: rand.Reader,
			}}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- d.run(ctx) }()
			env := waitForFile(t, filepath.Join(dir, "env"), done)
			if info, err := os.Stat(filepath.Join(dir, "env")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("env: %v, %v", info.Mode(), err)
			}
			for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "PODID_CLUSTER", "PODID_AGENT_ENDPOINT"} {
				if !strings.Contains(env, "export "+name+"='") {
					t.Errorf("env exports no %s", name)
				}
			}
			wantAgents(t, env, d.cfg.Clusters)
			wantKubernetes(t, env, d.cfg.Clusters)
			for _, name := range d.cfg.Clusters {
				tok, err := d.issuers.Token(ctx, controlplane.TokenRequest{Cluster: name, Namespace: "ns", ServiceAccount: "sa"})
				if err != nil {
					t.Fatal(err)
				}
				if status, body := askAgent(t, client, &tok); status != http.StatusNotFound || !strings.Contains(body, "ResourceNotFoundException") {
					t.Errorf("agent of %s without an association: %d %s\n%s", name, status, body, log.String())
				}
			}
			second := &process{issuers: issuers{}, cfg: d.cfg}
			if err := second.run(ctx); err == nil || !strings.Contains(err.Error(), "another podid dev uses it") {
				t.Errorf("a second process on the same directory: %v", err)
			}
			if again, err := os.ReadFile(filepath.Join(dir, "env")); err != nil || string(again) != env {
				t.Errorf("env after a second process was refused: %v", err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("stop: %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, "env")); err == nil {
				t.Error("env is still there after the stop")
			}
		})
	}
}

// TestRunElsewhere: env names files from the root on, for shells in any
// directory.
func TestRunElsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{
			Dir: "state", Clusters: []string{"my-cluster"}, AccountID: "111122223333", Region: "us-west-2", Listen: "127.0.0.1:0", Release: "test",
			Log: slog.New(slog.DiscardHandler), Out: io.Discard, Now: time.Now, Rand: rand.Reader,
		})
	}()
	env := waitForFile(t, filepath.Join("state", "env"), done)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, name := range []string{"AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
		if !strings.Contains(env, "export "+name+"='/") {
			t.Errorf("%s is relative:\n%s", name, env)
		}
	}
}

// TestRunRefuses: what is wrong with the settings is said all at once, and
// nothing is made.
func TestRunRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	err := Run(t.Context(), Config{Dir: dir, Clusters: []string{"a b", "c", "c"}, AccountID: "99", Region: "us-west-2", Listen: "0.0.0.0:0", Log: slog.New(slog.DiscardHandler), Out: io.Discard, Now: time.Now, Rand: rand.Reader})
	if err == nil {
		t.Fatal("it ran")
	}
	for _, want := range []string{"account-id", `--listen "0.0.0.0:0"`, `--clusters: "a b"`, `--clusters: "c"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
}

func waitForFile(t *testing.T, path string, done <-chan error) string {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			t.Fatalf("ended before it was ready: %v", err)
		case <-t.Context().Done():
			t.Fatal("never ready")
		case <-tick.C:
			if text, err := os.ReadFile(path); err == nil {
				return string(text)
			}
		}
	}
}

func TestDirOfOthers(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[os.FileMode]string{0o777: "may be written by everybody", 0o775: "", 0o755: "", 0o700: ""} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		lock, err := lockDir(dir)
		if err == nil {
			_ = lock.Close()
		}
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) && want != "" {
			t.Errorf("mode %04o: %v, want %q", mode, err, want)
		}
		if info, err := os.Stat(dir); want == "" && (err != nil || info.Mode().Perm()&0o022 != 0) {
			t.Errorf("mode %04o: stays %v", mode, info.Mode())
		}
	}
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); err == nil {
		t.Error("a link in the lock's place was followed")
	}
}
