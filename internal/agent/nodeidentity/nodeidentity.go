// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package nodeidentity is where the node agent gets credentials of its own, with which it signs its calls to EKS Auth.
//
// It owns two ways: the agent's projected service account token exchanged by sts:AssumeRoleWithWebIdentity, and the
// shared credentials file that somebody else rotates (hybrid nodes). The third way, the SDK's default chain, is the
// SDK's. It refuses plain HTTP to anything but loopback unless told otherwise, and tokens that are no single line. It
// has an STS client of its own for the one unsigned call, so that the agent links no service client for it.
package nodeidentity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"podid/internal/agent/eksauthclient"
)

// Audience is that of the token with which an agent proves itself to a podid control plane.
const Audience = "podid.dev/control-plane"

const (
	// renewBefore is how long before its end a session is renewed; a failed renewal is tried again after retryAfter
	// while the session lives.
	renewBefore = 5 * time.Minute
	retryAfter  = 30 * time.Second
	// maxTokenBytes is the longest WebIdentityToken of the STS model.
	maxTokenBytes  = 20000
	maxAnswerBytes = 256 << 10
	attemptTimeout = 3 * time.Second
	totalTimeout   = 10 * time.Second
	maxAttempts    = 3
	maxSessionName = 64
)

var roleARN = regexp.MustCompile(`^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[!-~]+$`)

// WebIdentityConfig describes the exchange. All fields without a default are required.
type WebIdentityConfig struct {
	// RoleARN is the node role.
	RoleARN string
	// TokenFile holds the token; it is read anew for every exchange, since kubelet rotates it.
	TokenFile string
	// SessionName is what audit shows, normally the node's name; characters that STS refuses become '-'.
	SessionName string
	// Endpoint is the base URL of STS, or several, separated by commas, in the manner of eksauthclient.Endpoints.
	Endpoint       string
	AllowPlainHTTP bool
	// HTTP sends the calls; nil means eksauthclient.NewHTTPClient(nil).
	HTTP eksauthclient.Doer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// webIdentity is an aws.CredentialsProvider to stand behind an aws.CredentialsCache.
type webIdentity struct {
	cfg       WebIdentityConfig
	endpoints *eksauthclient.Endpoints

	mu      sync.Mutex
	expires time.Time // the true end of the last session
}

// NewWebIdentity checks the configuration, reporting every problem at once, and returns a caching provider. It reads no
// file and makes no call before it is asked for credentials.
func NewWebIdentity(cfg WebIdentityConfig) (*aws.CredentialsCache, error) {
	var problems []error
	if !roleARN.MatchString(cfg.RoleARN) {
		problems = append(problems, fmt.Errorf("node role %q: want arn:<partition>:iam::<account>:role/<name>", cfg.RoleARN))
	}
	if cfg.TokenFile == "" {
		problems = append(problems, errors.New("node token file is empty: the node role needs a token to be assumed with"))
	}
	endpoints, err := eksauthclient.ParseEndpoints(cfg.Endpoint, cfg.AllowPlainHTTP)
	if err != nil {
		problems = append(problems, fmt.Errorf("STS %w", err))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if cfg.HTTP == nil {
		cfg.HTTP = eksauthclient.NewHTTPClient(nil)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.SessionName = sessionName(cfg.SessionName)
	p := &webIdentity{cfg: cfg, endpoints: endpoints}
	return aws.NewCredentialsCache(p, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = renewBefore }), nil
}

// Retrieve exchanges the token for a session of the node role.
func (p *webIdentity) Retrieve(ctx context.Context) (aws.Credentials, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), totalTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		// Read for each try: the token may just have been rotated.
		token, err := readToken(p.cfg.TokenFile)
		if err != nil {
			return aws.Credentials{}, err
		}
		n, base := p.endpoints.Pick(p.cfg.Now())
		creds, retry, err := p.exchange(ctx, base.JoinPath("/").String(), token)
		p.endpoints.Report(n, err == nil || !retry, p.cfg.Now())
		if err == nil {
			p.mu.Lock()
			p.expires = creds.Expires
			p.mu.Unlock()
			return creds, nil
		}
		if !retry || attempt == maxAttempts {
			return aws.Credentials{}, fmt.Errorf("assume node role %s with web identity: %w", p.cfg.RoleARN, err)
		}
		timer := time.NewTimer(time.Duration(attempt) * 200 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return aws.Credentials{}, fmt.Errorf("assume node role %s with web identity: %w", p.cfg.RoleARN, err)
		}
	}
}

// HandleFailToRefresh keeps a session in use to its true end when it cannot be renewed early.
func (p *webIdentity) HandleFailToRefresh(_ context.Context, last aws.Credentials, err error) (aws.Credentials, error) {
	p.mu.Lock()
	end := p.expires
	p.mu.Unlock()
	now := p.cfg.Now()
	if !last.HasKeys() || !now.Before(end) {
		return aws.Credentials{}, err
	}
	next := now.Add(retryAfter)
	if end.Before(next) {
		next = end
	}
	last.Expires = next.Add(renewBefore) // the cache takes renewBefore off again
	return last, nil
}

// exchange makes the call once, and tells whether another try is worth it.
func (p *webIdentity) exchange(ctx context.Context, address string, token eksauthclient.Secret) (creds aws.Credentials, retry bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	form := url.Values{
		"Action":           {"AssumeRoleWithWebIdentity"},
		"Version":          {"2011-06-15"},
		"RoleArn":          {p.cfg.RoleARN},
		"RoleSessionName":  {p.cfg.SessionName},
		"WebIdentityToken": {string(token)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return aws.Credentials{}, false, fmt.Errorf("build request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	req.Header.Set("Accept", "text/xml")
	req.Header.Set("User-Agent", "podid-agent")
	resp, err := p.cfg.HTTP.Do(req)
	if err != nil {
		return aws.Credentials{}, true, fmt.Errorf("call STS: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // a body that was read whole has nothing left to report
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return aws.Credentials{}, true, fmt.Errorf("read answer of STS: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		err := decodeError(resp.StatusCode, answer)
		return aws.Credentials{}, err.retryable(), err
	}
	creds, err = decodeSession(answer)
	if err == nil && !creds.Expires.After(p.cfg.Now()) {
		err = errors.New("STS answered a session that has ended already: are the clocks of node and control plane apart?")
	}
	return creds, false, err
}

// readToken reads a token file and refuses what cannot be a token, without quoting it.
func readToken(path string) (eksauthclient.Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read node token: %w", err)
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	raw, err := io.ReadAll(io.LimitReader(file, maxTokenBytes+2))
	if err != nil {
		return "", fmt.Errorf("read node token: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	switch {
	case token == "":
		return "", fmt.Errorf("node token file %s is empty", path)
	case len(token) > maxTokenBytes:
		return "", fmt.Errorf("node token in %s is longer than %d bytes", path, maxTokenBytes)
	case strings.ContainsAny(token, "\r\n\t "):
		return "", fmt.Errorf("node token file %s holds more than one word", path)
	}
	return eksauthclient.Secret(token), nil
}

// sessionName makes a role session name of a node's name: 2 to 64 of the characters that STS takes.
func sessionName(name string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("+=,.@-_", r):
			return r
		}
		return '-'
	}, name)
	if len(clean) > maxSessionName {
		clean = clean[:maxSessionName]
	}
	if len(clean) < 2 {
		return "podid-agent"
	}
	return clean
}
