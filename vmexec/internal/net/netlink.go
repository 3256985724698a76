// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// The only interface.
const (
	loopName  = "lo"
	loopIndex = 1
	loopFlags = unix.IFF_UP | unix.IFF_LOOPBACK | unix.IFF_RUNNING
	// loopLinkFlags adds what ioctl(2) has no room for: IFF_LOWER_UP.
	loopLinkFlags = loopFlags | 0x10000
	loopQueue     = 1000
)

// maxRequest is the longest message that a netlink socket takes, in bytes.
const maxRequest = 32 << 10

func (s *Socket) bindNetlink(a Addr) abi.Errno {
	switch {
	case a.Family != unix.AF_NETLINK:
		return abi.EINVAL
	case s.portID != 0 && a.PortID != s.portID && a.PortID != 0:
		return abi.EINVAL
	}
	if s.portID == 0 {
		if errno := s.takePortID(a.PortID); errno != abi.OK {
			return errno
		}
	}
	s.groups = a.Groups
	return abi.OK
}

// takePortID gives the socket an address: the one asked for, or the process number,
// or a number of its own.
func (s *Socket) takePortID(id uint32) abi.Errno {
	st := s.stack
	if id == 0 {
		for id = uint32(s.creds.PID); id == 0 || st.portIDs[id] != nil; {
			st.nextPortID = max(st.nextPortID+1, 1<<31)
			id = st.nextPortID
		}
	} else if st.portIDs[id] != nil {
		return abi.EADDRINUSE
	}
	if st.portIDs == nil {
		st.portIDs = map[uint32]*Socket{}
	}
	st.portIDs[id], s.portID = s, id
	return abi.OK
}

// connectNetlink chooses the kernel, the only one there is to talk to.
func (s *Socket) connectNetlink(a Addr) abi.Errno {
	switch {
	case a.Family == unix.AF_UNSPEC:
		return abi.OK
	case a.Family != unix.AF_NETLINK:
		return abi.EINVAL
	case a.PortID != 0 || a.Groups != 0:
		return abi.EPERM
	case s.portID == 0:
		return s.takePortID(0)
	}
	return abi.OK
}

// netlinkHeader is struct nlmsghdr.
type netlinkHeader struct {
	typ, flags uint16
	seq        uint32
}

const sizeofNlmsg = 16

// decodeNetlink splits a request into its messages, as far as they are well formed.
func decodeNetlink(raw []byte, f func(h netlinkHeader, body []byte)) {
	for len(raw) >= sizeofNlmsg {
		size := binary.LittleEndian.Uint32(raw)
		if size < sizeofNlmsg || uint64(size) > uint64(len(raw)) {
			return
		}
		le := binary.LittleEndian
		f(netlinkHeader{le.Uint16(raw[4:]), le.Uint16(raw[6:]), le.Uint32(raw[8:])}, raw[sizeofNlmsg:size])
		raw = raw[min((int(size)+3)&^3, len(raw)):]
	}
}

// reply builds messages to one socket.
type reply struct {
	b      []byte
	portID uint32
}

// message appends a message whose body is written by f.
func (r *reply) message(typ, flags uint16, seq uint32, f func(b []byte) []byte) {
	at := len(r.b)
	le := binary.LittleEndian
	r.b = append(r.b, 0, 0, 0, 0)
	r.b = le.AppendUint16(r.b, typ)
	r.b = le.AppendUint16(r.b, flags)
	r.b = le.AppendUint32(r.b, seq)
	r.b = le.AppendUint32(r.b, r.portID)
	r.b = f(r.b)
	le.PutUint32(r.b[at:], uint32(len(r.b)-at))
	for len(r.b)%4 != 0 {
		r.b = append(r.b, 0)
	}
}

// attribute appends a struct rtattr with its data.
func attribute(b []byte, typ uint16, data []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(4+len(data)))
	b = binary.LittleEndian.AppendUint16(b, typ)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func linkMessage(b []byte) []byte {
	b = append(b, unix.AF_UNSPEC, 0)
	b = binary.LittleEndian.AppendUint16(b, unix.ARPHRD_LOOPBACK)
	b = append(b, int32Bytes(loopIndex)...)
	b = append(b, int32Bytes(loopLinkFlags)...)
	b = append(b, int32Bytes(0)...)
	b = attribute(b, unix.IFLA_IFNAME, []byte(loopName+"\x00"))
	b = attribute(b, unix.IFLA_TXQLEN, int32Bytes(loopQueue))
	b = attribute(b, unix.IFLA_OPERSTATE, []byte{0})
	b = attribute(b, unix.IFLA_MTU, int32Bytes(mtu))
	b = attribute(b, unix.IFLA_QDISC, []byte("noqueue\x00"))
	b = attribute(b, unix.IFLA_ADDRESS, make([]byte, 6))
	b = attribute(b, unix.IFLA_BROADCAST, make([]byte, 6))
	return attribute(b, unix.IFLA_STATS, make([]byte, 96))
}

