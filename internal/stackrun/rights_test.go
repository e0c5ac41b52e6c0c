// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/stackrun"
	"podid/internal/store"
)

// cfnOnly may do everything with stacks and nothing else.
const cfnOnly = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"cloudformation:*","Resource":"*"}}`

// A stack is no way around IAM.
func TestCloudFormationAloneMakesNothing(t *testing.T) {
	h := newZoo(t)
	empty := h.picture()
	mallory := h.user("mallory", cfnOnly)
	base := h.picture()
	for name, template := range map[string]string{"zoo": zooOne, "pods": podRole} {
		id, err := h.CreateStack(ctx, mallory, input(name, template))
		if err != nil {
			t.Fatal(err)
		}
		h.status(id, stackrun.RollbackComplete)
		same(t, "mallory's", h.picture(), base)
		h.said(id, "", "because no identity-based policy allows the iam:")
	}
	if empty == base {
		t.Fatal("mallory is not in the picture")
	}
	h.create("mine", zooOne, stackrun.CreateComplete)
	before := h.picture()
	if _, err := h.UpdateStack(ctx, mallory, stackrun.UpdateInput{Name: "mine", Source: source(zooTwo)}); err != nil {
		t.Fatal(err)
	}
	h.status("mine", stackrun.UpdateRollbackComplete)
	same(t, "mallory's update", h.picture(), before)
	if err := h.DeleteStack(ctx, mallory, stackrun.DeleteInput{Name: "mine"}); err != nil {
		t.Fatal(err)
	}
	h.status("mine", stackrun.DeleteFailed)
	same(t, "mallory's deletion", h.picture(), before)
	err := h.DeleteStack(ctx, mallory, stackrun.DeleteInput{Name: "mine", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "a forced deletion leaves what it may not remove", h.picture(), before)
}

// Every verb asks, for the stack it is about.
func TestEveryVerbAsks(t *testing.T) {
	h := newHouse(t)
	id := h.create("pods", podRole, stackrun.CreateComplete)
	set := stackrun.ChangeSetInput{Stack: "pods", Name: "set", Source: source(strings.Replace(podRole, "s3:GetObject", "s3:ListBucket", 1))}
	setID, _, err := h.CreateChangeSet(ctx, h.admin, set)
	if err != nil {
		t.Fatal(err)
	}
	nobody := h.user("nobody", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"none:None","Resource":"*"}}`)
	before := h.picture()
	for action, verb := range map[string]func(c iam.Caller) error{
		"CreateStack on arn:aws:cloudformation:us-west-2:111122223333:stack/new/": func(c iam.Caller) error { _, err := h.CreateStack(ctx, c, input("new", podRole)); return err },
		"UpdateStack on " + id: func(c iam.Caller) error {
			_, err := h.UpdateStack(ctx, c, stackrun.UpdateInput{Name: "pods", Source: source(zooOne)})
			return err
		},
		"DeleteStack on " + id: func(c iam.Caller) error { return h.DeleteStack(ctx, c, stackrun.DeleteInput{Name: "pods"}) },
		"DeleteStack on arn:aws:cloudformation:us-west-2:111122223333:stack/none/*": func(c iam.Caller) error { return h.DeleteStack(ctx, c, stackrun.DeleteInput{Name: "none"}) },
		"ContinueUpdateRollback on " + id: func(c iam.Caller) error {
			return h.ContinueUpdateRollback(ctx, c, stackrun.ContinueInput{Name: "pods"})
		},
		"DescribeStacks on " + id:              func(c iam.Caller) error { _, _, err := h.DescribeStacks(ctx, c, id, ""); return err },
		"DescribeStacks on *":                  func(c iam.Caller) error { _, _, err := h.DescribeStacks(ctx, c, "", ""); return err },
		"ListStacks on *":                      func(c iam.Caller) error { _, _, err := h.ListStacks(ctx, c, nil, ""); return err },
		"DescribeStackEvents on " + id:         func(c iam.Caller) error { _, _, err := h.DescribeStackEvents(ctx, c, "pods", ""); return err },
		"DescribeStackResources on " + id:      func(c iam.Caller) error { _, err := h.DescribeStackResources(ctx, c, "pods", "", ""); return err },
		"DescribeStackResources on *":          func(c iam.Caller) error { _, err := h.DescribeStackResources(ctx, c, "", "", "x"); return err },
		"DescribeStackResource on " + id:       func(c iam.Caller) error { _, err := h.DescribeStackResource(ctx, c, "pods", "Role1"); return err },
		"ListStackResources on " + id:          func(c iam.Caller) error { _, _, err := h.ListStackResources(ctx, c, "pods", ""); return err },
		"GetTemplate on " + id:                 func(c iam.Caller) error { _, err := h.GetTemplate(ctx, c, "pods", ""); return err },
		"GetTemplateSummary on " + id:          func(c iam.Caller) error { _, err := h.GetTemplateSummary(ctx, c, "pods", ""); return err },
		"GetTemplateSummary on *":              func(c iam.Caller) error { _, err := h.GetTemplateSummary(ctx, c, "", podRole); return err },
		"ValidateTemplate on *":                func(c iam.Caller) error { _, err := h.ValidateTemplate(ctx, c, podRole); return err },
		"UpdateTerminationProtection on " + id: func(c iam.Caller) error { _, err := h.UpdateTerminationProtection(ctx, c, "pods", true); return err },
		"CreateChangeSet on " + id:             func(c iam.Caller) error { _, _, err := h.CreateChangeSet(ctx, c, set); return err },
		"DescribeChangeSet on " + id:           func(c iam.Caller) error { _, err := h.DescribeChangeSet(ctx, c, setID, ""); return err },
		"ExecuteChangeSet on " + id:            func(c iam.Caller) error { return h.ExecuteChangeSet(ctx, c, stackrun.ExecuteInput{ChangeSet: setID}) },
		"DeleteChangeSet on " + id:             func(c iam.Caller) error { return h.DeleteChangeSet(ctx, c, "set", "pods") },
		"ListChangeSets on " + id:              func(c iam.Caller) error { _, _, err := h.ListChangeSets(ctx, c, "pods", ""); return err },
	} {
		t.Run(action, func(t *testing.T) {
			name, resource, _ := strings.Cut(action, " on ")
			refused(t, verb(nobody), fault.AccessDenied, "is not authorized to perform: cloudformation:"+name+" on resource: "+resource)
			same(t, "refused", h.picture(), before)
		})
	}
}

