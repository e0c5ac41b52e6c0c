// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	// bindAgain is how often an address that could not be bound is tried again.
	bindAgain = 5 * time.Second
	// lingerTime is how long silent connections stay open to a process that has handed over, stopLinger to one that stops:
	// a pod whose next request is on one is answered, and told to open another.
	lingerTime = 10 * time.Second
	stopLinger = time.Second
	lingerStep = 50 * time.Millisecond
)

// door is an address that the agent answers on.
type door struct {
	kind    string // credentials, probe or metrics
	address string // as configured
	handler http.Handler
	bound   *string          // where Agent keeps the address that it has; nil for credentials
	socket  *net.TCPListener // nil until it is bound; guarded by Agent.mu
}

func (d *door) credentials() bool { return d.bound == nil }

// name is what the door's socket is called when it is handed over.
func (d *door) name() string { return d.kind + " " + d.address }

func (a *Agent) addDoors() {
	for _, address := range a.cfg.BindAddresses {
		a.doors = append(a.doors, &door{kind: "credentials", address: address, handler: a.handler})
	}
	if a.cfg.ProbeAddress != "" {
		a.doors = append(a.doors, &door{kind: "probe", address: a.cfg.ProbeAddress, handler: probeMux(a.probe, nil), bound: &a.probeAddr})
	}
	if a.cfg.MetricsAddress != "" {
		a.doors = append(a.doors, &door{kind: "metrics", address: a.cfg.MetricsAddress, handler: probeMux(a.probe, a.cfg.Gatherer), bound: &a.metricsAddr})
	}
}

// open binds all doors whose sockets are not inherited. A credentials address that fails is warned about as long as another one works; probes and
// metrics are what the node's operator relies on, so theirs must work.
func (a *Agent) open(ctx context.Context, inherited map[string]*net.TCPListener) (err error) {
	defer func() {
		for _, unused := range inherited {
			err = errors.Join(err, unused.Close())
		}
		if err != nil {
			a.closeDoors()
		}
	}()
	var refused []error
	for _, d := range a.doors {
		if socket := inherited[d.name()]; socket != nil {
			delete(inherited, d.name())
			a.has(d, socket)
			continue
		}
		err := a.bindPatiently(ctx, d)
		if err != nil && !d.credentials() {
			return err
		} else if err != nil {
			refused = append(refused, err)
		}
	}
	addrs := a.Addrs()
	if len(addrs) == 0 {
		return fmt.Errorf("no address to serve credentials on: %w", errors.Join(refused...))
	}
	for _, err := range refused {
		a.cfg.Log.WarnContext(ctx, "serving without one address; it is tried again", slog.String("err", err.Error()))
	}
	a.cfg.Log.InfoContext(ctx, "serving credentials", slog.Any("addresses", addrs), slog.String("cluster", a.cfg.Cluster),
		slog.String("probes", a.probeAddr), slog.String("metrics", a.metricsAddr), slog.String("version", a.cfg.Version))
	return nil
}

// bind opens the door's socket.
func (a *Agent) bind(ctx context.Context, d *door) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", d.address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", d.address, err)
	}
	socket, ok := listener.(*net.TCPListener)
	if !ok {
		return errors.Join(fmt.Errorf("listen on %s: not a TCP socket", d.address), listener.Close())
	}
	a.has(d, socket)
	return nil
}

// has notes the door's socket.
func (a *Agent) has(d *door, socket *net.TCPListener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d.socket = socket
	if !d.credentials() {
		*d.bound = socket.Addr().String()
		return
	}
	a.addrs = append(a.addrs, socket.Addr().String())
	a.metrics.addresses.Set(float64(len(a.addrs)))
}

// closeDoors ends the sockets; whoever was given one has it still.
func (a *Agent) closeDoors() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.doors {
		if d.socket != nil {
			_ = d.socket.Close() // nobody accepts on it any more
		}
	}
}

// serveDoor answers on the door until ctx ends and requests under way are done. The socket itself stays open, so that
// nobody is refused while another process, or this one again, begins to accept on it.
func (a *Agent) serveDoor(ctx context.Context, d *door) error {
	socket := a.await(ctx, d)
	if socket == nil {
		return nil
	}
	listener, err := duplicate(socket)
	if err != nil {
		return fmt.Errorf("serve on %s: %w", socket.Addr(), err)
	}
	accepting := listener
	if d.credentials() {
		accepting = a.conns.limit(listener)
	}
	server := a.server(d.handler)
	done := make(chan error, 1)
	go func() { done <- server.Serve(accepting) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve on %s: %w", socket.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	a.handler.leaving.Store(true)
	err = listener.Close()
	if serr := <-done; !errors.Is(serr, net.ErrClosed) {
		err = errors.Join(err, serr)
	}
	if d.credentials() {
		a.linger(stop)
	}
	if serr := server.Shutdown(stop); serr != nil {
		err = errors.Join(err, fmt.Errorf("stop serving on %s: %w", socket.Addr(), serr), server.Close())
	}
	return err
}

// await returns the door's socket, if need be when its address can be bound at last; nil when ctx has ended.
func (a *Agent) await(ctx context.Context, d *door) *net.TCPListener {
	a.mu.Lock()
	socket := d.socket
	a.mu.Unlock()
	if socket != nil {
		return socket
	}
	tick := time.NewTicker(bindAgain)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if a.bind(ctx, d) == nil {
			a.cfg.Log.InfoContext(ctx, "serving credentials on one more address", slog.String("address", d.address))
			return d.socket
		}
	}
}

// duplicate makes a listener of the same socket, whose end is not the socket's.
func duplicate(socket *net.TCPListener) (_ net.Listener, err error) {
	file, err := socket.File()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return net.FileListener(file)
}

func (a *Agent) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadTimeout:       readTimeout,
		ReadHeaderTimeout: readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(a.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// linger leaves silent connections open for a while; answers on them say that they end.
func (a *Agent) linger(ctx context.Context) {
	limit := stopLinger
	if a.succeeded.Load() {
		limit = lingerTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(lingerStep)
	defer tick.Stop()
	for a.conns.count() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
