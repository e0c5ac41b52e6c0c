// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"podid/internal/cli/clients"
	"podid/internal/cli/trust"
)

// register makes cluster and node role as the admin, over the wire like
// anybody, unless an earlier run did.
func (d *process) register(ctx context.Context, admin credentials, name string) (roleARN string, err error) {
	keys, err := d.issuers[name].jwks()
	if err != nil {
		return "", err
	}
	c := clients.New(aws.Config{
		Region: d.cfg.Region, BaseEndpoint: aws.String(d.endpoint),
		Credentials: awscredentials.NewStaticCredentialsProvider(admin.id, admin.secret.Reveal(), ""),
		HTTPClient:  &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS12}}},
	})
	cl, err := c.Podid.RegisterCluster(ctx, clients.RegisterInput{Name: name, Issuer: issuerURL, JWKS: keys})
	if code(err) == "ResourceInUseException" {
		cl, err = c.Podid.DescribeCluster(ctx, name)
	}
	if err != nil {
		return "", err
	}
	return nodeRole(ctx, c.IAM, cl)
}

func nodeRole(ctx context.Context, c *iam.Client, cl *clients.Cluster) (string, error) {
	name := "podid-node-" + cl.Name
	if out, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: &name}); err == nil {
		return *out.Role.Arn, nil
	} else if code(err) != "NoSuchEntity" {
		return "", err
	}
	boundary, err := c.CreatePolicy(ctx, &iam.CreatePolicyInput{
		PolicyName: aws.String("podid-node-boundary-" + cl.Name), PolicyDocument: aws.String(trust.NodeBoundary(cl.Arn)),
	})
	if err != nil {
		return "", err
	}
	role, err := c.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: &name, AssumeRolePolicyDocument: aws.String(trust.ForAgent(cl.ProviderArn, agentNamespace, agentServiceAccount)),
		PermissionsBoundary: boundary.Policy.Arn, Tags: []types.Tag{{Key: aws.String("podid.dev/cluster"), Value: &cl.Name}},
	})
	if err != nil {
		return "", err
	}
	_, err = c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")})
	return *role.Role.Arn, err
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
