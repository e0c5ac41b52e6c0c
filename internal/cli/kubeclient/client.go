// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubeclient owns the CLI's way to a Kubernetes API server: a
// kubeconfig, read as kubectl reads it (several files, contexts, client
// certificates, tokens, token files, exec plugins, impersonation, proxies),
// and the few calls on namespaces and service accounts, and for the issuer of
// their tokens, that podid makes with it. It refuses to send credentials in clear text over a network, to follow
// redirects, and auth providers, which Kubernetes has removed. It is no
// general client: client-go would be most of the program's weight.
package kubeclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Options say where the cluster is found.
type Options struct {
	Kubeconfig string // file; "" for KUBECONFIG or ~/.kube/config
	Context    string // "" for the current one
	Environ    []string
	Stdin      io.Reader // for exec plugins that ask a person
	Stderr     io.Writer
	Now        func() time.Time
}

func (o *Options) lookup(name string) string {
	for _, v := range slices.Backward(o.Environ) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// ErrNoConfig says that there is no kubeconfig anywhere.
var ErrNoConfig = errors.New("no kubeconfig is found: give --kubeconfig or set KUBECONFIG")

const (
	callTime  = 30 * time.Second
	maxAnswer = 64 << 20
)

// Client speaks to one API server as one user.
type Client struct {
	base    *url.URL
	context string
	user    userConfig
	plugin  *plugin // nil without an exec plugin
	ca      []byte  // PEM, nil for the system's
	http    *http.Client
	tls     *tls.Config
}

// Server is the URL of the API server.
func (c *Client) Server() string { return c.base.Redacted() }

// Context is the name of the kubeconfig's context.
func (c *Client) Context() string { return c.context }

// String names the server; the client holds credentials.
func (c *Client) String() string { return "Kubernetes API server " + c.Server() }

// GoString is String.
func (c *Client) GoString() string { return c.String() }

// Load reads the kubeconfig and makes a client of a context. Nothing is
// called and no plugin is run yet.
func Load(o Options) (*Client, error) {
	cfg, err := loadConfig(&o)
	if err != nil {
		return nil, err
	}
	ch, err := cfg.choose(o.Context)
	if err != nil {
		return nil, err
	}
	c, err := newClient(ch, &o)
	if err != nil {
		return nil, fmt.Errorf("context %s: %w", ch.context, err)
	}
	return c, nil
}

func newClient(ch *choice, o *Options) (*Client, error) {
	base, err := serverURL(ch)
	if err != nil {
		return nil, err
	}
	if len(ch.user.AuthProvider) > 0 && string(ch.user.AuthProvider) != "null" {
		return nil, errors.New("auth-provider is not supported: Kubernetes has replaced it by exec plugins")
	}
	if ch.user.Exec != nil && (ch.user.Token != "" || ch.user.TokenFile != "" || ch.user.Username != "") {
		return nil, errors.New("the user has an exec plugin beside a token or password: which one counts is not clear")
	}
	if ch.user.As == "" && (ch.user.AsUID != "" || len(ch.user.AsGroups) > 0 || len(ch.user.AsUserExtra) > 0) {
		return nil, errors.New("as-uid, as-groups and as-user-extra need as: whom to act for")
	}
	ca, err := pem("certificate-authority", ch.cluster.CAData, ch.cluster.CAFile)
	if err != nil {
		return nil, err
	}
	c := &Client{base: base, context: ch.context, user: ch.user, ca: ca}
	if ch.user.Exec != nil {
		c.plugin = &plugin{config: ch.user.Exec, cluster: describeCluster(&ch.cluster, ca), environ: o.Environ, stdin: o.Stdin, stderr: o.Stderr, now: o.Now}
		if err := c.plugin.check(); err != nil {
			return nil, err
		}
	}
	if c.tls, err = tlsConfig(ch, ca); err != nil {
		return nil, err
	}
	proxy, err := proxyOf(string(ch.cluster.ProxyURL))
	if err != nil {
		return nil, err
	}
	c.connect(proxy)
	return c, nil
}

func (c *Client) connect(proxy func(*http.Request) (*url.URL, error)) {
	t := &http.Transport{
		Proxy: proxy, TLSClientConfig: c.tls, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}
	c.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if c.plugin != nil {
		// Each handshake asks for the certificate that counts then. A kept
		// connection has its own, so none is kept.
		t.DisableKeepAlives = true
		c.tls.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			a, err := c.plugin.credentials(info.Context(), nil)
			switch {
			case err != nil:
				return nil, err
			case a.Cert == "" && len(c.tls.Certificates) > 0:
				return &c.tls.Certificates[0], nil
			case a.Cert == "":
				return &tls.Certificate{}, nil
			}
			cert, err := tls.X509KeyPair([]byte(a.Cert), []byte(a.Key))
			return &cert, err
		}
	}
}

