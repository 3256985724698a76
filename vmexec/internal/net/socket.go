// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"fmt"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Conditions of poll(2) that package fd has no use for; see
// include/uapi/asm-generic/poll.h of Linux.
const (
	rdHup  fd.Events = 0x2000
	wrBand fd.Events = 0x200
)

// state is where a socket is in the life of a connection.
type state uint8

const (
	// idle: not connected, or a datagram socket.
	idle state = iota
	listening
	// connecting: waits in the queue of a listener (SYN_SENT).
	connecting
	connected
	// closed: it was connected, and both sides have ended, or one broke off.
	closed
)

// Socket is an open socket. Its conditions, names and errors are those that Linux
// shows; see socket(7), tcp(7), udp(7), unix(7) and netlink(7).
type Socket struct {
	fd.Base
	stack            *Stack
	domain, typ      int
	proto            int
	q                waitq.Queue
	state            state
	err              abi.Errno // SO_ERROR
	rdShut, wrShut   bool      // shutdown, by either side
	finished, ended  bool      // TCP: the other side has sent all, this side has
	pending          []*Socket // listener: connections to be accepted, the oldest first
	knocking         []*Socket // TCP listener: those that found its queue full
	backlog          int
	peer             *Socket   // the other end; unix datagram: where it is connected to
	clients          []*Socket // unix datagram: those that are connected to it
	in               queue
	sent             int // unix: cost of what it sent and nobody has read
	opts             options
	local, remote    endpoint // AF_INET and AF_INET6
	flow, scope      uint32   // of remote
	bound, chosen    bool     // it has a port; bind(2) asked for that one
	home             IP       // the address that bind(2) gave it, or a wildcard
	at               int      // place in the list of its port
	attempt          bool     // TCP: connect(2) has not been told the outcome (SS_CONNECTING)
	spent            bool     // TCP: shut down after an attempt that failed (SS_DISCONNECTING)
	name             string   // unix: as Addr.Path
	key              Key      // unix: of a name in the file system
	creds, peerCreds Cred     // unix: of the maker, and of the other end
	portID, groups   uint32   // netlink
	released         bool
}

// New makes a socket as socket(2); flags may have O_NONBLOCK. Errors: those of
// socket(2) of a process without privileges, and ENOBUFS when the VM's memory is
// used up.
func (st *Stack) New(domain, typ, proto, flags int, cred Cred) (*Socket, abi.Errno) {
	proto, errno := protocol(domain, typ, proto)
	if errno != abi.OK {
		return nil, errno
	}
	return st.make(domain, typ, proto, flags, cred)
}

// protocol checks the arguments of socket(2) and returns the protocol that stands
// behind 0.
func protocol(domain, typ, proto int) (int, abi.Errno) {
	switch {
	case domain < 0 || domain >= unix.AF_MAX:
		return 0, abi.EAFNOSUPPORT
	case typ < 0 || typ > unix.SOCK_PACKET:
		return 0, abi.EINVAL
	}
	switch domain {
	case unix.AF_UNIX:
		if proto != 0 && proto != unix.AF_UNIX {
			return 0, abi.EPROTONOSUPPORT
		}
		switch typ {
		case unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET:
			return 0, abi.OK
		case unix.SOCK_RAW: // the same as SOCK_DGRAM, which it is made
			return 0, abi.OK
		}
		return 0, abi.ESOCKTNOSUPPORT
	case unix.AF_INET, unix.AF_INET6:
		if proto < 0 || proto > 262 {
			return 0, abi.EINVAL
		}
		switch typ {
		case unix.SOCK_STREAM:
			if proto == 0 || proto == unix.IPPROTO_TCP {
				return unix.IPPROTO_TCP, abi.OK
			}
			return 0, abi.EPROTONOSUPPORT
		case unix.SOCK_DGRAM:
			if proto == 0 || proto == unix.IPPROTO_UDP {
				return unix.IPPROTO_UDP, abi.OK
			}
			if proto == unix.IPPROTO_ICMP && domain == unix.AF_INET || proto == unix.IPPROTO_ICMPV6 && domain == unix.AF_INET6 {
				return 0, abi.EACCES // ping sockets: no group may
			}
			return 0, abi.EPROTONOSUPPORT
		case unix.SOCK_RAW:
			if proto == 0 {
				return 0, abi.EPROTONOSUPPORT
			}
			return 0, abi.EPERM
		}
		return 0, abi.ESOCKTNOSUPPORT
	case unix.AF_NETLINK:
		switch {
		case typ != unix.SOCK_RAW && typ != unix.SOCK_DGRAM:
			return 0, abi.ESOCKTNOSUPPORT
		case proto != unix.NETLINK_ROUTE:
			return 0, abi.EPROTONOSUPPORT
		}
		return proto, abi.OK
	case unix.AF_PACKET:
		return 0, abi.EPERM
	}
	return 0, abi.EAFNOSUPPORT
}

