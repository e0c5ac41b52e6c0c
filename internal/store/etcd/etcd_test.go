// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"podid/internal/store"
	"podid/internal/store/etcd"
	"podid/internal/store/etcdembed"
	"podid/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		os.Exit(crashChild(dir))
	}
	goleak.VerifyTestMain(m)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func startMember(t testing.TB, dir string) *etcdembed.Member {
	t.Helper()
	m, err := etcdembed.Start(context.Background(), etcdembed.Config{Dir: dir, Log: quiet()})
	if err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close etcd: %v", err)
		}
	})
	return m
}

func options() etcd.Options {
	return etcd.Options{Log: quiet(), Release: "test", Rand: rand.Reader}
}

// openDB opens a store over the client and runs it until the test ends.
func openDB(t testing.TB, client *clientv3.Client, opts etcd.Options) *etcd.DB {
	t.Helper()
	db, err := etcd.Open(context.Background(), client, storetest.Schema(), opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	run(t, db)
	return db
}

func run(t testing.TB, db *etcd.DB) <-chan error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- db.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return ended
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return openDB(t, startMember(t, t.TempDir()).Client(), options())
	})
}

// TestConformanceAlone: who is alone keeps the contract without asking.
func TestConformanceAlone(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		opts := options()
		opts.Alone = true
		return openDB(t, startMember(t, t.TempDir()).Client(), opts)
	})
}

func TestReplicas(t *testing.T) {
	storetest.RunReplicas(t, func(t *testing.T) (a, b store.Store) {
		m := startMember(t, t.TempDir())
		return openDB(t, m.Client(), options()), openDB(t, newClient(t, m), options())
	})
}

func newClient(t *testing.T, m *etcdembed.Member) *clientv3.Client {
	t.Helper()
	client, err := m.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, client)
	return client
}

func closeLater(t *testing.T, client *clientv3.Client) {
	t.Cleanup(func() {
		if err := client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("close etcd client: %v", err)
		}
	})
}
