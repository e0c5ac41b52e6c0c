// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podenv

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuild(t *testing.T) {
	settings := Settings{AgentEndpoint: "http://127.0.0.1:1234/", TokenFile: "/t/token", Region: "us-west-2"}
	always := []string{
		"AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_CONFIG_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true", "AWS_STS_REGIONAL_ENDPOINTS=regional",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:1234/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/t/token",
	}
	regions := []string{"AWS_REGION=us-west-2", "AWS_DEFAULT_REGION=us-west-2"}
	for _, tc := range []struct {
		name   string
		in     []string
		change func(*Settings)
		want   []string
	}{
		{"nothing set", nil, nil, slices.Concat(regions, always)},
		{"what is no setting of AWS stays", []string{"HOME=/people/a", "PATH=/bin", "EMPTY=", "odd"}, nil, slices.Concat([]string{"HOME=/people/a", "PATH=/bin", "EMPTY=", "odd"}, regions, always)},
		{"all credentials go", []string{
			"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_SESSION_TOKEN=c", "AWS_SECURITY_TOKEN=d", "AWS_PROFILE=e", "AWS_DEFAULT_PROFILE=f",
			"AWS_ROLE_ARN=g", "AWS_WEB_IDENTITY_TOKEN_FILE=h", "AWS_ROLE_SESSION_NAME=i", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=j",
			"AWS_CONTAINER_CREDENTIALS_FULL_URI=k", "AWS_CONTAINER_AUTHORIZATION_TOKEN=l", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=m",
			"AWS_SHARED_CREDENTIALS_FILE=n", "AWS_CONFIG_FILE=o", "AWS_EC2_METADATA_DISABLED=false", "AWS_ACCOUNT_ID=1", "AWS_BEARER_TOKEN_BEDROCK=p",
			"AWS_STS_REGIONAL_ENDPOINTS=legacy", "AWS_CREDENTIAL_EXPIRATION=q", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://x",
		}, nil, slices.Concat(regions, always)},
		{
			"endpoint, CA and region stay",
			[]string{"AWS_ENDPOINT_URL=https://a", "AWS_ENDPOINT_URL_STS=https://b", "AWS_CA_BUNDLE=/ca", "NODE_EXTRA_CA_CERTS=/ca", "AWS_REGION=eu-west-1"},
			nil,
			slices.Concat([]string{"AWS_ENDPOINT_URL=https://a", "AWS_ENDPOINT_URL_STS=https://b", "AWS_CA_BUNDLE=/ca", "NODE_EXTRA_CA_CERTS=/ca", "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=us-west-2"}, always),
		},
		{
			"flags replace endpoint and CA",
			[]string{"AWS_ENDPOINT_URL=https://a", "AWS_CA_BUNDLE=/ca"},
			func(s *Settings) { s.EndpointURL, s.CABundle = "https://c", "/cb" },
			slices.Concat(regions, []string{"AWS_ENDPOINT_URL=https://c", "AWS_CA_BUNDLE=/cb", "NODE_EXTRA_CA_CERTS=/cb"}, always),
		},
		{"no region known", nil, func(s *Settings) { s.Region = "" }, always},
		{
			"a proxy is bypassed",
			[]string{"HTTP_PROXY=http://proxy", "NO_PROXY=a.example,b.example"},
			nil,
			slices.Concat([]string{"HTTP_PROXY=http://proxy"}, regions, always, []string{"NO_PROXY=a.example,b.example,127.0.0.1", "no_proxy=127.0.0.1"}),
		},
		{
			"bypassed already",
			[]string{"https_proxy=http://proxy", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"},
			nil,
			slices.Concat([]string{"https_proxy=http://proxy", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"}, regions, always),
		},
		{
			"the IPv6 address of an agent",
			[]string{"ALL_PROXY=socks5://proxy"},
			func(s *Settings) { s.AgentEndpoint = "http://[fd00:ec2::23]" },
			slices.Concat([]string{"ALL_PROXY=socks5://proxy"}, regions, always[:4], []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://[fd00:ec2::23]/v1/credentials", always[5], "NO_PROXY=fd00:ec2::23", "no_proxy=fd00:ec2::23"}),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := settings
			if tc.change != nil {
				tc.change(&s)
			}
			before := slices.Clone(tc.in)
			if d := cmp.Diff(tc.want, Build(tc.in, s)); d != "" {
				t.Error(d)
			}
			if !slices.Equal(before, tc.in) {
				t.Error("the caller's environment was changed")
			}
		})
	}
}
