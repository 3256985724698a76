// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// IP is an IPv6 address, or an IPv4 address in its mapped form ::ffff:a.b.c.d.
type IP [16]byte

// Addresses with a meaning.
var (
	anyIP4  = mapped(0, 0, 0, 0)
	anyIP6  = IP{}
	loopIP4 = mapped(127, 0, 0, 1)
	loopIP6 = IP{15: 1}
)

func mapped(a, b, c, d byte) IP { return IP{10: 0xff, 11: 0xff, 12: a, 13: b, 14: c, 15: d} }

// is4 reports whether the address is a mapped IPv4 address.
func (ip IP) is4() bool {
	for _, b := range ip[:10] {
		if b != 0 {
			return false
		}
	}
	return ip[10] == 0xff && ip[11] == 0xff
}

// wild reports whether the address stands for every address of its family.
func (ip IP) wild() bool { return ip == anyIP4 || ip == anyIP6 }

// local reports whether the address is the VM's own: there is only a loopback
// interface.
func (ip IP) local() bool { return ip == loopIP6 || ip.is4() && ip[12] == 127 }

// Key identifies a socket that has a name in the file system. The name's inode
// holds it, in images and clones too; 0 is none.
type Key uint64

// Addr is a socket address of any family.
type Addr struct {
	Family uint16

	// AF_INET and AF_INET6.
	IP    IP
	Port  uint16
	Flow  uint32
	Scope uint32

	// AF_UNIX: sun_path, with the leading NUL of an abstract name; "" is unnamed.
	Path string
	// Key is the socket that a path leads to, once the caller has resolved it.
	Key Key

	// AF_NETLINK.
	PortID, Groups uint32
}

// MaxAddr is the longest address in bytes (struct sockaddr_storage).
const MaxAddr = 128

// Lengths of addresses in bytes.
const (
	sizeofInet4   = 16
	sizeofInet6   = 28
	minInet6      = 24 // without the scope, as RFC 2133 had it
	sizeofUnix    = 110
	sizeofNetlink = 12
	pathOffset    = 2
)

// MinLen returns the least length of an address for bind(2) in bytes.
func MinLen(domain int) int {
	switch domain {
	case unix.AF_INET:
		return sizeofInet4
	case unix.AF_INET6:
		return minInet6
	case unix.AF_NETLINK:
		return sizeofNetlink
	}
	return pathOffset
}

// DecodeAddr decodes an address that was given to a socket of the domain. An
// address of another family has its Family only; whether it is one that the call
// takes is not checked here. EINVAL when it is too short or too long for its family.
func DecodeAddr(domain int, raw []byte) (Addr, abi.Errno) {
	if len(raw) < 2 {
		return Addr{}, abi.EINVAL
	}
	a := Addr{Family: binary.LittleEndian.Uint16(raw)}
	switch {
	case domain == unix.AF_UNIX:
		if len(raw) > sizeofUnix || a.Family != unix.AF_UNIX && a.Family != unix.AF_UNSPEC {
			return Addr{}, abi.EINVAL
		}
		a.Path = string(raw[pathOffset:])
		if a.Path != "" && a.Path[0] != 0 {
			a.Path, _, _ = strings.Cut(a.Path, "\x00")
		}
	case domain == unix.AF_NETLINK:
		if len(raw) < sizeofNetlink {
			return Addr{}, abi.EINVAL
		}
		a.PortID, a.Groups = binary.LittleEndian.Uint32(raw[4:]), binary.LittleEndian.Uint32(raw[8:])
	case a.Family == unix.AF_INET6 && domain == unix.AF_INET6:
		if len(raw) < minInet6 {
			return Addr{}, abi.EINVAL
		}
		a.Port, a.Flow = binary.BigEndian.Uint16(raw[2:]), binary.LittleEndian.Uint32(raw[4:])
		copy(a.IP[:], raw[8:])
		if len(raw) >= sizeofInet6 {
			a.Scope = binary.LittleEndian.Uint32(raw[24:])
		}
	case a.Family == unix.AF_INET || a.Family == unix.AF_UNSPEC && len(raw) >= sizeofInet4:
		if len(raw) < sizeofInet4 {
			return Addr{}, abi.EINVAL
		}
		a.Port = binary.BigEndian.Uint16(raw[2:])
		a.IP = mapped(raw[4], raw[5], raw[6], raw[7])
	case a.Family != unix.AF_UNSPEC && len(raw) < MinLen(domain):
		return Addr{}, abi.EINVAL
	}
	return a, abi.OK
}

// Encode returns the address as the kernel writes it.
func (a Addr) Encode() []byte {
	b := binary.LittleEndian.AppendUint16(nil, a.Family)
	switch a.Family {
	case unix.AF_INET:
		b = binary.BigEndian.AppendUint16(b, a.Port)
		b = append(b, a.IP[12:]...)
		b = append(b, make([]byte, 8)...)
	case unix.AF_INET6:
		b = binary.BigEndian.AppendUint16(b, a.Port)
		b = binary.LittleEndian.AppendUint32(b, a.Flow)
		b = append(b, a.IP[:]...)
		b = binary.LittleEndian.AppendUint32(b, a.Scope)
	case unix.AF_UNIX:
		b = append(b, a.Path...)
		if a.Path != "" && a.Path[0] != 0 {
			b = append(b, 0)
		}
	case unix.AF_NETLINK:
		b = append(b, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, a.PortID)
		b = binary.LittleEndian.AppendUint32(b, a.Groups)
	}
	return b
}

// String is the address for people, and for the tables of /proc/net/unix.
func (a Addr) String() string {
	switch a.Family {
	case unix.AF_UNIX:
		return strings.ReplaceAll(a.Path, "\x00", "@")
	case unix.AF_INET:
		return fmt.Sprintf("%d.%d.%d.%d:%d", a.IP[12], a.IP[13], a.IP[14], a.IP[15], a.Port)
	case unix.AF_INET6:
		return fmt.Sprintf("[%x]:%d", a.IP[:], a.Port)
	}
	return fmt.Sprintf("family %d", a.Family)
}

// endpoint is an address and port of AF_INET or AF_INET6.
type endpoint struct {
	ip   IP
	port uint16
}
