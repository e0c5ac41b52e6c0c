// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"bytes"
	"context"
	"crypto/rand"
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
			for _, name := range d.cfg.Clusters {
				tok, err := d.issuers.Token(ctx, controlplane.TokenRequest{Cluster: name, Namespace: "ns", ServiceAccount: "sa"})
				if err != nil {
					t.Fatal(err)
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, tok.AgentEndpoint+"/v1/credentials", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", tok.Token)
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				var body bytes.Buffer
				if _, err := body.ReadFrom(resp.Body); err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close() // read to its end
				if resp.StatusCode != http.StatusNotFound || !strings.Contains(body.String(), "ResourceNotFoundException") {
					t.Errorf("agent of %s without an association: %d %s\n%s", name, resp.StatusCode, body.String(), log.String())
				}
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