func (st *Stack) make(domain, typ, proto, flags int, cred Cred) (*Socket, abi.Errno) {
	if !st.charge(socketMemory) {
		return nil, abi.ENOBUFS
	}
	if domain == unix.AF_UNIX && typ == unix.SOCK_RAW {
		typ = unix.SOCK_DGRAM
	}
	s := &Socket{
		Base:  fd.Base{Flags: unix.O_RDWR | flags&unix.O_NONBLOCK, Ino: st.sys.NextInode(), Mode: unix.S_IFSOCK | 0o777},
		stack: st, domain: domain, typ: typ, proto: proto, creds: cred,
	}
	s.in.stack = st
	s.opts.init(s)
	if domain == unix.AF_INET {
		s.local.ip, s.remote.ip, s.home = anyIP4, anyIP4, anyIP4
	}
	return s, abi.OK
}

// Pair makes two sockets that are connected with each other, as socketpair(2).
// EOPNOTSUPP for all but AF_UNIX.
func (st *Stack) Pair(domain, typ, proto, flags int, cred Cred) (a, b *Socket, errno abi.Errno) {
	if a, errno = st.New(domain, typ, proto, flags, cred); errno != abi.OK {
		return nil, nil, errno
	}
	if domain != unix.AF_UNIX {
		a.Release()
		return nil, nil, abi.EOPNOTSUPP
	}
	if b, errno = st.New(domain, typ, proto, flags, cred); errno != abi.OK {
		a.Release()
		return nil, nil, errno
	}
	for _, v := range [2][2]*Socket{{a, b}, {b, a}} {
		v[0].peer, v[0].state, v[0].peerCreds = v[1], connected, cred
		if v[0].typ == unix.SOCK_DGRAM {
			v[0].clients = []*Socket{v[1]}
		}
	}
	return a, b, abi.OK
}

func (s *Socket) inet() bool   { return s.domain == unix.AF_INET || s.domain == unix.AF_INET6 }
func (s *Socket) unix() bool   { return s.domain == unix.AF_UNIX }
func (s *Socket) stream() bool { return s.typ == unix.SOCK_STREAM }
func (s *Socket) tcp() bool    { return s.inet() && s.stream() }
func (s *Socket) udp() bool    { return s.inet() && !s.stream() }

// connects reports whether the socket is of a type with connections.
func (s *Socket) connects() bool { return s.stream() || s.typ == unix.SOCK_SEQPACKET }

// Domain returns the address family.
func (s *Socket) Domain() int { return s.domain }

// Stream reports whether the socket carries bytes, not messages.
func (s *Socket) Stream() bool { return s.stream() }

// Addressed reports whether each message may have an address of its own.
func (s *Socket) Addressed() bool { return !s.connects() }

// Ended reports whether a datagram socket receives no more (SHUT_RD): a call that
// would wait gives no bytes then.
func (s *Socket) Ended() bool { return !s.connects() && s.rdShut }

// Signals reports whether a write that fails with EPIPE sends SIGPIPE.
func (s *Socket) Signals() bool { return s.stream() }

// wake tells those who wait for any of the conditions; 0 is all.
func (s *Socket) wake(ev fd.Events) { s.q.WakeFor(uint32(ev)) }

// takeErr returns the pending error and clears it.
func (s *Socket) takeErr() abi.Errno {
	e := s.err
	s.err = abi.OK
	return e
}

// Queue is woken when Readiness may have changed.
func (s *Socket) Queue() *waitq.Queue { return &s.q }

// Name is "socket:[inode]".
func (s *Socket) Name() string { return fmt.Sprintf("socket:[%d]", s.Ino) }

