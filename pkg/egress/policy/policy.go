// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package policy decides what programs may connect to: an allow list of names,
// addresses and networks, and the addresses that no list opens unless it names them.
package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Form is what an entry looks like, for messages.
const Form = "HOST, HOST:PORT or HOST:FIRST-LAST, with a name, an address or a network as HOST: " +
	"api.example.com:443, *.example.com, 10.0.0.0/8:5432-5433, [2001:db8::1]:443"

// EntryError says what is wrong with an entry of a list.
type EntryError struct {
	Index  int    // in the list
	Entry  string // as it was written
	Reason string // what is wrong, and what to write instead
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("egress[%d]: %q: %s", e.Index, e.Entry, e.Reason)
}

// ports is a range of ports, both inclusive.
type ports struct{ first, last uint16 }

func (p ports) contains(port uint16) bool { return p.first <= port && port <= p.last }

// entry is one of the list.
type entry struct {
	name   string // lower case; empty: prefix
	below  bool   // the names below it, and not itself
	prefix netip.Prefix
	ports  ports
}

// Policy is an allow list. It does not change, and the zero value allows nothing.
type Policy struct{ entries []entry }

// Parse reads a list. The error is an *EntryError.
func Parse(list []string) (*Policy, error) {
	p := &Policy{}
	for i, text := range list {
		e, reason := parse(text)
		if reason != "" {
			return nil, &EntryError{Index: i, Entry: text, Reason: reason}
		}
		p.entries = append(p.entries, e)
	}
	return p, nil
}

// Check returns what is wrong with an entry, or "".
func Check(text string) string {
	_, reason := parse(text)
	return reason
}

// maxEntry is the longest entry in bytes: a name and a range of ports.
const maxEntry = 253 + len("*.:65535-65535")

func parse(text string) (e entry, reason string) {
	if len(text) > maxEntry {
		return e, fmt.Sprintf("it has %d bytes, where %d are the most", len(text), maxEntry)
	}
	host, port, bracketed, reason := split(text)
	if reason != "" {
		return e, reason
	}
	if e.ports, reason = parsePorts(port); reason != "" {
		return e, reason
	}
	if bracketed || strings.ContainsAny(host, ":/") {
		e.prefix, reason = parsePrefix(host)
		return e, reason
	}
	if a, err := netip.ParseAddr(host); err == nil {
		e.prefix = netip.PrefixFrom(a, a.BitLen())
		return e, ""
	}
	e.name, e.below = strings.CutPrefix(host, "*.")
	return e, checkName(e.name)
}

// split takes an entry apart. port is empty when there is none.
func split(text string) (host, port string, bracketed bool, reason string) {
	if rest, ok := strings.CutPrefix(text, "["); ok {
		host, after, ok := strings.Cut(rest, "]")
		switch {
		case !ok:
			return "", "", false, "a bracket is not closed"
		case after == "":
			return host, "", true, ""
		case after[0] != ':' || after == ":":
			return "", "", false, "behind the bracket goes :PORT, or nothing"
		}
		return host, after[1:], true, ""
	}
	switch strings.Count(text, ":") {
	case 0:
		return text, "", false, ""
	case 1:
		host, port, _ = strings.Cut(text, ":")
		if port == "" {
			return "", "", false, "the port is missing behind the colon"
		}
		return host, port, false, ""
	}
	return text, "", false, "" // an IPv6 address
}

