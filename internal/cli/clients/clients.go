// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clients owns the CLI's way to a control plane: AWS' own Go clients
// for EKS, IAM and STS, and a small signed client for podid's API. Endpoint,
// CA, region and credentials are found as every AWS SDK finds them, so what
// works for the AWS CLI works here. It refuses to go on without an endpoint:
// AWS itself is never a default, for the CLI makes and deletes roles.
package clients

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Options are what flags say; an empty field leaves it to the environment and
// the shared files.
type Options struct {
	EndpointURL string // http(s) URL of the control plane
	Region      string
	Profile     string
	CABundle    string // file of PEM certificates
}

// Clients speak to one control plane as one caller.
type Clients struct {
	Config aws.Config
	EKS    *eks.Client
	IAM    *iam.Client
	STS    *sts.Client
	Podid  *Podid
}

// A SetupError says what is missing before anything can be called, and what
// to do about it.
type SetupError struct{ Message, Hint string }

func (e *SetupError) Error() string { return e.Message }

// Load finds endpoint, CA, region and credentials by the SDK's default chain,
// options first. Credentials are not fetched yet.
func Load(ctx context.Context, o Options) (*Clients, error) {
	cfg, err := loadConfig(ctx, o)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, &SetupError{"no region is configured", "set AWS_REGION or give --region"}
	}
	c := New(cfg)
	if o.EndpointURL != "" { // beats AWS_ENDPOINT_URL_EKS and the like
		c.EKS = eks.NewFromConfig(cfg, func(e *eks.Options) { e.BaseEndpoint = cfg.BaseEndpoint })
		c.IAM = iam.NewFromConfig(cfg, func(e *iam.Options) { e.BaseEndpoint = cfg.BaseEndpoint })
		c.STS = sts.NewFromConfig(cfg, func(e *sts.Options) { e.BaseEndpoint = cfg.BaseEndpoint })
	}
	return c, nil
}

// LoadUnsigned finds endpoint and CA as Load does, and neither needs nor uses
// credentials and region.
func LoadUnsigned(ctx context.Context, o Options) (*Podid, error) {
	cfg, err := loadConfig(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Podid{Endpoint: aws.ToString(cfg.BaseEndpoint), HTTP: httpClient(cfg), Now: time.Now}, nil
}

func loadConfig(ctx context.Context, o Options) (aws.Config, error) {
	var with []func(*config.LoadOptions) error
	if o.Region != "" {
		with = append(with, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		with = append(with, config.WithSharedConfigProfile(o.Profile))
	}
	if o.CABundle != "" {
		pem, err := os.ReadFile(o.CABundle)
		if err != nil {
			return aws.Config{}, fmt.Errorf("read CA bundle: %w", err)
		}
		with = append(with, config.WithCustomCABundle(bytes.NewReader(pem)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, with...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("load AWS configuration: %w", err)
	}
	if o.EndpointURL != "" {
		cfg.BaseEndpoint = aws.String(o.EndpointURL)
	}
	if aws.ToString(cfg.BaseEndpoint) == "" {
		return aws.Config{}, &SetupError{"no control plane is configured", "set AWS_ENDPOINT_URL or give --endpoint-url; for `podid dev`: . DIR/env"}
	}
	return cfg, nil
}

// New makes clients of a complete configuration: BaseEndpoint, Region,
// Credentials and, for another CA than the system's, HTTPClient.
func New(cfg aws.Config) *Clients {
	return &Clients{
		Config: cfg, EKS: eks.NewFromConfig(cfg), IAM: iam.NewFromConfig(cfg), STS: sts.NewFromConfig(cfg),
		Podid: &Podid{
			Endpoint: aws.ToString(cfg.BaseEndpoint), Region: cfg.Region, Credentials: cfg.Credentials,
			HTTP: httpClient(cfg), Signer: v4.NewSigner(), Now: time.Now,
		},
	}
}
