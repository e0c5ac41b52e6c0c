// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/prometheus/client_golang/prometheus"

	"podid/internal/agent/credcache"
	"podid/internal/agent/eksauthclient"
	"podid/internal/agent/otlp"
	"podid/internal/agent/podtoken"
	"podid/internal/agent/podwatch"
)

// Defaults of [Config]; those of AWS' agent where it has them.
const (
	DefaultIPv4Host    = "169.254.170.23"
	DefaultIPv6Host    = "fd00:ec2::23"
	DefaultPort        = 80
	DefaultProbePort   = 2703
	DefaultMetricsPort = 2705
	DefaultRequestRate = credcache.DefaultPodRate
	DefaultBurst       = credcache.DefaultPodBurst

	// readTimeout bounds reading a request, so also a connection that never sends one. Header and body share it: two
	// bounds would arm a timer more for every request.
	readTimeout = 5 * time.Second
	// writeTimeout bounds writing the answer, idleTimeout a silent connection between two requests.
	writeTimeout = 30 * time.Second
	idleTimeout  = 30 * time.Second
	// stopTimeout is what requests under way get when the agent stops.
	stopTimeout = 35 * time.Second
	// maxHeaderBytes is room for tokens far too long, so that their bearers are told what is wrong.
	maxHeaderBytes = 128 << 10
)

// Kubernetes is what the agent needs of its cluster's API server.
type Kubernetes struct {
	// API makes the calls; kubeapi.Client is one.
	API podwatch.API
	// Node is this node's name.
	Node string
	// Pods: follow the node's pods. Sign: remove the node's startup taint and keep its condition.
	Pods, Sign bool
}

// Config of an agent. Cluster, Region, Endpoint, Credentials, BindAddresses and Log are required; zero values of the
// others mean their defaults.
type Config struct {
	// Cluster, Region, Endpoint and AllowHTTPEndpoint describe EKS Auth, see eksauthclient.Config.
	Cluster, Region, Endpoint string
	AllowHTTPEndpoint         bool
	// Credentials is the agent's own identity, with which it signs.
	Credentials aws.CredentialsProvider
	// HTTP sends the calls; nil means a client that trusts RootCAs, whose nil means the system's roots.
	HTTP    eksauthclient.Doer
	RootCAs *x509.CertPool
	// AttemptTimeout, TotalTimeout and MaxAttempts bound one exchange. WaitTimeout is how long a pod waits for one: AWS'
	// SDK for Python gives up after 2 s. The exchange goes on and its outcome is kept.
	AttemptTimeout, TotalTimeout, WaitTimeout time.Duration
	MaxAttempts                               int

	// Tokens says how tokens are verified on the node. A nil Source: not at all, and EKS Auth sees every new token. Log,
	// Changed, Now and Rand of it are the agent's.
	Tokens podtoken.Config
	// Kubernetes is asked which pods of this node have ended, so that nothing is renewed for them, else renewals end with
	// the pods' tokens; and told whether the agent can serve. nil: neither.
	Kubernetes *Kubernetes
	// FollowAssociations follows the control plane's feed, so that changed associations reach pods at once.
	FollowAssociations bool

	// BindAddresses are host:port pairs, one per address family as a rule; port 0 means any free port. An address that
	// cannot be bound is warned about; only when none can be does Run fail.
	BindAddresses []string
	// ProbeAddress serves /healthz and /readyz, MetricsAddress these and /metrics; empty means none.
	ProbeAddress, MetricsAddress string

	// OTLP is where the metrics are pushed to; nil: they are not. Node is this node's name, where it is known, which goes with them.
	OTLP *otlp.Settings
	Node string

	// HandoverDir is a folder of this user alone, in which one process finds the next to hand sockets and cache over; empty:
	// none is. StateDir, on memory, keeps the cache over a restart, sealed with a key in HandoverDir; empty: nothing is kept.
	HandoverDir, StateDir string

	// MaxCacheSize is the number of pods whose credentials are cached and MaxCacheBytes what they may take; Retention,
	// RenewFloor and RefreshQPS are described in credcache.Config. A negative size or retention switches the cache off.
	MaxCacheSize          int
	MaxCacheBytes         int64
	Retention, RenewFloor time.Duration
	RefreshQPS            int
	// RequestRate per second and RequestBurst bound the requests of one pod, over all addresses together; above them the
	// answer is 429 with Retry-After. A negative rate switches this and the limits of refused tokens and of long requests off.
	RequestRate, RequestBurst int

	Log *slog.Logger
	// Registerer receives the agent's metrics and Gatherer is what MetricsAddress shows; both nil mean a registry of
	// the agent's own.
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
	// Version goes into the user agent and the build metric.
	Version string
	// Now is the clock of all decisions, Rand the source of jitter.
	Now  func() time.Time
	Rand io.Reader
}

