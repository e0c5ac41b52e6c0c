// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

func (a *app) printClusters(value any, list ...*clients.Cluster) error {
	t := table{head: []string{"NAME", "ISSUER", "KEYS", "NODE BINDING", "VERSION", "UNIQUE ID"}}
	for _, c := range list {
		t.rows = append(t.rows, []string{c.Name, c.Issuer, dash(strings.Join(c.KeyIDs, ",")), c.NodeBinding, dash(c.Version), c.UID})
	}
	return a.print(value, t)
}

// apiServer are the flags that describe a cluster's API server and keys.
type apiServer struct {
	jwks, ca, binding, version, endpoint string
	discover                             bool
}

func (s *apiServer) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.jwks, "jwks", "", "`file` with the issuer's key set: kubectl get --raw /openid/v1/jwks")
	f.BoolVar(&s.discover, "discover", false, "fetch the key set from the issuer, now and when an unknown key comes")
	f.StringVar(&s.binding, "node-binding", "", "whether an agent may ask for pods of other nodes: default, required, ifPresent or off")
	f.StringVar(&s.version, "kubernetes-version", "", "`version` of Kubernetes, such as 1.34")
	f.StringVar(&s.endpoint, "endpoint", "", "`URL` of the API server, for clients of DescribeCluster")
	f.StringVar(&s.ca, "ca", "", "`file` with the API server's CA certificate")
	_ = c.RegisterFlagCompletionFunc("node-binding", cobra.FixedCompletions([]string{"default", "required", "ifPresent", "off"}, cobra.ShellCompDirectiveNoFileComp)) // fails only without the flag
}

func (s *apiServer) read() (jwks []byte, ca string, err error) {
	if s.jwks != "" {
		if jwks, err = os.ReadFile(s.jwks); err != nil {
			return nil, "", err
		}
	}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return nil, "", err
		}
		ca = base64.StdEncoding.EncodeToString(pem)
	}
	return jwks, ca, nil
}

func (a *app) registerCluster() *cobra.Command {
	var in setup.ClusterInput
	var s apiServer
	var tags []string
	c := &cobra.Command{
		Use: "cluster NAME", Short: "Tell podid a cluster's issuer and keys",
		Long: `Tell podid a cluster's issuer and keys, and make the role that the cluster's node agents run as:
podid-node-NAME, trusted for exactly the agents' service account of this cluster, with
AmazonEKSWorkerNodePolicy and a boundary that limits eks-auth to this cluster.

The issuer is the iss of the cluster's tokens: kubectl get --raw /.well-known/openid-configuration.`,
		Example: `  kubectl get --raw /openid/v1/jwks > jwks.json
  podid register cluster my-cluster --issuer https://kubernetes.default.svc.cluster.local --jwks jwks.json

  podid register cluster my-cluster --issuer https://oidc.example.com/my-cluster --discover`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := required(c, "issuer"); err != nil {
				return err
			}
			if (s.jwks == "") == !s.discover {
				return usage(c, errors.New("give either --jwks FILE or --discover"))
			}
			var err error
			if in.JWKS, in.CA, err = s.read(); err != nil {
				return err
			}
			if in.Tags, err = parseTags(c, tags); err != nil {
				return err
			}
			in.Name, in.Discover, in.NodeBinding, in.Version, in.Endpoint, in.Progress = args[0], s.discover, s.binding, s.version, s.endpoint, a.progress
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			out, err := setup.RegisterCluster(c.Context(), api, in)
			if err != nil {
				return err
			}
			return a.printClusters(out.Cluster, out.Cluster)
		},
	}
	s.flags(c)
	f := c.Flags()
	f.StringVar(&in.Issuer, "issuer", "", "`URL` that the cluster's tokens name as their issuer")
	f.BoolVar(&in.NoNodeRole, "no-node-role", false, "do not make the role of the node agents")
	f.StringVar(&in.AgentNamespace, "agent-namespace", setup.AgentNamespace, "`namespace` of the node agents")
	f.StringVar(&in.AgentServiceAccount, "agent-service-account", setup.AgentServiceAccount, "`service account` of the node agents")
	f.StringSliceVar(&tags, "tags", nil, "`key=value` pairs for the cluster")
	a.addOutput(c)
	return c
}

