// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/time/rate"

	"podid/internal/fault"
	"podid/internal/issuer"
)

// Time-outs. The whole stays below the 5 seconds that the node agent waits.
const (
	attemptTimeout = 2 * time.Second
	totalTimeout   = 4500 * time.Millisecond
	askTimeout     = 3 * time.Second // of questions beside the exchange: who am I, what is that role
	maxAttempts    = 3
	maxBackoff     = 500 * time.Millisecond
)

// DefaultConfig finds region and base credentials by the SDK's default chain:
// environment, the profile named, web identity, container, instance.
func DefaultConfig(ctx context.Context, a issuer.AWS) (aws.Config, error) {
	with := []func(*config.LoadOptions) error{config.WithRegion(a.Region)}
	if a.Profile != "" {
		with = append(with, config.WithSharedConfigProfile(a.Profile))
	}
	return config.LoadDefaultConfig(ctx, with...)
}

// upstream is one STS with one set of base credentials. Accounts with the same
// settings share it, and with it limit and breaker.
type upstream struct {
	name        string // for logs and details
	sts         *sts.Client
	iam         *iam.Client
	credentials aws.CredentialsProvider
	breaker     breaker
	transport   *http.Transport
	log         *slog.Logger
	now         func() time.Time

	mu        sync.Mutex
	who       *identity
	whoseKey  string // access key id that who belongs to
	roles     map[string]roleAnswer
	lifetimes map[string]lifetime
	results   map[string]uint64 // of calls, for the metrics
}

// upstreamKey is what makes two choices the same upstream.
type upstreamKey struct {
	kind issuer.Kind
	aws  issuer.AWS
}

func (i *Issuer) upstream(ctx context.Context, c issuer.Choice) (*upstream, error) {
	key := upstreamKey{c.Kind, c.AWS}
	key.aws.ExternalID, key.aws.Audience = "", ""
	i.mu.Lock()
	u := i.upstreams[key]
	i.mu.Unlock()
	if u != nil {
		return u, nil
	}
	u, err := i.newUpstream(ctx, key)
	if err != nil {
		return nil, noCredentials(c.AWS.STSEndpoint, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if first := i.upstreams[key]; first != nil {
		return first, nil
	}
	if i.upstreams == nil {
		i.upstreams = map[upstreamKey]*upstream{}
	}
	i.upstreams[key] = u
	return u, nil
}

// anonymous stands for the base credentials where tokens ask.
func anonymous(_ context.Context, a issuer.AWS) (aws.Config, error) {
	return aws.Config{Region: a.Region, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, nil })}, nil
}

func (i *Issuer) newUpstream(ctx context.Context, key upstreamKey) (*upstream, error) {
	a, load := key.aws, i.Config
	switch {
	case key.kind == issuer.WebIdentity:
		load = anonymous
	case load == nil:
		load = DefaultConfig
	}
	cfg, err := load(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("load AWS configuration: %w", err)
	}
	if cfg.Credentials == nil {
		return nil, errors.New("the AWS configuration has no credentials")
	}
	transport, err := newTransport(a.CA)
	if err != nil {
		return nil, err
	}
	perSecond := cmp.Or(a.Rate, issuer.DefaultRate)
	client := &shaped{
		limit: rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/4)),
		client: &http.Client{
			Transport: transport, Timeout: attemptTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	u := &upstream{
		name: cmp.Or(a.STSEndpoint, "AWS STS in "+a.Region), credentials: cfg.Credentials, transport: transport, log: i.Log, now: i.Now,
		breaker: breaker{now: i.Now}, roles: map[string]roleAnswer{}, lifetimes: map[string]lifetime{},
	}
	retryer := newRetryer()
	// What the record says holds: AWS_ENDPOINT_URL and the like, which are
	// meant for other programs, do not.
	u.sts = sts.NewFromConfig(cfg, func(o *sts.Options) {
		o.Region, o.BaseEndpoint, o.HTTPClient, o.Retryer = a.Region, endpoint(a.STSEndpoint), client, retryer
	})
	u.iam = iam.NewFromConfig(cfg, func(o *iam.Options) {
		o.Region, o.BaseEndpoint, o.HTTPClient, o.Retryer = a.Region, endpoint(iamEndpoint(a)), client, retryer
	})
	return u, nil
}

