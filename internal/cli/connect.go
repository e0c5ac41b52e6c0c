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
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/kubeclient"
	"podid/internal/cli/setup"
)

// codeFile is where an activation code goes. It is opened before the cluster
// is registered: a code that cannot be kept must not be made.
type codeFile struct {
	path string
	file *os.File
}

func newCodeFile(path, cluster string) (*codeFile, error) {
	if path == "" {
		path = cluster + "-activation-code"
		if strings.ContainsAny(cluster, `/\`) {
			return nil, usagef("%q is no name of a cluster", cluster)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the file of the code: %w", err)
	}
	return &codeFile{path, f}, nil
}

func (c *codeFile) write(code clients.SecretString) error {
	_, err := fmt.Fprintln(c.file, string(code))
	if err = errors.Join(err, c.file.Sync(), c.file.Close()); err != nil {
		return fmt.Errorf("write the activation code: %w", err)
	}
	return nil
}

// giveUp removes the file that was made for nothing.
func (c *codeFile) giveUp() error { return errors.Join(c.file.Close(), os.Remove(c.path)) }

// activation is a PENDING cluster's way to be ACTIVE, in JSON and YAML.
type activation struct {
	ID        string    `json:"id"`
	CodeFile  string    `json:"codeFile,omitempty"` // of register only
	Issuer    string    `json:"issuer,omitempty"`
	ExpiresAt time.Time `json:"expiresAt"`
}

func newActivation(a *clients.Activation) *activation {
	if a == nil {
		return nil
	}
	return &activation{ID: a.ID, Issuer: a.Issuer, ExpiresAt: clients.Epoch(a.ExpiresAt)}
}

func (x *activation) text() string {
	if x == nil {
		return ""
	}
	return "until " + x.ExpiresAt.Format(time.RFC3339)
}

// connectCluster registers a cluster that brings its keys by itself.
func (a *app) connectCluster(ctx context.Context, in setup.ClusterInput, path string) error {
	c, err := a.clients(ctx)
	if err != nil {
		return err
	}
	keep, err := newCodeFile(path, in.Name)
	if err != nil {
		return err
	}
	made, err := setup.RegisterCluster(ctx, c, in)
	if err != nil {
		return errors.Join(err, keep.giveUp())
	}
	x := a.registered(made, &in)
	lost := &setup.Failure{Hint: "the cluster is there, its code was not kept: podid delete cluster " + in.Name + ", and register it again"}
	if made.Cluster.Activation == nil || made.Cluster.Activation.Code == "" {
		lost.Err = errors.Join(errors.New("the answer holds no activation code"), keep.giveUp())
		return lost
	}
	if err := keep.write(made.Cluster.Activation.Code); err != nil {
		lost.Err = err
		return lost
	}
	x.Activation.CodeFile = keep.path
	a.say("wrote the activation code to %s", keep.path)
	a.say("next, where the cluster is administered: podid activate cluster %s --code-file %s --kubeconfig FILE --endpoint-url %s", in.Name, keep.path, c.Podid.Endpoint)
	return a.print(x, x.fields)
}

// kubeFlags say where a cluster's API server is.
type kubeFlags struct{ file, context string }

func (k *kubeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.file, "kubeconfig", "", "`file` of the kubeconfig to read issuer, keys, version, endpoint and CA with")
	cmd.Flags().StringVar(&k.context, "context", "", "`name` of the kubeconfig's context; the current one without it")
}

func (k *kubeFlags) given() bool { return k.file != "" || k.context != "" }

// told is what an API server and its kubeconfig say of a cluster.
type told struct {
	issuer, version, endpoint, ca string
	jwks                          json.RawMessage
}

func (a *app) kube(k kubeFlags) (*kubeclient.Client, error) {
	return kubeclient.Load(kubeclient.Options{Kubeconfig: k.file, Context: k.context, Environ: a.environ, Stdin: a.In, Stderr: a.Err, Now: a.now})
}

func (a *app) ask(ctx context.Context, k kubeFlags) (*told, error) {
	c, err := a.kube(k)
	if err != nil {
		return nil, err
	}
	id, err := c.OpenID(ctx)
	if err != nil {
		return nil, err
	}
	out := &told{issuer: id.Issuer, jwks: id.JWKS}
	if out.version, err = c.Version(ctx); err != nil {
		return nil, err
	}
	if ca := c.CA(); ca != nil {
		out.ca = base64.StdEncoding.EncodeToString(ca)
	}
	if reachable(c.Server()) {
		out.endpoint = c.Server()
	} else {
		a.say("left out the endpoint %s: it means something else on every machine; --endpoint names another", c.Server())
	}
	return out, nil
}

// reachable reports whether a server's URL can mean the same to others.
func reachable(server string) bool {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Hostname() == "localhost" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip == nil || !ip.IsLoopback()
}

type activateFlags struct {
	clients.ActivateInput
	codeFile, jwks, ca string
	kube               kubeFlags
	enrol              enrolFlags
	namespace          string // of the operator
}

func (a *app) activateCluster() *cobra.Command {
	var in activateFlags
	cmd := &cobra.Command{
		Use:   "cluster NAME",
		Short: "Bring issuer and keys of a cluster with its activation code",
		Long: `Make a cluster ACTIVE that was registered without keys: by podid register cluster --connect, or by
RegisterCluster of EKS. It needs the activation code and no credentials, only endpoint and CA of
the control plane. A code is good once, and for three days.

Issuer and keys come from the API server, by a kubeconfig whose user may read them (ClusterRole
system:service-account-issuer-discovery), or from --issuer and --jwks. With a kubeconfig the
version, endpoint and CA for DescribeCluster come from there too, unless flags name others.

With a kubeconfig, or --enrolment-file, the enrolment key of the operator is made too, with which it
brings the cluster's keys whenever they change: podid register cluster tells of it.`,
		Example: `  podid activate cluster my-cluster --code-file my-cluster-activation-code --kubeconfig ~/.kube/config

  kubectl get --raw /openid/v1/jwks > jwks.json
  podid activate cluster my-cluster --code-file - --jwks jwks.json \
    --issuer "$(kubectl get --raw /.well-known/openid-configuration | jq -r .issuer)" < code`,
		Args: exactly(1, "the NAME of the cluster"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := in.check(); err != nil {
				return err
			}
			if err := a.fillActivation(cmd.Context(), &in); err != nil {
				return err
			}
			p, err := clients.LoadUnsigned(cmd.Context(), a.options)
			if err != nil {
				return err
			}
			e, public, err := a.enrol(in.enrol, in.kube, args[0], in.namespace)
			if err != nil {
				return err
			}
			in.EnrolmentKey = public
			out, err := p.Activate(cmd.Context(), args[0], in.ActivateInput)
			if err != nil {
				return errors.Join(activationFailure(err), e.giveUp())
			}
			if err := a.keep(cmd.Context(), e, out.Arn, out.UID); err != nil {
				return err
			}
			return a.activated(out, p.Endpoint)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.codeFile, "code-file", "", "`file` of the activation code; - is standard input")
	f.StringVar(&in.Issuer, "issuer", "", "issuer `URL` of the cluster's service account tokens")
	f.StringVar(&in.jwks, "jwks", "", "`file` of the cluster's public keys, a JSON Web Key Set")
	in.kube.add(cmd)
	in.enrol.add(cmd)
	f.BoolVar(&in.enrol.none, "no-enrolment", false, "make no enrolment key for the operator")
	f.StringVar(&in.namespace, "operator-namespace", setup.OperatorNamespace, "`namespace` of the operator")
	f.StringVar(&in.Endpoint, "endpoint", "", "`URL` of the cluster's API server, for DescribeCluster")
	f.StringVar(&in.ca, "ca", "", "`file` of the API server's CA certificate, for DescribeCluster")
	f.StringVar(&in.Version, "kubernetes-version", "", "Kubernetes `version`, for DescribeCluster: 1.34")
	return cmd
}

func (in *activateFlags) check() error {
	if err := missing("code-file", in.codeFile); err != nil {
		return err
	}
	switch own := in.Issuer != "" || in.jwks != ""; {
	case own && in.kube.given():
		return usagef("give --kubeconfig, or --issuer and --jwks, not both")
	case !own && !in.kube.given():
		return usagef("--kubeconfig, or --issuer and --jwks are needed")
	case own:
		if err := missing("issuer", in.Issuer, "jwks", in.jwks); err != nil {
			return err
		}
	}
	if err := in.enrol.check(in.kube); err != nil {
		return err
	}
	if in.jwks == "-" && in.codeFile == "-" {
		return usagef("--jwks and --code-file cannot both be standard input")
	}
	return nil
}

// fillActivation reads files and, with a kubeconfig, asks the API server.
func (a *app) fillActivation(ctx context.Context, in *activateFlags) error {
	var err error
	if in.Code, err = a.readCode(in.codeFile); err != nil {
		return err
	}
	if in.CertificateAuthority, err = readCA(in.ca); err != nil {
		return err
	}
	if !in.kube.given() {
		in.JWKS, err = readJWKS(in.jwks, a.In)
		return err
	}
	said, err := a.ask(ctx, in.kube)
	if err != nil {
		return err
	}
	in.Issuer, in.JWKS = said.issuer, said.jwks
	fillEmpty(&in.Version, said.version)
	fillEmpty(&in.Endpoint, said.endpoint)
	fillEmpty(&in.CertificateAuthority, said.ca)
	return nil
}

func fillEmpty(to *string, from string) {
	if *to == "" {
		*to = from
	}
}

// maxCode bounds a file of a code in bytes.
const maxCode = 4 << 10

func (a *app) readCode(name string) (clients.SecretString, error) {
	in := a.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", usagef("--code-file: %w", err)
		}
		defer func() { _ = f.Close() }() // it was read
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxCode+1))
	if err != nil {
		return "", usagef("--code-file: %w", err)
	}
	code := strings.TrimSpace(string(text))
	if code == "" || len(text) > maxCode || strings.ContainsAny(code, " \t\r\n") {
		return "", usagef("--code-file: %s does not hold one activation code", name)
	}
	return clients.SecretString(code), nil
}

