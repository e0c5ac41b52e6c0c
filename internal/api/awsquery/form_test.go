// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/fault"
)

func mustParse(t testing.TB, raw string) *Form {
	t.Helper()
	f, err := ParseForm(raw)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParseFormRefuses(t *testing.T) {
	for _, tc := range []struct{ name, raw, want string }{
		{"broken escape in a value", "RoleName=%zz", `The request is malformed: the value of the parameter "RoleName" has a broken percent escape.`},
		{"cut escape", "RoleName=a%2", `The request is malformed: the value of the parameter "RoleName" has a broken percent escape.`},
		{"broken escape in a name", "Role%Name=a", `The request is malformed: the name of the parameter "Role%Name" has a broken percent escape.`},
		{"given twice", "RoleName=a&RoleName=b", `The request is malformed: the parameter "RoleName" is given twice.`},
		{"given twice, once escaped", "RoleName=a&%52oleName=a", `The request is malformed: the parameter "RoleName" is given twice.`},
		{"no name", "=a", "The request is malformed: a parameter has no name."},
		{"value is not UTF-8", "A=%ff", `The request is malformed: the value of the parameter "A" is not UTF-8.`},
		{"name is not UTF-8", "%ff=a", "The request is malformed: the name of a parameter is not UTF-8."},
		{"too many", strings.Repeat("&", 3) + manyParameters(1001), "The request is malformed: there are more than 1000 parameters."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseForm(tc.raw)
			if !fault.Is(err, fault.InvalidRequest) {
				t.Fatalf("err = %v, want an invalid request", err)
			}
			if got := fault.As(err); got.Message != tc.want || got.Reason != "malformed-form" {
				t.Errorf("got %q (%s), want %q", got.Message, got.Reason, tc.want)
			}
		})
	}
}

func manyParameters(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "P%d=x&", i)
	}
	return b.String()
}

func TestFormScalars(t *testing.T) {
	f := mustParse(t, "Action=CreateRole&&RoleName=a+b%2Bc&Empty=&Bare&N=3600&Yes=TRUE&No=false&X-Amz-Signature=abc")
	if got := f.String("RoleName"); got != "a b+c" {
		t.Errorf("RoleName = %q", got)
	}
	if v, ok := f.Lookup("Empty"); v != "" || !ok {
		t.Errorf("Empty = %q, %v", v, ok)
	}
	if _, ok := f.Lookup("Bare"); !ok {
		t.Error("Bare is absent")
	}
	if _, ok := f.Lookup("X-Amz-Signature"); ok {
		t.Error("a parameter of the signature is in the form")
	}
	if n := f.Int32("N"); n == nil || *n != 3600 {
		t.Errorf("N = %v", n)
	}
	if b := f.Bool("Yes"); b == nil || !*b {
		t.Errorf("Yes = %v", b)
	}
	if b := f.Bool("No"); b == nil || *b {
		t.Errorf("No = %v", b)
	}
	if f.Int32("Absent") != nil || f.Bool("Absent") != nil || f.Ptr("Absent") != nil || f.Strings("Absent") != nil || f.List("Absent") != nil {
		t.Error("an absent parameter is there")
	}
	if err := f.Err(); err != nil {
		t.Error(err)
	}
}

