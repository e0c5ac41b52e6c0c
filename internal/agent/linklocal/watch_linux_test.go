// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package linklocal

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// eventually waits for a condition, in the thread of the namespace.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	end := time.NewTimer(8 * time.Second) // less than lookInterval: the kernel has told
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Errorf("never came about: %s", what)
			return
		}
	}
}

// TestWatch: what is taken away is back within a moment, each family by itself, and a listener that had the address
// works again.
func TestWatch(t *testing.T) {
	for name, taken := range map[string]struct {
		take func() error
		log  int
	}{
		"IPv4": {func() error { return removeAddr(v4) }, 1},
		"IPv6": {func() error { return removeAddr(v6) }, 1},
		"link": {func() error { return withLink(remove) }, 2},
		"down": {func() error { return withLink(netlink.LinkSetDown) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t, func(t *testing.T) {
				cfg, log := config()
				if err := Setup(cfg); err != nil {
					t.Errorf("Setup: %v", err)
					return
				}
				for _, addr := range []netip.Addr{v4, v6} {
					l, err := net.Listen("tcp", net.JoinHostPort(addr.String(), "80"))
					if err != nil {
						t.Errorf("listen: %v", err)
						return
					}
					defer l.Close()                          //nolint:errcheck // a test
					go http.Serve(l, http.NotFoundHandler()) //nolint:errcheck,gosec // a test
				}
				// Watch itself runs in this thread's namespace, between the steps of the test.
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan struct{})
				changed := subscribe(&cfg, done)
				defer close(done)
				if err := taken.take(); err != nil {
					t.Errorf("take away: %v", err)
					return
				}
				eventually(t, "the kernel tells", func() bool { return len(changed) > 0 })
				cancelled, stop := context.WithCancel(ctx)
				stop()
				if err := Watch(cancelled, cfg); err != nil { // one round
					t.Errorf("Watch: %v", err)
				}
				for _, addr := range []netip.Addr{v4, v6} {
					if there, err := present(addr); !there || err != nil {
						t.Errorf("%s: %v, %v", addr, there, err)
					}
					// The kernel sets up IPv6 in its own time.
					eventually(t, "reach "+addr.String(), func() bool { return reach(addr) })
				}
				if n := strings.Count(log.String(), "is restored"); n == 0 || n > taken.log {
					t.Errorf("log: %s", log)
				}
			})
		})
	}
}

func reach(addr netip.Addr) bool {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(addr.String(), "80"), 200*time.Millisecond)
	if err != nil {
		return false
	}
	defer conn.Close() //nolint:errcheck // a test
	_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	text, _ := io.ReadAll(conn)
	return strings.Contains(string(text), "404")
}

func removeAddr(addr netip.Addr) error {
	return withLink(func(l netlink.Link) error { return netlink.AddrDel(l, &netlink.Addr{IPNet: hostNet(addr)}) })
}

// withLink does it to the link that the addresses are on.
func withLink(do func(netlink.Link) error) error {
	link, err := netlink.LinkByName(LinkName)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		link, err = netlink.LinkByName("lo")
	}
	if err != nil {
		return err
	}
	return do(link)
}

// remove deletes the link, or takes lo down, which cannot be deleted.
func remove(link netlink.Link) error {
	if link.Attrs().Name == "lo" {
		return netlink.LinkSetDown(link)
	}
	return netlink.LinkDel(link)
}

// TestWatchTellsTroubleOnce: what cannot be restored is logged once, and does not keep the other family.
func TestWatchTellsTroubleOnce(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		link := veth(t)
		if link == nil {
			return
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: hostNet(v4)}); err != nil {
			t.Errorf("occupy: %v", err)
			return
		}
		cfg, log := config()
		troubles := map[netip.Addr]string{}
		for range 3 {
			cfg.keep(t.Context(), v4, troubles)
			cfg.keep(t.Context(), v6, troubles)
		}
		if n := strings.Count(log.String(), "foreign0"); n != 1 || len(where(t, v6)) != 1 {
			t.Errorf("log: %s", log)
		}
	})
	if err := Watch(t.Context(), Config{}); err == nil {
		t.Error("no error")
	}
}
