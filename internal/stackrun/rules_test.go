// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"podid/internal/association"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/stackrun"
	"podid/internal/store"
)

// named is a template of one role with a name and more properties.
func named(name, more string) string {
	return "Resources: {R: {Type: AWS::IAM::Role, Properties: {RoleName: " + name + ", AssumeRolePolicyDocument: " + trust + more + "}}}"
}

// What exists is not taken over, and not removed by the rollback.
func TestNeverAdopts(t *testing.T) {
	for name, tc := range map[string]struct{ template, text string }{
		"role":             {named("theirs", ""), "Role with name theirs already exists."},
		"role, other case": {named("THEIRS", ""), "Role with name theirs already exists."},
		"managed policy":   {"Resources: {R: {Type: AWS::IAM::ManagedPolicy, Properties: {ManagedPolicyName: theirs, PolicyDocument: " + allowAll + "}}}", "A policy called theirs already exists."},
		"inline policy":    {"Resources: {R: {Type: AWS::IAM::Policy, Properties: {PolicyName: inline, PolicyDocument: " + denyAll + ", Roles: [theirs]}}}", "The role theirs has a policy with name inline already."},
		"provider":         {"Resources: {R: {Type: AWS::IAM::OIDCProvider, Properties: {Url: https://theirs.example}}}", "Provider with url https://theirs.example already exists."},
		"profile":          {"Resources: {R: {Type: AWS::IAM::InstanceProfile, Properties: {InstanceProfileName: theirs, Roles: [theirs]}}}", "Instance Profile theirs already exists."},
		"association":      {"Resources: {R: {Type: AWS::EKS::PodIdentityAssociation, Properties: {ClusterName: my-cluster, Namespace: ns, ServiceAccount: theirs, RoleArn: arn:aws:iam::111122223333:role/theirs}}}", "Association already exists: a-"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.role("theirs", trust, allowAll)
			h.create("theirs", `Resources:
  P: {Type: AWS::IAM::ManagedPolicy, Properties: {ManagedPolicyName: theirs, PolicyDocument: `+allowAll+`}}
  O: {Type: AWS::IAM::OIDCProvider, Properties: {Url: https://theirs.example}}
  I: {Type: AWS::IAM::InstanceProfile, Properties: {InstanceProfileName: theirs, Roles: [theirs]}}
  A: {Type: AWS::EKS::PodIdentityAssociation, Properties: {ClusterName: my-cluster, Namespace: ns, ServiceAccount: theirs, RoleArn: "arn:aws:iam::111122223333:role/theirs"}}`, stackrun.CreateComplete)
			before := h.picture()
			id := h.create("mine", tc.template, stackrun.RollbackComplete)
			h.said(id, "R CREATE_FAILED", tc.text)
			h.said(id, "R CREATE_FAILED", "(HandlerErrorCode: AlreadyExists)")
			h.said(id, "mine ROLLBACK_IN_PROGRESS: The following resource(s) failed to create: [R]. Rollback requested by user.", "")
			same(t, "rolled back", h.picture(), before)
			h.delete("mine", stackrun.DeleteComplete)
			same(t, "deleted", h.picture(), before)
		})
	}
}

// A role that somebody has made in the place of the stack's is left alone.
func TestAnothersResource(t *testing.T) {
	h := newHouse(t)
	h.create("mine", named("shared-name", ", Description: mine, ManagedPolicyArns: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess']"), stackrun.CreateComplete)
	h.update(func(tx *store.Tx) { iam.Roles.Delete(tx, global, "shared-name") })
	theirs := h.role("shared-name", trust, allowAll)
	before := h.picture()
	h.change("mine", named("shared-name", ", Description: changed"), stackrun.UpdateRollbackComplete)
	h.said("mine", "R UPDATE_FAILED", "What has the resource's name is not what this stack has made.")
	same(t, "updated", h.picture(), before)
	h.delete("mine", stackrun.DeleteComplete)
	same(t, "deleted", h.picture(), before)
	if r, ok := iam.FindRole(h.disk.View(), account, "shared-name"); !ok || r.ID != theirs.ID {
		t.Error("their role is gone")
	}
}

