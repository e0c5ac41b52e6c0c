// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var updateGolden = flag.Bool("update", false, "write the golden files anew")

// TestPositions compares the places of statements with golden files. alone.json
// is the document of an example in the AWS CLI Command Reference
// (simulate-custom-policy), which gives 1:38 to 1:167 for it. The 3:19 to 9:10 of
// simulate-principal-policy stand there without the document; list.json is one
// to which they fit.
func TestPositions(t *testing.T) {
	files, err := filepath.Glob("testdata/positions/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			d, err := Parse(Identity, string(text))
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			offsets := statementOffsets(string(text))
			for i, s := range d.Positions() {
				fmt.Fprintf(&b, "%d:%d %d:%d %q\n", s.Start.Line, s.Start.Column, s.End.Line, s.End.Column, statementAt(string(text), offsets[i]))
			}
			golden := strings.TrimSuffix(file, ".json") + ".golden"
			if *updateGolden {
				if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got\n%swant\n%s", b.String(), want)
			}
		})
	}
}

// statementAt is the text of the statement at the offsets: one that stands alone
// begins behind its own brace.
func statementAt(text string, o [2]int) string {
	if text[o[0]-1] == '{' {
		return text[o[0]-1 : o[1]]
	}
	return text[o[0]:o[1]]
}

// TestPositionsLineEnds: whatever ends the lines, the places are the same.
func TestPositionsLineEnds(t *testing.T) {
	text, err := os.ReadFile("testdata/positions/list.json")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(positions(string(text)))
	for _, end := range []string{"\r\n", "\r"} {
		if got := fmt.Sprint(positions(strings.ReplaceAll(string(text), "\n", end))); got != want {
			t.Errorf("%q: %s, want %s", end, got, want)
		}
	}
}

func TestPositionsOfNoDocument(t *testing.T) {
	for _, text := range []string{"", "[", "{", `{"Statement"`, `{"Statement":`, `{"Statement":[`, `{"Statement":[{}`, `{"Statement":[{},`, `{"Statement":{`, `{"a":}`, `{1`, "\xff"} {
		if got := positions(text); len(got) > 1 {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// FuzzPositions: of every text that the parser accepts the scanner sees the
// same statements, and each span holds the statement that it says.
func FuzzPositions(f *testing.F) {
	files, err := filepath.Glob("testdata/positions/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range vectorDocuments(f) {
		f.Add(text)
	}
	f.Add(`{"Id":"x","Statement" :[ {"Effect":"Allow","Action":"a:b","Resource":"*"} ] , "Version":"2012-10-17"}`)
	f.Fuzz(func(t *testing.T, text string) {
		spans := positions(text) // must not panic on anything
		d, err := Parse(Identity, text)
		if err != nil {
			return
		}
		offsets := statementOffsets(text)
		if len(spans) != d.Len() || len(offsets) != d.Len() {
			t.Fatalf("%d spans, %d statements", len(spans), d.Len())
		}
		for i, o := range offsets {
			if i > 0 && (o[0] < offsets[i-1][1] || before(spans[i].Start, spans[i-1].End)) || before(spans[i].End, spans[i].Start) {
				t.Fatalf("spans overlap: %v", spans)
			}
			one, err := Parse(Identity, `{"Version":"`+d.Version()+`","Statement":`+statementAt(text, o)+`}`)
			if err != nil || one.Len() != 1 {
				t.Fatalf("statement %d: %q: %v", i, statementAt(text, o), err)
			}
			if got, want := fmt.Sprint(one.statements[0].sid, one.Actions(), one.Keys()), statementText(d, i); got != want {
				t.Fatalf("statement %d is %s, want %s", i, got, want)
			}
		}
	})
}

func before(a, b Position) bool { return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column }

func statementText(d *Document, i int) string {
	alone := Document{statements: d.statements[i : i+1]}
	return fmt.Sprint(d.statements[i].sid, alone.Actions(), alone.Keys())
}