// activationFailure says what helps, where that is known.
func activationFailure(err error) error {
	if setupErr := (*clients.SetupError)(nil); errors.As(err, &setupErr) {
		return err // nothing was sent
	}
	switch clients.Code(err) {
	case "AccessDeniedException":
		return &setup.Failure{Err: err, Hint: "check the cluster's name and the endpoint; a code ends when the cluster is deleted or registered again"}
	case "ResourceInUseException":
		return &setup.Failure{Err: err, Hint: "if it was not you: have the cluster deleted and registered again; podid get cluster NAME shows whose keys it has"}
	case "":
		return &setup.Failure{Err: err, Hint: "if the answer was lost, the code may be used: podid get cluster NAME shows it"}
	}
	return err
}

func (a *app) activated(out *clients.Cluster, endpoint string) error {
	a.say("activated cluster %s", out.Name)
	account, region := "", ""
	if parts := strings.SplitN(out.Arn, ":", 6); len(parts) == 6 {
		region, account = parts[3], parts[4]
		role := "arn:" + parts[1] + ":iam::" + account + ":role/" + setup.NodeRoleName(out.Name)
		a.say("next: run the node agent: podid-agent server --cluster-name %s --region %s --endpoint %s --node-role-arn %s", out.Name, region, endpoint, role)
		a.say("      and associate roles: podid create podidentityassociation --cluster %s …", out.Name)
	}
	x := struct {
		Name        string   `json:"name"`
		Arn         string   `json:"arn"`
		UID         string   `json:"uid"`
		Status      string   `json:"status"`
		Issuer      string   `json:"issuer"`
		ProviderArn string   `json:"providerArn"`
		KeyIDs      []string `json:"keyIds"`
	}{out.Name, out.Arn, out.UID, out.Status, out.Issuer, out.ProviderArn, out.KeyIDs}
	return a.print(x, func(w io.Writer) error {
		return fields(w, "cluster", x.Name, "status", x.Status, "arn", x.Arn, "unique id", x.UID, "issuer", x.Issuer, "provider", x.ProviderArn, "keys", strings.Join(x.KeyIDs, ", "))
	})
}
