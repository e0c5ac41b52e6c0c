// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go/middleware"

	"podid/internal/controlplane/controlplanetest"
)

// stacks is AWS' client of CloudFormation, which notes the operations that it
// made, and how they ended.
type stacks struct {
	*cloudformation.Client
	t  *testing.T
	cp *controlplanetest.ControlPlane

	mu        sync.Mutex
	good, bad map[string]int
}

func newStacks(t *testing.T, cp *controlplanetest.ControlPlane, p aws.CredentialsProvider) *stacks {
	t.Helper()
	s := &stacks{t: t, cp: cp, good: map[string]int{}, bad: map[string]int{}}
	note := middleware.InitializeMiddlewareFunc("note", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		out, md, err := next.HandleInitialize(ctx, in)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			s.good[awsmiddleware.GetOperationName(ctx)]++
		} else {
			s.bad[awsmiddleware.GetOperationName(ctx)]++
		}
		return out, md, err
	})
	s.Client = cloudformation.NewFromConfig(cp.Config(p), cloudformation.WithAPIOptions(func(m *middleware.Stack) error { return m.Initialize.Add(note, middleware.After) }))
	return s
}

// noWaiting bounds waiters so that a second poll, after 30 s, would fail them.
const noWaiting = 20 * time.Second

// template is a template of the resources, with outputs.
func template(t *testing.T, resources, outputs object) *string {
	t.Helper()
	doc := object{"AWSTemplateFormatVersion": "2010-09-09", "Description": "what pods are", "Resources": resources}
	if outputs != nil {
		doc["Outputs"] = outputs
	}
	return aws.String(controlplanetest.JSON(t, doc))
}

// roleResource is a role for pods; more overrides its properties.
func roleResource(more object) object {
	p := object{"AssumeRolePolicyDocument": podTrust(nil)}
	for k, v := range more {
		p[k] = v
	}
	return object{"Type": "AWS::IAM::Role", "Properties": p}
}

// eksctlTemplate is what eksctl makes of --role-name and
// --permission-policy-arns: an attribute in its dotted form.
func eksctlTemplate(t *testing.T, role string, policies ...string) *string {
	t.Helper()
	more := object{}
	if len(policies) > 0 {
		more["ManagedPolicyArns"] = policies
	}
	if role != "" {
		more["RoleName"] = role
	}
	return template(t, object{"Role1": roleResource(more)}, object{"Role1": object{"Value": object{"Fn::GetAtt": "Role1.Arn"}}})
}

// eksctlTags are those that eksctl looks for.
func eksctlTags() []types.Tag {
	return []types.Tag{
		{Key: aws.String("alpha.eksctl.io/cluster-name"), Value: aws.String("my-cluster")},
		{Key: aws.String("alpha.eksctl.io/podidentityassociation-name"), Value: aws.String("s3-app-ns/s3-app-sa")},
	}
}

const (
	eksctlStack = "eksctl-my-cluster-podidentityrole-s3-app-ns-s3-app-sa"
	stackARN    = "arn:aws:cloudformation:us-west-2:111122223333:stack/"
	rolesARN    = "arn:aws:iam::111122223333:role/"
	noStack     = "Stack with id %s does not exist"
)

func named() []types.Capability   { return []types.Capability{types.CapabilityCapabilityNamedIam} }
func unnamed() []types.Capability { return []types.Capability{types.CapabilityCapabilityIam} }

// create makes a stack and waits as tools do.
func (s *stacks) create(in *cloudformation.CreateStackInput) types.Stack {
	s.t.Helper()
	made := must(s.CreateStack(s.t.Context(), in))(s.t)
	d := s.describe(*made.StackId)
	if d.StackStatus != types.StackStatusCreateComplete {
		s.t.Fatalf("stack %s: %s %s\n%s", *in.StackName, d.StackStatus, aws.ToString(d.StackStatusReason), strings.Join(s.events(*made.StackId), "\n"))
	}
	return d
}

func (s *stacks) describe(name string) types.Stack {
	s.t.Helper()
	return must(s.DescribeStacks(s.t.Context(), &cloudformation.DescribeStacksInput{StackName: &name}))(s.t).Stacks[0]
}

// events are a stack's, oldest first: logical id, status, reason.
func (s *stacks) events(name string) []string {
	s.t.Helper()
	var out []string
	p := cloudformation.NewDescribeStackEventsPaginator(s.Client, &cloudformation.DescribeStackEventsInput{StackName: &name})
	for p.HasMorePages() {
		for _, e := range must(p.NextPage(s.t.Context()))(s.t).StackEvents {
			out = append(out, strings.TrimRight(aws.ToString(e.LogicalResourceId)+" "+string(e.ResourceStatus)+" "+aws.ToString(e.ResourceStatusReason), " "))
		}
	}
	slices.Reverse(out)
	return out
}

