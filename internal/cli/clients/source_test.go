// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// sharedFiles makes the shared files of one profile, and an environment that
// points at a control plane as `podid dev` exports it.
func sharedFiles(t *testing.T) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(name, []byte("[prod]\naws_access_key_id = AKIDPROD\naws_secret_access_key = x\nregion = eu-west-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"AWS_SHARED_CREDENTIALS_FILE": name, "AWS_CONFIG_FILE": os.DevNull, "AWS_ENDPOINT_URL": "https://localhost:1", "AWS_ENDPOINT_URL_EKS": "https://localhost:2",
		"AWS_CA_BUNDLE": filepath.Join(t.TempDir(), "none.pem"), "AWS_REGION": "us-west-2", "AWS_ACCESS_KEY_ID": "AKIDPODID", "AWS_SECRET_ACCESS_KEY": "y", "AWS_PROFILE": "",
	} {
		t.Setenv(k, v)
	}
}

// TestLoadSource holds that the way to the control plane, which the
// environment says, is not that of the source, and that the environment is as
// before after it.
func TestLoadSource(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		in                    SourceOptions
		key, region, endpoint string
	}{
		{"a profile", SourceOptions{Profile: "prod"}, "AKIDPROD", "eu-west-1", ""},
		{"a profile in another region", SourceOptions{Profile: "prod", Region: "us-east-1"}, "AKIDPROD", "us-east-1", ""},
		{"an endpoint", SourceOptions{Profile: "prod", EndpointURL: "https://aws.example.com"}, "AKIDPROD", "eu-west-1", "https://aws.example.com"},
		{"the environment's caller", SourceOptions{}, "AKIDPODID", "us-west-2", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sharedFiles(t)
			c, err := LoadSource(t.Context(), tc.in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Config.Credentials.Retrieve(t.Context())
			if err != nil || got.AccessKeyID != tc.key || c.Config.Region != tc.region {
				t.Errorf("%s in %s, %v", got.AccessKeyID, c.Config.Region, err)
			}
			for name, endpoint := range map[string]*string{"EKS": c.EKS.Options().BaseEndpoint, "IAM": c.IAM.Options().BaseEndpoint, "STS": c.STS.Options().BaseEndpoint} {
				if aws.ToString(endpoint) != tc.endpoint {
					t.Errorf("%s: endpoint %q", name, aws.ToString(endpoint))
				}
			}
			if os.Getenv("AWS_ENDPOINT_URL") != "https://localhost:1" || os.Getenv("AWS_ACCESS_KEY_ID") != "AKIDPODID" {
				t.Error("the environment was changed")
			}
		})
	}
}

func TestLoadSourceRefuses(t *testing.T) {
	for name, in := range map[string]SourceOptions{
		"no such profile": {Profile: "none"}, "no such CA": {Profile: "prod", CABundle: "none.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			sharedFiles(t)
			if _, err := LoadSource(t.Context(), in); err == nil {
				t.Error("loaded")
			}
		})
	}
}
