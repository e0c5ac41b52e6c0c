// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
)

// oldRows are an SDK that is older than Pod Identity: a pod's variables must not take from it what it had.
func oldRows() section {
	return section{
		ID: "old", Title: "An SDK older than Pod Identity", Clients: []string{"old-boto3"},
		Note: "It knows neither the operations nor the agent's address. On EKS such pods stay with what they had, and so they do here.",
		Rows: []row{
			{"old-operations", "it has no CreatePodIdentityAssociation", func(ctx context.Context, s *session) error {
				_, err := s.admin.call(ctx, request{Service: "eks", Operation: "CreatePodIdentityAssociation"})
				if !isCode(err, lacking) {
					return fmt.Errorf("it has it: %w", err)
				}
				return nil
			}},
			{"old-agent", "it refuses the agent's address by itself, and sends no token", func(ctx context.Context, s *session) error {
				p, err := s.newPod(ctx, "app")
				if err != nil {
					return err
				}
				who, err := s.start(ctx, append(p.env, "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://169.254.170.23/v1/credentials"))
				if err != nil {
					return err
				}
				_, err = s.inPod(ctx, who, "sts", "GetCallerIdentity")
				if err == nil || !strings.Contains(err.Error(), "Unsupported host '169.254.170.23'") {
					return fmt.Errorf("it says %w", err)
				}
				return nil
			}},
			{"old-irsa", "with IRSA beside Pod Identity it goes to STS, not to the agent", playOldIRSA},
			{"old-keys", "keys in the environment stay good", playKeysFirst},
		},
	}
}

// playOldIRSA sees where the chain goes. Such an SDK calls AWS' own STS whatever the environment says, so a proxy that is
// not there stands in its way.
func playOldIRSA(ctx context.Context, s *session) error {
	p, err := s.newPod(ctx, "app")
	if err != nil {
		return err
	}
	who, err := s.start(ctx, append(p.env, "AWS_ROLE_ARN="+s.roleARN("irsa"), "AWS_WEB_IDENTITY_TOKEN_FILE="+p.file, "HTTPS_PROXY=http://127.0.0.1:1"))
	if err != nil {
		return err
	}
	_, err = s.inPod(ctx, who, "credentials", "resolve")
	if n := len(p.agent.exchanges()); n != 0 || !isCode(err, "ProxyConnectionError") {
		return fmt.Errorf("the agent was asked %d times, and the chain ended with %w", n, err)
	}
	return nil
}