// A rollback that fails names the resource, and goes on without it when asked.
func TestSkip(t *testing.T) {
	h := newHouse(t)
	h.create("one", named("r", ", Description: first"), stackrun.CreateComplete)
	h.authz.hook["iam:AttachRolePolicy"] = func() { h.authz.deny["iam:UpdateRole"] = true }
	h.change("one", named("r", ", Description: second, ManagedPolicyArns: ['arn:aws:iam::aws:policy/None']"), stackrun.UpdateRollbackFailed)
	if got := h.info("one").Reason; got != "The following resource(s) failed to update: [R]. " {
		t.Errorf("reason %q", got)
	}
	again := func(skip ...string) error {
		return h.ContinueUpdateRollback(ctx, h.admin, stackrun.ContinueInput{Name: "one", Skip: skip})
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
	h.status("one", stackrun.UpdateRollbackFailed)
	refused(t, again("Z"), fault.InvalidParameter, "do not exist in the stack")
	if err := again("R"); err != nil {
		t.Fatal(err)
	}
	h.status("one", stackrun.UpdateRollbackComplete)
	if got := h.world(); !strings.HasPrefix(got[0], "role /r second") {
		t.Errorf("%q", got)
	}
	refused(t, again(), fault.InvalidParameter, "is in UPDATE_ROLLBACK_COMPLETE state and can not be rolled back.")
	refused(t, h.ContinueUpdateRollback(ctx, h.admin, stackrun.ContinueInput{Name: "two"}), fault.NotFound, "Stack [two] does not exist")
	h.authz.deny["iam:UpdateRole"] = false
	h.change("one", named("r", ", Description: third"), stackrun.UpdateComplete)
}

// What went away behind the stack's back is as good as removed.
func TestGoneBehindTheBack(t *testing.T) {
	h := newZoo(t)
	empty := h.picture()
	h.create("zoo", zooOne, stackrun.CreateComplete)
	h.update(func(tx *store.Tx) {
		for record := range store.Records(tx, account) {
			switch v := record.Value.(type) {
			case *iam.Role, *iam.Policy, *iam.OIDCProvider, *iam.InstanceProfile, *association.Association:
				record.Remove(tx)
			case *iam.User:
				n := *v
				n.Inline, n.Attached = v.Inline[:1], nil
				iam.Users.Put(tx, global, v.Name, &n)
			}
		}
	})
	h.delete("zoo", stackrun.DeleteComplete)
	same(t, "deleted", h.picture(), empty)
}

func TestRetention(t *testing.T) {
	h := newHouse(t)
	keep := strings.Replace(named("kept", ""), "Type:", "DeletionPolicy: Retain, UpdateReplacePolicy: Retain, Type:", 1)
	h.create("one", keep, stackrun.CreateComplete)
	h.change("one", strings.Replace(keep, "kept", "second", 1), stackrun.UpdateComplete)
	h.said("one", "R DELETE_SKIPPED", "")
	id := h.info("one").ID
	h.delete("one", stackrun.DeleteComplete)
	h.said(id, "R DELETE_SKIPPED", "")
	if got := h.world(); len(got) != 2 || !strings.HasPrefix(got[0], "role /kept") || !strings.HasPrefix(got[1], "role /second") {
		t.Errorf("%q", got)
	}
	all, err := h.DescribeStackResources(ctx, h.admin, id, "", "")
	if err != nil || len(all) != 1 || all[0].Status != stackrun.DeleteSkipped || all[0].PhysicalID != "second" {
		t.Errorf("%+v %v", all, err)
	}
	two := `Resources: {A: {Type: AWS::IAM::Role, Properties: {RoleName: a, AssumeRolePolicyDocument: ` + trust + `}}, B: {Type: AWS::IAM::Role, Properties: {RoleName: b, AssumeRolePolicyDocument: ` + trust + `}}}`
	h.create("two", two, stackrun.CreateComplete)
	err = h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: "two", Retain: []string{"A"}})
	refused(t, err, fault.InvalidParameter, "DELETE_FAILED state")
	h.role("x", trust, allowAll)
	h.update(func(tx *store.Tx) { // somebody puts a policy on a
		r, _ := iam.FindRole(tx, account, "a")
		n := *r
		n.Attached = []string{"arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}
		iam.Roles.Put(tx, global, "a", &n)
	})
	h.delete("two", stackrun.DeleteFailed)
	h.said("two", "A DELETE_FAILED", "Cannot delete entity, must detach all policies first.")
	if got := h.info("two").Reason; got != "The following resource(s) failed to delete: [A]. " {
		t.Errorf("reason %q", got)
	}
	err = h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: "two", Retain: []string{"Z"}})
	refused(t, err, fault.InvalidParameter, "do not exist in the stack")
	if err := h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: "two", Retain: []string{"A"}}); err != nil {
		t.Fatal(err)
	}
	if h.exists("two") {
		t.Error("two is still there")
	}
	if _, ok := iam.FindRole(h.disk.View(), account, "a"); !ok {
		t.Error("a was not retained")
	}
}

