// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/spf13/cobra"
)

func (a *app) updateAddon() *cobra.Command {
	var x addonFlags
	var none bool
	cmd := &cobra.Command{
		Use: addonNoun, Aliases: addonAliases,
		Short: "Change an add-on and the roles of its service accounts",
		Long: `Change an add-on. What no flag names stays as it is. --pod-identity names all roles that the add-on
is to have: associations of service accounts that it does not name are deleted; --no-pod-identity
deletes all.`,
		Example: `  podid update addon --cluster my-cluster --name aws-ebs-csi-driver \
    --pod-identity ebs-csi-controller-sa=arn:aws:iam::111122223333:role/ebs-csi-2
  podid update addon --cluster my-cluster --name aws-ebs-csi-driver --no-pod-identity`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := x.check(); err != nil {
				return err
			}
			in, err := x.update(cmd.Flags().Changed, none)
			if err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := c.EKS.UpdateAddon(cmd.Context(), in); err != nil {
				return err
			}
			a.say("updated add-on %s", x.name)
			out, err := c.EKS.DescribeAddon(cmd.Context(), &eks.DescribeAddonInput{ClusterName: &x.cluster, AddonName: &x.name})
			if err != nil {
				return err
			}
			return a.printAddon(out.Addon)
		},
	}
	a.addonSettings(cmd, &x)
	cmd.Flags().BoolVar(&none, "no-pod-identity", false, "delete all associations of the add-on")
	cmd.MarkFlagsMutuallyExclusive("pod-identity", "no-pod-identity")
	return cmd
}

func (x *addonFlags) update(changed func(string) bool, none bool) (*eks.UpdateAddonInput, error) {
	in := &eks.UpdateAddonInput{ClusterName: &x.cluster, AddonName: &x.name, AddonVersion: given(x.version)}
	var err error
	if in.ResolveConflicts, err = x.resolve(); err != nil {
		return nil, err
	}
	text, err := document("configuration-values", x.config)
	if err != nil {
		return nil, err
	}
	any := false
	for flag, set := range map[string]func(){
		"service-account-role-arn": func() { in.ServiceAccountRoleArn = &x.role }, "configuration-values": func() { in.ConfigurationValues = &text },
		"pod-identity": func() { in.PodIdentityAssociations = x.podIdentity() }, "version": func() {}, "resolve-conflicts": func() {},
		"no-pod-identity": func() {
			if none {
				in.PodIdentityAssociations = []ekstypes.AddonPodIdentityAssociations{}
			}
		},
	} {
		if changed(flag) {
			any = true
			set()
		}
	}
	if !any {
		return nil, usagef("say what to change: --version, --pod-identity, --no-pod-identity, --service-account-role-arn or --configuration-values")
	}
	return in, nil
}

func (a *app) deleteAddon() *cobra.Command {
	var x addonFlags
	var preserve bool
	cmd := &cobra.Command{
		Use: addonNoun, Aliases: addonAliases,
		Short: "Delete the record of an add-on and the associations that it owns",
		Long: `Delete the record of an add-on and the associations that it owns; with --preserve these stay and
belong to nobody. Software in the cluster is not touched, and roles stay.`,
		Example: `  podid delete addon --cluster my-cluster --name aws-ebs-csi-driver
  podid delete addon --cluster my-cluster --name aws-ebs-csi-driver --preserve`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := x.check(); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.EKS.DeleteAddon(cmd.Context(), &eks.DeleteAddonInput{ClusterName: &x.cluster, AddonName: &x.name, Preserve: preserve})
			if err != nil {
				return err
			}
			a.say("deleted add-on %s", x.name)
			if a.output == formatTable {
				return nil
			}
			return a.printAddon(out.Addon)
		},
	}
	a.addonFlags(cmd, &x)
	cmd.Flags().BoolVar(&preserve, "preserve", false, "keep the associations that the add-on owns")
	return cmd
}
