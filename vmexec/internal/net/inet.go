// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// bindInet gives the socket a local address and port.
func (s *Socket) bindInet(a Addr) abi.Errno {
	switch {
	case int(a.Family) == s.domain:
	case s.domain == unix.AF_INET && a.Family == unix.AF_UNSPEC && a.IP == anyIP4:
	default:
		return abi.EAFNOSUPPORT
	}
	if s.bound || s.state != idle && s.state != closed {
		return abi.EINVAL
	}
	if !a.IP.wild() && !a.IP.local() {
		return abi.EADDRNOTAVAIL
	}
	if s.domain == unix.AF_INET6 && s.flag(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) && a.IP.is4() {
		return abi.EINVAL
	}
	was := s.local
	s.local = endpoint{a.IP, a.Port}
	if errno := s.stack.claim(s); errno != abi.OK {
		s.local = was
		return errno
	}
	s.chosen, s.home = a.Port != 0, a.IP
	return abi.OK
}

// source gives the socket a local port when it has none, and the address that
// packets to dst come from.
func (s *Socket) source(dst IP) abi.Errno {
	if !s.bound {
		if errno := s.stack.claim(s); errno != abi.OK {
			return abi.EADDRNOTAVAIL
		}
	}
	if s.local.ip.wild() {
		s.local.ip = sourceFor(dst)
	}
	return abi.OK
}

// sourceFor is the address that a packet to a local address comes from: as on
// Linux the interface's first one.
func sourceFor(dst IP) IP {
	if dst.is4() {
		return loopIP4
	}
	return loopIP6
}

// target checks an address to connect or send to, and puts loopback in place of a
// wildcard. ENETUNREACH for what is not the VM's own: there is no other network.
func (s *Socket) target(a Addr) (endpoint, abi.Errno) {
	ip := a.IP
	if s.domain == unix.AF_INET6 && ip.is4() && s.flag(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) {
		return endpoint{}, abi.ENETUNREACH
	}
	switch ip {
	case anyIP4:
		ip = loopIP4
	case anyIP6:
		ip = loopIP6
		if s.bound && s.local.ip.is4() {
			ip = loopIP4
		}
	}
	// A socket of ::1 does not reach 127.0.0.1, nor the other way round.
	if !ip.local() || s.bound && !s.local.ip.wild() && s.local.ip.is4() != ip.is4() {
		return endpoint{}, abi.ENETUNREACH
	}
	return endpoint{ip, a.Port}, abi.OK
}

// listenInet takes a port when there is none, and makes sure of it: those who
// share one by SO_REUSEADDR cannot all listen.
func (s *Socket) listenInet() abi.Errno {
	if !s.bound {
		return s.stack.claim(s)
	}
	was := s.state
	s.state = listening
	taken := s.stack.conflict(s, s.stack.tcp[s.local.port])
	s.state = was
	if taken {
		return abi.EADDRINUSE
	}
	return abi.OK
}

// connectTCP is connect(2). What it returns depends on whether a call before has
// begun and not been told the end, as on Linux.
func (s *Socket) connectTCP(a Addr, nonblock bool) (*waitq.Queue, abi.Errno) {
	if a.Family == unix.AF_UNSPEC {
		s.disconnectTCP()
		return nil, abi.OK
	}
	early := abi.EALREADY
	if !s.attempt {
		switch {
		case s.spent:
			return nil, abi.EINVAL
		case int(a.Family) != s.domain:
			return nil, abi.EAFNOSUPPORT
		case s.state == idle:
		case s.state == closed && s.peer == nil && s.remote.port == 0: // after one that failed
		default:
			return nil, abi.EISCONN
		}
		if errno := s.dial(a); errno != abi.OK {
			return nil, errno
		}
		if nonblock {
			return nil, abi.EINPROGRESS
		}
		early = abi.EINPROGRESS
	}
	switch {
	case s.state == connecting && nonblock:
		return nil, early
	case s.state == connecting:
		return &s.q, abi.EINPROGRESS
	}
	s.attempt = false
	if s.state == connected {
		return nil, abi.OK
	}
	errno := s.takeErr()
	if errno == abi.OK {
		errno = abi.ECONNABORTED
	}
	s.disconnectTCP()
	return nil, errno
}

