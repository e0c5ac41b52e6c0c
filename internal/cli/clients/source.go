// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// SourceOptions say from which account of AWS something is read.
type SourceOptions struct {
	Profile     string // of the shared AWS files; "" for what the environment has
	Region      string
	EndpointURL string // AWS itself without it
	CABundle    string // file of PEM certificates; the system's without it
}

// LoadSource makes clients of an account that is only read, AWS itself by
// default. What the environment says about endpoints and CA is the control
// plane's and does not count here; with a profile, neither does what it says
// about credentials and region. The environment is changed for the time of the
// call, as the SDK takes it from there and from nowhere else: call it before
// anything runs beside. The clients cannot call podid's own API.
func LoadSource(ctx context.Context, o SourceOptions) (*Clients, error) {
	defer hide(func(name string) bool { return ofControlPlane(name, o.Profile != "") })()
	var with []func(*config.LoadOptions) error
	if o.Profile != "" {
		with = append(with, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Region != "" {
		with = append(with, config.WithRegion(o.Region))
	}
	if o.EndpointURL != "" {
		with = append(with, config.WithBaseEndpoint(o.EndpointURL))
	}
	if o.CABundle != "" {
		pem, err := os.ReadFile(o.CABundle)
		if err != nil {
			return nil, fmt.Errorf("read CA bundle of the source: %w", err)
		}
		with = append(with, config.WithCustomCABundle(bytes.NewReader(pem)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, with...)
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration of the source: %w", err)
	}
	if cfg.Region == "" {
		return nil, &SetupError{"no region of the source is configured", "give --from-region, or a --from-profile with a region"}
	}
	if cfg.Credentials, err = fetched(ctx, cfg.Credentials); err != nil {
		return nil, fmt.Errorf("get credentials of the source: %w", err)
	}
	return &Clients{Config: cfg, EKS: eks.NewFromConfig(cfg), IAM: iam.NewFromConfig(cfg), STS: sts.NewFromConfig(cfg)}, nil
}

// fetched gets credentials while the environment is hidden; a program that a
// profile names must not see the control plane's either.
func fetched(ctx context.Context, p aws.CredentialsProvider) (aws.CredentialsProvider, error) {
	_, err := p.Retrieve(ctx)
	return p, err
}

// ofControlPlane reports whether a variable of the environment says how to
// reach the control plane, and, when that does not count either, as whom.
func ofControlPlane(name string, caller bool) bool {
	if strings.HasPrefix(name, "AWS_ENDPOINT_URL") || name == "AWS_CA_BUNDLE" {
		return true
	}
	return caller && (slices.Contains([]string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE",
		"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
	}, name) || strings.HasPrefix(name, "AWS_CONTAINER_"))
}

// hide takes variables out of the environment until the function that it
// returns is called.
func hide(hidden func(string) bool) (show func()) {
	var back []func()
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if !hidden(name) || os.Unsetenv(name) != nil {
			continue
		}
		back = append(back, func() { _ = os.Setenv(name, value) }) // the name was good before
	}
	return func() {
		for _, f := range back {
			f()
		}
	}
}
