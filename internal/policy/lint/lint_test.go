// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/policy"
	"podid/internal/policy/lint"
)

var update = flag.Bool("update", false, "rewrite testdata/*.want")

// codes are those among the findings.
func codes(t *testing.T, text string) map[string]bool {
	t.Helper()
	found, _, err := lint.Text("x", text, lint.Options{})
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	out := map[string]bool{}
	for _, f := range found {
		out[f.Code] = true
	}
	return out
}

// TestDocs holds that docs/policy-lint.md describes every check with its
// severity and title, and that its examples do what it says.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../../docs/policy-lint.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(page), "\n### ")[1:] {
		code, text, _ := strings.Cut(s, "\n")
		sections[code], _, _ = strings.Cut(text, "\n## ")
	}
	known := map[string]bool{"unreadable": true}
	for _, c := range lint.Checks() {
		known[c.Code] = true
		text, ok := sections[c.Code]
		if !ok {
			t.Errorf("docs/policy-lint.md has no section %s", c.Code)
			continue
		}
		if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(text)), c.Severity.String()+": ") {
			t.Errorf("%s: the page does not begin with the severity, %s", c.Code, c.Severity)
		}
		if c.Title == "" || c.Fix == "" {
			t.Errorf("%s has no title or fix", c.Code)
		}
		var blocks []string
		for _, b := range strings.Split(text, "```json\n")[1:] {
			b, _, _ = strings.Cut(b, "```")
			if !strings.Contains(b, `"Statement"`) {
				b = `{"Version": "2012-10-17", "Statement": [` + b + `]}`
			}
			blocks = append(blocks, b)
		}
		if c.Code == "size" {
			continue // TestSize has its documents
		}
		if len(blocks) != 2 {
			t.Errorf("%s has %d examples, want a bad and a good one", c.Code, len(blocks))
			continue
		}
		if !codes(t, blocks[0])[c.Code] {
			t.Errorf("%s: the first example does not give it: %v", c.Code, codes(t, blocks[0]))
		}
		if got := codes(t, blocks[1]); len(got) > 0 {
			t.Errorf("%s: the good example gives %v", c.Code, got)
		}
	}
	for code := range sections {
		if !known[code] {
			t.Errorf("docs/policy-lint.md has a section %s that is no check", code)
		}
	}
}

// TestGolden compares the findings of each document in testdata with the file
// NAME.want beside it. The kind is guessed, unless the name says
// NAME.KIND.json.
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range names {
		ext := filepath.Ext(name)
		if ext == ".want" {
			continue
		}
		seen++
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var o lint.Options
			if kind, err := lint.ParseKind(strings.TrimPrefix(filepath.Ext(strings.TrimSuffix(name, ext)), ".")); err == nil {
				o.Kind = &kind
			}
			var r lint.Report
			r.Findings, r.Documents, err = lint.Text(filepath.Base(name), string(text), o)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			if err := r.WriteTable(&got); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(name+".want", []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(name + ".want")
			if err != nil {
				t.Fatalf("%v; run: go test ./internal/policy/lint -run Golden -update", err)
			}
			if d := cmp.Diff(string(want), got.String()); d != "" {
				t.Errorf("findings differ (-want +got):\n%s", d)
			}
		})
	}
	if seen < 8 {
		t.Errorf("only %d documents in testdata", seen)
	}
}

func TestSize(t *testing.T) {
	for _, tc := range []struct {
		name string
		kind policy.DocumentKind
		size int
		want lint.Severity
	}{
		{"small", policy.Identity, 1000, 0},
		{"near", policy.Identity, 5600, lint.Warning},
		{"over a managed policy's", policy.Identity, 7000, lint.Warning},
		{"over everything", policy.Identity, 11000, lint.Error},
		{"trust over the default", policy.Trust, 3000, lint.Warning},
		{"trust over the ceiling", policy.Trust, 4500, lint.Error},
		{"resource policies have no one size", policy.Resource, 19000, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			principal := ""
			rest := `,"Resource":"arn:aws:s3:::b/k"`
			action := "s3:GetObject"
			if tc.kind != policy.Identity {
				principal = `"Principal":{"AWS":"arn:aws:iam::111122223333:role/r"},`
			}
			if tc.kind == policy.Trust {
				rest, action = "", "sts:AssumeRole"
			}
			text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",%s"Action":%q%s,"Condition":{"StringEquals":{"aws:username":%q}}}]}`,
				principal, action, rest, strings.Repeat("x", tc.size-150))
			found, _, err := lint.Text("x", text, lint.Options{Kind: &tc.kind})
			if err != nil {
				t.Fatal(err)
			}
			r := lint.Report{Findings: found}
			if r.Worst() != tc.want {
				t.Errorf("worst %v, want %v: %+v", r.Worst(), tc.want, found)
			}
		})
	}
}

