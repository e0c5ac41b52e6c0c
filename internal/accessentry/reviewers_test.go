// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"podid/internal/accessentry"
	"podid/internal/store"
)

func (h *house) token(tb testing.TB, cluster string) string {
	tb.Helper()
	s, err := h.CreateReviewToken(tb.Context(), me, cluster)
	if err != nil {
		tb.Fatal(err)
	}
	return s.Reveal()
}

// The token before the newest stays good, older ones do not; each is good for
// its own cluster only, and none is stored.
func TestReviewTokens(t *testing.T) {
	h := newHouse(t)
	h.register(t, "other")
	first, foreign := h.token(t, "c"), h.token(t, "other")
	good := func(name, token string) bool {
		c, ok := accessentry.ReviewedCluster(h.store.View(), scope.Region, name, token)
		return ok && c.Name == name
	}
	if !good("c", first) || !good("other", foreign) || good("other", first) || good("c", foreign) {
		t.Error("a token is not its own cluster's alone")
	}
	second := h.token(t, "c")
	if !good("c", first) || !good("c", second) {
		t.Error("the token before was taken away at once")
	}
	third := h.token(t, "c")
	if good("c", first) || !good("c", second) || !good("c", third) || !good("other", foreign) {
		t.Error("not the newest two are good")
	}
	for _, r := range accessentry.Reviewers.List(h.store.View(), scope, "", "") {
		for _, sum := range r.Hashes {
			if len(sum) != 32 || bytes.Contains([]byte(third), sum) {
				t.Errorf("stored: %x", sum)
			}
		}
	}
	s, err := h.CreateReviewToken(t.Context(), me, "c")
	if err != nil || strings.Contains(fmt.Sprintf("%v %+v %s", s, s, s), s.Reveal()) {
		t.Errorf("a token shows itself, or %v", err)
	}
	if _, err := h.clusters.Delete(t.Context(), me, "c"); err != nil {
		t.Fatal(err)
	}
	h.register(t, "c")
	if good("c", third) {
		t.Error("the next cluster of that name takes the token of the one before")
	}
}

func TestReviewTokenRefused(t *testing.T) {
	h := newHouse(t)
	token := h.token(t, "c")
	secret := token[strings.LastIndexByte(token, '.')+1:]
	for name, bad := range map[string]string{
		"empty": "", "prefix alone": "podid-review.", "no secret": "podid-review." + account + ".", "no account": "podid-review.." + secret,
		"another account": "podid-review.210987654321." + secret, "account and more": "podid-review." + account + "/x." + secret,
		"cut": token[:len(token)-1], "longer": token + "A", "one bit": flip(token), "upper case": strings.ToUpper(token), "padded": token + "=",
		"space": " " + token, "line end": token + "\n", "no prefix": account + "." + secret, "huge": token + strings.Repeat("A", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			if _, ok := accessentry.ReviewedCluster(h.store.View(), scope.Region, "c", bad); ok {
				t.Error("let in")
			}
		})
	}
	for name, at := range map[string][2]string{"another cluster": {scope.Region, "d"}, "another region": {"eu-west-1", "c"}, "no name": {scope.Region, ""}} {
		if _, ok := accessentry.ReviewedCluster(h.store.View(), at[0], at[1], token); ok {
			t.Errorf("%s: let in", name)
		}
	}
}

func flip(s string) string {
	b := []byte(s)
	b[len(b)-2] ^= 1
	return string(b)
}

// FuzzReviewedCluster: nothing but the token itself is let in, and nothing
// makes the look-up leave the region's own records.
func FuzzReviewedCluster(f *testing.F) {
	h := newHouse(f)
	token := h.token(f, "c")
	for _, s := range []string{"", token[:20], flip(token), "podid-review.." + account, "podid-review." + account + "/global." + token} {
		f.Add("c", s)
	}
	f.Add("../c", token[:40])
	f.Fuzz(func(t *testing.T, name, bearer string) {
		if c, ok := accessentry.ReviewedCluster(h.store.View(), scope.Region, name, bearer); ok && (bearer != token || c.Name != "c" || c.Scope() != (store.Scope{Account: account, Region: scope.Region})) {
			t.Errorf("%q lets into %q", bearer, name)
		}
	})
}

func BenchmarkReviewedCluster(b *testing.B) {
	h := newHouse(b)
	token, v := h.token(b, "c"), h.store.View()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := accessentry.ReviewedCluster(v, scope.Region, "c", token); !ok {
			b.Fatal("refused")
		}
	}
}
