// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"podid/internal/agent/eksauthclient"
)

func has(f *fixture, raw string) bool {
	_, ok, err := f.Lookup(eksauthclient.Secret(raw), time.Now())
	return ok && err == nil
}

func TestLeastRecentlyUsedLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour}, func(c *Config) { c.MaxEntries = 2 })
		defer f.stop()
		for _, raw := range []string{"a", "b", "a", "c"} {
			mustGet(t, f, token(raw, of(raw)))
		}
		if !has(f, "a") || has(f, "b") || f.Len() != 2 || f.seen.evicted.Load() != 1 {
			t.Errorf("a %v, b %v, %d entries, %d evicted; want a and c kept", has(f, "a"), has(f, "b"), f.Len(), f.seen.evicted.Load())
		}
	})
}

// A pod whose tokens have all ended makes room before one that lives, however long that one has been silent.
func TestTheDeadMakeRoomForTheLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 6 * time.Hour}, func(c *Config) { c.MaxEntries = 2 })
		defer f.stop()
		mustGet(t, f, token("silent", proven, of("silent"), until(time.Now().Add(24*time.Hour))))
		mustGet(t, f, token("dead", proven, of("dead"), until(time.Now().Add(time.Minute))))
		time.Sleep(2 * time.Minute)
		mustGet(t, f, token("new", proven, of("new"), until(time.Now().Add(24*time.Hour))))
		if !has(f, "silent") || !has(f, "new") || f.Len() != 2 {
			t.Error("a living pod lost its entry to a dead one")
		}
	})
}

func TestBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour}, func(c *Config) { c.MaxBytes = 20_000 })
		defer f.stop()
		for i := range 50 {
			mustGet(t, f, token(strings.Repeat("x", 1000)+fmt.Sprint(i), of(fmt.Sprint(i))))
		}
		if s := f.Stats(); s.Bytes > 20_000 || s.Entries < 8 {
			t.Errorf("%d entries of %d bytes, want at most 20000 bytes, and those used", s.Entries, s.Bytes)
		}
	})
}

// One pod that makes up tokens of its own (it may ask the API server for any number) has one entry and a few tokens.
func TestOnePodHasItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour}, nil)
		defer f.stop()
		mustGet(t, f, token("other", proven, of("other")))
		for i := range 1000 {
			mustGet(t, f, token(fmt.Sprint(i), proven, until(time.Now().Add(time.Hour+time.Duration(i)*time.Second))))
		}
		f.mu.Lock()
		tokens := len(f.known)
		f.mu.Unlock()
		if f.auth.count() != 2 || f.Len() != 2 || tokens != maxTokens+1 {
			t.Errorf("%d calls, %d entries, %d tokens; want 2, 2 and %d", f.auth.count(), f.Len(), tokens, maxTokens+1)
		}
		if !has(f, "other") || !has(f, "999") {
			t.Error("another pod, or the youngest token, is forgotten")
		}
	})
}

// Tokens that somebody makes up never push out a pod's credentials, and what is remembered of them is bounded.
func TestForgedTokensTakeNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour}, func(c *Config) { c.MaxEntries, c.MaxBytes = 2, 3<<20 })
		defer f.stop()
		mustGet(t, f, token("a", of("a")))
		mustGet(t, f, token("b", of("b")))
		f.auth.set(func(a *fakeAuth) { a.err = &eksauthclient.APIError{Status: 400, Code: "InvalidTokenException"} })
		for i := range 3000 {
			if _, err := f.Get(t.Context(), token(strings.Repeat("x", 2000)+fmt.Sprint(i), of("a"))); err == nil {
				t.Fatal("a forged token was served")
			}
		}
		s := f.Stats()
		if !has(f, "a") || !has(f, "b") || s.Refusals == 0 || s.Refusals > maxRefusals || s.Bytes > maxRefusalBytes+10_000 {
			t.Errorf("a %v, b %v, %d refusals, %d bytes", has(f, "a"), has(f, "b"), s.Refusals, s.Bytes)
		}
		time.Sleep(DefaultDenialTTL)
		synctest.Wait()
		if s := f.Stats(); s.Refusals != 0 || s.Entries != 2 {
			t.Errorf("%d refusals and %d entries later, want 0 and 2", s.Refusals, s.Entries)
		}
	})
}

// A refusal and a failure are repeated for seconds, with their reason, and make no further call.
func TestRefusalsAreRemembered(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		ttl  time.Duration
	}{{"denial", denied, DefaultDenialTTL}, {"failure", broken, DefaultFailureTTL}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, &fakeAuth{life: time.Hour, err: tc.err}, nil)
				defer f.stop()
				tok := token("a", proven)
				for range 5 {
					if _, err := f.Get(t.Context(), tok); !errors.Is(err, tc.err) {
						t.Fatalf("error %v, want %v", err, tc.err)
					}
				}
				if _, ok, err := f.Lookup("a", time.Now()); !ok || !errors.Is(err, tc.err) {
					t.Errorf("look-up %v, %v: want the reason", ok, err)
				}
				if _, err := f.Get(t.Context(), token("rotated", proven)); !errors.Is(err, tc.err) {
					t.Errorf("error %v for another token of the pod, want the same", err)
				}
				if got := f.auth.count(); got != 1 {
					t.Errorf("%d calls, want 1", got)
				}
				time.Sleep(tc.ttl)
				f.auth.set(func(a *fakeAuth) { a.err = nil })
				mustGet(t, f, tok)
			})
		})
	}
}

func TestPodsAreLimitedEachByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour}, func(c *Config) { c.PodRate, c.PodBurst = 10, 5 })
		defer f.stop()
		flooder, other := token("f", proven, of("f")), token("o", proven, of("o"))
		for i := range 5 { // the burst, one of which the first call takes
			if i == 0 {
				mustGet(t, f, flooder)
			} else if !has(f, "f") {
				t.Fatalf("request %d is refused", i)
			}
		}
		var limit *LimitError
		if _, ok, err := f.Lookup("f", time.Now()); !ok || !errors.As(err, &limit) || limit.RetryAfter != 100*time.Millisecond {
			t.Errorf("look-up %v, %v: want a limit for 100ms", ok, err)
		}
		if _, err := f.Get(t.Context(), flooder); !errors.As(err, &limit) {
			t.Errorf("error %v, want the limit", err)
		}
		mustGet(t, f, other)
		time.Sleep(100 * time.Millisecond)
		if !has(f, "f") || has(f, "f") {
			t.Error("want one request more after the time that was named")
		}
	})
}

// Other keys: every token is proven anew, and what is cached is kept.
func TestForgetProofs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour}, nil)
		defer f.stop()
		tok := token("a", proven)
		mustGet(t, f, tok)
		f.ForgetProofs()
		if has(f, "a") {
			t.Error("the token is known still")
		}
		if got := mustGet(t, f, tok); got != "ASIA1" || !has(f, "a") || f.auth.count() != 1 {
			t.Errorf("then %s after %d calls, want the cached one", got, f.auth.count())
		}
		if s := f.Stats(); s.Bytes != entryBytes+int64(len("a"))+int64(len(f.entries[key{pod: tok.Pod}].answer.Body)) {
			t.Errorf("%d bytes counted", s.Bytes)
		}
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour}, nil)
		defer f.stop()
		mustGet(t, f, token("a", proven, of("a")))
		time.Sleep(10 * time.Minute)
		f.auth.set(func(a *fakeAuth) { a.delay = time.Second })
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { mustGet(t, f, token("b", proven, of("b"))) })
		}
		synctest.Wait()
		s := f.Stats()
		if s.Entries != 1 || s.Waiting != 3 || s.Fetches != 1 || s.Soonest != 50*time.Minute || s.Oldest != 10*time.Minute {
			t.Errorf("%+v", s)
		}
		wg.Wait()
		if s := f.Stats(); s.Waiting != 0 || s.Fetches != 0 || s.Entries != 2 {
			t.Errorf("later %+v", s)
		}
	})
}

// Every entry is in one list and one schedule, every known token leads to its entry, and sizes add up, whatever happens.
func TestBooksAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 2 * time.Minute}, func(c *Config) { c.MaxEntries, c.MaxBytes = 5, 10_000 })
		defer f.stop()
		for i := range 400 {
			f.auth.set(func(a *fakeAuth) { a.err = []error{nil, nil, nil, denied, broken}[i%5] })
			tok := token(fmt.Sprint(i%23), of(fmt.Sprint(i%7)), until(time.Now().Add(time.Duration(i%50+1)*time.Second)))
			tok.Proven = i%3 == 0
			_, _ = f.Get(t.Context(), tok)
			if i%31 == 0 {
				f.Gone(fmt.Sprint(i % 7))
			}
			if i%101 == 0 {
				f.ForgetProofs()
			}
			time.Sleep(time.Second)
			synctest.Wait()
			f.mu.Lock()
			checkBooks(t, f.Cache)
			f.mu.Unlock()
		}
	})
}

func checkBooks(t *testing.T, c *Cache) {
	t.Helper()
	var bytes, weakBytes int64
	known := 0
	for k, e := range c.entries {
		bytes += e.size
		if e.weak {
			weakBytes += e.size
		}
		if e.key != k || !seated(e, e.turn) || e.weak == e.granted() || e.weak == seated(e, e.ending) {
			t.Fatalf("entry %v: turn %v, ending %v, weak %v, granted %v", k.pod, seated(e, e.turn), seated(e, e.ending), e.weak, e.granted())
		}
		for _, token := range e.known {
			known++
			if token.entry != e || c.find(token.token.Raw) != token {
				t.Fatalf("entry %v has a token that is not known as its own", k.pod)
			}
		}
	}
	for i, e := range c.ends.entries {
		if i > 0 && endsFirst(e, c.ends.entries[(i-1)/2]) {
			t.Fatalf("entry %v ends before the one above it", e.key.pod)
		}
	}
	if bytes != c.bytes || weakBytes != c.weakBytes || known != len(c.known) || c.live.Len()+c.weak.Len() != len(c.entries) ||
		c.due.Len()+c.ready.Len() != len(c.entries) || c.ends.Len() != c.live.Len() || c.live.Len() > c.cfg.MaxEntries || c.bytes > c.cfg.MaxBytes {
		t.Fatalf("bytes %d of %d, %d of %d; tokens %d of %d; lists %d+%d, schedules %d+%d of %d", c.bytes, bytes, c.weakBytes, weakBytes,
			len(c.known), known, c.live.Len(), c.weak.Len(), c.due.Len(), c.ready.Len(), len(c.entries))
	}
}

func seated(e *entry, at seat) bool { return at.in != nil && at.in.entries[at.index] == e }
