// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package serverconfig

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"podid/internal/iam"
)

// A setting is one row of the table that flags, environment, file and help
// are made from.
type setting struct {
	name  string // of the flag and in the file; PODID_NAME in the environment
	group string
	kind  string // what the help calls the value; "" for a switch
	list  bool   // may be given several times
	def   string // as somebody would write it
	shown string // the default in the help where def does not tell
	usage string
	set   func(c *Config, values []string) error
}

// env is the setting's variable.
func (s setting) env() string {
	return "PODID_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// The groups in the order of the help.
var groups = []string{"Identity", "Listener", "Store", "Security", "Own cluster", "Audit and logs"}

// settings is the table, with def of data-dir and region filled in later.
func settings() []setting {
	var all []setting
	for _, rows := range [][]setting{identitySettings(), listenerSettings(), storeSettings(), securitySettings(), ownClusterSettings(), auditSettings()} {
		all = append(all, rows...)
	}
	return all
}

func identitySettings() []setting {
	return []setting{
		{name: "account-id", group: "Identity", kind: "12-digits", usage: "the AWS account that this control plane stands for (required)", set: text(func(c *Config) *string { return &c.AccountID })},
		{name: "region", group: "Identity", kind: "name", shown: "AWS_REGION or AWS_DEFAULT_REGION", usage: "the region it stands for; signatures have to name it (required)", set: text(func(c *Config) *string { return &c.Region })},
		{name: "partition", group: "Identity", kind: "name", def: "aws", usage: "the partition in ARNs", set: text(func(c *Config) *string { return &c.Partition })},
		{name: "org-id", group: "Identity", kind: "o-id", usage: "the organization, for the condition key aws:SourceOrgID", set: text(func(c *Config) *string { return &c.OrgID })},
	}
}

func listenerSettings() []setting {
	const g = "Listener"
	return []setting{
		{name: "listen", group: g, kind: "host:port", def: ":8443", usage: "the address of all services", set: text(func(c *Config) *string { return &c.Listen })},
		{name: "tls-cert", group: g, kind: "file", usage: "PEM certificate chain, read again when it changes; without it podid makes its own CA in data-dir/tls", set: text(func(c *Config) *string { return &c.TLSCert })},
		{name: "tls-key", group: g, kind: "file", usage: "PEM key of tls-cert", set: text(func(c *Config) *string { return &c.TLSKey })},
		{name: "tls-names", group: g, kind: "name", list: true, usage: "further DNS name or address of the self-made certificate", set: texts(func(c *Config) *[]string { return &c.TLSNames })},
		{name: "plain-http", group: g, usage: "serve without TLS; only on a loopback address, unless allow-plain-http is set", set: boolean(func(c *Config) *bool { return &c.PlainHTTP })},
		{name: "allow-plain-http", group: g, usage: "let plain-http leave the machine: for a proxy in front that does TLS", set: boolean(func(c *Config) *bool { return &c.AllowPlainHTTP })},
		{name: "request-timeout", group: g, kind: "duration", def: "30s", usage: "the longest that a request may take", set: duration(func(c *Config) *time.Duration { return &c.RequestTimeout })},
		{name: "max-connections", group: g, kind: "number", def: "10000", usage: "open connections; beyond, the longest idle one gives way", set: number(func(c *Config) *int { return &c.MaxConnections })},
		{name: "metrics-address", group: g, kind: "host:port", def: "127.0.0.1:9443", usage: `Prometheus metrics over plain HTTP; "" is off`, set: text(func(c *Config) *string { return &c.MetricsAddress })},
	}
}

func storeSettings() []setting {
	const g = "Store"
	return []setting{
		{name: "data-dir", group: g, kind: "directory", shown: "/var/lib/podid as root, else ~/.podid", usage: "everything that the server keeps", set: text(func(c *Config) *string { return &c.DataDir })},
		{name: "etcd-endpoints", group: g, kind: "url", list: true, usage: "an etcd cluster; without it a member runs inside, in data-dir", set: texts(func(c *Config) *[]string { return &c.EtcdEndpoints })},
		{name: "etcd-ca", group: g, kind: "file", usage: "PEM certificates that vouch for etcd", set: text(func(c *Config) *string { return &c.EtcdCA })},
		{name: "etcd-cert", group: g, kind: "file", usage: "PEM certificate shown to etcd", set: text(func(c *Config) *string { return &c.EtcdCert })},
		{name: "etcd-key", group: g, kind: "file", usage: "PEM key of etcd-cert", set: text(func(c *Config) *string { return &c.EtcdKey })},
		{name: "etcd-insecure", group: g, usage: "take etcd-endpoints without TLS, or without showing a certificate: whoever reaches etcd can then change every record", set: boolean(func(c *Config) *bool { return &c.EtcdInsecure })},
	}
}

func securitySettings() []setting {
	const g = "Security"
	return []setting{
		{name: "root-key-file", group: g, kind: "file", shown: "data-dir/root.key", usage: "the key that seals stored secrets; required with etcd-endpoints, as all replicas need the same", set: text(func(c *Config) *string { return &c.RootKeyFile })},
		{name: "session-key-rotation", group: g, kind: "duration", def: "24h", usage: "how long a key seals new session tokens", set: duration(func(c *Config) *time.Duration { return &c.SessionKeyRotation })},
		{name: "token-max-life", group: g, kind: "duration", def: "24h", usage: "the longest life of a service account token that is accepted", set: duration(func(c *Config) *time.Duration { return &c.TokenMaxLife })},
		{name: "clock-skew", group: g, kind: "duration", def: "5m", usage: "how far the clock of a signature may be off", set: duration(func(c *Config) *time.Duration { return &c.ClockSkew })},
		{name: "association-limit", group: g, kind: "number", def: "5000", usage: "pod identity associations of one cluster", set: number(func(c *Config) *int { return &c.AssociationLimit })},
		{name: "iam-quota", group: g, kind: "name=number", list: true, usage: "a quota of IAM that is to differ from AWS' default in every account, such as RolesPerAccount=5000", set: quotas},
		{name: "allow-issuer-cidr", group: g, kind: "cidr", list: true, usage: "network of OIDC issuers that may be fetched from although it is loopback, link-local or a metadata address", set: prefixes},
		{name: "allow-jwks-origin", group: g, kind: "url", list: true, usage: "https://host[:port] that an issuer's jwks_uri may point to besides the issuer itself", set: origins},
		{name: "oidc-issuer-url", group: g, kind: "url", usage: "https URL at which AWS reaches this server, for accounts whose issuer is webidentity; its path may be anything", set: text(func(c *Config) *string { return &c.OIDCIssuerURL })},
		{name: "token-review", group: g, usage: "answer the TokenReviews of clusters' API servers for k8s-aws-v1 tokens", set: boolean(func(c *Config) *bool { return &c.TokenReview })},
		{name: "token-review-host", group: g, kind: "host[:port]", list: true, usage: "name of STS that those tokens may be made for beside this server's own, such as sts.us-west-2.amazonaws.com", set: texts(func(c *Config) *[]string { return &c.TokenReviewHosts })},
	}
}

// ownClusterSettings are for a server that runs in a pod of the cluster that it
// serves.
func ownClusterSettings() []setting {
	const g = "Own cluster"
	return []setting{
		{name: "register-cluster", group: g, kind: "name", usage: "register the cluster that the server runs in under this name, with the roles of its agents and its operator, and keep its keys", set: text(func(c *Config) *string { return &c.RegisterCluster })},
		{name: "operator-pass-role", group: g, kind: "arn", list: true, usage: "ARN or pattern of roles that the operator of register-cluster may give pods; without it those that it has", set: texts(func(c *Config) *[]string { return &c.OperatorPassRoles })},
		{name: "publish-ca-configmap", group: g, kind: "name", usage: "keep the CA of the listener's certificate in this ConfigMap of the server's namespace, key ca.crt; with tls-cert it is the file ca.crt beside that", set: text(func(c *Config) *string { return &c.PublishCAConfigMap })},
		{name: "enrolment-secret", group: g, kind: "name", usage: "keep an enrolment key for the operator of register-cluster in this Secret of the server's namespace, key key: the operator brings the cluster's keys with it where the API server's were replaced at once", set: text(func(c *Config) *string { return &c.EnrolmentSecret })},
		{name: "kubeconfig", group: g, kind: "file", usage: "kubeconfig of the API server for register-cluster and publish-ca-configmap, where the server runs elsewhere", set: text(func(c *Config) *string { return &c.Kubeconfig })},
		{name: "namespace", group: g, kind: "name", shown: "the pod's own, else podid-system", usage: "namespace of podid's service accounts and of publish-ca-configmap", set: text(func(c *Config) *string { return &c.Namespace })},
	}
}

func auditSettings() []setting {
	const g = "Audit and logs"
	return []setting{
		{name: "audit-log", group: g, kind: "file", shown: "data-dir/audit/audit.log", usage: "where events are written; stdout for the standard output", set: text(func(c *Config) *string { return &c.AuditLog })},
		{name: "audit-max-size", group: g, kind: "size", def: "100MiB", usage: "size at which the file is rotated; 0 is never", set: size(func(c *Config) *int64 { return &c.AuditMaxSize })},
		{name: "audit-max-age", group: g, kind: "duration", def: "24h", usage: "age at which the file is rotated; 0 is never", set: duration(func(c *Config) *time.Duration { return &c.AuditMaxAge })},
		{name: "audit-keep", group: g, kind: "number", def: "30", usage: "rotated files to keep; 0 is all", set: number(func(c *Config) *int { return &c.AuditKeep })},
		{name: "log-level", group: g, kind: "level", def: "info", usage: "debug, info, warn or error", set: level},
		{name: "log-format", group: g, kind: "text|json", def: "text", usage: "how log lines look", set: text(func(c *Config) *string { return &c.LogFormat })},
	}
}

func text(field func(*Config) *string) func(*Config, []string) error {
	return func(c *Config, v []string) error { *field(c) = v[0]; return nil }
}

func texts(field func(*Config) *[]string) func(*Config, []string) error {
	return func(c *Config, v []string) error { *field(c) = v; return nil }
}

func boolean(field func(*Config) *bool) func(*Config, []string) error {
	return func(c *Config, v []string) error {
		b, err := strconv.ParseBool(v[0])
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", v[0])
		}
		*field(c) = b
		return nil
	}
}

