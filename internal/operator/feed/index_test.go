// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestIndexIsAMap holds the index against a map through random changes.
func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type key struct{ namespace, account string }
		model, x := map[key]Association{}, newIndex()
		// Few names, so that they come again; of different lengths, so that records do.
		name := rapid.StringMatching(`[a-d]{1,2}`)
		for i := range rapid.IntRange(1, 400).Draw(t, "steps") {
			k := key{name.Draw(t, "namespace"), name.Draw(t, "account")}
			_, known := model[k]
			if rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				if got := x.remove(k.namespace, k.account); got != known {
					t.Fatalf("remove %v: %t, want %t", k, got, known)
				}
				delete(model, k)
			} else {
				a := Association{k.namespace, k.account, strings.Repeat("i", 1+i%200), int64(i)}
				if changed, err := x.put(a); err != nil || !changed {
					t.Fatalf("put: %t, %v", changed, err)
				}
				model[k] = a
			}
			if r, ok := x.get(k.namespace, k.account); ok != (model[k] != Association{}) || ok && r.association() != model[k] {
				t.Fatalf("get %v: %v, want %v", k, r, model[k])
			}
		}
		want := slices.SortedFunc(maps.Values(model), func(a, b Association) int {
			return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.ServiceAccount, b.ServiceAccount))
		})
		s := x.snapshot()
		s.sort()
		if got := slices.Collect(s.All()); !slices.Equal(got, want) || x.count != len(want) || s.Len() != len(want) {
			t.Fatalf("holds %v (%d), want %v", got, x.count, want)
		}
	})
}

// TestIndexForgets: what was replaced takes no room for long, and snapshots
// taken before stay as they were.
func TestIndexForgets(t *testing.T) {
	x := newIndex()
	var first *Snapshot
	for i := range 200_000 {
		if _, err := x.put(Association{"namespace", fmt.Sprint("account-", i%100), "a-1234567890", int64(i)}); err != nil {
			t.Fatal(err)
		}
		if i == 99 {
			first = x.snapshot()
			first.sort()
		}
	}
	if len(x.chunks) > 5 || x.count != 100 {
		t.Errorf("%d chunks for %d associations", len(x.chunks), x.count)
	}
	n := 0
	for a := range first.All() {
		n++
		if a.ServiceAccount != fmt.Sprint("account-", a.Revision) {
			t.Fatalf("the snapshot has changed: %v", a)
		}
	}
	if n != 100 {
		t.Errorf("the snapshot has %d", n)
	}
}

func TestIndexRefuses(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, a := range []Association{{"", "a", "i", 1}, {"n", "", "i", 1}, {"n", "a", "", 1}, {long, "a", "i", 1}, {"n", long, "i", 1}, {"n", "a", long, 1}} {
		x := newIndex()
		if _, err := x.put(a); err == nil || x.count != 0 {
			t.Errorf("put %.10v: %v", a, err)
		}
	}
	x := newIndex()
	a := Association{long[:255], long[:255], long[:255], -1}
	if _, err := x.put(a); err != nil {
		t.Fatal(err)
	}
	if r, ok := x.get(a.Namespace, a.ServiceAccount); !ok || r.association() != a {
		t.Errorf("got %v", r)
	}
	if changed, err := x.put(a); changed || err != nil {
		t.Errorf("the same again: %t, %v", changed, err)
	}
}

func filled(tb testing.TB, n int) *index {
	tb.Helper()
	x := newIndex()
	for i := range n {
		if _, err := x.put(Association{fmt.Sprintf("team-%04d-production", i/20), fmt.Sprintf("service-account-%d", i), fmt.Sprintf("a-%017d", i), int64(i)}); err != nil {
			tb.Fatal(err)
		}
	}
	return x
}

// TestIndexIsSmall: 100,000 associations have 60 MB for the whole process.
func TestIndexIsSmall(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := filled(t, 100_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := int64(after.HeapAlloc) - int64(before.HeapAlloc); got > 12<<20 {
		t.Errorf("100,000 associations take %d KiB", got>>10)
	} else {
		t.Logf("100,000 associations take %d KiB", got>>10)
	}
	runtime.KeepAlive(x)
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		x := filled(b, n)
		namespace, account := fmt.Sprintf("team-%04d-production", n/40), fmt.Sprintf("service-account-%d", n/2)
		for _, c := range []struct {
			name, account string
			want          bool
		}{{"hit", account, true}, {"miss", "nobody", false}} {
			b.Run(fmt.Sprintf("%s of %d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, ok := x.get(namespace, c.account); ok != c.want {
						b.Fatal(ok)
					}
				}
			})
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	x := filled(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		x.snapshot().sort()
	}
}
