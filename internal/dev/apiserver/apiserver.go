// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apiserver stands for the Kubernetes API server of a local cluster of
// `podid dev`, as far as tools that connect service accounts with roles speak
// to one: it keeps namespaces and service accounts, in a file of the
// cluster's. Callers prove themselves with AWS tokens (k8s-aws-v1.…), which
// podid's own webhook reviews over the wire, as for a real API server. It
// refuses everybody whose access entry does not make him an administrator of
// the whole cluster, every other resource, and bodies over its limit. It runs
// nothing: no pod comes of what it keeps.
package apiserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"time"
)

// AdminGroup is the group of who has the access policy
// AmazonEKSClusterAdminPolicy for the whole cluster.
const AdminGroup = "podid.dev:cluster:AmazonEKSClusterAdminPolicy"

// Version is the release of Kubernetes that the server says it is.
const Version = "1.34"

const (
	maxBody        = 1 << 20
	certificateAge = 365 * 24 * time.Hour
	drainTime      = 2 * time.Second
)

// User is who a token's maker is in the cluster.
type User struct {
	Name   string
	Groups []string
}

// Config is what a server is told. All fields are required.
type Config struct {
	Cluster string
	File    string // keeps the objects; made with mode 0600
	// Review asks who made a token. A refusal is ErrUnauthenticated; other
	// errors are failures to ask.
	Review func(ctx context.Context, token string) (User, error)
	Log    *slog.Logger
	Now    func() time.Time
	Rand   io.Reader
}

// ErrUnauthenticated is a review's refusal of a token.
var ErrUnauthenticated = errors.New("the token is not genuine, or its maker has no access entry")

// Server is an API server that listens on the loopback.
type Server struct {
	cfg      Config
	objects  *objects
	listener net.Listener
	ca       []byte
}

// New reads the file and takes a port. Run has to follow.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, objects: &objects{file: cfg.File, now: cfg.Now, rand: cfg.Rand}}
	if err := s.objects.load(); err != nil {
		return nil, fmt.Errorf("read the objects of cluster %s: %w", cfg.Cluster, err)
	}
	cert, err := s.certificate()
	if err != nil {
		return nil, fmt.Errorf("make the certificate of cluster %s: %w", cfg.Cluster, err)
	}
	var lc net.ListenConfig
	tcp, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.listener = tls.NewListener(tcp, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	return s, nil
}

// Endpoint is the URL of the server.
func (s *Server) Endpoint() string { return "https://" + s.listener.Addr().String() }

// CA is the certificate that clients have to trust, as PEM. It is another one
// at each start.
func (s *Server) CA() []byte { return s.ca }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	serving, stop := context.WithCancel(ctx)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-serving.Done()
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if srv.Shutdown(bound) != nil {
			_ = srv.Close() // those that are left are cut off
		}
	}()
	err := srv.Serve(s.listener)
	stop()
	<-drained
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve cluster %s: %w", s.cfg.Cluster, err)
	}
	return nil
}

// Close gives the port back when Run was not called.
func (s *Server) Close() error { return s.listener.Close() }

// certificate makes the server's own authority and certificate in one; its key
// stays in memory.
func (s *Server) certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), s.cfg.Rand)
	if err != nil {
		return tls.Certificate{}, err
	}
	var serial [16]byte
	if _, err := io.ReadFull(s.cfg.Rand, serial[:]); err != nil {
		return tls.Certificate{}, err
	}
	now := s.cfg.Now()
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:]), Subject: pkix.Name{Organization: []string{"podid dev"}, CommonName: s.cfg.Cluster},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateAge), BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(s.cfg.Rand, t, t, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	s.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
