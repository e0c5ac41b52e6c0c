// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package arn_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"podid/internal/arn"
)

func TestParse(t *testing.T) {
	long := "arn:aws:s3:::" + strings.Repeat("x", 2048-13)
	for _, c := range []struct {
		name, in string
		want     arn.ARN
		bad      bool
	}{
		{name: "bucket", in: "arn:aws:s3:::b/k", want: arn.ARN{Partition: "aws", Service: "s3", Resource: "b/k"}},
		{name: "colons in the resource", in: "arn:aws:logs:us-west-2:111122223333:log-group:a:*", want: arn.ARN{Partition: "aws", Service: "logs", Region: "us-west-2", Account: "111122223333", Resource: "log-group:a:*"}},
		{name: "longest", in: long, want: arn.ARN{Partition: "aws", Service: "s3", Resource: long[13:]}},
		{name: "too long", in: long + "x", bad: true},
		{name: "empty", in: "", bad: true},
		{name: "five parts", in: "arn:aws:s3::b", bad: true},
		{name: "other prefix", in: "ARN:aws:s3:::b", bad: true},
		{name: "no partition", in: "arn::s3:::b", bad: true},
		{name: "no service", in: "arn:aws::::b", bad: true},
		{name: "no resource", in: "arn:aws:s3:::", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := arn.Parse(c.in)
			if (err != nil) != c.bad || got != c.want {
				t.Fatalf("Parse(%.40q) = %+v, %v", c.in, got, err)
			}
			if err == nil && got.String() != c.in {
				t.Errorf("String() = %q, want %q", got.String(), c.in)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("the error repeats a long input: %d characters", len(err.Error()))
			}
		})
	}
}

func TestParseRole(t *testing.T) {
	longPath := "/" + strings.Repeat("p", 510) + "/"
	longName := strings.Repeat("n", 64)
	for _, c := range []struct {
		name, in string
		want     arn.Role
		bad      bool
	}{
		{name: "textbook", in: "arn:aws:iam::111122223333:role/my-role", want: arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "my-role"}},
		{name: "path", in: "arn:aws-cn:iam::111122223333:role/a/b/r+=,.@-_", want: arn.Role{Partition: "aws-cn", Account: "111122223333", Path: "/a/b/", Name: "r+=,.@-_"}},
		{name: "longest", in: "arn:aws:iam::111122223333:role" + longPath + longName, want: arn.Role{Partition: "aws", Account: "111122223333", Path: longPath, Name: longName}},
		{name: "path too long", in: "arn:aws:iam::111122223333:role/p" + longPath + longName, bad: true},
		{name: "name too long", in: "arn:aws:iam::111122223333:role/" + longName + "n", bad: true},
		{name: "empty name", in: "arn:aws:iam::111122223333:role/", bad: true},
		{name: "empty path segment", in: "arn:aws:iam::111122223333:role//r", bad: true},
		{name: "no slash", in: "arn:aws:iam::111122223333:roler", bad: true},
		{name: "user", in: "arn:aws:iam::111122223333:user/r", bad: true},
		{name: "session", in: "arn:aws:sts::111122223333:assumed-role/r/s", bad: true},
		{name: "region", in: "arn:aws:iam:us-west-2:111122223333:role/r", bad: true},
		{name: "short account", in: "arn:aws:iam::11112222333:role/r", bad: true},
		{name: "letters in the account", in: "arn:aws:iam::11112222333x:role/r", bad: true},
		{name: "wildcard", in: "arn:aws:iam::111122223333:role/*", bad: true},
		{name: "line end", in: "arn:aws:iam::111122223333:role/r\n", bad: true},
		{name: "colon", in: "arn:aws:iam::111122223333:role/r:x", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := arn.ParseRole(c.in)
			if (err != nil) != c.bad || got != c.want {
				t.Fatalf("ParseRole(%.60q) = %+v, %v", c.in, got, err)
			}
			if err == nil && got.String() != c.in {
				t.Errorf("String() = %q, want %q", got.String(), c.in)
			}
		})
	}
}

// The loops accept exactly what IAM's documented patterns accept.
func TestPatterns(t *testing.T) {
	account := regexp.MustCompile(`^[0-9]{12}$`)
	name := regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	path := regexp.MustCompile(`^(/|/[\x21-\x7e]+/)$`)
	alphabet := rapid.SampledFrom([]rune("aZ09_+=,.@-/ :*~!\n\x7f\u00e9\u0130"))
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(alphabet, 0, 70, -1).Draw(t, "s")
		digits := rapid.StringOfN(rapid.SampledFrom([]rune("0123456789x\u0660")), 10, 14, -1).Draw(t, "digits")
		if got, want := arn.IsName(s, 64), name.MatchString(s); got != want {
			t.Errorf("IsName(%q) = %v, want %v", s, got, want)
		}
		if got, want := arn.IsPath("/"+s+"/"), path.MatchString("/"+s+"/"); got != want {
			t.Errorf("IsPath(%q) = %v, want %v", "/"+s+"/", got, want)
		}
		if got, want := arn.IsAccount(digits), account.MatchString(digits); got != want {
			t.Errorf("IsAccount(%q) = %v, want %v", digits, got, want)
		}
	})
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ name, got, want string }{
		{"user", arn.IAM("aws", "111122223333", "user", "/a/", "u"), "arn:aws:iam::111122223333:user/a/u"},
		{"cluster", arn.Cluster("aws", "us-west-2", "111122223333", "my-cluster"), "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster"},
		{"association", arn.Association("aws", "us-west-2", "111122223333", "my-cluster", "a-1"), "arn:aws:eks:us-west-2:111122223333:podidentityassociation/my-cluster/a-1"},
		{"add-on", arn.Addon("aws", "us-west-2", "111122223333", "my-cluster", "coredns", "id"), "arn:aws:eks:us-west-2:111122223333:addon/my-cluster/coredns/id"},
		{"access entry", arn.AccessEntry("aws", "us-west-2", "111122223333", "my-cluster", "role", "r", "id"), "arn:aws:eks:us-west-2:111122223333:access-entry/my-cluster/role/111122223333/r/id"},
		{"session", arn.AssumedRole("aws", "111122223333", "r", "s"), "arn:aws:sts::111122223333:assumed-role/r/s"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
}

// What parses writes itself as it was read, and a role is an ARN.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "arn:aws:iam::111122223333:role/my-role", "arn:aws:iam::111122223333:role/a/b/r", "arn:aws:s3:::b/k:v", "arn:aws:iam::aws:policy/X", "arn:::::", "arn:aws:iam::111122223333:role//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := arn.Parse(s)
		if err == nil && a.String() != s {
			t.Fatalf("%q reads as %q", s, a.String())
		}
		r, rerr := arn.ParseRole(s)
		if rerr == nil && (err != nil || r.String() != s || arn.IAM(r.Partition, r.Account, "role", r.Path, r.Name) != s) {
			t.Fatalf("%q reads as role %q (%v)", s, r.String(), err)
		}
	})
}

func BenchmarkParseRole(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := arn.ParseRole("arn:aws:iam::111122223333:role/s3-app-eks-pod-identity-role"); err != nil {
			b.Fatal(err)
		}
	}
}
