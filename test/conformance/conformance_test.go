// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRows(t *testing.T) {
	ids, titles := map[string]bool{}, map[string]bool{}
	for _, s := range everything() {
		if len(s.Rows) == 0 || len(s.Clients) == 0 {
			t.Errorf("section %s has %d rows and %d clients", s.ID, len(s.Rows), len(s.Clients))
		}
		for _, c := range s.Clients {
			if !slices.Contains(clientIDs(), c) {
				t.Errorf("section %s: no client is called %s", s.ID, c)
			}
		}
		for _, r := range s.Rows {
			// The matrix keeps columns by the rows' titles.
			if ids[r.ID] || titles[r.Title] || r.run == nil || strings.Contains(r.Title, "|") {
				t.Errorf("row %s, %q: twice, without a run, or with a bar", r.ID, r.Title)
			}
			ids[r.ID], titles[r.Title] = true, true
		}
	}
}

// TestMatrix compares the rows and columns of the page with those of the suite; what they say only a run can tell.
func TestMatrix(t *testing.T) {
	text, err := os.ReadFile("../../docs/compat/matrix.md")
	if err != nil {
		t.Fatal(err)
	}
	kept := readMatrix(string(text))
	titles := map[string]string{}
	for _, p := range players() {
		titles[p.ID] = p.Title
		if kept.versions[p.Title] == "" {
			t.Errorf("the page has no client %s: run make conformance", p.Title)
		}
	}
	rows := 0
	for _, s := range everything() {
		for _, r := range s.Rows {
			rows++
			cells := kept.cells[r.Title]
			if len(cells) != len(s.Clients) {
				t.Errorf("row %q has %d cells, want %d: run make conformance", r.Title, len(cells), len(s.Clients))
			}
			for _, c := range s.Clients {
				if got := cells[titles[c]]; got != pass && got != absent {
					t.Errorf("row %q: %s is %q", r.Title, c, got)
				}
			}
		}
	}
	if len(kept.cells) != rows {
		t.Errorf("the page has %d rows, the suite has %d: run make conformance", len(kept.cells), rows)
	}
}

// fewSections is a suite of one section.
func fewSections() []section {
	return []section{{ID: "s", Title: "Some", Clients: []string{"go", "eksctl"}, Rows: []row{{ID: "a", Title: "first"}, {ID: "b", Title: "second"}}}}
}

func TestReport(t *testing.T) {
	sections := fewSections()
	r := newReport(sections)
	r.present(player{ID: "go", Title: "Go"}, "1.2")
	r.absent(player{ID: "eksctl", Title: "eksctl"}, "EKSCTL names none")
	r.add(sections[0], sections[0].Rows[0], "go", nil, time.Second)
	r.add(sections[0], sections[0].Rows[1], "go", classify(&refusal{Code: "InvalidAction", Message: "no such thing"}), 0)
	if err := r.verdict(); err != nil {
		t.Errorf("absent is no difference: %v", err)
	}
	old := "| client | version |\n|---|---|\n| Go | 1.1 |\n| eksctl | 0.2 |\n\n## Some\n\n| | Go | eksctl |\n|---|---|---|\n| first | differs | pass |\n"
	want := "| client | version |\n|---|---|\n| Go | 1.2 |\n| eksctl | 0.2 |\n\n## Some\n\n| | Go | eksctl |\n|---|---|---|\n| first | pass | pass |\n| second | absent | absent |\n"
	if diff := cmp.Diff(matrixHead+want, r.matrix(readMatrix(old))); diff != "" {
		t.Error(diff)
	}
	var out bytes.Buffer
	r.print(&out, false)
	for _, line := range []string{"1 pass, 0 differ, 1 absent", "ABSENT eksctl: EKSCTL names none", "ran    Go (1.2)"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not in\n%s", line, out.String())
		}
	}
	r.add(sections[0], sections[0].Rows[1], "go", errors.New("another answer"), 0)
	if err := r.verdict(); err == nil || !strings.Contains(err.Error(), "b (go)") {
		t.Errorf("verdict: %v", err)
	}
	dir := t.TempDir()
	o := options{json: filepath.Join(dir, "report.json"), matrix: filepath.Join(dir, "matrix.md")}
	if err := r.write(o); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{o.json, o.matrix} {
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "differs") {
			t.Errorf("%s: %v\n%s", path, err, text)
		}
	}
}