func TestGuess(t *testing.T) {
	const identity = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k","Condition":{"Foo":{"a":"b"}}}]}`
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/r"},"Action":"sts:AssumeRole","Condition":{"Foo":{"a":"b"}}}]}`
	const resource = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*","Condition":{"Foo":{"a":"b"}}}]}`
	for _, tc := range []struct{ name, text, kind, path string }{
		{"identity", identity, "identity policy", ""},
		{"trust", trust, "trust policy", ""},
		{"resource", resource, "resource policy", ""},
		{"a role's answer", `{"Role":{"AssumeRolePolicyDocument":` + trust + `}}`, "trust policy", "Role.AssumeRolePolicyDocument"},
		{"boundary", "roles:\n  app:\n    boundary: " + identity, "permissions boundary", "roles.app.boundary"},
		{"session policy", "roles:\n  app:\n    sessionPolicy: " + identity, "session policy", "roles.app.sessionPolicy"},
		{"organisation", "scps:\n- - " + identity, "service control policy", "scps[0][0]"},
		{"text in YAML", "spec:\n  document: |\n    " + identity, "identity policy", "spec.document"},
		{"text in JSON", `{"policy":` + fmt.Sprintf("%q", identity) + `}`, "identity policy", "policy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found, _, err := lint.Text("x", tc.text, lint.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				if f.Code == "malformed" {
					if f.Kind != tc.kind || f.Document != tc.path || f.Statement != 1 {
						t.Errorf("finding %+v", f)
					}
					return
				}
			}
			t.Errorf("no finding of the unknown operator: %+v", found)
		})
	}
}

func TestRefuses(t *testing.T) {
	if _, _, err := lint.Text("x", `{"a":1}`, lint.Options{}); err == nil || !strings.Contains(err.Error(), "holds no policy document") {
		t.Errorf("a file without a document: %v", err)
	}
	found, _, err := lint.Text("x", "{\n  \"Statement\": [}\n", lint.Options{})
	if err != nil || len(found) != 1 || found[0].Code != "unreadable" || found[0].Line != 2 || found[0].Column != 17 {
		t.Errorf("broken JSON: %+v, %v", found, err)
	}
	if _, err := lint.ParseKind("trusted"); err == nil {
		t.Error("an unknown kind was read")
	}
	if found, _, _ := lint.Text("x", `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`, lint.Options{Disabled: []string{"version-missing", "full-access"}}); len(found) != 0 {
		t.Errorf("disabled checks ran: %+v", found)
	}
}

func TestReportForms(t *testing.T) {
	var r lint.Report
	var err error
	r.Files = []string{"a.json", "b.json"}
	r.Findings, r.Documents, err = lint.Text("a.json", `{"Version":"2012-10-17","Statement":[{"Sid":"All","Effect":"Allow","Action":"*","Resource":"*"}]}`, lint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Findings []struct{ Code, Severity, Sid string }
		Warnings int
	}
	if err := json.Unmarshal([]byte(text.String()), &back); err != nil || back.Warnings != 1 || back.Findings[0].Sid != "All" || back.Findings[0].Severity != "warning" {
		t.Errorf("JSON %+v, %v", back, err)
	}
	for failOn, failures := range map[lint.Severity]int{lint.Error: 0, lint.Warning: 1} {
		text.Reset()
		if err := r.WriteJUnit(&text, failOn); err != nil {
			t.Fatal(err)
		}
		var suites struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
		}
		if err := xml.Unmarshal([]byte(text.String()), &suites); err != nil || suites.Tests != 2 || suites.Failures != failures {
			t.Errorf("JUnit %+v, %v", suites, err)
		}
	}
}

// FuzzText wants any text to end in findings or an error.
func FuzzText(f *testing.F) {
	names, err := filepath.Glob("testdata/*.[jy]*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil && filepath.Ext(name) != ".want" {
			f.Add(string(text))
		}
	}
	f.Add("a: &a [*a]")
	f.Add(`{"Statement":{"Effect":"Allow","Principal":{"AWS":{}},"Condition":{"Null":{"a":[]}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		found, _, err := lint.Text("x", text, lint.Options{})
		if err != nil && len(found) > 0 {
			t.Errorf("findings beside the error %v", err)
		}
		for _, f := range found {
			if f.Code == "" || f.Severity == 0 || f.Message == "" {
				t.Errorf("finding %+v", f)
			}
		}
	})
}
