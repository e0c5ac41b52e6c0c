// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

// register makes cluster and node role as the admin, over the wire like
// anybody, unless an earlier run did. It returns the node role's ARN.
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
	pem, err := os.ReadFile(d.caFile)
	if err != nil {
		return "", err
	}
	// This process stands for the cluster's API server, so its address is that
	// of the endpoint; clients of DescribeCluster want one.
	ca := base64.StdEncoding.EncodeToString(pem)
	out, err := setup.RegisterCluster(ctx, c, setup.ClusterInput{
		Name: name, Issuer: issuerURL, JWKS: keys, Endpoint: d.endpoint, CA: ca, AgentNamespace: agentNamespace, AgentServiceAccount: agentServiceAccount,
	})
	if err == nil {
		return out.NodeRoleARN, nil
	}
	if !clients.IsConflict(err) {
		return "", err
	}
	// The port may be another than at the last start.
	if _, err := c.Podid.UpdateCluster(ctx, name, clients.UpdateInput{Endpoint: &d.endpoint, CertificateAuthority: &ca}); err != nil {
		return "", err
	}
	role, err := setup.DescribeRole(ctx, c, setup.NodeRoleName(name))
	if err != nil {
		return "", err
	}
	return aws.ToString(role.Arn), nil
}
