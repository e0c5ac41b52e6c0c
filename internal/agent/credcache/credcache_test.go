// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"podid/internal/agent/eksauthclient"
)

// fakeAuth is an Exchanger whose answers a test scripts.
type fakeAuth struct {
	mu    sync.Mutex
	calls int
	life  time.Duration
	delay time.Duration
	err   error
	seen  map[string]int
}

func (f *fakeAuth) AssumeRoleForPodIdentity(ctx context.Context, token eksauthclient.Secret) (*eksauthclient.Session, error) {
	f.mu.Lock()
	f.calls++
	n, life, delay, err := f.calls, f.life, f.delay, f.err
	if f.seen == nil {
		f.seen = map[string]int{}
	}
	f.seen[string(token)]++
	f.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, &eksauthclient.UnreachableError{TimedOut: true, Err: ctx.Err()}
	}
	if err != nil {
		return nil, err
	}
	return &eksauthclient.Session{
		AccessKeyID: fmt.Sprintf("ASIA%d", n), SecretAccessKey: "hush<&>", SessionToken: "session-secret",
		Expiration: time.Now().Add(life), AccountID: "111122223333",
	}, nil
}

func (f *fakeAuth) set(change func(*fakeAuth)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// of is the number of calls with that token.
func (f *fakeAuth) of(raw string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[raw]
}

func (f *fakeAuth) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

var discard = slog.New(slog.DiscardHandler)

type counter struct{ hits, misses, evicted, refreshed, failed atomic.Int64 }

func (c *counter) Hit()     { c.hits.Add(1) }
func (c *counter) Miss()    { c.misses.Add(1) }
func (c *counter) Evicted() { c.evicted.Add(1) }
func (c *counter) Refreshed(err error) {
	if err != nil {
		c.failed.Add(1)
		return
	}
	c.refreshed.Add(1)
}

// fixture is a running cache; stop ends it and waits.
type fixture struct {
	*Cache
	auth *fakeAuth
	seen *counter
	logs *bytes.Buffer
	stop func()
}

func start(t *testing.T, auth *fakeAuth, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{auth: auth, seen: &counter{}, logs: &bytes.Buffer{}}
	cfg := Config{
		Exchanger: auth, MaxEntries: 2000, Retention: DefaultRetention, RefreshQPS: DefaultRefreshQPS,
		Log:      slog.New(slog.NewTextHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Observer: f.seen, Rand: bytes.NewReader(nil), // without randomness there is no jitter: exact times below
	}
	if change != nil {
		change(&cfg)
	}
	cache, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Cache = cache
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cache.Run(ctx) }()
	f.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	return f
}

func token(raw string, change ...func(*Token)) Token {
	t := Token{Raw: eksauthclient.Secret(raw), Pod: Pod{"ns", "sa", "uid"}}
	for _, c := range change {
		c(&t)
	}
	return t
}

func mustGet(t *testing.T, c *fixture, tok Token) string {
	t.Helper()
	answer, err := c.Get(t.Context(), tok)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return keyID(t, answer)
}

var (
	denied = &eksauthclient.APIError{Status: 400, Code: "AccessDeniedException", Message: "no", RequestID: "r"}
	broken = &eksauthclient.APIError{Status: 500, Code: "InternalServerException", Message: "oops", RequestID: "r"}
)

func TestConcurrentMissesMakeOneCall(t *testing.T) {
	tests := []struct {
		name string
		auth fakeAuth
		want error
	}{
		{"success", fakeAuth{life: 6 * time.Hour, delay: 50 * time.Millisecond}, nil},
		{"failure", fakeAuth{err: broken, delay: 50 * time.Millisecond}, broken},
		{"refusal", fakeAuth{err: denied, delay: 50 * time.Millisecond}, denied},
		{"hang", fakeAuth{delay: time.Hour}, ErrSlow},
	}
	for i := range tests {
		tc := &tests[i]
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, &tc.auth, nil)
				defer f.stop()
				const n = 64
				var wg sync.WaitGroup
				answers := make([]Answer, n)
				for i := range n {
					wg.Go(func() {
						var err error
						answers[i], err = f.Get(t.Context(), token("a"))
						if !errors.Is(err, tc.want) {
							t.Errorf("error %v, want %v", err, tc.want)
						}
					})
				}
				wg.Wait()
				if got := tc.auth.count(); got != 1 {
					t.Errorf("%d upstream calls, want 1", got)
				}
				if tc.want == nil && !bytes.Equal(answers[0].Body, answers[n-1].Body) {
					t.Error("waiters got different answers")
				}
			})
		})
	}
}

func TestFetchOutlivesTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour, delay: 2 * time.Second}, nil)
		defer f.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Get(ctx, token("a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v, want the request's own end", err)
		}
		time.Sleep(1500 * time.Millisecond)
		if _, ok, _ := f.Lookup(eksauthclient.Secret("a"), time.Now()); !ok {
			t.Error("the call was cancelled with its request")
		}
		if got := f.auth.count(); got != 1 {
			t.Errorf("%d upstream calls, want 1", got)
		}
	})
}

func TestAnswerDocument(t *testing.T) {
	at := time.Date(2026, 11, 22, 23, 0, 0, 500e6, time.FixedZone("x", 3600))
	answer := render(&eksauthclient.Session{
		AccessKeyID: "AKID", SecretAccessKey: "a<b", SessionToken: "t&u", AccountID: "1", Expiration: at,
	})
	want := `{"AccessKeyId":"AKID","SecretAccessKey":"a<b","Token":"t&u","AccountId":"1","Expiration":"2026-11-22T22:00:00Z"}`
	if got := string(answer.Body); got != want {
		t.Errorf("body %s, want %s", got, want)
	}
	if got := answer.ContentLength[0]; got != fmt.Sprint(len(want)) {
		t.Errorf("length %s, want %d", got, len(want))
	}
	if s := fmt.Sprintf("%v %s", answer, answer); strings.Contains(s, "AKID") {
		t.Errorf("answer prints itself: %s", s)
	}
}

// Strings that no EKS Auth has sent yet do not break the document.
func TestAnswerDocumentOfAnyString(t *testing.T) {
	for _, odd := range []string{"", `a"b`, `a\b`, "a\nb", "ä", "\x00", "a\u2028b", "</script>"} {
		answer := render(&eksauthclient.Session{AccessKeyID: odd, SecretAccessKey: "s", SessionToken: "t", AccountID: "1", Expiration: time.Unix(1, 0)})
		var got map[string]string
		if err := json.Unmarshal(answer.Body, &got); err != nil {
			t.Fatalf("%q: %v", odd, err)
		}
		if got["AccessKeyId"] != odd || got["SecretAccessKey"] != "s" || got["Expiration"] != "1970-01-01T00:00:01Z" {
			t.Errorf("%q becomes %v", odd, got)
		}
	}
}

// A token that claims another pod's uid must not be given that pod's credentials: signatures are EKS Auth's business.
func TestForgedTokenOfACachedPod(t *testing.T) {
	end := strings.Repeat("s", 2*hashed)
	for name, raw := range map[string][2]string{"another signature": {"genuine", "forged"}, "the same end": {"genuine" + end, "forged" + end}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
				defer f.stop()
				mustGet(t, f, token(raw[0]))
				f.auth.set(func(a *fakeAuth) {
					a.err = &eksauthclient.APIError{Status: 400, Code: "InvalidTokenException"}
				})
				for range 2 {
					if _, err := f.Get(t.Context(), token(raw[1])); err == nil {
						t.Fatal("forged token was served")
					}
					if _, ok, err := f.Lookup(eksauthclient.Secret(raw[1]), time.Now()); ok && err == nil {
						t.Fatal("forged token was served by its end")
					}
				}
				if got := mustGet(t, f, token(raw[0])); got != "ASIA1" || !has(f, raw[0]) {
					t.Errorf("the genuine pod got %s, want its cached ASIA1", got)
				}
				if calls := f.auth.count(); calls != 2 {
					t.Errorf("%d calls upstream, want one for each token", calls)
				}
			})
		})
	}
}

func TestCacheSwitchedOff(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"size":      func(c *Config) { c.MaxEntries = 0 },
		"retention": func(c *Config) { c.Retention = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, &fakeAuth{life: time.Hour}, change)
				defer f.stop()
				mustGet(t, f, token("a"))
				if got := mustGet(t, f, token("a")); got != "ASIA2" || f.Len() != 0 {
					t.Errorf("served %s with %d entries, want a call each", got, f.Len())
				}
			})
		})
	}
}

func TestTooShortCredentialsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 15 * time.Second}, nil)
		defer f.stop()
		if _, err := f.Get(t.Context(), token("a")); !errors.Is(err, ErrTooShort) {
			t.Errorf("error %v, want ErrTooShort", err)
		}
	})
}