func endpoint(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// iamEndpoint follows the STS: what is not AWS has both on one address.
func iamEndpoint(a issuer.AWS) string {
	if a.IAMEndpoint != "" || a.STSEndpoint == "" {
		return a.IAMEndpoint
	}
	u, err := url.Parse(a.STSEndpoint)
	if err != nil {
		return ""
	}
	for _, suffix := range []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"} {
		if strings.HasSuffix(u.Hostname(), suffix) {
			return ""
		}
	}
	return a.STSEndpoint
}

func newTransport(ca string) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSHandshakeTimeout, t.MaxIdleConnsPerHost, t.MaxConnsPerHost = attemptTimeout, 64, 256
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == "" {
		return t, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificates: %w", err)
	}
	if !roots.AppendCertsFromPEM([]byte(ca)) {
		return nil, errors.New("the account's certificates cannot be read")
	}
	t.TLSClientConfig.RootCAs = roots
	return t, nil
}

// errShaped ends a request that would have waited for its turn beyond its
// deadline.
var errShaped = errors.New("the limit of requests to the STS is used up")

// shaped keeps requests, retries included, under the account's limit: they wait
// for their turn instead of being refused by the STS.
type shaped struct {
	limit  *rate.Limiter
	client *http.Client
}

// Do implements aws.HTTPClient.
func (s *shaped) Do(r *http.Request) (*http.Response, error) {
	if err := s.limit.Wait(r.Context()); err != nil {
		return nil, errors.Join(errShaped, err)
	}
	return s.client.Do(r)
}

// newRetryer is the SDK's: jittered exponential backoff, and a budget that ends
// retries when most calls fail.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = maxAttempts, maxBackoff
		ours := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if errors.Is(err, errShaped) {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})
		o.Retryables = append([]retry.IsErrorRetryable{ours}, o.Retryables...)
	})
}

// do makes a call through the breaker, and counts it. Its error is a fault.
func (u *upstream) do(ctx context.Context, call func(context.Context) error) error {
	if f := u.try(ctx, call); f != nil {
		u.count(f.Reason)
		return f
	}
	u.count("")
	return nil
}

func (u *upstream) try(ctx context.Context, call func(context.Context) error) *fault.Error {
	wait, ok := u.breaker.enter()
	if !ok {
		return u.away("upstream-circuit-open", nil).After(wait)
	}
	failed := true // also when call panics
	defer func() {
		if change := u.breaker.leave(failed); change != "" {
			u.log.WarnContext(ctx, "circuit breaker of the issuer "+change, "upstream", u.name)
		}
	}()
	if _, err := u.credentials.Retrieve(ctx); err != nil {
		return noCredentials(u.name, err)
	}
	err := call(ctx)
	if err == nil {
		failed = false
		return nil
	}
	f := u.fault(err)
	failed = outage(f)
	if f.Reason == reasonCredentials {
		if c, ok := u.credentials.(*aws.CredentialsCache); ok {
			c.Invalidate() // they may have been replaced at their source
		}
	}
	return f
}

// identity is who the base credentials are.
type identity struct{ arn, account, id string }

// whoAmI asks once for each access key.
func (u *upstream) whoAmI(ctx context.Context) (*identity, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	creds, err := u.credentials.Retrieve(ctx)
	if err != nil {
		return nil, noCredentials(u.name, err)
	}
	u.mu.Lock()
	who, known := u.who, u.whoseKey == creds.AccessKeyID
	u.mu.Unlock()
	if known && who != nil {
		return who, nil
	}
	err = u.do(ctx, func(ctx context.Context) error {
		out, err := u.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err == nil {
			who = &identity{aws.ToString(out.Arn), aws.ToString(out.Account), aws.ToString(out.UserId)}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.who, u.whoseKey = who, creds.AccessKeyID
	return who, nil
}