func (cfg *Config) setDefaults() {
	setDefault(&cfg.MaxCacheSize, credcache.DefaultMaxEntries)
	setDefault(&cfg.Retention, credcache.DefaultRetention)
	setDefault(&cfg.RefreshQPS, credcache.DefaultRefreshQPS)
	setDefault(&cfg.RequestRate, DefaultRequestRate)
	setDefault(&cfg.RequestBurst, DefaultBurst)
	setDefault(&cfg.Version, "unknown")
	setDefault(&cfg.TotalTimeout, eksauthclient.DefaultTotalTimeout)
	if cfg.WaitTimeout == 0 {
		cfg.WaitTimeout = min(credcache.DefaultWaitTimeout, cfg.TotalTimeout)
	}
	if cfg.MaxCacheSize < 0 || cfg.Retention < 0 {
		cfg.MaxCacheSize, cfg.Retention = 0, 0
	}
	if cfg.HTTP == nil {
		cfg.HTTP = eksauthclient.NewHTTPClient(cfg.RootCAs)
	}
	if cfg.Registerer == nil && cfg.Gatherer == nil {
		own := prometheus.NewRegistry()
		cfg.Registerer, cfg.Gatherer = own, own
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate reports the problems that are the agent's own; the client and the cache report theirs.
func (cfg *Config) validate() error {
	var problems []error
	if cfg.Log == nil {
		problems = append(problems, errors.New("log is required"))
	}
	if (cfg.Registerer == nil) != (cfg.Gatherer == nil) {
		problems = append(problems, errors.New("registerer and gatherer: want both or none"))
	}
	if len(cfg.BindAddresses) == 0 {
		problems = append(problems, errors.New("no bind address"))
	}
	for _, address := range cfg.BindAddresses {
		if err := checkAddress(address, true); err != nil {
			problems = append(problems, fmt.Errorf("bind address %q: %w", address, err))
		}
	}
	for name, address := range map[string]string{"probe": cfg.ProbeAddress, "metrics": cfg.MetricsAddress} {
		if address == "" {
			continue
		}
		if err := checkAddress(address, false); err != nil {
			problems = append(problems, fmt.Errorf("%s address %q: %w", name, address, err))
		}
	}
	if cfg.StateDir != "" && cfg.HandoverDir == "" {
		problems = append(problems, errors.New("folder of the state: needs one of hand-overs, for the key"))
	}
	if cfg.RequestBurst < 0 {
		problems = append(problems, fmt.Errorf("request burst %d: must not be negative", cfg.RequestBurst))
	}
	if total := cfg.TotalTimeout; total >= writeTimeout || total < 0 {
		problems = append(problems, fmt.Errorf("total time-out %s: want more than 0 and less than %s, in which the answer must be written", total, writeTimeout))
	}
	if wait := cfg.WaitTimeout; wait >= writeTimeout || wait < 0 {
		problems = append(problems, fmt.Errorf("wait time-out %s: want more than 0 and less than %s, in which the answer must be written", wait, writeTimeout))
	}
	return errors.Join(problems...)
}

// checkAddress refuses what cannot be bound. Credentials are not served on a wildcard: any neighbour of the node could
// ask there.
func checkAddress(address string, literal bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("want host:port")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q: want 0 to 65535", port)
	}
	if !literal {
		return nil
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "localhost":
		return nil
	case err != nil:
		return fmt.Errorf("host %q: want an IP address", host)
	case addr.IsUnspecified():
		return errors.New("credentials are not served on every address of the node: name one")
	}
	return nil
}
