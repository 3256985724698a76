// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"strings"
	"testing"
)

func mustParse(t testing.TB, list ...string) *Policy {
	t.Helper()
	p, err := Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	for _, text := range []string{
		"a", "a.example.com", "a.example.com:443", "*.example.com", "*.example.com:80-90", "xn--bcher-kva.example", "a-b.1c:1",
		"10.0.0.1", "10.0.0.0/8", "10.0.0.0/8:5432", "0.0.0.0/0", "127.0.0.1/32:1-65535",
		"::1", "2001:db8::1", "2001:db8::/32", "[::1]", "[::1]:443", "[fd00::/8]:80-81", "::/0",
	} {
		if reason := Check(text); reason != "" {
			t.Errorf("%s: %s", text, reason)
		}
	}
	for text, want := range map[string]string{
		"":                       "is no name of a host",
		"*":                      "is no name of a host",
		"*.":                     "is no name of a host",
		"a.*.com":                "is no name of a host",
		"A.example.com":          "is no name of a host",
		"a_b":                    "is no name of a host",
		"-a":                     "is no name of a host",
		"a.":                     "is no name of a host",
		"a..b":                   "is no name of a host",
		"http://a":               "is no port",
		"a b":                    "is no name of a host",
		"a\x00":                  "is no name of a host",
		"ä":                      "is no name of a host",
		"127.1":                  "does not end in a number",
		"1.2.3.4.5":              "does not end in a number",
		"256.1.1.1":              "does not end in a number",
		"0x7f000001":             "does not end in a number",
		"a:":                     "the port is missing",
		"a:0":                    "is no port",
		"a:65536":                "is no port",
		"a:+1":                   "is no port",
		"a:080":                  "is no port",
		"a:http":                 "is no port",
		"a:2-1":                  "go downwards",
		"a:1-":                   "is no port",
		"a:1-2-3":                "is no port",
		"10.0.0.1/8":             "host bits are not zero; write 10.0.0.0/8",
		"10.0.0.0/33":            "is no network",
		"a/8":                    "is no network",
		"[10.0.0.1":              "a bracket is not closed",
		"[::1]443":               "behind the bracket",
		"[::1]:":                 "behind the bracket",
		"[a]":                    "is no address",
		"fe80::1%eth0":           "a zone",
		"::ffff:10.0.0.1":        "write the IPv4 address",
		"::ffff:0.0.0.0/96":      "write the IPv4 address",
		strings.Repeat("a", 300): "where 267 are the most",
	} {
		if got := Check(text); !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestAllow has decisions. Each address is tried on port 443, found by the name in the
// second place, if any.
func TestAllow(t *testing.T) {
	for _, tc := range []struct {
		list    string // with blanks between its entries
		address string
		name    string
		want    string // why not; empty: it is allowed
	}{
		{"api.example.com", "93.184.216.34", "api.example.com", ""},
		{"api.example.com", "2606:2800:220:1::1", "API.example.com", ""},
		{"api.example.com", "93.184.216.34", "", "it is not listed"},
		{"api.example.com", "93.184.216.34", "example.com", "it is not listed"},
		{"api.example.com:80", "93.184.216.34", "api.example.com", "the port is not listed for it"},
		{"api.example.com:400-500", "93.184.216.34", "api.example.com", ""},
		{"*.example.com", "93.184.216.34", "a.b.example.com", ""},
		{"*.example.com", "93.184.216.34", "example.com", "it is not listed"},
		{"*.example.com", "93.184.216.34", "evilexample.com", "it is not listed"},
		{"*.example.com", "93.184.216.34", ".example.com", "it is not listed"},
		{"93.184.216.0/24", "93.184.216.34", "", ""},
		{"93.184.216.0/24", "::ffff:93.184.216.34", "", ""},
		{"93.184.216.0/24:80", "93.184.216.34", "", "the port is not listed for it"},
		{"0.0.0.0/0", "93.184.216.34", "", ""},
		{"::/0", "2606:2800:220:1::1", "", ""},
		{"::/0", "93.184.216.34", "", "it is not listed"},

		// What is not of the Internet must be named itself.
		{"0.0.0.0/0 ::/0 a", "10.1.2.3", "a", "(private)"},
		{"0.0.0.0/0 ::/0 a", "172.31.255.255", "a", "(private)"},
		{"0.0.0.0/0 ::/0 a", "192.168.1.1", "a", "(private)"},
		{"0.0.0.0/0 ::/0 a", "100.64.0.1", "a", "(carrier-grade NAT)"},
		{"0.0.0.0/0 ::/0 a", "127.0.0.1", "a", "(loopback)"},
		{"0.0.0.0/0 ::/0 a", "0.0.0.0", "a", "(unspecified)"},
		{"0.0.0.0/0 ::/0 a", "0.1.2.3", "a", "(this network)"},
		{"0.0.0.0/0 ::/0 a", "169.254.1.1", "a", "(link-local)"},
		{"0.0.0.0/0 ::/0 a", "169.254.169.254", "a", "(metadata)"},
		{"0.0.0.0/0 ::/0 a", "168.63.129.16", "a", "(metadata)"},
		{"0.0.0.0/0 ::/0 a", "192.0.2.1", "a", "(documentation)"},
		{"0.0.0.0/0 ::/0 a", "198.18.0.1", "a", "(benchmarking)"},
		{"0.0.0.0/0 ::/0 a", "192.88.99.1", "a", "(relays of 6to4)"},
		{"0.0.0.0/0 ::/0 a", "224.0.0.1", "a", "(multicast)"},
		{"0.0.0.0/0 ::/0 a", "240.0.0.1", "a", "(reserved)"},
		{"0.0.0.0/0 ::/0 a", "255.255.255.255", "a", "(broadcast)"},
		{"0.0.0.0/0 ::/0 a", "::ffff:10.0.0.1", "a", "(private)"},
		{"0.0.0.0/0 ::/0 a", "::ffff:169.254.169.254", "a", "(metadata)"},
		{"0.0.0.0/0 ::/0 a", "::", "a", "(unspecified)"},
		{"0.0.0.0/0 ::/0 a", "::1", "a", "(loopback)"},
		{"0.0.0.0/0 ::/0 a", "::7f00:1", "a", "(IPv4-compatible of loopback)"},
		{"0.0.0.0/0 ::/0 a", "::ffff:0:10.0.0.1", "a", "(IPv4-translated of private)"},
		{"0.0.0.0/0 ::/0 a", "64:ff9b::7f00:1", "a", "(NAT64 of loopback)"},
		{"0.0.0.0/0 ::/0 a", "64:ff9b::5db8:d822", "a", "(NAT64)"},
		{"0.0.0.0/0 ::/0 a", "64:ff9b:1::a9fe:a9fe", "a", "(NAT64 of metadata)"},
		{"0.0.0.0/0 ::/0 a", "2002:7f00:1::1", "a", "(6to4 of loopback)"},
		{"0.0.0.0/0 ::/0 a", "2002:5db8:d822::1", "a", "(6to4)"},
		{"0.0.0.0/0 ::/0 a", "2001:0:4136:e378:8000:63bf:f5ff:fffe", "a", "(Teredo of private)"},
		{"0.0.0.0/0 ::/0 a", "2001:db8::1", "a", "(documentation)"},
		{"0.0.0.0/0 ::/0 a", "fd12::1", "a", "(unique local)"},
		{"0.0.0.0/0 ::/0 a", "fd00:ec2::254", "a", "(metadata)"},
		{"0.0.0.0/0 ::/0 a", "fe80::1", "a", "(link-local)"},
		{"0.0.0.0/0 ::/0 a", "fec0::1", "a", "(site-local)"},
		{"0.0.0.0/0 ::/0 a", "ff02::1", "a", "(multicast)"},
		{"0.0.0.0/0 ::/0 a", "100::1", "a", "(discard-only)"},
		{"0.0.0.0/0 ::/0 a", "4000::1", "a", "(unassigned)"},

		{"10.0.0.0/8", "10.1.2.3", "", ""},
		{"10.1.2.3", "10.1.2.3", "", ""},
		{"10.1.2.3", "::ffff:10.1.2.3", "", ""},
		{"10.0.0.0/7", "10.1.2.3", "", "(private)"},
		{"10.0.0.0/7", "11.1.2.3", "", ""},
		{"127.0.0.1/32", "127.0.0.1", "", ""},
		{"169.254.0.0/16", "169.254.1.1", "", ""},
		{"169.254.0.0/16", "169.254.169.254", "", "(metadata)"},
		{"169.254.169.254", "169.254.169.254", "", ""},
		{"fd00::/8", "fd12::1", "", ""},
		{"fd00::/8", "fd00:ec2::254", "", "(metadata)"},
		{"64:ff9b::/96", "64:ff9b::5db8:d822", "", ""},
		{"64:ff9b::/96", "64:ff9b::a9fe:a9fe", "", "(NAT64 of metadata)"},
		{"64:ff9b::a9fe:a9fe", "64:ff9b::a9fe:a9fe", "", ""},

		// A name alone opens none of them; together with the network it does.
		{"db.internal 10.0.0.0/8", "10.1.2.3", "db.internal", ""},
		{"db.internal 10.0.0.0/8:80", "10.1.2.3", "db.internal", "(private)"},
		{"", "93.184.216.34", "a", "it is not listed"},
	} {
		t.Run(tc.list+" "+tc.address+" "+tc.name, func(t *testing.T) {
			p := mustParse(t, strings.Fields(tc.list)...)
			var names []string
			if tc.name != "" {
				names = []string{tc.name}
			}
			got := ""
			if err := p.Allow(netip.AddrPortFrom(netip.MustParseAddr(tc.address), 443), names); err != nil {
				got = err.Error()
			}
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	p := mustParse(t, "api.example.com:443", "*.example.org:80", "10.0.0.0/8")
	for name, want := range map[string]bool{
		"api.example.com": true, "API.Example.COM": true, "example.com": false, "a.example.org": true, "example.org": false, "": false, "10.0.0.1": false,
		"_x.a.example.org": true, "a b.example.org": false, "a\x00.example.org": false, "a..example.org": false, ".a.example.org": false,
	} {
		if got := p.Name(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
	if got := p.Names(443); len(got) != 1 || got[0] != "api.example.com" || len(p.Names(80)) != 0 {
		t.Errorf("names for port 443: %q", got)
	}
	for list, want := range map[string]bool{"127.0.0.1:80": true, "::1": true, "127.0.0.0/8": true, "0.0.0.0/0": false, "localhost": false, "10.0.0.0/8": false} {
		if got := mustParse(t, list).Loopback(); got != want {
			t.Errorf("loopback of %s: %t", list, got)
		}
	}
}

// FuzzParse has any list, and any address that it may open: whatever is special about
// that, it is open only to an entry that is no wider.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a:1", "*.example.com", "10.0.0.0/8:5432-5433", "[2001:db8::1]:443", "::/0", "0.0.0.0/0", "[fd00::/8]:80"} {
		f.Add(s, []byte{169, 254, 169, 254}, uint16(80))
		f.Add(s, []byte("\x00\x64\xff\x9b\x00\x00\x00\x00\x00\x00\x00\x00\x7f\x00\x00\x01"), uint16(443))
	}
	f.Fuzz(func(t *testing.T, text string, address []byte, port uint16) {
		p, err := Parse([]string{text})
		if err != nil {
			return
		}
		a, ok := netip.AddrFromSlice(address)
		if !ok {
			return
		}
		e := p.entries[0]
		names := []string{e.name, "x." + e.name, "a.example.com"}
		if p.Allow(netip.AddrPortFrom(a, port), names) != nil {
			return
		}
		a = a.Unmap()
		around, class, isSpecial := special(a)
		if port == 0 || isSpecial && (e.name != "" || e.prefix.Bits() < around.Bits()) {
			t.Fatalf("%q opens %s (%s)", text, netip.AddrPortFrom(a, port), class)
		}
	})
}
