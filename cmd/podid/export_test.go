// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/google/go-cmp/cmp"

	"podid/internal/cli/clients"
)

// podidIn runs the program in this process against the control plane of env
// and returns its standard output.
func podidIn(t *testing.T, env []string, args ...string) string {
	t.Helper()
	for _, v := range append(env, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true") {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	var out, errs bytes.Buffer
	if status := run(t.Context(), args, os.Environ(), strings.NewReader(""), &out, &errs); status != 0 {
		t.Fatalf("podid %s: status %d\n%s%s", strings.Join(args, " "), status, out.String(), errs.String())
	}
	t.Logf("podid %s\n%s", strings.Join(args, " "), errs.String())
	return out.String()
}

// TestExportRoundTrip exports a control plane, makes a new one of the files
// and exports that: the same text, in each form.
func TestExportRoundTrip(t *testing.T) {
	const everything = "testdata/export/everything.yaml"
	old := startDev(t)
	podidIn(t, old, "create", "pia", "-f", everything)
	podidIn(t, old, "create", "pia", "--cluster", "my-cluster", "--namespace", "shared", "--service-account-name", "one", "--role-name", "shared", "--tags", "a=b")
	podidIn(t, old, "create", "pia", "--cluster", "other", "--namespace", "shared", "--service-account-name", "two",
		"--role-arn", "arn:aws:iam::111122223333:role/shared", "--extend-trust", "--yes")
	podidIn(t, old, "create", "pia", "--cluster", "other", "--namespace", "made-up", "--service-account-name", "name", "--well-known-policies", "autoScaler,imageBuilder")
	dir := filepath.Join(t.TempDir(), "export")
	want := podidIn(t, old, "export")
	list := podidIn(t, old, "export", "-o", "json")
	podidIn(t, old, "export", "--dir", dir)
	golden(t, "testdata/export/export.yaml", want)
	file := filepath.Join(t.TempDir(), "all")

	for name, from := range map[string]string{"yaml": want, "json": list, "directory": ""} {
		t.Run(name, func(t *testing.T) {
			source := dir
			if from != "" {
				source = file
				if err := os.WriteFile(file, []byte(from), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			fresh := startDev(t)
			podidIn(t, fresh, "create", "pia", "-f", source)
			if d := cmp.Diff(want, podidIn(t, fresh, "export")); d != "" {
				t.Error(d)
			}
			if again := podidIn(t, fresh, "create", "pia", "-f", source); strings.Contains(again, "created") {
				t.Errorf("a second time:\n%s", again)
			}
		})
	}
	t.Run("an add-on's association", func(t *testing.T) {
		c, err := clients.Load(t.Context(), clients.Options{}) // of the environment that podidIn has set
		if err != nil {
			t.Fatal(err)
		}
		podidIn(t, old, "create", "role", "csi", "--trust", "pod-identity")
		if _, err := c.EKS.CreateAddon(t.Context(), &eks.CreateAddonInput{
			ClusterName: aws.String("other"), AddonName: aws.String("aws-ebs-csi-driver"),
			PodIdentityAssociations: []types.AddonPodIdentityAssociations{{ServiceAccount: aws.String("ebs-csi-controller-sa"), RoleArn: aws.String("arn:aws:iam::111122223333:role/csi")}},
		}); err != nil {
			t.Fatal(err)
		}
		if got := podidIn(t, old, "export"); got != want {
			t.Error(cmp.Diff(want, got))
		}
	})
	t.Run("one cluster", func(t *testing.T) {
		got := podidIn(t, old, "export", "--cluster", "my-cluster")
		if !strings.Contains(got, "name: my-cluster") || strings.Contains(got, "name: other") || strings.Contains(got, "made-up") {
			t.Error(got)
		}
	})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}
