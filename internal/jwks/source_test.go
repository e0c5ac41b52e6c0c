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

func newSource(t *testing.T, from Discoverer) *Source {
	t.Helper()
	s, err := NewSource("https://issuer.example.com", from, SourceOptions{Now: time.Now, Check: func(raw []byte) error {
		if string(raw) == "bad" {
			return errNonsense
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func expect(t *testing.T, s *Source, want string) {
	t.Helper()
	if got, err := s.Refresh(t.Context()); err != nil || string(got) != want {
		t.Errorf("Refresh = %q, %v, want %q", got, err, want)
	}
}

func refuse(t *testing.T, s *Source, want error) {
	t.Helper()
	if got, err := s.Refresh(t.Context()); got != nil || !errors.Is(err, want) {
		t.Errorf("Refresh = %q, %v, want %v", got, err, want)
	}
}

func TestSourceSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuerFake{answer: "one"}
		s := newSource(t, from)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { expect(t, s, "one") })
		}
		wg.Wait()
		if n := from.calls.Load(); n != 1 {
			t.Errorf("%d fetches for 100 callers", n)
		}
	})
}

func TestSourceInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuerFake{answer: "one"}
		s := newSource(t, from)
		expect(t, s, "one")
		from.set("two", nil)
		for range 20 { // unknown kids, one after another
			refuse(t, s, ErrTooSoon)
		}
		time.Sleep(MinInterval)
		expect(t, s, "two")
		if n := from.calls.Load(); n != 2 {
			t.Errorf("%d fetches", n)
		}
	})
}

// TestSourceFailures: a failed fetch is told to those who waited for it, counts
// for the pace, and is forgotten by the next.
func TestSourceFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuerFake{}
		s := newSource(t, from)
		for i, outcome := range []struct {
			answer string
			err    error
			want   error
		}{{"", context.DeadlineExceeded, context.DeadlineExceeded}, {"bad", nil, errNonsense}, {"one", errNonsense, errNonsense}} {
			from.set(outcome.answer, outcome.err)
			refuse(t, s, outcome.want)
			for range 5 {
				refuse(t, s, ErrTooSoon)
			}
			if n := from.calls.Load(); n != int64(i+1) {
				t.Errorf("%d fetches of a failing issuer, want %d", n, i+1)
			}
			time.Sleep(MinInterval)
		}
		from.set("one", nil)
		expect(t, s, "one")
	})
}

// TestSourceTimeout: an issuer that never answers holds nobody for ever.
func TestSourceTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, began := newSource(t, hanging{}), time.Now()
		refuse(t, s, context.DeadlineExceeded)
		if took := time.Since(began); took != 2*Timeout {
			t.Errorf("a fetch takes %s", took)
		}
	})
}

type hanging struct{}

func (hanging) Discover(ctx context.Context, _ string) ([]byte, string, error) {
	<-ctx.Done()
	return nil, "", ctx.Err()
}

// TestSourceCancelled: who gives up does not spoil the fetch for the others.
func TestSourceCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, &issuerFake{answer: "one"})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Refresh(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Refresh = %v", err)
		}
		expect(t, s, "one")
	})
}

func TestSourceOptions(t *testing.T) {
	if _, err := NewSource("", nil, SourceOptions{}); err == nil {
		t.Error("a source of nothing")
	}
}
