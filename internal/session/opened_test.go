// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"testing"
	"time"

	"podid/internal/fault"
	"podid/internal/seal"
)

func TestOpenCache(t *testing.T) {
	m, ks := newMinter(t)
	m.Opened = new(OpenCache)
	cred, err := m.Mint(textbook())
	if err != nil {
		t.Fatal(err)
	}
	id, token := cred.AccessKeyID, cred.SessionToken.Reveal()
	first, key, err := m.Open(t.Context(), id, token)
	if err != nil || key.Reveal() != cred.SecretAccessKey.Reveal() {
		t.Fatalf("open: %v", err)
	}
	again, key, err := m.Open(t.Context(), id, token)
	if err != nil || again != first || key.Reveal() != cred.SecretAccessKey.Reveal() {
		t.Errorf("the second time: %p, %v; want the session %p of the first", again, err, first)
	}
	for name, tc := range map[string]struct{ id, token, reason string }{
		"other access key id": {cred.AccessKeyID[:19] + "7", token, "session-token-forged"},
		"altered token":       {id, token[:100] + string(token[100]^1) + token[101:], "session-token-forged"},
	} {
		if _, _, err := m.Open(t.Context(), tc.id, tc.token); err == nil || fault.As(err).Reason != tc.reason {
			t.Errorf("%s: %v, want %s", name, err, tc.reason)
		}
	}
	stale := &Minter{Keys: m.Keys, Rand: m.Rand, Now: func() time.Time { return now.Add(6 * time.Hour) }, Account: m.Account, Partition: m.Partition, Opened: m.Opened}
	if _, _, err := stale.Open(t.Context(), id, token); !fault.Is(err, fault.ExpiredCredentials) {
		t.Errorf("expired: %v", err)
	}
	_, others := newMinter(t)
	known := ks.key
	ks.key = others.key
	if _, _, err := m.Open(t.Context(), id, token); err == nil {
		t.Error("a token of another key with the same id was taken from the cache")
	}
	ks.key, ks.none = known, true
	if _, _, err := m.Open(t.Context(), id, token); err == nil || fault.As(err).Reason != "session-token-key-unknown" {
		t.Errorf("key removed: %v", err)
	}
}

func TestOpenCacheIsBounded(t *testing.T) {
	o, used := new(OpenCache), openedSession{session: &Session{Name: "used"}}
	o.put("id", "used", used)
	for i := range 3 * openedSize {
		o.put("id", fmt.Sprint(i), openedSession{})
		if i%1000 == 0 {
			if e, ok := o.get(seal.TokenKey{}, "id", "used"); !ok || e.session != used.session {
				t.Fatalf("a session in use was lost after %d others", i)
			}
		}
	}
	if n := len(o.young) + len(o.old); n > 2*openedSize {
		t.Errorf("%d sessions are held, at most %d are allowed", n, 2*openedSize)
	}
}
