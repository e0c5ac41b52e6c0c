// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package server owns the listeners: addresses, TLS and its certificates,
// limits on header, time and connections, what every request gets before a
// handler sees it (an id, the peer's address, recovery from panics), health
// and metrics, and the graceful stop. It mounts the one handler that it is
// given and knows no service, no caller and no store. It refuses plain HTTP
// away from loopback unless told otherwise, and TLS below 1.2. Limits on
// bodies are set where bodies are read, behind it.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The limits that Config leaves at zero.
const (
	DefaultMaxHeaderBytes = 64 << 10
	DefaultMaxConnections = 10_000
	DefaultRequestTimeout = 30 * time.Second
	DefaultDrainTimeout   = 25 * time.Second
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 120 * time.Second
	// writeSlack is for the answer of a handler that used all its time.
	writeSlack = 5 * time.Second
	// maxStreams bounds the concurrent requests of one HTTP/2 connection.
	maxStreams = 250

	// noHeaderTable writes the headers of answers over HTTP/2 as they are. A
	// table of those that came before would be for the request id above all,
	// which is another each time: putting it in took 2 % of an AssumeRole.
	noHeaderTable = 1
	// certificateCheck is how often certificates are looked at.
	certificateCheck = 30 * time.Second
)

// Config is what a Server needs. Handler, Listen, Log, Now, Rand and Registry
// are required.
type Config struct {
	Handler http.Handler
	Listen  string // "host:port"; port 0 chooses a free one
	TLS     TLSConfig

	// PlainHTTP serves without TLS. It is refused unless Listen is a loopback
	// address or AllowPlainHTTP is set.
	PlainHTTP      bool
	AllowPlainHTTP bool

	MetricsAddress string // plain HTTP, /metrics; "" is off
	Registry       *prometheus.Registry
	Checks         []Check // of /readyz

	MaxHeaderBytes int           // 0: DefaultMaxHeaderBytes
	MaxConnections int           // 0: DefaultMaxConnections
	RequestTimeout time.Duration // header to answer; 0: DefaultRequestTimeout
	DrainTimeout   time.Duration // of the graceful stop; 0: DefaultDrainTimeout

	Log  *slog.Logger
	Now  func() time.Time
	Rand io.Reader
}

// Server serves a handler. New binds its addresses, Run serves until its
// context ends; one of Run and Close has to be called.
type Server struct {
	cfg      Config
	metrics  *Metrics
	health   *health
	conns    *connections
	certs    certificates // nil with plain HTTP
	main     *http.Server
	listener net.Listener

	metricsServer   *http.Server // nil when off
	metricsListener net.Listener

	stopping atomic.Bool
}

// New checks the configuration, makes or loads the certificate and binds the
// addresses. All problems of the configuration are in the error.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		return nil, fmt.Errorf("register server metrics: %w", err)
	}
	s := &Server{cfg: cfg, metrics: m, conns: newConnections(cfg.MaxConnections, m)}
	s.health = newHealth(cfg.Checks, cfg.Now, cfg.Log, s.stopping.Load)
	if !cfg.PlainHTTP {
		if s.certs, err = newCertificates(cfg); err != nil {
			return nil, fmt.Errorf("prepare TLS: %w", err)
		}
	}
	if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("bind the API's address: %w", err)
	}
	s.main = s.mainServer()
	if cfg.MetricsAddress == "" {
		return s, nil
	}
	if s.metricsListener, err = net.Listen("tcp", cfg.MetricsAddress); err != nil {
		_ = s.listener.Close()
		return nil, fmt.Errorf("bind the metrics' address: %w", err)
	}
	s.metricsServer = s.newMetricsServer()
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = DefaultMaxHeaderBytes
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = DefaultRequestTimeout
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	for name, missing := range map[string]bool{
		"Handler": c.Handler == nil, "Listen": c.Listen == "", "Log": c.Log == nil, "Now": c.Now == nil, "Rand": c.Rand == nil, "Registry": c.Registry == nil,
	} {
		if missing {
			errs = append(errs, fmt.Errorf("configure server: %s is required", name))
		}
	}
	if c.MaxHeaderBytes < 0 || c.MaxConnections < 0 || c.RequestTimeout < 0 || c.DrainTimeout < 0 {
		errs = append(errs, errors.New("configure server: limits are never negative"))
	}
	if c.PlainHTTP && !c.AllowPlainHTTP && !isLoopback(c.Listen) {
		errs = append(errs, fmt.Errorf("configure server: plain HTTP on %s would send credentials in the clear: listen on a loopback address, use TLS, or allow plain HTTP explicitly", c.Listen))
	}
	return errors.Join(errs...)
}

