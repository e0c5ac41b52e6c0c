// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// stackRows are CloudFormation, as far as it makes roles and associations.
func stackRows() section {
	return section{
		ID: "cloudformation", Title: "CloudFormation", Clients: sdks,
		Note: "The stack makes a role with a managed policy and an association of it.",
		Rows: []row{
			{"validate-template", "ValidateTemplate: which capabilities it needs", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "cloudformation", "ValidateTemplate", M{"TemplateBody": s.template("")})
				if err != nil {
					return err
				}
				return want(out, M{"Capabilities": []any{"CAPABILITY_NAMED_IAM"}})
			}},
			{"capabilities", "400 InsufficientCapabilitiesException", func(ctx context.Context, s *session) error {
				in := M{"StackName": s.name("stack"), "TemplateBody": s.template("")}
				err := s.refused(ctx, "cloudformation", "CreateStack", in, "InsufficientCapabilitiesException", 400, "Requires capabilities : [CAPABILITY_NAMED_IAM]")
				if errors.Is(err, errAbsent) {
					return err
				}
				return withoutType(err)
			}},
			{"create-stack", "CreateStack: the role is there when it answers", playCreateStack},
			{"describe-stacks", "DescribeStacks by name and by ARN: outputs, tags, capabilities", playDescribeStacks},
			{"list-stacks", "ListStacks", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "cloudformation", "ListStacks", M{"StackStatusFilter": []string{"CREATE_COMPLETE"}})
				if err == nil && !strings.Contains(toJSON(out), `"`+s.name("stack")+`"`) {
					err = fmt.Errorf("the stack is not in %s", tail(toJSON(out), 300))
				}
				return err
			}},
			{"resources", "DescribeStackResources, ListStackResources", playResources},
			{"events", "DescribeStackEvents", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "cloudformation", "DescribeStackEvents", M{"StackName": s.name("stack")})
				if err != nil {
					return err
				}
				return want(out, M{"StackEvents.0.ResourceStatus": "CREATE_COMPLETE", "StackEvents.0.ResourceType": "AWS::CloudFormation::Stack"})
			}},
			{"get-template", "GetTemplate", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "cloudformation", "GetTemplate", M{"StackName": s.name("stack")})
				if err != nil {
					return err
				}
				return sameDocument(field(out, "TemplateBody"), s.template(""))
			}},
			{"stack-exists", "400 AlreadyExistsException", func(ctx context.Context, s *session) error {
				return withoutType(s.refused(ctx, "cloudformation", "CreateStack", s.stack(), "AlreadyExistsException", 400, "already exists"))
			}},
			{"no-changes", "a change set without changes is FAILED, and says so", playNoChanges},
			{"change-set", "CreateChangeSet, DescribeChangeSet, ExecuteChangeSet", playChangeSet},
			{"update-stack", "UpdateStack", playUpdateStack},
			{"no-update", "400 ValidationError: `No updates are to be performed.`", func(ctx context.Context, s *session) error {
				in := with(s.stack(), M{"TemplateBody": s.template("updated")})
				delete(in, "EnableTerminationProtection")
				return s.refused(ctx, "cloudformation", "UpdateStack", in, "ValidationError", 400, "No updates are to be performed.")
			}},
			{"protection", "UpdateTerminationProtection, and DeleteStack before it is refused", playProtection},
			{"delete-stack", "DeleteStack: role and association go; `Stack with id … does not exist`", playDeleteStack},
			{"rollback", "a create that fails leaves nothing, and the events say why", playRollback},
			{"stack-denied", "a caller with `cloudformation:*` alone makes no role", playStackDenied},
		},
	}
}

// withoutType forgives SDKs that name the type of CloudFormation's errors otherwise than the wire does.
func withoutType(err error) error {
	if err != nil && strings.Contains(err.Error(), "the client made a ") {
		return nil
	}
	return err
}

// template is a role, with one managed policy, and an association. A description makes it another one.
func (s *session) template(description string) string {
	return toJSON(M{
		"AWSTemplateFormatVersion": "2010-09-09",
		"Resources": M{
			"Role1": M{"Type": "AWS::IAM::Role", "Properties": M{
				"RoleName": s.name("stacked"), "ManagedPolicyArns": []string{s3ReadOnly}, "Description": "made by a stack " + description,
				"AssumeRolePolicyDocument": M{"Version": "2012-10-17", "Statement": []M{{
					"Effect": "Allow", "Principal": M{"Service": "pods.eks.amazonaws.com"}, "Action": []string{"sts:AssumeRole", "sts:TagSession"},
				}}},
			}},
			"Association": M{"Type": "AWS::EKS::PodIdentityAssociation", "Properties": M{
				"ClusterName": clusterName, "Namespace": s.name("stack"), "ServiceAccount": "app", "RoleArn": M{"Fn::GetAtt": []string{"Role1", "Arn"}},
			}},
		},
		"Outputs": M{"Role1": M{"Value": M{"Fn::GetAtt": "Role1.Arn"}}},
	})
}

