// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package jwks

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestRefused(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.8.9.1": true, "::1": true, "0.0.0.0": true, "0.1.2.3": true, "::": true,
		"169.254.169.254": true, "169.254.170.23": true, "fe80::1": true, "fd00:ec2::254": true, "fd00:ec2::23": true,
		"224.0.0.1": true, "ff02::1": true, "255.255.255.255": true, "100.100.100.200": true, "192.0.0.192": true,
		"168.63.129.16": true, "fd20:ce::254": true, "64:ff9b::7f00:1": true, "64:ff9b::a9fe:a9fe": true,
		"64:ff9b:1::1": true, "2002:7f00:1::": true, "::7f00:1": true, "fec0::1": true,
		"10.0.0.1": false, "192.168.1.1": false, "172.16.0.1": false, "fd12:3456::1": false,
		"93.184.216.34": false, "2606:2800::1": false, "64:ff9b::5db8:d822": false,
	} {
		if got := refused(netip.MustParseAddr(addr)) != ""; got != want {
			t.Errorf("refused(%s) = %v", addr, got)
		}
	}
	f := &Fetcher{}
	for _, literal := range []string{"[fe80::1%eth0]:443", "[::ffff:127.0.0.1]:443", "nonsense"} {
		if f.check(literal) == nil {
			t.Errorf("check(%s) passes", literal)
		}
	}
}

// issuerFake answers with what it is told, after a second.
type issuerFake struct {
	calls  atomic.Int64
	mu     sync.Mutex
	answer string
	err    error
}

func (f *issuerFake) Discover(ctx context.Context, _ string) ([]byte, string, error) {
	f.calls.Add(1)
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return []byte(f.answer), "", f.err
}

func (f *issuerFake) set(answer string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer, f.err = answer, err
}

var errNonsense = errors.New("nonsense")

func newSource(t *testing.T, from Discoverer) *Source[string] {
	t.Helper()
	s, err := NewSource("https://issuer.example.com", from, SourceOptions[string]{Now: time.Now, Parse: func(raw []byte) (string, error) {
		if string(raw) == "bad" {
			return "", errNonsense
		}
		return string(raw), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func expect(t *testing.T, s *Source[string], want string) {
	t.Helper()
	if got, err := s.Keys(t.Context()); err != nil || got != want {
		t.Errorf("Keys = %q, %v, want %q", got, err, want)
	}
}

func TestSourceSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuerFake{answer: "one"}
		s := newSource(t, from)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { expect(t, s, "one") })
			wg.Go(func() { _, _, _ = s.Refresh(t.Context()) })
		}
		wg.Wait()
		if n := from.calls.Load(); n != 1 {
			t.Errorf("%d fetches for 100 callers", n)
		}
	})
}

func TestSourceRefreshInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuerFake{answer: "one"}
		s := newSource(t, from)
		expect(t, s, "one")
		from.set("two", nil)
		for range 20 { // unknown kids, one after another
			if got, fresh, err := s.Refresh(t.Context()); got != "one" || fresh || err != nil {
				t.Fatalf("Refresh within the interval = %q, %v, %v", got, fresh, err)
			}
		}
		time.Sleep(MinInterval)
		if got, fresh, err := s.Refresh(t.Context()); got != "two" || !fresh || err != nil {
			t.Errorf("Refresh = %q, %v, %v", got, fresh, err)
		}
		if n := from.calls.Load(); n != 2 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestSourceKeepsLastGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuerFake{answer: "one"}
		s := newSource(t, from)
		expect(t, s, "one")
		for _, outcome := range []struct {
			answer string
			err    error
			want   error
		}{{"", context.DeadlineExceeded, context.DeadlineExceeded}, {"bad", nil, errNonsense}} {
			from.set(outcome.answer, outcome.err)
			time.Sleep(time.Hour)
			expect(t, s, "one") // at once, with a fetch behind
			synctest.Wait()
			time.Sleep(2 * time.Second)
			expect(t, s, "one")
			time.Sleep(MinInterval)
			if got, fresh, err := s.Refresh(t.Context()); got != "one" || fresh || !errors.Is(err, outcome.want) {
				t.Errorf("Refresh = %q, %v, %v", got, fresh, err)
			}
		}
		from.set("three", nil)
		time.Sleep(time.Minute)
		expect(t, s, "one")
		time.Sleep(2 * time.Second)
		expect(t, s, "three")
	})
}

func TestSourceWithoutKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuerFake{err: errNonsense}
		s := newSource(t, from)
		for range 5 {
			if _, err := s.Keys(t.Context()); !errors.Is(err, errNonsense) {
				t.Errorf("Keys = %v", err)
			}
		}
		if _, fresh, err := s.Refresh(t.Context()); fresh || !errors.Is(err, ErrTooSoon) {
			t.Errorf("Refresh = %v", err)
		}
		if n := from.calls.Load(); n != 1 {
			t.Errorf("%d fetches of a failing issuer", n)
		}
		from.set("one", nil)
		time.Sleep(MinInterval)
		expect(t, s, "one")
	})
}

// TestSourceCancelled: who gives up does not spoil the fetch for the others.
func TestSourceCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, &issuerFake{answer: "one"})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Keys(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Keys = %v", err)
		}
		expect(t, s, "one")
	})
}

func TestSourceSeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuerFake{err: errNonsense}
		s := newSource(t, from)
		s.Seed("stored", time.Now())
		expect(t, s, "stored")
		if from.calls.Load() != 0 {
			t.Error("seeded keys are fetched at once")
		}
	})
	if _, err := NewSource("", nil, SourceOptions[int]{}); err == nil {
		t.Error("a source of nothing")
	}
}
