// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"podid/internal/agent/eksauthclient"
)

// proven makes a token that was verified on this node.
func proven(t *Token) { t.Proven = true }

// of makes a token another pod's.
func of(uid string) func(*Token) { return func(t *Token) { t.Pod.UID = uid } }

// until sets the end of a token's time.
func until(at time.Time) func(*Token) { return func(t *Token) { t.Expiry = at } }

func TestRenewal(t *testing.T) {
	tests := []struct {
		name      string
		life      time.Duration
		retention time.Duration
		want      time.Duration // age at which the second call is made
	}{
		{"six hours: half of life", 6 * time.Hour, 3 * time.Hour, 3 * time.Hour},
		{"six hours: retention comes first", 6 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		{"an hour: half of life", time.Hour, 3 * time.Hour, 30 * time.Minute},
		{"90 s", 90 * time.Second, 3 * time.Hour, 45 * time.Second},
		{"18 s: the floor", 18 * time.Second, 3 * time.Hour, 10 * time.Second},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, &fakeAuth{life: tc.life}, func(c *Config) { c.Retention = tc.retention })
				defer f.stop()
				mustGet(t, f, token("a"))
				time.Sleep(tc.want - time.Second)
				synctest.Wait()
				if got := f.auth.count(); got != 1 {
					t.Fatalf("%d calls before the renewal is due, want 1", got)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if got := f.auth.count(); got != 2 {
					t.Fatalf("%d calls after the renewal was due, want 2", got)
				}
				if got := mustGet(t, f, token("a")); got != "ASIA2" {
					t.Errorf("served %s, want the renewed ASIA2", got)
				}
				if f.seen.refreshed.Load() != 1 || f.seen.misses.Load() != 1 {
					t.Errorf("refreshed %d, misses %d, want 1 and 1", f.seen.refreshed.Load(), f.seen.misses.Load())
				}
			})
		})
	}
}

func TestJitterSpreadsRenewals(t *testing.T) {
	c, err := New(Config{Exchanger: &fakeAuth{}, Log: discard, Observer: &counter{}, MaxEntries: 10, Retention: 3 * time.Hour, RefreshQPS: 3, Rand: bytes.NewReader(bytes.Repeat([]byte{0xff, 0xff, 0, 0}, 2))})
	if err != nil {
		t.Fatal(err)
	}
	late, early := c.renewalAge(4*time.Hour), c.renewalAge(4*time.Hour)
	if early != 2*time.Hour || late < 2*time.Hour+11*time.Minute || late > 2*time.Hour+12*time.Minute {
		t.Errorf("renewals between %s and %s, want from half of life to a tenth of that later", early, late)
	}
}

// An outage takes nothing away: credentials are served to their last second, while renewals are tried again.
func TestOutageServesUntilTheEnd(t *testing.T) {
	lost := &eksauthclient.UnreachableError{TimedOut: true, Err: errors.New("dial")}
	throttled := &eksauthclient.APIError{Status: 429, Code: "ThrottlingException"}
	notThere := &eksauthclient.APIError{Status: 404, Code: "UnknownError"} // of a proxy
	for name, outage := range map[string]error{"500": broken, "no answer": lost, "throttling": throttled, "404 of a proxy": notThere, "no identity": &eksauthclient.IdentityError{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, &fakeAuth{life: 200 * time.Second}, nil)
				defer f.stop()
				mustGet(t, f, token("a"))
				f.auth.set(func(a *fakeAuth) { a.err = outage })
				for range 199 {
					if got := mustGet(t, f, token("a")); got != "ASIA1" {
						t.Fatalf("served %s, want ASIA1", got)
					}
					time.Sleep(time.Second)
				}
				if f.seen.failed.Load() < 2 {
					t.Errorf("%d failed renewals, want several", f.seen.failed.Load())
				}
				time.Sleep(time.Second)
				if _, err := f.Get(t.Context(), token("a")); !errors.Is(err, outage) {
					t.Errorf("error %v after the end, want the upstream's", err)
				}
				f.auth.set(func(a *fakeAuth) { a.err = nil })
				time.Sleep(DefaultFailureTTL)
				mustGet(t, f, token("a"))
			})
		})
	}
}

func TestOutageThatEndsIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
		defer f.stop()
		mustGet(t, f, token("a"))
		f.auth.set(func(a *fakeAuth) { a.err = broken })
		time.Sleep(3*time.Hour + 10*time.Minute)
		f.auth.set(func(a *fakeAuth) { a.err = nil })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if f.seen.refreshed.Load() != 1 {
			t.Errorf("refreshed %d times, want once after the outage", f.seen.refreshed.Load())
		}
	})
}

// A hanging upstream near the end of credentials: the pod gets what is still valid as soon as it would stop waiting.
func TestHangInTheLastSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Minute}, nil)
		defer f.stop()
		mustGet(t, f, token("a"))
		f.auth.set(func(a *fakeAuth) { a.delay = time.Hour })
		time.Sleep(50 * time.Second)
		began := time.Now()
		if got := mustGet(t, f, token("a")); got != "ASIA1" || time.Since(began) > 2*time.Second {
			t.Errorf("served %s after %s, want what is still valid within 2 s", got, time.Since(began))
		}
	})
}

