// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package serverconfig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A problem is one rule that is broken: by which settings, the one to change
// first, and what to do.
type problem struct {
	about []string
	text  string
}

type problems []problem

func (p *problems) add(bad bool, text string, about ...string) {
	if bad {
		*p = append(*p, problem{about, text})
	}
}

// Validate reports every rule that the settings break, each with what to do.
// Load has called it; it is for a Config that was put together in code.
func (c *Config) Validate(env Env) error {
	var errs []error
	for _, p := range c.problems(env) {
		errs = append(errs, fmt.Errorf("--%s: %s", p.about[0], p.text))
	}
	return errors.Join(errs...)
}

var (
	accountForm   = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm    = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	partitionForm = regexp.MustCompile(`^aws(-[a-z]+)*$`)
	orgForm       = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	dnsForm       = regexp.MustCompile(`^(\*\.)?([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$`)
)

func (c *Config) problems(env Env) problems {
	var p problems
	c.identity(&p)
	c.listener(&p, env)
	c.store(&p, env)
	c.security(&p)
	c.ownCluster(&p, env)
	c.audit(&p)
	return p
}

func (c *Config) identity(p *problems) {
	switch {
	case c.AccountID == "":
		p.add(true, "required: 12 digits that stand for this installation in every ARN, such as 111122223333; take your AWS account's if policies name it. It cannot be changed later", "account-id")
	case !accountForm.MatchString(c.AccountID):
		p.add(true, fmt.Sprintf("%q is no account: write 12 digits", c.AccountID), "account-id")
	}
	switch {
	case c.Region == "":
		p.add(true, "required: the region that clients sign for, such as us-west-2; AWS_REGION does as well", "region")
	case len(c.Region) > 63 || !regionForm.MatchString(c.Region):
		p.add(true, fmt.Sprintf("%q is no region: write one such as us-west-2, in lower case", c.Region), "region")
	}
	p.add(!partitionForm.MatchString(c.Partition), fmt.Sprintf("%q is no partition: use aws, aws-cn or aws-us-gov", c.Partition), "partition")
	p.add(c.OrgID != "" && !orgForm.MatchString(c.OrgID), fmt.Sprintf("%q is no organization: write o- and 10 to 32 lower-case letters or digits", c.OrgID), "org-id")
}

func (c *Config) listener(p *problems, env Env) {
	if text := addressProblem(c.Listen); text != "" {
		p.add(true, text, "listen")
	} else {
		p.add(c.PlainHTTP && !c.AllowPlainHTTP && !loopback(c.Listen),
			fmt.Sprintf("%s can be reached from outside, and plain HTTP shows credentials to everybody on the way: listen on 127.0.0.1, leave out plain-http, or set allow-plain-http if a proxy in front does TLS", c.Listen),
			"plain-http", "allow-plain-http", "listen")
	}
	if c.MetricsAddress != "" {
		text := addressProblem(c.MetricsAddress)
		p.add(text != "", text, "metrics-address")
		_, port, _ := net.SplitHostPort(c.MetricsAddress)
		p.add(text == "" && c.MetricsAddress == c.Listen && port != "0", "is the address of the API too: choose another", "metrics-address", "listen")
	}
	p.add(c.TLSCert != "" && c.TLSKey == "", "needs its key: set tls-key as well", "tls-cert", "tls-key")
	p.add(c.TLSKey != "" && c.TLSCert == "", "needs its certificate: set tls-cert as well", "tls-key", "tls-cert")
	p.add(c.PlainHTTP && c.TLSCert != "", "is of no use with plain-http: leave out one of them", "tls-cert", "plain-http")
	p.add(c.TLSCert != "" && len(c.TLSNames) > 0, "is for the self-made certificate: leave it out beside tls-cert, whose names are in it", "tls-names", "tls-cert")
	for _, name := range c.TLSNames {
		_, err := netip.ParseAddr(name)
		p.add(err != nil && (len(name) > 253 || !dnsForm.MatchString(name)), fmt.Sprintf("%q is neither a DNS name nor an address: write it without scheme and port", name), "tls-names")
	}
	files(p, env, map[string]string{"tls-cert": c.TLSCert, "tls-key": c.TLSKey}, "tls-cert", "tls-key")
	p.add(c.RequestTimeout < time.Second || c.RequestTimeout > 10*time.Minute, "choose between 1s and 10m", "request-timeout")
	p.add(c.MaxConnections < 1 || c.MaxConnections > 1_000_000, "choose between 1 and 1000000", "max-connections")
}