func (a *app) getClusters() *cobra.Command {
	c := &cobra.Command{
		Use: "cluster [NAME]", Aliases: []string{"clusters"}, Short: "Show registered clusters",
		Long:    "Show all registered clusters, or one, with issuer, key ids and unique id.",
		Example: "  podid get clusters\n  podid get cluster my-cluster -o yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				one, err := api.Podid.DescribeCluster(c.Context(), args[0])
				if err != nil {
					return err
				}
				return a.printClusters(one, one)
			}
			list, err := allClusters(c.Context(), api)
			if err != nil {
				return err
			}
			return a.printClusters(list, list...)
		},
	}
	a.addOutput(c)
	return c
}

func allClusters(ctx context.Context, api *clients.Clients) ([]*clients.Cluster, error) {
	names, err := setup.ClusterNames(ctx, api)
	if err != nil {
		return nil, err
	}
	list := []*clients.Cluster{}
	for _, n := range names {
		one, err := api.Podid.DescribeCluster(ctx, n)
		if clients.IsNotFound(err) {
			continue // deleted since it was listed
		}
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

func (a *app) updateCluster() *cobra.Command {
	var s apiServer
	c := &cobra.Command{
		Use: "cluster NAME", Short: "Change a cluster's keys or settings",
		Long: `Change a cluster's keys or settings. What no flag names stays; the issuer never changes. When keys
rotate, give a key set with both the old and the new key until the old key's tokens have expired.`,
		Example: `  kubectl get --raw /openid/v1/jwks > jwks.json
  podid update cluster my-cluster --jwks jwks.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			jwks, ca, err := s.read()
			if err != nil {
				return err
			}
			in := clients.UpdateInput{JWKS: jwks}
			changed := c.Flags().Changed
			for _, opt := range []struct {
				flag  string
				value *string
				field **string
			}{
				{"node-binding", &s.binding, &in.NodeBinding}, {"kubernetes-version", &s.version, &in.Version},
				{"endpoint", &s.endpoint, &in.Endpoint}, {"ca", &ca, &in.CertificateAuthority},
			} {
				if changed(opt.flag) {
					*opt.field = opt.value
				}
			}
			if changed("discover") {
				in.Discover, in.FetchKeys = &s.discover, s.discover && s.jwks == ""
			}
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			out, err := api.Podid.UpdateCluster(c.Context(), args[0], in)
			if err != nil {
				return err
			}
			return a.printClusters(out, out)
		},
	}
	s.flags(c)
	a.addOutput(c)
	return c
}

func (a *app) deleteCluster() *cobra.Command {
	var yes, roleOnly bool
	c := &cobra.Command{
		Use: "cluster NAME", Short: "Forget a cluster, its associations and its node role",
		Long: `Forget a cluster: its associations, and the node role and boundary that register cluster made.
The cluster itself is not touched. A cluster registered later under the same name inherits nothing.`,
		Example: "  podid delete cluster my-cluster",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			name := args[0]
			if !yes {
				ok, err := a.confirm("Delete cluster " + name + " and all its associations?")
				if err != nil {
					return err
				}
				if !ok {
					return setup.ErrDeclined
				}
			}
			if !roleOnly {
				if _, err := api.EKS.DeleteCluster(c.Context(), &eks.DeleteClusterInput{Name: &name}); err != nil {
					return err
				}
				fmt.Fprintln(a.Out, "deleted cluster "+name)
			}
			gone, err := setup.DeleteNodeRole(c.Context(), api, name)
			for _, g := range gone {
				fmt.Fprintln(a.Out, "deleted "+g)
			}
			return err
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&roleOnly, "node-role-only", false, "delete only the node role that an earlier cluster of the name left")
	return c
}
