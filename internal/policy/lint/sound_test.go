// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"encoding/json"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"podid/internal/policy"
	"podid/internal/policy/lint"
)

// without are the codes of findings that say that their statement does nothing.
var without = []string{"shadowed", "duplicate-statement", "allow-denied", "contradiction"}

type object = map[string]any

func someOf(t *rapid.T, label string, from ...string) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, 3, rapid.ID[string]).Draw(t, label)
}

// aStatement draws one of few actions, resources and conditions, so that
// statements cover and contradict each other often.
func aStatement(t *rapid.T) object {
	s := object{"Effect": rapid.SampledFrom([]string{"Allow", "Deny"}).Draw(t, "effect")}
	action := rapid.SampledFrom([]string{"Action", "Action", "NotAction"}).Draw(t, "action element")
	s[action] = someOf(t, "actions", "*", "s3:*", "s3:Get*", "s3:GetObject", "S3:getobject", "sqs:*", "s3:?et*", "s3:Put*")
	resource := rapid.SampledFrom([]string{"Resource", "Resource", "NotResource"}).Draw(t, "resource element")
	s[resource] = someOf(t, "resources", "*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/k", "arn:aws:s3:::b/${aws:username}", "arn:aws:s3:::*", "arn:aws:s3:::b/k*", "arn:aws:*")
	conditions := object{}
	operators := []string{
		"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "StringEqualsIfExists", "StringNotEqualsIfExists",
		"ForAllValues:StringEquals", "ForAnyValue:StringLike", "ForAnyValue:StringNotEquals", "ForAllValues:StringNotLike",
	}
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		switch op := rapid.SampledFrom(append(operators, "Null", "NumericLessThan", "NumericGreaterThanEquals", "NumericEquals")).Draw(t, "operator"); op {
		case "Null":
			conditions[op] = object{"aws:username": someOf(t, "null", "true", "false")[:1]}
		case "NumericLessThan", "NumericGreaterThanEquals", "NumericEquals":
			conditions[op] = object{"aws:EpochTime": someOf(t, "numbers", "1", "2", "3")}
		default:
			conditions[op] = object{rapid.SampledFrom([]string{"aws:username", "aws:userid"}).Draw(t, "key"): someOf(t, "values", "a", "A", "b", "a*", "*", "${aws:userid}", "")}
		}
	}
	if len(conditions) > 0 {
		s["Condition"] = conditions
	}
	return s
}

func aRequest(t *rapid.T) *policy.Input {
	ctx := &policy.Context{}
	values := rapid.SampledFrom([]string{"a", "A", "b", "ab", "a*", "*", "k", ""})
	for _, key := range []string{"aws:username", "aws:userid"} {
		switch rapid.IntRange(0, 2).Draw(t, key) {
		case 1:
			ctx.Set(key, values.Draw(t, key+" value"))
		case 2:
			ctx.SetMulti(key, rapid.SliceOfN(values, 0, 2).Draw(t, key+" values")...)
		}
	}
	if rapid.Bool().Draw(t, "time") {
		ctx.Set("aws:EpochTime", rapid.SampledFrom([]string{"0", "1", "2", "3", "4"}).Draw(t, "epoch"))
	}
	p, err := policy.ParsePrincipal("arn:aws:iam::111122223333:user/u")
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Input{
		Principal: p, Action: rapid.SampledFrom([]string{"s3:GetObject", "s3:PutObject", "sqs:SendMessage"}).Draw(t, "asked"),
		Resource: rapid.SampledFrom([]string{"arn:aws:s3:::b/k", "arn:aws:s3:::b/a", "arn:aws:s3:::c", "*"}).Draw(t, "of"), Context: ctx,
	}
}

func decides(t *rapid.T, statements []object, in *policy.Input) bool {
	if len(statements) == 0 {
		return false
	}
	text, err := json.Marshal(object{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := policy.Parse(policy.Identity, string(text))
	if err != nil {
		t.Fatal(err)
	}
	in.Identity = []policy.Named{{Doc: doc}}
	return policy.Evaluate(in).Allowed
}

// TestSound holds that a statement of which the lint says that it does nothing
// can be removed: no request is decided otherwise.
func TestSound(t *testing.T) {
	found := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		var statements []object
		for range rapid.IntRange(2, 4).Draw(t, "statements") {
			next := aStatement(t)
			if len(statements) > 0 && rapid.IntRange(0, 3).Draw(t, "again") == 3 {
				next = statements[len(statements)-1]
			}
			statements = append(statements, next)
		}
		text, err := json.Marshal(object{"Version": "2012-10-17", "Statement": statements})
		if err != nil {
			t.Fatal(err)
		}
		findings, _, err := lint.Text("x", string(text), lint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			if !slices.Contains(without, f.Code) {
				continue
			}
			found[f.Code]++
			rest := slices.Delete(slices.Clone(statements), f.Statement-1, f.Statement)
			for range 8 {
				in := aRequest(t)
				with := decides(t, statements, in)
				if got := decides(t, rest, in); got != with {
					t.Fatalf("%s says statement %d of %s does nothing (%s); %s on %s is %v with it and %v without", f.Code, f.Statement, text, f.Message, in.Action, in.Resource, with, got)
				}
			}
		}
	})
	if len(found) == 0 {
		t.Error("no document had a statement that does nothing")
	}
}
