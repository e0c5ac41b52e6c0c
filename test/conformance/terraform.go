// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// terraformRows are what Terraform's provider does with an association: by the provider where it is, by its sequence of
// requests everywhere.
func terraformRows() section {
	sec := section{
		ID: "terraform", Title: "Terraform", Clients: []string{"terraform", "sequences"},
		Note: "`aws_eks_pod_identity_association`. The sequence is the provider's, sent by the SDK that it is made of.",
	}
	for _, c := range []struct {
		id, title        string
		binary, sequence func(context.Context, *session) error
	}{
		{"tf-create", "create: a `terraform-…` token, `disableSessionTags: false`, tags read back", tfCreate, tfCreateSequence},
		{"tf-unchanged", "the plan after it is empty", tfUnchanged, tfUnchangedSequence},
		{"tf-role-late", "the role comes late: tried again on `Role provided in the request does not exist`", tfLate, tfLateSequence},
		{"tf-drift", "drift of role and tags is seen and mended", tfDrift, tfDriftSequence},
		{"tf-gone", "what others deleted is made again", tfGone, tfGoneSequence},
		{"tf-import", "import by `cluster,association-id`", tfImport, tfUnchangedSequence},
		{"tf-destroy", "destroy", tfDestroy, tfDestroySequence},
	} {
		sec.Rows = append(sec.Rows, row{c.id, c.title, func(ctx context.Context, s *session) error {
			if s.player.ID == "sequences" {
				return c.sequence(ctx, s)
			}
			return c.binary(ctx, s)
		}})
	}
	return sec
}

func findTerraform(ctx context.Context, b *bed) (version, absent string) {
	if b.o.plugins == "" {
		return "", "TERRAFORM_PLUGINS names no directory of plugins"
	}
	found, err := filepath.Glob(filepath.Join(b.o.plugins, "registry.terraform.io/hashicorp/aws/*/*/terraform-provider-aws*"))
	if err != nil || len(found) == 0 {
		return "", "the AWS provider is not in TERRAFORM_PLUGINS"
	}
	line, err := probe(ctx, b, "terraform", "version")
	if err != nil {
		return "", "it is not installed"
	}
	provider := filepath.Base(filepath.Dir(filepath.Dir(found[len(found)-1])))
	return strings.TrimPrefix(line, "Terraform v") + ", aws provider " + provider, ""
}

// tfConfig is an association, and its role when it is Terraform's to make.
func (s *session) tfConfig(withRole bool) string {
	role, arn := "", fmt.Sprintf("%q", s.roleARN(s.name("late")))
	if withRole {
		arn = "aws_iam_role.app.arn"
		role = fmt.Sprintf("resource \"aws_iam_role\" \"app\" {\n  name               = %q\n  assume_role_policy = %q\n}\n", s.name("app"), podsTrust())
	}
	return fmt.Sprintf(`terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {}

%sresource "aws_eks_pod_identity_association" "app" {
  cluster_name    = %q
  namespace       = %q
  service_account = %q
  role_arn        = %s
  tags            = { team = "data" }
}
`, role, clusterName, s.name("ns"), map[bool]string{true: "app", false: "late"}[withRole], arn)
}

// terraform runs a command in a directory of its own, made and initialised when it is first asked for.
func (s *session) terraform(ctx context.Context, withRole bool, args ...string) (string, error) {
	run := func(dir string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "terraform", args...)
		cmd.Dir = dir
		cmd.Env = append(s.bed.adminEnv(s.witness.url), "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_CLI_ARGS=-no-color")
		return output(cmd)
	}
	dir, err := once(s, fmt.Sprint("terraform ", withRole), func() (string, error) {
		dir, err := os.MkdirTemp(s.bed.dir, "terraform-")
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(s.tfConfig(withRole)), 0o600); err != nil {
			return "", err
		}
		_, err = run(dir, "init", "-input=false", "-plugin-dir="+s.bed.o.plugins)
		return dir, err
	})
	if err != nil {
		return "", err
	}
	s.witness.reset()
	return run(dir, args...)
}

func (s *session) tfApply(ctx context.Context, withRole bool) error {
	_, err := s.terraform(ctx, withRole, "apply", "-auto-approve", "-input=false")
	return err
}

// createRequest reads what the provider sent to make an association.
func (s *session) createRequest() (M, error) {
	for _, e := range s.witness.exchanges() {
		if e.Operation == createPath {
			var sent M
			return sent, decode([]byte(e.Body), &sent)
		}
	}
	return nil, errors.New("no association was asked for")
}

