// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// account makes a token one of another service account.
func account(name string) func(*Token) { return func(t *Token) { t.Pod.ServiceAccount = name } }

func TestChanged(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string // what the pod is served a second later
	}{
		"granted anew": {nil, "ASIA3"},
		"denied":       {denied, ""},
		"outage":       {broken, "ASIA1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
				defer f.stop()
				mustGet(t, f, token("a", proven))
				mustGet(t, f, token("b", proven, of("uid-b"), account("other")))
				f.auth.set(func(a *fakeAuth) { a.err = tc.err })
				f.Changed("ns", "sa")
				time.Sleep(time.Second)
				synctest.Wait()
				if f.auth.count() != 3 || f.auth.of("a") != 2 {
					t.Errorf("%d calls, %d of the account's pod", f.auth.count(), f.auth.of("a"))
				}
				answer, found, err := f.Lookup("a", time.Now())
				if tc.want == "" {
					if !found || !errors.Is(err, tc.err) {
						t.Errorf("found %v, error %v", found, err)
					}
					return
				}
				if got := keyID(t, answer); got != tc.want || err != nil {
					t.Errorf("served %s (%v), want %s", got, err, tc.want)
				}
				if got := mustGet(t, f, token("b", proven, of("uid-b"), account("other"))); got != "ASIA2" {
					t.Errorf("another account's pod is served %s", got)
				}
			})
		})
	}
}

// A refusal is forgotten, so that the association that was made since is found at once.
func TestChangedForgetsRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour, err: denied}, nil)
		defer f.stop()
		if _, err := f.Get(t.Context(), token("a", proven)); !errors.Is(err, denied) {
			t.Fatal(err)
		}
		f.auth.set(func(a *fakeAuth) { a.err = nil })
		f.Changed("ns", "sa")
		mustGet(t, f, token("a", proven))
	})
}

// What a call brings that was under way when the change became known is asked for again.
func TestChangedDuringACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: time.Hour, delay: time.Second}, nil)
		defer f.stop()
		go func() { _, _ = f.Get(t.Context(), token("a", proven)) }()
		synctest.Wait()
		f.Changed("ns", "sa")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if f.auth.count() != 2 {
			t.Errorf("%d calls, want 2", f.auth.count())
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if f.auth.count() != 2 {
			t.Errorf("%d calls, want no more than 2", f.auth.count())
		}
	})
}

// Without a token that may be shown, the renewal waits for the pod's next one.
func TestChangedWithoutAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
		defer f.stop()
		mustGet(t, f, token("a", proven, until(time.Now().Add(time.Minute))))
		time.Sleep(2 * time.Minute)
		f.Changed("ns", "sa")
		time.Sleep(time.Second)
		synctest.Wait()
		if f.auth.count() != 1 {
			t.Errorf("%d calls with a token that has expired", f.auth.count())
		}
		f.auth.set(func(a *fakeAuth) { a.err = denied })
		mustGet(t, f, token("b", proven, until(time.Now().Add(time.Hour))))
		time.Sleep(time.Second)
		synctest.Wait()
		if f.auth.of("b") != 1 || f.Len() != 0 {
			t.Errorf("%d calls with the next token, %d pods with credentials", f.auth.of("b"), f.Len())
		}
	})
}

// Changes go before what is merely due, and everything keeps to the rate.
func TestChangedIsUrgentAndRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 6 * time.Hour}, func(c *Config) { c.MaxEntries, c.RefreshQPS = 100, 5 })
		defer f.stop()
		for i := range 40 {
			mustGet(t, f, token(fmt.Sprint("t", i), proven, of(fmt.Sprint("u", i)), account(fmt.Sprint("sa", i/20))))
		}
		f.ChangedAll()
		f.Changed("ns", "sa1")
		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		first := 0
		for i := 20; i < 40; i++ {
			first += f.auth.of(fmt.Sprint("t", i)) - 1
		}
		if renewed := f.auth.count() - 40; renewed != 20 || first != 20 {
			t.Errorf("%d renewals in 3 s at 5 a second and as many at once, %d of them of the account that changed", renewed, first)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if renewed := f.auth.count() - 40; renewed != 40 {
			t.Errorf("%d renewals in all", renewed)
		}
	})
}

func keyID(t *testing.T, answer Answer) string {
	t.Helper()
	var doc struct{ AccessKeyId string } //nolint:revive,staticcheck // the wire's spelling
	if err := json.Unmarshal(answer.Body, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.AccessKeyId
}