func (c *Config) store(p *problems, env Env) {
	p.add(c.DataDir == "", "required where there is no home directory: name a directory that only this server uses", "data-dir")
	https := false
	for _, e := range c.EtcdEndpoints {
		u, err := url.Parse(e)
		bad := err != nil || u.Host == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || (u.Scheme != "http" && u.Scheme != "https")
		p.add(bad, "is no URL of an etcd member: write https://host:2379", "etcd-endpoints")
		https = https || !bad && u.Scheme == "https"
	}
	named := map[string]string{"etcd-ca": c.EtcdCA, "etcd-cert": c.EtcdCert, "etcd-key": c.EtcdKey}
	order := []string{"etcd-ca", "etcd-cert", "etcd-key"}
	for _, name := range order {
		p.add(named[name] != "" && len(c.EtcdEndpoints) == 0, "is for an etcd cluster outside: set etcd-endpoints as well, or leave it out", name, "etcd-endpoints")
		p.add(named[name] != "" && len(c.EtcdEndpoints) > 0 && !https, "is of no use without TLS: write etcd-endpoints with https", name, "etcd-endpoints")
	}
	p.add(c.EtcdCert != "" && c.EtcdKey == "", "needs its key: set etcd-key as well", "etcd-cert", "etcd-key")
	p.add(c.EtcdKey != "" && c.EtcdCert == "", "needs its certificate: set etcd-cert as well", "etcd-key", "etcd-cert")
	files(p, env, named, order...)
	c.outside(p)
}

// outside are the rules of an etcd cluster that others could reach too: it has
// to know who asks, and all replicas seal with one key.
func (c *Config) outside(p *problems) {
	if len(c.EtcdEndpoints) == 0 {
		p.add(c.EtcdInsecure, "is for an etcd cluster outside: set etcd-endpoints as well, or leave it out", "etcd-insecure", "etcd-endpoints")
		return
	}
	p.add(c.RootKeyFile == "", "required with etcd-endpoints: make one with podid server new-root-key FILE and give every replica the same", "root-key-file", "etcd-endpoints")
	if c.EtcdInsecure {
		return
	}
	plain := slices.ContainsFunc(c.EtcdEndpoints, func(e string) bool { return strings.HasPrefix(e, "http:") })
	p.add(plain, "every record would travel readable: write https://host:2379, or set etcd-insecure", "etcd-endpoints")
	p.add(!plain && c.EtcdCert == "" && c.EtcdKey == "", "etcd has to know who asks: set etcd-cert and etcd-key, or etcd-insecure", "etcd-endpoints", "etcd-cert")
}

func (c *Config) security(p *problems) {
	p.add(c.SessionKeyRotation < time.Hour || c.SessionKeyRotation > 30*24*time.Hour, "choose between 1h and 720h", "session-key-rotation")
	p.add(c.TokenMaxLife < 10*time.Minute || c.TokenMaxLife > 366*24*time.Hour, "choose between 10m, the shortest that Kubernetes issues, and 8784h", "token-max-life")
	p.add(c.ClockSkew < time.Second || c.ClockSkew > 15*time.Minute, "choose between 1s and 15m", "clock-skew")
	if c.OIDCIssuerURL != "" {
		u, err := url.Parse(c.OIDCIssuerURL)
		bad := err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(c.OIDCIssuerURL, "/") || u.Path != path.Clean("/"+u.Path) && u.Path != ""
		p.add(bad, fmt.Sprintf("%q is no issuer: write https://host or https://host/path, without a slash at the end", c.OIDCIssuerURL), "oidc-issuer-url")
	}
	p.add(len(c.TokenReviewHosts) > 0 && !c.TokenReview, "is of no use without token-review: set it as well", "token-review-host", "token-review")
	for _, h := range c.TokenReviewHosts {
		bad := h != strings.ToLower(h) || strings.ContainsAny(h, "/?#@%*\\ ") || !strings.Contains(h, ".") && !strings.HasPrefix(h, "localhost")
		p.add(bad, fmt.Sprintf("%q is no host: write it in lower case without scheme, such as sts.us-west-2.amazonaws.com or podid.example.com:8443", h), "token-review-host")
	}
	p.add(c.AssociationLimit < 1 || c.AssociationLimit > 1_000_000, "choose between 1 and 1000000", "association-limit")
}

