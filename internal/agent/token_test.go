// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"podid/internal/agent/credcache"
)

func encode(header, claims string) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestPeek(t *testing.T) {
	const header = `{"alg":"RS256"}`
	full := encode(header, `{"exp":200,"nbf":100.5,"kubernetes.io":{"namespace":"n","pod":{"uid":"u"},"serviceaccount":{"name":"s"}}}`)
	tests := []struct {
		name, raw string
		want      credcache.Token
		err       string
	}{
		{"whole", full, credcache.Token{
			Pod: credcache.Pod{Namespace: "n", ServiceAccount: "s", UID: "u"}, NotBefore: time.UnixMilli(100500), Expiry: time.Unix(200, 0),
		}, ""},
		{"no claims", encode(header, "{}"), credcache.Token{}, ""},
		{"two parts", "a.b", credcache.Token{}, "three parts"},
		{"four parts", full + ".x", credcache.Token{}, "three parts"},
		{"padding", encode(header, "{}")[:10] + "=." + "e30.", credcache.Token{}, "header"},
		{"no algorithm", encode("{}", "{}"), credcache.Token{}, "no algorithm"},
		{"header is a list", encode("[]", "{}"), credcache.Token{}, "header"},
		{"claims are null", encode(header, "null"), credcache.Token{}, "claims"},
		{"claims of another type", encode(header, `{"kubernetes.io":1}`), credcache.Token{}, "claims"},
		{"negative exp", encode(header, `{"exp":-1}`), credcache.Token{}, "exp"},
		{"nbf beyond time", encode(header, `{"nbf":1e300}`), credcache.Token{}, "nbf"},
		{"bad signature text", full + "!", credcache.Token{}, "signature"},
		{"too long", full + strings.Repeat("a", maxTokenBytes), credcache.Token{}, "longer"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := peek(tc.raw)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Pod != tc.want.Pod || !got.Expiry.Equal(tc.want.Expiry) || !got.NotBefore.Equal(tc.want.NotBefore) || string(got.Raw) != tc.raw {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func FuzzToken(f *testing.F) {
	f.Add("garbage")
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(encode(`{"alg":"RS256"}`, `{"exp":1e9,"nbf":1,"kubernetes.io":{"namespace":"n","pod":{"uid":"u"}}}`))
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := peek(raw)
		if err != nil {
			if len(raw) > 40 && strings.Contains(err.Error(), raw) {
				t.Error("the error quotes the token")
			}
			return
		}
		if string(token.Raw) != raw || strings.Count(raw, ".") != 2 {
			t.Errorf("accepted %q as %+v", raw, token)
		}
		_ = checkTime(token, time.Now())
	})
}
