// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operator runs podid's operator against a real API server: what it may
// with the rights that it is given, and what it does there.
package operator

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"podid/internal/operator"
	"podid/internal/operator/podidclient"
	"podid/test/cluster/apiserver"
)

var server *apiserver.Server

func TestMain(m *testing.M) { os.Exit(apiserver.Main(m, &server, apiserver.Options{})) }

// TestStarts lets the operator come up with its own service account and go down again.
func TestStarts(t *testing.T) {
	ns := server.Namespace(t, nil)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(server.Token(t, ns, "default", podidclient.Audience, nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := podidclient.New(podidclient.Config{
		Endpoint: "https://127.0.0.1:1", Region: "us-east-1", RoleARN: "arn:aws:iam::111122223333:role/podid-operator-test", TokenFile: token, SessionName: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	health := freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- operator.Run(ctx, operator.Config{
			Cluster: "test", Namespace: ns, MetricsAddress: "0", HealthAddress: health,
			ControlPlane: client, Kubernetes: server.AsServiceAccount(t, ns, "default"), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
	}()
	apiserver.Eventually(t, 20*time.Second, "the operator to be alive", func(ctx context.Context) error { return get(ctx, "http://"+health+"/livez") })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("the operator ended: %v", err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 2 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return fmt.Errorf("%s: %s (%w)", resp.Status, text, err)
	}
	return nil
}