// TestLeft: rows that were not asked for keep what the page says of them.
func TestLeft(t *testing.T) {
	sections := fewSections()
	r := newReport(sections)
	r.present(player{ID: "go", Title: "Go"}, "1.2")
	r.absent(player{ID: "eksctl", Title: "eksctl"}, "not asked for")
	r.leave(sections[0], sections[0].Rows[0], "go")
	r.add(sections[0], sections[0].Rows[1], "go", nil, 0)
	if err := r.verdict(); err != nil {
		t.Error(err)
	}
	got := r.matrix(readMatrix("| | Go | eksctl |\n|---|---|---|\n| first | pass | pass |\n"))
	if !strings.Contains(got, "| first | pass | pass |\n| second | pass | absent |\n") {
		t.Error(got)
	}
}

// TestNotPlayed: a cell that nobody filled is a fault of the suite, not a pass.
func TestNotPlayed(t *testing.T) {
	r := newReport(fewSections())
	r.present(player{ID: "go", Title: "Go"}, "1.2")
	r.present(player{ID: "eksctl", Title: "eksctl"}, "0.2")
	if err := r.verdict(); err == nil || !strings.HasPrefix(err.Error(), "4 cells differ") {
		t.Errorf("verdict: %v", err)
	}
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name    string
		args    []string
		refused string
	}{
		{"nothing", nil, ""},
		{"some clients", []string{"-clients", "go,captures"}, ""},
		{"an unknown client", []string{"-clients", "go,java"}, `"java" is none of go, js,`},
		{"some rows", []string{"-rows", "create,delete"}, ""},
		{"an unknown row", []string{"-rows", "create,nothing"}, `there is no row "nothing"`},
		{"a word", []string{"go"}, `"go" is no flag`},
		{"an unknown flag", []string{"-what"}, "not defined"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse(tc.args, new(bytes.Buffer))
			if (err == nil) != (tc.refused == "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("parse: %v, want %q", err, tc.refused)
			}
		})
	}
}

func TestCaptures(t *testing.T) {
	files, err := fs.Glob(captureFiles, "testdata/captures/*.json")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{"aws-cli": true}
	for _, s := range []section{eksctlRows()} {
		for _, r := range s.Rows {
			rows[r.ID] = true
		}
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		tr, err := readTrace(name)
		if err != nil {
			t.Error(err)
		}
		if !rows[name] {
			t.Errorf("%s is of no row", name)
		}
		delete(rows, name)
		for i, st := range tr.Steps {
			if st.Service == "" || (st.Form == nil) == (st.Path == "") {
				t.Errorf("%s, request %d: want a service, and a form or a path", name, i+1)
			}
		}
	}
	for name := range rows {
		t.Errorf("there is no capture %s", name)
	}
	if _, err := readTrace("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a capture that is not there: %v", err)
	}
}

func TestExpand(t *testing.T) {
	got := expand("arn:${account}:${AWS::Partition}:${other}:$account:${account}", map[string]string{"account": "1"})
	if want := "arn:1:${AWS::Partition}:${other}:$account:1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestReadAnswer(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		want         M
	}{
		{"nothing", "", M{}},
		{"JSON", `{"a":{"b":[1]}}`, M{"a": M{"b": []any{1.0}}}},
		{"a result", `<AResponse><AResult><B>1</B><C><member><D>2</D></member><member>x</member></C><E/></AResult><ResponseMetadata/></AResponse>`, M{"B": "1", "C": []any{M{"D": "2"}, "x"}, "E": ""}},
		{"no result", `<AResponse><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AResponse>`, M{"ResponseMetadata": M{"RequestId": "r"}}},
		{"an error", `<ErrorResponse><Error><Code>X</Code></Error></ErrorResponse>`, M{"Error": M{"Code": "X"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := readAnswer(exchange{Answer: tc.answer})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, broken := range []string{"<A><B></A>", "<A>", "{", "words"} {
		if got, err := readAnswer(exchange{Answer: broken}); err == nil {
			t.Errorf("%q is read as %v", broken, got)
		}
	}
}

func TestErrorCode(t *testing.T) {
	for _, tc := range []struct {
		name, header, body, want string
	}{
		{"a header", "ResourceInUseException", "{}", "ResourceInUseException"},
		{"a header with an address", "ResourceInUseException:http://internal.amazon.com/", "{}", "ResourceInUseException"},
		{"an element", "", "<ErrorResponse><Error><Code>NoSuchEntity</Code></Error></ErrorResponse>", "NoSuchEntity"},
		{"none", "", "{}", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := exchange{Reply: http.Header{}, Answer: tc.body}
			e.Reply.Set("X-Amzn-ErrorType", tc.header)
			if got := e.code(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
