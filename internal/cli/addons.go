// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
)

const addonNoun = "addon"

var addonAliases = []string{"addons"}

// addonJSON is an add-on in JSON and YAML, with AWS' member names.
type addonJSON struct {
	ClusterName             string            `json:"clusterName"`
	AddonName               string            `json:"addonName"`
	AddonArn                string            `json:"addonArn"`
	AddonVersion            string            `json:"addonVersion"`
	Status                  string            `json:"status"`
	Issues                  []addonIssue      `json:"issues,omitempty"`
	Namespace               string            `json:"namespace,omitempty"`
	PodIdentityAssociations []string          `json:"podIdentityAssociations"`
	ServiceAccountRoleArn   string            `json:"serviceAccountRoleArn,omitempty"`
	ConfigurationValues     string            `json:"configurationValues,omitempty"`
	Tags                    map[string]string `json:"tags"`
	CreatedAt               time.Time         `json:"createdAt"`
	ModifiedAt              time.Time         `json:"modifiedAt"`
}

type addonIssue struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func newAddon(a *ekstypes.Addon) addonJSON {
	out := addonJSON{
		ClusterName: aws.ToString(a.ClusterName), AddonName: aws.ToString(a.AddonName), AddonArn: aws.ToString(a.AddonArn),
		AddonVersion: aws.ToString(a.AddonVersion), Status: string(a.Status), PodIdentityAssociations: append([]string{}, a.PodIdentityAssociations...),
		ServiceAccountRoleArn: aws.ToString(a.ServiceAccountRoleArn), ConfigurationValues: aws.ToString(a.ConfigurationValues),
		Tags: a.Tags, CreatedAt: aws.ToTime(a.CreatedAt), ModifiedAt: aws.ToTime(a.ModifiedAt),
	}
	if a.NamespaceConfig != nil {
		out.Namespace = aws.ToString(a.NamespaceConfig.Namespace)
	}
	if a.Health != nil {
		for _, i := range a.Health.Issues {
			out.Issues = append(out.Issues, addonIssue{string(i.Code), aws.ToString(i.Message)})
		}
	}
	if out.Tags == nil {
		out.Tags = map[string]string{}
	}
	return out
}

func (x addonJSON) issues() string {
	var out []string
	for _, i := range x.Issues {
		out = append(out, i.Code+": "+i.Message)
	}
	return strings.Join(out, "\n")
}

func (x addonJSON) fields(w io.Writer) error {
	return fields(w, "add-on", x.AddonName, "status", x.Status, "issues", x.issues(), "arn", x.AddonArn, "cluster", x.ClusterName, "version", x.AddonVersion,
		"namespace", x.Namespace, "associations", strings.Join(x.PodIdentityAssociations, "\n"), "service account role", x.ServiceAccountRoleArn,
		"configuration", x.ConfigurationValues, "tags", tagText(x.Tags), "created", x.CreatedAt.Format(time.RFC3339), "modified", x.ModifiedAt.Format(time.RFC3339))
}

func (a *app) printAddon(p *ekstypes.Addon) error {
	x := newAddon(p)
	return a.print(x, x.fields)
}

// addonFlags name an add-on and say what it is to be.
type addonFlags struct {
	cluster, name, version, role, config, conflicts string
	roles                                           map[string]string // by service account
}

func (a *app) addonFlags(cmd *cobra.Command, x *addonFlags) {
	a.clusterFlag(cmd, &x.cluster)
	cmd.Flags().StringVar(&x.name, "name", "", "`name` of the add-on")
	register(cmd, "name", a.completeAddons)
}

func (a *app) addonSettings(cmd *cobra.Command, x *addonFlags) {
	a.addonFlags(cmd, x)
	f := cmd.Flags()
	f.StringVar(&x.version, "version", "", "`version` of the add-on; the newest known without it")
	f.StringToStringVar(&x.roles, "pod-identity", nil, "roles of its service accounts: `SERVICE-ACCOUNT=ROLE-ARN`,…")
	f.StringVar(&x.role, "service-account-role-arn", "", "`ARN` of the role for IRSA, for add-ons that know no pod identity")
	f.StringVar(&x.config, "configuration-values", "", "configuration: `JSON` or @file; it is kept, not applied")
	f.StringVar(&x.conflicts, "resolve-conflicts", "", "`rule`: none, overwrite or preserve")
	register(cmd, "resolve-conflicts", cobra.FixedCompletions([]string{"none", "overwrite", "preserve"}, cobra.ShellCompDirectiveNoFileComp))
}

func (x *addonFlags) check() error { return missing("cluster", x.cluster, "name", x.name) }

func (x *addonFlags) resolve() (ekstypes.ResolveConflicts, error) {
	r := ekstypes.ResolveConflicts(strings.ToUpper(x.conflicts))
	if r != "" && !slices.Contains(r.Values(), r) {
		return "", usagef("--resolve-conflicts is %q; none, overwrite or preserve is wanted", x.conflicts)
	}
	return r, nil
}

