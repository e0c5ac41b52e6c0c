// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/policy/source"
)

func TestPlaces(t *testing.T) {
	for _, tc := range []struct {
		name, text, path string
		want             source.Pos
	}{
		{"member of JSON", "{\n  \"a\": 1,\n  \"b\": [\"x\", \"y\"]\n}", "b", source.Pos{Line: 3, Col: 8}},
		{"characters, not bytes", `{"äö": 1, "b": 2}`, "b", source.Pos{Line: 1, Col: 16}},
		{"a mark before the text", "\ufeff{\"b\": 2}", "b", source.Pos{Line: 1, Col: 7}},
		{"member of YAML", "a: 1\nb:\n  - x\n", "b", source.Pos{Line: 3, Col: 3}},
		{"flow YAML", "a: {b: 2}\nb: {c: 1}", "b", source.Pos{Line: 2, Col: 4}},
		{"flow YAML that begins as JSON", "{a: 1, b: 2}", "b", source.Pos{Line: 1, Col: 11}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			roots, err := source.Parse(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := roots[0].Get(tc.path); got == nil || got.Pos != tc.want {
				t.Errorf("got %+v, want %s", got, tc.want)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"JSON stays", `{"a":[1,"x",true,null],"b":{"c":"<&>"}}`, `{"a":[1,"x",true,null],"b":{"c":"<&>"}}`},
		{"repeated members stay", `{"a":1,"a":2}`, `{"a":1,"a":2}`},
		{"a date is text", "Version: 2012-10-17", `{"Version":"2012-10-17"}`},
		{"numbers only YAML has are text", "a: 0o17\nb: 1_000\nc: 12", `{"a":"0o17","b":"1_000","c":12}`},
		{"booleans", "a: true\nb: \"true\"\nc: yes", `{"a":true,"b":"true","c":"yes"}`},
		{"null", "a:\nb: ~", `{"a":null,"b":null}`},
		{"aliases", "a: &x [1]\nb: *x", `{"a":[1],"b":[1]}`},
		{"an account with zeros", "a: 012345678901", `{"a":"012345678901"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			roots, err := source.Parse(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := roots[0].JSON(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 8 {
		ref := "*a" + string(rune('0'+i))
		bomb += "a" + string(rune('1'+i)) + ": &a" + string(rune('1'+i)) + " [" + strings.Repeat(ref+", ", 9) + ref + "]\n"
	}
	for _, tc := range []struct{ name, text, want string }{
		{"broken JSON", "{\n \"Statement\": [}\n", "2:16: read JSON: invalid character '}'"},
		{"cut JSON", `{"a": [1`, "1:9: read JSON"},
		{"text behind", `{"Statement": 1} x`, "1:18: text follows"},
		{"broken YAML", "a: [\nb: c", "read YAML"},
		{"merge keys", "a: &a {b: 1}\nc:\n  <<: *a", "3:3: merge keys"},
		{"too deep", deep, "nested too deeply"},
		{"an alias of itself", "a: &a [*a]", "nested too deeply"},
		{"aliases that multiply", bomb, "too many values"},
		{"too long", strings.Repeat(" ", source.MaxFile+1), "longer than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := source.Parse(tc.text)
			var syntax *source.SyntaxError
			if !errors.As(err, &syntax) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestFind(t *testing.T) {
	const doc = `{"Statement":[]}`
	for _, tc := range []struct {
		name, text string
		want       []string // path line:column
	}{
		{"the file", doc, []string{" 1:1"}},
		{"nested", `{"a": {"b": ` + doc + `}}`, []string{"a.b 1:13"}},
		{"in a list", "roles:\n- trust: " + doc + "\n- trust: " + doc, []string{"roles[0].trust 2:10", "roles[1].trust 3:10"}},
		{"in a block of text", "a:\n  b: |\n    {\n      \"Statement\": []\n    }\n", []string{"a.b 3:5"}},
		{"several documents", "a: " + doc + "\n---\nStatement: []\n", []string{"document 1.a 1:4", "document 2 3:1"}},
		{"a property of that name", `{"Statement": "text"}`, []string{" 1:1"}},
		{"none", `{"a": 1}`, nil},
		{"an empty file", "", nil},
		{"without Statement", `{"Version": "2012-10-17"}`, []string{" 1:1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			roots, err := source.Parse(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range source.Find(roots) {
				got = append(got, f.Path+" "+f.Node.Pos.String())
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// FuzzParse wants JSON that is read to be written back with the same meaning.
func FuzzParse(f *testing.F) {
	f.Add(`{"a":[1,"x",null,true],"b":{"c":"d"}}`)
	f.Add("a: &x [1]\nb: *x\nc: |\n  {}\n")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		roots, err := source.Parse(text)
		if err != nil {
			return
		}
		for _, n := range roots {
			out := n.JSON()
			if !json.Valid([]byte(out)) {
				t.Fatalf("wrote %q of %q", out, text)
			}
			again, err := source.Parse(out)
			if n.Kind == source.Object && (err != nil || again[0].JSON() != out) {
				t.Fatalf("%q is read again as %v, %v", out, again, err)
			}
		}
	})
}
