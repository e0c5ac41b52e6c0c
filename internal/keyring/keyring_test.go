// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package keyring_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"podid/internal/keyring"
	"podid/internal/seal"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var scope = store.Scope{Account: "111122223333", Region: store.Global}

type sealer struct{ root seal.RootKey }

func (s sealer) Seal(p, aad []byte) ([]byte, error) { return s.root.Seal(rand.Reader, p, aad) }
func (s sealer) Open(p, aad []byte) ([]byte, error) { return s.root.Open(p, aad) }

func newSealer(t testing.TB) sealer {
	t.Helper()
	root, err := seal.GenerateRootKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return sealer{root}
}

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// counting counts the fences that a test causes.
type counting struct {
	*storetest.Memory
	fences int
	stale  *store.View // what View shows, when set
}

func (c *counting) Fence(ctx context.Context) (*store.View, error) {
	c.fences++
	return c.Memory.Fence(ctx)
}

func (c *counting) View() *store.View {
	if c.stale != nil {
		return c.stale
	}
	return c.Memory.View()
}

func newStore() *counting {
	return &counting{Memory: storetest.NewMemory(store.NewSchema(keyring.Keys))}
}

func newRing(t testing.TB, db store.Store, s keyring.Sealer, c *clock) *keyring.Ring {
	t.Helper()
	return &keyring.Ring{Store: db, Sealer: s, Now: c.now, Rand: rand.Reader, Scope: scope}
}

func start() *clock { return &clock{t: time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)} }

func create(t testing.TB, r *keyring.Ring) {
	t.Helper()
	if err := r.Store.Update(context.Background(), r.Create); err != nil {
		t.Fatal(err)
	}
}

func primary(t testing.TB, r *keyring.Ring) uint32 {
	t.Helper()
	k, err := r.Primary()
	if err != nil {
		t.Fatal(err)
	}
	return k.ID
}

func ids(db store.Store) []string {
	var out []string
	for id := range keyring.Keys.List(db.View(), scope, "", "") {
		out = append(out, id)
	}
	return out
}