func tfCreate(ctx context.Context, s *session) error {
	if err := s.tfApply(ctx, true); err != nil {
		return err
	}
	sent, err := s.createRequest()
	if err != nil {
		return err
	}
	if token := text(sent, "clientRequestToken"); !strings.HasPrefix(token, "terraform-") {
		return fmt.Errorf("the provider sent the token %q: the sequence is of another release", token)
	}
	// Providers of version 5 do not know it; those of version 6 send it whatever it is.
	if v := field(sent, "disableSessionTags"); v != nil && v != false {
		return fmt.Errorf("the provider sent %s: the sequence is of another release", toJSON(sent))
	}
	a, err := s.found(ctx, "app")
	if err != nil {
		return err
	}
	return want(a, M{"tags": M{"team": "data"}, "roleArn": s.roleARN(s.name("app")), "disableSessionTags": false})
}

func tfUnchanged(ctx context.Context, s *session) error {
	_, err := s.terraform(ctx, true, "plan", "-detailed-exitcode", "-input=false")
	return err
}

// tfLate makes the role when the provider was refused for the first time.
func tfLate(ctx context.Context, s *session) error {
	if _, err := s.terraform(ctx, false, "validate"); err != nil { // initialises, so that the apply alone is waited for
		return err
	}
	done := make(chan error, 1)
	go func() { done <- s.tfApply(ctx, false) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for made := false; ; {
		select {
		case err := <-done:
			if err == nil && !made {
				err = errors.New("the association was made without its role")
			}
			return err
		case <-tick.C:
			if !made && s.witness.count(createPath) > 0 {
				made = true
				if _, err := s.askRole(ctx, "late", podsTrust()); err != nil {
					return errors.Join(err, <-done)
				}
			}
		}
	}
}

func tfDrift(ctx context.Context, s *session) error {
	a, err := s.found(ctx, "app")
	if err != nil {
		return err
	}
	role, err := s.askRole(ctx, "other", podsTrust())
	if err != nil {
		return err
	}
	at := "/clusters/" + clusterName + "/pod-identity-associations/" + text(a, "associationId")
	tags := "/tags/" + strings.NewReplacer(":", "%3A", "/", "%2F").Replace(text(a, "associationArn"))
	for _, st := range []step{
		{Service: "eks", Method: "POST", Path: at, Body: M{"roleArn": role}},
		{Service: "eks", Method: "POST", Path: tags, Body: M{"tags": M{"team": "other", "stray": "1"}}},
	} {
		if err := s.replayStep(ctx, st); err != nil {
			return err
		}
	}
	if _, err := s.terraform(ctx, true, "plan", "-detailed-exitcode", "-input=false"); err == nil || !strings.Contains(err.Error(), "exit status 2") {
		return fmt.Errorf("the plan does not see the drift: %w", err)
	}
	if err := s.tfApply(ctx, true); err != nil {
		return err
	}
	if a, err = s.found(ctx, "app"); err != nil {
		return err
	}
	return want(a, M{"tags": M{"team": "data"}, "roleArn": s.roleARN(s.name("app"))})
}

func tfGone(ctx context.Context, s *session) error {
	a, err := s.found(ctx, "app")
	if err != nil {
		return err
	}
	at := "/clusters/" + clusterName + "/pod-identity-associations/" + text(a, "associationId")
	if err := s.replayStep(ctx, step{Service: "eks", Method: "DELETE", Path: at}); err != nil {
		return err
	}
	if err := s.tfApply(ctx, true); err != nil {
		return err
	}
	again, err := s.found(ctx, "app")
	if err == nil && text(again, "associationId") == text(a, "associationId") {
		err = errors.New("the association has its old id")
	}
	return err
}

func tfImport(ctx context.Context, s *session) error {
	a, err := s.found(ctx, "app")
	if err != nil {
		return err
	}
	const address = "aws_eks_pod_identity_association.app"
	if _, err := s.terraform(ctx, true, "state", "rm", address); err != nil {
		return err
	}
	if _, err := s.terraform(ctx, true, "import", "-input=false", address, clusterName+","+text(a, "associationId")); err != nil {
		return err
	}
	return tfUnchanged(ctx, s)
}

func tfDestroy(ctx context.Context, s *session) error {
	if _, err := s.terraform(ctx, true, "destroy", "-auto-approve", "-input=false"); err != nil {
		return err
	}
	if _, err := s.found(ctx, "app"); err == nil {
		return errors.New("the association is still there")
	}
	return nil
}
