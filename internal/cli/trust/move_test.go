// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var move = Move{
	FromAccount: "444455556666", FromCluster: "arn:aws:eks:eu-west-1:444455556666:cluster/prod",
	ToAccount: account, ToCluster: first,
}

const bothActions = `"Action":["sts:AssumeRole","sts:TagSession"]`

// podsWhen is an Allow statement for pods with a condition.
func podsWhen(condition string) string {
	return `{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},` + bothActions + `,"Condition":` + condition + `}`
}

func TestRewrite(t *testing.T) {
	textbook := podsWhen(`{"StringEquals":{"aws:SourceAccount":"444455556666"},"ArnEquals":{"aws:SourceArn":"` + move.FromCluster + `"}}`)
	here := podsWhen(`{"StringEquals":{"aws:SourceAccount":"111122223333"},"ArnEquals":{"aws:SourceArn":"` + first + `"}}`)
	for _, tc := range []struct {
		name, in, want string // statements, separated by commas
		notes          []string
		admits         bool
	}{
		{"textbook", textbook, here, []string{
			"trust statement 1: aws:SourceAccount 444455556666 is now 111122223333",
			"trust statement 1: aws:SourceArn arn:aws:eks:eu-west-1:444455556666:cluster/prod is now " + first,
		}, true},
		{
			"no condition", `{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},` + bothActions + `}`,
			`{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},` + bothActions + `}`, nil, true,
		},
		{
			"a pattern becomes the cluster", podsWhen(`{"ArnLike":{"aws:SourceArn":"arn:aws:eks:*:444455556666:cluster/*"}}`), podsWhen(`{"ArnLike":{"aws:SourceArn":"` + first + `"}}`),
			[]string{"trust statement 1: aws:SourceArn arn:aws:eks:*:444455556666:cluster/* is now " + first},
			true,
		},
		{
			"another cluster stays", podsWhen(`{"ArnLike":{"aws:SourceArn":["arn:aws:eks:eu-west-1:444455556666:cluster/test","` + move.FromCluster + `","arn:aws:eks:us-east-1:444455556666:cluster/*"]}}`),
			podsWhen(`{"ArnLike":{"aws:SourceArn":["arn:aws:eks:eu-west-1:444455556666:cluster/test","` + first + `","arn:aws:eks:us-east-1:444455556666:cluster/*"]}}`),
			[]string{
				"trust statement 1: aws:SourceArn keeps arn:aws:eks:eu-west-1:444455556666:cluster/test, which is not what is imported",
				"trust statement 1: aws:SourceArn arn:aws:eks:eu-west-1:444455556666:cluster/prod is now " + first,
				"trust statement 1: aws:SourceArn keeps arn:aws:eks:us-east-1:444455556666:cluster/*, which does not match what is imported",
			},
			true,
		},
		{
			"another cluster only", podsWhen(`{"ArnEquals":{"aws:SourceArn":"arn:aws:eks:eu-west-1:444455556666:cluster/test"}}`), podsWhen(`{"ArnEquals":{"aws:SourceArn":"arn:aws:eks:eu-west-1:444455556666:cluster/test"}}`),
			[]string{"trust statement 1: aws:SourceArn keeps arn:aws:eks:eu-west-1:444455556666:cluster/test, which is not what is imported"},
			false,
		},
		{
			"session tags", podsWhen(`{"StringEquals":{"aws:RequestTag/eks-cluster-name":"prod","aws:RequestTag/kubernetes-namespace":"ns"},"StringLike":{"aws:RequestTag/eks-cluster-arn":"*/prod"}}`),
			podsWhen(`{"StringEquals":{"aws:RequestTag/eks-cluster-name":"my-cluster","aws:RequestTag/kubernetes-namespace":"ns"},"StringLike":{"aws:RequestTag/eks-cluster-arn":"` + first + `"}}`),
			[]string{
				"trust statement 1: aws:RequestTag/eks-cluster-name prod is now my-cluster",
				"trust statement 1: aws:RequestTag/eks-cluster-arn */prod is now " + first,
			},
			true,
		},
		{
			"the old account elsewhere is told", podsWhen(`{"StringEquals":{"aws:RequestTag/x":"444455556666"}}`), podsWhen(`{"StringEquals":{"aws:RequestTag/x":"444455556666"}}`),
			[]string{"trust statement 1: aws:RequestTag/x keeps 444455556666, which names account 444455556666"},
			true,
		},
		{
			"others are dropped", `{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::444455556666:oidc-provider/x"},"Action":"sts:AssumeRoleWithWebIdentity"},` + textbook + `,{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}`,
			here,
			[]string{
				"trust statement 1: dropped: it is for Federated arn:aws:iam::444455556666:oidc-provider/x, not for pods",
				"trust statement 2: aws:SourceAccount 444455556666 is now 111122223333",
				"trust statement 2: aws:SourceArn arn:aws:eks:eu-west-1:444455556666:cluster/prod is now " + first,
				"trust statement 3: dropped: it is for *, not for pods",
			},
			true,
		},
		{"nothing for pods", `{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"sts:AssumeRole"}`, ``, []string{"trust statement 1: dropped: it is for AWS 444455556666, not for pods"}, false},
		{
			"others in the same statement", `{"Effect":"Allow","Principal":{"Service":["pods.eks.amazonaws.com","ec2.amazonaws.com"],"AWS":"444455556666"},` + bothActions + `}`,
			`{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},` + bothActions + `}`,
			[]string{"trust statement 1: for pods only; dropped the other principals of Service pods.eks.amazonaws.com, ec2.amazonaws.com and AWS 444455556666"},
			true,
		},
		{
			"denials stay", `{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"StringNotEquals":{"aws:SourceAccount":"444455556666"}}},{"Effect":"Deny","Principal":{"AWS":"444455556666"},"Action":"*"},` + here,
			`{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"StringNotEquals":{"aws:SourceAccount":"111122223333"}}},` + here,
			[]string{
				"trust statement 1: aws:SourceAccount 444455556666 is now 111122223333", "trust statement 2: dropped: it is for AWS 444455556666, not for pods",
			},
			true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Rewrite(`{"Version":"2012-10-17","Statement":[`+tc.in+`]}`, move)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(compact(t, `{"Version":"2012-10-17","Statement":[`+tc.want+`]}`), compact(t, got.Document)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.notes, got.Notes); d != "" {
				t.Error(d)
			}
			if got.Admits != tc.admits {
				t.Errorf("admits = %v", got.Admits)
			}
		})
	}
}

