// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import "net/netip"

// block is a range of addresses that are not those of machines on the Internet.
type block struct {
	prefix netip.Prefix
	class  string
	// embeds is the bit where an IPv4 address begins that is meant in the end; 0: none.
	// In 6to4 and Teredo it is where such packets are sent to.
	embeds int
	// inverted: each bit of that address is (RFC 4380, 4).
	inverted bool
}

// metadata are addresses of services that tell a machine of a cloud its secrets. Each
// is a block of its own: a list that names the network around it does not open it.
var metadata = []string{
	"169.254.169.254", // AWS, Azure, Google Cloud and others
	"169.254.169.253", // AWS: name server
	"169.254.169.123", // AWS: time
	"169.254.170.2",   // AWS ECS: credentials
	"169.254.170.23",  // AWS EKS: credentials of pods
	"168.63.129.16",   // Azure: its host agent
	"100.100.100.200", // Alibaba Cloud
	"192.0.0.192",     // Oracle Cloud
	"fd00:ec2::254",   // AWS
	"fd00:ec2::253",   // AWS: name server
	"fd00:ec2::23",    // AWS EKS: credentials of pods
	"fd20:ce::254",    // Google Cloud
}

// blocks are the special-purpose addresses, of
// https://www.iana.org/assignments/iana-ipv4-special-registry and
// https://www.iana.org/assignments/iana-ipv6-special-registry, and what older
// standards have left.
var blocks = func() []block {
	all := []group{
		of("this network", "0.0.0.0/8"),
		of("private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
		of("carrier-grade NAT", "100.64.0.0/10"),
		of("loopback", "127.0.0.0/8", "::1/128"),
		of("link-local", "169.254.0.0/16", "fe80::/10"),
		of("protocol assignments", "192.0.0.0/24"),
		of("documentation", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
		of("relays of 6to4", "192.88.99.0/24"),
		of("benchmarking", "198.18.0.0/15", "2001:2::/48"),
		of("multicast", "224.0.0.0/4", "ff00::/8"),
		of("reserved", "240.0.0.0/4"),
		of("broadcast", "255.255.255.255/32"),
		of("unspecified", "0.0.0.0/32", "::/128"),
		of("discard-only", "100::/64", "100:0:0:1::/64"),
		of("protocol assignments", "2001::/23"),
		of("segment routing", "5f00::/16"),
		of("unique local", "fc00::/7"),
		of("site-local", "fec0::/10"),
		of("metadata", hosts(metadata)...),
	}
	var out []block
	for _, group := range all {
		out = append(out, group...)
	}
	return append(out,
		// https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5
		block{prefix: netip.MustParsePrefix("::/96"), class: "IPv4-compatible", embeds: 96},
		block{prefix: netip.MustParsePrefix("::ffff:0:0:0/96"), class: "IPv4-translated", embeds: 96},
		// https://www.rfc-editor.org/rfc/rfc6052#section-2.2
		block{prefix: netip.MustParsePrefix("64:ff9b::/96"), class: "NAT64", embeds: 96},
		block{prefix: netip.MustParsePrefix("64:ff9b:1::/48"), class: "NAT64", embeds: 96},
		block{prefix: netip.MustParsePrefix("2002::/16"), class: "6to4", embeds: 16},
		block{prefix: netip.MustParsePrefix("2001::/32"), class: "Teredo", embeds: 96, inverted: true},
	)
}()

// global is the one range of IPv6 whose addresses are those of machines on the
// Internet: https://www.iana.org/assignments/ipv6-address-space
var global = netip.MustParsePrefix("2000::/3")

type group = []block

func of(class string, prefixes ...string) group {
	var g group
	for _, p := range prefixes {
		g = append(g, block{prefix: netip.MustParsePrefix(p), class: class})
	}
	return g
}

func hosts(addresses []string) []string {
	var all []string
	for _, a := range addresses {
		ip := netip.MustParseAddr(a)
		all = append(all, netip.PrefixFrom(ip, ip.BitLen()).String())
	}
	return all
}

// special returns the narrowest block that an address is in, and its class; false for
// one of a machine on the Internet. An IPv4 address must not be in its mapped form.
func special(a netip.Addr) (netip.Prefix, string, bool) {
	var best *block
	for i := range blocks {
		if b := &blocks[i]; b.prefix.Contains(a) && (best == nil || b.prefix.Bits() > best.prefix.Bits()) {
			best = b
		}
	}
	self := netip.PrefixFrom(a, a.BitLen())
	switch {
	case best == nil && a.Is4(), best == nil && global.Contains(a):
		return netip.Prefix{}, "", false
	case best == nil:
		return self, "unassigned", true
	case best.embeds == 0:
		return best.prefix, best.class, true
	}
	b := a.As16()
	v4 := [4]byte(b[best.embeds/8:])
	if best.inverted {
		for i := range v4 {
			v4[i] = ^v4[i]
		}
	}
	if _, class, ok := special(netip.AddrFrom4(v4)); ok {
		return self, best.class + " of " + class, true
	}
	return best.prefix, best.class, true
}
