// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"podid/internal/policy/policytest"
)

func fromTestdata(name string) ([]byte, error) { return os.ReadFile(filepath.Join("testdata", name)) }

func load(t *testing.T, text string) *policytest.Suite {
	t.Helper()
	s, err := policytest.Load("x_test.yaml", []byte(text), fromTestdata)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSuite runs the tests in testdata, all of which pass.
func TestSuite(t *testing.T) {
	content, err := fromTestdata("app_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	report := load(t, string(content)).Run(nil)
	for _, c := range report.Checks {
		if !c.Passed {
			t.Errorf("line %d: %s: %s: %s; decided %v, nearest %v lacks %s", c.Line, c.Case, c.Ask, c.Problem, c.Decided, c.Nearest, c.Failed)
		}
	}
	if len(report.Checks) < 30 {
		t.Errorf("only %d checks ran", len(report.Checks))
	}
}

// suiteOf is a file with one role that may get objects below web/, and the
// given expectations of one case.
func suiteOf(expectations string) string {
	return `
roles:
  app:
    identity:
      Version: 2012-10-17
      Statement:
        - {Sid: Get, Effect: Allow, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/web/*", Condition: {StringEquals: {"aws:PrincipalTag/team": red}}}
        - {Sid: Never, Effect: Deny, Action: "s3:Delete*", Resource: "*"}
cases:
  - name: one
    as: app
` + expectations
}

func TestFailures(t *testing.T) {
	for _, tc := range []struct{ name, expectations, problem, nearest, failed string }{
		{"allowed but wanted denied", "    sessionTags: {team: red}\n    deny: [s3:GetObject arn:aws:s3:::b/web/k]", "expected deny, got allow", "", ""},
		{"denied for a condition", "    allow: [s3:GetObject arn:aws:s3:::b/web/k]", "expected allow, got deny", "Get", `StringEquals aws:PrincipalTag/team wants "red", the request has no such key`},
		{"denied for another value", "    sessionTags: {team: blue}\n    allow: [s3:GetObject arn:aws:s3:::b/web/k]", "expected allow, got deny", "Get", `wants "red", is "blue"`},
		{"denied for the resource", "    allow: [s3:GetObject arn:aws:s3:::b/other/k]", "expected allow, got deny", "Get", `Resource wants "arn:aws:s3:::b/web/*", is "arn:aws:s3:::b/other/k"`},
		{"the wrong reason", "    deny: [{action: s3:DeleteObject, because: implicit}]", "because of ExplicitDeny, not implicit", "", ""},
		{"the wrong kind", "    deny: [{action: s3:PutObject, because: boundary}]", "because of NoIdentityAllow, not boundary", "", ""},
		{"the wrong statement", "    deny: [{action: s3:DeleteObject, statement: Get}]", "not by statement Get", "", ""},
		{"the wrong document", "    deny: [{action: s3:DeleteObject, document: other}]", "not by document other", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := load(t, suiteOf(tc.expectations)).Run(nil).Checks[0]
			if c.Passed || !strings.Contains(c.Problem, tc.problem) || !strings.Contains(c.Failed, tc.failed) {
				t.Errorf("passed %v: %q; lacks %q", c.Passed, c.Problem, c.Failed)
			}
			if tc.nearest != "" && (c.Nearest == nil || c.Nearest.Sid != tc.nearest) {
				t.Errorf("nearest %+v, want %s", c.Nearest, tc.nearest)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"an unknown member", "roles:\n  app:\n    identities: []\ncases: []", "x_test.yaml:3:5: role app has no member \"identities\"; it has arn, boundary"},
		{"an unknown member at the top", "case: []", `a test file has no member "case"`},
		{"an unknown member of an expectation", suiteOf("    allow: [{actions: s3:GetObject}]"), `an expectation has no member "actions"`},
		{"a member twice", "account: 1\naccount: 2", "account"},
		{"no cases", "roles: {}", "no cases"},
		{"an unknown document", "roles: {app: {identity: nowhere.json}}\ncases: []", `"nowhere.json" names no document and no file`},
		{"a managed policy", "roles: {app: {identity: 'arn:aws:iam::aws:policy/ReadOnlyAccess'}}\ncases: []", "with --against the role needs no documents"},
		{"a malformed document", "roles:\n  app:\n    identity:\n      Statement: {Effect: Allow, Action: GetObject, Resource: '*'}\ncases: []", "x_test.yaml:4:7: role app identity (identity policy): Actions/Conditions must be prefaced by a vendor"},
		{"a trust policy with a resource", "roles: {app: {trust: {Statement: {Effect: Allow, Principal: '*', Action: 'sts:AssumeRole', Resource: '*'}}}}\ncases: []", "Has prohibited field Resource."},
		{"no ARN of a role", "roles: {app: {arn: 'arn:aws:iam::111122223333:user/app'}}\ncases: []", "is not the ARN of a role"},
		{"a principal of no kind", "principals: {x: {identity: []}}\ncases: []", "give one of arn, service, federated and anonymous"},
		{"a name twice", "roles: {app: {}}\nprincipals: {app: {service: ec2.amazonaws.com}}\ncases: []", "app is the name of a role, too"},
		{"a resource without ARN", "resources: {x: {tags: {}}}\ncases: []", "arn is missing"},
		{"nobody asks", "cases: [{name: a, allow: ['s3:GetObject']}]", "as is missing"},
		{"an unknown caller", "cases: [{name: a, as: nobody, allow: ['s3:GetObject']}]", `"nobody" is no role or principal of this file`},
		{"an action with a wildcard", suiteOf("    allow: ['s3:*']"), "want service:Operation without wildcards"},
		{"because of what is allowed", suiteOf("    allow: [{action: s3:GetObject, because: implicit}]"), "because belongs to what is denied"},
		{"an unknown reason", suiteOf("    deny: [{action: s3:GetObject, because: whim}]"), `"whim" is none of explicit, implicit, boundary`},
		{"nothing expected", "roles: {app: {}}\ncases: [{name: a, as: app}]", "neither allow nor deny"},
		{"no name", "roles: {app: {}}\ncases: [{as: app, allow: ['a:b']}]", "a case has no name"},
		{"two of a name", "roles: {app: {}}\ncases: [{name: a, as: app, allow: ['a:b']}, {name: a, as: app, allow: ['a:b']}]", `two cases have the name "a"`},
		{"an unknown role", "cases: [{name: a, as: ec2.amazonaws.com, allow: [{assumeRole: {role: nobody}}]}]", `"nobody" is no role`},
		{"a pod without cluster", "roles: {app: {}}\ncases: [{name: a, allow: [{assumeRole: {role: app, podIdentity: {namespace: n}}}]}]", "cluster, namespace and serviceAccount are needed"},
		{"a session of no role", "principals: {s: {service: ec2.amazonaws.com}}\ncases: [{name: a, as: s, sessionName: x, allow: ['a:b']}]", "s is no role"},
		{"assumeRole and an action", "roles: {app: {}}\ncases: [{name: a, as: ec2.amazonaws.com, allow: [{action: 'a:b', assumeRole: {role: app}}]}]", "assumeRole stands alone"},
		{"a context of objects", suiteOf("    context: {a: {b: c}}\n    allow: ['a:b']"), "context: a is a object"},
		{"no YAML", "a: [", "read YAML"},
		{"a list", "- a", "a test file is a list"},
		{"two documents", "a: 1\n---\nb: 1", "want one YAML document"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := policytest.Load("x_test.yaml", []byte(tc.text), fromTestdata)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func report(t *testing.T) policytest.Report {
	t.Helper()
	s := load(t, suiteOf("    sessionTags: {team: red}\n    allow: [s3:GetObject arn:aws:s3:::b/web/k, s3:PutObject arn:aws:s3:::b/web/k]\n  - {name: two <&>, as: app, deny: [s3:DeleteObject]}"))
	lines := policytest.RunLines("l.jsonl", strings.NewReader(`{"id":"a","principal":"ec2.amazonaws.com","action":"a:b","resource":"*"}`+"\nnonsense\n"), nil)
	return policytest.Report{Files: []policytest.FileReport{s.Run(nil), lines, {File: "broken.yaml", Errors: []string{"broken.yaml:1:1: no"}}}}
}

func TestHuman(t *testing.T) {
	r := report(t)
	for _, tc := range []struct {
		verbose bool
		want    []string
	}{
		{false, []string{
			"FAIL  x_test.yaml: one (1 of 2 checks)\n  FAIL  x_test.yaml:13: allow s3:PutObject on arn:aws:s3:::b/web/k\n          expected  allow\n          got       deny, for nothing allows it (NoIdentityAllow)\n",
			"ok    x_test.yaml: two <&> (1 check)\n", "ERROR l.jsonl:2: read case", "ERROR broken.yaml:1:1: no",
			"3 cases in 3 files: 4 checks, 2 passed, 1 failed, 1 not graded; 2 files could not be run\n",
		}},
		{true, []string{"  ok    x_test.yaml:13: allow s3:GetObject on arn:aws:s3:::b/web/k\n          got       allow\n          decided   identity policy role app identity statement 1 (Get)\n"}},
	} {
		var b strings.Builder
		if err := r.WriteHuman(&b, tc.verbose); err != nil {
			t.Fatal(err)
		}
		for _, want := range tc.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("no %q in:\n%s", want, b.String())
			}
		}
	}
}

func TestMachineForms(t *testing.T) {
	r := report(t)
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Files  []policytest.FileReport
		Totals map[string]int
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Totals["failed"] != 1 || back.Totals["invalidFiles"] != 2 || len(back.Files[0].Checks) != 3 {
		t.Errorf("JSON %+v, %v", back, err)
	}
	b.Reset()
	if err := r.WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name      string `xml:"name,attr"`
				ClassName string `xml:"classname,attr"`
				Failure   *struct {
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b.Bytes(), &suites); err != nil {
		t.Fatal(err)
	}
	if suites.Tests != 6 || suites.Failures != 1 || suites.Errors != 2 || len(suites.Suites) != 3 {
		t.Errorf("JUnit %+v", suites)
	}
	failed := suites.Suites[0].Cases[1]
	if failed.Failure == nil || failed.Failure.Message != "expected allow, got deny" || !strings.Contains(failed.Failure.Text, "x_test.yaml:13") {
		t.Errorf("failed case %+v", failed)
	}
	if suites.Suites[1].Cases[1].Skipped == nil {
		t.Errorf("a case without want is not skipped: %+v", suites.Suites[1])
	}
}

func TestFilter(t *testing.T) {
	content, err := fromTestdata("app_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := policytest.Report{Files: []policytest.FileReport{load(t, string(content)).Run(regexp.MustCompile("^a .*s$"))}}
	if got := r.Totals(); got.Cases != 2 || got.Failed != 0 {
		t.Errorf("ran %+v", got)
	}
}

func TestLive(t *testing.T) {
	const suite = `
roles:
  app:
    trust: trust.json
    identity: {Version: 2012-10-17, Statement: {Effect: Allow, Action: "s3:GetObject", Resource: "*"}}
cases:
  - name: read
    as: app
    allow: [s3:GetObject arn:aws:s3:::b/k]
  - name: write
    as: app
    deny: [s3:PutObject arn:aws:s3:::b/k]
`
	trust, err := fromTestdata("trust.json")
	if err != nil {
		t.Fatal(err)
	}
	const read = `{"Statement":[{"Resource":"*","Effect":"Allow","Action":"s3:GetObject"}],"Version":"2012-10-17"}`
	const asObject = `{"Statement":{"Resource":"*","Effect":"Allow","Action":"s3:GetObject"},"Version":"2012-10-17"}`
	const write = `{"Statement":[{"Resource":"*","Effect":"Allow","Action":"s3:*"}],"Version":"2012-10-17"}`
	const arn = "arn:aws:iam::999988887777:role/app"
	for _, tc := range []struct {
		name        string
		role        policytest.LiveRole
		differences []string
		failed      int
		errors      string
	}{
		{"the same", policytest.LiveRole{ARN: arn, Trust: string(trust), Identity: []policytest.LiveDocument{{Name: "p", Text: asObject}}}, nil, 0, ""},
		{
			"wider",
			policytest.LiveRole{ARN: arn, Trust: strings.ReplaceAll(string(trust), "web", "other"), Identity: []policytest.LiveDocument{{Name: "p", Text: write}}},
			[]string{"role app: the trust policy differs", "role app: policy p is in none of the file's", "role app: no policy has the content"},
			1, "",
		},
		{
			"bounded",
			policytest.LiveRole{ARN: arn, Trust: string(trust), Boundary: &policytest.LiveDocument{Name: "b", Text: strings.ReplaceAll(read, "s3:", "sqs:")}, Identity: []policytest.LiveDocument{{Name: "p", Text: asObject}}},
			[]string{"role app: there is a permissions boundary, b"},
			1, "",
		},
		{"unreadable", policytest.LiveRole{ARN: arn, Trust: "{}"}, nil, 0, "role app of the server: trust policy: malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := load(t, suite)
			got := s.RunLive(nil, map[string]policytest.LiveRole{"app": tc.role})
			r := policytest.Report{Files: []policytest.FileReport{got}}
			if r.Totals().Failed != tc.failed {
				t.Errorf("%d failed, want %d: %+v", r.Totals().Failed, tc.failed, got)
			}
			if len(got.Differences) != len(tc.differences) {
				t.Fatalf("differences %q", got.Differences)
			}
			for i, d := range tc.differences {
				if !strings.Contains(got.Differences[i], d) {
					t.Errorf("difference %q, want %q", got.Differences[i], d)
				}
			}
			if tc.failed > 0 {
				for _, c := range got.Checks {
					if !c.Passed && c.InFile == "" {
						t.Errorf("check %+v does not say what the file gives", c)
					}
				}
			}
			if tc.errors != "" && !strings.Contains(strings.Join(got.Errors, "\n"), tc.errors) {
				t.Errorf("errors %q", got.Errors)
			}
			if again := s.Run(nil); again.Checks[0].Verdict != "allow" || again.Checks[1].Verdict != "deny" {
				t.Errorf("the file's own roles are not back: %+v", again.Checks)
			}
		})
	}
	if got := load(t, suite).RunLive(nil, nil); len(got.Errors) != 1 {
		t.Errorf("without the role: %+v", got)
	}
}

// FuzzLoad wants any text to be a suite that runs, or an error.
func FuzzLoad(f *testing.F) {
	content, err := fromTestdata("app_test.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(content))
	f.Add(suiteOf("    allow: [s3:GetObject arn:aws:s3:::b/web/k]"))
	f.Add("roles: {a: {trust: {}}}\ncases: [{name: a, allow: [{assumeRole: {role: a, podIdentity: {}}}]}]")
	f.Add("cases: [{name: a, as: anonymous, context: {a: []}, allow: [a:b]}]")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := policytest.Load("x_test.yaml", []byte(text), func(string) ([]byte, error) { return nil, errors.New("no files here") })
		if err != nil {
			return
		}
		r := s.Run(nil)
		if s.Cases() == 0 {
			t.Error("a suite without cases")
		}
		for _, c := range r.Checks {
			if c.Verdict != policytest.Allow && c.Verdict != policytest.Deny {
				t.Errorf("verdict %q", c.Verdict)
			}
		}
	})
}

// BenchmarkRun decides the cases of testdata/app_test.yaml.
func BenchmarkRun(b *testing.B) {
	content, err := fromTestdata("app_test.yaml")
	if err != nil {
		b.Fatal(err)
	}
	s, err := policytest.Load("app_test.yaml", content, fromTestdata)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Run(nil)
	}
}