// meddled runs a verb on a tagged stack, whose tags a rival changes after the
// caller was judged by them.
func TestWhatWasJudgedIsWhatIsChanged(t *testing.T) {
	other := strings.Replace(podRole, "s3:GetObject", "s3:ListBucket", 1)
	for action, verb := range map[string]func(h *house) error{
		"UpdateStack": func(h *house) error {
			_, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "pods", Source: source(other)})
			return err
		},
		"DeleteStack": func(h *house) error { return h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: "pods"}) },
		"UpdateTerminationProtection": func(h *house) error {
			_, err := h.UpdateTerminationProtection(ctx, h.admin, "pods", true)
			return err
		},
		"CreateChangeSet": func(h *house) error {
			_, _, err := h.CreateChangeSet(ctx, h.admin, stackrun.ChangeSetInput{Stack: "pods", Name: "two", Source: source(other)})
			return err
		},
		"ExecuteChangeSet": func(h *house) error {
			return h.ExecuteChangeSet(ctx, h.admin, stackrun.ExecuteInput{Stack: "pods", ChangeSet: "one"})
		},
		"DeleteChangeSet": func(h *house) error { return h.DeleteChangeSet(ctx, h.admin, "one", "pods") },
		"ContinueUpdateRollback": func(h *house) error {
			return h.ContinueUpdateRollback(ctx, h.admin, stackrun.ContinueInput{Name: "pods"})
		},
	} {
		for what, rival := range map[string]func(r *stackrun.Record){
			"tagged":        func(r *stackrun.Record) { r.Now.Tags = []iam.Tag{{Key: "env", Value: "prod"}} },
			"another stack": func(r *stackrun.Record) { r.ID += "x" },
			"another role":  func(r *stackrun.Record) { r.Now.RoleARN = "arn:aws:iam::111122223333:role/other" },
		} {
			t.Run(action+" "+what, func(t *testing.T) {
				h := newHouse(t)
				in := input("pods", podRole)
				in.Tags = []iam.Tag{{Key: "env", Value: "test"}}
				if _, err := h.CreateStack(ctx, h.admin, in); err != nil {
					t.Fatal(err)
				}
				if _, _, err := h.CreateChangeSet(ctx, h.admin, stackrun.ChangeSetInput{Stack: "pods", Name: "one", Source: source(other)}); err != nil {
					t.Fatal(err)
				}
				before := h.picture()
				h.authz.hook["cloudformation:"+action] = func() {
					h.update(func(tx *store.Tx) {
						rec, _ := stackrun.Stacks.Get(tx, scope, "pods")
						n := *rec
						rival(&n)
						stackrun.Stacks.Put(tx, scope, "pods", &n)
					})
				}
				err := verb(h)
				if f := fault.As(err); err == nil || f.Kind != fault.Unavailable && f.Kind != fault.NotFound && f.Kind != fault.InvalidParameter {
					t.Fatalf("%v, want a refusal", err)
				}
				if got := h.info("pods"); got.Status != stackrun.CreateComplete || got.TerminationProtection {
					t.Errorf("%+v", got)
				}
				same(t, "refused", h.picture(), before)
			})
		}
	}
}