func parsePorts(text string) (ports, string) {
	if text == "" {
		return ports{1, 65535}, ""
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	number := func(s string) uint16 {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || strings.HasPrefix(s, "0") || strings.HasPrefix(s, "+") {
			return 0
		}
		return uint16(n)
	}
	p := ports{number(first), number(last)}
	switch {
	case p.first == 0 || p.last == 0:
		return p, strconv.Quote(text) + " is no port from 1 to 65535, and no range of two"
	case p.first > p.last:
		return p, "the ports " + text + " go downwards"
	}
	return p, ""
}

func parsePrefix(host string) (netip.Prefix, string) {
	var p netip.Prefix
	if strings.Contains(host, "/") {
		var err error
		if p, err = netip.ParsePrefix(host); err != nil {
			return p, strconv.Quote(host) + " is no network such as 10.0.0.0/8"
		}
	} else {
		a, err := netip.ParseAddr(host)
		if err != nil {
			return p, strconv.Quote(host) + " is no address"
		}
		if a.Zone() != "" {
			return p, "an address with a zone belongs to one machine; write it without"
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case p.Addr().Is4In6():
		return p, "write the IPv4 address itself"
	case p.Masked() != p:
		return p, "its host bits are not zero; write " + p.Masked().String()
	}
	return p, ""
}

// checkName says what is wrong with the name of a host: RFC 1123 (2.1), in lower case.
func checkName(name string) string {
	const is = "is no name of a host: lower-case letters, digits and hyphens between dots, " +
		"and at its beginning perhaps *. for all names below it"
	if name == "" || len(name) > 253 {
		return strconv.Quote(name) + " " + is
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.ContainsFunc(l, func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
			return strconv.Quote(name) + " " + is
		}
	}
	last := labels[len(labels)-1]
	if !strings.ContainsFunc(last, func(r rune) bool { return r < '0' || r > '9' }) || strings.HasPrefix(last, "0x") {
		// Some libraries take 127.1 for an address.
		return strconv.Quote(name) + " is no IPv4 address of four numbers, and the name of a host does not end in a number"
	}
	return ""
}

// matches reports whether an entry for names means a name in lower case.
func (e *entry) matches(name string) bool {
	switch {
	case e.name == "":
		return false
	case e.below:
		return len(name) > len(e.name)+1 && strings.HasSuffix(name, e.name) && name[len(name)-len(e.name)-1] == '.'
	}
	return name == e.name
}

// Refusal says why a connection is not allowed.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

// Name reports whether a program may ask for the addresses of a name. One with bytes that
// no name of a host has is never listed.
func (p *Policy) Name(name string) bool {
	name = strings.ToLower(name)
	odd := func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}
	if strings.ContainsFunc(name, odd) || strings.Contains(name, "..") || strings.HasPrefix(name, ".") {
		return false
	}
	return slices.ContainsFunc(p.entries, func(e entry) bool { return e.matches(name) })
}

// Names returns the names of the list that stand for themselves and that a connection to
// a port may be made by.
func (p *Policy) Names(port uint16) []string {
	var names []string
	for _, e := range p.entries {
		if e.name != "" && !e.below && e.ports.contains(port) && !slices.Contains(names, e.name) {
			names = append(names, e.name)
		}
	}
	return names
}

// Loopback reports whether the list opens an address of the host's loopback interface.
func (p *Policy) Loopback() bool {
	return slices.ContainsFunc(p.entries, func(e entry) bool {
		return e.name == "" && e.prefix.Addr().IsLoopback() && p.opens(e.prefix.Addr(), e.ports.first)
	})
}

// opens reports whether an entry for addresses means an address. One that is not of a
// machine on the Internet must be named by an entry that is no wider than what is
// special about it: 0.0.0.0/0 does not mean private networks.
func (p *Policy) opens(a netip.Addr, port uint16) bool {
	around, _, isSpecial := special(a)
	return slices.ContainsFunc(p.entries, func(e entry) bool {
		return e.name == "" && e.prefix.Contains(a) && (port == 0 || e.ports.contains(port)) &&
			(!isSpecial || e.prefix.Bits() >= around.Bits())
	})
}

// Allow decides on a connection to an address, of which names are those that it was
// found by. The error is a *Refusal.
func (p *Policy) Allow(to netip.AddrPort, names []string) error {
	if to.Port() == 0 {
		return &Refusal{"there is no port 0"}
	}
	return p.allow(to.Addr(), to.Port(), names)
}

// Usable reports why no connection at all to an address that a name was resolved to is
// allowed, whatever the port. The error is a *Refusal.
func (p *Policy) Usable(a netip.Addr, name string) error { return p.allow(a, 0, []string{name}) }

// allow is Allow; port 0 is any.
func (p *Policy) allow(a netip.Addr, port uint16, names []string) error {
	if a.Zone() != "" {
		return &Refusal{"the address has a zone"}
	}
	a = a.Unmap()
	if p.opens(a, port) {
		return nil
	}
	if _, class, ok := special(a); ok {
		return &Refusal{fmt.Sprintf("the address is not one of the Internet (%s), and is not listed itself", class)}
	}
	known := false
	for _, e := range p.entries {
		for _, name := range names {
			if e.matches(strings.ToLower(name)) {
				if known = true; port == 0 || e.ports.contains(port) {
					return nil
				}
			}
		}
	}
	if known || p.opens(a, 0) {
		return &Refusal{"the port is not listed for it"}
	}
	return &Refusal{"it is not listed"}
}
