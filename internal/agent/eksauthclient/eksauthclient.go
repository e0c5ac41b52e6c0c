// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package eksauthclient is the node agent's client of EKS Auth: the one call AssumeRoleForPodIdentity, signed with
// Signature Version 4, retried with jitter and bounded in time and size.
//
// It owns the wire of that call, and the meaning of its errors: which refusals are final, and which are worth another
// try. It refuses answers that lack a field a pod needs, redirects (the signed body carries a pod's token), and plain
// HTTP to anything but loopback unless told otherwise. In the flow it stands last on the node: agent → credcache →
// eksauthclient → control plane.
package eksauthclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// SigningName is the service of the Signature Version 4 scope of EKS Auth.
const SigningName = "eks-auth"

// Defaults of [Config]. The per-try bound is for several endpoints, so that a pod need not notice that one of them hangs;
// a single endpoint has all the time there is.
const (
	DefaultAttemptTimeout = time.Second
	DefaultTotalTimeout   = 5 * time.Second
	DefaultMaxAttempts    = 3

	baseBackoff     = 100 * time.Millisecond
	maxBackoff      = time.Second
	maxAnswerBytes  = 256 << 10
	maxMessageBytes = 1 << 10
)

// clusterName is the pattern of the EKS API model.
var clusterName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,99}$`)

// Doer sends one HTTP request; it must not follow redirects. [HTTPClient] is one.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Config describes the EKS Auth endpoint and the caller. Cluster, Region, Endpoint and Credentials are required; zero
// durations and counts mean the defaults above.
type Config struct {
	// Endpoint is the base URL, for example https://eks-auth.eu-west-1.api.aws; a path prefix is kept. Several, separated
	// by commas, are tried in the manner of Endpoints.
	Endpoint string
	// AllowPlainHTTP permits an http endpoint that is not loopback. Pod tokens and secret keys then travel readable.
	AllowPlainHTTP bool
	// Cluster is the name in the call's path.
	Cluster string
	// Region is that of the signature's scope.
	Region string
	// Credentials sign the calls: the agent's own identity, never a pod's.
	Credentials aws.CredentialsProvider
	// HTTP sends the requests; nil means NewHTTPClient(nil).
	HTTP Doer
	// AttemptTimeout bounds one try from connecting to the last byte; TotalTimeout bounds all tries and their back-off.
	AttemptTimeout, TotalTimeout time.Duration
	// MaxAttempts is the number of tries, the first one included. An endpoint that was reached is not asked again: what
	// it cannot do now is not helped by more calls, and pods' SDKs try again by themselves.
	MaxAttempts int
	// UserAgent is sent as it is; empty means podid-agent.
	UserAgent string
	// Now is the clock of signatures; nil means time.Now.
	Now func() time.Time
	// Rand gives the back-off its jitter; nil means crypto/rand.
	Rand io.Reader
	// Observe, when set, is told of every try that was sent: the HTTP status, or 0 when there was no answer.
	Observe func(status int, took time.Duration)
}

// Client makes the call. It is safe for concurrent use and has no goroutine of its own.
type Client struct {
	cfg       Config
	endpoints *Endpoints
	calls     []*call  // one for each endpoint
	agent     []string // the User-Agent header, shared by all tries
}

// New checks the configuration, reports every problem of it at once, and returns a client.
func New(cfg Config) (*Client, error) {
	var problems []error
	if !clusterName.MatchString(cfg.Cluster) {
		problems = append(problems, fmt.Errorf("cluster name %q: want 1 to 100 letters, digits, '-' or '_', the first a letter or digit", cfg.Cluster))
	}
	if cfg.Region == "" {
		problems = append(problems, errors.New("region is empty: the signature needs one"))
	}
	if cfg.Credentials == nil {
		problems = append(problems, errors.New("no credentials provider to sign with"))
	}
	if cfg.AttemptTimeout < 0 || cfg.TotalTimeout < 0 || cfg.MaxAttempts < 0 {
		problems = append(problems, errors.New("time-outs and attempts must not be negative"))
	}
	endpoints, err := ParseEndpoints(cfg.Endpoint, cfg.AllowPlainHTTP)
	if err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	cfg.setDefaults(len(endpoints.urls))
	c := &Client{cfg: cfg, endpoints: endpoints, agent: []string{cfg.UserAgent}}
	for _, base := range endpoints.All() {
		call, err := newCall(base.JoinPath("clusters", url.PathEscape(cfg.Cluster), "assume-role-for-pod-identity").String(), cfg.Region)
		if err != nil {
			return nil, err
		}
		c.calls = append(c.calls, call)
	}
	return c, nil
}

// AssumeRoleForPodIdentity exchanges a pod's service account token for a session of the role associated with the pod's
// service account. A refusal by EKS Auth is an [*APIError]; no answer in time, or none at all, is an [*UnreachableError];
// an answer that cannot be used wraps [ErrBadAnswer].
func (c *Client) AssumeRoleForPodIdentity(ctx context.Context, token Secret) (*Session, error) {
	ctx, cancel := within(ctx, c.cfg.TotalTimeout)
	defer cancel()
	body, err := requestBody(token)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	renewed := false
	for attempt := 1; ; attempt++ {
		session, err := c.try(ctx, body, attempt)
		if err == nil {
			return session, nil
		}
		if !renewed && callerRejected(err) && c.invalidate() {
			// The agent's own session was refused (a restarted control plane, a rotated key): one fresh one is worth a try.
			renewed = true
			attempt--
			continue
		}
		if attempt >= c.cfg.MaxAttempts || !c.worthAnother(err, attempt) || c.pause(ctx, attempt) != nil {
			return nil, err
		}
	}
}

// within bounds ctx, unless it ends before that anyway.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= limit {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// worthAnother: the endpoint was not reached at all, or it failed and there is one that was not asked yet.
func (c *Client) worthAnother(err error, attempt int) bool {
	return notReached(err) || retryable(err) && attempt < len(c.calls)
}

// try sends the request once.
func (c *Client) try(ctx context.Context, body []byte, attempt int) (*Session, error) {
	// The agent's own credentials may need a call of their own, which has its own bounds: outside the time of this try.
	creds, err := c.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, &IdentityError{Err: err}
	}
	attemptCtx, cancel := within(ctx, c.cfg.AttemptTimeout)
	defer cancel()
	start := c.cfg.Now()
	n, _ := c.endpoints.Pick(start)
	status, answer, err := c.send(c.request(attemptCtx, creds, n, body, attempt))
	if ctx.Err() == nil || err == nil { // a caller that stopped waiting says nothing about the endpoint
		c.endpoints.Report(n, err == nil && status < 500, c.cfg.Now())
	}
	c.observe(status, start)
	switch {
	case err != nil:
		return nil, err
	case len(answer.body) > maxAnswerBytes:
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrBadAnswer, maxAnswerBytes)
	case status != http.StatusOK:
		return nil, decodeError(answer.resp, answer.body)
	}
	return decodeSession(answer.body)
}

// answered is a response that was read to its end, or to the limit.
type answered struct {
	resp *http.Response
	body []byte
}

// send makes the request; the status is 0 when there was no whole answer.
func (c *Client) send(req *http.Request) (int, answered, error) {
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return 0, answered{}, unreachable(err)
	}
	defer resp.Body.Close() //nolint:errcheck // a body that was read whole has nothing left to report
	var answer bytes.Buffer
	if length := resp.ContentLength; length > 0 && length <= maxAnswerBytes {
		answer.Grow(int(length) + bytes.MinRead) // which the end of the body takes
	}
	if _, err := answer.ReadFrom(io.LimitReader(resp.Body, maxAnswerBytes+1)); err != nil {
		return 0, answered{}, unreachable(err)
	}
	return resp.StatusCode, answered{resp, answer.Bytes()}, nil
}

// request is made anew for each try: the credentials may have been renewed since, and the date has moved.
func (c *Client) request(ctx context.Context, creds aws.Credentials, n int, body []byte, attempt int) *http.Request {
	call := c.calls[n]
	req := call.sign(ctx, creds, body, c.cfg.Now())
	// What changes nothing about the answer need not be signed.
	req.Header["Accept"] = call.json
	req.Header["User-Agent"] = c.agent
	req.Header["Amz-Sdk-Request"] = []string{"attempt=" + strconv.Itoa(attempt) + "; max=" + strconv.Itoa(c.cfg.MaxAttempts)}
	return req
}

func (c *Client) observe(status int, start time.Time) {
	if c.cfg.Observe != nil {
		c.cfg.Observe(status, c.cfg.Now().Sub(start))
	}
}

// pause waits for a fully jittered, doubling time, or until ctx ends.
func (c *Client) pause(ctx context.Context, attempt int) error {
	ceiling := min(baseBackoff<<(attempt-1), maxBackoff)
	var b [2]byte
	if _, err := io.ReadFull(c.cfg.Rand, b[:]); err != nil {
		return fmt.Errorf("draw jitter: %w", err)
	}
	share := float64(uint16(b[0])<<8|uint16(b[1])) / (1 << 16)
	timer := time.NewTimer(time.Duration(share * float64(ceiling)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// invalidate drops cached credentials of the agent, where its provider is a cache.
func (c *Client) invalidate() bool {
	cache, ok := c.cfg.Credentials.(interface{ Invalidate() })
	if ok {
		cache.Invalidate()
	}
	return ok
}
