// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dev owns `podid dev`: control plane, local clusters and their node
// agents in one process on loopback, for those who want to try roles and
// policies without Kubernetes. Everything in it is the real thing and talks
// over the wire; only the API server of the clusters is stood in for, by an
// issuer of service account tokens and by package apiserver. It refuses to listen anywhere but on
// loopback. It holds both sides of the wire and is linked by cmd/podid alone.
package dev

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"podid/internal/agent"
	"podid/internal/controlplane"
	"podid/internal/serverconfig"
)

const podAudience = "pods.eks.amazonaws.com"

// The service account that a cluster's agent runs as.
const (
	agentNamespace      = "podid-system"
	agentServiceAccount = "podid-agent"
)

// Config is what podid dev is told. Clusters names the local clusters; the
// first is the default.
type Config struct {
	Dir       string // keeps state; "" is a temporary directory that goes with the process
	Clusters  []string
	AccountID string
	Region    string
	Listen    string // a loopback address
	Limit     int    // associations of one cluster; 0 is EKS' quota
	Release   string
	Log       *slog.Logger
	Out       io.Writer // what a person reads
	Now       func() time.Time
	Rand      io.Reader
}

// Run starts everything, writes Dir/env when all of it is ready, and serves
// until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Dir == "" {
		tmp, err := os.MkdirTemp("", "podid-dev-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(tmp) }() // a leftover in the temporary folder is no error
		cfg.Dir = tmp
	}
	// The env file is read from other directories than this one.
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return err
	}
	cfg.Dir = dir
	d := &process{cfg: cfg, issuers: issuers{}}
	return d.run(ctx)
}

func (c *Config) check() error {
	var errs []error
	addr, err := netip.ParseAddrPort(c.Listen)
	if err != nil || !addr.Addr().IsLoopback() {
		errs = append(errs, fmt.Errorf("--listen %q is not a loopback address with a port, such as 127.0.0.1:8443: podid dev serves this machine only, `podid server` serves others", c.Listen))
	}
	if len(c.Clusters) == 0 {
		errs = append(errs, errors.New("--clusters names no cluster"))
	}
	seen := map[string]bool{}
	for _, n := range c.Clusters {
		if n == "" || strings.ContainsAny(n, "/. ") || seen[n] {
			errs = append(errs, fmt.Errorf("--clusters: %q is not a cluster's name, or is given twice", n))
		}
		seen[n] = true
	}
	return errors.Join(errs...)
}

type process struct {
	cfg      Config
	issuers  issuers
	endpoint string
	caFile   string
	roots    *x509.CertPool
}

func (d *process) path(elem ...string) string {
	return filepath.Join(append([]string{d.cfg.Dir}, elem...)...)
}

func (d *process) run(ctx context.Context) (err error) {
	started := d.cfg.Now()
	settings, err := d.settings()
	if err := errors.Join(d.cfg.check(), err); err != nil {
		return err
	}
	lock, err := lockDir(d.cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := d.prepare(); err != nil {
		return err
	}
	cp, err := controlplane.Open(ctx, controlplane.Config{
		Settings: settings, Release: d.cfg.Release, Log: d.cfg.Log, Now: d.cfg.Now, Rand: d.cfg.Rand, Tokens: d.issuers,
	})
	if err != nil {
		return err
	}
	d.endpoint, d.caFile = cp.Endpoint(), cp.CAFile()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return cp.Run(ctx) })
	g.Go(func() error {
		if err := d.ready(ctx, g); err != nil {
			return err
		}
		d.greet(d.cfg.Now().Sub(started))
		return nil
	})
	err = g.Wait()
	return errors.Join(err, removeIfThere(d.path("env")))
}