var (
	clusterForm   = regexp.MustCompile(`^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$`)
	passRoleForm  = regexp.MustCompile(`^arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/*?-]{1,512}$`)
	configMapForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	namespaceForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

func (c *Config) ownCluster(p *problems, env Env) {
	p.add(c.RegisterCluster != "" && !clusterForm.MatchString(c.RegisterCluster), fmt.Sprintf("%q is no name of a cluster: 1 to 100 letters, digits, '-' and '_', beginning with a letter or digit", c.RegisterCluster), "register-cluster")
	p.add(len(c.OperatorPassRoles) > 0 && c.RegisterCluster == "", "is for the operator of the server's own cluster: set register-cluster as well; for another cluster: podid update cluster NAME --operator-pass-role", "operator-pass-role", "register-cluster")
	for _, r := range c.OperatorPassRoles {
		p.add(!passRoleForm.MatchString(r), fmt.Sprintf("%q is no role: write arn:aws:iam::111122223333:role/NAME; the name may have * and ?", r), "operator-pass-role")
	}
	p.add(c.PublishCAConfigMap != "" && !configMapForm.MatchString(c.PublishCAConfigMap), fmt.Sprintf("%q is no name of a ConfigMap", c.PublishCAConfigMap), "publish-ca-configmap")
	p.add(c.EnrolmentSecret != "" && !configMapForm.MatchString(c.EnrolmentSecret), fmt.Sprintf("%q is no name of a Secret", c.EnrolmentSecret), "enrolment-secret")
	p.add(c.EnrolmentSecret != "" && c.RegisterCluster == "", "is of no use without register-cluster: leave it out", "enrolment-secret", "register-cluster")
	p.add(c.PublishCAConfigMap != "" && c.PlainHTTP, "there is no certificate with plain-http: leave out one of them", "publish-ca-configmap", "plain-http")
	used := c.RegisterCluster != "" || c.PublishCAConfigMap != ""
	p.add(c.Namespace != "" && !namespaceForm.MatchString(c.Namespace), fmt.Sprintf("%q is no namespace", c.Namespace), "namespace")
	p.add(c.Namespace != "" && !used, "is of no use without register-cluster or publish-ca-configmap: leave it out", "namespace", "register-cluster")
	p.add(c.Kubeconfig != "" && !used, "is of no use without register-cluster or publish-ca-configmap: leave it out", "kubeconfig", "register-cluster")
	files(p, env, map[string]string{"kubeconfig": c.Kubeconfig}, "kubeconfig")
}

func (c *Config) audit(p *problems) {
	p.add(c.AuditMaxSize != 0 && c.AuditMaxSize < 64<<10, "choose 64KiB or more, or 0 for no rotation by size", "audit-max-size")
	p.add(c.AuditMaxAge != 0 && c.AuditMaxAge < time.Minute, "choose 1m or more, or 0 for no rotation by age", "audit-max-age")
	p.add(c.AuditKeep < 0, "choose 0 or more", "audit-keep")
	p.add(c.LogFormat != "text" && c.LogFormat != "json", fmt.Sprintf("%q is no format: use text or json", c.LogFormat), "log-format")
}

// files wants every file that is named to be there.
func files(p *problems, env Env, named map[string]string, order ...string) {
	if env.Exists == nil {
		return
	}
	for _, name := range order {
		if named[name] == "" {
			continue
		}
		if err := env.Exists(named[name]); err != nil {
			p.add(true, fmt.Sprintf("cannot be read: %v", err), name)
		}
	}
}

// addressProblem returns what is wrong with "host:port", or "".
func addressProblem(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Sprintf("%q is no address: write host:port, :port or [v6]:port", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 || strings.HasPrefix(port, "+") {
		return fmt.Sprintf("%q has no port between 0 and 65535", address)
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && !dnsForm.MatchString(host) {
		return fmt.Sprintf("%q has no host that could be listened on", address)
	}
	return ""
}

// loopback reports whether the address is reached from this machine only.
func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
