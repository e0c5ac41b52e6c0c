// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcdtest runs etcd as somebody else runs it, for tests of what works
// on such: members over TCP on loopback, TLS among them and towards clients,
// who have to show a certificate. It owns processes' stand-ins and their
// certificates; it refuses to be linked by the product.
package etcdtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// startPatience bounds the first election.
const startPatience = time.Minute

// Options vary a cluster.
type Options struct {
	Members   int  // 0: one
	MaxTxnOps uint // 0: what podid needs
}

// Cluster is etcd that runs until the test ends.
type Cluster struct {
	Endpoints         []string
	CAFile            string
	CertFile, KeyFile string // what a client that is let in shows

	tls    *tls.Config
	spaces atomic.Int64
}

// Start runs a cluster and returns when it has a leader.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	o.Members = max(o.Members, 1)
	if o.MaxTxnOps == 0 {
		o.MaxTxnOps = 1024
	}
	dir := t.TempDir()
	info := newPKI(t, dir)
	tc, err := info.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{CAFile: info.TrustedCAFile, CertFile: info.CertFile, KeyFile: info.KeyFile, tls: tc}
	clients, peers := freeURLs(t, o.Members), freeURLs(t, o.Members)
	var initial []string
	for i, p := range peers {
		initial = append(initial, fmt.Sprintf("m%d=%s", i, p.String()))
	}
	var members []*embed.Etcd
	for i := range o.Members {
		cfg := embed.NewConfig()
		cfg.Name, cfg.Dir, cfg.MaxTxnOps = fmt.Sprintf("m%d", i), filepath.Join(dir, fmt.Sprint(i)), o.MaxTxnOps
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{clients[i]}, []url.URL{clients[i]}
		cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peers[i]}, []url.URL{peers[i]}
		cfg.InitialCluster = strings.Join(initial, ",")
		cfg.ClientTLSInfo, cfg.PeerTLSInfo = info, info
		cfg.UnsafeNoFsync = true // what a crash leaves is tested with the embedded member
		cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
		m, err := embed.StartEtcd(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		members = append(members, m)
		c.Endpoints = append(c.Endpoints, clients[i].String())
	}
	patience := time.After(startPatience)
	for _, m := range members {
		select {
		case <-m.Server.ReadyNotify():
		case err := <-m.Err():
			t.Fatal(err)
		case <-patience:
			t.Fatal("etcd does not become ready")
		}
	}
	return c
}

// Client is one process' client, until the test ends. All that it does is in
// the space, as if it had an etcd of its own.
func (c *Cluster) Client(t testing.TB, space string) *clientv3.Client {
	t.Helper()
	out := c.connect(t, c.tls)
	out.KV = namespace.NewKV(out.KV, space)
	out.Watcher = namespace.NewWatcher(out.Watcher, space)
	out.Lease = namespace.NewLease(out.Lease, space)
	return out
}

// Stranger is a client that shows no certificate.
func (c *Cluster) Stranger(t testing.TB) *clientv3.Client {
	t.Helper()
	return c.connect(t, &tls.Config{RootCAs: c.tls.RootCAs, MinVersion: tls.VersionTLS12})
}

func (c *Cluster) connect(t testing.TB, tc *tls.Config) *clientv3.Client {
	t.Helper()
	out, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints, TLS: tc, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := out.Close(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("close etcd client: %v", err)
		}
	})
	return out
}

// Space is a name that no other client has.
func (c *Cluster) Space() string { return fmt.Sprintf("space-%d/", c.spaces.Add(1)) }

// freeURLs are addresses of loopback that were free a moment ago.
func freeURLs(t testing.TB, n int) []url.URL {
	t.Helper()
	var out []url.URL
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() }) // once more, where the next lines did not come to it
		out = append(out, url.URL{Scheme: "https", Host: l.Addr().String()})
		defer l.Close() //nolint:errcheck // nothing was written
	}
	return out
}

// newPKI makes a CA and one certificate of it, for members and clients alike.
func newPKI(t testing.TB, dir string) transport.TLSInfo {
	t.Helper()
	info := transport.TLSInfo{
		CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), TrustedCAFile: filepath.Join(dir, "ca.crt"), ClientCertAuth: true,
	}
	caKey, key := newKey(t), newKey(t)
	ca := certificate("test CA")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	leaf := certificate("etcd")
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	writePEM(t, info.TrustedCAFile, "CERTIFICATE", signed(t, ca, ca, &caKey.PublicKey, caKey))
	writePEM(t, info.CertFile, "CERTIFICATE", signed(t, leaf, ca, &key.PublicKey, caKey))
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, info.KeyFile, "PRIVATE KEY", private)
	return info
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func signed(t testing.TB, c, by *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