// dial begins a connection, and mostly ends it: the outcome is in the state.
func (s *Socket) dial(a Addr) abi.Errno {
	to, errno := s.target(a)
	out := errno == abi.ENETUNREACH && s.leadsOut(a.IP)
	if out {
		to, errno = endpoint{a.IP, a.Port}, abi.OK
	}
	if errno != abi.OK {
		return errno
	}
	had := s.bound
	if errno := s.source(to.ip); errno != abi.OK {
		return errno
	}
	for _, o := range s.stack.tcp[s.local.port] {
		if o != s && o.state == connected && o.local == s.local && o.remote == to {
			if !had {
				s.stack.vacate(s)
			}
			return abi.EADDRNOTAVAIL
		}
	}
	s.remote, s.flow, s.scope = to, a.Flow, a.Scope
	s.attempt, s.err = true, abi.OK
	l := s.stack.find(unix.SOCK_STREAM, s.local, to)
	switch {
	case s.local == to: // with itself, as TCP allows
		s.state, s.peer = connected, s
		s.opts.established()
		if s.wrShut { // see enter
			s.finish()
		}
		s.wake(0)
	case out, l == nil && s.stack.leadsToLoopback(to):
		s.reach(to)
	case l == nil && s.stack.namesAt(to):
		s.reachNames()
	case l == nil:
		s.refused(abi.ECONNREFUSED)
	case l.full():
		s.state, s.peer = connecting, l
		l.knocking = append(l.knocking, s)
	default:
		if errno := l.enter(s); errno != abi.OK {
			s.refused(errno)
		}
	}
	return abi.OK
}

// enter gives a socket that connects its other end, which waits to be accepted.
func (s *Socket) enter(c *Socket) abi.Errno {
	e, errno := s.stack.make(s.domain, s.typ, s.proto, 0, Cred{})
	if errno != abi.OK {
		return errno
	}
	e.opts = s.opts.clone()
	e.local, e.remote = c.remote, c.local
	e.state, c.state, e.peer, c.peer = connected, connected, c, e
	s.stack.occupy(e)
	e.opts.established()
	c.opts.established()
	s.pending = append(s.pending, e)
	e.rdShut = s.rdShut // as on Linux the halves that were shut before listen(2)
	if s.wrShut {
		e.finish()
	}
	s.wake(fd.In)
	c.wake(0)
	return abi.OK
}

// GiveUp ends a connection attempt that was not answered in time.
func (s *Socket) GiveUp() {
	if s.tcp() && s.state == connecting {
		s.disconnectTCP()
		s.err = abi.OK
	}
}

// withdraw ends an attempt to connect that waits.
func (s *Socket) withdraw() {
	s.peer.knocking = without(s.peer.knocking, s)
	s.peer.wake(fd.Out)
}

// refused ends an attempt to connect.
func (s *Socket) refused(errno abi.Errno) {
	s.peer, s.remote = nil, endpoint{ip: s.remote.ip}
	s.err = errno
	s.rdShut, s.wrShut = true, true
	s.over()
	s.wake(0)
}

// over ends a connection, which gives up a port that bind(2) has not asked for.
func (s *Socket) over() {
	s.state = closed
	if !s.chosen {
		s.stack.vacate(s)
	}
}

// reset breaks the connection off from the other side (RST).
func (s *Socket) reset(errno abi.Errno) {
	if s.state != connected {
		return
	}
	if s.finished {
		errno = abi.EPIPE
	}
	s.err, s.rdShut, s.wrShut = errno, true, true
	s.over()
	s.wake(0)
}

// disconnectTCP breaks the connection off, and makes the socket as it was before
// it was connected.
func (s *Socket) disconnectTCP() {
	errno := abi.OK
	switch s.state {
	case connected:
		s.peer.reset(abi.ECONNRESET)
		s.over()
		errno = abi.ECONNRESET
	case connecting:
		s.withdraw()
		s.over()
		errno = abi.ECONNRESET
	case listening:
		s.over()
		s.dismiss()
	case idle, closed:
	}
	s.state, s.peer, s.attempt, s.spent = idle, nil, false, false
	s.finished, s.ended, s.rdShut, s.wrShut = false, false, false, false
	s.err, s.remote = errno, endpoint{ip: s.remote.ip}
	s.stack.lost(s.in.free())
	s.local.ip = s.home
	s.wake(0)
}

// leaveAddress gives back what of the local address bind(2) has not asked for.
func (s *Socket) leaveAddress() {
	if !s.chosen {
		s.stack.vacate(s)
	}
	s.local.ip = s.home
}

// finish sends the end of the data (FIN).
func (s *Socket) finish() {
	s.wrShut, s.ended = true, true
	if s.state != connected {
		return
	}
	p := s.peer
	there := p.state == connected // it may be closed already
	if there {
		p.rdShut, p.finished = true, true
	}
	if s.finished { // both have: nothing is left of the connection
		s.over()
		if there {
			p.over()
		}
	}
	p.wake(0)
}

// closeTCP ends the connection: by a reset when there is data that the program has
// not read, or when SO_LINGER says so.
func (s *Socket) closeTCP() {
	switch s.state {
	case connecting:
		s.withdraw()
	case connected:
		if s.in.n > 0 || s.opts.linger && s.opts.lingerTime == 0 {
			s.peer.reset(abi.ECONNRESET)
		} else if !s.ended {
			s.finish()
		}
	case idle, listening, closed:
	}
	s.peer = nil
}