// role is a role by name, nil when there is none.
func (s *stacks) role(name string) *iam.GetRoleOutput {
	s.t.Helper()
	out, err := s.cp.IAM().GetRole(s.t.Context(), &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		wantAPIError(s.t, err, "NoSuchEntity", name)
		return nil
	}
	return out
}

// TestEksctlRoleStack plays eksctl's create and delete with its stack, call by
// call; what waits for a status gets it from the first poll.
func TestEksctlRoleStack(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	cl := cp.Register("my-cluster", nil)
	s, ctx, name := newStacks(t, cp, cp.Admin), t.Context(), aws.String(eksctlStack)
	made := must(s.CreateStack(ctx, &cloudformation.CreateStackInput{
		StackName: name, TemplateBody: eksctlTemplate(t, "s3-app-eks-pod-identity-role", s3Read), Capabilities: named(), DisableRollback: aws.Bool(false),
		EnableTerminationProtection: aws.Bool(true), Tags: eksctlTags(),
	}))(t)
	if !strings.HasPrefix(*made.StackId, stackARN+eksctlStack+"/") {
		t.Errorf("id %s", *made.StackId)
	}
	done := must(cloudformation.NewStackCreateCompleteWaiter(s).WaitForOutput(ctx, &cloudformation.DescribeStacksInput{StackName: name}, noWaiting))(t).Stacks[0]
	if s.good["DescribeStacks"] != 1 {
		t.Errorf("%d polls", s.good["DescribeStacks"])
	}
	if !*done.EnableTerminationProtection || !slices.Equal(done.Capabilities, named()) || len(done.Tags) != 2 || *done.Description != "what pods are" || done.CreationTime == nil {
		t.Errorf("stack %+v", done)
	}
	d := s.describe(*made.StackId)
	if len(d.Outputs) != 1 || *d.Outputs[0].OutputKey != "Role1" || *d.Outputs[0].OutputValue != rolesARN+"s3-app-eks-pod-identity-role" {
		t.Errorf("outputs %+v", d.Outputs)
	}
	cl.Associate("s3-app-sa", *d.Outputs[0].OutputValue, nil)
	cl.Exchange(cl.Node(cl.NodeRole(), "node-1"), cl.Token(pod{})).Want(t, 200, "", "")
	attached := must(cp.IAM().ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: aws.String("s3-app-eks-pod-identity-role")}))(t)
	if len(attached.AttachedPolicies) != 1 || *attached.AttachedPolicies[0].PolicyArn != s3Read {
		t.Errorf("attached %+v", attached.AttachedPolicies)
	}
	got := map[string]string{}
	for _, tag := range s.role("s3-app-eks-pod-identity-role").Role.Tags {
		got[*tag.Key] = *tag.Value
	}
	if len(got) != 2 || got["alpha.eksctl.io/cluster-name"] != "my-cluster" {
		t.Errorf("tags of the role: %v", got)
	}

	wantAPIError(t, refusal(s.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: made.StackId})), "ValidationError",
		"Stack ["+*made.StackId+"] cannot be deleted while TerminationProtection is enabled")
	must(s.UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{StackName: made.StackId, EnableTerminationProtection: aws.Bool(false)}))(t)
	must(s.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: made.StackId}))(t)
	_, err := s.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: name})
	wantAPIError(t, err, "ValidationError", "Stack with id "+eksctlStack+" does not exist")
	if err := cloudformation.NewStackDeleteCompleteWaiter(s).Wait(ctx, &cloudformation.DescribeStacksInput{StackName: name}, noWaiting); err != nil {
		t.Errorf("wait for the deletion: %v", err)
	}
	if gone := s.describe(*made.StackId); gone.StackStatus != types.StackStatusDeleteComplete || gone.DeletionTime == nil {
		t.Errorf("deleted stack %+v", gone)
	}
	if s.role("s3-app-eks-pod-identity-role") != nil {
		t.Error("the role is still there")
	}
}

