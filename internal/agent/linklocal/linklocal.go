// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package linklocal gives the node the two addresses that the AWS SDKs ask for credentials at.
//
// It owns one network interface, pod-id-link0, and on kernels without the dummy type the same addresses on lo. It
// refuses to touch an address or a route that something else on the node already has. Before the agent binds its
// addresses, Setup must have run once; running it again changes nothing. Watch restores what vanishes. Linux only:
// elsewhere both say so.
package linklocal

import (
	"errors"
	"log/slog"
	"net/netip"
)

// LinkName is the interface of AWS' agent, so that either finds the other's.
const LinkName = "pod-id-link0"

// ErrUnsupported is returned where the operating system is not Linux.
var ErrUnsupported = errors.New("the link-local interface can be set up on Linux only")

// Config of Setup.
type Config struct {
	// IPv4 and IPv6 are the addresses; the zero value of one leaves that family out.
	IPv4, IPv6 netip.Addr
	// Log hears of the fallback to lo and of a failed IPv6, which is no error: nodes without it are common.
	Log *slog.Logger
}

func (cfg Config) validate() error {
	var problems []error
	if cfg.Log == nil {
		problems = append(problems, errors.New("log is required"))
	}
	if !cfg.IPv4.IsValid() && !cfg.IPv6.IsValid() {
		problems = append(problems, errors.New("no address to set up"))
	}
	if cfg.IPv4.IsValid() && !cfg.IPv4.Is4() {
		problems = append(problems, errors.New("the IPv4 address is not one"))
	}
	if cfg.IPv6.IsValid() && (!cfg.IPv6.Is6() || cfg.IPv6.Is4In6()) {
		problems = append(problems, errors.New("the IPv6 address is not one"))
	}
	return errors.Join(problems...)
}