func TestReplacement(t *testing.T) {
	h := newHouse(t)
	h.create("one", named("fixed", ""), stackrun.CreateComplete)
	h.change("one", named("fixed", ", Path: /there/"), stackrun.UpdateRollbackComplete)
	h.said("one", "R UPDATE_FAILED", "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename fixed and update the stack again.")
	var there []string
	h.authz.hook["iam:DeleteRole"] = func() { there = h.world() }
	h.change("one", named("other", ""), stackrun.UpdateComplete)
	if len(there) != 2 {
		t.Errorf("when the old one was removed, there were %q", there)
	}
	if got := h.world(); len(got) != 1 || !strings.HasPrefix(got[0], "role /other") {
		t.Errorf("%q", got)
	}
	_, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "one", Source: source(strings.ReplaceAll(named("other", ""), "AWS::IAM::Role, Properties: {RoleName: other, AssumeRolePolicyDocument: "+trust, "AWS::IAM::ManagedPolicy, Properties: {PolicyDocument: "+allowAll))})
	refused(t, err, fault.InvalidParameter, "Update of resource type is not permitted.")
}

func TestUpdateRules(t *testing.T) {
	h := newHouse(t)
	h.create("one", podRole, stackrun.CreateComplete)
	up := func(change func(in *stackrun.UpdateInput)) error {
		in := stackrun.UpdateInput{Name: "one", Source: source(podRole)}
		change(&in)
		_, err := h.UpdateStack(ctx, h.admin, in)
		return err
	}
	refused(t, up(func(*stackrun.UpdateInput) {}), fault.InvalidParameter, "No updates are to be performed.")
	refused(t, up(func(in *stackrun.UpdateInput) { in.Template, in.PreviousTemplate = "", true }), fault.InvalidParameter, "No updates are to be performed.")
	refused(t, up(func(in *stackrun.UpdateInput) { in.PreviousTemplate = true }), fault.InvalidParameter, "You cannot specify both")
	refused(t, up(func(in *stackrun.UpdateInput) { in.Template = "" }), fault.InvalidParameter, "Either Template URL or Template Body must be specified.")
	refused(t, up(func(in *stackrun.UpdateInput) { in.Capabilities = nil }), fault.InvalidRequest, "Requires capabilities : [CAPABILITY_IAM]")
	refused(t, up(func(in *stackrun.UpdateInput) { in.Name = "two" }), fault.NotFound, "Stack [two] does not exist")
	refused(t, up(func(in *stackrun.UpdateInput) { in.Name = "a b" }), fault.InvalidParameter, "at 'stackName' failed to satisfy constraint")
	if err := up(func(in *stackrun.UpdateInput) { in.Tags = []iam.Tag{{Key: "team", Value: "x"}} }); err != nil {
		t.Fatal(err)
	}
	h.status("one", stackrun.UpdateComplete)
	if got := h.world(); !strings.Contains(got[0], "team=x") || len(h.info("one").Tags) != 1 {
		t.Errorf("%q", got)
	}
	refused(t, up(func(*stackrun.UpdateInput) {}), fault.InvalidParameter, "No updates are to be performed.")
	if err := up(func(in *stackrun.UpdateInput) {
		in.Template = strings.Replace(podRole, `"Outputs":{`, `"Outputs":{"Name":{"Value":{"Ref":"Role1"}},`, 1)
	}); err != nil {
		t.Fatal(err)
	}
	if got := h.info("one").Outputs; len(got) != 2 {
		t.Errorf("outputs %v", got)
	}
	if err := up(func(in *stackrun.UpdateInput) { in.Tags = []iam.Tag{} }); err != nil {
		t.Fatal(err)
	}
	if got := h.world(); strings.Contains(got[0], "team=x") || len(h.info("one").Tags) != 0 {
		t.Errorf("%q", got)
	}
	broken := strings.Replace(podRole, "AmazonS3ReadOnlyAccess", "None", 1)
	if err := up(func(in *stackrun.UpdateInput) { in.Template, in.DisableRollback = broken, true }); err != nil {
		t.Fatal(err)
	}
	h.status("one", stackrun.UpdateFailed)
	if got := h.info("one"); !got.DisableRollback || got.Reason != "The following resource(s) failed to update: [Role1]. " {
		t.Errorf("%+v", got)
	}
	h.change("one", strings.Replace(podRole, "AmazonS3ReadOnlyAccess", "AmazonS3FullAccess", 1), stackrun.UpdateComplete)
	h.said("one", "one UPDATE_ROLLBACK_COMPLETE", "")
}

