// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package serverconfig owns the settings of `podid server`: their names,
// defaults and rules, and how flags, environment and a YAML file give their
// values, in that order of precedence. It refuses fields it does not know and
// values that make no sense, and reports all problems at once, each with what
// to do. It opens nothing and starts nothing; controlplane is built from what
// it returns.
package serverconfig

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"podid/internal/iam"
)

// AuditStdout is the AuditLog of a server that writes events to its standard
// output.
const AuditStdout = "stdout"

// Config is every setting of `podid server`.
type Config struct {
	DataDir string // absolute or relative to the working directory

	AccountID string // 12 digits
	Region    string
	Partition string
	OrgID     string // aws:SourceOrgID of podid's own calls; "" is none

	Listen         string
	PlainHTTP      bool
	AllowPlainHTTP bool
	TLSCert        string
	TLSKey         string
	TLSNames       []string
	RequestTimeout time.Duration
	MaxConnections int
	MetricsAddress string // "" is off

	EtcdEndpoints []string // none: the embedded member in DataDir
	EtcdCA        string
	EtcdCert      string
	EtcdKey       string
	EtcdInsecure  bool // EtcdEndpoints without TLS or without a client certificate

	RootKeyFile        string
	SessionKeyRotation time.Duration
	TokenMaxLife       time.Duration
	ClockSkew          time.Duration
	AssociationLimit   int
	IAMQuotas          iam.Quotas // other than AWS' defaults, in every account
	AllowIssuerCIDRs   []netip.Prefix
	AllowJWKSOrigins   []string // https://host[:port]
	OIDCIssuerURL      string   // https URL without a slash at the end; "" is no issuer of tokens
	TokenReview        bool     // answer TokenReviews of clusters' API servers
	TokenReviewHosts   []string // host[:port] that k8s-aws-v1 tokens may name beside the server's own

	RegisterCluster    string   // the server's own cluster; "" is none
	OperatorPassRoles  []string // nil: those that its operator has
	PublishCAConfigMap string   // "" is off
	EnrolmentSecret    string   // "" is off
	Kubeconfig         string   // "": the pod's own service account
	Namespace          string   // "": the pod's own

	AuditLog     string // a path, or AuditStdout
	AuditMaxSize int64  // bytes
	AuditMaxAge  time.Duration
	AuditKeep    int
	LogLevel     slog.Level
	LogFormat    string // "text" or "json"
}

// complete fills in what follows from other settings.
func (c *Config) complete() {
	if c.RootKeyFile == "" && len(c.EtcdEndpoints) == 0 {
		c.RootKeyFile = filepath.Join(c.DataDir, "root.key")
	}
	if c.AuditLog == "" {
		c.AuditLog = filepath.Join(c.DataDir, "audit", "audit.log")
	}
}

// TLSDir is where the self-made CA lives.
func (c *Config) TLSDir() string { return filepath.Join(c.DataDir, "tls") }

// Env is what the settings take from the process. Zero fields stand for
// nothing: an empty environment, no home, not root.
type Env struct {
	Lookup   func(name string) (string, bool)
	Names    []string // of all variables, to find the misspelt
	ReadFile func(path string) ([]byte, error)
	Exists   func(path string) error // nil if the file can be read
	Home     string
	Root     bool // the process runs as the superuser
}

func (e Env) lookup(name string) (string, bool) {
	if e.Lookup == nil {
		return "", false
	}
	return e.Lookup(name)
}

// dataDir is the default of data-dir.
func (e Env) dataDir() string {
	switch {
	case e.Root:
		return "/var/lib/podid"
	case e.Home != "":
		return filepath.Join(e.Home, ".podid")
	}
	return ""
}

// OS is the Env of this process.
func OS() Env {
	var names []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		names = append(names, name)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // then data-dir has to be given
	}
	return Env{Lookup: os.LookupEnv, Names: names, ReadFile: os.ReadFile, Exists: readable, Home: home, Root: os.Geteuid() == 0}
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
