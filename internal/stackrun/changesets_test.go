// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/stackrun"
)

// prepare makes a change set and wants its states.
func (h *house) prepare(in stackrun.ChangeSetInput, execution string) *stackrun.ChangeSetInfo {
	h.t.Helper()
	id, _, err := h.CreateChangeSet(ctx, h.admin, in)
	if err != nil {
		h.t.Fatal(err)
	}
	got, err := h.DescribeChangeSet(ctx, h.admin, id, "")
	if err != nil {
		h.t.Fatal(err)
	}
	if got.Execution != execution {
		h.t.Fatalf("%+v", got)
	}
	return got
}

func (h *house) execute(name, stack string) {
	h.t.Helper()
	if err := h.ExecuteChangeSet(ctx, h.admin, stackrun.ExecuteInput{ChangeSet: name, Stack: stack}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) execution(id string) string {
	h.t.Helper()
	got, err := h.DescribeChangeSet(ctx, h.admin, id, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return got.Execution
}

func TestChangeSetUpdates(t *testing.T) {
	h := newZoo(t)
	h.create("zoo", zooOne, stackrun.CreateComplete)
	before := h.picture()
	set := func(name, template string) stackrun.ChangeSetInput {
		return stackrun.ChangeSetInput{Stack: "zoo", Name: name, Description: "d", Source: source(template)}
	}
	none := h.prepare(set("none", zooOne), "UNAVAILABLE")
	if none.Status != "FAILED" || none.Reason != "The submitted information didn't contain changes. Submit different information to create a change set." || none.Changes != nil {
		t.Errorf("%+v", none)
	}
	err := h.ExecuteChangeSet(ctx, h.admin, stackrun.ExecuteInput{ChangeSet: "none", Stack: "zoo"})
	refused(t, err, fault.InvalidRequest, "cannot be executed in its current status of [FAILED]")
	two := h.prepare(set("two", zooTwo), "AVAILABLE")
	lines := []string{}
	for _, c := range two.Changes {
		line := c.Action + " " + c.LogicalID + " " + c.Replacement
		if c.PhysicalID != "" {
			line += " " + randomPart.ReplaceAllString(c.PhysicalID, "-RANDOM")
		}
		lines = append(lines, line)
	}
	if got := strings.Join(lines, "\n"); !strings.Contains(got, "Add Role2 ") || !strings.Contains(got, "Remove Bound  arn:aws:iam::111122223333:policy/zoo-Bound-RANDOM") || !strings.Contains(got, "Modify Role1 False zoo-Role1-RANDOM") {
		t.Errorf("changes\n%s", got)
	}
	tags := set("tags", zooOne)
	tags.Tags = []iam.Tag{{Key: "a", Value: "b"}}
	if got := h.prepare(tags, "AVAILABLE"); len(got.Changes) != 3 || got.Changes[0].Scope[0] != "Tags" || got.Changes[0].PhysicalID == "" {
		t.Errorf("%+v", got.Changes)
	}
	three := h.prepare(set("three", zooThree), "AVAILABLE")
	same(t, "prepared", h.picture(), before)
	if text, err := h.GetTemplate(ctx, h.admin, "zoo", "two"); err != nil || text != zooTwo {
		t.Error(err)
	}
	all, next, err := h.ListChangeSets(ctx, h.admin, "zoo", "")
	if err != nil || next != "" || len(all) != 4 || all[0].Name != "none" || all[3].Name != "two" {
		t.Errorf("%+v %v", all, err)
	}
	_, _, err = h.CreateChangeSet(ctx, h.admin, set("two", zooThree))
	if f := fault.As(err); f.Kind != fault.AlreadyExists || f.Reason != stackrun.ReasonChangeSetExists {
		t.Error(err)
	}
	h.execute("two", "zoo")
	h.status("zoo", stackrun.UpdateComplete)
	if got := h.info("zoo").ChangeSetID; got != two.ID || h.execution(two.ID) != "EXECUTE_COMPLETE" {
		t.Errorf("%s, %s", got, h.execution(two.ID))
	}
	_, err = h.DescribeChangeSet(ctx, h.admin, three.ID, "")
	if f := fault.As(err); f.Kind != fault.NotFound || f.Reason != stackrun.ReasonChangeSetNotFound {
		t.Error(err)
	}
	err = h.ExecuteChangeSet(ctx, h.admin, stackrun.ExecuteInput{ChangeSet: two.ID})
	refused(t, err, fault.InvalidRequest, "in its current execution status of [EXECUTE_COMPLETE]")
	old := h.prepare(set("old", zooOne), "AVAILABLE")
	h.change("zoo", zooThree, stackrun.UpdateComplete)
	if got := h.execution(old.ID); got != "OBSOLETE" {
		t.Error(got)
	}
	refused(t, h.ExecuteChangeSet(ctx, h.admin, stackrun.ExecuteInput{ChangeSet: old.ID}), fault.InvalidRequest, "[OBSOLETE]")
	h.authz.deny["iam:CreateRole"] = true
	bad := h.prepare(set("bad", zooTwo), "AVAILABLE")
	h.execute("bad", "zoo")
	h.status("zoo", stackrun.UpdateRollbackComplete)
	if got := h.execution(bad.ID); got != "EXECUTE_FAILED" {
		t.Error(got)
	}
	if err := h.DeleteChangeSet(ctx, h.admin, bad.ID, ""); err != nil {
		t.Fatal(err)
	}
	if err := h.DeleteChangeSet(ctx, h.admin, "bad", "zoo"); err != nil {
		t.Error("a second time:", err)
	}
}

func TestChangeSetCreates(t *testing.T) {
	h := newHouse(t)
	in := stackrun.ChangeSetInput{Stack: "one", Name: "first", Type: "CREATE", Source: source(podRole), Token: "t-1"}
	in.Tags = []iam.Tag{{Key: "team", Value: "x"}}
	got := h.prepare(in, "AVAILABLE")
	if len(got.Changes) != 2 || got.Changes[0].Action != "Add" || got.Changes[0].PhysicalID != "" {
		t.Errorf("%+v", got.Changes)
	}
	h.status("one", stackrun.ReviewInProgress)
	h.want("prepared")
	if again := h.prepare(in, "AVAILABLE"); again.ID != got.ID {
		t.Error("a repeat is another change set")
	}
	other := in
	other.Description = "x"
	_, _, err := h.CreateChangeSet(ctx, h.admin, other)
	if fault.As(err).Reason != stackrun.ReasonTokenUsed {
		t.Error(err)
	}
	in.Token = ""
	for name, tc := range map[string]struct {
		err  error
		text string
	}{
		"create": {func() error { _, err := h.CreateStack(ctx, h.admin, input("one", podRole)); return err }(), "Stack [one] already exists"},
		"update": {func() error {
			_, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "one", Source: source(podRole)})
			return err
		}(), "is in REVIEW_IN_PROGRESS state and can not be updated."},
		"template": {func() error { _, err := h.GetTemplate(ctx, h.admin, "one", ""); return err }(), "does not exist"},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.text) {
			t.Errorf("%s: %v", name, tc.err)
		}
	}
	h.execute("first", "one")
	h.status("one", stackrun.CreateComplete)
	if all := h.world(); len(all) != 1 || !strings.Contains(all[0], "team=x") {
		t.Errorf("%q", all)
	}
	_, _, err = h.CreateChangeSet(ctx, h.admin, stackrun.ChangeSetInput{Stack: "one", Name: "again", Type: "CREATE", Source: source(podRole)})
	refused(t, err, fault.InvalidParameter, "already exists and cannot be created again with the changeSet [again].")
	h.delete("one", stackrun.DeleteComplete)
	in.Name, in.Template, in.OnStackFailure = "second", strings.Replace(podRole, "AmazonS3ReadOnlyAccess", "None", 1), "DELETE"
	h.prepare(in, "AVAILABLE")
	h.execute("second", "one")
	if h.exists("one") {
		t.Error("a creation that failed left the stack")
	}
	in.Name = "third"
	h.prepare(in, "AVAILABLE")
	h.delete("one", stackrun.DeleteComplete)
}