func rotate(t testing.TB, r *keyring.Ring) {
	t.Helper()
	if err := r.Rotate(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestEmpty(t *testing.T) {
	db := newStore()
	r := newRing(t, db, newSealer(t), start())
	if _, err := r.Primary(); !errors.Is(err, keyring.ErrNoKey) {
		t.Errorf("Primary of an empty keyset: %v", err)
	}
	if _, ok, err := r.Lookup(context.Background(), 7); ok || err != nil {
		t.Errorf("Lookup in an empty keyset: %v, %v", ok, err)
	}
	rotate(t, r)
	if n := len(ids(db)); n != 1 {
		t.Errorf("Rotate of an empty keyset leaves %d keys", n)
	}
}

// A key goes through its life: verify-only while it spreads, primary, verify
// only again, gone.
func TestRotation(t *testing.T) {
	c, db, s := start(), newStore(), newSealer(t)
	r := newRing(t, db, s, c)
	create(t, r)
	first := primary(t, r) // at once: nobody else can have been using another
	c.advance(keyring.DefaultRotation - time.Second)
	rotate(t, r)
	if got := ids(db); len(got) != 1 {
		t.Fatalf("rotated too early: %v", got)
	}
	c.advance(time.Second)
	rotate(t, r)
	if got := ids(db); len(got) != 2 {
		t.Fatalf("keys after a day: %v", got)
	}
	c.advance(keyring.DefaultPropagation - time.Second)
	if got := primary(t, r); got != first {
		t.Fatal("a key is primary before every replica can have read it")
	}
	c.advance(time.Second)
	second := primary(t, r)
	if second == first {
		t.Fatal("the new key is not primary after its propagation")
	}
	// The old key verifies for 37 hours after it was followed.
	c.advance(37 * time.Hour)
	rotate(t, r)
	if _, ok, err := r.Lookup(context.Background(), first); !ok || err != nil {
		t.Fatalf("a followed key does not verify for 37 h: %v, %v", ok, err)
	}
	c.advance(time.Second)
	rotate(t, r)
	if _, ok, err := r.Lookup(context.Background(), first); ok || err != nil {
		t.Fatalf("a key is kept for ever: %v, %v", ok, err)
	}
	if _, ok, _ := r.Lookup(context.Background(), second); !ok {
		t.Fatal("the key before the newest is gone")
	}
}

// Every session of the longest life opens until its end, whatever the pace.
func TestNoLivingTokenLosesItsKey(t *testing.T) {
	c, db := start(), newStore()
	r := newRing(t, db, newSealer(t), c)
	r.Rotation = time.Hour
	r.VerifyFor = time.Minute // below the floor
	create(t, r)
	type token struct {
		key uint32
		end time.Time
	}
	var living []token
	for range 24 * 6 * 4 {
		living = append(living, token{primary(t, r), c.now().Add(36 * time.Hour)})
		c.advance(10 * time.Minute)
		rotate(t, r)
		for len(living) > 0 && living[0].end.Before(c.now()) {
			living = living[1:]
		}
		if _, ok, err := r.Lookup(context.Background(), living[0].key); !ok || err != nil {
			t.Fatalf("at %s the key of a living token is gone: %v", c.now(), err)
		}
	}
	if n := len(ids(db)); n > 40 {
		t.Errorf("%d keys are kept", n)
	}
}

func TestConcurrentRotationMakesOneKey(t *testing.T) {
	c, db, s := start(), newStore(), newSealer(t)
	create(t, newRing(t, db, s, c))
	c.advance(25 * time.Hour)
	var wg sync.WaitGroup
	for range 8 {
		r := newRing(t, db, s, c)
		wg.Go(func() {
			if err := r.Rotate(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := ids(db); len(got) != 2 {
		t.Errorf("8 replicas made the keys %v", got)
	}
}

// TestViewsOfReplicas: two replicas whose views differ open each other's
// tokens at every point of a key's life, with no wait for the watch.
func TestViewsOfReplicas(t *testing.T) {
	c, s, db := start(), newSealer(t), newStore()
	behind := &counting{Memory: db.Memory} // the same store, seen by a replica whose watch is late
	a, b := newRing(t, db, s, c), newRing(t, behind, s, c)
	create(t, a)
	type token struct {
		sealed seal.Sealed
		at     time.Time
	}
	mint := func(r *keyring.Ring) token {
		t.Helper()
		k, err := r.Primary()
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := seal.SealToken(k, rand.Reader, "111122223333", nil, []byte("session"))
		if err != nil {
			t.Fatal(err)
		}
		return token{sealed, c.now()}
	}
	opens := func(r *keyring.Ring, who, when string, x token) {
		t.Helper()
		id, err := seal.TokenKeyID(x.sealed.Token)
		if err != nil {
			t.Fatal(err)
		}
		k, ok, err := r.Lookup(context.Background(), id)
		if err != nil || !ok {
			t.Fatalf("%s: %s has no key: %v", when, who, err)
		}
		if _, _, err := seal.OpenToken(k, x.sealed.Token, x.sealed.AccessKeyID, nil); err != nil {
			t.Fatalf("%s: %s does not open the token: %v", when, who, err)
		}
	}
	var living []token
	for hour := range 24 * 5 {
		when := "hour " + strconv.Itoa(hour)
		// B's view stands still for an hour; A's is always the newest.
		behind.stale = db.View()
		for range 12 {
			living = append(living, mint(a), mint(b))
			for _, x := range living[len(living)-2:] {
				opens(a, "A", when, x)
				opens(b, "B", when, x)
			}
			rotate(t, a)
			c.advance(5 * time.Minute)
		}
		behind.stale = nil
		rotate(t, b)
		for len(living) > 0 && c.now().Sub(living[0].at) > 36*time.Hour {
			living = living[1:]
		}
		for i := 0; i < len(living); i += 50 {
			opens(a, "A", when, living[i])
			opens(b, "B", when, living[i])
		}
	}
	if n := len(ids(db)); n < 2 || n > 4 {
		t.Errorf("%d keys are kept", n)
	}
}

func TestLookupAsksTheStoreForUnknownIDs(t *testing.T) {
	c, db, s := start(), newStore(), newSealer(t)
	maker := newRing(t, db, s, c)
	create(t, maker)
	old := db.View()
	c.advance(25 * time.Hour)
	rotate(t, maker)
	c.advance(time.Hour)
	want, err := maker.Primary()
	if err != nil {
		t.Fatal(err)
	}
	db.stale, db.fences = old, 0
	got, ok, err := newRing(t, db, s, c).Lookup(context.Background(), want.ID)
	if err != nil || !ok || db.fences != 1 {
		t.Fatalf("Lookup of a key made elsewhere: %v, %v, %d fences", ok, err, db.fences)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("it is another key")
	}
	db.stale, db.fences = nil, 0
	if _, _, err := maker.Lookup(context.Background(), want.ID); err != nil || db.fences != 0 {
		t.Errorf("a known key costs %d fences (%v)", db.fences, err)
	}
	db.Fail(store.ErrUnavailable)
	if _, ok, err := maker.Lookup(context.Background(), want.ID+1); ok || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Lookup without a store: %v, %v", ok, err)
	}
}

func TestOtherRootKey(t *testing.T) {
	c, db := start(), newStore()
	create(t, newRing(t, db, newSealer(t), c))
	r := newRing(t, db, newSealer(t), c)
	if _, err := r.Primary(); err == nil || !strings.Contains(err.Error(), "open session key "+ids(db)[0]) {
		t.Errorf("Primary under another root key: %v", err)
	}
	id, err := strconv.ParseUint(ids(db)[0], 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := r.Lookup(context.Background(), uint32(id)); ok || err == nil {
		t.Errorf("Lookup under another root key: %v, %v", ok, err)
	}
}

// A record that was removed and written again under its id is another key.
func TestRecordWrittenAgain(t *testing.T) {
	c, db, s := start(), newStore(), newSealer(t)
	r := newRing(t, db, s, c)
	create(t, r)
	before, err := r.Primary()
	if err != nil {
		t.Fatal(err)
	}
	id := ids(db)[0]
	err = db.Update(context.Background(), func(tx *store.Tx) error {
		sealed, err := s.Seal(bytes.Repeat([]byte{7}, 64), []byte(keyring.Keys.Key(scope, id)))
		if err != nil {
			return err
		}
		keyring.Keys.Put(tx, scope, id, &keyring.Record{Sealed: sealed, Created: c.now(), Primary: c.now()})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	after, err := r.Primary()
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(before, after) {
		t.Error("the old key is still in use")
	}
}

// A replica whose clock is behind that of the one that made the first key
// issues all the same.
func TestClockBehindFirstKey(t *testing.T) {
	c, db, s := start(), newStore(), newSealer(t)
	create(t, newRing(t, db, s, c))
	behind := start()
	behind.advance(-3 * time.Second)
	if _, err := newRing(t, db, s, behind).Primary(); err != nil {
		t.Error(err)
	}
}

func TestBadRecordsAndRandomness(t *testing.T) {
	c, db, s := start(), newStore(), newSealer(t)
	r := newRing(t, db, s, c)
	r.Rand = bytes.NewReader(make([]byte, 10))
	if err := db.Update(context.Background(), r.Create); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without randomness: %v", err)
	}
	r.Rand = zeros{}
	create(t, r)
	if err := db.Update(context.Background(), r.Create); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("with an id that is always taken: %v", err)
	}
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		sealed, err := s.Seal([]byte("short"), []byte(keyring.Keys.Key(scope, "00000001")))
		keyring.Keys.Put(tx, scope, "00000001", &keyring.Record{Sealed: sealed, Created: c.now()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := r.Lookup(context.Background(), 1); ok || err == nil || !strings.Contains(err.Error(), "has 5 bytes") {
		t.Errorf("a short key: %v, %v", ok, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newStore()
		r := &keyring.Ring{Store: db, Sealer: newSealer(t), Now: time.Now, Rand: rand.Reader, Scope: scope}
		create(t, r)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var reports []error
		done := make(chan error)
		go func() { done <- r.Run(ctx, func(err error) { reports = append(reports, err) }) }()
		time.Sleep(24*time.Hour + 2*time.Minute)
		synctest.Wait()
		if n := len(ids(db)); n != 2 || len(reports) != 0 {
			t.Errorf("after a day: %d keys, reports %v", n, reports)
		}
		db.Fail(store.ErrUnavailable)
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if len(reports) == 0 || !errors.Is(reports[0], store.ErrUnavailable) {
			t.Errorf("a failed rotation is not reported: %v", reports)
		}
		if _, err := r.Primary(); err != nil {
			t.Errorf("without the store the old key does not go on: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func BenchmarkPrimary(b *testing.B) {
	c, db := start(), newStore()
	r := newRing(b, db, newSealer(b), c)
	create(b, r)
	create(b, r)
	create(b, r)
	db.stale = db.View()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Primary(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	c, db := start(), newStore()
	r := newRing(b, db, newSealer(b), c)
	create(b, r)
	id := primary(b, r)
	db.stale = db.View()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := r.Lookup(context.Background(), id); !ok || err != nil {
			b.Fatal(err)
		}
	}
}
