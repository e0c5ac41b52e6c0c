// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// DefaultEndpoint is the endpoint of EKS Auth in a region; unlike other services its plain name is the dual-stack one.
func DefaultEndpoint(region string) string {
	return "https://eks-auth." + region + ".api.aws"
}

// ParseEndpoint parses a base URL, and refuses what a signed call must not be sent to: other schemes, user information,
// a query, and plain HTTP to a host that is not loopback unless allowPlainHTTP.
func ParseEndpoint(raw string, allowPlainHTTP bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("endpoint %q: not a URL", raw)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("endpoint %q: want https://host[:port]", u.Redacted())
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("endpoint %q: want a scheme, a host and at most a path", u.Redacted())
	case u.Scheme == "http" && !allowPlainHTTP && !loopback(u.Hostname()):
		return nil, fmt.Errorf("endpoint %q: plain http is allowed to loopback only, or by --allow-http-endpoint", u.Redacted())
	}
	return u, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// HTTPClient sends requests as they are. An [http.Client] around the transport would look for cookies, and copy each
// request's headers for redirects that none of the agent's calls may follow.
type HTTPClient struct{ *http.Transport }

// Do implements [Doer]; an error names method and address, as those of http.Client do.
func (c HTTPClient) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.RoundTrip(req)
	if err != nil {
		return nil, &url.Error{Op: req.Method, URL: req.URL.Redacted(), Err: err}
	}
	return resp, nil
}

// NewHTTPClient returns a client made for this call: keep-alive, HTTP/1.1 and 2, TLS 1.2 or newer, no redirects, a short
// dial, and enough idle connections that a burst of pods does not pay a handshake each. How long an answer may take, each
// request's context says. Nil roots mean the system's.
func NewHTTPClient(roots *x509.CertPool) HTTPClient {
	dialer := &net.Dialer{Timeout: 500 * time.Millisecond, KeepAlive: 30 * time.Second}
	return HTTPClient{&http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: 3 * time.Second, // the try's own time-out comes first where there are several endpoints
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // of answers of two kilobytes
		MaxIdleConns:        64,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
	}}
}

func (c *Config) setDefaults(endpoints int) {
	if c.HTTP == nil {
		c.HTTP = NewHTTPClient(nil)
	}
	if c.TotalTimeout == 0 {
		c.TotalTimeout = DefaultTotalTimeout
	}
	if c.AttemptTimeout == 0 && endpoints > 1 {
		c.AttemptTimeout = DefaultAttemptTimeout
	} else if c.AttemptTimeout == 0 {
		c.AttemptTimeout = c.TotalTimeout
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = DefaultMaxAttempts
	}
	if c.UserAgent == "" {
		c.UserAgent = "podid-agent"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
}
