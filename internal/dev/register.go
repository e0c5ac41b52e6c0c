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

// register makes cluster and roles as the admin, over the wire like anybody,
// as far as an earlier run did not. It returns the stand-in for its API
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
	// Port and certificate of the API server are others than at the last start.
	out, err := setup.EnsureCluster(ctx, c, setup.ClusterInput{
		Name: name, Issuer: issuerURL, JWKS: keys, Version: apiserver.Version, Endpoint: endpoint, CA: ca, AgentNamespace: agentNamespace, AgentServiceAccount: agentServiceAccount,
	})
	if err == nil {
		err = k.admit(ctx, c, name)
	}
	if err != nil {
		return nil, "", errors.Join(err, k.Close())
	}
	return k, out.NodeRoleARN, nil
}
