// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"testing"
)

// textbook is the request of a pod against AWS' own trust policy, as an Input.
func textbook(t testing.TB) *Input {
	a := firstHop(t, textbookTrust)
	var in Input
	a.each(false, func(first *Input) {
		if in.Action == "" {
			in = *first
			ctx := &Context{}
			ctx.Merge(first.Context)
			in.Context = ctx
		}
	})
	return &in
}

// statements20 is a session against twenty statements of which the last allows.
func statements20(t testing.TB) *Input {
	var list []string
	for i := range 19 {
		list = append(list, fmt.Sprintf(`{"Sid":"S%d","Effect":"Allow","Action":["s3:Get*","s3:List*","ec2:Describe*"],"Resource":"arn:aws:s3:::bucket-%d/${aws:PrincipalTag/kubernetes-namespace}/*",`+
			`"Condition":{"StringEquals":{"aws:PrincipalTag/kubernetes-service-account":"sa-%d"},"Bool":{"aws:SecureTransport":"true"}}}`, i, i%3, i))
	}
	list = append(list, `{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket-1/${aws:PrincipalTag/kubernetes-namespace}/*","Condition":{"StringEquals":{"aws:PrincipalTag/kubernetes-service-account":"frontend"}}}`)
	a := secondHop(t, textbookTrust)
	a.setCommon()
	return &Input{
		Principal: a.Caller, Action: "s3:GetObject", Resource: "arn:aws:s3:::bucket-1/web/key", ResourceAccount: acct,
		Context: &a.ctx, Identity: []Named{named(t, Identity, list...)},
	}
}

func TestEvaluateAllocatesNothing(t *testing.T) {
	for name, in := range map[string]*Input{"textbook": textbook(t), "20 statements": statements20(t)} {
		if d := Evaluate(in); !d.Allowed {
			t.Fatalf("%s: %+v", name, d)
		}
		if n := testing.AllocsPerRun(100, func() { Evaluate(in) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkEvaluateTextbookTrust(b *testing.B) {
	in := textbook(b)
	b.ReportAllocs()
	for b.Loop() {
		if !Evaluate(in).Allowed {
			b.Fatal("denied")
		}
	}
}

func BenchmarkEvaluate20Statements(b *testing.B) {
	in := statements20(b)
	b.ReportAllocs()
	for b.Loop() {
		if !Evaluate(in).Allowed {
			b.Fatal("denied")
		}
	}
}

// BenchmarkAssumeRole is both actions of a pod's exchange with their contexts.
func BenchmarkAssumeRole(b *testing.B) {
	a := firstHop(b, textbookTrust)
	b.ReportAllocs()
	for b.Loop() {
		if ok, _ := a.Evaluate(); !ok {
			b.Fatal("denied")
		}
	}
}

func BenchmarkExplainRefusal(b *testing.B) {
	in := textbook(b)
	in.Context.Set("aws:SourceAccount", "999999999999")
	b.ReportAllocs()
	for b.Loop() {
		if Explain(in).Decision.Allowed {
			b.Fatal("allowed")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	text := textbookTrust
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(Trust, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCacheGet(b *testing.B) {
	c := NewCache(1 << 20)
	text := textbookTrust
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Get(Trust, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAssumeRoleTextbook(b *testing.B) {
	for name, trust := range map[string]string{
		"textbook":      textbookTrust,
		"no conditions": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}}`,
	} {
		b.Run(name, func(b *testing.B) {
			a := firstHop(b, trust)
			b.ReportAllocs()
			for b.Loop() {
				a.ctx = Context{}
				if !a.Allowed() {
					b.Fatal("denied")
				}
			}
		})
	}
}