func (s *session) stack() M {
	return M{
		"StackName": s.name("stack"), "TemplateBody": s.template(""), "Capabilities": []string{"CAPABILITY_NAMED_IAM"},
		"Tags": []M{{"Key": "team", "Value": "data"}}, "EnableTerminationProtection": true,
	}
}

func (s *session) stackAssociations(ctx context.Context) (int, error) {
	out, err := s.do(ctx, "eks", "ListPodIdentityAssociations", M{"clusterName": clusterName, "namespace": s.name("stack")})
	return len(list(out, "associations")), err
}

func playCreateStack(ctx context.Context, s *session) error {
	out, err := s.do(ctx, "cloudformation", "CreateStack", s.stack())
	if err != nil {
		return err
	}
	id := text(out, "StackId")
	if !strings.HasPrefix(id, fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/", s.bed.region, s.bed.account, s.name("stack"))) {
		return fmt.Errorf("StackId is %q", id)
	}
	s.made["stack"] = id
	if out, err = s.do(ctx, "iam", "ListAttachedRolePolicies", M{"RoleName": s.name("stacked")}); err != nil {
		return err
	}
	if n, err := s.stackAssociations(ctx); err != nil || n != 1 {
		return fmt.Errorf("%d associations (%w)", n, err)
	}
	return want(out, M{"AttachedPolicies.0.PolicyArn": s3ReadOnly})
}

func playDescribeStacks(ctx context.Context, s *session) error {
	for _, name := range []any{s.name("stack"), s.made["stack"]} {
		out, err := s.do(ctx, "cloudformation", "DescribeStacks", M{"StackName": name})
		if err != nil {
			return err
		}
		if err := recent(field(out, "Stacks.0.CreationTime")); err != nil {
			return err
		}
		if err := want(out, M{
			"Stacks.0.StackId": s.made["stack"], "Stacks.0.StackName": s.name("stack"), "Stacks.0.StackStatus": "CREATE_COMPLETE",
			"Stacks.0.Outputs.0.OutputKey": "Role1", "Stacks.0.Outputs.0.OutputValue": s.roleARN(s.name("stacked")),
			"Stacks.0.Tags": []M{{"Key": "team", "Value": "data"}}, "Stacks.0.Capabilities": []any{"CAPABILITY_NAMED_IAM"},
			"Stacks.0.EnableTerminationProtection": true,
		}); err != nil {
			return err
		}
	}
	return nil
}

func playResources(ctx context.Context, s *session) error {
	out, err := s.do(ctx, "cloudformation", "DescribeStackResources", M{"StackName": s.name("stack"), "LogicalResourceId": "Role1"})
	if err != nil {
		return err
	}
	if err := want(out, M{"StackResources.0.PhysicalResourceId": s.name("stacked"), "StackResources.0.ResourceType": "AWS::IAM::Role"}); err != nil {
		return err
	}
	if out, err = s.do(ctx, "cloudformation", "ListStackResources", M{"StackName": s.name("stack")}); err != nil {
		return err
	}
	if n := len(list(out, "StackResourceSummaries")); n != 2 {
		return fmt.Errorf("%d resources are listed, want 2", n)
	}
	return nil
}

// changeSet makes a change set of the session's stack and describes it.
func (s *session) changeSet(ctx context.Context, name, template string) (M, error) {
	in := M{
		"StackName": s.name("stack"), "ChangeSetName": name, "ChangeSetType": "UPDATE", "TemplateBody": template,
		"Capabilities": []string{"CAPABILITY_NAMED_IAM"}, "Tags": []M{{"Key": "team", "Value": "data"}},
	}
	if _, err := s.do(ctx, "cloudformation", "CreateChangeSet", in); err != nil {
		return nil, err
	}
	return s.do(ctx, "cloudformation", "DescribeChangeSet", M{"StackName": s.name("stack"), "ChangeSetName": name})
}

func playNoChanges(ctx context.Context, s *session) error {
	out, err := s.changeSet(ctx, "none", s.template(""))
	if err != nil {
		return err
	}
	if reason := text(out, "StatusReason"); !strings.Contains(reason, "The submitted information didn't contain changes") {
		return fmt.Errorf("StatusReason is %q", reason)
	}
	if err := want(out, M{"Status": "FAILED"}); err != nil {
		return err
	}
	_, err = s.do(ctx, "cloudformation", "DeleteChangeSet", M{"StackName": s.name("stack"), "ChangeSetName": "none"})
	return err
}

func playChangeSet(ctx context.Context, s *session) error {
	out, err := s.changeSet(ctx, "some", s.template("by a change set"))
	if err != nil {
		return err
	}
	if err := want(out, M{"Status": "CREATE_COMPLETE", "ExecutionStatus": "AVAILABLE", "Changes.0.ResourceChange.LogicalResourceId": "Role1"}); err != nil {
		return err
	}
	if _, err := s.do(ctx, "cloudformation", "ExecuteChangeSet", M{"StackName": s.name("stack"), "ChangeSetName": "some"}); err != nil {
		return err
	}
	return s.stacked(ctx, "by a change set")
}

