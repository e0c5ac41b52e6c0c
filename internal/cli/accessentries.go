// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
)

const entryNoun = "accessentry"

var entryAliases = []string{"accessentries"}

// entryJSON is an access entry in JSON and YAML, with AWS' member names.
type entryJSON struct {
	ClusterName      string            `json:"clusterName"`
	PrincipalArn     string            `json:"principalArn"`
	Type             string            `json:"type"`
	Username         string            `json:"username,omitempty"`
	KubernetesGroups []string          `json:"kubernetesGroups"`
	AccessPolicies   []entryPolicy     `json:"accessPolicies"`
	AccessEntryArn   string            `json:"accessEntryArn"`
	Tags             map[string]string `json:"tags"`
	CreatedAt        time.Time         `json:"createdAt"`
	ModifiedAt       time.Time         `json:"modifiedAt"`
}

// entryPolicy is an access policy of an entry; without namespaces it counts in
// the whole cluster.
type entryPolicy struct {
	PolicyArn  string   `json:"policyArn"`
	Namespaces []string `json:"namespaces,omitempty"`
}

func (p entryPolicy) text() string {
	name := p.PolicyArn[strings.LastIndexByte(p.PolicyArn, '/')+1:]
	if len(p.Namespaces) == 0 {
		return name
	}
	return name + " in " + strings.Join(p.Namespaces, ",")
}

func (x *entryJSON) policies(sep string) string {
	var out []string
	for _, p := range x.AccessPolicies {
		out = append(out, p.text())
	}
	return strings.Join(out, sep)
}

func (x *entryJSON) fields(w io.Writer) error {
	return fields(w, "principal", x.PrincipalArn, "cluster", x.ClusterName, "type", x.Type, "user name", x.Username, "groups", strings.Join(x.KubernetesGroups, ", "),
		"access policies", x.policies("\n"), "arn", x.AccessEntryArn, "tags", tagText(x.Tags), "created", x.CreatedAt.Format(time.RFC3339), "modified", x.ModifiedAt.Format(time.RFC3339))
}

// entryOf names an access entry.
type entryOf struct{ cluster, principal string }

func (a *app) entryFlags(cmd *cobra.Command, e *entryOf) {
	a.clusterFlag(cmd, &e.cluster)
	cmd.Flags().StringVar(&e.principal, "principal-arn", "", "`ARN` of the user or role")
	register(cmd, "principal-arn", a.completePrincipals)
}

func (e *entryOf) check() error {
	return missing("cluster", e.cluster, "principal-arn", e.principal)
}

// describeEntry reads an entry with its access policies.
func describeEntry(ctx context.Context, c *clients.Clients, e entryOf) (*entryJSON, error) {
	out, err := c.EKS.DescribeAccessEntry(ctx, &eks.DescribeAccessEntryInput{ClusterName: &e.cluster, PrincipalArn: &e.principal})
	if err != nil {
		return nil, err
	}
	got := out.AccessEntry
	x := &entryJSON{
		ClusterName: aws.ToString(got.ClusterName), PrincipalArn: aws.ToString(got.PrincipalArn), Type: aws.ToString(got.Type), Username: aws.ToString(got.Username),
		KubernetesGroups: append([]string{}, got.KubernetesGroups...), AccessPolicies: []entryPolicy{}, AccessEntryArn: aws.ToString(got.AccessEntryArn),
		Tags: got.Tags, CreatedAt: aws.ToTime(got.CreatedAt), ModifiedAt: aws.ToTime(got.ModifiedAt),
	}
	if x.Tags == nil {
		x.Tags = map[string]string{}
	}
	pages := eks.NewListAssociatedAccessPoliciesPaginator(c.EKS, &eks.ListAssociatedAccessPoliciesInput{ClusterName: &e.cluster, PrincipalArn: &e.principal})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list access policies: %w", err)
		}
		for _, p := range page.AssociatedAccessPolicies {
			ep := entryPolicy{PolicyArn: aws.ToString(p.PolicyArn)}
			if p.AccessScope != nil {
				ep.Namespaces = p.AccessScope.Namespaces
			}
			x.AccessPolicies = append(x.AccessPolicies, ep)
		}
	}
	return x, nil
}

// showEntry prints an entry as it is now.
func (a *app) showEntry(ctx context.Context, c *clients.Clients, e entryOf) error {
	x, err := describeEntry(ctx, c, e)
	if err != nil {
		return err
	}
	return a.print(x, x.fields)
}

func (a *app) createAccessEntry() *cobra.Command {
	var e entryOf
	var kind, username string
	var groups []string
	var tags map[string]string
	cmd := &cobra.Command{
		Use: entryNoun, Aliases: entryAliases,
		Short: "Let a user or role into a cluster's Kubernetes API",
		Long: `Let a user or role into the Kubernetes API of a cluster that asks podid who callers are
(docs/operations/kubectl-access.md), under a user name and groups that RBAC gives their rights. The
user name may hold {{SessionName}}, {{SessionNameRaw}}, {{AccountID}} and {{AccessKeyID}}.
podid associate accesspolicy adds access policies.`,
		Example: `  podid create accessentry --cluster my-cluster --principal-arn arn:aws:iam::111122223333:role/dev --kubernetes-groups devs
  podid token --cluster-name my-cluster --role-arn arn:aws:iam::111122223333:role/dev`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := e.check(); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			_, err = c.EKS.CreateAccessEntry(cmd.Context(), &eks.CreateAccessEntryInput{
				ClusterName: &e.cluster, PrincipalArn: &e.principal, Type: given(kind), Username: given(username), KubernetesGroups: groups, Tags: tags,
			})
			if err != nil {
				return err
			}
			a.say("created access entry of %s", e.principal)
			return a.showEntry(cmd.Context(), c, e)
		},
	}
	a.entryFlags(cmd, &e)
	f := cmd.Flags()
	f.StringVar(&kind, "type", "", "`type` of the entry; STANDARD, for people and programs, without it")
	f.StringVar(&username, "kubernetes-username", "", "`name` of the user in Kubernetes; EKS' usual one without it")
	f.StringSliceVar(&groups, "kubernetes-groups", nil, "`groups` in Kubernetes, separated by commas")
	f.StringToStringVar(&tags, "tags", nil, "`tags` of the entry: key=value,…")
	return cmd
}

