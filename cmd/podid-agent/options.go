// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/spf13/pflag"

	"podid/internal/agent"
	"podid/internal/agent/credcache"
	"podid/internal/agent/eksauthclient"
	"podid/internal/agent/nodeidentity"
	"podid/internal/agent/otlp"
)

// lookup reads an environment variable; os.LookupEnv is one.
type lookup func(string) (string, bool)

// options are the flags of server. Names and defaults are those of AWS' agent where it has them, but for the metrics
// address, which is loopback here.
type options struct {
	cluster, region         string
	endpoint, stsEndpoint   string
	allowHTTP               bool
	caFile                  string
	bindHosts               []string
	port, probePort         uint16
	metricsAddress          string
	metricsPort             uint16
	retention               time.Duration
	renewFloor              time.Duration
	cacheSize, qps          int
	cacheBytes              int64
	requestRate, burst      int
	attempt, total, wait    time.Duration
	attempts                int
	rotate                  bool
	nodeRole, nodeTokenFile string
	nodeName                string
	setUpLink               bool
	handoverDir, stateDir   string
	tokens                  tokenOptions
	kube                    kubernetesOptions
	sharedFile              string
	otlpEndpoint            string
	otlp                    *otlp.Settings // nil: metrics are not pushed
}

// environment names the variables that stand in for flags that were not given, the first set one winning.
var environment = map[string][]string{
	"cluster-name":    {"PODID_CLUSTER", "CLUSTER_NAME"},
	"region":          {"AWS_REGION", "AWS_DEFAULT_REGION"},
	"endpoint":        {"AWS_ENDPOINT_URL_EKS_AUTH", "AWS_ENDPOINT_URL"},
	"sts-endpoint":    {"AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"},
	"ca-file":         {"AWS_CA_BUNDLE"},
	"node-role-arn":   {"AWS_ROLE_ARN"},
	"node-token-file": {"AWS_WEB_IDENTITY_TOKEN_FILE"},
	"node-name":       {"NODE_NAME", "AWS_ROLE_SESSION_NAME"},
	"issuer":          {"PODID_ISSUER"},
	"otlp-endpoint":   {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"}, // read by otlp.Read
}

func (o *options) register(f *pflag.FlagSet) {
	f.SortFlags = false
	described := func(name, text string) string {
		if vars := environment[name]; vars != nil {
			text += " [" + strings.Join(vars, ", ") + "]"
		}
		return text
	}
	text := func(p *string, name, short, value, help string) {
		f.StringVarP(p, name, short, value, described(name, help))
	}
	text(&o.cluster, "cluster-name", "c", "", "name of this cluster in EKS Auth (required)")
	text(&o.region, "region", "", "", "region that calls are signed for (required)")
	text(&o.endpoint, "endpoint", "", "", "EKS Auth endpoint; several of one control plane, separated by commas, the preferred first")
	text(&o.stsEndpoint, "sts-endpoint", "", "", "STS endpoint or endpoints, for the node role")
	text(&o.caFile, "ca-file", "", "", "PEM file of the only CAs to trust at both endpoints")
	f.BoolVar(&o.allowHTTP, "allow-http-endpoint", false, "permit http:// endpoints that are not loopback; tokens and keys then travel readable")
	text(&o.nodeRole, "node-role-arn", "", "", "role that the agent itself assumes")
	text(&o.nodeTokenFile, "node-token-file", "", "", "its own projected service account token, of audience "+nodeidentity.Audience)
	text(&o.nodeName, "node-name", "", "", "session name of the node role (default the host name)")
	f.BoolVar(&o.rotate, "rotate-credentials", false, "sign with profile default of the shared credentials file, read anew every minute (hybrid nodes)")
	f.StringSliceVarP(&o.bindHosts, "bind-hosts", "b", []string{agent.DefaultIPv4Host, "[" + agent.DefaultIPv6Host + "]"}, "addresses that serve credentials; repeatable; one that cannot be bound is only warned about")
	f.Uint16VarP(&o.port, "port", "p", agent.DefaultPort, "port that serves credentials")
	f.Uint16Var(&o.probePort, "probe-port", agent.DefaultProbePort, "port of /healthz and /readyz on localhost")
	f.StringVar(&o.metricsAddress, "metrics-address", "127.0.0.1", "address of /metrics, which serves the probes too")
	f.Uint16Var(&o.metricsPort, "metrics-port", agent.DefaultMetricsPort, "port of /metrics")
	text(&o.otlpEndpoint, "otlp-endpoint", "", "", "OpenTelemetry collector that metrics are pushed to by OTLP/HTTP, at /v1/metrics below this URL, such as http://collector:4318 (default none)")
	f.DurationVar(&o.retention, "max-credential-retention-before-renewal", credcache.DefaultRetention, "age at which credentials are due for renewal, unless half of their life is over before; 0 means no cache")
	f.DurationVar(&o.renewFloor, "min-credential-age-before-renewal", credcache.DefaultRenewFloor, "age before which even very short credentials are not renewed")
	f.IntVar(&o.cacheSize, "max-cache-size", credcache.DefaultMaxEntries, "pods whose credentials are kept; 0 means no cache")
	f.Int64Var(&o.cacheBytes, "max-cache-bytes", credcache.DefaultMaxBytes, "bytes that credentials and tokens may take")
	f.IntVar(&o.qps, "max-service-qps", credcache.DefaultRefreshQPS, "background renewals per second, the most urgent first")
	f.IntVar(&o.requestRate, "max-request-rate", agent.DefaultRequestRate, "requests per second of one pod, above which the answer is 429; 0 means no limit")
	f.IntVar(&o.burst, "max-request-burst", agent.DefaultBurst, "requests of one pod above the rate that are let through at once")
	f.DurationVar(&o.attempt, "attempt-timeout", 0, "time of one try at EKS Auth (default 1s with several endpoints, else that of all tries)")
	f.DurationVar(&o.total, "total-timeout", eksauthclient.DefaultTotalTimeout, "time of all tries together")
	f.DurationVar(&o.wait, "wait-timeout", credcache.DefaultWaitTimeout, "time a pod waits for EKS Auth; the tries go on, for the pod's next request")
	f.IntVar(&o.attempts, "max-attempts", eksauthclient.DefaultMaxAttempts, "tries at EKS Auth: of one that cannot be reached, or of several endpoints")
	f.BoolVar(&o.setUpLink, "set-up-link", false, "do what initialize does first, and again when an address vanishes")
	f.StringVar(&o.handoverDir, "handover-dir", "", "folder of root alone, the same for all agents of the node (/run/podid/agent), in which one process hands sockets and cache to the next, so that an upgrade refuses no request")
	f.StringVar(&o.stateDir, "state-dir", "", "folder on memory (an emptyDir of medium Memory) that keeps the cache over a restart of the container, sealed with a key in --handover-dir")
	o.tokens.register(f, described)
	o.kube.register(f)
}

// resolve fills in the environment and checks what New cannot; every problem is reported.
func (o *options) resolve(env lookup, given func(flag string) bool) error {
	o.tokens.resolve(env, given)
	for name, target := range map[string]*string{
		"cluster-name": &o.cluster, "region": &o.region, "endpoint": &o.endpoint, "sts-endpoint": &o.stsEndpoint,
		"ca-file": &o.caFile, "node-name": &o.nodeName, "issuer": &o.tokens.issuer,
	} {
		o.fallBack(env, given, name, target)
	}
	// A role without a token file in the environment (or the reverse) is another program's setting; by flag it is a mistake.
	byFlag := given("node-role-arn") || given("node-token-file")
	o.fallBack(env, given, "node-role-arn", &o.nodeRole)
	o.fallBack(env, given, "node-token-file", &o.nodeTokenFile)
	o.sharedFile, _ = env("AWS_SHARED_CREDENTIALS_FILE")

	var problems []error
	var err error
	if o.otlp, err = otlp.Read(otlp.Lookup(env), o.otlpEndpoint); err != nil {
		problems = append(problems, err)
	}
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.cluster == "" {
		complain("--cluster-name is required")
	}
	if o.region == "" {
		complain("--region is required (or AWS_REGION)")
	}
	if (o.nodeRole == "") != (o.nodeTokenFile == "") {
		if byFlag {
			complain("--node-role-arn and --node-token-file: want both or none")
		}
		o.nodeRole, o.nodeTokenFile = "", ""
	}
	if o.rotate && byFlag {
		complain("--rotate-credentials and --node-role-arn: want one identity")
	}
	for name, n := range map[string]int{"max-cache-size": o.cacheSize, "max-request-rate": o.requestRate, "max-request-burst": o.burst} {
		if n < 0 {
			complain("--%s %d: must not be negative", name, n)
		}
	}
	if o.requestRate > 0 && o.burst == 0 {
		complain("--max-request-burst 0: would refuse every request")
	}
	if o.qps < 1 {
		complain("--max-service-qps %d: must be at least 1", o.qps)
	}
	if o.attempts < 1 {
		complain("--max-attempts %d: must be at least 1", o.attempts)
	}
	if o.attempt < 0 || o.total <= 0 || o.wait <= 0 || o.renewFloor <= 0 || o.cacheBytes <= 0 || o.retention < 0 {
		complain("--total-timeout, --wait-timeout, --min-credential-age-before-renewal, --max-cache-bytes: must be positive; --attempt-timeout, --max-credential-retention-before-renewal: not negative")
	}
	return errors.Join(append(problems, o.tokens.check())...)
}

func (o *options) fallBack(env lookup, given func(string) bool, name string, target *string) {
	if given(name) {
		return
	}
	for _, variable := range environment[name] {
		if value, ok := env(variable); ok && value != "" {
			*target = value
			return
		}
	}
}

// agentConfig turns the flags into the agent's configuration.
func (o *options) agentConfig(ctx context.Context, log *slog.Logger) (agent.Config, error) {
	follow := o.kube.followFeed && o.endpoint != "" // AWS has no such feed
	if o.endpoint == "" {
		o.endpoint = eksauthclient.DefaultEndpoint(o.region)
	}
	roots, err := loadCAs(o.caFile)
	if err != nil {
		return agent.Config{}, err
	}
	identity, err := o.identity(ctx, roots)
	if err != nil {
		return agent.Config{}, err
	}
	tokens, err := o.tokenConfig(identity, roots, log)
	if err != nil {
		return agent.Config{}, err
	}
	node := cmp.Or(tokens.Node, o.tokens.nodeName)
	kubernetes, err := o.kubernetes(node)
	if err != nil {
		return agent.Config{}, err
	}
	if o.otlpEndpoint != "" && o.otlp == nil {
		log.Warn("metrics are not pushed: OTEL_SDK_DISABLED or OTEL_METRICS_EXPORTER says so, whatever --otlp-endpoint does")
	}
	port := func(n uint16) string { return strconv.Itoa(int(n)) }
	cfg := agent.Config{
		Cluster: o.cluster, Region: o.region, Endpoint: o.endpoint, AllowHTTPEndpoint: o.allowHTTP,
		Credentials: identity, RootCAs: roots,
		AttemptTimeout: o.attempt, TotalTimeout: o.total, WaitTimeout: o.wait, MaxAttempts: o.attempts,
		ProbeAddress:   net.JoinHostPort("localhost", port(o.probePort)),
		MetricsAddress: net.JoinHostPort(strings.Trim(o.metricsAddress, "[]"), port(o.metricsPort)),
		MaxCacheSize:   offIfZero(o.cacheSize), MaxCacheBytes: o.cacheBytes, Retention: offIfZero(o.retention), RenewFloor: o.renewFloor, RefreshQPS: o.qps,
		RequestRate: offIfZero(o.requestRate), RequestBurst: o.burst,
		Tokens: tokens, HandoverDir: o.handoverDir, StateDir: o.stateDir, Kubernetes: kubernetes, FollowAssociations: follow, OTLP: o.otlp, Node: node, Log: log, Version: version,
	}
	for _, host := range o.bindHosts {
		cfg.BindAddresses = append(cfg.BindAddresses, net.JoinHostPort(strings.Trim(host, "[]"), port(o.port)))
	}
	return cfg, nil
}

// offIfZero: on the command line 0 switches off, in agent.Config it means the default and less than 0 switches off.
func offIfZero[T int | time.Duration](n T) T {
	if n == 0 {
		return -1
	}
	return n
}

// identity chooses the agent's own credentials.
func (o *options) identity(ctx context.Context, roots *x509.CertPool) (aws.CredentialsProvider, error) {
	switch {
	case o.rotate:
		return nodeidentity.NewSharedFile(o.sharedFile, nil), nil
	case o.nodeRole != "":
		if o.stsEndpoint == "" {
			o.stsEndpoint = "https://sts." + o.region + ".amazonaws.com"
		}
		if o.nodeName == "" {
			name, err := os.Hostname()
			if err != nil {
				return nil, fmt.Errorf("find the host's name for the session name: %w", err)
			}
			o.nodeName = name
		}
		return nodeidentity.NewWebIdentity(nodeidentity.WebIdentityConfig{
			RoleARN: o.nodeRole, TokenFile: o.nodeTokenFile, SessionName: o.nodeName,
			Endpoint: o.stsEndpoint, AllowPlainHTTP: o.allowHTTP, HTTP: eksauthclient.NewHTTPClient(roots),
		})
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(o.region))
	if err != nil {
		return nil, fmt.Errorf("load the SDK's configuration: %w", err)
	}
	return cfg.Credentials, nil
}

// loadCAs reads the CAs to trust; like AWS_CA_BUNDLE they replace the system's.
func loadCAs(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s holds no PEM certificate", path)
	}
	return roots, nil
}