func number(field func(*Config) *int) func(*Config, []string) error {
	return func(c *Config, v []string) error {
		n, err := strconv.Atoi(v[0])
		if err != nil {
			return fmt.Errorf("%q is no whole number", v[0])
		}
		*field(c) = n
		return nil
	}
}

func duration(field func(*Config) *time.Duration) func(*Config, []string) error {
	return func(c *Config, v []string) error {
		d, err := time.ParseDuration(v[0])
		if err != nil {
			return fmt.Errorf("%q is no duration: write a number with a unit, such as 90s, 5m or 24h", v[0])
		}
		*field(c) = d
		return nil
	}
}

func level(c *Config, v []string) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	l, ok := levels[strings.ToLower(v[0])]
	if !ok {
		return fmt.Errorf("%q is no level: use debug, info, warn or error", v[0])
	}
	c.LogLevel = l
	return nil
}

func prefixes(c *Config, v []string) error {
	var errs []error
	for _, s := range v {
		p, err := netip.ParsePrefix(s)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%q is no network: write it as 10.0.0.0/8 or fd00::/8", s))
		case p != p.Masked():
			errs = append(errs, fmt.Errorf("%q has bits beyond its length: write %s, or /%d for the one address", s, p.Masked(), p.Addr().BitLen()))
		default:
			c.AllowIssuerCIDRs = append(c.AllowIssuerCIDRs, p)
		}
	}
	return errors.Join(errs...)
}