const (
	cfnTrust  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"cloudformation.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	passer    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudformation:*","Resource":"*"},{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::111122223333:role/deployer","Condition":{"StringEquals":{"iam:PassedToService":"cloudformation.amazonaws.com"}}}]}`
	deployARN = "arn:aws:iam::111122223333:role/deployer"
)

// role makes a role outside of stacks.
func (h *house) role(name, trustPolicy, policy string) *iam.Role {
	h.t.Helper()
	r := &iam.Role{
		ID: "AROAEXAMPLE" + strings.ToUpper(name), Partition: partition, Account: account, Path: "/", Name: name, Trust: trustPolicy, MaxSession: 3600, Created: h.now,
		Inline: []iam.InlinePolicy{{Name: "inline", Document: policy}},
	}
	h.update(func(tx *store.Tx) { iam.Roles.Put(tx, global, strings.ToLower(name), r) })
	return r
}

// A stack with a role acts as the role, then and later.
func TestRoleARN(t *testing.T) {
	h := newHouse(t)
	h.role("deployer", cfnTrust, allowAll)
	before := h.picture()
	dora, mallory := h.user("dora", passer), h.user("mallory", cfnOnly)
	in := input("pods", podRole)
	in.RoleARN = deployARN
	_, err := h.CreateStack(ctx, mallory, in)
	refused(t, err, fault.AccessDenied, "is not authorized to perform: iam:PassRole on resource: "+deployARN)
	if h.exists("pods") {
		t.Error("a stack was made")
	}
	if _, err := h.CreateStack(ctx, dora, in); err != nil {
		t.Fatal(err)
	}
	h.status("pods", stackrun.CreateComplete)
	if got := h.info("pods"); got.RoleARN != deployARN {
		t.Errorf("%+v", got)
	}
	// As with AWS, who may change the stack uses its role.
	if _, err := h.UpdateStack(ctx, mallory, stackrun.UpdateInput{Name: "pods", Source: source(strings.Replace(podRole, "s3:GetObject", "s3:ListBucket", 1))}); err != nil {
		t.Fatal(err)
	}
	h.status("pods", stackrun.UpdateComplete)
	if err := h.DeleteStack(ctx, mallory, stackrun.DeleteInput{Name: "pods", RoleARN: "arn:aws:iam::111122223333:role/other"}); !fault.Is(err, fault.AccessDenied) {
		t.Error(err)
	}
	id := h.info("pods").ID
	if err := h.DeleteStack(ctx, mallory, stackrun.DeleteInput{Name: "pods"}); err != nil {
		t.Fatal(err)
	}
	h.status(id, stackrun.DeleteComplete)
	h.update(func(tx *store.Tx) {
		iam.Users.Delete(tx, global, "dora")
		iam.Users.Delete(tx, global, "mallory")
	})
	same(t, "deleted", h.picture(), before)
}

func TestRoleARNRefused(t *testing.T) {
	h := newHouse(t)
	h.role("deployer", cfnTrust, allowAll)
	h.role("untrusting", trust, allowAll)
	h.role("weak", cfnTrust, cfnOnly)
	for _, tc := range []struct {
		name, role string
		kind       fault.Kind
		text       string
	}{
		{"no ARN", "deployer", fault.InvalidParameter, "is invalid or cannot be assumed"},
		{"none of the name", "arn:aws:iam::111122223333:role/none", fault.InvalidParameter, "is invalid or cannot be assumed"},
		{"other path", "arn:aws:iam::111122223333:role/x/deployer", fault.InvalidParameter, "is invalid or cannot be assumed"},
		{"does not trust", "arn:aws:iam::111122223333:role/untrusting", fault.InvalidParameter, "is invalid or cannot be assumed"},
		{"another account's", "arn:aws:iam::999922223333:role/deployer", fault.AccessDenied, "Cross-account pass role is not allowed."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := input("pods", podRole)
			in.RoleARN = tc.role
			_, err := h.CreateStack(ctx, h.admin, in)
			refused(t, err, tc.kind, tc.text)
			if h.exists("pods") {
				t.Error("a stack was made")
			}
		})
	}
	in := input("pods", podRole)
	in.RoleARN = "arn:aws:iam::111122223333:role/weak"
	if _, err := h.CreateStack(ctx, h.admin, in); err != nil {
		t.Fatal(err)
	}
	h.status("pods", stackrun.RollbackComplete)
	h.said("pods", "", "User: arn:aws:sts::111122223333:assumed-role/weak/AWSCloudFormation is not authorized to perform: iam:CreateRole")
}

