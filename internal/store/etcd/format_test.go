// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"podid/internal/store"
	"podid/internal/store/etcd"
	"podid/internal/store/storetest"
)

const formatKey = "system/global/format/data"

func TestOpenRefuses(t *testing.T) {
	signed := `{"format":1,"release":"v9.9.9"}`
	for name, tc := range map[string]struct {
		data map[string]string
		want string
	}{
		"another format":  {map[string]string{formatKey: `{"format":7,"release":"v9.9.9"}`}, "data is format 7, written by release v9.9.9; this is release test"},
		"no format":       {map[string]string{"a": "b"}, `has records ("a") and no format record`},
		"format damaged":  {map[string]string{formatKey: "x"}, "read the format record"},
		"unknown table":   {map[string]string{formatKey: signed, "a/b/mystery/c": "\x01"}, `"mystery", which this release does not know (data last written by release v9.9.9; this is release test)`},
		"unknown version": {map[string]string{formatKey: signed, storetest.Records.Key(storetest.Here, "a"): "\x09"}, "value has format version 9; this release reads version 1 (data last written by release v9.9.9"},
		"damaged value":   {map[string]string{formatKey: signed, storetest.Records.Key(storetest.Here, "a"): "\x01\xff"}, "decode " + storetest.Records.Key(storetest.Here, "a")},
	} {
		t.Run(name, func(t *testing.T) {
			m := startMember(t, t.TempDir())
			for k, v := range tc.data {
				if _, err := m.Client().Put(t.Context(), k, v); err != nil {
					t.Fatal(err)
				}
			}
			_, err := etcd.Open(t.Context(), m.Client(), storetest.Schema(), options())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
			resp, err := m.Client().Get(t.Context(), formatKey)
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range resp.Kvs {
				if string(kv.Value) != tc.data[formatKey] {
					t.Errorf("a refused store was signed: %s", kv.Value)
				}
			}
		})
	}
	t.Run("reserved table", func(t *testing.T) {
		schema := store.NewSchema(store.NewTable[storetest.Record]("gone", nil))
		_, err := etcd.Open(t.Context(), nil, schema, options())
		if err == nil || !strings.Contains(err.Error(), "reserved") {
			t.Errorf("error %v", err)
		}
	})
}

func TestFormatRecordNamesTheRelease(t *testing.T) {
	m := startMember(t, t.TempDir())
	for _, release := range []string{"v1", "v2"} {
		opts := options()
		opts.Release = release
		db := openDB(t, m.Client(), opts)
		mustWrite(t, db, release, "red")
		resp, err := m.Client().Get(t.Context(), formatKey)
		if err != nil || len(resp.Kvs) != 1 {
			t.Fatalf("%v, %v", resp, err)
		}
		if got, want := string(resp.Kvs[0].Value), fmt.Sprintf(`{"format":1,"release":%q}`, release); got != want {
			t.Errorf("format record %s, want %s", got, want)
		}
	}
}

func TestWatchRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ key, value, want string }{
		"unknown version": {storetest.Records.Key(storetest.Here, "a"), "\x09", "value has format version 9"},
		"unknown table":   {"a/b/mystery/c", "\x01", `table "mystery"`},
		"another format":  {formatKey, `{"format":7,"release":"v9"}`, "data is format 7, written by release v9"},
	} {
		t.Run(name, func(t *testing.T) {
			m := startMember(t, t.TempDir())
			db, err := etcd.Open(t.Context(), m.Client(), storetest.Schema(), options())
			if err != nil {
				t.Fatal(err)
			}
			ended := run(t, db)
			mustWrite(t, db, "good", "red")
			if _, err := m.Client().Put(t.Context(), tc.key, tc.value); err != nil {
				t.Fatal(err)
			}
			err = <-ended
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "release") {
				t.Errorf("Run ended with %v, want %q and the releases in it", err, tc.want)
			}
			if err := write(db, "late", "red"); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Update after the end: %v", err)
			}
			if _, err := db.Fence(t.Context()); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("Fence after the end: %v", err)
			}
			if !has(db, "good") {
				t.Error("the last view is gone")
			}
		})
	}
}

// oldServer answers as an etcd before 3.7.
type oldServer struct{ clientv3.KV }

func (o oldServer) GetStream(context.Context, string, ...clientv3.OpOption) (clientv3.GetStreamChan, error) {
	return nil, status.Error(codes.Unimplemented, "unknown method RangeStream")
}

