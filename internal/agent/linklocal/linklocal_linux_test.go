// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package linklocal

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

var (
	v4 = netip.MustParseAddr("169.254.170.23")
	v6 = netip.MustParseAddr("fd00:ec2::23")
)

// inNamespace runs the test in a network namespace of its own, with lo up. The thread is never unlocked, so that it dies
// with the namespace instead of serving other goroutines.
func inNamespace(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		ns, err := netns.New()
		if errors.Is(err, unix.EPERM) && os.Getenv("CI") == "" {
			// A developer without the right to make one has nothing to set an interface up in. Where CI is set the test
			// has to run: a pass that tested nothing must not look like one.
			t.Log("no right to make a network namespace: nothing tested")
			return
		}
		if err != nil {
			t.Errorf("make namespace: %v", err)
			return
		}
		defer ns.Close() //nolint:errcheck // ends with the thread
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			t.Errorf("bring up lo: %v", err)
			return
		}
		test(t)
	}()
	<-done
}

func config() (Config, *bytes.Buffer) {
	var log bytes.Buffer
	return Config{IPv4: v4, IPv6: v6, Log: slog.New(slog.NewTextHandler(&log, nil))}, &log
}

// where returns the links that have the address.
func where(t *testing.T, addr netip.Addr) []string {
	t.Helper()
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		t.Errorf("list addresses: %v", err)
	}
	var links []string
	for _, a := range addrs {
		if a.IP.Equal(addr.AsSlice()) {
			links = append(links, linkName(a.LinkIndex))
		}
	}
	return links
}

func TestSetupTwice(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		cfg, log := config()
		for range 2 {
			if err := Setup(cfg); err != nil {
				t.Errorf("Setup: %v", err)
				return
			}
		}
		for _, addr := range []netip.Addr{v4, v6} {
			links := where(t, addr)
			if len(links) != 1 || (links[0] != LinkName && links[0] != "lo") {
				t.Errorf("%s is on %v, want on one link of ours", addr, links)
			}
			// The address is of use at once: it can be bound and reached.
			l, err := net.Listen("tcp", net.JoinHostPort(addr.String(), "80"))
			if err != nil {
				t.Errorf("bind %s: %v", addr, err)
				continue
			}
			l.Close() //nolint:errcheck // a test
			bits := addr.BitLen()
			routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL,
				&netlink.Route{Dst: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, bits)}, Table: unix.RT_TABLE_MAIN},
				netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
			if err != nil || len(routes) != 1 {
				t.Errorf("routes to %s: %v (%v), want one", addr, routes, err)
			}
		}
		if strings.Contains(log.String(), "without IPv6") {
			t.Errorf("log: %s", log)
		}
	})
}

func TestOneFamily(t *testing.T) {
	for name, only := range map[string]Config{"IPv4": {IPv4: v4}, "IPv6": {IPv6: v6}} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t, func(t *testing.T) {
				cfg, _ := config()
				cfg.IPv4, cfg.IPv6 = only.IPv4, only.IPv6
				if err := Setup(cfg); err != nil {
					t.Errorf("Setup: %v", err)
				}
				if has4, has6 := len(where(t, v4)) == 1, len(where(t, v6)) == 1; has4 != only.IPv4.IsValid() || has6 != only.IPv6.IsValid() {
					t.Errorf("IPv4 %v, IPv6 %v", has4, has6)
				}
			})
		})
	}
}

// veth makes a link that is not ours.
func veth(t *testing.T) netlink.Link {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "foreign0"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "foreign1"}); err != nil {
		t.Errorf("add veth: %v", err)
		return nil
	}
	link, err := netlink.LinkByName("foreign0")
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Errorf("bring up veth: %v", err)
	}
	return link
}

func hostNet(addr netip.Addr) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}
}

func TestForeignAddressAndRoute(t *testing.T) {
	tests := map[string]func(link netlink.Link) error{
		"address": func(link netlink.Link) error { return netlink.AddrAdd(link, &netlink.Addr{IPNet: hostNet(v4)}) },
		"route": func(link netlink.Link) error {
			return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: hostNet(v4), Scope: unix.RT_SCOPE_LINK})
		},
	}
	for name, occupy := range tests {
		t.Run(name, func(t *testing.T) {
			inNamespace(t, func(t *testing.T) {
				link := veth(t)
				if link == nil {
					return
				}
				if err := occupy(link); err != nil {
					t.Errorf("occupy: %v", err)
					return
				}
				cfg, _ := config()
				if err := Setup(cfg); err == nil || !strings.Contains(err.Error(), "foreign0") {
					t.Errorf("error %v, want one that names foreign0", err)
				}
			})
		})
	}
}

func TestIPv6FailureIsOnlyLogged(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		link := veth(t)
		if link == nil {
			return
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: hostNet(v6)}); err != nil {
			t.Errorf("occupy: %v", err)
		}
		cfg, log := config()
		if err := Setup(cfg); err != nil {
			t.Errorf("Setup: %v", err)
		}
		if !strings.Contains(log.String(), "without IPv6") || len(where(t, v4)) != 1 {
			t.Errorf("IPv4 on %v; log: %s", where(t, v4), log)
		}
		cfg.IPv4 = netip.Addr{}
		if err := Setup(cfg); err == nil {
			t.Error("no error without any family")
		}
	})
}

func TestConfigProblems(t *testing.T) {
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "log is required"},
		{Config{}, "no address"},
		{Config{IPv4: v6}, "IPv4 address is not one"},
		{Config{IPv6: v4}, "IPv6 address is not one"},
		{Config{IPv6: netip.MustParseAddr("::ffff:1.2.3.4")}, "IPv6 address is not one"},
	} {
		if err := Setup(tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
}