func TestCreateRules(t *testing.T) {
	h := newHouse(t)
	try := func(change func(in *stackrun.CreateInput)) error {
		in := input("one", podRole)
		change(&in)
		_, err := h.CreateStack(ctx, h.admin, in)
		return err
	}
	for _, tc := range []struct {
		name   string
		change func(in *stackrun.CreateInput)
		kind   fault.Kind
		text   string
	}{
		{"no name", func(in *stackrun.CreateInput) { in.Name = "" }, fault.InvalidParameter, "Member must have length greater than or equal to 1"},
		{"long name", func(in *stackrun.CreateInput) { in.Name = strings.Repeat("a", 129) }, fault.InvalidParameter, "less than or equal to 128"},
		{"strange name", func(in *stackrun.CreateInput) { in.Name = "1a" }, fault.InvalidParameter, "[a-zA-Z][-a-zA-Z0-9]*"},
		{"an ARN for a name", func(in *stackrun.CreateInput) { in.Name = "arn:aws:cloudformation:us-west-2:111122223333:stack/a/b" }, fault.InvalidParameter, "[a-zA-Z][-a-zA-Z0-9]*"},
		{"no template", func(in *stackrun.CreateInput) { in.Template = "" }, fault.InvalidParameter, "Either Template URL or Template Body"},
		{"previous template", func(in *stackrun.CreateInput) { in.Template, in.PreviousTemplate = "", true }, fault.InvalidParameter, "no previous template"},
		{"no template at all", func(in *stackrun.CreateInput) { in.Template = "{}" }, fault.InvalidParameter, "At least one Resources member"},
		{"large template", func(in *stackrun.CreateInput) { in.Template += strings.Repeat(" ", 51200) }, fault.InvalidParameter, "51200"},
		{"no capability", func(in *stackrun.CreateInput) { in.Capabilities = nil }, fault.InvalidRequest, "Requires capabilities : [CAPABILITY_IAM]"},
		{"less capability", func(in *stackrun.CreateInput) {
			in.Template, in.Capabilities = named("x", ""), []string{"CAPABILITY_IAM"}
		}, fault.InvalidRequest, "Requires capabilities : [CAPABILITY_NAMED_IAM]"},
		{"unknown capability", func(in *stackrun.CreateInput) { in.Capabilities = []string{"X"} }, fault.InvalidParameter, "satisfy enum value set"},
		{"both ways to fail", func(in *stackrun.CreateInput) { in.OnFailure, in.DisableRollback = "DELETE", true }, fault.InvalidParameter, "both OnFailure and DisableRollback"},
		{"unknown way to fail", func(in *stackrun.CreateInput) { in.OnFailure = "X" }, fault.InvalidParameter, "[ROLLBACK, DELETE, DO_NOTHING]"},
		{"token", func(in *stackrun.CreateInput) { in.Token = "a b" }, fault.InvalidParameter, "clientRequestToken"},
		{"reserved tag", func(in *stackrun.CreateInput) { in.Tags = []iam.Tag{{Key: "AWS:x"}} }, fault.InvalidParameter, "aws: prefixed tag key names are not allowed"},
		{"two values of a tag", func(in *stackrun.CreateInput) { in.Tags = []iam.Tag{{Key: "a", Value: "b"}, {Key: "a", Value: "c"}} }, fault.InvalidParameter, "Duplicate tag keys"},
		{"tag without key", func(in *stackrun.CreateInput) { in.Tags = []iam.Tag{{Value: "b"}} }, fault.InvalidParameter, "1 to 128"},
		{"type not allowed", func(in *stackrun.CreateInput) { in.ResourceTypes = []string{"AWS::IAM::Policy"} }, fault.InvalidParameter, "Resource type AWS::IAM::Role is not allowed"},
		{"parameter unknown", func(in *stackrun.CreateInput) { in.Parameters = []stackrun.Parameter{{Key: "P"}} }, fault.InvalidParameter, "Parameters: [P] do not exist in the template"},
		{"parameter twice", func(in *stackrun.CreateInput) { in.Parameters = []stackrun.Parameter{{Key: "P"}, {Key: "P"}} }, fault.InvalidParameter, "given twice"},
		{"previous parameter", func(in *stackrun.CreateInput) { in.Parameters = []stackrun.Parameter{{Key: "P", UsePrevious: true}} }, fault.InvalidParameter, "usePreviousValue"},
		{"topics", func(in *stackrun.CreateInput) { in.NotificationARNs = []string{"x"} }, fault.InvalidParameter, "not an ARN"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused(t, try(tc.change), tc.kind, tc.text)
			if all, _, _ := h.DescribeStacks(ctx, h.admin, "", ""); len(all) > 0 {
				t.Error("a stack was made")
			}
		})
	}
	if err := try(func(in *stackrun.CreateInput) { in.ResourceTypes = []string{"AWS::IAM::*"}; in.Token = "t-1" }); err != nil {
		t.Fatal(err)
	}
	if err := try(func(in *stackrun.CreateInput) { in.ResourceTypes = []string{"AWS::IAM::*"}; in.Token = "t-1" }); err != nil {
		t.Error("a repeat:", err)
	}
	err := try(func(in *stackrun.CreateInput) { in.Token = "t-1" })
	if fault.As(err).Reason != stackrun.ReasonTokenUsed {
		t.Error(err)
	}
	err = try(func(*stackrun.CreateInput) {})
	refused(t, err, fault.AlreadyExists, "Stack [one] already exists")
}

