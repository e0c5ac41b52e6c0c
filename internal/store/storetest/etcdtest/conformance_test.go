// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcdtest_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"podid/internal/store"
	"podid/internal/store/etcd"
	"podid/internal/store/storetest"
	"podid/internal/store/storetest/etcdtest"
)

// openDB opens a store over the client and runs it until the test ends.
func openDB(t *testing.T, client *clientv3.Client) *etcd.DB {
	t.Helper()
	db, err := etcd.Open(t.Context(), client, storetest.Schema(), etcd.Options{Log: slog.New(slog.DiscardHandler), Release: "test", Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = db.Run(ctx) // ends with ctx
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return db
}

// TestConformanceExternal: a cluster of etcd outside keeps the contract as the
// member inside does, to one replica and to three.
func TestConformanceExternal(t *testing.T) {
	e := etcdtest.Start(t, etcdtest.Options{Members: 3})
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store { return openDB(t, e.Client(t, e.Space())) })
	})
	t.Run("two replicas", func(t *testing.T) {
		storetest.RunReplicas(t, func(t *testing.T) (a, b store.Store) {
			space := e.Space()
			return openDB(t, e.Client(t, space)), openDB(t, e.Client(t, space))
		})
	})
	t.Run("three replicas", func(t *testing.T) {
		space := e.Space()
		var replicas []store.Store
		for range 3 {
			replicas = append(replicas, openDB(t, e.Client(t, space)))
		}
		for i := range 30 {
			id := fmt.Sprintf("r-%d", i)
			err := replicas[i%3].Update(t.Context(), func(tx *store.Tx) error {
				storetest.Records.Put(tx, storetest.Here, id, &storetest.Record{Name: id})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for n, r := range replicas {
				v, err := r.Fence(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := storetest.Records.Get(v, storetest.Here, id); !ok {
					t.Fatalf("replica %d does not see what replica %d has acknowledged", n, i%3)
				}
			}
		}
	})
	t.Run("a client without a certificate is refused", func(t *testing.T) {
		c := e.Stranger(t)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := c.Get(ctx, "a"); err == nil {
			t.Error("etcd answers a client that has shown no certificate")
		}
	})
}

// TestCheckLimits: an etcd that takes smaller changes than podid makes is found
// at the start and not at the first of them.
func TestCheckLimits(t *testing.T) {
	for _, tc := range []struct {
		ops  uint
		want string
	}{{128, "start its members with --max-txn-ops=1024"}, {1024, ""}} {
		e := etcdtest.Start(t, etcdtest.Options{MaxTxnOps: tc.ops})
		err := etcd.CheckLimits(t.Context(), e.Client(t, ""))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%d operations: %v, want %q", tc.ops, err, tc.want)
		}
	}
}
