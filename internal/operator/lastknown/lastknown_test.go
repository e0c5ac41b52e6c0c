// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lastknown

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"podid/internal/operator/feed"
	"podid/internal/operator/lastknown/shards"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plane answers every poll with the same associations, and waits where it told them.
type plane struct {
	mu       sync.Mutex
	is       []feed.Association // guarded by mu
	uid      string
	revision atomic.Int64
	more     chan struct{}
}

func (p *plane) Stream(ctx context.Context, _, path string, read func(io.Reader) error) error {
	if strings.Contains(path, fmt.Sprint("after=", p.revision.Load(), "&")) {
		select {
		case <-p.more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []map[string]any
	for _, a := range p.is {
		list = append(list, map[string]any{"namespace": a.Namespace, "serviceAccount": a.ServiceAccount, "associationId": a.ID, "revision": a.Revision})
	}
	text, err := json.Marshal(map[string]any{"clusterUid": p.uid, "revision": p.revision.Load(), "complete": true, "associations": list})
	return errors.Join(err, read(bytes.NewReader(text)))
}

func follow(t *testing.T, p *plane) *feed.Feed {
	t.Helper()
	m, err := feed.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	f := feed.New(feed.Config{Cluster: "c", Caller: p, Metrics: m, Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-f.Synced()
	return f
}

// snapshot is one of a feed that knows those.
func snapshot(t *testing.T, uid string, revision int64, is []feed.Association) *feed.Snapshot {
	t.Helper()
	p := &plane{is: is, uid: uid}
	p.revision.Store(revision)
	return follow(t, p).Snapshot()
}

func associations(n int) []feed.Association {
	var out []feed.Association
	for i := range n {
		sum := sha256.Sum256(fmt.Appendln(nil, i)) // ids do not shrink
		out = append(out, feed.Association{Namespace: fmt.Sprintf("team-%04d", i/20), ServiceAccount: fmt.Sprintf("account-%04d", i%20), ID: "a-" + hex.EncodeToString(sum[:20]), Revision: int64(1000 + i)})
	}
	return out
}

type world struct {
	*Secrets
	log    *bytes.Buffer
	mu     sync.Mutex
	writes []string                      // guarded by mu
	fail   func(verb, name string) error // guarded by mu
}

// failing makes writes fail as f says; nil lets them pass.
func (w *world) failing(f func(verb, name string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = f
}

// wrote is what was written since it was asked last.
func (w *world) wrote() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.writes = nil }()
	return strings.Join(w.writes, ", ")
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	w := &world{log: new(bytes.Buffer)}
	note := func(verb string, o client.Object) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.writes = append(w.writes, verb+" "+strings.TrimPrefix(o.GetName(), namePrefix))
		if w.fail != nil {
			return w.fail(verb, o.GetName())
		}
		return nil
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := note("create", o); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if err := note("update", o); err != nil {
				return err
			}
			return c.Update(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if err := note("delete", o); err != nil {
				return err
			}
			return c.Delete(ctx, o, opts...)
		},
	}).Build()
	w.Secrets = &Secrets{Client: c, Namespace: "podid-system", Cluster: "c", Log: slog.New(slog.NewTextHandler(w.log, nil))}
	return w
}

// saved saves and returns what was written.
func (w *world) saved(t *testing.T, s *feed.Snapshot) string {
	t.Helper()
	w.wrote()
	if err := w.Save(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return w.wrote()
}

func (w *world) loaded(t *testing.T) (uid string, revision int64, is []feed.Association) {
	t.Helper()
	uid, revision, err := w.Load(t.Context(), func(a feed.Association) error {
		is = append(is, a)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return uid, revision, is
}

func TestSaveAndLoad(t *testing.T) {
	w := newWorld(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "podid-system", Name: "of-somebody-else"}})
	if uid, _, is := w.loaded(t); uid != "" || is != nil {
		t.Errorf("loaded %s, %v of nothing", uid, is)
	}
	steps := []struct {
		name     string
		is       []feed.Association
		uid      string
		revision int64
		writes   string
	}{
		{"first", associations(10), "u", 2000, "create 0"},
		{"the same later", associations(10), "u", 3000, ""},
		{"changed: the old one goes when the new one is there", associations(11), "u", 4000, "create 1, delete 0"},
		{"and back", associations(9), "u", 5000, "create 0, delete 1"},
		{"another cluster of the name", associations(9), "v", 6000, "create 1, delete 0"},
		{"none", nil, "v", 7000, "create 0, delete 1"},
	}
	kept := int64(2000)
	for _, tc := range steps {
		t.Run(tc.name, func(t *testing.T) {
			if got := w.saved(t, snapshot(t, tc.uid, tc.revision, tc.is)); got != tc.writes {
				t.Errorf("wrote %q, want %q", got, tc.writes)
			}
			if tc.writes != "" {
				kept = tc.revision
			}
			if uid, revision, is := w.loaded(t); uid != tc.uid || revision != kept || !slices.Equal(is, tc.is) {
				t.Errorf("loaded %s %d %v", uid, revision, is)
			}
		})
	}
	if w.log.Len() > 0 {
		t.Errorf("told: %s", w.log)
	}
}

func TestShards(t *testing.T) {
	all := associations(60_000)
	pieces, err := shards.Encode(slices.Values(all), shards.MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	if len(pieces) < 2 {
		t.Fatalf("%d pieces", len(pieces))
	}
	var got []feed.Association
	for i, s := range pieces {
		if len(s) > shards.MaxSize || i < len(pieces)-1 && len(s) < shards.MaxSize*8/10 {
			t.Errorf("shard %d has %d bytes", i, len(s))
		}
		if err := shards.Decode(s, func(a feed.Association) error { got = append(got, a); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, all) {
		t.Error("not what was packed")
	}
	again, err := shards.Encode(slices.Values(all), shards.MaxSize)
	if err != nil || shards.Sum(again) != shards.Sum(pieces) {
		t.Errorf("packed again: %s, %v", shards.Sum(again), err)
	}
	odd := []feed.Association{{Namespace: "a\tb", ServiceAccount: "s", ID: "i"}, all[0]}
	if pieces, err = shards.Encode(slices.Values(odd), shards.MaxSize); err != nil {
		t.Fatal(err)
	}
	got = nil
	if err := shards.Decode(pieces[0], func(a feed.Association) error { got = append(got, a); return nil }); err != nil || !slices.Equal(got, all[:1]) {
		t.Errorf("%v, %v", got, err)
	}
}

// twoShards is a generation as two Secrets.
func twoShards(t *testing.T, gen int64, at int) []client.Object {
	t.Helper()
	s := &Secrets{Namespace: "podid-system", Cluster: "c"}
	snap := &feed.Snapshot{ClusterUID: "u", Revision: 100 * gen}
	var pieces [][]byte
	for i := range 2 {
		one, err := shards.Encode(slices.Values(associations(2 + int(gen))[i:i+1]), shards.MaxSize)
		if err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, one[0])
	}
	var out []client.Object
	for i, data := range pieces {
		one := s.secret(snap, gen, data, map[string]string{shard: fmt.Sprintf("%d/2", i), checksum: shards.Sum(pieces)})
		one.Name = fmt.Sprint(namePrefix, at+i)
		out = append(out, one)
	}
	return out
}

// TestDamaged: a generation that is not whole is left out, the one before it counts.
func TestDamaged(t *testing.T) {
	secret := func(o client.Object) *corev1.Secret { return o.(*corev1.Secret) }
	tests := []struct {
		name   string
		damage func(second []client.Object) []client.Object
		log    string
		want   int64 // the revision loaded
	}{
		{"whole", func(s []client.Object) []client.Object { return s }, "", 200},
		{"a shard is missing", func(s []client.Object) []client.Object { return s[1:] }, "is shard", 100},
		{"the last is missing", func(s []client.Object) []client.Object { return s[:1] }, "is shard", 100},
		{"a bit differs", func(s []client.Object) []client.Object {
			secret(s[1]).Data[dataKey][20] ^= 1
			return s
		}, "checksum", 100},
		{"no data", func(s []client.Object) []client.Object {
			secret(s[0]).Data = nil
			return s
		}, "checksum", 100},
		{"another cluster's", func(s []client.Object) []client.Object {
			for _, o := range s {
				secret(o).Annotations[cluster] = "d"
			}
			return s
		}, "is of cluster", 100},
		{"a shard of another write", func(s []client.Object) []client.Object {
			secret(s[1]).Annotations[checksum] = "00"
			return s
		}, "has another podid.dev/checksum", 100},
		{"another form", func(s []client.Object) []client.Object {
			for _, o := range s {
				secret(o).Annotations[format] = "2"
			}
			return s
		}, "has format", 100},
		{"no annotations", func(s []client.Object) []client.Object {
			secret(s[0]).Annotations = nil
			return s
		}, "is shard", 100},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, append(twoShards(t, 1, 0), tc.damage(twoShards(t, 2, 2))...)...)
			uid, revision, is := w.loaded(t)
			if uid != "u" || revision != tc.want || len(is) != 2 {
				t.Errorf("loaded %s %d, %d associations", uid, revision, len(is))
			}
			if !strings.Contains(w.log.String(), tc.log) {
				t.Errorf("told %q, want %q", w.log, tc.log)
			}
			// Saving goes on from there: what is damaged goes, names in use stay until then.
			if got := w.saved(t, snapshot(t, "u", 900, associations(7))); tc.want == 200 && got != "update 0, delete 1, delete 2, delete 3" {
				t.Errorf("wrote %s", got)
			}
			var left corev1.SecretList
			if err := w.Client.List(t.Context(), &left); err != nil || len(left.Items) != 1 {
				t.Errorf("%d secrets are left, %v", len(left.Items), err)
			}
			if _, revision, is = w.loaded(t); revision != 900 || len(is) != 7 {
				t.Errorf("then loaded %d with %d", revision, len(is))
			}
		})
	}
	w := newWorld(t)
	for _, o := range twoShards(t, 1, 0) {
		secret(o).Annotations[revision] = "x"
		if err := w.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := w.Load(t.Context(), func(feed.Association) error { return nil }); err == nil || !strings.Contains(err.Error(), "no revision") {
		t.Errorf("error %v", err)
	}
}

// TestInterrupted: whatever write fails, the old generation or the new one is there.
func TestInterrupted(t *testing.T) {
	old, next := snapshot(t, "u", 100, associations(3)), snapshot(t, "u", 200, associations(4))
	for _, verb := range []string{"create", "delete"} {
		t.Run(verb, func(t *testing.T) {
			w := newWorld(t)
			w.saved(t, old)
			w.failing(func(v, _ string) error {
				if v == verb {
					return errors.New("the API server is away")
				}
				return nil
			})
			if err := w.Save(t.Context(), next); err == nil || !strings.Contains(err.Error(), "is away") {
				t.Errorf("error %v", err)
			}
			if _, revision, is := w.loaded(t); len(is) != map[string]int{"create": 3, "delete": 4}[verb] {
				t.Errorf("loaded %d with %d", revision, len(is))
			}
			w.failing(nil)
			w.saved(t, next)
			var left corev1.SecretList
			if err := w.Client.List(t.Context(), &left); err != nil || len(left.Items) != 1 {
				t.Errorf("%d secrets are left, %v", len(left.Items), err)
			}
		})
	}
}

func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := &plane{is: associations(3), uid: "u", more: make(chan struct{})}
		p.revision.Store(100)
		f := follow(t, p)
		k := &Keeper{Feed: f, Secrets: w.Secrets, Log: slog.New(slog.NewTextHandler(w.log, nil))}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Start(ctx) }()
		synctest.Wait()
		change := func(n int) {
			p.mu.Lock()
			p.is = associations(n)
			p.revision.Add(1)
			p.mu.Unlock()
			p.more <- struct{}{}
			time.Sleep(time.Second)
		}
		steps := []struct {
			name string
			do   func()
			want string
		}{
			{"at once", func() {}, "create 0"},
			{"changes are gathered", func() { change(4); change(5); change(6) }, ""},
			{"written after a while", func() { time.Sleep(Every) }, "create 1, delete 0"},
			{"no change, no write", func() { time.Sleep(time.Hour) }, ""},
			{"the next at once", func() { change(7) }, "create 0, delete 1"},
			{"a failure", func() {
				w.failing(func(string, string) error { return errors.New("away") })
				time.Sleep(Every)
				change(8)
			}, "create 1"},
			{"is tried again", func() {
				w.failing(nil)
				time.Sleep(Every)
			}, "create 1, delete 0"},
		}
		for _, tc := range steps {
			tc.do()
			synctest.Wait()
			if got := w.wrote(); got != tc.want {
				t.Errorf("%s: wrote %q, want %q", tc.name, got, tc.want)
			}
		}
		if n := strings.Count(w.log.String(), "keep the associations"); n != 1 {
			t.Errorf("told %d times: %s", n, w.log)
		}
		if _, _, is := w.loaded(t); len(is) != 8 {
			t.Errorf("loaded %d", len(is))
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
