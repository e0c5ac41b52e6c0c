// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package jwks is the one guarded way by which a control plane fetches OIDC
// discovery documents and key sets from addresses that somebody else chose.
//
// It owns what may be fetched: https only, no redirect, no proxy from the
// environment, answers of at most 1 MiB within 5 seconds, the document's issuer
// equal to the configured one, the key set on the issuer's own origin unless
// another is allowed. Addresses are checked when the connection is made, after
// name resolution, so a name that changes its mind between check and use gains
// nothing: loopback, link-local, multicast, unspecified, translated and cloud
// metadata addresses are refused unless allowed by prefix. Private networks are
// allowed: clusters live there.
//
// Source sets the pace for one issuer: whoever asks because of an unknown key
// id shares a fetch, and there is at most one in 30 seconds. It keeps no keys:
// they stand in the cluster's record, and what they mean is the caller's.
package jwks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	// MaxBytes bounds one answer.
	MaxBytes = 1 << 20
	// Timeout bounds one request, from resolution to the last byte.
	Timeout = 5 * time.Second

	wellKnown    = "/.well-known/openid-configuration"
	maxURLLength = 2048
)

// Errors of a fetch that was refused by rule; anything else is a failure on the way.
var (
	ErrURL      = errors.New("URL is not acceptable")
	ErrAddress  = errors.New("address is refused")
	ErrRedirect = errors.New("redirects are refused")
	ErrTooLarge = errors.New("answer is larger than 1 MiB")
	ErrIssuer   = errors.New("discovery document names another issuer")
	ErrOrigin   = errors.New("key set is on another origin than the issuer")
	ErrDocument = errors.New("answer is not acceptable")
)

// Options of a Fetcher. The zero value is the strictest.
type Options struct {
	// AllowedPrefixes are addresses to allow although they are refused by
	// default, such as 127.0.0.0/8 in a development setting.
	AllowedPrefixes []netip.Prefix
	// JWKSOrigins are origins, as "https://host:port", that a jwks_uri may have
	// besides the issuer's own.
	JWKSOrigins []string
	// RootCAs replaces the system's certificate authorities.
	RootCAs *x509.CertPool
	// Resolve replaces the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Fetcher fetches under the package's rules. It keeps no connection and is safe
// for concurrent use.
type Fetcher struct {
	client    *http.Client
	transport *http.Transport
	allowed   []netip.Prefix
	origins   map[string]bool
	resolve   func(context.Context, string) ([]netip.Addr, error)
}

// New returns a Fetcher. The error lists what is wrong with o.
func New(o Options) (*Fetcher, error) {
	f := &Fetcher{allowed: append([]netip.Prefix(nil), o.AllowedPrefixes...), origins: map[string]bool{}, resolve: o.Resolve}
	var problems []error
	for _, raw := range o.JWKSOrigins {
		u, err := parseURL(raw)
		if err != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			problems = append(problems, fmt.Errorf("allowed origin %q: want https://host or https://host:port", raw))
			continue
		}
		f.origins[origin(u)] = true
	}
	for _, p := range f.allowed {
		if !p.IsValid() {
			problems = append(problems, errors.New("allowed prefix is not valid"))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	f.transport = &http.Transport{
		Proxy:                  nil, // whatever the environment says
		DialContext:            f.dial,
		TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	f.client = &http.Client{
		Transport:     f.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f, nil
}

// Discover fetches the discovery document of issuer and the key set it names,
// and returns the key set as it came with its address.
func (f *Fetcher) Discover(ctx context.Context, issuer string) (jwks []byte, jwksURI string, err error) {
	base, err := parseURL(issuer)
	if err != nil {
		return nil, "", fmt.Errorf("discover issuer: %w", err)
	}
	if base.RawQuery != "" || base.ForceQuery {
		return nil, "", fmt.Errorf("discover issuer: %w: an issuer has no query", ErrURL)
	}
	raw, err := f.get(ctx, strings.TrimSuffix(issuer, "/")+wellKnown)
	if err != nil {
		return nil, "", fmt.Errorf("fetch discovery document: %w", err)
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, "", fmt.Errorf("fetch discovery document: %w: not the JSON of OpenID Connect Discovery", ErrDocument)
	}
	if doc.Issuer != issuer {
		return nil, "", fmt.Errorf("fetch discovery document: %w: %.200q instead of %.200q", ErrIssuer, doc.Issuer, issuer)
	}
	keys, err := parseURL(doc.JWKSURI)
	if err != nil {
		return nil, "", fmt.Errorf("read jwks_uri: %w", err)
	}
	if o := origin(keys); o != origin(base) && !f.origins[o] {
		return nil, "", fmt.Errorf("read jwks_uri: %w: %.200q", ErrOrigin, o)
	}
	if jwks, err = f.get(ctx, doc.JWKSURI); err != nil {
		return nil, "", fmt.Errorf("fetch key set: %w", err)
	}
	return jwks, doc.JWKSURI, nil
}

// get makes one request and returns the whole body of a 200.
func (f *Fetcher) get(ctx context.Context, address string) (body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	req.Header.Set("User-Agent", "podid")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err // the client's error names method and URL
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fmt.Errorf("%s: %w", address, ErrRedirect)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %w: status %d", address, ErrDocument, resp.StatusCode)
	}
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && media == "text/html" {
		return nil, fmt.Errorf("%s: %w: a web page, no JSON", address, ErrDocument)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", address, err)
	}
	if len(body) > MaxBytes {
		return nil, fmt.Errorf("%s: %w", address, ErrTooLarge)
	}
	return body, nil
}

// dial connects to an address that passes the check. The check sits in the
// dialer's Control: it sees the very address that the kernel will connect to.
func (f *Fetcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Control: func(_, literal string, _ syscall.RawConn) error { return f.check(literal) }}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if _, err := netip.ParseAddr(host); err == nil || f.resolve == nil {
		return d.DialContext(ctx, network, address)
	}
	addrs, err := f.resolve(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	err = fmt.Errorf("resolve %s: no address", host)
	for _, addr := range addrs {
		var conn net.Conn
		if conn, err = d.DialContext(ctx, network, net.JoinHostPort(addr.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (f *Fetcher) check(literal string) error {
	ap, err := netip.ParseAddrPort(literal)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrAddress, literal)
	}
	addr := ap.Addr().WithZone("").Unmap()
	for _, p := range f.allowed {
		if p.Contains(addr) {
			return nil
		}
	}
	if why := refused(addr); why != "" {
		return fmt.Errorf("%w: %s is %s", ErrAddress, addr, why)
	}
	return nil
}

// parseURL takes absolute https URLs without user, fragment or odd parts.
func parseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURLLength {
		return nil, fmt.Errorf("%w: longer than %d characters", ErrURL, maxURLLength)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %.200q cannot be read", ErrURL, raw)
	case u.Scheme != "https":
		return nil, fmt.Errorf("%w: %.200q is not https", ErrURL, raw)
	case u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("%w: %.200q names no host", ErrURL, raw)
	case u.User != nil:
		return nil, fmt.Errorf("%w: it names a user", ErrURL)
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, fmt.Errorf("%w: %.200q has a fragment", ErrURL, raw)
	}
	return u, nil
}

// origin is scheme, host and port in one spelling (RFC 6454).
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return "https://" + net.JoinHostPort(strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), port)
}