func TestOnFailure(t *testing.T) {
	h := newHouse(t)
	broken := strings.Replace(podRole, "AmazonS3ReadOnlyAccess", "None", 1)
	for way, want := range map[string]stackrun.Status{"DELETE": stackrun.DeleteComplete, "DO_NOTHING": stackrun.CreateFailed, "ROLLBACK": stackrun.RollbackComplete} {
		in := input("s-"+strings.ReplaceAll(way, "_", ""), broken)
		in.OnFailure = way
		id, err := h.CreateStack(ctx, h.admin, in)
		if err != nil {
			t.Fatal(err)
		}
		h.status(id, want)
		h.said(id, "Role1 CREATE_FAILED", "Policy arn:aws:iam::aws:policy/None does not exist or is not attachable.")
		if n := len(h.world()); (n == 1) != (way == "DO_NOTHING") {
			t.Errorf("%s: %q", way, h.world())
		}
		if way == "DO_NOTHING" {
			h.delete("s-DONOTHING", stackrun.DeleteComplete)
			h.want("deleted")
		}
	}
}

// secretTemplate puts a secret wherever it could come out.
const secretTemplate = `
Parameters: {Secret: {Type: String, NoEcho: true}, Plain: {Type: String, Default: seen}}
Resources:
  R: {Type: AWS::IAM::Role, Properties: {RoleName: !Ref Secret, Description: !Ref Secret, AssumeRolePolicyDocument: ` + trust + `}}
Outputs: {Whole: {Value: !Ref Secret}, Part: {Value: !Sub "a-${Secret}"}, Plain: {Value: !Ref Plain}}
`

