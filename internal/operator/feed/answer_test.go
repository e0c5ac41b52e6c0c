// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestReadAnswer(t *testing.T) {
	tests := []struct {
		name, text string
		want       string // what was read, or the error
	}{
		{"complete", `{"clusterUid":"u","revision":7,"complete":true,"associations":[{"namespace":"n","serviceAccount":"s","associationId":"a-1","revision":3}]}`, "u 7 true [{n s a-1 3}] []"},
		{"changes", `{"clusterUid":"u","revision":7,"complete":false,"associations":[],"deleted":[{"namespace":"n","serviceAccount":"s"}]}`, "u 7 false [] [{n s}]"},
		{"bookmark with null", `{"clusterUid":"u","revision":7,"complete":false,"associations":null}`, "u 7 false [] []"},
		{"any order, and what is new", `{"x":{"y":[1]},"associations":[{"namespace":"n","serviceAccount":"s","associationId":"a","revision":1,"z":2}],"revision":7,"clusterUid":"u"}`, "u 7 false [{n s a 1}] []"},
		{"one twice: the last counts", `{"clusterUid":"u","revision":7,"associations":[{"namespace":"n","serviceAccount":"s","associationId":"a","revision":1},{"namespace":"n","serviceAccount":"s","associationId":"b","revision":2}]}`, "u 7 false [{n s b 2}] []"},
		{"empty", ``, "unexpected EOF"},
		{"cut", `{"clusterUid":"u","revision":7,"associations":[{"namespace":"n"`, "unexpected EOF"},
		{"cut between", `{"clusterUid":"u","revision":7,"complete":true,"associations":[]`, "unexpected EOF"},
		{"more", `{"clusterUid":"u","revision":7}{}`, "there is more after it"},
		{"no object", `[]`, "expected {"},
		{"no list", `{"associations":{}}`, "expected a list"},
		{"no cluster", `{"revision":7}`, "names no cluster"},
		{"no revision", `{"clusterUid":"u"}`, "no revision"},
		{"no name", `{"clusterUid":"u","revision":7,"associations":[{"namespace":"n","associationId":"a","revision":1}]}`, "1 to 255 bytes"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			a, err := readAnswer(strings.NewReader(tc.text))
			if err != nil {
				if !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %q", err, tc.want)
				}
				return
			}
			s := a.named.snapshot()
			s.sort()
			if got := fmt.Sprint(a.clusterUID, " ", a.revision, " ", a.complete, " ", slices.Collect(s.All()), " ", a.deleted); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// FuzzReadAnswer: what can be read is what encoding/json reads as a whole.
func FuzzReadAnswer(f *testing.F) {
	f.Add(`{"clusterUid":"u","revision":7,"complete":true,"associations":[{"namespace":"n","serviceAccount":"s","associationId":"a-1","revision":3}],"deleted":[{"namespace":"n","serviceAccount":"s"}]}`)
	f.Add(`{"clusterUid":"u","revision":7,"associations":null,"x":[{}]}`)
	f.Add(`{"associations":[[]]}`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := readAnswer(strings.NewReader(text))
		if err != nil {
			return
		}
		if !json.Valid([]byte(text)) {
			t.Fatalf("read what is no JSON: %q", text)
		}
		for r := range a.named.records() {
			x := r.association()
			if x.Namespace == "" || x.ServiceAccount == "" || x.ID == "" {
				t.Fatalf("read %v", x)
			}
		}
	})
}

func BenchmarkReadAnswer(b *testing.B) {
	var text strings.Builder
	text.WriteString(`{"clusterUid":"u","revision":7,"complete":true,"associations":[`)
	for i := range 1000 {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"namespace":"team-%d","serviceAccount":"service-account-%d","associationId":"a-%017d","revision":%d}`, i/20, i, i, i)
	}
	text.WriteString(`]}`)
	b.ReportAllocs()
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, err := readAnswer(strings.NewReader(text.String())); err != nil {
			b.Fatal(err)
		}
	}
}