func TestFormReadersRefuse(t *testing.T) {
	for _, tc := range []struct {
		name, raw string
		read      func(*Form)
		want      string
	}{
		{"number", "N=1h", func(f *Form) { f.Int32("N") }, `the parameter "N" is no 32-bit number`},
		{"number too large", "N=4294967296", func(f *Form) { f.Int32("N") }, `the parameter "N" is no 32-bit number`},
		{"truth value", "B=yes", func(f *Form) { f.Bool("B") }, `the parameter "B" must be true or false`},
		{"index 0", "K.member.0=a", func(f *Form) { f.Strings("K") }, `the parameter "K.member.0" is no list member: indexes are numbers from 1`},
		{"leading zero", "K.member.01=a", func(f *Form) { f.Strings("K") }, `the parameter "K.member.01" is no list member: indexes are numbers from 1`},
		{"no index", "K.member.x=a", func(f *Form) { f.Strings("K") }, `the parameter "K.member.x" is no list member: indexes are numbers from 1`},
		{"huge index", "K.member.999999999=a", func(f *Form) { f.Strings("K") }, `the parameter "K.member.999999999" is no list member: indexes are numbers from 1`},
		{"no member", "K.1=a", func(f *Form) { f.Strings("K") }, `the parameter "K.1" is no list member: indexes are numbers from 1`},
		{"gap", "K.member.1=a&K.member.3=c", func(f *Form) { f.Strings("K") }, `the list "K" has no member 2`},
		{"scalar for a list", "K=a", func(f *Form) { f.Strings("K") }, `the parameter "K" is a list: its members are K.member.1 and so on`},
		{"structure for a value", "K.member.1.Key=a", func(f *Form) { f.Strings("K") }, `"K.member.1" is a structure where a value was expected`},
		{"value for a structure", "K.member.1=a", func(f *Form) { f.List("K") }, `"K.member.1" is a value where a structure was expected`},
		{"first error counts", "N=x&B=y", func(f *Form) { f.Int32("N"); f.Bool("B") }, `the parameter "N" is no 32-bit number`},
		{"inside a list", "K.member.1.N=x", func(f *Form) { f.List("K")[0].Int32("N") }, `the parameter "K.member.1.N" is no 32-bit number`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mustParse(t, tc.raw)
			tc.read(f)
			if err := f.Err(); err == nil || fault.As(err).Message != "The request is malformed: "+tc.want+"." {
				t.Errorf("err = %v, want %s", err, tc.want)
			}
		})
	}
}

func TestFormLists(t *testing.T) {
	f := mustParse(t, "TagKeys.member.2=b&TagKeys.member.1=a&Empty=&Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.2.Key=only")
	if got := f.Strings("TagKeys"); !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("TagKeys = %q", got)
	}
	if got := f.Strings("Empty"); got == nil || len(got) != 0 {
		t.Errorf("Empty = %#v, want an empty list", got)
	}
	var got []string
	for _, tag := range f.List("Tags") {
		got = append(got, tag.String("Key")+"="+tag.String("Value"))
	}
	if !cmp.Equal(got, []string{"k=v", "only="}) {
		t.Errorf("Tags = %q", got)
	}
	if err := f.Err(); err != nil {
		t.Error(err)
	}
}

func TestFormParameters(t *testing.T) {
	f := mustParse(t, "Action=A&Version=V&RoleArn=r&WebIdentityToken=secret&Tags.member.1.Key=k")
	got := f.Parameters("HIDDEN", "WebIdentityToken")
	want := map[string]string{"roleArn": "r", "webIdentityToken": "HIDDEN", "tags.member.1.Key": "k"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// FuzzForm: what is accepted means the same to the standard library, and no
// reader panics.
func FuzzForm(f *testing.F) {
	for _, s := range []string{
		"", "Action=GetRole&Version=2010-05-08&RoleName=a", "a=b&a=c", "%zz=1", "a=%e4", "K.member.1=a&K.member.3=b", "K.member.1.Key=a",
		"a;b=c", "+=1", "K=&K.member.1=x", "X-Amz-Date=1", "&&&=", "a=b=c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		form, err := ParseForm(raw)
		if err != nil {
			return
		}
		for k, v := range form.values {
			// The standard library refuses ';', which has no meaning in this protocol.
			if want, err := url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B")); err != nil || want.Get(k) != v || len(want[k]) != 1 {
				t.Errorf("%q: %q = %q, want %q (%v)", raw, k, v, want[k], err)
			}
			base, _, _ := strings.Cut(k, ".")
			form.Strings(base)
			form.Int32(k)
			form.Bool(k)
			for _, m := range form.List(base) {
				m.String("Key")
			}
		}
	})
}

func BenchmarkParseForm(b *testing.B) {
	raw := "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fs3-app&RoleSessionName=session" +
		"&Tags.member.1.Key=a&Tags.member.1.Value=b&Tags.member.2.Key=c&Tags.member.2.Value=d&DurationSeconds=3600"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseForm(raw); err != nil {
			b.Fatal(err)
		}
	}
}