// A denial is honoured at the next renewal. A refusal of the token alone costs a pod its credentials only where the agent
// cannot judge tokens itself.
func TestDenialAtRenewal(t *testing.T) {
	tests := []struct {
		code   string
		proven bool
		kept   bool
	}{
		{"AccessDeniedException", false, false},
		{"ResourceNotFoundException", false, false},
		{"InvalidTokenException", false, false},
		{"ExpiredTokenException", false, false},
		{"AccessDeniedException", true, false},
		{"ResourceNotFoundException", true, false},
		{"InvalidTokenException", true, true},
		{"ExpiredTokenException", true, true},
		{"InternalServerException", true, true},
		{"ThrottlingException", false, true},
	}
	for _, tc := range tests {
		t.Run(fmt.Sprintf("%s proven=%v", tc.code, tc.proven), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
				defer f.stop()
				tok := token("a", func(t *Token) { t.Proven = tc.proven })
				mustGet(t, f, tok)
				f.auth.set(func(a *fakeAuth) { a.err = &eksauthclient.APIError{Status: 400, Code: tc.code} })
				time.Sleep(3*time.Hour - time.Second)
				mustGet(t, f, tok)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				_, err := f.Get(t.Context(), tok)
				if kept := err == nil; kept != tc.kept || f.Len() == 1 != tc.kept {
					t.Errorf("served: %v (%v), %d entries; want %v", kept, err, f.Len(), tc.kept)
				}
			})
		})
	}
}

// Kubelet rotates a token before it ends; the pod goes on with what is cached, and renewals go on with the new token.
func TestRotatedTokenIsServedFromTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
		defer f.stop()
		mustGet(t, f, token("old", proven, until(time.Now().Add(24*time.Hour))))
		f.auth.set(func(a *fakeAuth) { a.err = broken }) // even in an outage
		if got := mustGet(t, f, token("new", proven, until(time.Now().Add(48*time.Hour)))); got != "ASIA1" {
			t.Errorf("the new token got %s, want the pod's ASIA1", got)
		}
		if _, ok, _ := f.Lookup("new", time.Now()); !ok {
			t.Error("the new token is read again")
		}
		f.auth.set(func(a *fakeAuth) { a.err = nil })
		time.Sleep(3*time.Hour + time.Minute)
		synctest.Wait()
		if before, after := f.auth.of("old"), f.auth.of("new"); before != 1 || after != 1 {
			t.Errorf("%d and %d calls, want 1 and 1: renewals show the youngest token", before, after)
		}
		if got := mustGet(t, f, token("old", proven)); got != "ASIA2" || f.Len() != 1 {
			t.Errorf("the old token got %s of %d entries, want the pod's renewed ASIA2", got, f.Len())
		}
	})
}

// Without keys to verify with, a rotated token earns its own answer, which is then the pod's.
func TestRotatedTokenThatIsNotProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
		defer f.stop()
		mustGet(t, f, token("old", until(time.Now().Add(24*time.Hour))))
		if got := mustGet(t, f, token("new", until(time.Now().Add(48*time.Hour)))); got != "ASIA2" {
			t.Errorf("the new token got %s, want an answer of its own", got)
		}
		if got := mustGet(t, f, token("old")); got != "ASIA2" || f.Len() != 1 {
			t.Errorf("the old token got %s of %d entries, want the pod's one", got, f.Len())
		}
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if before, after := f.auth.of("old"), f.auth.of("new"); before != 1 || after != 2 {
			t.Errorf("%d and %d calls, want 1 and 2: renewals show the youngest token", before, after)
		}
	})
}

// Renewals stop with the token: a pod that has ended shows no new one. What is cached is kept for one that has not.
func TestRenewalStopsWithTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
		defer f.stop()
		mustGet(t, f, token("a", proven, until(time.Now().Add(time.Hour))))
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if f.auth.count() != 1 || f.Len() != 1 {
			t.Fatalf("%d calls and %d entries after the token's end, want 1 and 1", f.auth.count(), f.Len())
		}
		if _, ok, _ := f.Lookup("a", time.Now()); ok {
			t.Error("served an expired token")
		}
		if got := mustGet(t, f, token("b", proven, until(time.Now().Add(time.Hour)))); got != "ASIA1" {
			t.Errorf("the rotated token got %s, want the cached ASIA1", got)
		}
		synctest.Wait() // the renewal that was overdue
		if got := mustGet(t, f, token("b", proven)); got != "ASIA2" {
			t.Errorf("then %s, want the renewed ASIA2", got)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if f.Len() != 0 || f.auth.count() != 2 {
			t.Errorf("%d entries and %d calls, want 0 and 2", f.Len(), f.auth.count())
		}
	})
}