func TestChangeSetRefuses(t *testing.T) {
	h := newHouse(t)
	h.create("one", podRole, stackrun.CreateComplete)
	changed := strings.Replace(podRole, "s3:GetObject", "s3:ListBucket", 1)
	for name, tc := range map[string]struct {
		change func(in *stackrun.ChangeSetInput)
		kind   fault.Kind
		text   string
	}{
		"no stack":    {func(in *stackrun.ChangeSetInput) { in.Stack = "none" }, fault.NotFound, "Stack [none] does not exist"},
		"no name":     {func(in *stackrun.ChangeSetInput) { in.Name = "" }, fault.InvalidParameter, "at 'changeSetName'"},
		"type":        {func(in *stackrun.ChangeSetInput) { in.Type = "IMPORT" }, fault.InvalidParameter, "[UPDATE, CREATE]"},
		"description": {func(in *stackrun.ChangeSetInput) { in.Description = strings.Repeat("x", 1025) }, fault.InvalidParameter, "1024"},
		"failure":     {func(in *stackrun.ChangeSetInput) { in.OnStackFailure = "X" }, fault.InvalidParameter, "DO_NOTHING"},
		"capability":  {func(in *stackrun.ChangeSetInput) { in.Capabilities = nil }, fault.InvalidRequest, "Requires capabilities"},
		"template":    {func(in *stackrun.ChangeSetInput) { in.Template = "{" }, fault.InvalidParameter, "JSON not well-formed"},
		"role":        {func(in *stackrun.ChangeSetInput) { in.RoleARN = "arn:aws:iam::999922223333:role/r" }, fault.AccessDenied, "Cross-account"},
	} {
		in := stackrun.ChangeSetInput{Stack: "one", Name: "set", Source: source(changed)}
		tc.change(&in)
		_, _, err := h.CreateChangeSet(ctx, h.admin, in)
		t.Run(name, func(t *testing.T) { refused(t, err, tc.kind, tc.text) })
	}
	for name, err := range map[string]error{
		"describe": func() error { _, err := h.DescribeChangeSet(ctx, h.admin, "none", "one"); return err }(),
		"execute":  h.ExecuteChangeSet(ctx, h.admin, stackrun.ExecuteInput{ChangeSet: "none", Stack: "one"}),
	} {
		if f := fault.As(err); f.Reason != stackrun.ReasonChangeSetNotFound || f.Message != "ChangeSet [none] does not exist" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := h.DescribeChangeSet(ctx, h.admin, "set", "")
	refused(t, err, fault.InvalidParameter, "StackName must be specified")
	for i := range stackrun.MaxChangeSets {
		in := stackrun.ChangeSetInput{Stack: "one", Name: fmt.Sprintf("set-%d", i), Source: source(changed)}
		if _, _, err := h.CreateChangeSet(ctx, h.admin, in); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = h.CreateChangeSet(ctx, h.admin, stackrun.ChangeSetInput{Stack: "one", Name: "more", Source: source(changed)})
	refused(t, err, fault.LimitExceeded, "which is the limit")
	if err := h.DeleteChangeSet(ctx, h.admin, "set-7", "one"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // what changes nothing displaces its like
		h.prepare(stackrun.ChangeSetInput{Stack: "one", Name: fmt.Sprintf("none-%d", i), Source: source(podRole)}, "UNAVAILABLE")
		h.now = h.now.Add(time.Second)
	}
	all, _, err := h.ListChangeSets(ctx, h.admin, "one", "")
	if err != nil || len(all) != stackrun.MaxChangeSets || all[0].Name != "none-2" {
		t.Errorf("%d %+v %v", len(all), all[0], err)
	}
	h.delete("one", stackrun.DeleteComplete)
}