// A policy may allow what stacks do, and not the same done by hand.
func TestCalledVia(t *testing.T) {
	h := newHouse(t)
	h.role("deployer", cfnTrust, strings.Replace(allowAll, `"Resource"`, `"Condition":{"Bool":{"aws:ViaAWSService":"true"}},"Resource"`, 1))
	before := h.world()
	for name, condition := range map[string]string{
		"via":   `{"ForAnyValue:StringEquals":{"aws:CalledVia":"cloudformation.amazonaws.com"}}`,
		"first": `{"StringEquals":{"aws:CalledViaFirst":"cloudformation.amazonaws.com","aws:CalledViaLast":"cloudformation.amazonaws.com"}}`,
		"any":   `{"Bool":{"aws:ViaAWSService":"true"}}`,
	} {
		u := h.user(name, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["cloudformation:*","iam:PassRole"],"Resource":"*"},{"Effect":"Allow","Action":["iam:*","eks:*"],"Resource":"*","Condition":`+condition+`}]}`)
		_, err := h.IAM.CreateRole(ctx, u, iam.CreateRoleInput{Name: "x", Trust: trust})
		refused(t, err, fault.AccessDenied, "iam:CreateRole")
		if _, err := h.CreateStack(ctx, u, input(name, podRole)); err != nil {
			t.Fatal(err)
		}
		h.status(name, stackrun.CreateComplete)
		if err := h.DeleteStack(ctx, u, stackrun.DeleteInput{Name: name}); err != nil {
			t.Fatal(err)
		}
		h.want(name, before...)
		in := input(name, podRole)
		in.RoleARN = deployARN
		if _, err := h.CreateStack(ctx, u, in); err != nil {
			t.Fatal(err)
		}
		h.status(name, stackrun.RollbackComplete) // the role asks for itself
	}
}

// Stacks are judged by their tags, and new ones by those of the request.
func TestTagsDecide(t *testing.T) {
	h := newHouse(t)
	in := input("pods", podRole)
	in.Tags = []iam.Tag{{Key: "env", Value: "prod"}}
	id, err := h.CreateStack(ctx, h.admin, in)
	if err != nil {
		t.Fatal(err)
	}
	dev := h.user("dev", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":"cloudformation:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/env":"prod"}}},
		{"Effect":"Deny","Action":"cloudformation:*","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/env":"prod"}}}]}`)
	if err := h.DeleteStack(ctx, dev, stackrun.DeleteInput{Name: id}); !fault.Is(err, fault.AccessDenied) {
		t.Error(err)
	}
	_, err = h.UpdateStack(ctx, dev, stackrun.UpdateInput{Name: "pods", Source: source(zooOne)})
	refused(t, err, fault.AccessDenied, "with an explicit deny")
	in.Name = "pods-2"
	_, err = h.CreateStack(ctx, dev, in)
	refused(t, err, fault.AccessDenied, "with an explicit deny")
}

// Two changes of one stack: the second is refused while the first runs, and
// one that was held up for too long can write nothing any more.
func TestOneAtATime(t *testing.T) {
	h := newHouse(t)
	id := h.create("pods", podRole, stackrun.CreateComplete)
	update := func(action string) error {
		_, err := h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "pods", Source: source(strings.Replace(podRole, "s3:GetObject", action, 1))})
		return err
	}
	var second, third error
	h.authz.hook["iam:PutRolePolicy"] = func() {
		second = update("s3:Second")
		third = h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: "pods"})
	}
	if err := update("s3:First"); err != nil {
		t.Fatal(err)
	}
	refused(t, second, fault.InvalidParameter, "Stack:"+id+" is in UPDATE_IN_PROGRESS state and can not be updated.")
	refused(t, third, fault.InvalidParameter, "Stack ["+id+"] cannot be deleted while in status UPDATE_IN_PROGRESS")
	if !strings.Contains(h.picture(), "s3:First") {
		t.Error(h.picture())
	}
	h.authz.hook["iam:PutRolePolicy"] = func() {
		h.now = h.now.Add(2 * time.Minute)
		second = update("s3:Second")
	}
	err := update("s3:Third")
	refused(t, err, fault.Unavailable, "The work on the stack was interrupted.")
	if second != nil {
		t.Fatal(second)
	}
	h.status("pods", stackrun.UpdateComplete)
	if got := h.picture(); !strings.Contains(got, "s3:Second") || strings.Contains(got, "s3:Third") {
		t.Error(got)
	}
	if !slices.Contains(h.events("pods"), "pods UPDATE_FAILED: The process that worked on the stack has ended.") {
		t.Errorf("%q", h.events("pods"))
	}
}
