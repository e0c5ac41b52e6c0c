// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/irsa"
	"podid/internal/cli/migrate"
)

// irsaSource is where service accounts are read.
type irsaSource struct {
	file      string
	kube      kube
	namespace string
}

func (a *app) importIRSA() *cobra.Command {
	var t takeover
	var s irsaSource
	cmd := &cobra.Command{
		Use:   "irsa",
		Short: "Give annotated service accounts associations",
		Long: `Take over service accounts that have their role by annotation (` + irsa.Annotation + `): each gets
an association, and the trust policy of its role is extended so that pods of the cluster may assume it.
The roles have to exist in the account of the control plane; podid import eks brings them.

Service accounts are read from -f FILE as kubectl writes them, in YAML or JSON, - is standard input; or
from the Kubernetes API that --kubeconfig or --kube-context says. The current context is not a default.

Without --approve the plan is shown and nothing is changed. With it each line is done by itself: one
that fails takes along those that need it and no others, and the exit status is 1, as it is when a line
is refused. What is there and differs is never changed. Importing again does what is left to do.

Before each change the undo file says what is about to be done, so --revert FILE takes an import back
after a crash as well. It leaves what somebody else has changed since, and says so.

Service accounts and their annotations are not touched: with the association pods can use both ways.`,
		Example: `  kubectl get serviceaccounts -A -o yaml > accounts.yaml
  podid import irsa --cluster my-cluster -f accounts.yaml
  podid import irsa --cluster my-cluster -f accounts.yaml --approve --undo irsa.undo
  podid import irsa --cluster my-cluster --kubeconfig ~/.kube/config --kube-context prod
  podid import irsa --revert irsa.undo`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := t.check(cmd, "file", "namespace", "kubeconfig", "kube-context"); err != nil {
				return err
			}
			if t.revert != "" {
				return a.revert(cmd.Context(), &t, "irsa")
			}
			found, err := a.annotated(cmd.Context(), &s)
			if err != nil {
				return err
			}
			return a.takeOver(cmd.Context(), &t, func(ctx context.Context, c *clients.Clients, target migrate.Target) (*migrate.Plan, error) {
				if len(found.Annotated) == 0 {
					a.say("none of %d service accounts has the annotation %s", found.Plain, irsa.Annotation)
				}
				return migrate.IRSA(ctx, c, target, found)
			})
		},
	}
	a.takeoverFlags(cmd, &t)
	f := cmd.Flags()
	f.StringVarP(&s.file, "file", "f", "", "`file` of service accounts; - is standard input")
	a.kubeFlags(cmd, &s.kube)
	f.StringVar(&s.namespace, "namespace", "", "only service accounts of this `namespace`")
	return cmd
}

func (a *app) annotated(ctx context.Context, s *irsaSource) (found *irsa.Found, err error) {
	fromAPI := s.kube != (kube{})
	switch {
	case fromAPI == (s.file != ""):
		return nil, usagef("--file, or --kubeconfig and --kube-context, is needed, one of them")
	case fromAPI:
		found, err = a.annotatedAtAPI(ctx, &s.kube)
	default:
		found, err = annotatedIn(s.file, a.In)
	}
	if err != nil {
		return nil, err
	}
	if s.namespace != "" {
		found.Only(s.namespace)
	}
	return found, nil
}

func (a *app) annotatedAtAPI(ctx context.Context, k *kube) (*irsa.Found, error) {
	c, err := a.kubernetes(k)
	if err != nil {
		return nil, err
	}
	all, err := c.ServiceAccounts(ctx, "")
	if err != nil {
		return nil, err
	}
	found := &irsa.Found{}
	for _, s := range all {
		found.Add(s.Metadata.Namespace, s.Metadata.Name, s.Metadata.Annotations)
	}
	found.Sort()
	a.say("read %d service accounts at %s", len(all), c.Server())
	return found, nil
}

func annotatedIn(name string, stdin io.Reader) (*irsa.Found, error) {
	from := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usagef("open file of service accounts: %w", err)
		}
		defer func() { _ = f.Close() }() // only read
		from = f
	}
	found, err := irsa.Read(from)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return found, nil
}
