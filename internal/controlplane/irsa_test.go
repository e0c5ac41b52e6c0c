// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/controlplane/controlplanetest"
)

// TestIRSA: a program as IRSA's webhook would start it, with a role and a token
// file in its environment and nothing else, is that role by the SDK's default
// chain.
func TestIRSA(t *testing.T) {
	w := newWorld(t, controlplanetest.Options{})
	role := w.Role("irsa", providerTrust(w.cl, "irsa"))
	w.RolePolicy("irsa", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"eks:ListClusters"}, "*", nil)))
	file := filepath.Join(t.TempDir(), "token")
	write := func(p pod) {
		t.Helper()
		if err := os.WriteFile(file, []byte(w.cl.Token(p)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(pod{ServiceAccount: "irsa", Audience: "sts.amazonaws.com"})
	none := filepath.Join(t.TempDir(), "none")
	for k, v := range map[string]string{
		"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_SESSION_NAME": "irsa-app", "AWS_REGION": controlplanetest.Region,
		// The chain's own STS client is made before AWS_ENDPOINT_URL counts.
		"AWS_ENDPOINT_URL": w.Endpoint, "AWS_ENDPOINT_URL_STS": w.Endpoint, "AWS_CA_BUNDLE": w.CAFile, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none,
	} {
		t.Setenv(k, v)
	}
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		t.Fatal(err)
	}
	id, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || *id.Arn != "arn:aws:sts::111122223333:assumed-role/irsa/irsa-app" {
		t.Fatalf("%+v, %v", id, err)
	}
	if _, err := eks.NewFromConfig(cfg).ListClusters(ctx, &eks.ListClustersInput{}); err != nil {
		t.Error(err)
	}
	_, err = eks.NewFromConfig(cfg).DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &w.cl.Name})
	wantAPIError(t, err, "AccessDeniedException", "eks:DescribeCluster")
	if e := w.LastAudit("AssumeRoleWithWebIdentity"); e.UserIdentity.UserName != "system:serviceaccount:s3-app-ns:irsa" {
		t.Errorf("audit %+v", e.UserIdentity)
	}
	// A pod of another service account does not get the role.
	write(pod{ServiceAccount: "stranger", Audience: "sts.amazonaws.com"})
	cfg, err = config.LoadDefaultConfig(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	wantAPIError(t, err, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
}
