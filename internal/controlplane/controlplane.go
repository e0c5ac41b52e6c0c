// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controlplane is the only room that knows all rooms of the server:
// it opens the store, makes the account at the first start, builds verbs and
// services on it, and serves them on one listener. It owns order of start and
// stop, and nothing else: no rule and no decision lives here. It refuses to
// start on data of another account, another root key or another release.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"podid/internal/accessentry"
	"podid/internal/account"
	"podid/internal/addon"
	"podid/internal/association"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/issuer"
	"podid/internal/issuer/webidentity"
	"podid/internal/keyring"
	"podid/internal/refusal"
	"podid/internal/revocation"
	"podid/internal/seal"
	"podid/internal/server"
	"podid/internal/serverconfig"
	"podid/internal/stackrun"
	"podid/internal/store"
	"podid/internal/store/etcd"
	"podid/internal/store/etcdembed"
)

// Config is what a control plane is made of. Settings, Release, Log, Now and
// Rand are required.
type Config struct {
	Settings serverconfig.Config
	Release  string
	Log      *slog.Logger
	Now      func() time.Time
	Rand     io.Reader
	Stdout   io.Writer // for an audit log on standard output
	// Tokens stands for the API server of clusters whose issuer key this process
	// holds (podid dev); nil elsewhere.
	Tokens TokenIssuer
}

// Schema lists every table of this release.
func Schema() *store.Schema {
	return store.NewSchema(
		account.Accounts, keyring.Keys, iam.Roles, iam.Users, iam.Groups, iam.Policies, iam.KeyUses,
		iam.InstanceProfiles, iam.OIDCProviders, iam.Aliases, iam.AWSPolicies, iam.PolicySets,
		cluster.Clusters, association.Associations, association.Requests, addon.Addons, addon.Seen,
		accessentry.Entries, accessentry.Reviewers, issuer.Choices, webidentity.Keys, revocation.Epochs, refusal.Refusals,
		stackrun.Stacks, stackrun.Deleted, stackrun.Resources, stackrun.Templates, stackrun.Events, stackrun.ChangeSets,
	)
}

// ControlPlane is a control plane that is open but not yet running.
type ControlPlane struct {
	cfg      Config
	member   *etcdembed.Member // nil with an external etcd
	client   *clientv3.Client
	db       *etcd.DB
	root     seal.RootKey
	account  *account.Account
	audit    *audit.Log
	registry *prometheus.Registry
	server   *server.Server
	svc      *shared

	background context.CancelFunc
	group      *errgroup.Group
	closing    chan struct{} // closed when Run is asked to end: who waits for news waits no longer
}

// Open opens the store, makes the account if there is none, and binds the
// listener. After it, one of Run and Close has to be called.
func Open(ctx context.Context, cfg Config) (*ControlPlane, error) {
	cp := &ControlPlane{cfg: cfg, registry: prometheus.NewRegistry(), closing: make(chan struct{})}
	cp.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := cp.open(ctx); err != nil {
		return nil, errors.Join(err, cp.Close())
	}
	return cp, nil
}

func (cp *ControlPlane) open(ctx context.Context) error {
	if err := cp.openStore(ctx); err != nil {
		return err
	}
	if err := cp.openAccount(ctx); err != nil {
		return err
	}
	if err := cp.openAudit(); err != nil {
		return err
	}
	svc, err := cp.build()
	if err != nil {
		return err
	}
	cp.svc = svc
	served, err := cp.newDesks(svc)
	if err != nil {
		return err
	}
	s := cp.cfg.Settings
	cp.server, err = server.New(server.Config{
		Handler: served.handler(), Listen: s.Listen, PlainHTTP: s.PlainHTTP, AllowPlainHTTP: s.AllowPlainHTTP,
		TLS:            server.TLSConfig{CertFile: s.TLSCert, KeyFile: s.TLSKey, Dir: s.TLSDir(), Names: s.TLSNames},
		MetricsAddress: s.MetricsAddress, Registry: cp.registry, Checks: cp.checks(), MaxConnections: s.MaxConnections,
		RequestTimeout: s.RequestTimeout, Log: cp.cfg.Log, Now: cp.cfg.Now, Rand: cp.cfg.Rand,
	})
	if err != nil {
		return err
	}
	svc.observe = cp.server.Metrics().Observe
	return nil
}

// openStore starts the embedded member or connects to the external cluster,
// loads every record, and begins to follow the store.
func (cp *ControlPlane) openStore(ctx context.Context) error {
	client, member, err := openEtcd(ctx, cp.cfg)
	if err != nil {
		return err
	}
	cp.client, cp.member = client, member
	cp.db, err = etcd.Open(ctx, client, Schema(), etcd.Options{
		Log: cp.cfg.Log, Release: cp.cfg.Release, Rand: cp.cfg.Rand,
		Alone: member != nil, // it has no socket, and its directory one process
	})
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	bg, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cp.background = cancel
	cp.group, bg = errgroup.WithContext(bg)
	cp.group.Go(func() error { return cp.db.Run(bg) })
	return nil
}

