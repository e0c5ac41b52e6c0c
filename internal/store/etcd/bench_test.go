// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"fmt"
	"testing"

	"podid/internal/store"
	"podid/internal/store/etcd"
	"podid/internal/store/storetest"
)

func fill(b *testing.B, db *etcd.DB, n int) {
	b.Helper()
	const batch = 500
	for i := 0; i < n; i += batch {
		err := db.Update(b.Context(), func(tx *store.Tx) error {
			for j := i; j < min(i+batch, n); j++ {
				id := fmt.Sprintf("%08d", j)
				storetest.Records.Put(tx, storetest.Here, id, &storetest.Record{Name: "a-name-of-some-length-" + id, Color: id, N: j})
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad100k measures Open on 100,000 records.
func BenchmarkLoad100k(b *testing.B) {
	m := startMember(b, b.TempDir())
	fill(b, openDB(b, m.Client(), options()), 100_000)
	b.ReportAllocs()
	for b.Loop() {
		db, err := etcd.Open(b.Context(), m.Client(), storetest.Schema(), options())
		if err != nil {
			b.Fatal(err)
		}
		if n := db.View().Len(); n != 100_000 {
			b.Fatalf("%d records", n)
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	db := openDB(b, startMember(b, b.TempDir()).Client(), options())
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		if err := write(db, fmt.Sprintf("%08d", i), "red"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdateParallel(b *testing.B) {
	db := openDB(b, startMember(b, b.TempDir()).Client(), options())
	b.ReportAllocs()
	b.SetParallelism(32)
	ids := make(chan int)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for i := 0; ; i++ {
			select {
			case ids <- i:
			case <-done:
				return
			}
		}
	}()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := write(db, fmt.Sprintf("%08d", <-ids), "red"); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkFence(b *testing.B) {
	for name, alone := range map[string]bool{"alone": true, "one of several": false} {
		b.Run(name, func(b *testing.B) {
			opts := options()
			opts.Alone = alone
			db := openDB(b, startMember(b, b.TempDir()).Client(), opts)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := db.Fence(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