func TestStoppedCacheRefusesMisses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour, delay: time.Hour}, nil)
		got := make(chan error)
		go func() {
			_, err := f.Get(t.Context(), token("a"))
			got <- err
		}()
		synctest.Wait()
		f.stop() // ends the call under way
		if err := <-got; err == nil {
			t.Error("the call outlived the cache")
		}
		if _, err := f.Get(t.Context(), token("b")); !errors.Is(err, ErrStopped) {
			t.Errorf("error %v, want ErrStopped", err)
		}
	})
}

// Tokens can be made up at will: while the upstream hangs, calls for them must not pile up.
func TestFetchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := &fakeAuth{life: time.Hour}
		f := start(t, auth, nil)
		defer f.stop()
		mustGet(t, f, token("cached"))
		auth.set(func(a *fakeAuth) { a.delay = time.Hour })
		errs := make(chan error, MaxFetches+10)
		for i := range cap(errs) {
			go func() {
				_, err := f.Get(t.Context(), token(fmt.Sprintf("forged %d", i)))
				errs <- err
			}()
		}
		synctest.Wait()
		if got := auth.count() - 1; got != MaxFetches {
			t.Errorf("%d calls under way, want %d", got, MaxFetches)
		}
		for range 10 {
			if err := <-errs; !errors.Is(err, ErrBusy) {
				t.Errorf("error %v, want ErrBusy", err)
			}
		}
		mustGet(t, f, token("cached")) // who has credentials is served all the while
		time.Sleep(time.Minute)        // the calls time out
		auth.set(func(a *fakeAuth) { a.delay = 0 })
		mustGet(t, f, token("another"))
	})
}

func TestLogsHoldNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour}, nil)
		mustGet(t, f, token("raw-token"))
		for range 10 {
			mustGet(t, f, token("raw-token"))
		}
		f.auth.set(func(a *fakeAuth) { a.err = broken })
		if _, err := f.Get(t.Context(), token("raw-token-2")); err == nil {
			t.Fatal("want an error")
		}
		f.stop()
		logs := f.logs.String()
		for _, secret := range []string{"raw-token", "hush", "session-secret"} {
			if strings.Contains(logs, secret) {
				t.Errorf("log holds %q: %s", secret, logs)
			}
		}
		if got := strings.Count(logs, "\n"); got != 2 {
			t.Errorf("%d log lines for 2 upstream calls and 10 hits, want 2:\n%s", got, logs)
		}
	})
}

func TestNewReportsEveryProblem(t *testing.T) {
	_, err := New(Config{MaxEntries: -1, Retention: -1, RefreshQPS: -1, FetchTimeout: -1})
	for _, want := range []string{"required", "max cache size", "retention", "max service qps", "fetch time-out"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not mention %q", err, want)
		}
	}
	_, err = New(Config{Exchanger: &fakeAuth{}, Log: slog.New(slog.DiscardHandler), Observer: &counter{}, MaxEntries: 2000, Retention: time.Minute, RefreshQPS: 3})
	if err == nil || !strings.Contains(err.Error(), "less than half") {
		t.Errorf("error %v, want the rule of renewals against size", err)
	}
}

func benchCache(b *testing.B) *Cache {
	b.Helper()
	c, err := New(Config{
		Exchanger: &fakeAuth{life: time.Hour}, MaxEntries: 2000, Retention: DefaultRetention, RefreshQPS: DefaultRefreshQPS,
		Log: slog.New(slog.DiscardHandler), Observer: &counter{},
	})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func BenchmarkLookup(b *testing.B) {
	c := benchCache(b)
	raw := strings.Repeat("x", 1300)
	if _, err := c.Get(b.Context(), token(raw)); err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, _ := c.Lookup(eksauthclient.Secret(raw), now); !ok {
			b.Fatal("miss")
		}
	}
}

// BenchmarkFull is a fetch for a new pod where as many as may be are kept, without the call upstream.
func BenchmarkFull(b *testing.B) {
	c := benchCache(b)
	end := time.Now().Add(time.Hour)
	n := 0
	fetch := func() {
		n++
		raw := fmt.Sprint(n)
		if _, err := c.Get(b.Context(), token(raw, proven, of(raw), until(end))); err != nil {
			b.Fatal(err)
		}
	}
	for range 2000 {
		fetch()
	}
	b.ReportAllocs()
	for b.Loop() {
		fetch()
	}
}
