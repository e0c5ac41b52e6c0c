// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"podid/internal/cli/kubeclient"
	"podid/internal/cli/setup"
	"podid/internal/cli/wellknown"
)

// creation are the flags of `create podidentityassociation`.
type creation struct {
	subject   subject
	in        setup.AssociationInput
	wellKnown []string
	disable   bool
	yes       bool
	account   bool // create the service account
	kube      kube
	files     []string
	dry       bool
}

func (a *app) createAssociation() *cobra.Command {
	var cr creation
	cmd := &cobra.Command{
		Use: associationNoun, Aliases: associationAliases,
		Short: "Give the pods of a service account a role",
		Long: `Give the pods of a service account a role.

With --role-name the role is created: its trust policy lets pods.eks.amazonaws.com assume it
(sts:AssumeRole, sts:TagSession) for this account and this cluster only, and the policies of
--permission-policy-arns and --well-known-policies are attached; without --role-name a name is
made up. With --role-arn a role that exists is used; when its trust policy does not name this
cluster yet, --extend-trust adds it and shows the difference first. One role can serve many
service accounts, namespaces and clusters.

--create-service-account makes the service account, and its namespace, where they do not exist,
in the cluster of the kubeconfig's context: the last step, so that no pod starts without its role.
Otherwise neither namespace nor service account need exist yet.

-f takes the associations of eksctl's configuration files (iam.podIdentityAssociations), and what
` + "`podid export`" + ` writes; - is standard input, a directory is all its .yaml, .yml and .json files. The
whole plan is made first: what exists as the files say is kept, what exists otherwise is a conflict,
and with any conflict nothing is changed. --dry-run ends there.

Each association is all or nothing: when a step fails, the steps before are undone.`,
		Example: `  # a new role that reads S3
  podid create podidentityassociation --cluster my-cluster --namespace s3-app-ns \
    --service-account-name s3-app-sa --role-name s3-app-role \
    --permission-policy-arns arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess

  # the same role for a second cluster
  podid create podidentityassociation --cluster other --namespace s3-app-ns \
    --service-account-name s3-app-sa --role-arn arn:aws:iam::111122223333:role/s3-app-role --extend-trust

  # a role in another account, through a role of this one
  podid create pia --cluster my-cluster --namespace batch --service-account-name nightly \
    --role-arn arn:aws:iam::111122223333:role/hop --target-role-arn arn:aws:iam::444455556666:role/reports

  # the policies that external-dns needs, and its service account
  podid create pia --cluster my-cluster --namespace dns --service-account-name external-dns \
    --well-known-policies externalDNS --create-service-account

  # all of a file
  podid create podidentityassociation -f cluster.yaml --dry-run
  podid create podidentityassociation -f cluster.yaml`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(cr.files) > 0 {
				return a.createFromFiles(cmd, &cr)
			}
			return a.createOne(cmd, &cr)
		},
	}
	a.creationFlags(cmd, &cr)
	return cmd
}

func (a *app) creationFlags(cmd *cobra.Command, cr *creation) {
	a.subjectFlags(cmd, &cr.subject)
	f := cmd.Flags()
	f.StringVar(&cr.in.RoleName, "role-name", "", "create a role of this `name`")
	f.StringSliceVar(&cr.in.PolicyARNs, "permission-policy-arns", nil, "`ARNs` of policies to attach to the new role, separated by commas")
	f.StringSliceVar(&cr.wellKnown, "well-known-policies", nil, "`names` of policies to give the new role: "+strings.Join(wellknown.Names(), ", "))
	f.StringVar(&cr.in.Boundary, "permission-boundary-arn", "", "`ARN` of the policy that bounds the new role")
	f.StringVar(&cr.in.RoleARN, "role-arn", "", "use the role of this `ARN`")
	f.BoolVar(&cr.in.ExtendTrust, "extend-trust", false, "add the cluster to the trust policy of --role-arn")
	f.BoolVarP(&cr.yes, "yes", "y", false, "do not ask before the trust policy changes")
	f.StringVar(&cr.in.TargetRoleARN, "target-role-arn", "", "`ARN` of a role, of any account, that is assumed through the first")
	f.BoolVar(&cr.disable, "disable-session-tags", false, "do not add the six session tags of cluster, namespace, service account and pod")
	f.StringVar(&cr.in.Policy, "policy", "", "session policy: `JSON` or @file; needs --disable-session-tags")
	f.StringToStringVar(&cr.in.Tags, "tags", nil, "`tags` of the association and of a new role: key=value,…")
	f.BoolVar(&cr.account, "create-service-account", false, "create the service account in Kubernetes, if it does not exist")
	a.kubeFlags(cmd, &cr.kube)
	f.StringSliceVarP(&cr.files, "config-file", "f", nil, "`files` with associations, in eksctl's format")
	f.BoolVar(&cr.dry, "dry-run", false, "with -f: only show what would be done")
	register(cmd, "well-known-policies", cobra.FixedCompletions(wellknown.Names(), cobra.ShellCompDirectiveNoFileComp))
}

