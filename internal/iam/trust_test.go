// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"encoding/json"
	"strings"
	"testing"

	"podid/internal/store"
)

// FuzzMapPrincipals: whatever the document, only principals change, and only
// as they are told to.
func FuzzMapPrincipals(f *testing.F) {
	for _, s := range []string{
		`{"Statement":{"Principal":{"AWS":"a"}}}`,
		`{"Statement":[{"Principal":{"AWS":["a" ,"a"]}},{"NotPrincipal":{"AWS":"a"}}]}`,
		`{"Pr\u0069ncipal":1,"Statement":[{"Pr\u0069ncipal":{"AWS":"\u0061","Service":"a"},"Sid":"a"}]}`,
		"{\n \"Statement\" : { \"Principal\" : { \"AWS\" : \"a\" } } }\n",
		`[]`, `"a"`, `{"Statement":{"Principal":{"AWS":"a"}}} x`, `{`, ``, `{"AWS":"a"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		same, err := mapPrincipals(text, func(p string) (string, error) { return p, nil })
		if err != nil {
			return
		}
		if same != text {
			t.Fatalf("%q became %q", text, same)
		}
		seen := 0
		there, err := mapPrincipals(text, func(p string) (string, error) { seen++; return p + "\x00\"mark", nil })
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if !json.Valid([]byte(there)) {
			t.Fatalf("%q became %q, which is no JSON", text, there)
		}
		back, err := mapPrincipals(there, func(p string) (string, error) {
			q, ok := strings.CutSuffix(p, "\x00\"mark")
			if !ok {
				t.Errorf("%q was not marked", p)
			}
			seen--
			return q, nil
		})
		if err != nil || seen != 0 || !json.Valid([]byte(back)) {
			t.Fatalf("%q: back to %q, %v, %d left", text, back, err, seen)
		}
	})
}

func FuzzMarker(f *testing.F) {
	f.Add(writeMarker("roles", "a"))
	f.Add("!")
	f.Add("MQByb2\nxlcwA0")
	f.Add("MQByb2xlcwBh\r\n")
	f.Fuzz(func(t *testing.T, marker string) {
		if after, ok := readMarker("roles", marker); ok && writeMarker("roles", after) != marker {
			t.Errorf("%q reads as %q, which is another marker", marker, after)
		}
	})
}

func BenchmarkPoliciesOfRole(b *testing.B) {
	r := &Role{
		Inline:   []InlinePolicy{{"in", "{}"}},
		Attached: []string{"arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"},
	}
	v := store.EmptyView()
	b.ReportAllocs()
	for b.Loop() {
		if refs, err := PoliciesOfRole(v, r); err != nil || len(refs) != 3 {
			b.Fatal(err)
		}
	}
}
