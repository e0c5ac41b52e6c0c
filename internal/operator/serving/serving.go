// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package serving is the webhook's TLS listener. It owns its bounds in time
// and size, when a replica may be sent reviews, and how it stops: a replica
// that is told to stop says at once that it is not ready, goes on answering
// while API servers learn of it, and then ends what is under way. It serves on
// every replica, whoever leads. It refuses TLS before 1.2, and to be ready
// before all that a review asks is there.
package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Path is where reviews are posted.
const Path = "/mutate"

// Bounds of a request: an API server waits for an answer for as long as the
// webhook configuration says, 30 s at the most.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 15 * time.Second
	writeTimeout  = 35 * time.Second
	idleTimeout   = 3 * time.Minute
	maxHeader     = 64 << 10
	stopTimeout   = 20 * time.Second
)

// A Condition is something that has to be there before reviews can be answered.
type Condition struct {
	Name string
	Met  func() bool
}

// Config says what is served, and where.
type Config struct {
	Address     string // host:port
	Handler     http.Handler
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	MinVersion  uint16 // of TLS; 0 is 1.2
	Ready       []Condition
	Drain       time.Duration // for which a replica that stops goes on answering
	Log         *slog.Logger
}

// Server serves the webhook. Make one with New.
type Server struct {
	cfg      Config
	listener net.Listener
	stopping atomic.Bool
	serving  atomic.Bool
}

// New takes the address, so that one which is taken is told at once.
func New(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if cfg.MinVersion < tls.VersionTLS12 {
		return nil, errors.New("the webhook is served with TLS 1.2 at the least")
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("listen for the webhook: %w", err)
	}
	return &Server{cfg: cfg, listener: l}, nil
}

// Add has a manager run the server and ask it whether it is ready.
func Add(ctx context.Context, mgr manager.Manager, cfg Config) error {
	s, err := New(ctx, cfg)
	if err != nil {
		return err
	}
	if err := errors.Join(mgr.Add(s), mgr.AddReadyzCheck("webhook", s.Ready)); err != nil {
		return errors.Join(err, s.listener.Close())
	}
	return nil
}

// Address is where the server listens.
func (s *Server) Address() net.Addr { return s.listener.Addr() }

// NeedLeaderElection: every replica serves.
func (*Server) NeedLeaderElection() bool { return false }

// Ready is the server's part of /readyz. The error names what is not there yet.
func (s *Server) Ready(*http.Request) error {
	if s.stopping.Load() {
		return errors.New("stopping")
	}
	if !s.serving.Load() {
		return errors.New("not serving yet")
	}
	var missing []error
	for _, c := range s.cfg.Ready {
		if !c.Met() {
			missing = append(missing, errors.New(c.Name+" is not there yet"))
		}
	}
	return errors.Join(missing...)
}

// Start serves until ctx ends, and then stops as the package comment says.
func (s *Server) Start(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle(Path, s.cfg.Handler)
	h := &http.Server{
		Handler:           mux,
		TLSConfig:         &tls.Config{GetCertificate: s.cfg.Certificate, MinVersion: s.cfg.MinVersion, NextProtos: []string{"h2", "http/1.1"}}, //nolint:gosec // New refuses less than 1.2
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug), // handshakes that fail are the callers' business
	}
	done := make(chan error, 1)
	go func() { done <- h.ServeTLS(s.listener, "", "") }()
	s.serving.Store(true)
	s.cfg.Log.Info("serving the webhook", slog.String("address", s.listener.Addr().String()))
	select {
	case err := <-done:
		return fmt.Errorf("serve the webhook: %w", err)
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	t := time.NewTimer(s.cfg.Drain)
	defer t.Stop()
	select {
	case err := <-done:
		return fmt.Errorf("serve the webhook: %w", err)
	case <-t.C:
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop the webhook: %w", err), h.Close())
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the webhook: %w", err)
	}
	return nil
}
