// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"podid/internal/agent/pace"
)

// A push that may be retried is made again after retryMin, doubling up to retryMax, less up to half of that as jitter.
const (
	retryMin = time.Second
	retryMax = 15 * time.Second
)

// newTransport trusts the CAs that the settings name.
func newTransport(s *Settings) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the collector's CA file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the collector's CA file %s holds no PEM certificate", s.CAFile)
		}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConns:        1,
		IdleConnTimeout:     retryMax + retryMin,
	}, nil
}

// push sends the message, and again what OTLP has retried, until ctx ends. A collector that wants to be left alone for
// longer is left alone.
func (e *Exporter) push(ctx context.Context, message []byte) (partial, error) {
	// Nothing is kept open over an interval: neither here nor at the collector, which has many nodes.
	defer e.http.CloseIdleConnections()
	for try := 0; ; try++ {
		p, err := e.post(ctx, message)
		var answer *statusError
		answered := errors.As(err, &answer)
		if err == nil || ctx.Err() != nil || answered && !answer.again() {
			return p, err
		}
		backoff := min(retryMin<<min(try, 10), retryMax)
		pause := backoff - time.Duration(pace.Chance(e.cfg.Rand)*float64(backoff)/2)
		if answered && answer.retryAfter > 0 {
			pause = answer.retryAfter
			e.notBefore = time.Now().Add(pause)
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause || !pace.Sleep(ctx, pause) {
			return partial{}, err
		}
	}
}

// post makes one request.
func (e *Exporter) post(ctx context.Context, message []byte) (_ partial, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Settings.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.cfg.Settings.Endpoint.url, bytes.NewReader(message))
	if err != nil {
		return partial{}, errEndpoint
	}
	req.Header.Set("User-Agent", "podid-agent/"+e.cfg.Version)
	for name, values := range e.cfg.Settings.Headers.fields {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if e.cfg.Settings.Gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return partial{}, e.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }() // what it says has been read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	readable := strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-protobuf")
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		answer := &statusError{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"), e.cfg.Now())}
		if readable {
			answer.message = shorten(e.cfg.Settings.Headers.redact(readStatus(body)))
		}
		return partial{}, answer
	case err != nil:
		return partial{}, e.unreachable(err)
	case !readable:
		return partial{}, nil
	}
	p := readPartial(body)
	p.message = shorten(e.cfg.Settings.Headers.redact(p.message))
	return p, nil
}

// unreachableError is a request without an answer.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return "the collector does not answer: " + e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

// unreachable leaves out the URL, which may hold a key.
func (e *Exporter) unreachable(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	return &unreachableError{err}
}

func compress(message []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(message); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
