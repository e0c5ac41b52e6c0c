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

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
	"podid/internal/dev/apiserver"
)

// register makes cluster and node role as the admin, over the wire like
// anybody, unless an earlier run did. It returns the stand-in for its API
// server, which listens and is yet to run, and the node role's ARN.
func (d *process) register(ctx context.Context, admin credentials, name string) (k *apiServer, roleARN string, err error) {
	keys, err := d.issuers[name].jwks()
	if err != nil {
		return nil, "", err
	}
	c := clients.New(aws.Config{
		Region: d.cfg.Region, BaseEndpoint: aws.String(d.endpoint),
		Credentials: awscredentials.NewStaticCredentialsProvider(admin.id, admin.secret.Reveal(), ""),
		HTTPClient:  &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS12}}},
	})
	k, err = d.newAPIServer(name)
	if err != nil {
		return nil, "", err
	}
	endpoint, ca := k.Endpoint(), k.authority()
	out, err := setup.RegisterCluster(ctx, c, setup.ClusterInput{
		Name: name, Issuer: issuerURL, JWKS: keys, Version: apiserver.Version, Endpoint: endpoint, CA: ca, AgentNamespace: agentNamespace, AgentServiceAccount: agentServiceAccount,
	})
	switch {
	case err == nil:
		roleARN = out.NodeRoleARN
	case !clients.IsConflict(err):
		return nil, "", errors.Join(err, k.Close())
	default:
		if roleARN, err = again(ctx, c, name, endpoint, ca); err != nil {
			return nil, "", errors.Join(err, k.Close())
		}
	}
	if err := k.admit(ctx, c, name); err != nil {
		return nil, "", errors.Join(err, k.Close())
	}
	return k, roleARN, nil
}

// again says where the API server of a cluster is now: port and certificate
// are others than at the last start.
func again(ctx context.Context, c *clients.Clients, name, endpoint, ca string) (roleARN string, err error) {
	if _, err := c.Podid.UpdateCluster(ctx, name, clients.UpdateInput{Version: aws.String(apiserver.Version), Endpoint: &endpoint, CertificateAuthority: &ca}); err != nil {
		return "", err
	}
	role, err := setup.DescribeRole(ctx, c, setup.NodeRoleName(name))
	if err != nil {
		return "", err
	}
	return aws.ToString(role.Arn), nil
}
