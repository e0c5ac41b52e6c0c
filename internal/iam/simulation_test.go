// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

func simulateRole(name string) iam.SimulatePrincipalInput {
	return iam.SimulatePrincipalInput{
		SourceARN:     "arn:aws:iam::" + account + ":role/" + name,
		SimulateInput: iam.SimulateInput{Actions: []string{"s3:GetObject"}},
	}
}

// TestSimulationAsksFirst: the question comes before every look at the input
// or the records.
func TestSimulationAsksFirst(t *testing.T) {
	h := newHouse(t)
	h.mustRole(t, "app")
	h.asked.deny = map[string]bool{
		"iam:SimulateCustomPolicy": true, "iam:SimulatePrincipalPolicy": true, "iam:GetContextKeysForCustomPolicy": true, "iam:GetContextKeysForPrincipalPolicy": true,
	}
	bad := []string{"{"}
	for name, ask := range map[string]func() error{
		"custom": func() error {
			_, err := h.SimulateCustomPolicy(t.Context(), admin, iam.SimulateCustomInput{SimulateInput: iam.SimulateInput{Policies: bad}})
			return err
		},
		"custom keys": func() error { _, err := h.GetContextKeysForCustomPolicy(t.Context(), admin, bad); return err },
		"principal":   func() error { _, err := h.SimulatePrincipalPolicy(t.Context(), admin, simulateRole("app")); return err },
		"no principal": func() error {
			_, err := h.SimulatePrincipalPolicy(t.Context(), admin, simulateRole("nobody"))
			return err
		},
		"principal keys": func() error {
			_, err := h.GetContextKeysForPrincipalPolicy(t.Context(), admin, "arn:aws:iam::"+account+":user/nobody", bad)
			return err
		},
		"neighbour": func() error {
			_, err := h.GetContextKeysForPrincipalPolicy(t.Context(), admin, "arn:aws:iam::444455556666:group/g", bad)
			return err
		},
	} {
		if err := ask(); !fault.Is(err, fault.AccessDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := h.asked.last().Action; !strings.HasPrefix(got, "iam:") {
		t.Error(got)
	}
}

// TestSimulationOfADamagedRecord: a policy in force that cannot be read is
// PolicyEvaluation, not an absence.
func TestSimulationOfADamagedRecord(t *testing.T) {
	h := newHouse(t)
	for name, damage := range map[string]func(*iam.Role){
		"attached policy gone": func(r *iam.Role) { r.Attached = []string{"arn:aws:iam::" + account + ":policy/gone"} },
		"boundary gone":        func(r *iam.Role) { r.Boundary = "arn:aws:iam::" + account + ":policy/gone" },
		"unreadable document":  func(r *iam.Role) { r.Inline = []iam.InlinePolicy{{Name: "p", Document: "{"}} },
	} {
		role := *h.mustRole(t, strings.ReplaceAll(name, " ", "-"))
		damage(&role)
		if err := h.store.Update(context.Background(), func(tx *store.Tx) error {
			iam.Roles.Put(tx, store.Scope{Account: account, Region: store.Global}, strings.ToLower(role.Name), &role)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		_, err := h.SimulatePrincipalPolicy(t.Context(), admin, simulateRole(role.Name))
		if f := fault.As(err); f.Kind != fault.Internal || !iam.IsPolicyEvaluation(f) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSimulationEnds: a caller who is gone is not worked for.
func TestSimulationEnds(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.SimulateCustomPolicy(ctx, admin, iam.SimulateCustomInput{SimulateInput: iam.SimulateInput{Policies: []string{identity}, Actions: []string{"s3:GetObject"}}}); err == nil {
		t.Error("simulated")
	}
}

// TestSimulationTypes: keys of every type reach the operators of that type.
func TestSimulationTypes(t *testing.T) {
	h := newHouse(t)
	for _, tc := range []struct {
		condition, kind string
		values          []string
		want            string
	}{
		{`"StringLike":{"a:key12":"x*"}`, "string", []string{"xyz"}, iam.SimulatedAllow},
		{`"ForAnyValue:StringEquals":{"a:key12":"x"}`, "stringList", []string{"y", "x"}, iam.SimulatedAllow},
		{`"StringEquals":{"a:key12":"x"}`, "stringList", []string{"x"}, iam.SimulatedImplicitDeny},
		{`"NumericLessThan":{"a:key12":"10"}`, "numeric", []string{"9.5"}, iam.SimulatedAllow},
		{`"ForAllValues:NumericLessThan":{"a:key12":"10"}`, "numericList", []string{"9", "11"}, iam.SimulatedImplicitDeny},
		{`"Bool":{"a:key12":"true"}`, "boolean", []string{"TRUE"}, iam.SimulatedAllow},
		{`"ForAnyValue:Bool":{"a:key12":"true"}`, "booleanList", []string{"false", "true"}, iam.SimulatedAllow},
		{`"IpAddress":{"a:key12":"10.0.0.0/8"}`, "ip", []string{"10.9.8.7"}, iam.SimulatedAllow},
		{`"ForAnyValue:IpAddress":{"a:key12":"10.0.0.0/8"}`, "ipList", []string{"192.0.2.1"}, iam.SimulatedImplicitDeny},
		{`"BinaryEquals":{"a:key12":"QUJD"}`, "binary", []string{"QUJD"}, iam.SimulatedAllow},
		{`"ForAllValues:BinaryEquals":{"a:key12":"QUJD"}`, "binaryList", []string{"QUJD"}, iam.SimulatedAllow},
		{`"DateGreaterThan":{"a:key12":"2026-01-01T00:00:00Z"}`, "date", []string{"2026-11-23T02:00:00Z"}, iam.SimulatedAllow},
		{`"ForAnyValue:DateGreaterThan":{"a:key12":"2026-01-01T00:00:00Z"}`, "dateList", []string{"1700000000"}, iam.SimulatedImplicitDeny},
		{`"Null":{"a:key12":"true"}`, "stringList", nil, iam.SimulatedAllow},
	} {
		t.Run(tc.kind+" "+tc.condition, func(t *testing.T) {
			l, err := h.SimulateCustomPolicy(t.Context(), admin, iam.SimulateCustomInput{SimulateInput: iam.SimulateInput{
				Policies: []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{` + tc.condition + `}}}`},
				Actions:  []string{"s3:GetObject"}, Context: []iam.ContextEntry{{Key: "a:Key12", Type: tc.kind, Values: tc.values}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Items[0].Decision; got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// TestExclusions: which of a role's policies an exclusion leaves.
func TestExclusions(t *testing.T) {
	h := newHouse(t)
	role := *h.mustRole(t, "app")
	own := h.mustPolicy(t, "reader")
	role.Inline = []iam.InlinePolicy{{Name: "in", Document: identity}}
	role.Attached, role.Boundary = []string{own, s3Read}, s3Read
	if err := h.store.Update(context.Background(), func(tx *store.Tx) error {
		iam.Roles.Put(tx, store.Scope{Account: account, Region: store.Global}, "app", &role)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		exclude []iam.PolicyExclusion
		want    []string
		bounded bool
	}{
		{"nothing", nil, []string{"role_app_in", "reader", "AmazonS3ReadOnlyAccess"}, true},
		{"inline", []iam.PolicyExclusion{{Type: "inline"}}, []string{"reader", "AmazonS3ReadOnlyAccess"}, true},
		{"AWS'", []iam.PolicyExclusion{{Type: "aws-managed"}}, []string{"role_app_in", "reader"}, true},
		{"own", []iam.PolicyExclusion{{Type: "user-managed"}}, []string{"role_app_in", "AmazonS3ReadOnlyAccess"}, true},
		{"boundary", []iam.PolicyExclusion{{Type: "permission-boundary"}}, []string{"role_app_in", "reader", "AmazonS3ReadOnlyAccess"}, false},
		{"by ARN, wherever it is", []iam.PolicyExclusion{{ARN: "arn:aws:iam::aws:policy/AmazonS3*Access"}}, []string{"role_app_in", "reader"}, false},
		{"question marks", []iam.PolicyExclusion{{ARN: own[:len(own)-2] + "??"}}, []string{"role_app_in", "AmazonS3ReadOnlyAccess"}, true},
		{"too many", []iam.PolicyExclusion{{ARN: own + "?"}}, []string{"role_app_in", "reader", "AmazonS3ReadOnlyAccess"}, true},
		{"inline by name", []iam.PolicyExclusion{{Inline: &iam.InlineExclusion{Policy: "in", HolderKind: "role", Holder: "a*p"}}}, []string{"reader", "AmazonS3ReadOnlyAccess"}, true},
		{"star over nothing", []iam.PolicyExclusion{{Inline: &iam.InlineExclusion{Policy: "in", HolderKind: "role", Holder: "app*"}}}, []string{"reader", "AmazonS3ReadOnlyAccess"}, true},
		{"overlapping ends", []iam.PolicyExclusion{{Inline: &iam.InlineExclusion{Policy: "in", HolderKind: "role", Holder: "app*pp"}}}, []string{"role_app_in", "reader", "AmazonS3ReadOnlyAccess"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := simulateRole("app")
			in.Exclude = tc.exclude
			l, err := h.SimulatePrincipalPolicy(t.Context(), admin, in)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range l.Items[0].Matched {
				got = append(got, m.PolicyID)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || (l.Items[0].Boundary != nil) != tc.bounded {
				t.Errorf("%s, boundary %v", diff, l.Items[0].Boundary)
			}
		})
	}
}