// loopAddress is an address of the interface.
type loopAddress struct {
	family byte
	bits   byte
	ip     []byte
}

func loopAddresses() []loopAddress {
	return []loopAddress{{unix.AF_INET, 8, loopIP4[12:]}, {unix.AF_INET6, 128, loopIP6[:]}}
}

func addrMessage(b []byte, a loopAddress) []byte {
	b = append(b, a.family, a.bits, unix.IFA_F_PERMANENT, unix.RT_SCOPE_HOST)
	b = append(b, int32Bytes(loopIndex)...)
	b = attribute(b, unix.IFA_ADDRESS, a.ip)
	if a.family == unix.AF_INET {
		b = attribute(b, unix.IFA_LOCAL, a.ip)
		b = attribute(b, unix.IFA_LABEL, []byte(loopName+"\x00"))
	}
	forever := bytes.Repeat([]byte{0xff}, 8)
	b = attribute(b, unix.IFA_CACHEINFO, append(forever, make([]byte, 8)...))
	return attribute(b, unix.IFA_FLAGS, int32Bytes(unix.IFA_F_PERMANENT))
}

// sendNetlink gives requests to the kernel, whose answers are there at once.
func (s *Socket) sendNetlink(src fd.Buffers, to *Addr) (int, abi.Errno) {
	n := src.Len()
	switch {
	case to != nil && to.Family != unix.AF_NETLINK:
		return 0, abi.EINVAL
	case to != nil && to.PortID != 0:
		return 0, abi.ECONNREFUSED
	case to != nil && to.Groups != 0:
		return 0, abi.EPERM
	case n > maxRequest:
		return 0, abi.EMSGSIZE
	}
	if s.portID == 0 {
		if errno := s.takePortID(0); errno != abi.OK {
			return 0, errno
		}
	}
	raw := make([]byte, n)
	src.CopyTo(raw)
	decodeNetlink(raw, s.request)
	return n, abi.OK
}

// request answers one message.
func (s *Socket) request(h netlinkHeader, body []byte) {
	if h.flags&unix.NLM_F_REQUEST == 0 || h.typ < unix.NLMSG_MIN_TYPE {
		return
	}
	family := byte(0)
	if len(body) > 0 {
		family = body[0]
	}
	dump := h.flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP || h.flags&unix.NLM_F_ROOT != 0
	r := reply{portID: s.portID}
	flags := uint16(0)
	if dump {
		flags = unix.NLM_F_MULTI
	}
	failed := abi.OK
	switch {
	case h.typ < unix.RTM_BASE:
		failed = abi.EOPNOTSUPP
	case h.typ%4 != unix.RTM_GETLINK%4: // a change
		failed = abi.EPERM
	case h.typ == unix.RTM_GETLINK && (dump || asksForLoop(body)):
		r.message(unix.RTM_NEWLINK, flags, h.seq, linkMessage)
	case h.typ == unix.RTM_GETLINK:
		failed = abi.ENODEV
	case h.typ == unix.RTM_GETADDR && dump:
		for _, a := range loopAddresses() {
			if family == unix.AF_UNSPEC || family == a.family {
				r.message(unix.RTM_NEWADDR, flags, h.seq, func(b []byte) []byte { return addrMessage(b, a) })
			}
		}
	case dump: // routes, neighbours and so on: there are none
	default:
		failed = abi.EOPNOTSUPP
	}
	if len(r.b) > 0 {
		s.answer(r.b)
		r.b = nil
	}
	switch {
	case failed != abi.OK || !dump && h.flags&unix.NLM_F_ACK != 0:
		r.message(unix.NLMSG_ERROR, 0, h.seq, func(b []byte) []byte {
			b = append(b, int32Bytes(-int32(failed))...)
			b = binary.LittleEndian.AppendUint32(b, uint32(sizeofNlmsg+len(body)))
			b = binary.LittleEndian.AppendUint16(b, h.typ)
			b = binary.LittleEndian.AppendUint16(b, h.flags)
			b = binary.LittleEndian.AppendUint32(b, h.seq)
			b = binary.LittleEndian.AppendUint32(b, s.portID)
			if failed != abi.OK {
				b = append(b, body...)
			}
			return b
		})
	case dump:
		r.message(unix.NLMSG_DONE, unix.NLM_F_MULTI, h.seq, func(b []byte) []byte { return append(b, int32Bytes(0)...) })
	default:
		return
	}
	s.answer(r.b)
}

// asksForLoop reports whether a request for one link means the loopback interface,
// by number or by name.
func asksForLoop(body []byte) bool {
	const sizeofIfinfomsg = 16
	if len(body) < sizeofIfinfomsg {
		return false
	}
	if i := binary.LittleEndian.Uint32(body[4:]); i != 0 {
		return i == loopIndex
	}
	for body = body[sizeofIfinfomsg:]; len(body) >= 4; {
		n := int(binary.LittleEndian.Uint16(body))
		if n < 4 || n > len(body) {
			return false
		}
		if binary.LittleEndian.Uint16(body[2:]) == unix.IFLA_IFNAME {
			return string(bytes.TrimRight(body[4:n], "\x00")) == loopName
		}
		body = body[min((n+3)&^3, len(body)):]
	}
	return false
}

