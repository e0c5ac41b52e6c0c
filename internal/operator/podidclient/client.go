// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package podidclient is the operator's way to the control plane. It owns the
// operator's credentials (its own projected token, exchanged for a session of
// the operator's role), the trust in the control plane's certificate, and the
// calls of podid's own API; EKS' own operations are AWS' SDK's, with AWS() as
// its configuration. It refuses plain HTTP to anything but loopback unless it
// is told otherwise, and answers beyond a limit.
package podidclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// Audience is that of the token with which an operator proves itself.
const Audience = "podid.dev/control-plane"

// service is the name that podid's own API is signed for.
const service = "podid"

// maxAnswer bounds an answer in bytes: 100,000 associations take some 20 MiB.
const maxAnswer = 64 << 20

// A connection that is silent for pingAfter is asked whether it is still there,
// and has pingLimit to answer.
const (
	pingAfter = 5 * time.Second
	pingLimit = 3 * time.Second
)

// Config says where the control plane is and who asks.
type Config struct {
	Endpoint       string         // of the control plane: https://host:port
	AllowPlainHTTP bool           // for endpoints that are not loopback
	Region         string         // that calls are signed for
	RootCAs        *x509.CertPool // nil: the system's
	RoleARN        string         // the operator's role
	TokenFile      string         // its projected token of Audience
	SessionName    string         // what audit shows: the operator pod's name
	// Credentials go before role and token; for tests and clusters that have another way.
	Credentials aws.CredentialsProvider
	Now         func() time.Time // nil: time.Now
}

// Client calls one control plane. It is safe for concurrent use.
type Client struct {
	cfg    Config
	aws    aws.Config
	http   *http.Client
	signer *v4.Signer
}

// New checks the configuration and tells every problem; it makes no call.
func New(cfg Config) (*Client, error) {
	var problems []error
	u, err := url.Parse(cfg.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		problems = append(problems, fmt.Errorf("control plane endpoint %q: want https://host:port", cfg.Endpoint))
	case u.Scheme == "http" && !cfg.AllowPlainHTTP && !loopback(u.Hostname()):
		problems = append(problems, fmt.Errorf("control plane endpoint %q is plain HTTP: use https", cfg.Endpoint))
	}
	if cfg.Region == "" {
		problems = append(problems, errors.New("region is missing"))
	}
	if cfg.Credentials == nil && (cfg.RoleARN == "" || cfg.TokenFile == "") {
		problems = append(problems, errors.New("role ARN and token file: both are needed"))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12}
	// A replica that vanished without a word must not hold up those who come after the one who waits for it.
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingLimit}
	c := &Client{cfg: cfg, http: &http.Client{Transport: transport}, signer: v4.NewSigner()}
	c.aws = aws.Config{Region: cfg.Region, BaseEndpoint: &c.cfg.Endpoint, HTTPClient: c.http}
	c.aws.Credentials = aws.NewCredentialsCache(c.credentials(), func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute })
	return c, nil
}

func (c *Client) credentials() aws.CredentialsProvider {
	if c.cfg.Credentials != nil {
		return c.cfg.Credentials
	}
	return stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(c.aws), c.cfg.RoleARN, stscreds.IdentityTokenFile(c.cfg.TokenFile),
		func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = c.cfg.SessionName })
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// AWS is the configuration for clients of AWS' SDK.
func (c *Client) AWS() aws.Config { return c.aws.Copy() }

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call makes one signed call of podid's own API: path begins with /podid/v1
// and may have a query; in is the body as JSON unless it is nil. A refusal is
// a smithy.APIError with the control plane's code and message.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	return c.do(ctx, method, path, body, func(r io.Reader) error {
		text, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(text, out); err != nil {
			return fmt.Errorf("decode answer: %w", err)
		}
		return nil
	})
}

// Stream makes a signed call without a body and has read take the answer as it
// comes, for answers that should not be in memory as a whole.
func (c *Client) Stream(ctx context.Context, method, path string, read func(io.Reader) error) error {
	return c.do(ctx, method, path, nil, read)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, c.cfg.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	creds, err := c.aws.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("get credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	if err := c.signer.SignHTTP(ctx, creds, req, hex.EncodeToString(sum[:]), service, c.cfg.Region, c.cfg.Now()); err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("call control plane: %w", err)
	}
	answer := &bounded{r: resp.Body, left: maxAnswer + 1}
	if resp.StatusCode/100 != 2 {
		text, err := io.ReadAll(answer)
		if err == nil {
			err = refusal(resp, text)
		}
		return errors.Join(err, resp.Body.Close())
	}
	return errors.Join(read(answer), resp.Body.Close())
}

// bounded reads no more of an answer than an answer may be.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func refusal(resp *http.Response, text []byte) error {
	var body struct{ Message string }
	_ = json.Unmarshal(text, &body) // what is no JSON came from something between
	e := &smithy.GenericAPIError{Code: resp.Header.Get("X-Amzn-Errortype"), Message: body.Message, Fault: smithy.FaultClient}
	if e.Code == "" {
		e.Code = http.StatusText(resp.StatusCode)
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		e.Fault = smithy.FaultServer
	}
	return e
}

// Away reports whether an error says that the control plane could not be
// asked, and not that it refused.
func Away(err error) bool {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorFault() == smithy.FaultServer
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