// TestStackRollback: what fails is taken back, and what was there before is
// not touched.
func TestStackRollback(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	s, ctx := newStacks(t, cp, cp.Admin), t.Context()
	cp.Role("taken", podTrust(nil))
	before := s.role("taken")
	made := must(s.CreateStack(ctx, &cloudformation.CreateStackInput{
		StackName: aws.String("app"), Capabilities: named(),
		TemplateBody: template(t, object{"First": roleResource(object{"RoleName": "first"}), "Second": object{
			"Type": "AWS::IAM::Role", "DependsOn": "First", "Properties": object{"RoleName": "taken", "AssumeRolePolicyDocument": podTrust(nil)},
		}}, nil),
	}))(t)
	err := cloudformation.NewStackCreateCompleteWaiter(s).Wait(ctx, &cloudformation.DescribeStacksInput{StackName: made.StackId}, noWaiting)
	if err == nil || strings.Contains(err.Error(), "exceeded max wait time") {
		t.Errorf("wait: %v", err)
	}
	d := s.describe("app")
	if d.StackStatus != types.StackStatusRollbackComplete {
		t.Errorf("status %s", d.StackStatus)
	}
	if s.role("first") != nil {
		t.Error("a rolled back role is still there")
	}
	after := s.role("taken")
	if *after.Role.RoleId != *before.Role.RoleId || len(after.Role.Tags) != len(before.Role.Tags) {
		t.Errorf("the role that was there: %+v, was %+v", after.Role, before.Role)
	}
	events := s.events("app")
	for _, want := range []string{"First CREATE_COMPLETE", "Second CREATE_FAILED", "app ROLLBACK_IN_PROGRESS", "First DELETE_COMPLETE", "app ROLLBACK_COMPLETE"} {
		if !slices.ContainsFunc(events, func(e string) bool { return strings.HasPrefix(e, want) }) {
			t.Errorf("no event %q in\n%s", want, strings.Join(events, "\n"))
		}
	}
	if !strings.Contains(strings.Join(events, "\n"), `Second CREATE_FAILED Resource handler returned message: "Role with name taken already exists."`) {
		t.Errorf("no reason in\n%s", strings.Join(events, "\n"))
	}
	_, err = s.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: aws.String("app"), UsePreviousTemplate: aws.Bool(true), Capabilities: named()})
	wantAPIError(t, err, "ValidationError", "is in ROLLBACK_COMPLETE state and can not be updated.")
	must(s.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: aws.String("app")}))(t)
	if s.role("taken") == nil {
		t.Error("the deletion took a role of others")
	}
}

// errorsAs is errors.As for a pointer to a new T.
func errorsAs[T error](err error) (T, bool) {
	var t T
	ok := errors.As(err, &t)
	return t, ok
}

// TestStackRefusals: the exceptions that the SDK has types for.
func TestStackRefusals(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	s, ctx, app := newStacks(t, cp, cp.Admin), t.Context(), aws.String("app")
	_, err := s.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: app, TemplateBody: eksctlTemplate(t, "r"), Capabilities: unnamed()})
	if x, ok := errorsAs[*types.InsufficientCapabilitiesException](err); !ok || x.ErrorMessage() != "Requires capabilities : [CAPABILITY_NAMED_IAM]" {
		t.Errorf("without the capability: %v", err)
	}
	_, err = s.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: app, TemplateBody: eksctlTemplate(t, "")})
	if x, ok := errorsAs[*types.InsufficientCapabilitiesException](err); !ok || x.ErrorMessage() != "Requires capabilities : [CAPABILITY_IAM]" {
		t.Errorf("without any capability: %v", err)
	}
	in := &cloudformation.CreateStackInput{StackName: app, TemplateBody: eksctlTemplate(t, ""), Capabilities: unnamed(), ClientRequestToken: aws.String("t1")}
	made := s.create(in)
	if again := must(s.CreateStack(ctx, in))(t); *again.StackId != *made.StackId {
		t.Errorf("a repeat made %s", *again.StackId)
	}
	in.ClientRequestToken = aws.String("t2")
	_, err = s.CreateStack(ctx, in)
	if x, ok := errorsAs[*types.AlreadyExistsException](err); !ok || x.ErrorMessage() != "Stack [app] already exists" {
		t.Errorf("a second stack: %v", err)
	}
	for _, tc := range []struct{ name, body, want string }{
		{"another type", controlplanetest.JSON(t, object{"Resources": object{"B": object{"Type": "AWS::S3::Bucket"}}}), "Template format error: Unrecognized resource types: [AWS::S3::Bucket]"},
		{"no JSON", "{", "Template format error"},
		{"a reference to nothing", controlplanetest.JSON(t, object{"Resources": object{"R": roleResource(object{"Path": object{"Ref": "None"}})}}), "Unresolved resource dependencies [None] in the Resources block of the template"},
	} {
		_, err := s.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: aws.String("other"), TemplateBody: &tc.body, Capabilities: named()})
		wantAPIError(t, err, "ValidationError", tc.want)
	}
	wantAPIError(t, refusal(s.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: aws.String("other")})), "ValidationError", "Stack with id other does not exist")
	wantAPIError(t, refusal(s.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: aws.String("other"), UsePreviousTemplate: aws.Bool(true)})), "ValidationError", "Stack [other] does not exist")
	wantAPIError(t, refusal(s.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: app, UsePreviousTemplate: aws.Bool(true), Capabilities: unnamed()})), "ValidationError", "No updates are to be performed.")
	_, err = s.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: aws.String("none"), StackName: app})
	if x, ok := errorsAs[*types.ChangeSetNotFoundException](err); !ok || x.ErrorMessage() != "ChangeSet [none] does not exist" {
		t.Errorf("no change set: %v", err)
	}
}
