// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package jwks

import "net/netip"

// refused says why an address is refused by default, "" when it is not. An
// IPv4 address inside NAT64's well-known prefix is judged as itself, because
// IPv6-only clusters reach the world that way.
func refused(addr netip.Addr) string {
	if netip.MustParsePrefix("64:ff9b::/96").Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case !addr.IsValid() || addr.IsUnspecified():
		return "unspecified"
	case addr.IsLoopback():
		return "a loopback address"
	case addr.IsLinkLocalUnicast():
		return "a link-local address"
	case addr.IsMulticast():
		return "a multicast address"
	}
	for _, r := range refusedPrefixes() {
		if r.prefix.Contains(addr) {
			return r.why
		}
	}
	return ""
}

type refusedPrefix struct {
	prefix netip.Prefix
	why    string
}

// refusedPrefixes lists what netip has no word for.
func refusedPrefixes() []refusedPrefix {
	p := netip.MustParsePrefix
	return []refusedPrefix{
		{p("0.0.0.0/8"), "this host"},
		{p("240.0.0.0/4"), "reserved or broadcast"},
		{p("100.100.100.200/32"), "a cloud metadata address"}, // Alibaba Cloud
		{p("192.0.0.192/32"), "a cloud metadata address"},     // Oracle Cloud
		{p("168.63.129.16/32"), "a cloud metadata address"},   // Azure
		{p("fd00:ec2::/32"), "a cloud metadata address"},      // AWS: IMDS, Pod Identity, DNS
		{p("fd20:ce::254/128"), "a cloud metadata address"},   // Google Cloud
		{p("fec0::/10"), "a site-local address"},
		{p("::/96"), "an IPv4-compatible address"},
		{p("64:ff9b:1::/48"), "a translated address"},
		{p("2002::/16"), "a translated address"},
		{p("2001::/32"), "a translated address"},
	}
}