// Stat describes a socket of sockfs.
func (s *Socket) Stat() (abi.Stat, abi.Errno) {
	st, errno := s.Base.Stat()
	st.Dev = sockDev
	return st, errno
}

// sockDev is st_dev of sockets, which sockfs has on Linux.
const sockDev = 8

// Readiness is as in poll(2) of the socket.
func (s *Socket) Readiness() fd.Events {
	var ev fd.Events
	if s.err != abi.OK {
		ev |= fd.Err
	}
	if s.state == listening && len(s.pending) > 0 {
		ev |= fd.In
	}
	if s.state == listening && s.tcp() {
		return ev
	}
	if s.rdShut {
		ev |= fd.In | rdHup
	}
	if s.rdShut && s.wrShut || s.connects() && (s.state == idle || s.state == closed) {
		ev |= fd.Hup
	}
	if s.state == connecting || s.state == listening {
		return ev
	}
	if s.readable() {
		ev |= fd.In
	}
	if s.writable() {
		ev |= fd.Out
		if !s.tcp() {
			ev |= wrBand
		}
	}
	return ev
}

// readable reports whether there is a message, or as many bytes as SO_RCVLOWAT asks.
func (s *Socket) readable() bool {
	if !s.stream() {
		return len(s.in.records) > 0
	}
	return s.in.n > 0 && (s.unix() || s.in.n >= int(s.opts.rcvLowat))
}

// writable is the condition of poll(2), which is stricter than what a write needs.
func (s *Socket) writable() bool {
	switch {
	case s.tcp():
		return s.wrShut || s.sendable()
	case s.unix():
		if !s.sendable() {
			return false
		}
		p := s.peer
		return s.typ != unix.SOCK_DGRAM || p == nil || p.peer == s || !p.crowded()
	}
	return true
}

// sendable reports whether so little of what s sent is unread that it is to be told.
func (s *Socket) sendable() bool {
	switch {
	case s.tcp():
		p := s.peer
		return p == nil || 3*p.in.n <= 2*s.window()
	case s.unix():
		return 4*s.sent <= int(s.opts.sndBuf)
	}
	return true
}

// window is how many bytes TCP takes before the other side has read any: the
// sender's buffer and the receiver's.
func (s *Socket) window() int { return int(s.opts.sndBuf) + int(s.peer.opts.rcvBuf) }

// dgramQueue is net.unix.max_dgram_qlen.
const dgramQueue = 10

// crowded reports whether a unix datagram socket takes no messages of strangers.
func (s *Socket) crowded() bool { return len(s.in.records) > dgramQueue }

// Available is what FIONREAD gives: the bytes to read, or those of the first datagram.
func (s *Socket) Available() int {
	switch {
	case s.udp() || s.unix() && s.typ == unix.SOCK_DGRAM:
		if len(s.in.records) > 0 {
			return s.in.records[0].n
		}
		return 0
	}
	return s.in.n
}

// Unsent is what SIOCOUTQ gives: the bytes on their way. TCP delivers at once.
func (s *Socket) Unsent() int { return s.sent }

// Listens reports whether the socket accepts connections.
func (s *Socket) Listens() bool { return s.state == listening }

// LocalAddr is the address of getsockname(2).
func (s *Socket) LocalAddr() Addr {
	switch {
	case s.inet():
		return s.addr(s.local)
	case s.unix():
		return Addr{Family: unix.AF_UNIX, Path: s.name}
	}
	return Addr{Family: unix.AF_NETLINK, PortID: s.portID, Groups: s.groups}
}

// addr gives an endpoint the form of the socket's family.
func (s *Socket) addr(e endpoint) Addr {
	a := Addr{Family: uint16(s.domain), IP: e.ip, Port: e.port}
	if s.domain == unix.AF_INET6 && e == s.remote {
		a.Flow, a.Scope = s.flow, s.scope
	}
	return a
}

// PeerAddr is the address of getpeername(2), or ENOTCONN.
func (s *Socket) PeerAddr() (Addr, abi.Errno) {
	switch {
	case s.unix():
		if s.peer == nil {
			return Addr{}, abi.ENOTCONN
		}
		return Addr{Family: unix.AF_UNIX, Path: s.peer.name}, abi.OK
	case s.tcp() && s.state != connected, s.udp() && s.remote.port == 0:
		return Addr{}, abi.ENOTCONN
	case s.inet():
		return s.addr(s.remote), abi.OK
	}
	return Addr{Family: unix.AF_NETLINK}, abi.OK
}

