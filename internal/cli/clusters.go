// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

var bindings = []string{"default", "required", "ifPresent", "off"}

// clusterJSON is a cluster in JSON and YAML.
type clusterJSON struct {
	Name                 string            `json:"name"`
	Arn                  string            `json:"arn"`
	Status               string            `json:"status"`
	Activation           *activation       `json:"activation,omitempty"` // while PENDING
	UID                  string            `json:"uid"`
	Issuer               string            `json:"issuer"`
	ProviderArn          string            `json:"providerArn"`
	KeyIDs               []string          `json:"keyIds"`
	RetiredKeys          []retiredKey      `json:"retiredKeys,omitempty"`
	EnrolmentKeyID       string            `json:"enrolmentKeyId,omitempty"`
	Discover             bool              `json:"discover"`
	NodeBinding          string            `json:"nodeBinding"`
	NodeRoleArn          string            `json:"nodeRoleArn,omitempty"`     // of register only
	OperatorRoleArn      string            `json:"operatorRoleArn,omitempty"` // likewise
	Version              string            `json:"version,omitempty"`
	Endpoint             string            `json:"endpoint,omitempty"`
	CertificateAuthority string            `json:"certificateAuthority,omitempty"`
	Tags                 map[string]string `json:"tags"`
	CreatedAt            time.Time         `json:"createdAt"`
	ModifiedAt           time.Time         `json:"modifiedAt"`
}

func newCluster(c *clients.Cluster) clusterJSON {
	return clusterJSON{
		Name: c.Name, Arn: c.Arn, Status: c.Status, Activation: newActivation(c.Activation), UID: c.UID, Issuer: c.Issuer, ProviderArn: c.ProviderArn, KeyIDs: c.KeyIDs, RetiredKeys: newRetired(c.RetiredKeys), EnrolmentKeyID: c.EnrolmentKeyID, Discover: c.Discover,
		NodeBinding: c.NodeBinding, Version: c.Version, Endpoint: c.Endpoint, CertificateAuthority: c.CertificateAuthority, Tags: c.Tags,
		CreatedAt: clients.Epoch(c.CreatedAt), ModifiedAt: clients.Epoch(c.ModifiedAt),
	}
}

func (x clusterJSON) fields(w io.Writer) error {
	keys := ""
	switch {
	case x.Activation != nil:
	case x.Discover:
		keys = strings.Join(x.KeyIDs, ", ") + " (fetched from the issuer)"
	default:
		keys = strings.Join(x.KeyIDs, ", ") + " (registered)"
	}
	return fields(w, "cluster", x.Name, "status", x.Status, "activation", x.Activation.text(), "arn", x.Arn, "unique id", x.UID, "issuer", x.Issuer, "provider", x.ProviderArn,
		"keys", keys, "retired keys", retiredText(x.RetiredKeys), "enrolment key", x.EnrolmentKeyID, "node binding", x.NodeBinding, "node role", x.NodeRoleArn, "operator role", x.OperatorRoleArn, "version", x.Version,
		"endpoint", x.Endpoint, "tags", tagText(x.Tags), "created", x.CreatedAt.Format(time.RFC3339), "modified", x.ModifiedAt.Format(time.RFC3339))
}