func (x *addonFlags) podIdentity() []ekstypes.AddonPodIdentityAssociations {
	out := []ekstypes.AddonPodIdentityAssociations{}
	for _, sa := range slices.Sorted(maps.Keys(x.roles)) {
		out = append(out, ekstypes.AddonPodIdentityAssociations{ServiceAccount: aws.String(sa), RoleArn: aws.String(x.roles[sa])})
	}
	return out
}

// given is a text's address, nil for the empty one.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (a *app) createAddon() *cobra.Command {
	var x addonFlags
	var namespace string
	var tags map[string]string
	cmd := &cobra.Command{
		Use: addonNoun, Aliases: addonAliases,
		Short: "Record an add-on of a cluster, with the roles of its service accounts",
		Long: `Record an EKS add-on of a cluster. podid installs no software: the record is what AWS' tools look
for, and it owns the associations of --pod-identity, which are changed and deleted with it.
eks-pod-identity-agent needs no record once an agent of the cluster was seen.`,
		Example: `  podid create addon --cluster my-cluster --name eks-pod-identity-agent
  podid create addon --cluster my-cluster --name aws-ebs-csi-driver \
    --pod-identity ebs-csi-controller-sa=arn:aws:iam::111122223333:role/ebs-csi`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := x.check(); err != nil {
				return err
			}
			in := &eks.CreateAddonInput{ClusterName: &x.cluster, AddonName: &x.name, AddonVersion: given(x.version), ServiceAccountRoleArn: given(x.role), Tags: tags}
			var err error
			if in.ResolveConflicts, err = x.resolve(); err != nil {
				return err
			}
			text, err := document("configuration-values", x.config)
			if err != nil {
				return err
			}
			in.ConfigurationValues = given(text)
			if namespace != "" {
				in.NamespaceConfig = &ekstypes.AddonNamespaceConfigRequest{Namespace: &namespace}
			}
			if len(x.roles) > 0 {
				in.PodIdentityAssociations = x.podIdentity()
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.EKS.CreateAddon(cmd.Context(), in)
			if err != nil {
				return err
			}
			a.say("created add-on %s", x.name)
			return a.printAddon(out.Addon)
		},
	}
	a.addonSettings(cmd, &x)
	cmd.Flags().StringVar(&namespace, "namespace", "", "`namespace` of the add-on, where it is not its usual one")
	cmd.Flags().StringToStringVar(&tags, "tags", nil, "`tags` of the add-on: key=value,…")
	return cmd
}

func (a *app) getAddons() *cobra.Command {
	var x addonFlags
	cmd := &cobra.Command{
		Use: addonNoun, Aliases: addonAliases,
		Short: "Show the add-ons of a cluster, or one",
		Long: `Show the add-ons of a cluster, or one. The state of eks-pod-identity-agent is that of podid's own
agent in the cluster; of other add-ons only the record is known.`,
		Example: `  podid get addons --cluster my-cluster
  podid get addon --cluster my-cluster --name eks-pod-identity-agent -o yaml`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := missing("cluster", x.cluster); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if x.name != "" {
				out, err := c.EKS.DescribeAddon(cmd.Context(), &eks.DescribeAddonInput{ClusterName: &x.cluster, AddonName: &x.name})
				if err != nil {
					return err
				}
				return a.printAddon(out.Addon)
			}
			return a.listAddons(cmd.Context(), c, x.cluster)
		},
	}
	a.addonFlags(cmd, &x)
	return cmd
}

func addonNames(ctx context.Context, c *clients.Clients, cluster string) ([]string, error) {
	var names []string
	pages := eks.NewListAddonsPaginator(c.EKS, &eks.ListAddonsInput{ClusterName: &cluster})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list add-ons: %w", err)
		}
		names = append(names, page.Addons...)
	}
	return names, nil
}

func (a *app) listAddons(ctx context.Context, c *clients.Clients, cluster string) error {
	names, err := addonNames(ctx, c, cluster)
	if err != nil {
		return err
	}
	all, lines := []addonJSON{}, [][]string{}
	for _, name := range names {
		out, err := c.EKS.DescribeAddon(ctx, &eks.DescribeAddonInput{ClusterName: &cluster, AddonName: &name})
		if clients.IsNotFound(err) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		x := newAddon(out.Addon)
		all = append(all, x)
		lines = append(lines, []string{x.AddonName, x.AddonVersion, x.Status, fmt.Sprint(len(x.Issues)), fmt.Sprint(len(x.PodIdentityAssociations))})
	}
	return a.print(all, func(w io.Writer) error { return rows(w, "ADDON VERSION STATUS ISSUES ASSOCIATIONS", lines) })
}

// completeAddons completes the add-ons of the cluster that is named.
func (a *app) completeAddons(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeIn(cmd, addonNames)
}

// completeIn completes what the cluster that is named has; nothing where it
// cannot be listed in time.
func (a *app) completeIn(cmd *cobra.Command, list func(context.Context, *clients.Clients, string) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	cluster := cmd.Flag("cluster").Value.String()
	c, err := a.clients(ctx)
	if err != nil || cluster == "" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, err := list(ctx, c, cluster)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