// createOne makes the association that the flags describe.
func (a *app) createOne(cmd *cobra.Command, cr *creation) error {
	in := &cr.in
	if err := errorsFirst(cr.subject.check(), cr.check()); err != nil {
		return err
	}
	var err error
	if in.Policy, err = document("policy", in.Policy); err != nil {
		return err
	}
	in.Cluster, in.Namespace, in.ServiceAccount, in.Progress = cr.subject.cluster, cr.subject.namespace, cr.subject.serviceAccount, a.progress
	if in.RoleName == "" && in.RoleARN == "" {
		in.RoleName = setup.PodRoleName(in.Cluster, in.Namespace, in.ServiceAccount)
	}
	if cmd.Flags().Changed("disable-session-tags") {
		in.DisableSessionTags = &cr.disable
	}
	in.Confirm = func(diff string) (bool, error) {
		fmt.Fprint(a.Err, diff)
		return a.confirm(cmd.Context(), cr.yes, "Change the trust policy?")
	}
	if cr.account {
		if in.Finish, err = a.makeAccount(&cr.kube, in.Namespace, in.ServiceAccount); err != nil {
			return err
		}
	}
	c, err := a.clients(cmd.Context())
	if err != nil {
		return err
	}
	made, err := setup.CreateAssociation(cmd.Context(), c, *in)
	if err != nil {
		return err
	}
	a.say("created association %s", aws.ToString(made.AssociationId))
	return a.printAssociation(made)
}

func (cr *creation) check() error {
	in := &cr.in
	for _, name := range cr.wellKnown {
		if err := in.WellKnown.Add(name, true); err != nil {
			return usagef("--well-known-policies: %w", err)
		}
	}
	policies := len(in.PolicyARNs) > 0 || len(in.WellKnown) > 0
	switch {
	case cr.dry:
		return usagef("--dry-run belongs to --config-file")
	case !cr.account && cr.kube != kube{}:
		return usagef("--kubeconfig and --kube-context belong to --create-service-account")
	case in.RoleName == "" && in.RoleARN == "" && !policies:
		return usagef("--role-name, for a new role, or --role-arn is needed")
	case in.RoleName != "" && in.RoleARN != "":
		return usagef("--role-name creates a role and --role-arn uses one: give one of them")
	case in.RoleARN != "" && len(in.PolicyARNs) > 0:
		return usagef("--permission-policy-arns belongs to --role-name: the role of --role-arn is not changed but by --extend-trust")
	case in.RoleARN != "" && len(in.WellKnown) > 0:
		return usagef("--well-known-policies belongs to --role-name: the role of --role-arn is not changed but by --extend-trust")
	case in.RoleARN != "" && in.Boundary != "":
		return usagef("--permission-boundary-arn belongs to --role-name: the role of --role-arn is not changed but by --extend-trust")
	case in.RoleARN == "" && in.ExtendTrust:
		return usagef("--extend-trust belongs to --role-arn: a new role trusts the cluster")
	}
	return nil
}

// kube says which Kubernetes cluster a command speaks to.
type kube struct{ config, context string }

func (a *app) kubeFlags(cmd *cobra.Command, k *kube) {
	cmd.Flags().StringVar(&k.config, "kubeconfig", "", "kubeconfig `file` (KUBECONFIG, ~/.kube/config)")
	cmd.Flags().StringVar(&k.context, "kube-context", "", "`name` of the kubeconfig's context, the current one without it")
}

// kubernetes reads the kubeconfig; nothing is called yet.
func (a *app) kubernetes(k *kube) (*kubeclient.Client, error) {
	c, err := kubeclient.Load(kubeclient.Options{Kubeconfig: k.config, Context: k.context, Environ: a.environ, Stdin: a.In, Stderr: a.Err, Now: a.now})
	if err != nil {
		return nil, &usageError{err: err}
	}
	return c, nil
}

// makeAccount is the step that makes a service account.
func (a *app) makeAccount(k *kube, namespace, name string) (func(context.Context) error, error) {
	c, err := a.kubernetes(k)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := a.ensureAccount(ctx, c, namespace, name)
		return err
	}, nil
}

// ensureAccount makes a service account where there is none, and tells it.
func (a *app) ensureAccount(ctx context.Context, c *kubeclient.Client, namespace, name string) (made bool, err error) {
	done, err := c.EnsureServiceAccount(ctx, namespace, name)
	if done.Namespace {
		a.say("created namespace %s at %s", namespace, c.Server())
	}
	switch {
	case err != nil && done.Namespace:
		return false, errors.Join(err, fmt.Errorf("namespace %s is left", namespace))
	case err != nil:
		return false, err
	case done.ServiceAccount:
		a.say("created service account %s/%s at %s", namespace, name, c.Server())
	default:
		a.say("service account %s/%s exists at %s", namespace, name, c.Server())
	}
	return done.ServiceAccount, nil
}
