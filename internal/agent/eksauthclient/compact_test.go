// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sameAsJSON fails if compact reads something that encoding/json reads otherwise, or not at all.
func sameAsJSON(t *testing.T, answer []byte) (ok bool) {
	t.Helper()
	got, ok := compact(answer)
	if !ok {
		return false
	}
	var want responseJSON
	if err := json.Unmarshal(answer, &want); err != nil {
		t.Fatalf("compact reads %q, which encoding/json refuses: %v", answer, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%q (-encoding/json +compact):\n%s", answer, diff)
	}
	return true
}

func TestCompact(t *testing.T) {
	var whole bytes.Buffer
	if err := json.Compact(&whole, []byte(golden(t))); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, answer string
		compact      bool
	}{
		{"what EKS Auth writes", whole.String(), true},
		{"a fraction", `{"credentials":{"expiration":1795400957.25}}`, true},
		{"zero", `{"credentials":{"expiration":0}}`, true},
		{"white space", golden(t), false},
		{"an exponent", `{"credentials":{"expiration":1.7954E9}}`, false},
		{"a leading zero", `{"credentials":{"expiration":01}}`, false},
		{"a fraction without digits", `{"credentials":{"expiration":1.}}`, false},
		{"less than zero", `{"credentials":{"expiration":-1}}`, false},
		{"no number", `{"credentials":{"expiration":"1"}}`, false},
		{"an escape", `{"audience":"\u0041"}`, false},
		{"not ASCII", `{"audience":"ä"}`, false},
		{"a member twice", `{"audience":"a","audience":"b"}`, false},
		{"a member in other case", `{"Subject":{"namespace":"a"}}`, false},
		{"an unknown member", `{"audience":"a","more":1}`, false},
		{"nothing", ``, false},
		{"an empty object", `{}`, false},
		{"an object that does not end", `{"audience":"a"`, false},
		{"a string that does not end", `{"audience":"a`, false},
		{"something after it", `{"audience":"a"}}`, false},
		{"null", `{"subject":null}`, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := sameAsJSON(t, []byte(tc.answer)); got != tc.compact {
				t.Errorf("compact: %v, want %v", got, tc.compact)
			}
		})
	}
}

func FuzzCompact(f *testing.F) {
	var whole bytes.Buffer
	if err := json.Compact(&whole, []byte(`{"subject":{"namespace":"n","serviceAccount":"s"},"audience":"a","podIdentityAssociation":{"associationArn":"r","associationId":"i"},`+
		`"assumedRoleUser":{"arn":"r","assumeRoleId":"i"},"credentials":{"sessionToken":"t","secretAccessKey":"s","accessKeyId":"a","expiration":1.5}}`)); err != nil {
		f.Fatal(err)
	}
	f.Add(whole.Bytes())
	f.Add([]byte(`{"credentials":{"expiration":0.0}}`))
	f.Fuzz(func(t *testing.T, answer []byte) { sameAsJSON(t, answer) })
}