func origins(c *Config, v []string) error {
	var errs []error
	for _, s := range v {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.Host == "" || s != "https://"+u.Host {
			errs = append(errs, fmt.Errorf("%q is no origin: write it as https://host or https://host:port", s))
			continue
		}
		c.AllowJWKSOrigins = append(c.AllowJWKSOrigins, s)
	}
	return errors.Join(errs...)
}

func quotas(c *Config, v []string) error {
	var errs []error
	c.IAMQuotas = iam.Quotas{}
	for _, s := range v {
		name, text, _ := strings.Cut(s, "=")
		n, err := strconv.Atoi(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%q is no quota: write it as RolesPerAccount=5000", s))
			continue
		}
		if err := (iam.Quotas{iam.Quota(name): n}).Check(); err != nil {
			errs = append(errs, err)
			continue
		}
		c.IAMQuotas[iam.Quota(name)] = n
	}
	return errors.Join(errs...)
}

// units of sizes, longest suffix first.
var units = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

func size(field func(*Config) *int64) func(*Config, []string) error {
	return func(c *Config, v []string) error {
		n, err := parseSize(v[0])
		if err != nil {
			return err
		}
		*field(c) = n
		return nil
	}
}

func parseSize(s string) (int64, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			break
		}
		return n * u.bytes, nil
	}
	return 0, fmt.Errorf("%q is no size: write bytes, or a whole number with KiB, MiB or GiB", s)
}