// answer puts a message of the kernel into the socket's buffer. When it is full the
// program is told by ENOBUFS, as on Linux.
func (s *Socket) answer(b []byte) {
	if s.in.cost+len(b)+recordCost > int(s.opts.rcvBuf) || !s.in.grow(s.in.n+len(b)) || !s.in.add(record{n: len(b)}) {
		s.err = abi.ENOBUFS
		s.wake(0)
		return
	}
	s.in.put(fd.Buffers{b})
	s.wake(fd.In)
}

// netlinkOptions are those of SOL_NETLINK that are accepted; all of them are about
// details of answers.
func (s *Socket) setNetlink(name int, raw []byte) abi.Errno {
	switch name {
	case unix.NETLINK_ADD_MEMBERSHIP, unix.NETLINK_DROP_MEMBERSHIP, unix.NETLINK_PKTINFO, unix.NETLINK_BROADCAST_ERROR, unix.NETLINK_NO_ENOBUFS,
		unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK:
		_, errno := number(unix.SOL_NETLINK, raw)
		return errno
	}
	return abi.ENOPROTOOPT
}

func (s *Socket) getNetlink(name int) ([]byte, abi.Errno) {
	switch name {
	case unix.NETLINK_PKTINFO, unix.NETLINK_BROADCAST_ERROR, unix.NETLINK_NO_ENOBUFS, unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK:
		return int32Bytes(0), abi.OK
	}
	return nil, abi.ENOPROTOOPT
}

// SizeofIfreq is the size of struct ifreq.
const SizeofIfreq = 40

// ifreqUnion is where the union of struct ifreq begins.
const ifreqUnion = 16

// Interface serves an ioctl(2) on an interface: it fills in the struct ifreq that
// the program passed. known is false for one that is not about interfaces. Errors:
// ENODEV for an interface that is not there, EADDRNOTAVAIL, EPERM for a change.
func Interface(cmd uint32, req *[SizeofIfreq]byte) (errno abi.Errno, known bool) {
	le := binary.LittleEndian
	value := req[ifreqUnion:]
	if cmd == unix.SIOCGIFNAME {
		if le.Uint32(value) != loopIndex {
			return abi.ENODEV, true
		}
		clear(req[:ifreqUnion])
		copy(req[:], loopName)
		return abi.OK, true
	}
	name, _, _ := bytes.Cut(req[:ifreqUnion], []byte{0})
	there := string(name) == loopName
	address := func(ip ...byte) {
		clear(value[:sizeofInet4])
		le.PutUint16(value, unix.AF_INET)
		copy(value[4:], ip)
	}
	var fill func()
	switch cmd {
	case unix.SIOCGIFFLAGS:
		fill = func() { le.PutUint16(value, loopFlags) }
	case unix.SIOCGIFINDEX:
		fill = func() { le.PutUint32(value, loopIndex) }
	case unix.SIOCGIFMTU:
		fill = func() { le.PutUint32(value, mtu) }
	case unix.SIOCGIFTXQLEN:
		fill = func() { le.PutUint32(value, loopQueue) }
	case unix.SIOCGIFMETRIC:
		fill = func() { le.PutUint32(value, 0) }
	case unix.SIOCGIFHWADDR:
		fill = func() {
			clear(value[:sizeofInet4])
			le.PutUint16(value, unix.ARPHRD_LOOPBACK)
		}
	case unix.SIOCGIFADDR, unix.SIOCGIFDSTADDR:
		fill = func() { address(loopIP4[12:]...) }
	case unix.SIOCGIFBRDADDR:
		fill = func() { address(0, 0, 0, 0) }
	case unix.SIOCGIFNETMASK:
		fill = func() { address(255, 0, 0, 0) }
	case unix.SIOCSIFFLAGS, unix.SIOCSIFADDR, unix.SIOCSIFMTU, unix.SIOCSIFNETMASK, unix.SIOCSIFDSTADDR, unix.SIOCSIFBRDADDR,
		unix.SIOCSIFHWADDR, unix.SIOCSIFNAME, unix.SIOCADDRT, unix.SIOCDELRT:
		return abi.EPERM, true
	default:
		return abi.OK, false
	}
	if !there {
		return abi.ENODEV, true
	}
	fill()
	return abi.OK, true
}

// Interfaces returns the struct ifreq array of SIOCGIFCONF.
func Interfaces() []byte {
	var r [SizeofIfreq]byte
	copy(r[:], loopName)
	_, _ = Interface(unix.SIOCGIFADDR, &r)
	return r[:]
}