func (a *app) registerCluster() *cobra.Command {
	in := setup.ClusterInput{}
	var from clusterSource
	cmd := &cobra.Command{
		Use:   "cluster NAME",
		Short: "Register a cluster: issuer, keys and the role of its nodes",
		Long: `Register a cluster, so that tokens of its service accounts can be exchanged. Needed are the
issuer of its tokens and the public keys that sign them: from a file (kubectl get --raw
/openid/v1/jwks), from the API server by --kubeconfig, or fetched from the issuer's discovery
document if the control plane reaches it. With --connect the cluster brings them by itself, with an
activation code that is written to a file: podid activate cluster.
The issuer does not identify the cluster: several clusters may have the same, with keys of their own.

Two roles are created too. podid-node-NAME is for the node agents of this cluster and nobody else, who
assume it with their own service account token; it has AmazonEKSWorkerNodePolicy, and a boundary that
limits exchanges to this cluster. podid-operator-NAME is for this cluster's operator likewise: it keeps
the cluster's associations, and exchanges nothing. The operator may give pods only the roles that
--operator-pass-role names, an ARN or a pattern of ARNs, and so none without it: podid update cluster
NAME --operator-pass-role changes them. It is all or nothing: when a step fails, the steps before are undone.

With --kubeconfig, --enrolment-file or --enrolment-secret an enrolment key pair is made: podid keeps the
public half, and the private half goes into the Secret podid-operator-enrolment, with which this
cluster's operator, and nobody else, brings the cluster's keys whenever they change.

--node-binding required refuses to exchange a pod's token for any other node than the pod's own,
ifPresent checks nodes when both sides name one, off does not check. The default requires it
of tokens that name their node (Kubernetes 1.30 on), and is ifPresent for others.`,
		Example: `  kubectl get --raw /openid/v1/jwks > jwks.json
  podid register cluster my-cluster --jwks jwks.json \
    --issuer "$(kubectl get --raw /.well-known/openid-configuration | jq -r .issuer)"

  # keys fetched, now and whenever they are rotated
  podid register cluster my-cluster --issuer https://oidc.example.com/my-cluster --discover

  # all of it from the API server, or by whoever administers the cluster
  podid register cluster my-cluster --kubeconfig ~/.kube/config
  podid register cluster my-cluster --connect --code-file code

  # objects of the CRD may bind the roles of the path app
  podid register cluster my-cluster --kubeconfig ~/.kube/config --operator-pass-role 'arn:aws:iam::111122223333:role/app/*'`,
		Args: exactly(1, "the NAME of the cluster"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Name, in.Progress = args[0], a.progress
			if err := from.check(&in); err != nil {
				return err
			}
			if in.Connect {
				return a.connectCluster(cmd.Context(), in, from.codeFile)
			}
			if err := a.fillCluster(cmd.Context(), &in, &from); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			e, public, err := a.enrol(from.enrol, from.kube, in.Name, in.OperatorNamespace)
			if err != nil {
				return err
			}
			in.EnrolmentKey = public
			made, err := setup.RegisterCluster(cmd.Context(), c, in)
			if err != nil {
				return errors.Join(err, e.giveUp())
			}
			if err := a.keep(cmd.Context(), e, made.Cluster.Arn, made.Cluster.UID); err != nil {
				return err
			}
			x := a.registered(made, &in)
			return a.print(x, x.fields)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Issuer, "issuer", "", "issuer `URL` of the cluster's service account tokens")
	f.StringVar(&from.jwks, "jwks", "", "`file` of the cluster's public keys, a JSON Web Key Set; - is standard input")
	from.kube.add(cmd)
	from.enrol.add(cmd)
	f.BoolVar(&from.enrol.none, "no-enrolment", false, "make no enrolment key for the operator")
	f.BoolVar(&in.Connect, "connect", false, "have the cluster bring its keys with an activation code; --issuer lets it name no other")
	f.StringVar(&from.codeFile, "code-file", "", "`file` to make for the activation code of --connect; NAME-activation-code without it")
	f.BoolVar(&in.Discover, "discover", false, "fetch the keys from the issuer, and again when a new one appears")
	f.StringVar(&in.NodeBinding, "node-binding", "", "`setting`: default, required, ifPresent or off")
	f.StringVar(&in.Endpoint, "endpoint", "", "`URL` of the cluster's API server, for DescribeCluster")
	f.StringVar(&from.ca, "ca", "", "`file` of the API server's CA certificate, for DescribeCluster")
	f.StringVar(&in.Version, "kubernetes-version", "", "Kubernetes `version`, for DescribeCluster: 1.34")
	f.StringToStringVar(&in.Tags, "tags", nil, "`tags` of the cluster: key=value,…")
	f.BoolVar(&in.NoNodeRole, "no-node-role", false, "do not create the role of the cluster's nodes")
	f.StringVar(&in.AgentNamespace, "agent-namespace", setup.AgentNamespace, "`namespace` of the node agents")
	f.StringVar(&in.AgentServiceAccount, "agent-service-account", setup.AgentServiceAccount, "service account `name` of the node agents")
	f.BoolVar(&in.NoOperatorRole, "no-operator-role", false, "do not create the role of the cluster's operator")
	f.StringVar(&in.OperatorNamespace, "operator-namespace", setup.OperatorNamespace, "`namespace` of the operator")
	f.StringVar(&in.OperatorServiceAccount, "operator-service-account", setup.OperatorServiceAccount, "service account `name` of the operator")
	f.StringArrayVar(&in.PassRoles, "operator-pass-role", nil, "`ARN` or pattern of roles that the operator may give pods; may be given several times")
	register(cmd, "node-binding", cobra.FixedCompletions(bindings, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// maxKeys bounds a file of keys in bytes; the server takes less.
const maxKeys = 1 << 20

func readJWKS(name string, stdin io.Reader) (json.RawMessage, error) {
	if name == "" {
		return nil, nil
	}
	var text []byte
	var err error
	if name == "-" {
		text, err = io.ReadAll(io.LimitReader(stdin, maxKeys+1))
	} else {
		text, err = os.ReadFile(name)
	}
	switch {
	case err != nil:
		return nil, usagef("--jwks: %w", err)
	case len(text) > maxKeys:
		return nil, usagef("--jwks: %s is longer than %d bytes", name, maxKeys)
	case !json.Valid(text):
		return nil, usagef("--jwks: %s is not JSON", name)
	}
	return text, nil
}

func readCA(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", usagef("--ca: %w", err)
	}
	return base64.StdEncoding.EncodeToString(text), nil
}

func (a *app) getClusters() *cobra.Command {
	return &cobra.Command{
		Use: "cluster [NAME]", Aliases: []string{"clusters"},
		Short: "Show the registered clusters, or one",
		Long:  `Show the registered clusters, or all about one: unique id, issuer, keys, the provider that stands for its keys in trust policies, node binding.`,
		Example: `  podid get clusters
  podid get cluster my-cluster -o json`,
		Args:              upTo(1),
		ValidArgsFunction: a.completeClusters,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				found, err := c.Podid.DescribeCluster(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				x := newCluster(found)
				return a.print(x, x.fields)
			}
			names, err := setup.ClusterNames(cmd.Context(), c)
			if err != nil {
				return err
			}
			all := []clusterJSON{}
			lines := [][]string{}
			for _, name := range names {
				found, err := c.Podid.DescribeCluster(cmd.Context(), name)
				if clients.IsNotFound(err) {
					continue // deleted meanwhile
				}
				if err != nil {
					return err
				}
				x := newCluster(found)
				all = append(all, x)
				lines = append(lines, []string{x.Name, x.Status, x.Issuer, fmt.Sprint(len(x.KeyIDs)), x.NodeBinding, x.Version, x.Arn})
			}
			return a.print(all, func(w io.Writer) error { return rows(w, "CLUSTER STATUS ISSUER KEYS NODE-BINDING VERSION ARN", lines) })
		},
	}
}

func (a *app) updateCluster() *cobra.Command {
	var jwks, binding, version, endpoint, ca string
	var discover, fetch, keepOld bool
	var passRoles []string
	var enrol newEnrolment
	cmd := &cobra.Command{
		Use:   "cluster NAME",
		Short: "Change a cluster's keys and settings",
		Long: `Change a cluster's keys and settings. What no flag names stays as it is. --jwks replaces all keys at
once, so that tokens of a stolen key are good no more; with --keep-old-keys the old ones are good until
their tokens have expired. --fetch-keys fetches them from the issuer now.
--new-enrolment-key makes another key pair for the cluster's operator and ends the one before, as after a theft;
its private half goes where podid register cluster puts it. --no-enrolment-key ends the one there is.
--operator-pass-role replaces the roles that the cluster's operator may give pods; '' takes the right away.`,
		Example: `  kubectl get --raw /openid/v1/jwks | podid update cluster my-cluster --jwks -
  podid update cluster my-cluster --node-binding off
  podid update cluster my-cluster --operator-pass-role 'arn:aws:iam::111122223333:role/app/*'`,
		Args:              exactly(1, "the NAME of the cluster"),
		ValidArgsFunction: a.completeClusters,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := clients.UpdateInput{FetchKeys: fetch, KeepOldKeys: keepOld}
			var err error
			if in.JWKS, err = readJWKS(jwks, a.In); err != nil {
				return err
			}
			encoded, err := readCA(ca)
			if err != nil {
				return err
			}
			f := cmd.Flags()
			for flag, set := range map[string]func(){
				"node-binding": func() { in.NodeBinding = &binding }, "kubernetes-version": func() { in.Version = &version },
				"endpoint": func() { in.Endpoint = &endpoint }, "ca": func() { in.CertificateAuthority = &encoded },
				"discover": func() { in.Discover = &discover },
			} {
				if f.Changed(flag) {
					set()
				}
			}
			nothing := in.JWKS == nil && !fetch && in.NodeBinding == nil && in.Version == nil && in.Endpoint == nil && in.CertificateAuthority == nil && in.Discover == nil
			nothing = nothing && !enrol.wanted()
			if nothing && !f.Changed("operator-pass-role") {
				return usagef("say what to change: --jwks, --fetch-keys, --discover, --node-binding, --kubernetes-version, --endpoint, --ca, --new-enrolment-key, --no-enrolment-key or --operator-pass-role")
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if f.Changed("operator-pass-role") {
				if err := a.setPassRoles(cmd.Context(), c, args[0], passRoles); err != nil || nothing {
					return err
				}
			}
			out, err := a.updateEnrolled(cmd.Context(), c, args[0], &in, &enrol)
			if err != nil {
				return err
			}
			a.say("updated cluster %s", out.Name)
			x := newCluster(out)
			return a.print(x, x.fields)
		},
	}
	f := cmd.Flags()
	f.StringVar(&jwks, "jwks", "", "`file` of the cluster's public keys; - is standard input")
	f.BoolVar(&keepOld, "keep-old-keys", false, "accept keys that --jwks has no more until their tokens have expired")
	f.BoolVar(&fetch, "fetch-keys", false, "fetch the keys from the issuer now")
	f.BoolVar(&discover, "discover", false, "fetch keys when a new one appears; =false stops that")
	f.StringVar(&binding, "node-binding", "", "`setting`: default, required, ifPresent or off")
	f.StringVar(&endpoint, "endpoint", "", "`URL` of the cluster's API server")
	f.StringVar(&ca, "ca", "", "`file` of the API server's CA certificate")
	f.StringVar(&version, "kubernetes-version", "", "Kubernetes `version`: 1.34")
	enrol.add(cmd)
	f.StringArrayVar(&passRoles, "operator-pass-role", nil, "`ARN` or pattern of roles that the operator may give pods; may be given several times")
	register(cmd, "node-binding", cobra.FixedCompletions(bindings, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) deleteCluster() *cobra.Command {
	var yes, roleOnly, keepRole bool
	cmd := &cobra.Command{
		Use:   "cluster NAME",
		Short: "Delete a cluster, its associations and the roles of its nodes and its operator",
		Long: `Delete a cluster with its associations, and then the roles and the boundary that registering made.
Roles of the associations stay. A cluster that is registered again under the name inherits nothing.`,
		Example: `  podid delete cluster my-cluster
  podid delete cluster my-cluster --yes`,
		Args:              exactly(1, "the NAME of the cluster"),
		ValidArgsFunction: a.completeClusters,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if !roleOnly {
				if err := a.dropCluster(cmd.Context(), c, args[0], yes); err != nil {
					return err
				}
			}
			if keepRole {
				return nil
			}
			gone, err := setup.DeleteClusterRoles(cmd.Context(), c, args[0])
			for _, what := range gone {
				a.say("deleted %s", what)
			}
			if err != nil {
				return &setup.Failure{Err: err, Hint: "podid delete cluster " + args[0] + " --node-role-only tries again"}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&roleOnly, "node-role-only", false, "delete only the roles of nodes and operator that an earlier cluster of the name left")
	cmd.Flags().BoolVar(&keepRole, "keep-node-role", false, "keep the roles of nodes and operator")
	cmd.MarkFlagsMutuallyExclusive("node-role-only", "keep-node-role")
	return cmd
}

func (a *app) dropCluster(ctx context.Context, c *clients.Clients, name string, yes bool) error {
	if !yes {
		found, err := setup.ListAssociations(ctx, c, &eks.ListPodIdentityAssociationsInput{ClusterName: &name})
		if err != nil && clients.Code(err) != "InvalidRequestException" { // PENDING: it has none yet
			return err
		}
		ok, err := a.confirm(ctx, false, fmt.Sprintf("Delete cluster %s and its %d associations?", name, len(found)))
		if err != nil {
			return err
		}
		if !ok {
			return setup.ErrDeclined
		}
	}
	if _, err := c.EKS.DeleteCluster(ctx, &eks.DeleteClusterInput{Name: &name}); err != nil {
		return err
	}
	a.say("deleted cluster %s", name)
	return nil
}