func TestLoadFromAnOldServer(t *testing.T) {
	m := startMember(t, t.TempDir())
	db := openDB(t, m.Client(), options())
	for i := range 100 {
		if err := db.Update(t.Context(), func(tx *store.Tx) error {
			id := fmt.Sprint(i)
			storetest.Records.Put(tx, storetest.Here, id, &storetest.Record{N: i})
			storetest.Others.Put(tx, storetest.There, id, &storetest.Record{N: i})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	client := newClient(t, m)
	client.KV = oldServer{client.KV}
	old := openDB(t, client, options())
	if old.View().Len() != 200 {
		t.Errorf("loaded %d records, want 200", old.View().Len())
	}
}

// TestSharedEtcd: others' keys move the revision without events for us; a
// fence then needs a bookmark.
func TestSharedEtcd(t *testing.T) {
	m := startMember(t, t.TempDir())
	client := newClient(t, m)
	if _, err := m.Client().Put(t.Context(), "others", "1"); err != nil {
		t.Fatal(err)
	}
	client.KV = namespace.NewKV(client.KV, "podid/")
	client.Watcher = namespace.NewWatcher(client.Watcher, "podid/")
	client.Lease = namespace.NewLease(client.Lease, "podid/")
	db := openDB(t, client, options())
	mustWrite(t, db, "a", "red")
	for range 5 {
		resp, err := m.Client().Put(t.Context(), "others", "2")
		if err != nil {
			t.Fatal(err)
		}
		v, err := db.Fence(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v.Revision() < resp.Header.Revision {
			t.Errorf("behind the fence the view is at %d, the store at %d", v.Revision(), resp.Header.Revision)
		}
	}
	if v := db.View(); v.Len() != 1 || !has(db, "a") {
		t.Errorf("%d records", v.Len())
	}
}

func TestTooLarge(t *testing.T) {
	m := startMember(t, t.TempDir())
	db := openDB(t, m.Client(), options())
	for name, fill := range map[string]func(tx *store.Tx){
		"too many records": func(tx *store.Tx) {
			for i := range 2000 {
				storetest.Records.Put(tx, storetest.Here, fmt.Sprint(i), &storetest.Record{})
			}
		},
		"over the server's limit": func(tx *store.Tx) {
			storetest.Records.Put(tx, storetest.Here, "a", &storetest.Record{Name: strings.Repeat("x", 1_700_000)})
		},
		"over the client's limit": func(tx *store.Tx) {
			storetest.Records.Put(tx, storetest.Here, "a", &storetest.Record{Name: strings.Repeat("x", 3_000_000)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := db.Update(t.Context(), func(tx *store.Tx) error { fill(tx); return nil })
			if !errors.Is(err, etcd.ErrTooLarge) {
				t.Errorf("Update: %v", err)
			}
		})
	}
	if n := db.View().Len(); n != 0 {
		t.Errorf("%d records are there", n)
	}
}

// slowKV holds linearizable reads until they are let go.
type slowKV struct {
	clientv3.KV
	reads atomic.Int64
	hold  atomic.Pointer[chan struct{}]
}

func (k *slowKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	resp, err := k.KV.Get(ctx, key, opts...)
	k.reads.Add(1)
	if hold := k.hold.Load(); hold != nil {
		<-*hold
	}
	return resp, err
}

// TestFenceCoalesces: callers share a read, but never one that was sent
// before they came.
func TestFenceCoalesces(t *testing.T) {
	m := startMember(t, t.TempDir())
	client := newClient(t, m)
	kv := &slowKV{KV: client.KV}
	client.KV = kv
	db := openDB(t, client, options())
	other := openDB(t, m.Client(), options())

	hold := make(chan struct{})
	kv.hold.Store(&hold)
	kv.reads.Store(0)
	results := make(chan error, 101)
	go func() { _, err := db.Fence(context.Background()); results <- err }()
	storetest.Eventually(t, "the first read", func() bool { return kv.reads.Load() == 1 })
	mustWrite(t, other, "between", "red")
	for range 100 {
		go func() {
			v, err := db.Fence(context.Background())
			if err == nil {
				if _, ok := storetest.Records.Get(v, storetest.Here, "between"); !ok {
					err = errors.New("an acknowledged write is not behind the fence")
				}
			}
			results <- err
		}()
	}
	kv.hold.Store(nil)
	close(hold)
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := kv.reads.Load(); n > 50 {
		t.Errorf("101 fences made %d reads", n)
	} else {
		t.Logf("101 fences made %d reads", n)
	}
}
