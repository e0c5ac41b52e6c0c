// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"podid/internal/fault"
	"podid/internal/stackrun"
	"podid/internal/store"
)

func TestRead(t *testing.T) {
	h := newHouse(t)
	id := h.create("one", podRole, stackrun.CreateComplete)
	all, err := h.DescribeStackResources(ctx, h.admin, "one", "", "")
	if err != nil || len(all) != 2 || all[0].LogicalID != "Policy1" || all[1].Type != "AWS::IAM::Role" || all[1].Status != stackrun.CreateComplete || all[1].StackID != id {
		t.Fatalf("%+v %v", all, err)
	}
	by, err := h.DescribeStackResources(ctx, h.admin, "", "", all[1].PhysicalID)
	if err != nil || !slices.Equal(by, all) {
		t.Errorf("by physical id: %+v %v", by, err)
	}
	one, err := h.DescribeStackResources(ctx, h.admin, id, "Role1", "")
	if err != nil || len(one) != 1 || one[0] != all[1] {
		t.Errorf("by logical id: %+v %v", one, err)
	}
	r, err := h.DescribeStackResource(ctx, h.admin, "one", "Role1")
	if err != nil || *r != all[1] {
		t.Errorf("%+v %v", r, err)
	}
	list, next, err := h.ListStackResources(ctx, h.admin, "one", "")
	if err != nil || next != "" || !slices.Equal(list, all) {
		t.Errorf("%+v %v", list, err)
	}
	if text, err := h.GetTemplate(ctx, h.admin, "one", ""); err != nil || text != podRole {
		t.Errorf("%v", err)
	}
	s, err := h.GetTemplateSummary(ctx, h.admin, "one", "")
	if err != nil || s.Description != "IAM role for pod identity association" || !slices.Equal(s.ResourceTypes, []string{"AWS::IAM::Policy", "AWS::IAM::Role"}) || s.Capabilities[0] != "CAPABILITY_IAM" {
		t.Errorf("%+v %v", s, err)
	}
	if v, err := h.ValidateTemplate(ctx, h.admin, podRole); err != nil || v.Description != s.Description {
		t.Errorf("%+v %v", v, err)
	}
	foreign := strings.Replace(id, account, "999922223333", 1)
	for _, tc := range []struct {
		name string
		err  func() error
		kind fault.Kind
		text string
	}{
		{"no stack", func() error { _, _, err := h.DescribeStacks(ctx, h.admin, "none", ""); return err }, fault.NotFound, "Stack with id none does not exist"},
		{"no stack by ARN", func() error { _, _, err := h.DescribeStacks(ctx, h.admin, id+"x", ""); return err }, fault.NotFound, "Stack with id " + id + "x does not exist"},
		{"another account's", func() error { _, _, err := h.DescribeStacks(ctx, h.admin, foreign, ""); return err }, fault.NotFound, "does not exist"},
		{"no name", func() error { _, err := h.GetTemplate(ctx, h.admin, "", ""); return err }, fault.InvalidParameter, "at 'stackName'"},
		{"strange ARN", func() error { _, err := h.GetTemplate(ctx, h.admin, "arn:a b", ""); return err }, fault.InvalidParameter, "at 'stackName'"},
		{"long ARN", func() error { _, err := h.GetTemplate(ctx, h.admin, "arn:"+strings.Repeat("a", 2000), ""); return err }, fault.InvalidParameter, "at 'stackName'"},
		{"no resource", func() error { _, err := h.DescribeStackResource(ctx, h.admin, "one", "X"); return err }, fault.InvalidParameter, "Resource X does not exist for stack one"},
		{"no physical id", func() error { _, err := h.DescribeStackResources(ctx, h.admin, "", "", "x"); return err }, fault.InvalidParameter, "Stack for x does not exist"},
		{"stack and physical id", func() error { _, err := h.DescribeStackResources(ctx, h.admin, "one", "", "x"); return err }, fault.InvalidParameter, "not both"},
		{"neither", func() error { _, err := h.DescribeStackResources(ctx, h.admin, "", "", ""); return err }, fault.InvalidParameter, "must be specified"},
		{"status", func() error { _, _, err := h.ListStacks(ctx, h.admin, []stackrun.Status{"X"}, ""); return err }, fault.InvalidParameter, "stackStatusFilter"},
		{"next token", func() error { _, _, err := h.ListStacks(ctx, h.admin, nil, "x!"); return err }, fault.InvalidParameter, "NextToken"},
		{"no template", func() error { _, err := h.ValidateTemplate(ctx, h.admin, ""); return err }, fault.InvalidParameter, "must be specified"},
		{"bad template", func() error { _, err := h.ValidateTemplate(ctx, h.admin, "{}"); return err }, fault.InvalidParameter, "At least one Resources member"},
		{"no summary", func() error { _, err := h.GetTemplateSummary(ctx, h.admin, "", ""); return err }, fault.InvalidParameter, "must be specified"},
		{"two summaries", func() error { _, err := h.GetTemplateSummary(ctx, h.admin, "one", podRole); return err }, fault.InvalidParameter, "Only one of"},
		{"protect none", func() error { _, err := h.UpdateTerminationProtection(ctx, h.admin, "none", true); return err }, fault.NotFound, "Stack [none] does not exist"},
	} {
		t.Run(tc.name, func(t *testing.T) { refused(t, tc.err(), tc.kind, tc.text) })
	}
	if err := h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: "none"}); err != nil {
		t.Error(err)
	}
}

