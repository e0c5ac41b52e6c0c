// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"podid/internal/serverconfig"
	"podid/internal/store/etcd"
	"podid/internal/store/etcdembed"
)

// openEtcd returns a client of the embedded member, which it starts, or of
// the external cluster.
func openEtcd(ctx context.Context, cfg Config) (*clientv3.Client, *etcdembed.Member, error) {
	s := cfg.Settings
	if err := os.MkdirAll(s.DataDir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the data directory: %w", err)
	}
	if len(s.EtcdEndpoints) == 0 {
		m, err := etcdembed.Start(ctx, etcdembed.Config{Dir: etcdDir(s), Log: cfg.Log})
		if err != nil {
			return nil, nil, fmt.Errorf("start the embedded store: %w", err)
		}
		return m.Client(), m, nil
	}
	tc, err := etcdTLS(s)
	if err != nil {
		return nil, nil, err
	}
	c, err := clientv3.New(clientv3.Config{
		Context: context.WithoutCancel(ctx), Endpoints: s.EtcdEndpoints, TLS: tc, DialTimeout: 5 * time.Second,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second, RejectOldCluster: true, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("connect to etcd at %v: %w", s.EtcdEndpoints, err)
	}
	if err := etcd.CheckLimits(ctx, c); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("use etcd at %v: %w", s.EtcdEndpoints, err), c.Close())
	}
	return c, nil, nil
}

func etcdTLS(s serverconfig.Config) (*tls.Config, error) {
	if s.EtcdCA == "" && s.EtcdCert == "" {
		return nil, nil
	}
	tc := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.EtcdCA != "" {
		pem, err := os.ReadFile(s.EtcdCA)
		if err != nil {
			return nil, fmt.Errorf("read --etcd-ca: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("--etcd-ca holds no PEM certificate")
		}
	}
	if s.EtcdCert != "" {
		cert, err := tls.LoadX509KeyPair(s.EtcdCert, s.EtcdKey)
		if err != nil {
			return nil, fmt.Errorf("read --etcd-cert and --etcd-key: %w", err)
		}
		tc.Certificates = []tls.Certificate{cert}
	}
	return tc, nil
}

// SaveSnapshot writes a consistent copy of the store to path. It works on a
// stopped server's data directory, or on an external cluster.
func SaveSnapshot(ctx context.Context, cfg Config, path string) (err error) {
	client, member, err := openEtcd(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		if member != nil {
			err = errors.Join(err, member.Close())
		} else {
			err = errors.Join(err, client.Close())
		}
	}()
	return writeSnapshot(ctx, client, path)
}

// RestoreSnapshot makes an embedded store of a snapshot. The data directory
// must not hold a store.
func RestoreSnapshot(cfg Config, path string) error {
	if err := os.MkdirAll(cfg.Settings.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	return etcdembed.Restore(path, etcdDir(cfg.Settings), cfg.Log)
}

// writeSnapshot writes beside the path and renames, so that path is a whole
// snapshot or is not there.
func writeSnapshot(ctx context.Context, client *clientv3.Client, path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".podid-snapshot-*")
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := errors.Join(etcdembed.Save(ctx, client, f), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	return os.Rename(f.Name(), path)
}
