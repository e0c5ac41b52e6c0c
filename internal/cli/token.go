// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
)

// What kubectl's tokens are made of, as `aws eks get-token` makes them.
const (
	kubeTokenPrefix  = "k8s-aws-v1."
	kubeTokenCluster = "x-k8s-aws-id"
	// kubeTokenExpires is what the URL says. Who reviews tokens takes them for
	// 15 minutes from their date all the same; a token is told to be over a
	// minute before.
	kubeTokenExpires = 60 * time.Second
	kubeTokenLife    = 14 * time.Minute
	kubeTokenSession = "EKSGetTokenAuth"
)

// execVersions are the versions of ExecCredential; the second is what is
// answered to who does not say which.
var execVersions = []string{"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"}

// execCredential is what kubectl reads of an exec plugin.
// Source: Kubernetes, "client-go credential plugins".
type execCredential struct {
	Kind       string               `json:"kind"`
	APIVersion string               `json:"apiVersion"`
	Spec       struct{}             `json:"spec"`
	Status     execCredentialStatus `json:"status"`
}

type execCredentialStatus struct {
	ExpirationTimestamp string `json:"expirationTimestamp"`
	Token               string `json:"token"`
}

func (a *app) token() *cobra.Command {
	var name, role string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print a token for kubectl, as aws eks get-token does",
		Long: `Print an ExecCredential with a token for the API server of a cluster that asks podid who callers
are (docs/operations/kubectl-access.md). The token is a presigned sts:GetCallerIdentity that also
signs the cluster's name. It is good for 15 minutes and for that cluster only; what it opens is said
by access entries. Making it calls nobody, but with --role-arn the role is assumed first.

The token names the endpoint of STS that it was made for: this control plane's, or that of
AWS_ENDPOINT_URL_STS. The server takes its own names and those of --token-review-host.`,
		Example: `  podid token --cluster-name my-cluster

  # in a kubeconfig
  users:
  - name: podid
    user:
      exec:
        apiVersion: client.authentication.k8s.io/v1
        interactiveMode: Never
        command: podid
        args: [token, --cluster-name, my-cluster]`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := missing("cluster-name", name); err != nil {
				return err
			}
			version, err := a.execVersion()
			if err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			out := execCredential{Kind: "ExecCredential", APIVersion: version}
			out.Status.ExpirationTimestamp = a.now().UTC().Add(kubeTokenLife).Format(time.RFC3339)
			if out.Status.Token, err = kubeToken(cmd.Context(), c, name, role); err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) error { return json.NewEncoder(w).Encode(out) })
		},
	}
	cmd.Flags().StringVar(&name, "cluster-name", a.lookup("PODID_CLUSTER"), "`name` of the cluster (PODID_CLUSTER)")
	cmd.Flags().StringVar(&role, "role-arn", "", "`ARN` of a role to assume for the token")
	register(cmd, "cluster-name", a.completeClusters)
	return cmd
}

// execVersion is the version that kubectl asks for.
func (a *app) execVersion() (string, error) {
	text := a.lookup("KUBERNETES_EXEC_INFO")
	if text == "" {
		return execVersions[1], nil
	}
	var info struct {
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		return "", fmt.Errorf("read KUBERNETES_EXEC_INFO: %w", err)
	}
	if !slices.Contains(execVersions, info.APIVersion) {
		return "", fmt.Errorf("KUBERNETES_EXEC_INFO asks for %q; %s and %s are offered", info.APIVersion, execVersions[0], execVersions[1])
	}
	return info.APIVersion, nil
}

// kubeToken presigns GetCallerIdentity for a cluster.
func kubeToken(ctx context.Context, c *clients.Clients, cluster, role string) (string, error) {
	client := c.STS
	if role != "" {
		out, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String(kubeTokenSession)})
		if err != nil {
			return "", err
		}
		k := out.Credentials
		client = sts.New(client.Options(), func(o *sts.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider(aws.ToString(k.AccessKeyId), aws.ToString(k.SecretAccessKey), aws.ToString(k.SessionToken))
		})
	}
	signed, err := sts.NewPresignClient(client).PresignGetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, func(o *sts.Options) {
			o.APIOptions = append(slices.Clone(o.APIOptions), smithyhttp.SetHeaderValue(kubeTokenCluster, cluster),
				smithyhttp.SetHeaderValue("X-Amz-Expires", strconv.Itoa(int(kubeTokenExpires/time.Second))))
		})
	})
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	if u, err := url.Parse(signed.URL); err != nil || u.Scheme != "https" {
		return "", &clients.SetupError{Message: "the token would be for an endpoint without TLS, which no server takes", Hint: "give the https URL of the control plane"}
	}
	return kubeTokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(signed.URL)), nil
}