func TestPages(t *testing.T) {
	h := newHouse(t)
	const n = 105
	for i := range n {
		h.now = h.now.Add(time.Second)
		h.create(fmt.Sprintf("s-%03d", i), named(fmt.Sprintf("r-%03d", i), ""), stackrun.CreateComplete)
	}
	h.delete("s-050", stackrun.DeleteComplete)
	collect := func(list func(after string) ([]stackrun.StackInfo, string, error)) (names []string) {
		for after := ""; ; {
			part, next, err := list(after)
			if err != nil || len(part) > 100 {
				t.Fatal(len(part), err)
			}
			for _, s := range part {
				names = append(names, s.Name)
			}
			if after = next; next == "" {
				return names
			}
		}
	}
	all := collect(func(after string) ([]stackrun.StackInfo, string, error) {
		return h.ListStacks(ctx, h.admin, nil, after)
	})
	if len(all) != n || all[0] != "s-104" || all[n-1] != "s-000" || len(slices.Compact(slices.Sorted(slices.Values(all)))) != n {
		t.Errorf("%d: %v", len(all), all)
	}
	if live := collect(func(after string) ([]stackrun.StackInfo, string, error) {
		return h.DescribeStacks(ctx, h.admin, "", after)
	}); len(live) != n-1 {
		t.Errorf("%d: %v", len(live), live)
	}
	gone := collect(func(after string) ([]stackrun.StackInfo, string, error) {
		return h.ListStacks(ctx, h.admin, []stackrun.Status{stackrun.DeleteComplete}, after)
	})
	if !slices.Equal(gone, []string{"s-050"}) {
		t.Errorf("%v", gone)
	}
}

// Deleted stacks are remembered for 90 days, with their events and template.
func TestDeletedAreRemembered(t *testing.T) {
	h := newHouse(t)
	id := h.create("one", podRole, stackrun.CreateComplete)
	h.delete("one", stackrun.DeleteComplete)
	again := h.create("one", podRole, stackrun.CreateComplete)
	if again == id {
		t.Error("the same ARN again")
	}
	h.now = h.now.Add(stackrun.KeepDeleted - time.Minute)
	if text, err := h.GetTemplate(ctx, h.admin, id, ""); err != nil || text != podRole {
		t.Error(err)
	}
	all, err := h.DescribeStackResources(ctx, h.admin, id, "", "")
	if err != nil || len(all) != 2 || all[1].Status != stackrun.DeleteComplete || !strings.HasPrefix(all[1].PhysicalID, "one-Role1-") {
		t.Errorf("%+v %v", all, err)
	}
	if got := h.info(id); got.Deleted.IsZero() || got.Status != stackrun.DeleteComplete {
		t.Errorf("%+v", got)
	}
	for what, err := range map[string]error{
		"delete":  h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: id}),
		"protect": func() error { _, err := h.UpdateTerminationProtection(ctx, h.admin, id, true); return err }(),
		"update": func() error {
			_, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: id, Source: source(podRole)})
			return err
		}(),
	} {
		if what == "delete" != (err == nil) {
			t.Errorf("%s: %v", what, err)
		}
	}
	h.now = h.now.Add(time.Minute)
	if h.exists(id) || !h.exists(again) {
		t.Error("90 days later")
	}
	h.delete("one", stackrun.DeleteComplete)
	h.forgotten()
}

// The latest events are kept, and no more.
func TestEventsAreBounded(t *testing.T) {
	h := newHouse(t)
	h.create("one", named("r", ", Description: d"), stackrun.CreateComplete)
	for i := range 190 {
		h.change("one", named("r", fmt.Sprintf(", Description: d%d", i)), stackrun.UpdateComplete)
	}
	got := h.events("one")
	if len(got) > stackrun.MaxEvents || len(got) < stackrun.MaxEvents-100 || got[len(got)-1] != "one UPDATE_COMPLETE" {
		t.Errorf("%d events, the last %q", len(got), got[len(got)-1])
	}
	h.delete("one", stackrun.DeleteComplete)
	h.forgotten()
}

// forgotten wants no trace of deleted stacks after their time.
func (h *house) forgotten() {
	h.t.Helper()
	h.now = h.now.Add(stackrun.KeepDeleted)
	var left []string
	h.update(func(tx *store.Tx) {
		left = nil
		for r := range store.Records(tx, account) {
			if strings.HasPrefix(r.Table, "stack") {
				left = append(left, r.Table+"/"+r.ID)
			}
		}
	})
	if len(left) > 0 {
		h.t.Errorf("left of stacks that are forgotten: %q", left)
	}
}

// A large stack takes as long as it takes, and fits the store at each write.
func TestLargeStack(t *testing.T) {
	h := newHouse(t)
	const n = 150
	text := func(policy string) string {
		var b strings.Builder
		b.WriteString("Resources:\n")
		for i := range n {
			fmt.Fprintf(&b, "  R%03d: {Type: AWS::IAM::Role, %sProperties: {AssumeRolePolicyDocument: %s}}\n", i, policy, trust)
		}
		return b.String()
	}
	h.create("large", text(""), stackrun.CreateComplete)
	if got := len(h.world()); got != n {
		t.Errorf("%d roles", got)
	}
	kept := text("DeletionPolicy: Retain, ") + "  More: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: " + trust + "}}\n"
	h.change("large", kept, stackrun.UpdateComplete)
	h.change("large", text(""), stackrun.UpdateComplete)
	all, _, err := h.ListStackResources(ctx, h.admin, "large", "")
	if err != nil || len(all) != 100 {
		t.Errorf("%d %v", len(all), err)
	}
	h.delete("large", stackrun.DeleteComplete)
	h.want("deleted")
	h.forgotten()
}