// Bind gives the socket an address, as bind(2); a name in the file system is
// BindPath's. Errors: EINVAL when it has one, EAFNOSUPPORT, EADDRNOTAVAIL for an
// address that is not the VM's, EADDRINUSE.
func (s *Socket) Bind(a Addr) abi.Errno {
	switch {
	case s.inet():
		return s.bindInet(a)
	case s.unix():
		return s.bindAbstract(a)
	}
	return s.bindNetlink(a)
}

// Listen makes the socket accept connections, as listen(2), or changes the length of
// its queue. Errors: EOPNOTSUPP for datagrams, EINVAL when it is connected or, for
// AF_UNIX, has no name, EADDRINUSE.
func (s *Socket) Listen(backlog int, cred Cred) abi.Errno {
	switch {
	case !s.connects():
		return abi.EOPNOTSUPP
	case s.unix() && s.name == "":
		return abi.EINVAL
	case s.state != idle && s.state != listening, s.attempt, s.spent:
		return abi.EINVAL
	}
	n := int(min(uint32(backlog), MaxBacklog))
	if s.state == listening {
		s.backlog = n
		return abi.OK
	}
	if s.tcp() {
		if errno := s.listenInet(); errno != abi.OK {
			return errno
		}
	}
	s.state, s.backlog, s.creds, s.peerCreds = listening, n, cred, cred
	s.wake(0)
	if s.tcp() {
		s.stack.listened(s.local.port)
	}
	return abi.OK
}

// full reports whether a listener takes no more connections. As on Linux there is
// room for one more than was asked for.
func (s *Socket) full() bool { return len(s.pending) > s.backlog }

// AcceptEnded reports whether a call that waits for a connection is to fail with
// EINVAL: a unix listener was shut down.
func (s *Socket) AcceptEnded() bool { return s.unix() && s.rdShut }

// Accept returns the oldest connection that waits, as accept(2). Errors: EOPNOTSUPP
// for datagrams, EINVAL when it does not listen, EAGAIN when none waits.
func (s *Socket) Accept(flags int) (*Socket, abi.Errno) {
	switch {
	case !s.connects():
		return nil, abi.EOPNOTSUPP
	case s.state != listening:
		return nil, abi.EINVAL
	case len(s.pending) == 0:
		return nil, abi.EAGAIN
	}
	c := s.pending[0]
	s.pending[0] = nil
	if s.pending = s.pending[1:]; len(s.pending) == 0 {
		s.pending = nil
	}
	c.Flags = unix.O_RDWR | flags&unix.O_NONBLOCK
	for len(s.knocking) > 0 && !s.full() {
		k := s.knocking[0]
		if s.knocking = s.knocking[1:]; len(s.knocking) == 0 {
			s.knocking = nil
		}
		if errno := s.enter(k); errno != abi.OK {
			k.refused(errno)
		}
	}
	s.wake(fd.Out) // unix: those who wait to connect
	return c, abi.OK
}

// Connect does as connect(2). wait: the call is to be made again when the queue was
// woken, or ends with EAGAIN when its time is over; of a TCP socket it is a call
// that is in progress.
// Errors: EISCONN, EAFNOSUPPORT, ECONNREFUSED, ENETUNREACH for an address that is
// not the VM's, EPROTOTYPE, EALREADY and EINPROGRESS for a non-blocking TCP socket,
// and those of Bind.
func (s *Socket) Connect(a Addr, nonblock bool, cred Cred) (wait *waitq.Queue, errno abi.Errno) {
	switch {
	case s.tcp():
		return s.connectTCP(a, nonblock)
	case s.udp():
		return nil, s.connectUDP(a)
	case s.unix() && s.connects():
		return s.connectUnix(a, nonblock, cred)
	case s.unix():
		return nil, s.connectDatagram(a)
	}
	return nil, s.connectNetlink(a)
}