func TestSecretsStaySecret(t *testing.T) {
	h := newHouse(t)
	const hush = "hush-hush-hush"
	h.role(hush, trust, allowAll)
	in := input("s", secretTemplate)
	in.Parameters = []stackrun.Parameter{{Key: "Secret", Value: hush}}
	if _, err := h.CreateStack(ctx, h.admin, in); err != nil {
		t.Fatal(err)
	}
	h.status("s", stackrun.RollbackComplete)
	h.said("s", "R CREATE_FAILED", "Role with name **** already exists.")
	h.delete("s", stackrun.DeleteComplete)
	h.update(func(tx *store.Tx) { iam.Roles.Delete(tx, global, hush) })
	if _, err := h.CreateStack(ctx, h.admin, in); err != nil {
		t.Fatal(err)
	}
	got := h.info("s")
	if got.Status != stackrun.CreateComplete || got.Parameters[0].Value != "****" || got.Parameters[1].Value != "seen" {
		t.Errorf("%+v", got)
	}
	for _, o := range got.Outputs {
		if strings.Contains(o.Value, hush) {
			t.Errorf("output %+v", o)
		}
	}
	up := stackrun.UpdateInput{Name: "s", Source: source(strings.Replace(secretTemplate, "Default: seen", "Default: other", 1))}
	up.Parameters = []stackrun.Parameter{{Key: "Secret", UsePrevious: true}}
	if _, err := h.UpdateStack(ctx, h.admin, up); err != nil {
		t.Fatal(err)
	}
	h.status("s", stackrun.UpdateComplete)
	if r, ok := iam.FindRole(h.disk.View(), account, hush); !ok || r.Description != hush {
		t.Error("the value was not kept")
	}
	summary, err := h.GetTemplateSummary(ctx, h.admin, "", strings.Replace(secretTemplate, "NoEcho: true", "NoEcho: true, Default: "+hush, 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []any{got, h.events("s"), summary} {
		if text, _ := json.Marshal(x); strings.Contains(string(text), hush) {
			t.Errorf("%s", text)
		}
	}
	h.update(func(tx *store.Tx) {
		rec, _ := stackrun.Stacks.Get(tx, scope, "s")
		if text, _ := json.Marshal(rec); strings.Contains(string(text), hush) || strings.Contains(string(rec.Now.Parameters), hush) {
			t.Errorf("the record has it: %s", text)
		}
	})
}

func TestQuotaOfStacks(t *testing.T) {
	h := newHouse(t)
	h.Limit = 2
	h.create("one", named("one", ""), stackrun.CreateComplete)
	h.create("two", named("two", ""), stackrun.CreateComplete)
	_, err := h.CreateStack(ctx, h.admin, input("three", named("three", "")))
	if f := fault.As(err); f.Kind != fault.LimitExceeded || f.Reason != stackrun.ReasonStackLimit {
		t.Error(err)
	}
	_, _, err = h.CreateChangeSet(ctx, h.admin, stackrun.ChangeSetInput{Stack: "three", Name: "c", Type: "CREATE", Source: source(named("three", ""))})
	if f := fault.As(err); f.Kind != fault.LimitExceeded {
		t.Error(err)
	}
	h.delete("one", stackrun.DeleteComplete)
	h.create("three", named("three", ""), stackrun.CreateComplete)
}

// Of several creations of one name at once, one makes it.
func TestCreateAtOnce(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = h.CreateStack(ctx, h.admin, input("one", podRole)) })
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else {
			refused(t, err, fault.AlreadyExists, "Stack [one] already exists")
		}
	}
	if made != 1 || len(h.world()) != 1 {
		t.Errorf("%d made, %q", made, h.world())
	}
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "one", Source: source(strings.Replace(podRole, "s3:GetObject", fmt.Sprintf("s3:A%d", i), 1))})
		})
	}
	wg.Wait()
	h.status("one", stackrun.UpdateComplete)
	for i, err := range errs {
		if err != nil && !fault.Is(err, fault.InvalidParameter) && !fault.Is(err, fault.Unavailable) {
			t.Errorf("%d: %v", i, err)
		}
	}
	h.delete("one", stackrun.DeleteComplete)
	h.want("deleted")
}

