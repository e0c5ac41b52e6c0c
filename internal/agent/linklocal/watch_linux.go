// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package linklocal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// lookInterval is how often Watch looks without having been told of a change.
	lookInterval = 10 * time.Second
	// settleTime is how long Watch lets changes come together: whoever takes an interface away may make it anew.
	settleTime = 100 * time.Millisecond
)

// Watch restores what Setup has made when it vanishes, each family by itself, until ctx ends: some network managers take
// away what they do not know. A socket that listens on an address works again when that is back.
func Watch(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return fmt.Errorf("link-local watch: %w", err)
	}
	done := make(chan struct{})
	defer close(done)
	changed := subscribe(&cfg, done)
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	troubles := map[netip.Addr]string{}
	for {
		for _, addr := range []netip.Addr{cfg.IPv4, cfg.IPv6} {
			if addr.IsValid() {
				cfg.keep(ctx, addr, troubles)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-changed:
			settled := time.NewTimer(settleTime)
			select {
			case <-settled.C:
			case <-ctx.Done():
				settled.Stop()
				return nil
			}
		}
	}
}

// keep restores one address if it is not there, and logs that, or why it cannot be; each trouble once.
func (cfg *Config) keep(ctx context.Context, addr netip.Addr, troubles map[netip.Addr]string) {
	there, err := present(addr)
	if err == nil && there {
		delete(troubles, addr)
		return
	}
	if err == nil {
		err = restore(addr, cfg.Log)
	}
	switch {
	case err == nil:
		delete(troubles, addr)
		cfg.Log.WarnContext(ctx, "a link-local address had vanished and is restored", slog.String("address", addr.String()))
	case troubles[addr] != err.Error():
		troubles[addr] = err.Error()
		cfg.Log.ErrorContext(ctx, "restore link-local address; trying again", slog.String("address", addr.String()), slog.String("err", err.Error()))
	}
}

// present tells whether the address is on our link, and that is up.
func present(addr netip.Addr) (bool, error) {
	var absent netlink.LinkNotFoundError
	for _, name := range []string{LinkName, "lo"} {
		link, err := netlink.LinkByName(name)
		switch {
		case errors.As(err, &absent):
			continue
		case err != nil:
			return false, fmt.Errorf("find link %s: %w", name, err)
		case link.Attrs().Flags&net.FlagUp == 0:
			continue
		}
		addrs, err := netlink.AddrList(link, familyOf(addr))
		if err != nil {
			return false, fmt.Errorf("list addresses of %s: %w", name, err)
		}
		for _, a := range addrs {
			if a.IP.Equal(addr.AsSlice()) {
				return true, nil
			}
		}
	}
	return false, nil
}

func familyOf(addr netip.Addr) int {
	if addr.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func restore(addr netip.Addr, log *slog.Logger) error {
	link, err := ensureLink(log)
	if err != nil {
		return err
	}
	return ensureAddress(link, addr)
}

// subscribe returns a channel that has something to say when one of our addresses or our link went away. Where the kernel
// does not tell, it stays silent.
func subscribe(cfg *Config, done <-chan struct{}) <-chan struct{} {
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	silent := func(err error) {
		cfg.Log.Debug("the kernel does not tell of network changes; looking from time to time", slog.String("err", err.Error()))
	}
	addrs := make(chan netlink.AddrUpdate)
	if err := netlink.AddrSubscribeWithOptions(addrs, done, netlink.AddrSubscribeOptions{ErrorCallback: silent}); err != nil {
		silent(err)
	} else {
		go func() {
			for u := range addrs {
				if ip, ok := netip.AddrFromSlice(u.LinkAddress.IP); ok && !u.NewAddr && (ip.Unmap() == cfg.IPv4 || ip.Unmap() == cfg.IPv6) {
					wake()
				}
			}
		}()
	}
	links := make(chan netlink.LinkUpdate)
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: silent}); err != nil {
		silent(err)
	} else {
		go func() {
			for u := range links {
				if name := u.Attrs().Name; (name == LinkName || name == "lo") && (u.Header.Type == unix.RTM_DELLINK || u.Attrs().Flags&net.FlagUp == 0) {
					wake()
				}
			}
		}()
	}
	return changed
}