func (a *app) getAccessEntries() *cobra.Command {
	var e entryOf
	cmd := &cobra.Command{
		Use: entryNoun, Aliases: entryAliases,
		Short:   "Show who is let into a cluster's Kubernetes API",
		Long:    `Show the access entries of a cluster with their access policies, or that of one user or role.`,
		Example: "  podid get accessentries --cluster my-cluster\n  podid get accessentry --cluster my-cluster --principal-arn arn:aws:iam::111122223333:role/dev -o yaml",
		Args:    upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := missing("cluster", e.cluster); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if e.principal != "" {
				return a.showEntry(cmd.Context(), c, e)
			}
			return a.listEntries(cmd.Context(), c, e.cluster)
		},
	}
	a.entryFlags(cmd, &e)
	return cmd
}

func principals(ctx context.Context, c *clients.Clients, cluster string) ([]string, error) {
	var out []string
	pages := eks.NewListAccessEntriesPaginator(c.EKS, &eks.ListAccessEntriesInput{ClusterName: &cluster})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list access entries: %w", err)
		}
		out = append(out, page.AccessEntries...)
	}
	return out, nil
}

func (a *app) listEntries(ctx context.Context, c *clients.Clients, cluster string) error {
	found, err := principals(ctx, c, cluster)
	if err != nil {
		return err
	}
	all, lines := []*entryJSON{}, [][]string{}
	for _, p := range found {
		x, err := describeEntry(ctx, c, entryOf{cluster, p})
		if clients.IsNotFound(err) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		all = append(all, x)
		lines = append(lines, []string{x.PrincipalArn, x.Type, x.Username, strings.Join(x.KubernetesGroups, ","), x.policies("; ")})
	}
	return a.print(all, func(w io.Writer) error { return rows(w, "PRINCIPAL TYPE USER GROUPS POLICIES", lines) })
}

// completePrincipals completes the principals that have an entry in the
// cluster that is named.
func (a *app) completePrincipals(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeIn(cmd, principals)
}

func (a *app) updateAccessEntry() *cobra.Command {
	var e entryOf
	var username string
	var groups []string
	cmd := &cobra.Command{
		Use: entryNoun, Aliases: entryAliases,
		Short: "Change user name and groups of an access entry",
		Long: `Change user name and groups of an access entry. What no flag names stays as it is;
--kubernetes-groups "" takes all groups away, --kubernetes-username "" gives EKS' usual name.`,
		Example: `  podid update accessentry --cluster my-cluster --principal-arn arn:aws:iam::111122223333:role/dev --kubernetes-groups devs,ops`,
		Args:    upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := e.check(); err != nil {
				return err
			}
			in := &eks.UpdateAccessEntryInput{ClusterName: &e.cluster, PrincipalArn: &e.principal}
			if cmd.Flags().Changed("kubernetes-username") {
				in.Username = &username
			}
			if cmd.Flags().Changed("kubernetes-groups") {
				in.KubernetesGroups = slices.DeleteFunc(append([]string{}, groups...), func(g string) bool { return g == "" })
			}
			if in.Username == nil && in.KubernetesGroups == nil {
				return usagef("say what to change: --kubernetes-username or --kubernetes-groups")
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := c.EKS.UpdateAccessEntry(cmd.Context(), in); err != nil {
				return err
			}
			a.say("updated access entry of %s", e.principal)
			return a.showEntry(cmd.Context(), c, e)
		},
	}
	a.entryFlags(cmd, &e)
	cmd.Flags().StringVar(&username, "kubernetes-username", "", "`name` of the user in Kubernetes")
	cmd.Flags().StringSliceVar(&groups, "kubernetes-groups", nil, "`groups` in Kubernetes, separated by commas")
	return cmd
}

func (a *app) deleteAccessEntry() *cobra.Command {
	var e entryOf
	cmd := &cobra.Command{
		Use: entryNoun, Aliases: entryAliases,
		Short:   "Let a user or role into a cluster's Kubernetes API no more",
		Long:    `Delete an access entry with its access policies. Tokens of the user or role are refused as soon as the API server asks again.`,
		Example: `  podid delete accessentry --cluster my-cluster --principal-arn arn:aws:iam::111122223333:role/dev`,
		Args:    upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := e.check(); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := c.EKS.DeleteAccessEntry(cmd.Context(), &eks.DeleteAccessEntryInput{ClusterName: &e.cluster, PrincipalArn: &e.principal}); err != nil {
				return err
			}
			a.say("deleted access entry of %s", e.principal)
			return nil
		},
	}
	a.entryFlags(cmd, &e)
	return cmd
}

// scopeOf is the whole cluster, or namespaces of it.
func scopeOf(namespaces []string) *ekstypes.AccessScope {
	if len(namespaces) == 0 {
		return &ekstypes.AccessScope{Type: ekstypes.AccessScopeTypeCluster}
	}
	return &ekstypes.AccessScope{Type: ekstypes.AccessScopeTypeNamespace, Namespaces: namespaces}
}
