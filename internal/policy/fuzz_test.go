// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bufio"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzParse: nothing panics, and an accepted document that is written anew by
// encoding/json is accepted again and gives the same answers.
func FuzzParse(f *testing.F) {
	for _, text := range vectorDocuments(f) {
		f.Add(uint8(Identity), text)
		f.Add(uint8(Trust), text)
		f.Add(uint8(Resource), text)
	}
	f.Add(uint8(SCP), doc(allowAll, denyS3))
	f.Add(uint8(RCP), doc(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}`))
	f.Add(uint8(Identity), `{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:username, 'a}b'}"}}`)
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		k := DocumentKind(kind % (uint8(RCP) + 1))
		d, err := Parse(k, text)
		if err != nil {
			if message(err) == "" || strings.HasPrefix(message(err), "other") {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		var decoded any
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		if err := dec.Decode(&decoded); err != nil {
			t.Fatalf("accepted text is no JSON: %v", err)
		}
		again, err := json.Marshal(decoded)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > TextMax { // encoding/json escapes some characters
			return
		}
		d2, err := Parse(k, string(again))
		if err != nil {
			t.Fatalf("written anew: %v\n%s", err, again)
		}
		for _, in := range fuzzRequests() {
			if a, b := withDocument(in, k, d), withDocument(in, k, d2); a.Allowed != b.Allowed || a.Explicit != b.Explicit {
				t.Fatalf("%+v, written anew %+v", a, b)
			}
		}
	})
}

func fuzzRequests() []Input {
	ctx := &Context{}
	ctx.Set("aws:SourceAccount", acct)
	ctx.Set("aws:username", "bob")
	ctx.SetMulti("aws:TagKeys", "a", "b")
	ctx.SetUnknown("aws:CurrentTime")
	return []Input{
		{Principal: ServicePrincipal(PodIdentityService), Action: ActionAssumeRole, Resource: target, ResourceAccount: acct, Context: ctx},
		{Principal: SessionPrincipal(roleApp, sessApp), Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", ResourceAccount: acct, Context: ctx},
	}
}

// withDocument evaluates a request with a document where its kind belongs.
func withDocument(in Input, k DocumentKind, d *Document) Decision {
	n := Named{Doc: d}
	switch k {
	case Trust, Resource:
		in.ResourcePolicy, in.RequireResourcePolicy = &n, k == Trust
	case SessionPolicy:
		in.Session = []Named{n}
	case Boundary:
		in.Boundary = &n
	case SCP:
		in.SCPs = [][]Named{{n}}
	case RCP:
		in.RCPs = [][]Named{{n}}
	default:
		in.Identity = []Named{n}
	}
	x := Explain(&in)
	_ = x.Reason() + x.Detail()
	return x.Decision
}

// vectorDocuments returns every document of the vectors.
func vectorDocuments(f *testing.F) []string {
	f.Helper()
	file, err := os.Open("testdata/vectors.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	var out []string
	scan := bufio.NewScanner(file)
	for scan.Scan() {
		var line struct {
			IdentityPolicies []json.RawMessage
			TrustPolicy      json.RawMessage
			ResourcePolicy   json.RawMessage
		}
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
			f.Fatal(err)
		}
		for _, d := range append(line.IdentityPolicies, line.TrustPolicy, line.ResourcePolicy) {
			if len(d) > 0 {
				out = append(out, string(d))
			}
		}
	}
	if err := scan.Err(); err != nil {
		f.Fatal(err)
	}
	return out
}

// naiveGlob is the definition: exponential, and plainly right.
func naiveGlob(pattern, value []rune) bool {
	switch {
	case len(pattern) == 0:
		return len(value) == 0
	case pattern[0] == '*':
		return naiveGlob(pattern[1:], value) || len(value) > 0 && naiveGlob(pattern, value[1:])
	case len(value) == 0:
		return false
	}
	return (pattern[0] == '?' || pattern[0] == value[0]) && naiveGlob(pattern[1:], value[1:])
}

func FuzzMatch(f *testing.F) {
	for _, s := range [][2]string{{"*", ""}, {"a*b*c", "aXbXbc"}, {"?", "é"}, {"a?*", "a"}, {"**a", "aaa"}, {"*a?c", "abcabc"}, {"arn:*:?", "arn::x"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, value string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(value) || len(pattern)*len(value) > 1<<20 {
			return
		}
		p := compilePattern(pattern, patternStyle{wildcards: true})
		got := p.match(value, nil) == yes
		if strings.Count(pattern, "*") > 3 || len(value) > 32 {
			return
		}
		if want := naiveGlob([]rune(pattern), []rune(value)); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, value, got, want)
		}
		folded := compilePattern(pattern, patternStyle{wildcards: true, foldCase: true})
		if got && folded.match(value, nil) != yes {
			t.Fatalf("%q matches %q only without folding", pattern, value)
		}
	})
}

// TestMatchDoesNotExplode: the pattern on which naive matchers take years.
func TestMatchDoesNotExplode(t *testing.T) {
	p := compilePattern(strings.Repeat("a*", 200)+"b", patternStyle{wildcards: true})
	if p.match(strings.Repeat("a", 20000), nil) != no {
		t.Error("matched")
	}
}

// FuzzInstant holds dates against the time package, which is laxer in two things: it takes a fraction of any length, where IAM
// refuses more than nine digits (TestParseManagedRefuses has one), and zones of 24 hours or 60 minutes.
func FuzzInstant(f *testing.F) {
	for _, s := range []string{
		"2026-06-01T00:00:00Z", "1780272000", "2016-12-13t2:00:00.593194+23", "-1", "01T", "2026",
		"9999-12-31T23:59:60.999999999-23:59", "9999-12-31T23:59:50.999999999-23:59", "9999-12-31T23:59:50.9999999599-23:59",
		"9999-12-31T23:59:50.992999999-24:59", "2026-06-01T00:00:00+10:60",
	} {
		f.Add(s)
	}
	refused := regexp.MustCompile(`[.,][0-9]{10}|[+-](24:[0-9][0-9]|[0-9][0-9]:60)$`)
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseInstant(s)
		if refused.MatchString(s) {
			if ok {
				t.Fatalf("%q is %+v, want a refusal", s, got)
			}
			return
		}
		if want, err := time.Parse(time.RFC3339, s); err == nil && want.Year() > 0 {
			if !ok || got != (instant{want.Unix(), int64(want.Nanosecond())}) {
				t.Fatalf("%q is %+v, want %v", s, got, want.Unix())
			}
		}
	})
}
