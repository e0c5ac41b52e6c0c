// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package compactjson

import (
	"encoding/json"
	"math"
	"testing"
)

func TestNumbers(t *testing.T) {
	tests := []struct {
		text          string
		whole, number bool
	}{
		{"0", true, true},
		{"7", true, true},
		{"1795400957", true, true},
		{"999999999999999", true, true},
		{"9999999999999999", false, true},
		{"0.5", false, true},
		{"1795400957.25", false, true},
		{"", false, false},
		{"01", false, false},
		{"00", false, false},
		{"01.5", false, false},
		{"1.", false, false},
		{".5", false, false},
		{"-1", false, false},
		{"+1", false, false},
		{"1e3", false, false},
		{"0x1", false, false},
		{"NaN", false, false},
		{`"1"`, false, false},
	}
	for _, tc := range tests {
		for form, want := range map[string]bool{"whole": tc.whole, "number": tc.number} {
			s := New(tc.text)
			read := s.Whole
			if form == "number" {
				read = s.Number
			}
			got := read()
			if s.Done() != want {
				t.Errorf("%q as a %s: %v, want %v", tc.text, form, s.Done(), want)
			}
			var is float64
			if err := json.Unmarshal([]byte(tc.text), &is); want && (err != nil || is != got) {
				t.Errorf("%q as a %s: %v, encoding/json says %v, %v", tc.text, form, got, is, err)
			}
		}
	}
}

func TestNumberBeyondAFloat(t *testing.T) {
	huge := make([]byte, 400)
	for i := range huge {
		huge[i] = '9'
	}
	s := New(string(huge))
	if got := s.Number(); !s.Failed() || math.IsInf(got, 0) {
		t.Errorf("%v, failed %v", got, s.Failed())
	}
}

func TestStrings(t *testing.T) {
	for text, want := range map[string]bool{
		`""`: true, `"a b~"`: true, `"a`: false, `a"`: false, `"a\"b"`: false, `"\u0041"`: false, "\"\x7f\"": true, "\"\n\"": false, `"ä"`: false, `"a"x`: false, ``: false,
	} {
		s := New(text)
		got := s.Text()
		if s.Done() != want {
			t.Errorf("%q: %v, want %v", text, s.Done(), want)
		}
		var is string
		if err := json.Unmarshal([]byte(text), &is); want && (err != nil || is != got) {
			t.Errorf("%q: %q, encoding/json says %q, %v", text, got, is, err)
		}
	}
}

func TestObjects(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":"1"}`: true, `{"a":"1","b":2}`: true, `{"b":2,"a":"1"}`: true,
		`{}`: false, ``: false, `[]`: false, `{"a":"1"`: false, `{"a":"1",}`: false, `{"a":"1"}}`: false, `{"a":"1" }`: false, `{"a""1"}`: false,
		`{"a":"1","a":"2"}`: false, `{"c":"1"}`: false, `{"A":"1"}`: false, `{"a":null}`: false, `{"a":"1";"b":2}`: false,
	} {
		s := New(text)
		s.Object(func(name string) uint {
			switch name {
			case "a":
				s.Text()
				return 1
			case "b":
				s.Whole()
				return 2
			}
			return 0
		})
		if s.Done() != want {
			t.Errorf("%s: %v, want %v", text, s.Done(), want)
		}
	}
}

func TestTexts(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":"1"}`: true, `{"b":"2","a":"1"}`: true, `{"a":"1","a":"1"}`: false, `{"b":"2","b":"2"}`: false, `{"a":"1","c":"3"}`: false, `{"a":1}`: false, `{"b":null}`: false, `{}`: false,
	} {
		s, a := New(text), ""
		s.Texts(Member{"a", &a}, Member{"b", nil})
		if s.Done() != want || want && a != "1" {
			t.Errorf("%s: %v with %q, want %v", text, s.Done(), a, want)
		}
	}
}
