// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"podid/internal/operator"
	"podid/internal/operator/podidclient"
)

// lookup reads an environment variable; os.LookupEnv is one.
type lookup func(string) (string, bool)

// options are the flags of server.
type options struct {
	cluster, region, namespace string
	endpoint, caFile           string
	allowHTTP                  bool
	role, tokenFile, session   string
	kubeconfig                 string
	metrics, health            string
	leaderElection             bool
}

// environment names the variables that stand in for flags that were not given, the first set one winning.
var environment = map[string][]string{
	"cluster-name":        {"PODID_CLUSTER", "CLUSTER_NAME"},
	"region":              {"AWS_REGION", "AWS_DEFAULT_REGION"},
	"endpoint":            {"AWS_ENDPOINT_URL"},
	"ca-file":             {"AWS_CA_BUNDLE"},
	"operator-role-arn":   {"AWS_ROLE_ARN"},
	"operator-token-file": {"AWS_WEB_IDENTITY_TOKEN_FILE"},
	"namespace":           {"POD_NAMESPACE"},
	"pod-name":            {"POD_NAME"},
}

func (o *options) register(f *pflag.FlagSet) {
	f.SortFlags = false
	text := func(p *string, name, value, help string) {
		if vars := environment[name]; vars != nil {
			help += " [" + strings.Join(vars, ", ") + "]"
		}
		f.StringVar(p, name, value, help)
	}
	text(&o.cluster, "cluster-name", "", "name of this cluster at the control plane (required)")
	text(&o.region, "region", "", "region that calls are signed for (required)")
	text(&o.endpoint, "endpoint", "", "URL of the control plane (required)")
	text(&o.caFile, "ca-file", "", "PEM file of the only CAs to trust at the control plane")
	f.BoolVar(&o.allowHTTP, "allow-http-endpoint", false, "permit an http:// endpoint that is not loopback; keys and tokens then travel readable")
	text(&o.role, "operator-role-arn", "", "role of the operator (required)")
	text(&o.tokenFile, "operator-token-file", "", "its own projected service account token, of audience "+podidclient.Audience+" (required)")
	text(&o.namespace, "namespace", "", "the operator's own namespace (required)")
	text(&o.session, "pod-name", "podid-operator", "session name of the role, which audit shows")
	text(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the API server, where the operator runs outside of the cluster")
	text(&o.metrics, "metrics-address", ":8080", "address of /metrics; 0 for none")
	text(&o.health, "health-address", ":8081", "address of /livez and /readyz")
	f.BoolVar(&o.leaderElection, "leader-election", true, "run controllers on one replica only; the webhook is served by all")
}

// resolve fills in the environment and names every required flag that is missing.
func (o *options) resolve(env lookup, given func(flag string) bool) error {
	var problems []error
	for _, f := range []struct {
		name     string
		value    *string
		required bool
	}{
		{"cluster-name", &o.cluster, true},
		{"region", &o.region, true},
		{"endpoint", &o.endpoint, true},
		{"ca-file", &o.caFile, false},
		{"operator-role-arn", &o.role, true},
		{"operator-token-file", &o.tokenFile, true},
		{"namespace", &o.namespace, true},
		{"pod-name", &o.session, false},
	} {
		if !given(f.name) {
			for _, name := range environment[f.name] {
				if v, _ := env(name); v != "" {
					*f.value = v
					break
				}
			}
		}
		if f.required && *f.value == "" {
			problems = append(problems, fmt.Errorf("--%s is required (or %s)", f.name, strings.Join(environment[f.name], ", ")))
		}
	}
	return errors.Join(problems...)
}

func (o *options) config(log *slog.Logger) (operator.Config, error) {
	roots, err := readRoots(o.caFile)
	if err != nil {
		return operator.Config{}, err
	}
	client, err := podidclient.New(podidclient.Config{
		Endpoint: strings.TrimSuffix(o.endpoint, "/"), AllowPlainHTTP: o.allowHTTP, Region: o.region, RootCAs: roots,
		RoleARN: o.role, TokenFile: o.tokenFile, SessionName: o.session,
	})
	if err != nil {
		return operator.Config{}, err
	}
	kube, err := o.kubernetes()
	if err != nil {
		return operator.Config{}, err
	}
	return operator.Config{
		Cluster: o.cluster, Namespace: o.namespace, MetricsAddress: o.metrics, HealthAddress: o.health, LeaderElection: o.leaderElection,
		ControlPlane: client, Kubernetes: kube, Log: log,
	}, nil
}

func (o *options) kubernetes() (*rest.Config, error) {
	if o.kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("find the API server (outside of a cluster: --kubeconfig): %w", err)
		}
		return cfg, nil
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read --kubeconfig: %w", err)
	}
	return cfg, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is the system's roots
	}
	text, err := os.ReadFile(file) //nolint:gosec // the user names the file
	if err != nil {
		return nil, fmt.Errorf("read --ca-file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca-file %s has no certificate in PEM", file)
	}
	return roots, nil
}
