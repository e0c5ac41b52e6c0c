// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package restjson_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"podid/internal/api/restjson"
	"podid/internal/fault"
)

type sample struct {
	Name  string            `json:"name"`
	On    *bool             `json:"on,omitempty"`
	Tags  map[string]string `json:"tags"`
	Count int               `json:"count"`
	List  []string          `json:"list"`
	Sub   struct {
		Deep string `json:"deep"`
	} `json:"sub"`
	Hidden string `json:"-"`
	Free   string
}

func TestDecode(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		name, body string
		want       sample
		msg        string // of the refusal
	}{
		{"nothing", "", sample{}, ""},
		{"white space", " \n\t", sample{}, ""},
		{"empty object", "{}", sample{}, ""},
		{"members", `{"name":"n","on":true,"tags":{"a":"b"}}`, sample{Name: "n", On: &yes, Tags: map[string]string{"a": "b"}}, ""},
		{"null leaves the field", `{"name":null,"on":null}`, sample{}, ""},
		{"unknown members are ignored", `{"name":"n","later":{"x":[1,2,{}]}}`, sample{Name: "n"}, ""},
		{"case counts", `{"Name":"n","NAME":"m"}`, sample{}, ""},
		{"untagged fields are not members", `{"Free":"x","-":"y","Hidden":"z"}`, sample{}, ""},
		{"white space around", " {\"name\" : \"n\"}\n", sample{Name: "n"}, ""},
		{"escapes", `{"na\u006de":"\u00e9"}`, sample{Name: "é"}, ""},
		{"wrong type", `{"name":5}`, sample{}, "The member name is a number; a string is wanted."},
		{"wrong boolean", `{"on":"true"}`, sample{}, "The member on is a string; a boolean is wanted."},
		{"wrong object", `{"tags":[]}`, sample{}, "The member tags is an array; an object is wanted."},
		{"wrong value inside", `{"tags":{"a":1}}`, sample{}, "The member tags is a number; a string is wanted."},
		{"wrong deep", `{"sub":{"deep":1}}`, sample{}, "The member sub.deep is a number; a string is wanted."},
		{"wrong list", `{"list":"a"}`, sample{}, "The member list is a string; a list is wanted."},
		{"fraction", `{"count":1.5}`, sample{}, "The member count is a number 1.5; a whole number is wanted."},
		{"twice", `{"name":"a","name":"b"}`, sample{}, `The member "name" is given twice.`},
		{"not an object", `[]`, sample{}, "The body is not a JSON object."},
		{"a string", `"x"`, sample{}, "The body is not a JSON object."},
		{"null", `null`, sample{}, "The body is not a JSON object."},
		{"cut in a value", `{"name":"a`, sample{}, "The JSON body ends too early"},
		{"cut after a member", `{"name":"a"`, sample{}, "The JSON body ends too early"},
		{"cut after a name", `{"name"`, sample{}, "The JSON body ends too early"},
		{"only the brace", `{`, sample{}, "The JSON body ends too early"},
		{"trailing data", `{} {}`, sample{}, "The body goes on after the JSON object."},
		{"trailing rubbish", `{}x`, sample{}, "The body goes on after the JSON object."},
		{"not JSON", `{name:1}`, sample{}, "The body is not JSON near byte"},
		{"form", `Action=x`, sample{}, "The body is not JSON near byte"},
		{"not UTF-8", "{\"name\":\"\xff\"}", sample{}, "The body is not UTF-8."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got sample
			err := restjson.Decode([]byte(tc.body), &got)
			if tc.msg != "" {
				if !fault.Is(err, fault.InvalidRequest) || fault.As(err).Reason != restjson.ReasonSerialization || !strings.HasPrefix(fault.As(err).Message, tc.msg) {
					t.Fatalf("%v, want %q", err, tc.msg)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// FuzzDecode: no body panics, and what is accepted is what encoding/json, told
// to be as strict, accepts too.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "{}", `{"name":"n","tags":{"a":"b"}}`, `{"name":"a","name":"b"}`, `[]`, `{"sub":{"deep":"x"}} `, `{"a":1e999}`, "{\"name\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got sample
		if err := restjson.Decode(body, &got); err != nil {
			if !fault.Is(err, fault.InvalidRequest) || fault.As(err).Message == "" {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if len(strings.TrimSpace(string(body))) > 0 && !json.Valid(body) {
			t.Errorf("accepted %q", body)
		}
	})
}

// FuzzAppendString: what is written reads back, with U+FFFD where it is not UTF-8.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "q\"\\\x00\n\x1f", "é\u2028😀", "\xff\xc3\x28", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := restjson.AppendString(nil, s)
		var got, want string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q gave %q: %v", s, b, err)
		}
		ref, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ref, &want); err != nil {
			t.Fatal(err)
		}
		if got != want || !utf8.Valid(b) {
			t.Errorf("%q gave %q, want %q", s, got, want)
		}
	})
}