// isLoopback reports whether the address can only be reached from this
// machine. A name other than localhost is not looked up: it may change.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func (s *Server) mainServer() *http.Server {
	srv := &http.Server{
		Handler:           s.middleware(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       s.cfg.RequestTimeout,
		WriteTimeout:      s.cfg.RequestTimeout + writeSlack,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    s.cfg.MaxHeaderBytes,
		ConnState:         s.conns.state,
		ErrorLog:          errorLog(s.cfg.Log),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxEncoderHeaderTableSize: noHeaderTable},
	}
	if s.certs != nil {
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certs.get}
	}
	return srv
}

func (s *Server) newMetricsServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelError), MaxRequestsInFlight: 4,
	}))
	return &http.Server{
		Handler: mux, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readHeaderTimeout, WriteTimeout: time.Minute,
		IdleTimeout: idleTimeout, MaxHeaderBytes: DefaultMaxHeaderBytes,
		ErrorLog: errorLog(s.cfg.Log),
	}
}

// Handler is what the listener serves, for callers that have a request already.
func (s *Server) Handler() http.Handler { return s.main.Handler }

// Addr is the address of the API's listener, with its real port.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// MetricsAddr is the address of the metrics, or nil when they are off.
func (s *Server) MetricsAddr() net.Addr {
	if s.metricsListener == nil {
		return nil
	}
	return s.metricsListener.Addr()
}

// CAFile is the path of the certificate that clients have to trust when podid
// makes its own, or "" when certificates were given or TLS is off.
func (s *Server) CAFile() string {
	if s.certs == nil {
		return ""
	}
	return s.certs.caFile()
}

// Metrics is where the handler reports its calls.
func (s *Server) Metrics() *Metrics { return s.metrics }

// Ready runs the checks of /readyz and returns the first that fails.
func (s *Server) Ready(ctx context.Context) error { return s.health.ready(ctx) }

// Close gives the addresses back without serving. After Run it does nothing.
func (s *Server) Close() error {
	errs := []error{ignoreClosed(s.listener.Close())}
	if s.metricsListener != nil {
		errs = append(errs, ignoreClosed(s.metricsListener.Close()))
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Run serves until ctx ends, then stops accepting, lets requests finish for
// the drain time and closes what is left. It returns nil after a stop that
// was asked for, and why it stopped otherwise.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	serve := func(what string, serve func() error) {
		wg.Go(func() {
			if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serve %s: %w", what, err))
			}
		})
	}
	limited := s.conns.limit(s.listener)
	if s.certs != nil {
		wg.Go(func() { s.watchCertificates(ctx) })
		serve("the API", func() error { return s.main.ServeTLS(limited, "", "") })
	} else {
		serve("the API", func() error { return s.main.Serve(limited) })
	}
	if s.metricsServer != nil {
		serve("metrics", func() error { return s.metricsServer.Serve(s.metricsListener) })
	}
	<-ctx.Done()
	err := s.drain()
	wg.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = errors.Join(cause, err)
	}
	return err
}

// drain stops the servers. Metrics go last: the stop is worth watching.
func (s *Server) drain() error {
	s.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	s.conns.closeUnused()
	err := s.main.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.cfg.Log.Warn("requests did not finish within the drain time and were cut", "drain_time", s.cfg.DrainTimeout)
		err = s.main.Close()
	}
	if s.metricsServer != nil {
		err = errors.Join(err, s.metricsServer.Close())
	}
	if err != nil {
		return fmt.Errorf("stop serving: %w", err)
	}
	return nil
}

func (s *Server) watchCertificates(ctx context.Context) {
	tick := time.NewTicker(certificateCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.refreshCertificates()
		}
	}
}

func (s *Server) refreshCertificates() {
	changed, err := s.certs.refresh()
	switch {
	case err != nil:
		s.cfg.Log.Error("renew certificate; the one in use stays", "err", err)
	case changed:
		s.cfg.Log.Info("certificate renewed")
	}
}

// hostName is the machine's name for the certificate, "" if it has none.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
