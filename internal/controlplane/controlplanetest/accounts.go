// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplanetest

import (
	"context"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// NewAccount makes a further account and returns the control plane as its
// admin has it.
func (c *ControlPlane) NewAccount(id string) *ControlPlane {
	c.tb.Helper()
	a, err := c.Call(context.Background(), c.Admin, "podid", http.MethodPost, "/podid/v1/accounts", map[string]string{"accountId": id})
	if err != nil || a.Status != http.StatusOK {
		c.tb.Fatalf("create account %s: %v, %d %s", id, err, a.Status, a.Raw)
	}
	key, ok := a.Body["admin"].(map[string]any)
	if !ok {
		c.tb.Fatalf("create account %s: answer has no admin", id)
	}
	out := *c
	out.AccountID = id
	out.AdminID, _ = key["accessKeyId"].(string)
	out.Secret, _ = key["secretAccessKey"].(string)
	out.Admin = credentials.NewStaticCredentialsProvider(out.AdminID, out.Secret, "")
	return &out
}

// Policy makes a managed policy and returns its ARN.
func (c *ControlPlane) Policy(name string, document any) string {
	c.tb.Helper()
	text := JSON(c.tb, document)
	out, err := c.IAM().CreatePolicy(context.Background(), &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: &text})
	if err != nil {
		c.tb.Fatal(err)
	}
	return *out.Policy.Arn
}

// DeleteUser removes a user with all that User and UserPolicy gave it.
func (c *ControlPlane) DeleteUser(name string) {
	c.tb.Helper()
	ctx := context.Background()
	keys, err := c.IAM().ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &name})
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, k := range keys.AccessKeyMetadata {
		if _, err := c.IAM().DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &name, AccessKeyId: k.AccessKeyId}); err != nil {
			c.tb.Fatal(err)
		}
	}
	policies, err := c.IAM().ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: &name})
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, p := range policies.PolicyNames {
		if _, err := c.IAM().DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &name, PolicyName: &p}); err != nil {
			c.tb.Fatal(err)
		}
	}
	if _, err := c.IAM().DeleteUser(ctx, &iam.DeleteUserInput{UserName: &name}); err != nil {
		c.tb.Fatal(err)
	}
}

// DeleteRole removes a role with the policies that Role attached.
func (c *ControlPlane) DeleteRole(name string) {
	c.tb.Helper()
	ctx := context.Background()
	out, err := c.IAM().ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, p := range out.AttachedPolicies {
		if _, err := c.IAM().DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &name, PolicyArn: p.PolicyArn}); err != nil {
			c.tb.Fatal(err)
		}
	}
	if _, err := c.IAM().DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name}); err != nil {
		c.tb.Fatal(err)
	}
}
