// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
)

// issuerJSON is an account's issuer in JSON and YAML.
type issuerJSON struct {
	AccountID            string     `json:"accountId"`
	Issuer               string     `json:"issuer"`
	STSEndpoint          string     `json:"stsEndpoint,omitempty"`
	IAMEndpoint          string     `json:"iamEndpoint,omitempty"`
	Region               string     `json:"region,omitempty"`
	Profile              string     `json:"profile,omitempty"`
	ExternalID           string     `json:"externalId,omitempty"`
	CertificateAuthority string     `json:"certificateAuthority,omitempty"`
	RequestsPerSecond    int        `json:"requestsPerSecond,omitempty"`
	Audience             string     `json:"audience,omitempty"`
	BaseARN              string     `json:"baseArn,omitempty"`
	Problem              string     `json:"problem,omitempty"`
	ModifiedAt           *time.Time `json:"modifiedAt,omitempty"`
}

func newIssuer(x *clients.Issuer) issuerJSON {
	out := issuerJSON{
		AccountID: x.AccountID, Issuer: x.Issuer, STSEndpoint: x.STSEndpoint, IAMEndpoint: x.IAMEndpoint, Region: x.Region, Profile: x.Profile,
		ExternalID: x.ExternalID, CertificateAuthority: x.CertificateAuthority, RequestsPerSecond: x.RequestsPerSecond, Audience: x.Audience, BaseARN: x.BaseARN, Problem: x.Problem,
	}
	if x.ModifiedAt > 0 {
		t := clients.Epoch(x.ModifiedAt)
		out.ModifiedAt = &t
	}
	return out
}

func (x issuerJSON) fields(w io.Writer) error {
	endpoint, rate, ca, modified := x.STSEndpoint, "", "", ""
	if x.Issuer != "embedded" && endpoint == "" {
		endpoint = "AWS'"
	}
	base := "base credentials"
	if x.Issuer == "webidentity" {
		base = "token provider"
	}
	if x.RequestsPerSecond > 0 {
		rate = fmt.Sprint(x.RequestsPerSecond)
	}
	if x.CertificateAuthority != "" {
		ca = "given"
	}
	if x.ModifiedAt != nil {
		modified = x.ModifiedAt.Format(time.RFC3339)
	}
	return fields(w, "account", x.AccountID, "issuer", x.Issuer, "sts endpoint", endpoint, "iam endpoint", x.IAMEndpoint, "sts region", x.Region,
		"profile", x.Profile, "external id", x.ExternalID, "audience", x.Audience, "certificates", ca,
		"requests per second", rate, base, x.BaseARN, "problem", x.Problem, "modified", modified)
}

func (a *app) updateAccount() *cobra.Command {
	in := clients.IssuerInput{}
	var ca string
	cmd := &cobra.Command{
		Use:   "account NUMBER",
		Short: "Choose who issues an account's credentials",
		Long: `Choose who issues the credentials of an account's pods: podid itself (embedded, the default), or an
STS of AWS' shape (awssts, webidentity), so that they are good at AWS. Then roleArn of an association
names a role of the AWS account with the same number. Only callers of the first account may choose.

With awssts the STS is asked with the server's own AWS credentials: environment, --sts-profile of its
shared AWS files, web identity, container or instance, as every AWS program finds them. With
webidentity it is asked with tokens that the server signs; AWS reads the keys at the server's
oidc-issuer-url. The answer shows the principal that roles have to trust: for sts:AssumeRole, or
sts:AssumeRoleWithWebIdentity, and sts:TagSession.

The command replaces the whole choice: what no flag names is at its default.`,
		Example: `  podid update account 111122223333 --issuer awssts --sts-region us-west-2
  podid update account 111122223333 --issuer awssts --sts-endpoint https://localhost:4566 --sts-ca ca.pem
  podid update account 111122223333 --issuer embedded`,
		Args:              exactly(1, "the NUMBER of the account"),
		ValidArgsFunction: a.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := missing("issuer", in.Issuer); err != nil {
				return err
			}
			if ca != "" {
				text, err := os.ReadFile(ca)
				if err != nil {
					return usagef("--sts-ca: %w", err)
				}
				in.CertificateAuthority = string(text)
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.Podid.SetIssuer(cmd.Context(), args[0], in)
			if err != nil {
				return err
			}
			a.say("updated account %s", args[0])
			if out.Problem != "" {
				a.say("the STS cannot be asked yet: %s", out.Problem)
			}
			x := newIssuer(out)
			return a.print(x, x.fields)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Issuer, "issuer", "", "`issuer`: embedded, awssts or webidentity")
	f.StringVar(&in.STSEndpoint, "sts-endpoint", "", "`URL` of the STS; AWS' own by default")
	f.StringVar(&in.IAMEndpoint, "iam-endpoint", "", "`URL` of the IAM that knows the roles; by default where the STS is")
	f.StringVar(&in.Region, "sts-region", "", "`region` of the STS; the control plane's by default")
	f.StringVar(&in.Profile, "sts-profile", "", "`name` of a profile in the server's shared AWS files")
	f.StringVar(&in.ExternalID, "external-id", "", "external `id` sent where session tags are not disabled")
	f.StringVar(&ca, "sts-ca", "", "`file` of PEM certificates to trust at the STS, beside the system's")
	f.StringVar(&in.Audience, "audience", "", "`audience` of the tokens; sts.amazonaws.com by default")
	f.IntVar(&in.RequestsPerSecond, "sts-rate", 0, "requests per second to the STS, at most this `number`; 0 is AWS' limit of 600")
	register(cmd, "issuer", cobra.FixedCompletions([]string{"embedded", "awssts", "webidentity"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) getIssuer() *cobra.Command {
	return &cobra.Command{
		Use:   "issuer NUMBER",
		Short: "Show who issues an account's credentials",
		Long: `Show who issues the credentials of an account's pods, and the principal that roles have to trust: the
credentials that the STS is asked with, or the provider of the tokens; or why it cannot be asked.`,
		Example: `  podid get issuer 111122223333
  podid get issuer 111122223333 -o json | jq -r .baseArn`,
		Args:              exactly(1, "the NUMBER of the account"),
		ValidArgsFunction: a.completeAccounts,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.Podid.DescribeIssuer(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			x := newIssuer(out)
			return a.print(x, x.fields)
		},
	}
}
