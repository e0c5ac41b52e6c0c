// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"podid/internal/operator"
)

// lookup reads an environment variable; os.LookupEnv is one.
type lookup func(string) (string, bool)

// options are the flags of server.
type options struct {
	connection
	namespace      string
	identities     string
	kubeconfig     string
	enrolment      string
	metrics        string
	health         string
	leaderElection bool
	injection      injectionOptions
	objects        objectOptions
	missed         missedOptions
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
	o.connection.register(f)
	text := texts(f)
	text(&o.namespace, "namespace", "", "the operator's own namespace (required)")
	text(&o.identities, "write-aws-webhook-config-file", "", "keep the file that AWS' own webhook watches for identities (its --watch-container-credentials-config)")
	text(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the API server, where the operator runs outside of the cluster")
	text(&o.enrolment, "enrolment-key-file", "", "the cluster's enrolment key, with which the API server's keys are brought to the control plane; without it others bring them")
	text(&o.metrics, "metrics-address", ":8080", "address of /metrics; 0 for none")
	text(&o.health, "health-address", ":8081", "address of /livez and /readyz")
	f.BoolVar(&o.leaderElection, "leader-election", true, "run controllers on one replica only; the webhook is served by all")
	o.injection.register(f)
	o.objects.register(f)
	o.missed.register(f)
}

// texts adds flags whose help tells the variables that stand in for them.
func texts(f *pflag.FlagSet) func(p *string, name, value, help string) {
	return func(p *string, name, value, help string) {
		if vars := environment[name]; vars != nil {
			help += " [" + strings.Join(vars, ", ") + "]"
		}
		f.StringVar(p, name, value, help)
	}
}

// resolve fills in the environment and names every required flag that is missing.
func (o *options) resolve(env lookup, given func(flag string) bool) error {
	o.injection.serviceHost, _ = env("KUBERNETES_SERVICE_HOST")
	return errors.Join(o.connection.resolve(env, given), resolve(env, given, []needed{{"namespace", &o.namespace, true}}))
}

func (o *options) config(log *slog.Logger) (operator.Config, error) {
	injection, err := o.injection.config(o.caFile)
	if err != nil {
		return operator.Config{}, err
	}
	missed, err := o.missed.config()
	if err != nil {
		return operator.Config{}, err
	}
	client, err := o.client()
	if err != nil {
		return operator.Config{}, err
	}
	kube, err := o.kubernetes()
	if err != nil {
		return operator.Config{}, err
	}
	return operator.Config{
		Cluster: o.cluster, Namespace: o.namespace, MetricsAddress: o.metrics, HealthAddress: o.health, LeaderElection: o.leaderElection,
		IdentitiesFile: o.identities, EnrolmentKeyFile: o.enrolment, Injection: injection, Objects: o.objects.config(), MissedPods: missed, ControlPlane: client, Kubernetes: kube, Log: log,
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