// stacked compares the role and the stack after an update.
func (s *session) stacked(ctx context.Context, description string) error {
	out, err := s.do(ctx, "cloudformation", "DescribeStacks", M{"StackName": s.name("stack")})
	if err != nil {
		return err
	}
	if err := want(out, M{"Stacks.0.StackStatus": "UPDATE_COMPLETE"}); err != nil {
		return err
	}
	if out, err = s.do(ctx, "iam", "GetRole", M{"RoleName": s.name("stacked")}); err != nil {
		return err
	}
	return want(out, M{"Role.Description": "made by a stack " + description})
}

func playUpdateStack(ctx context.Context, s *session) error {
	in := with(s.stack(), M{"TemplateBody": s.template("updated")})
	delete(in, "EnableTerminationProtection")
	if _, err := s.do(ctx, "cloudformation", "UpdateStack", in); err != nil {
		return err
	}
	return s.stacked(ctx, "updated")
}

func playProtection(ctx context.Context, s *session) error {
	one := M{"StackName": s.name("stack")}
	if err := s.refused(ctx, "cloudformation", "DeleteStack", one, "ValidationError", 400, "cannot be deleted while TerminationProtection is enabled"); err != nil {
		return err
	}
	out, err := s.do(ctx, "cloudformation", "UpdateTerminationProtection", with(one, M{"EnableTerminationProtection": false}))
	if err != nil {
		return err
	}
	return want(out, M{"StackId": s.made["stack"]})
}

func playDeleteStack(ctx context.Context, s *session) error {
	one := M{"StackName": s.name("stack")}
	if _, err := s.do(ctx, "cloudformation", "DeleteStack", one); err != nil {
		return err
	}
	if err := s.refused(ctx, "iam", "GetRole", M{"RoleName": s.name("stacked")}, "NoSuchEntity", 404, ""); err != nil {
		return err
	}
	if n, err := s.stackAssociations(ctx); err != nil || n != 0 {
		return fmt.Errorf("%d associations are left (%w)", n, err)
	}
	return s.refused(ctx, "cloudformation", "DescribeStacks", one, "ValidationError", 400, "Stack with id "+s.name("stack")+" does not exist")
}

func playRollback(ctx context.Context, s *session) error {
	if _, err := s.podRole(ctx); err != nil {
		return err
	}
	// The association is of a role that does not trust pods; Role1 is made before it and has to go again.
	template := strings.Replace(s.template(""), `"Service":"pods.eks.amazonaws.com"`, `"Service":"ec2.amazonaws.com"`, 1)
	in := with(s.stack(), M{"StackName": s.name("failing"), "TemplateBody": template, "EnableTerminationProtection": false})
	if _, err := s.do(ctx, "cloudformation", "CreateStack", in); err != nil {
		return err
	}
	one := M{"StackName": s.name("failing")}
	out, err := s.do(ctx, "cloudformation", "DescribeStacks", one)
	if err != nil {
		return err
	}
	if err := want(out, M{"Stacks.0.StackStatus": "ROLLBACK_COMPLETE"}); err != nil {
		return err
	}
	if out, err = s.do(ctx, "cloudformation", "DescribeStackEvents", one); err != nil {
		return err
	}
	if !strings.Contains(toJSON(out), "Trust policy of the role provided is invalid.") {
		return fmt.Errorf("the events do not say why: %s", tail(toJSON(out), 600))
	}
	if err := s.refused(ctx, "iam", "GetRole", M{"RoleName": s.name("stacked")}, "NoSuchEntity", 404, ""); err != nil {
		return err
	}
	_, err = s.do(ctx, "cloudformation", "DeleteStack", one)
	return err
}

func playStackDenied(ctx context.Context, s *session) error {
	user := M{"UserName": s.name("stacker")}
	if _, err := s.do(ctx, "iam", "CreateUser", user); err != nil {
		return err
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudformation:*","Resource":"*"}]}`
	if _, err := s.do(ctx, "iam", "PutUserPolicy", with(user, M{"PolicyName": "stacks", "PolicyDocument": policy})); err != nil {
		return err
	}
	key, err := s.do(ctx, "iam", "CreateAccessKey", user)
	if err != nil {
		return err
	}
	who, err := s.as(ctx, text(key, "AccessKey.AccessKeyId"), text(key, "AccessKey.SecretAccessKey"), "")
	if err != nil {
		return err
	}
	in := with(s.stack(), M{"StackName": s.name("denied"), "EnableTerminationProtection": false})
	if _, err := s.doAs(ctx, who, "cloudformation", "CreateStack", in); err != nil {
		return err
	}
	out, err := s.do(ctx, "cloudformation", "DescribeStackEvents", M{"StackName": s.name("denied")})
	if err != nil {
		return err
	}
	if !strings.Contains(toJSON(out), "is not authorized to perform: iam:CreateRole") {
		return fmt.Errorf("the events do not say why: %s", tail(toJSON(out), 600))
	}
	return s.refused(ctx, "iam", "GetRole", M{"RoleName": s.name("stacked")}, "NoSuchEntity", 404, "")
}