// Without proof on this node, an entry ends with the token that EKS Auth accepted.
func TestTokenEndsItsEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
		defer f.stop()
		mustGet(t, f, token("a", until(time.Now().Add(time.Minute))))
		time.Sleep(time.Minute)
		if _, ok, _ := f.Lookup("a", time.Now()); ok {
			t.Error("served an expired token")
		}
		synctest.Wait()
		if f.Len() != 0 || f.auth.count() != 1 {
			t.Errorf("%d entries and %d calls, want 0 and 1", f.Len(), f.auth.count())
		}
	})
}

func TestPodGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour}, nil)
		defer f.stop()
		mustGet(t, f, token("a", proven, of("1")))
		mustGet(t, f, token("b", proven, of("2")))
		f.auth.set(func(a *fakeAuth) { a.delay = time.Second })
		go func() { _, _ = f.Get(t.Context(), token("c", proven, of("3"))) }()
		synctest.Wait()
		f.Gone("1")
		f.Gone("3") // while its call is under way
		f.Gone("")
		time.Sleep(2 * time.Second)
		if _, ok, _ := f.Lookup("a", time.Now()); ok || f.Len() != 1 {
			t.Errorf("the ended pods' entries are kept: %d entries, want 1", f.Len())
		}
		time.Sleep(time.Hour)
		if f.auth.of("a") != 1 || f.auth.of("c") != 1 || f.auth.of("b") < 2 {
			t.Error("renewed for a pod that has ended")
		}
	})
}

func TestRenewalRateIsHonest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pods = 150
		f := start(t, &fakeAuth{life: time.Hour}, func(c *Config) { c.MaxEntries, c.RefreshQPS = 1000, 3 })
		defer f.stop()
		for i := range pods {
			mustGet(t, f, token(fmt.Sprint(i), of(fmt.Sprint(i))))
		}
		time.Sleep(30*time.Minute + 20*time.Second)
		synctest.Wait()
		got := f.auth.count() - pods
		if got < 60 || got > 64 {
			t.Errorf("%d renewals in 20 s at 3/s, want 60 and the burst", got)
		}
		if backlog := f.Stats().Backlog; backlog < 80 || backlog > 90 {
			t.Errorf("backlog %d, want what is left of %d", backlog, pods)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := f.seen.refreshed.Load(); got != pods {
			t.Errorf("%d of %d renewed in 50 s at 3/s", got, pods)
		}
	})
}

// 1,000 pods are due at once, with an upstream that takes its time; those whose credentials end first come first.
func TestBacklogDrainsMostUrgentFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pods = 1000
		auth := &fakeAuth{life: 6 * time.Hour}
		f := start(t, auth, nil)
		defer f.stop()
		for i := range pods {
			if i == pods-20 { // the last are short, and due at the same time
				auth.set(func(a *fakeAuth) { a.life = 3*time.Hour + time.Minute })
			}
			mustGet(t, f, token(fmt.Sprint(i), of(fmt.Sprint(i))))
		}
		auth.set(func(a *fakeAuth) { a.err = broken })
		time.Sleep(3*time.Hour - time.Minute) // the short ones have failed and wait to be tried again
		auth.set(func(a *fakeAuth) { a.err, a.life, a.delay = nil, 6*time.Hour, 500*time.Millisecond })
		began := f.seen.refreshed.Load()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		for i := pods - 20; i < pods; i++ {
			raw := fmt.Sprint(i)
			if got := mustGet(t, f, token(raw, of(raw))); got == fmt.Sprintf("ASIA%d", i+1) {
				t.Errorf("pod %d, whose credentials end first, is not renewed", i)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := f.seen.refreshed.Load() - began; got != pods {
			t.Errorf("%d of %d renewed 2 minutes after they were due", got, pods)
		}
	})
}

func TestMostUrgentFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{Exchanger: &fakeAuth{life: time.Hour}, Log: discard, Observer: &counter{}, MaxEntries: 100, Retention: time.Hour, RefreshQPS: 10, Rand: bytes.NewReader(nil)})
		if err != nil {
			t.Fatal(err)
		}
		auth := c.cfg.Exchanger.(*fakeAuth)
		for i, life := range []time.Duration{5 * time.Hour, 3 * time.Hour, 4 * time.Hour} {
			auth.set(func(a *fakeAuth) { a.life = life })
			if _, err := c.Get(t.Context(), token(fmt.Sprint(i), of(fmt.Sprint(i)))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour) // all are due
		if ready, _ := c.collect(); !ready {
			t.Fatal("nothing is due")
		}
		var order []string
		for f := c.renewNext(); f != nil; f = c.renewNext() {
			order = append(order, string(f.token.Raw))
			<-f.done
		}
		if got := fmt.Sprint(order); got != "[1 2 0]" {
			t.Errorf("renewed in the order %s, want the shortest life first", got)
		}
		c.end()
		c.calls.Wait()
	})
}