// The client's hanging up does not leave half a stack.
func TestClientHangsUp(t *testing.T) {
	h := newHouse(t)
	client, hangUp := contextWithCancel()
	h.authz.hook["iam:CreateRole"] = hangUp
	if _, err := h.CreateStack(client, h.admin, input("one", podRole)); err != nil {
		t.Fatal(err)
	}
	h.status("one", stackrun.CreateComplete)
}

// Names are cut as IAM wants them, and tell stacks and resources apart.
func TestGeneratedNames(t *testing.T) {
	h := newHouse(t)
	long, logical := strings.Repeat("stack-", 20)+"x", strings.Repeat("Logical", 20)
	h.create(long, "Resources: {"+logical+": {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: "+trust+"}}, P: {Type: AWS::IAM::ManagedPolicy, Properties: {PolicyDocument: "+allowAll+"}}}", stackrun.CreateComplete)
	got := h.picture()
	for _, want := range []string{"role /stack-stack-stack-stack-s-LogicalLogicalLogicalLogi-RANDOM", "policy " + long[:113] + "-P-RANDOM"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	h.delete(long, stackrun.DeleteComplete)
}

func TestManyVersions(t *testing.T) {
	h := newHouse(t)
	text := func(i int) string {
		return fmt.Sprintf("Resources: {P: {Type: AWS::IAM::ManagedPolicy, Properties: {ManagedPolicyName: p, PolicyDocument: %s}}}", strings.Replace(allowAll, `"*"`, fmt.Sprintf(`"s3:A%d"`, i), 1))
	}
	h.create("one", text(0), stackrun.CreateComplete)
	for i := range 8 {
		h.change("one", text(i+1), stackrun.UpdateComplete)
	}
	if got := h.world(); !slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, "s3:A8") }) {
		t.Errorf("%q", got)
	}
	h.delete("one", stackrun.DeleteComplete)
	h.want("deleted")
}

// What could not be removed may come back under the same name as another type.
func TestLeftoverOfAnotherType(t *testing.T) {
	h := newHouse(t)
	empty := h.picture()
	role := named("old", "")
	policy := "Resources: {R: {Type: AWS::IAM::ManagedPolicy, Properties: {PolicyDocument: " + allowAll + "}}}"
	h.create("one", strings.Replace(role, "{R:", "{K: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: "+trust+"}}, R:", 1), stackrun.CreateComplete)
	h.authz.deny["iam:DeleteRole"] = true
	h.change("one", "Resources: {K: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: "+trust+"}}}", stackrun.UpdateComplete)
	h.said("one", "R DELETE_FAILED", "iam:DeleteRole")
	h.change("one", strings.Replace(policy, "{R:", "{K: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: "+trust+"}}, R:", 1), stackrun.UpdateComplete)
	r, err := h.DescribeStackResource(ctx, h.admin, "one", "R")
	if err != nil || r.Type != "AWS::IAM::ManagedPolicy" || r.Status != stackrun.UpdateComplete {
		t.Errorf("%+v %v", r, err)
	}
	h.authz.deny["iam:DeleteRole"] = false
	h.delete("one", stackrun.DeleteComplete)
	same(t, "deleted", h.picture(), empty)
}
