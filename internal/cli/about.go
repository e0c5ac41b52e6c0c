// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"podid/internal/cli/setup"
)

func (a *app) whoami() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show as whom you call, and where the credentials come from",
		Long: `Show as whom the control plane sees you: ARN, account, unique id, the kind of identity, and from
which source of the AWS SDK's default chain the credentials come.`,
		Example: `  podid whoami
  podid whoami --profile ops -o json`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			creds, err := c.Config.Credentials.Retrieve(cmd.Context())
			if err != nil {
				return fmt.Errorf("get credentials: %w", err)
			}
			id, err := c.STS.GetCallerIdentity(cmd.Context(), &sts.GetCallerIdentityInput{})
			if err != nil {
				return err
			}
			x := struct {
				Arn         string `json:"arn"`
				Account     string `json:"account"`
				UserID      string `json:"userId"`
				Kind        string `json:"kind"`
				AccessKeyID string `json:"accessKeyId"`
				Source      string `json:"source"`
				Expires     string `json:"expires,omitempty"`
				Region      string `json:"region"`
				Endpoint    string `json:"endpoint"`
			}{
				aws.ToString(id.Arn), aws.ToString(id.Account), aws.ToString(id.UserId), kindOf(aws.ToString(id.Arn)), creds.AccessKeyID, creds.Source, "",
				c.Config.Region, aws.ToString(c.Config.BaseEndpoint),
			}
			if creds.CanExpire {
				x.Expires = creds.Expires.UTC().Format(time.RFC3339)
			}
			return a.print(x, func(w io.Writer) error {
				return fields(w, "arn", x.Arn, "account", x.Account, "unique id", x.UserID, "kind", x.Kind, "access key", x.AccessKeyID, "source", x.Source,
					"expires", x.Expires, "region", x.Region, "endpoint", x.Endpoint)
			})
		},
	}
}

func kindOf(arn string) string {
	for mark, kind := range map[string]string{":user/": "IAM user", ":assumed-role/": "role session", ":federated-user/": "federated user", ":root": "account root"} {
		if strings.Contains(arn, mark) {
			return kind
		}
	}
	return "unknown"
}

func (a *app) version(text string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the version of podid",
		Long:    "Show the version of this program, with the commit that it was built from, and the Go release.",
		Example: "  podid version\n  podid version -o json",
		Args:    upTo(0),
		RunE: func(*cobra.Command, []string) error {
			x := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
			}{text, runtime.Version()}
			return a.print(x, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "podid %s %s\n", x.Version, x.Go)
				return err
			})
		},
	}
	a.outputFlag(cmd)
	return cmd
}

// completeTime bounds a completion: a shell waits for it.
const completeTime = 2 * time.Second

// completeClusters completes names of clusters; silence if they cannot be had.
func (a *app) completeClusters(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Name() == "cluster" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	c, err := a.clients(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := setup.ClusterNames(ctx, c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// exitCodesTopic is `podid help exit-codes`.
func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "The exit statuses of podid", Long: `The exit statuses of podid:

  0  done
  1  an error that is none of the following
  2  the command line makes no sense
  3  refused: access denied, or explain found that no credentials would be issued
  4  what was asked for does not exist
  5  it exists already, exists otherwise than a file says, or is in use

podid exec ends with the status of its command; 126 when that cannot be executed, 127 when it is
not found, 128+n when signal n ended it. podid policy test ends with 1 when a case disagrees.`}
}

// environmentTopic is `podid help environment`.
func environmentTopic() *cobra.Command {
	return &cobra.Command{Use: "environment", Short: "The environment variables of podid", Long: `Client commands read what every AWS SDK reads; flags come first:

  AWS_ENDPOINT_URL             URL of the control plane; there is no default     --endpoint-url
  AWS_CA_BUNDLE                file of the control plane's CA certificate        --ca-bundle
  AWS_REGION                   region of the control plane                       --region
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN                    credentials
  AWS_PROFILE, AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE                      --profile

And two of its own, which podid dev writes into DIR/env:

  PODID_CLUSTER                the cluster when there is no --cluster
  PODID_AGENT_ENDPOINT         URL of the node agent, for exec                   --agent-endpoint

Commands that read or make service accounts find the Kubernetes cluster as kubectl does:

  KUBECONFIG                   files, the first that says something counts       --kubeconfig`}
}