// Addr is the address that the API is served on.
func (cp *ControlPlane) Addr() net.Addr { return cp.server.Addr() }

// CAFile is the certificate that clients have to trust, or "".
func (cp *ControlPlane) CAFile() string { return cp.server.CAFile() }

// Endpoint is the URL for clients on this host.
func (cp *ControlPlane) Endpoint() string {
	_, port, err := net.SplitHostPort(cp.Addr().String())
	if err != nil {
		return ""
	}
	scheme, host := "https", "localhost"
	if cp.cfg.Settings.PlainHTTP {
		scheme, host = "http", "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// Account is the first account, which the installation was made with.
func (cp *ControlPlane) Account() *account.Account { return cp.account }

// Run serves until ctx ends, then drains requests, stops what runs behind
// and closes the store. It returns nil after a stop that was asked for.
func (cp *ControlPlane) Run(ctx context.Context) error {
	g, serving := errgroup.WithContext(ctx)
	context.AfterFunc(serving, func() { close(cp.closing) })
	served := make(chan struct{})
	g.Go(func() error {
		defer close(served)
		return cp.server.Run(serving)
	})
	g.Go(func() error {
		return cp.svc.ring.Run(serving, func(err error) { cp.cfg.Log.Error("session keys", "err", err) })
	})
	g.Go(func() error {
		return cp.svc.tokenKeys.Run(serving, func(err error) { cp.cfg.Log.Error("token keys", "err", err) })
	})
	g.Go(func() error {
		return cp.svc.lastUsed.Run(serving, func(err error) { cp.cfg.Log.Error("use of access keys", "err", err) })
	})
	g.Go(func() error {
		return cp.svc.sightings.Run(serving, func(err error) { cp.cfg.Log.Error("sightings of agents", "err", err) })
	})
	g.Go(func() error {
		return cp.svc.refusals.Run(serving, func(err error) { cp.cfg.Log.Error("refusals", "err", err) })
	})
	g.Go(func() error {
		// The store's follower ends only when it cannot go on.
		done := make(chan error, 1)
		go func() { done <- cp.group.Wait() }()
		select {
		case err := <-done:
			if err == nil && serving.Err() == nil {
				err = errors.New("the store's follower ended")
			}
			return err
		case <-served: // requests that were there at the end have needed the store
			cp.writeLastUsed(ctx)
			cp.background()
			return <-done
		}
	})
	err := g.Wait()
	return errors.Join(err, cp.Close())
}

// writeLastUsed writes what is known of access keys and agents before the end.
func (cp *ControlPlane) writeLastUsed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := cp.svc.lastUsed.Write(ctx); err != nil {
		cp.cfg.Log.WarnContext(ctx, "use of access keys", "err", err)
	}
	if err := cp.svc.sightings.Write(ctx); err != nil {
		cp.cfg.Log.WarnContext(ctx, "sightings of agents", "err", err)
	}
}

// Close gives everything back. After Run it does nothing.
func (cp *ControlPlane) Close() error {
	var errs []error
	if cp.server != nil {
		errs = append(errs, cp.server.Close())
		cp.server = nil
	}
	if cp.svc != nil {
		cp.svc.awssts.Close()
	}
	if cp.background != nil {
		cp.background()
		errs = append(errs, cp.group.Wait())
		cp.background = nil
	}
	if cp.audit != nil {
		errs = append(errs, cp.audit.Close())
		cp.audit = nil
	}
	switch {
	case cp.member != nil:
		errs = append(errs, cp.member.Close())
	case cp.client != nil:
		errs = append(errs, cp.client.Close())
	}
	cp.member, cp.client = nil, nil
	return errors.Join(errs...)
}

func (cp *ControlPlane) openAudit() error {
	s := cp.cfg.Settings
	opts := audit.Options{Now: cp.cfg.Now, Log: cp.cfg.Log, Register: cp.registry, Region: s.Region, Account: cp.account.ID}
	var err error
	if s.AuditLog == serverconfig.AuditStdout {
		cp.audit, err = audit.NewStream(cp.cfg.Stdout, opts)
	} else {
		cp.audit, err = audit.OpenFile(audit.FileConfig{Path: s.AuditLog, MaxSize: s.AuditMaxSize, MaxAge: s.AuditMaxAge, Keep: s.AuditKeep}, opts)
	}
	return err
}

// checks are the lines of /readyz.
func (cp *ControlPlane) checks() []server.Check {
	return []server.Check{
		{Name: "store", Reason: "the store does not answer", Run: cp.db.Ping},
		{Name: "session-keys", Reason: "there is no session key", Run: func(context.Context) error {
			_, err := cp.svc.ring.Primary()
			return err
		}},
	}
}

// etcdDir is where the embedded member keeps its data.
func etcdDir(s serverconfig.Config) string { return filepath.Join(s.DataDir, "etcd") }
