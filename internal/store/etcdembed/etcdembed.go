// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcdembed runs one etcd member inside this process, so that podid
// needs nothing installed. It owns the member's data directory, its lock, its
// settings and its snapshots. It refuses to listen: the client speaks gRPC
// over a pipe in memory, a single member has no peers, so there is no port
// and no socket that anybody else could reach. What is stored it does not
// know: store/etcd reads and writes through Member.Client, as it does with an
// etcd elsewhere.
package etcdembed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

const (
	// pipeSize is the buffer of a connection in memory, per direction.
	pipeSize = 64 << 10
	// startTimeout bounds Start when its context does not: replaying the log
	// of a large store takes its time.
	startTimeout = 5 * time.Minute
	// stopTimeout bounds how long open calls may take at Close.
	stopTimeout = 2 * time.Second
)

// Config says where the member keeps its data. All other settings are fixed.
type Config struct {
	// Dir is the data directory: made if it is absent, set to mode 0700,
	// locked while the member runs.
	Dir string
	// Log receives etcd's log, its "info" as debug. Required.
	Log *slog.Logger
}

// Member is a running etcd.
type Member struct {
	server *etcdserver.EtcdServer
	grpc   *grpc.Server
	pipe   *bufconn.Listener
	client *clientv3.Client
	log    *zap.Logger
	lock   *dirLock
	fatal  *fatalHook
	served chan struct{}
	close  sync.Once
}

// Start opens the data directory and returns when the member is ready to
// serve. A directory that is in use, read-only, full or not ours is refused
// with an error that says so; see ErrLocked.
func Start(ctx context.Context, cfg Config) (*Member, error) {
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	fatal := newFatalHook()
	m := &Member{lock: lock, fatal: fatal, log: newZap(cfg.Log, fatal), served: make(chan struct{})}
	if m.server, err = boot(cfg.Dir, m.log, fatal); err != nil {
		return nil, errors.Join(err, lock.release())
	}
	m.server.Start()
	m.pipe = bufconn.Listen(pipeSize)
	m.grpc = v3rpc.Server(m.server, nil, nil)
	go func() {
		defer close(m.served)
		// Serve ends with an error only after Close.
		_ = m.grpc.Serve(m.pipe)
	}()
	if err := m.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start etcd in %s: %w", cfg.Dir, err), m.Close())
	}
	if m.client, err = m.NewClient(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Member) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-m.server.ReadyNotify():
		return nil
	case <-m.server.StopNotify():
		return errors.New("the member stopped")
	case <-m.fatal.done:
		return m.fatal.err()
	case <-ctx.Done():
		return fmt.Errorf("wait for the member: %w", ctx.Err())
	}
}

// Client is the member's client, closed with it.
func (m *Member) Client() *clientv3.Client { return m.client }

// NewClient makes a further client with a connection of its own, which the
// caller closes. Options come after the member's own and may replace them.
func (m *Member) NewClient(opts ...grpc.DialOption) (*clientv3.Client, error) {
	own := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return m.Dial(ctx) }),
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints:          []string{endpoint},
		Logger:             m.log,
		MaxCallRecvMsgSize: math.MaxInt32,
		DialOptions:        append(own, opts...),
	})
	if err != nil {
		return nil, fmt.Errorf("make etcd client: %w", err)
	}
	return c, nil
}

// Dial opens a connection in memory to the member.
func (m *Member) Dial(ctx context.Context) (net.Conn, error) { return m.pipe.DialContext(ctx) }

// Done is closed when the member has stopped, by Close or because it could
// not go on; Err then says why.
func (m *Member) Done() <-chan struct{} { return m.fatal.done }

// Err is nil while the member runs and after Close; otherwise what made it
// give up, a disk that refuses writes for example.
func (m *Member) Err() error {
	select {
	case <-m.fatal.done:
		return m.fatal.err()
	default:
		return nil
	}
}

// Close stops the member and gives the directory free. Everything that was
// acknowledged is on disk before and after. Later calls do nothing.
func (m *Member) Close() error {
	var err error
	m.close.Do(func() { err = m.stop() })
	return err
}

func (m *Member) stop() error {
	var errs []error
	if m.client != nil {
		if err := m.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, fmt.Errorf("close etcd client: %w", err))
		}
	}
	broken := m.Err() != nil
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		m.grpc.GracefulStop()
	}()
	select {
	case <-gone:
	case <-time.After(stopTimeout):
	}
	m.grpc.Stop()
	<-m.served
	// A member whose log writer died cannot be stopped in order; its files
	// are as a crash leaves them, which the next start repairs.
	if !broken {
		m.server.HardStop()
	}
	m.fatal.stop(nil)
	return errors.Join(append(errs, m.pipe.Close(), m.lock.release())...)
}