func (s *Socket) shutdownTCP(rd, wr bool) abi.Errno {
	if s.attempt && s.state != connecting {
		s.attempt, s.spent = false, s.state != connected
	}
	switch s.state {
	case idle, closed: // as on Linux it has its effect all the same
		s.rdShut, s.wrShut = s.rdShut || rd, s.wrShut || wr
		s.wake(0)
		return abi.ENOTCONN
	case listening:
		if rd {
			s.disconnectTCP()
		}
		return abi.OK
	case connecting:
		s.disconnectTCP()
		return abi.OK
	case connected:
	}
	if rd {
		s.rdShut = true
	}
	if wr && !s.ended {
		s.finish()
	}
	s.wake(0)
	return abi.OK
}

// connectUDP chooses whom the socket talks to; AF_UNSPEC nobody.
func (s *Socket) connectUDP(a Addr) abi.Errno {
	if a.Family == unix.AF_UNSPEC {
		s.remote = endpoint{ip: s.remote.ip}
		s.leaveAddress()
		return abi.OK
	}
	if int(a.Family) != s.domain && a.Family != unix.AF_INET {
		return abi.EAFNOSUPPORT
	}
	to, errno := s.target(a)
	if errno != abi.OK {
		return errno
	}
	if errno := s.source(to.ip); errno != abi.OK {
		return errno
	}
	s.remote, s.flow, s.scope = to, a.Flow, a.Scope
	return abi.OK
}

// Sizes of the largest UDP messages.
const (
	maxUDP4 = 65507
	maxUDP6 = 65527
)

// header is what of a datagram's IP header its receiver can ask for.
type header struct {
	hops, class uint8 // TTL or hop limit; TOS or traffic class
}

// headerTo is the header of a datagram to ip: of its own, else of the socket's options.
// Errors: EINVAL.
func (s *Socket) headerTo(ip IP, own *Header) (header, abi.Errno) {
	f, hops, class := &own.V6, option{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}, option{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}
	if ip.is4() {
		f, hops, class = &own.V4, option{unix.IPPROTO_IP, unix.IP_TTL}, option{unix.IPPROTO_IP, unix.IP_TOS}
	}
	if f.wrong {
		return header{}, abi.EINVAL
	}
	h := header{f.hops.value, f.class.value}
	if !f.hops.set {
		h.hops = uint8(s.value(hops))
	}
	if !f.class.set {
		h.class = uint8(s.value(class))
	}
	return h, abi.OK
}

// sendUDP sends one message. As on Linux it is lost when the receiver has no room.
func (s *Socket) sendUDP(src fd.Buffers, m *Message) (int, abi.Errno) {
	to := m.To
	dst := s.remote
	n := src.Len()
	if to != nil {
		if int(to.Family) != s.domain && to.Family != unix.AF_INET {
			if to.Family != unix.AF_UNSPEC || s.domain != unix.AF_INET {
				return 0, abi.EAFNOSUPPORT
			}
		}
		if to.Port == 0 {
			return 0, abi.EINVAL
		}
	} else if dst.port == 0 {
		return 0, abi.EDESTADDRREQ
	}
	if errno := s.takeErr(); errno != abi.OK {
		return 0, errno
	}
	if s.wrShut {
		return 0, abi.EPIPE
	}
	if to != nil {
		var errno abi.Errno
		if dst, errno = s.target(*to); errno != abi.OK {
			return 0, errno
		}
	}
	if n > maxUDP6 || n > maxUDP4 && dst.ip.is4() {
		return 0, abi.EMSGSIZE
	}
	h, errno := s.headerTo(dst.ip, &m.Header)
	if errno != abi.OK {
		return 0, errno
	}
	if !s.bound {
		if errno := s.stack.claim(s); errno != abi.OK {
			return 0, abi.EAGAIN
		}
	}
	from := s.local
	if from.ip.wild() {
		from.ip = sourceFor(dst.ip)
	}
	r := s.stack.find(unix.SOCK_DGRAM, from, dst)
	if r == nil && s.stack.namesAt(dst) {
		s.stack.askDatagram(s, src)
		return n, abi.OK
	}
	if r == nil { // the answer is an ICMP message, which only a connected socket hears of
		if to == nil || s.remote == dst || s.flag(unix.IPPROTO_IP, unix.IP_RECVERR) {
			s.err = abi.ECONNREFUSED
			s.wake(0)
		}
		return n, abi.OK
	}
	if r.rdShut || r.in.cost+n+recordCost > int(r.opts.rcvBuf)+recordCost || !r.in.grow(r.in.n+n) {
		return n, abi.OK
	}
	if !r.in.add(record{n: n, from: Addr{IP: from.ip, Port: from.port}, to: dst.ip, header: h}) {
		return n, abi.OK
	}
	r.in.put(src)
	r.wake(fd.In)
	return n, abi.OK
}
