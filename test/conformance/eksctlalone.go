// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// eksctlAloneRows are eksctl against plain `podid dev`, whose own API server asks podid's webhook for the caller.
func eksctlAloneRows() section {
	return section{
		ID: "eksctl-alone", Title: "eksctl and `podid dev`, nothing between or beside them", Clients: []string{"eksctl"},
		Note: "With the exports alone: the cluster's API server is the one of `podid dev`, and takes eksctl's `k8s-aws-v1.` tokens.",
		Rows: []row{
			{"alone-create", "the textbook's command, with `--create-service-account`", aloneCreate},
			{"alone-pod", "a pod of the service account is the role", alonePod},
			{"alone-delete", "`delete podidentityassociation`", aloneDelete},
		},
	}
}

// alone runs eksctl with podid's own endpoint: its token for Kubernetes names the STS that it was made for.
func (s *session) alone(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.bed.o.eksctl, args...)
	cmd.Env = s.bed.adminEnv(s.bed.env["AWS_ENDPOINT_URL"])
	said, err := output(cmd)
	if err != nil && (strings.Contains(err.Error(), "InvalidAction") || strings.Contains(err.Error(), "UnknownOperationException")) {
		return said, fmt.Errorf("%w: %w", errAbsent, err)
	}
	return said, err
}

func (s *session) aloneFlags() []string {
	return []string{"--cluster", otherName, "--namespace", s.name("ns"), "--service-account-name", "alone"}
}

func aloneCreate(ctx context.Context, s *session) error {
	args := append([]string{"create", "podidentityassociation"}, s.aloneFlags()...)
	_, err := s.alone(ctx, append(args, "--role-name", s.name("alone"), "--permission-policy-arns", s3ReadOnly, "--create-service-account")...)
	return err
}

func alonePod(ctx context.Context, s *session) error {
	args := append([]string{"exec"}, s.aloneFlags()...)
	said, err := s.bed.podid(ctx, append(args, "--", s.bed.o.podid, "whoami", "-o", "json")...)
	if err == nil && !strings.Contains(said, "assumed-role/"+s.name("alone")+"/") {
		err = fmt.Errorf("the pod is %s", said)
	}
	return err
}

func aloneDelete(ctx context.Context, s *session) error {
	if _, err := s.alone(ctx, append([]string{"delete", "podidentityassociation"}, s.aloneFlags()...)...); err != nil {
		return err
	}
	if _, err := s.ask(ctx, "iam", "GetRole", map[string]string{"RoleName": s.name("alone")}); !isCode(err, "NoSuchEntity") {
		return fmt.Errorf("the role is still there: %w", err)
	}
	return nil
}