// lockDir makes the directory and takes it for this process. The env file in
// it is the first process's as long as that runs.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another podid dev uses it")
		}
		return nil, errors.Join(fmt.Errorf("--dir %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// checkDir refuses a directory in which somebody else could put keys of his
// own, or links, under the names that are used here.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	perm := info.Mode().Perm()
	st, ok := info.Sys().(*syscall.Stat_t)
	switch uid := os.Getuid(); {
	case ok && uid != 0 && int(st.Uid) != uid:
		return fmt.Errorf("--dir %s belongs to another user (uid %d): give a directory of your own", dir, st.Uid)
	case perm&0o002 != 0:
		return fmt.Errorf("--dir %s may be written by everybody (mode %04o): give a directory of your own, or chmod o-w it", dir, perm)
	case perm&0o020 != 0: // made under a umask of 002
		return os.Chmod(dir, perm&^0o020)
	}
	return nil
}

// prepare makes directories and issuer keys. A stale env file goes first:
// scripts take it for the sign that all is ready.
func (d *process) prepare() error {
	for _, dir := range []string{d.path("issuers"), d.path("agents"), d.path("apiservers")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := removeIfThere(d.path("env")); err != nil {
		return err
	}
	made := make([]*issuer, len(d.cfg.Clusters))
	var g errgroup.Group
	for n, name := range d.cfg.Clusters {
		g.Go(func() (err error) {
			made[n], err = newIssuer(d.path("issuers"), name, d.cfg.Rand, d.cfg.Now)
			return err
		})
	}
	err := g.Wait()
	for _, i := range made {
		if i != nil {
			d.issuers[i.cluster] = i
		}
	}
	return err
}

// settings are those of a server on loopback, with its defaults.
func (d *process) settings() (serverconfig.Config, error) {
	flags := serverconfig.NewFlags()
	set := pflag.NewFlagSet("podid dev", pflag.ContinueOnError)
	flags.AddTo(set)
	given := [][2]string{
		{"data-dir", d.path("server")}, {"account-id", d.cfg.AccountID}, {"region", d.cfg.Region}, {"listen", d.cfg.Listen}, {"metrics-address", ""}, {"token-review", "true"},
	}
	if d.cfg.Limit != 0 {
		given = append(given, [2]string{"association-limit", strconv.Itoa(d.cfg.Limit)})
	}
	for _, f := range given {
		if err := set.Set(f[0], f[1]); err != nil {
			return serverconfig.Config{}, fmt.Errorf("--%s: %w", f[0], err)
		}
	}
	return flags.Load(serverconfig.Env{Lookup: func(string) (string, bool) { return "", false }})
}

// ready registers the clusters as the admin, over the wire like anybody, and
// starts their agents.
func (d *process) ready(ctx context.Context, g *errgroup.Group) error {
	pem, err := os.ReadFile(d.caFile)
	if err != nil {
		return err
	}
	d.roots = x509.NewCertPool()
	if !d.roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", d.caFile)
	}
	admin, err := d.adminCredentials()
	if err != nil {
		return err
	}
	agents := make([]*agent.Agent, 0, len(d.cfg.Clusters))
	for _, name := range d.cfg.Clusters {
		k, roleARN, err := d.register(ctx, admin, name)
		if err != nil {
			return fmt.Errorf("register cluster %s: %w", name, err)
		}
		g.Go(func() error { return k.Run(ctx) })
		a, err := d.newAgent(d.issuers[name], roleARN)
		if err != nil {
			return fmt.Errorf("agent of cluster %s: %w", name, err)
		}
		agents = append(agents, a)
		g.Go(func() error { return a.Run(ctx) })
	}
	for n, a := range agents {
		select {
		case <-a.Ready():
			d.issuers[d.cfg.Clusters[n]].agent = "http://" + a.Addrs()[0]
		case <-ctx.Done():
			return nil
		}
	}
	// Clients look for an agent before they make an association: it shows itself.
	for _, name := range d.cfg.Clusters {
		if _, err := d.issuers[name].identity.Retrieve(ctx); err != nil {
			return fmt.Errorf("session of the agent of cluster %s: %w", name, err)
		}
	}
	g.Go(func() error { return d.rotateTokens(ctx) })
	return d.writeEnv(admin)
}