func serverURL(ch *choice) (*url.URL, error) {
	u, err := url.Parse(ch.cluster.Server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("server %q is no http or https URL of an API server", ch.cluster.Server)
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) && ch.user.hasCredentials() {
		return nil, fmt.Errorf("server %q has no TLS: credentials are not sent in clear text over a network", ch.cluster.Server)
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (u *userConfig) hasCredentials() bool {
	return u.Token != "" || u.TokenFile != "" || u.Username != "" || u.Exec != nil
}

func tlsConfig(ch *choice, ca []byte) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: ch.cluster.ServerName}
	if ch.cluster.Insecure {
		if ca != nil {
			return nil, errors.New("certificate-authority and insecure-skip-tls-verify exclude each other")
		}
		out.InsecureSkipVerify = true // what the caller's kubeconfig says, as kubectl does
	}
	if ca != nil {
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("certificate-authority holds no PEM certificate")
		}
	}
	cert, err := pem("client-certificate", ch.user.CertData, ch.user.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := pem("client-key", string(ch.user.KeyData), ch.user.KeyFile)
	if err != nil {
		return nil, err
	}
	if cert == nil && key == nil {
		return out, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read client certificate: %w", err)
	}
	out.Certificates = []tls.Certificate{pair}
	return out, nil
}

func proxyOf(text string) (func(*http.Request) (*url.URL, error), error) {
	if text == "" {
		return http.ProxyFromEnvironment, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
		return nil, errors.New("proxy-url is no URL of an http, https or socks5 proxy") // it may hold a password
	}
	return http.ProxyURL(u), nil
}

// authorize sets the headers that say who calls. It returns the plugin's
// answer, if there is one.
func (c *Client) authorize(ctx context.Context, h http.Header, refused *execStatus) (*execStatus, error) {
	u := &c.user
	var used *execStatus
	switch {
	case c.plugin != nil:
		a, err := c.plugin.credentials(ctx, refused)
		if err != nil {
			return nil, err
		}
		if used = a; a.Token != "" {
			h.Set("Authorization", "Bearer "+string(a.Token))
		}
	case u.Token != "" || u.TokenFile != "":
		token, err := u.bearer()
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", "Bearer "+token)
	case u.Username != "":
		r := http.Request{Header: h}
		r.SetBasicAuth(u.Username, string(u.Password))
	}
	u.impersonate(h)
	return used, nil
}

// bearer reads the token file anew each time: what writes it renews it. As
// for kubectl it counts before the token, which stands in where it is gone.
func (u *userConfig) bearer() (string, error) {
	if u.TokenFile == "" {
		return string(u.Token), nil
	}
	text, err := os.ReadFile(u.TokenFile)
	token := strings.TrimSpace(string(text))
	switch {
	case err == nil && token != "":
		return token, nil
	case u.Token != "":
		return string(u.Token), nil
	case err != nil:
		return "", fmt.Errorf("read token file: %w", err)
	}
	return "", fmt.Errorf("token file %s is empty", u.TokenFile)
}

func (u *userConfig) impersonate(h http.Header) {
	if u.As == "" {
		return
	}
	h.Set("Impersonate-User", u.As)
	if u.AsUID != "" {
		h.Set("Impersonate-Uid", u.AsUID)
	}
	for _, g := range u.AsGroups {
		h.Add("Impersonate-Group", g)
	}
	for k, values := range u.AsUserExtra {
		for _, v := range values {
			h.Add("Impersonate-Extra-"+url.PathEscape(strings.ToLower(k)), v)
		}
	}
}

// call makes one call; a plugin's credentials that the server refuses are
// asked for once more.
func (c *Client) call(ctx context.Context, method string, path []string, query url.Values, contentType string, body, into any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("write request: %w", err)
		}
	}
	u := c.base.JoinPath(path...)
	u.RawQuery = query.Encode()
	var refused *execStatus
	for {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("make request: %w", err)
		}
		// The API server has its keys in the second form only, and refuses who does not name it.
		req.Header.Set("Accept", "application/json, application/jwk-set+json")
		req.Header.Set("User-Agent", "podid")
		if body != nil {
			req.Header.Set("Content-Type", contentType)
		}
		used, err := c.authorize(ctx, req.Header, refused)
		if err != nil {
			return err
		}
		err = c.send(req, into)
		var status *StatusError
		if used == nil || refused != nil || !errors.As(err, &status) || status.Code != http.StatusUnauthorized {
			return err
		}
		refused = used
	}
}

func (c *Client) send(req *http.Request, into any) error {
	ctx, cancel := context.WithTimeout(req.Context(), callTime)
	defer cancel()
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("call Kubernetes: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read answer of Kubernetes: %w", err)
	}
	if len(text) > maxAnswer {
		return fmt.Errorf("the answer of Kubernetes is longer than %d bytes", maxAnswer)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return newStatusError(resp.StatusCode, text)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read answer of Kubernetes: %w", err)
	}
	return nil
}