// TestRewriteStays holds that within one account nothing is rewritten for the
// same cluster.
func TestRewriteStays(t *testing.T) {
	in := ForPods(account, first)
	got, err := Rewrite(in, Move{account, first, account, first})
	if err != nil || got.Document != in || len(got.Notes) > 0 || !got.Admits {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestRewriteSingle holds that a policy may have one statement that is no list.
func TestRewriteSingle(t *testing.T) {
	got, err := Rewrite(`{"Statement":{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":"sts:*"}}`, move)
	if err != nil || !got.Admits || compact(t, got.Document) != `{"Statement":[{"Action":"sts:*","Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"}}]}` {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRewriteRefuses(t *testing.T) {
	doc := func(s string) string { return `{"Statement":[` + s + `]}` }
	for name, tc := range map[string]struct{ in, want string }{
		"no JSON":            {`{`, "read policy"},
		"no statement":       {`{}`, "it has no Statement"},
		"NotPrincipal":       {doc(`{"Effect":"Deny","NotPrincipal":{"Service":"x"}}`), "trust statement 1: NotPrincipal cannot be moved"},
		"no principal":       {doc(`{"Effect":"Allow"}`), "trust statement 1: it has no Principal"},
		"a denied pattern":   {doc(`{"Effect":"Deny","Principal":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:eks:*:444455556666:cluster/*"}}}`), "the pattern does not say the same of " + first},
		"a negated pattern":  {doc(podsWhen(`{"ArnNotLike":{"aws:SourceArn":"arn:aws:eks:*:444455556666:cluster/*"}}`)), "the pattern does not say the same of " + first},
		"an optional one":    {doc(podsWhen(`{"ArnLikeIfExists":{"aws:SourceArn":"arn:aws:eks:*:444455556666:cluster/*"}}`)), "does not say the same"},
		"one for here only":  {doc(podsWhen(`{"ArnLike":{"aws:SourceArn":"arn:aws:eks:*:*:cluster/my-*"}}`)), "does not say the same"},
		"a variable":         {doc(podsWhen(`{"StringEquals":{"aws:SourceAccount":"${aws:PrincipalAccount}"}}`)), "a policy variable cannot be moved"},
		"too deeply nested":  {strings.Repeat("[", 100), "read policy"},
		"no object at all":   {`[]`, "it has no Statement"},
		"statement of words": {`{"Statement":"x"}`, "it has no Principal"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Rewrite(tc.in, move)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%+v, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"*", "", true},
		{"a*c", "abbc", true},
		{"a*c", "abbcd", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*b*d*", "abcd", true},
		{"**", "x", true},
		{"*ab", "aab", true},
		{"*" + strings.Repeat("a*", 100) + "b", strings.Repeat("a", 1000), false},
	} {
		if got := glob(tc.pattern, tc.s); got != tc.want {
			t.Errorf("glob(%q, %q) = %v", tc.pattern, tc.s, got)
		}
	}
	if matches("ArnLike", "arn:aws:*", first) || !matches("StringLike", "arn:aws:*", first) || !matches("ArnEquals", "arn:aws:eks:*:111122223333:*", first) || !matches("ArnLike", "*", first) {
		t.Error("ARNs are compared part by part, texts as a whole")
	}
}

// FuzzRewrite holds that what is let in is pods only, and that rewriting is
// stable.
func FuzzRewrite(f *testing.F) {
	f.Add(ForPods("444455556666", move.FromCluster))
	f.Add(`{"Statement":[{"Effect":"Allow","Principal":{"Service":["pods.eks.amazonaws.com","x"]},"Condition":{"ArnLike":{"aws:sourcearn":["*","arn:aws:eks:*:*:*"]}}}]}`)
	f.Add(`{"Statement":{"Effect":"Deny","Principal":{"AWS":"*"}}}`)
	f.Fuzz(func(t *testing.T, in string) {
		got, err := Rewrite(in, move)
		if err != nil {
			return
		}
		doc, err := parse(got.Document)
		if err != nil {
			t.Fatalf("%v\n%s", err, got.Document)
		}
		for _, s := range doc.get("Statement", false).list() {
			allow := len(s.get("Effect", false).strings()) == 1 && s.get("Effect", false).strings()[0] == "Allow"
			if p := s.get("Principal", false); allow && (len(p.members) != 1 || len(p.members[0].value.list()) != 1 || p.members[0].value.strings()[0] != PodService) {
				t.Errorf("others are let in: %s", s)
			}
		}
		again, err := Rewrite(got.Document, move)
		if err != nil || again.Document != got.Document {
			t.Errorf("rewritten twice: %v\n%s\n%s", err, got.Document, again.Document)
		}
	})
}
