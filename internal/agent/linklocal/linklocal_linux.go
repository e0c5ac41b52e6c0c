// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package linklocal

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Setup makes the interface, brings it up, and gives it the addresses and a route to each. It is idempotent. A failure
// of IPv4 is an error; of IPv6 only when there is no IPv4 to serve.
func Setup(cfg Config) error {
	if err := cfg.validate(); err != nil {
		return fmt.Errorf("link-local set-up: %w", err)
	}
	link, err := ensureLink(cfg.Log)
	if err != nil {
		return err
	}
	if cfg.IPv4.IsValid() {
		if err := ensureAddress(link, cfg.IPv4); err != nil {
			return err
		}
	}
	if !cfg.IPv6.IsValid() {
		return nil
	}
	err = ensureAddress(link, cfg.IPv6)
	if err != nil && cfg.IPv4.IsValid() {
		cfg.Log.Warn("going on without IPv6", slog.String("err", err.Error()))
		return nil
	}
	return err
}

// ensureLink returns the interface, up: the dummy link, made when absent, or lo where the kernel has no such type.
func ensureLink(log *slog.Logger) (netlink.Link, error) {
	link, err := netlink.LinkByName(LinkName)
	var absent netlink.LinkNotFoundError
	if errors.As(err, &absent) {
		link, err = addDummy(log)
	}
	if err != nil {
		return nil, fmt.Errorf("find link %s: %w", LinkName, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("bring up link %s: %w", link.Attrs().Name, err)
	}
	return link, nil
}

func addDummy(log *slog.Logger) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = LinkName
	err := netlink.LinkAdd(&netlink.Dummy{LinkAttrs: attrs})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		log.Warn("the kernel has no dummy interfaces, using lo", slog.String("err", err.Error()))
		return netlink.LinkByName("lo")
	case err != nil && !errors.Is(err, unix.EEXIST): // EEXIST: another instance was first, which is as good
		return nil, fmt.Errorf("add dummy interface: %w", err)
	}
	return netlink.LinkByName(LinkName)
}

// ensureAddress puts the address on the link with a host route in the main table, unless another link has one of them.
func ensureAddress(link netlink.Link, addr netip.Addr) error {
	name := link.Attrs().Name
	host := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}
	if err := refuseForeign(link, host); err != nil {
		return err
	}
	wanted := &netlink.Addr{IPNet: host, Scope: unix.RT_SCOPE_LINK}
	if addr.Is6() {
		// No duplicate address detection: nobody else is on the link, and a tentative address cannot be bound.
		wanted.Scope, wanted.Flags = unix.RT_SCOPE_UNIVERSE, unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, wanted); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s to %s: %w", host, name, err)
	}
	return ensureRoute(link, host)
}

// ensureRoute adds the host route, unless the kernel has made one with the address, as it does for IPv6.
func ensureRoute(link netlink.Link, host *net.IPNet) error {
	routes, err := hostRoutes(host)
	if err != nil || len(routes) > 0 {
		return err
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: host, Scope: unix.RT_SCOPE_LINK, Table: unix.RT_TABLE_MAIN}
	if host.IP.To4() == nil {
		route.Scope = unix.RT_SCOPE_UNIVERSE
	}
	if err := netlink.RouteAdd(route); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add route to %s over %s: %w", host, link.Attrs().Name, err)
	}
	return nil
}

// hostRoutes lists the main table's routes to exactly that address.
func hostRoutes(host *net.IPNet) ([]netlink.Route, error) {
	filter := &netlink.Route{Dst: host, Table: unix.RT_TABLE_MAIN}
	routes, err := netlink.RouteListFiltered(family(host), filter, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes to %s: %w", host, err)
	}
	return routes, nil
}

func family(host *net.IPNet) int {
	if host.IP.To4() == nil {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

// refuseForeign is an error when the address, or a host route to it, is on another link.
func refuseForeign(link netlink.Link, host *net.IPNet) error {
	own := link.Attrs().Index
	addrs, err := netlink.AddrList(nil, family(host))
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if a.IP.Equal(host.IP) && a.LinkIndex != own {
			return fmt.Errorf("address %s is on %s already, which is not %s", host.IP, linkName(a.LinkIndex), link.Attrs().Name)
		}
	}
	routes, err := hostRoutes(host)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.LinkIndex != own {
			return fmt.Errorf("a route to %s over %s exists already, which is not %s", host, linkName(r.LinkIndex), link.Attrs().Name)
		}
	}
	return nil
}

func linkName(index int) string {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("link %d", index)
	}
	return link.Attrs().Name
}