// Shutdown ends one or both directions, as shutdown(2); how is SHUT_RD, SHUT_WR or
// SHUT_RDWR. Errors: EINVAL, ENOTCONN, EOPNOTSUPP.
func (s *Socket) Shutdown(how int) abi.Errno {
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return abi.EINVAL
	}
	rd, wr := how != unix.SHUT_WR, how != unix.SHUT_RD
	switch {
	case s.tcp():
		return s.shutdownTCP(rd, wr)
	case s.unix():
		s.rdShut, s.wrShut = s.rdShut || rd, s.wrShut || wr
		if p := s.peer; p != nil && s.connects() {
			p.rdShut, p.wrShut = p.rdShut || wr, p.wrShut || rd
			p.wake(0)
		}
	case s.udp():
		s.rdShut, s.wrShut = s.rdShut || rd, s.wrShut || wr
		defer s.wake(0)
		if s.remote.port == 0 {
			return abi.ENOTCONN
		}
		return abi.OK
	default:
		return abi.EOPNOTSUPP
	}
	s.wake(0)
	return abi.OK
}

// Release closes the socket, as close(2) of its last descriptor.
func (s *Socket) Release() {
	if s.released {
		return
	}
	s.released = true
	was := s.state
	switch {
	case s.tcp():
		s.closeTCP()
	case s.unix():
		s.closeUnix()
	case !s.inet():
		delete(s.stack.portIDs, s.portID)
	}
	s.stack.vacate(s)
	rights := s.in.free()
	s.state = closed
	s.stack.uncharge(socketMemory)
	s.wake(0)
	if was == listening {
		s.dismiss()
	}
	s.stack.lost(rights)
	if s.unix() && len(s.stack.inflight) > 0 {
		s.stack.Collect()
	}
}

// dismiss closes the connections that nobody will accept.
func (s *Socket) dismiss() {
	pending, knocking := s.pending, s.knocking
	s.pending, s.knocking = nil, nil
	for _, c := range pending {
		if p := c.peer; p != nil && s.unix() {
			p.err = abi.ECONNRESET
		} else if p != nil {
			p.reset(abi.ECONNRESET)
		}
		c.Release()
	}
	for _, k := range knocking {
		k.refused(abi.ECONNREFUSED)
	}
}

// clone returns the copy of the socket and of all that it knows.
func (s *Socket) clone(c *fd.CloneContext) *Socket {
	if s == nil {
		return nil
	}
	if n, ok := c.Lookup(s).(*Socket); ok {
		return n
	}
	n := &Socket{
		Base: s.Base, domain: s.domain, typ: s.typ, proto: s.proto, state: s.state, err: s.err, rdShut: s.rdShut, wrShut: s.wrShut,
		finished: s.finished, ended: s.ended, backlog: s.backlog, sent: s.sent, opts: s.opts.clone(), local: s.local, remote: s.remote, flow: s.flow, scope: s.scope,
		bound: s.bound, chosen: s.chosen, home: s.home, at: s.at, attempt: s.attempt, spent: s.spent, name: s.name, key: s.key, creds: s.creds, peerCreds: s.peerCreds,
		portID: s.portID, groups: s.groups, released: s.released,
	}
	c.Record(s, n)
	n.stack = s.stack.Clone(c)
	n.peer = s.peer.clone(c)
	n.pending, n.knocking, n.clients = cloneList(c, s.pending), cloneList(c, s.knocking), cloneList(c, s.clients)
	n.in = s.in.clone(c)
	return n
}

// clone returns the copy of a queue. A ring that is empty is not copied.
func (q *queue) clone(c *fd.CloneContext) queue {
	n := queue{stack: q.stack.Clone(c), n: q.n, charged: q.charged, cost: q.cost}
	if q.n > 0 {
		n.buf = make([]byte, len(q.buf))
		q.peek(0, q.n).CopyTo(n.buf)
	}
	if len(q.records) > 0 {
		n.records = make([]record, len(q.records))
	}
	for i := range q.records {
		r := q.records[i]
		r.sender = r.sender.clone(c)
		r.rights = nil
		for _, d := range q.records[i].rights {
			if m := c.Description(d); m != nil {
				r.rights = append(r.rights, m.Ref())
			}
		}
		n.records[i] = r
	}
	return n
}

// CloneFile implements fd.Cloner.
func (s *Socket) CloneFile(c *fd.CloneContext) fd.File { return s.clone(c) }
