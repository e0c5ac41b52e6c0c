// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthapi

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"podid/internal/audit"
)

// pattern is that of the API model for JwtToken.
var pattern = regexp.MustCompile(`^[A-Za-z0-9\-_=]+\.[A-Za-z0-9\-_=]+\.[A-Za-z0-9\-_=]+$`)

func TestIsToken(t *testing.T) {
	for _, s := range []string{"", ".", "..", "a.b", "a.b.c", "a.b.c.d", ".b.c", "a..c", "a.b.", "a.b.c\n", "a b.c.d", "=.-._", "é.b.c"} {
		if got, want := isToken(s), pattern.MatchString(s); got != want {
			t.Errorf("isToken(%q) = %v, want %v", s, got, want)
		}
	}
	for c := range 256 {
		s := "a." + string([]byte{byte(c)}) + ".c"
		if got, want := isToken(s), pattern.MatchString(s); got != want {
			t.Errorf("isToken with byte %#x = %v, want %v", c, got, want)
		}
	}
}

func TestPlainParameters(t *testing.T) {
	p := parameters{"my-Cluster_1", audit.Hidden}
	want, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if got := plainParameters(p).AppendJSON(nil); string(got) != string(want) {
		t.Errorf("plain parameters are %s, encoding/json makes %s", got, want)
	}
}

func BenchmarkReadToken(b *testing.B) {
	body := []byte(`{"token":"` + strings.Repeat("eyJhbGci", 12) + "." + strings.Repeat("OiJSUzI1", 80) + "." + strings.Repeat("Nlotbm90", 43) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readToken(body); err != nil {
			b.Fatal(err)
		}
	}
}
