// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestTakeOver: another cache answers the same tokens with the same credentials, without a call, and renews them when
// they are due.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
		defer old.stop()
		exp := until(time.Now().Add(24 * time.Hour))
		mustGet(t, old, token("a1", proven, exp))
		mustGet(t, old, token("a2", proven, exp))
		mustGet(t, old, token("b", of("uid-b"), exp)) // accepted by EKS Auth
		old.auth.set(func(a *fakeAuth) { a.err = denied })
		if _, err := old.Get(t.Context(), token("c", proven, of("uid-c"))); err == nil {
			t.Fatal("not refused")
		}
		at := old.Generation()
		time.Sleep(time.Hour)
		records := old.Records()
		if len(records) != 2 || old.Generation() != at+1 { // the refusal was forgotten
			t.Fatalf("%d records, %d changes", len(records), old.Generation()-at)
		}
		text, err := json.Marshal(records)
		if err != nil {
			t.Fatal(err)
		}
		var got []Record
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		next := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
		defer next.stop()
		next.auth.set(func(a *fakeAuth) { a.calls = 100 })
		for _, r := range got {
			if !next.Adopt(r) {
				t.Errorf("not taken over: %s", r.UID)
			}
			if next.Adopt(r) {
				t.Errorf("taken over twice: %s", r.UID)
			}
		}
		for raw, want := range map[string]string{"a1": "ASIA1", "a2": "ASIA1", "b": "ASIA2"} {
			answer, found, err := next.Lookup(token(raw).Raw, time.Now())
			if !found || err != nil || keyID(t, answer) != want {
				t.Errorf("%s: found %v, %v", raw, found, err)
			}
		}
		if next.auth.count() != 100 {
			t.Errorf("%d calls", next.auth.count()-100)
		}
		time.Sleep(2*time.Hour + time.Minute)
		synctest.Wait()
		if next.auth.count() != 102 {
			t.Errorf("%d renewals when they are due, want 2", next.auth.count()-100)
		}
	})
}

func TestAdoptRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{}, nil)
		defer f.stop()
		good := Record{Namespace: "n", ServiceAccount: "s", UID: "u", Body: "{}", Expires: time.Now().Add(time.Hour), Tokens: []TokenRecord{{Raw: "t"}}}
		for name, change := range map[string]func(*Record){
			"no pod":         func(r *Record) { r.UID = "" },
			"no token":       func(r *Record) { r.Tokens = nil },
			"too many":       func(r *Record) { r.Tokens = make([]TokenRecord, maxTokens+1) },
			"no document":    func(r *Record) { r.Body = "" },
			"half a one":     func(r *Record) { r.Body = `{"a":` },
			"over":           func(r *Record) { r.Expires = time.Now() },
			"without an end": func(r *Record) { r.Expires = time.Time{} },
		} {
			r := good
			if change(&r); f.Adopt(r) || f.Len() != 0 {
				t.Errorf("%s: taken over", name)
			}
		}
		if !f.Adopt(good) || f.Len() != 1 {
			t.Error("refused a good one")
		}
		older := good
		older.Expires = older.Expires.Add(-time.Minute)
		if f.Adopt(older) {
			t.Error("took over older credentials than those there")
		}
	})
}

func TestAdoptKeepsItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{}, func(c *Config) { c.MaxEntries = 3 })
		defer f.stop()
		for i := range 10 {
			f.Adopt(Record{UID: fmt.Sprint(i), Body: "{}", Expires: time.Now().Add(time.Hour), Tokens: []TokenRecord{{Raw: fmt.Sprint(i)}}})
		}
		if f.Len() != 3 {
			t.Errorf("%d pods", f.Len())
		}
	})
}

func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, &fakeAuth{life: 6 * time.Hour}, nil)
		defer f.stop()
		mustGet(t, f, token("a", proven))
		f.Rest(true)
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if f.auth.count() != 1 {
			t.Errorf("%d calls at rest", f.auth.count())
		}
		f.Rest(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if f.auth.count() != 2 {
			t.Errorf("%d calls after the rest", f.auth.count())
		}
	})
}

func TestRecordsAreSecret(t *testing.T) {
	r := Record{Body: "hush", Tokens: []TokenRecord{{Raw: "hush"}}}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "r", r, "t", r.Tokens[0])
	if text := fmt.Sprintf("%v %+v %#v %s %v %#v", r, r, r, r, r.Tokens, r.Tokens[0]) + log.String(); strings.Contains(text, "hush") {
		t.Error(text)
	}
}
