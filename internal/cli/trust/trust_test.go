// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	account = "111122223333"
	first   = "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster"
	second  = "arn:aws:eks:us-west-2:111122223333:cluster/other"
)

func compact(t *testing.T, s string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDocuments(t *testing.T) {
	for _, tc := range []struct{ name, got, want string }{
		{"pods of an account", ForPods(account), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},
			"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"}}}]}`},
		{"pods of a cluster", ForPods(account, first), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},
			"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"},"ArnEquals":{"aws:SourceArn":"` + first + `"}}}]}`},
		{"pods of two clusters", ForPods(account, first, second), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},
			"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"},"ArnEquals":{"aws:SourceArn":["` + first + `","` + second + `"]}}}]}`},
		{"agent", ForAgent("arn:aws:iam::111122223333:oidc-provider/clusters.podid.dev/abc", "ns", "sa"), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
			"Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/clusters.podid.dev/abc"},"Action":"sts:AssumeRoleWithWebIdentity",
			"Condition":{"StringEquals":{"clusters.podid.dev/abc:sub":"system:serviceaccount:ns:sa","clusters.podid.dev/abc:aud":"podid.dev/control-plane"}}}]}`},
		{"boundary", NodeBoundary(first), `{"Version":"2012-10-17","Statement":[{"Sid":"OtherServices","Effect":"Allow","NotAction":"eks-auth:*","Resource":"*"},
			{"Sid":"OwnCluster","Effect":"Allow","Action":"eks-auth:*","Resource":"` + first + `"}]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if d := cmp.Diff(compact(t, tc.want), compact(t, tc.got)); d != "" {
				t.Error(d)
			}
		})
	}
}

// statement is an Allow statement for pods with the condition given.
func statement(actions, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":` + actions + condition + `}`
}

func TestExtend(t *testing.T) {
	const both = `["sts:AssumeRole","sts:TagSession"]`
	doc := func(s string) string { return `{"Version":"2012-10-17","Statement":` + s + `}` }
	cond := func(more, source string) string {
		return `{"StringEquals":{"aws:SourceAccount":"111122223333"` + more + `},"ArnEquals":{"aws:SourceArn":` + source + `}}`
	}
	own := `{"Sid":"PodIdentityCluster1","Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"],` +
		`"Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"},"ArnEquals":{"aws:SourceArn":"` + second + `"}}}`
	human := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}`
	for _, tc := range []struct{ name, in, want string }{
		{"a value becomes an array", doc("[" + statement(both, cond("", `"`+first+`"`)) + "]"), doc("[" + statement(both, cond("", `["`+first+`","`+second+`"]`)) + "]")},
		{"an array grows", doc("[" + statement(both, cond("", `["`+first+`"]`)) + "]"), doc("[" + statement(both, cond("", `["`+first+`","`+second+`"]`)) + "]")},
		{
			"other conditions stay", doc("[" + statement(both, cond(`,"aws:RequestTag/kubernetes-namespace":"prod"`, `"`+first+`"`)) + "]"),
			doc("[" + statement(both, cond(`,"aws:RequestTag/kubernetes-namespace":"prod"`, `["`+first+`","`+second+`"]`)) + "]"),
		},
		{
			"two statements share the actions", doc("[" + statement(`"sts:AssumeRole"`, cond("", `"`+first+`"`)) + "," + statement(`"sts:TagSession"`, cond("", `"`+first+`"`)) + "]"),
			doc("[" + statement(`"sts:AssumeRole"`, cond("", `["`+first+`","`+second+`"]`)) + "," + statement(`"sts:TagSession"`, cond("", `["`+first+`","`+second+`"]`)) + "]"),
		},
		{"named already", doc("[" + statement(both, cond("", `"`+second+`"`)) + "]"), ""},
		{"no condition at all", doc("[" + statement(both, "") + "]"), ""},
		{"account only", doc("[" + statement(both, `{"StringEquals":{"aws:SourceAccount":"111122223333"}}`) + "]"), ""},
		{"no statement for pods", doc("[" + human + "]"), doc("[" + human + "," + own + "]")},
		{"a single statement", doc(human), doc("[" + human + "," + own + "]")},
		{
			"another account stays untouched", doc("[" + statement(both, `{"StringEquals":{"aws:SourceAccount":"444455556666"}}`) + "]"),
			doc("[" + statement(both, `{"StringEquals":{"aws:SourceAccount":"444455556666"}}`) + "," + own + "]"),
		},
		{
			"a negated condition stays untouched", doc("[" + statement(both, `{"ArnNotEquals":{"aws:SourceArn":"`+first+`"}}`) + "]"),
			doc("[" + statement(both, `{"ArnNotEquals":{"aws:SourceArn":"`+first+`"}}`) + "," + own + "]"),
		},
		{
			"a taken Sid", doc(`[{"Sid":"PodIdentityCluster1","Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}]`),
			doc(`[{"Sid":"PodIdentityCluster1","Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"},` + strings.Replace(own, "Cluster1", "Cluster2", 1) + `]`),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x, err := Extend(tc.in, account, second)
			if err != nil {
				t.Fatal(err)
			}
			want := tc.want
			if want == "" {
				want = tc.in
			}
			if d := cmp.Diff(compact(t, want), compact(t, x.New)); d != "" {
				t.Error(d)
			}
			if changed := tc.want != ""; x.Changed != changed || (x.Diff("a", "b") != "") != changed {
				t.Errorf("changed = %v, want %v; diff:\n%s", x.Changed, changed, x.Diff("a", "b"))
			}
			again, err := Extend(x.New, account, second)
			if err != nil || again.Changed || again.New != x.New {
				t.Errorf("extending twice changes again: %v\n%s", err, again.Diff("once", "twice"))
			}
		})
	}
}

func TestExtendRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"no JSON": `{"Statement":`, "no object": `[]`, "no statement": `{"Version":"2012-10-17"}`, "more after it": `{"Statement":[]} {}`,
		"too deep": strings.Repeat("[", 100) + strings.Repeat("]", 100), "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			if x, err := Extend(in, account, second); err == nil {
				t.Errorf("extended to %s", x.New)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	lines := func(s string) string { return strings.Join(strings.Split(s, ""), "\n") }
	for _, tc := range []struct{ name, old, new, want string }{
		{"equal", "abc", "abc", ""},
		{"one line in the middle", "abcdefghi", "abcdXfghi", "--- o\n+++ n\n@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+X\n f\n g\n h\n"},
		{"added at the end", "ab", "abc", "--- o\n+++ n\n@@ -1,2 +1,3 @@\n a\n b\n+c\n"},
		{"two hunks", "abcdefghijklmnop", "Xbcdefghijklmnoq", "--- o\n+++ n\n@@ -1,4 +1,4 @@\n-a\n+X\n b\n c\n d\n@@ -13,4 +13,4 @@\n m\n n\n o\n-p\n+q\n"},
		{"changes close together", "abcdefgh", "XbcdefgY", "--- o\n+++ n\n@@ -1,8 +1,8 @@\n-a\n+X\n b\n c\n d\n e\n f\n g\n-h\n+Y\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := &Extension{Old: lines(tc.old), New: lines(tc.new)}
			if d := cmp.Diff(tc.want, x.Diff("o", "n")); d != "" {
				t.Error(d)
			}
		})
	}
}

// FuzzExtend holds that a policy that can be extended needs it once only, and
// that formatting changes no value.
func FuzzExtend(f *testing.F) {
	f.Add(ForPods(account, first))
	f.Add(`{"Statement":{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":"*","Condition":{"ArnLike":{"AWS:sourcearn":[]}}}}`)
	f.Add(`{"Statement":"x"}`)
	f.Fuzz(func(t *testing.T, in string) {
		x, err := Extend(in, account, second)
		if err != nil {
			return
		}
		again, err := Extend(x.New, account, second)
		if err != nil {
			t.Fatalf("%v\n%s", err, x.New)
		}
		if again.Old != x.New {
			t.Fatalf("formatting is not stable:\n%s", again.Old)
		}
		if again.Changed {
			t.Fatalf("extended twice:\n%s", again.Diff("once", "twice"))
		}
	})
}
