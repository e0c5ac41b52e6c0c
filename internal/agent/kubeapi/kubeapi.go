// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubeapi is the node agent's way to its cluster's API server: plain HTTP/1.1 over TLS with the agent's own
// token, for the few calls that the agent makes. A client library would cost more memory than the whole agent.
//
// It owns the reading of token and CA, which kubelet rotates, and the form of the API server's refusals. It refuses
// plain HTTP, redirects (the token stays here) and answers that are no success. In the flow it stands below podwatch
// and nodesign, and above nothing.
package kubeapi

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
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxFileBytes    = 1 << 20
	maxRefusalBytes = 64 << 10
	headerTimeout   = 30 * time.Second
)

// Config says where the API server is and who asks.
type Config struct {
	// Address is https://host[:port].
	Address string
	// TokenFile holds the bearer; empty: none is sent. CAFile holds the only CAs to trust; empty: the system's. Both are
	// read anew for each request.
	TokenFile, CAFile string
}

// Client is safe for concurrent use.
type Client struct {
	cfg Config

	mu   sync.Mutex
	ca   []byte // what http trusts
	http *http.Client
}

// New checks the configuration; it makes no call.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("API server %q: want https://host[:port]", cfg.Address)
	}
	cfg.Address = strings.TrimRight(cfg.Address, "/")
	return &Client{cfg: cfg}, nil
}

// Request is one call. Path begins with a slash and is escaped already.
type Request struct {
	Method, Path        string
	Query               url.Values
	Accept, ContentType string // empty: JSON
	Body                []byte
}

// StatusError is a refusal of the API server.
type StatusError struct {
	Status          int
	Reason, Message string // of its Status object, if it sent one
}

// Error names status and reason.
func (e *StatusError) Error() string {
	text := "API server: status " + strconv.Itoa(e.Status)
	if e.Reason != "" {
		text += " " + e.Reason
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// IsStatus tells whether err is a refusal with that HTTP status.
func IsStatus(err error, status int) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == status
}

// Do makes the call. An answer has a status of 2xx, and its body is the caller's to close; anything else is an error, of
// type *StatusError where the API server refused.
func (c *Client) Do(ctx context.Context, in Request) (*http.Response, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	address := c.cfg.Address + in.Path
	if len(in.Query) > 0 {
		address += "?" + in.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, in.Method, address, bytes.NewReader(in.Body))
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	req.Header.Set("Accept", or(in.Accept, "application/json"))
	req.Header.Set("User-Agent", "podid-agent")
	if in.Body != nil {
		req.Header.Set("Content-Type", or(in.ContentType, "application/json"))
	}
	if c.cfg.TokenFile != "" {
		token, err := readFile(c.cfg.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("read the agent's token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call API server: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, errors.Join(refusal(resp), resp.Body.Close())
	}
	return resp, nil
}

// client is made anew when the CA has changed.
func (c *Client) client() (*http.Client, error) {
	var ca []byte
	if c.cfg.CAFile != "" {
		var err error
		if ca, err = readFile(c.cfg.CAFile); err != nil {
			return nil, fmt.Errorf("read the API server's CA: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil && bytes.Equal(ca, c.ca) {
		return c.http, nil
	}
	var roots *x509.CertPool
	if c.cfg.CAFile != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("CA file %s holds no PEM certificate", c.cfg.CAFile)
		}
	}
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
	c.ca, c.http = ca, newHTTP(roots)
	return c.http, nil
}

// newHTTP: no HTTP/2, whose buffers the handful of calls is not worth. A peer that vanished is noticed within a minute.
func newHTTP(roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, MaxIdleConns: 1, IdleConnTimeout: 90 * time.Second,
			TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: headerTimeout, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		},
	}
}

// Close gives idle connections back.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

func refusal(resp *http.Response) error {
	var status struct{ Reason, Message string }
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusalBytes))
	if err == nil {
		_ = json.Unmarshal(text, &status) // what is no JSON came from something between
	}
	return &StatusError{Status: resp.StatusCode, Reason: status.Reason, Message: status.Message}
}

// readFile reads a small file.
func readFile(path string) (_ []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err == nil && len(text) > maxFileBytes {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFileBytes)
	}
	return text, err
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
