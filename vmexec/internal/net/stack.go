// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package net is the network of one VM: sockets of AF_UNIX, and of AF_INET and
// AF_INET6 on a loopback interface. Nothing in it reaches the host's network: a
// connection is two sockets of the same VM that know each other, and what one sends
// is in the other's buffer at once. Where programs may reach something outside, the one
// who talks with them is asked for it.
//
// As the rest of a VM's kernel it is single-threaded. A socket is an open file of
// package fd and never blocks: EAGAIN says that the caller is to wait on its queue.
// What a VM can hold is bounded by its memory limit, which buffers, messages and
// sockets are charged to.
package net

import (
	"slices"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// Ephemeral ports, as in net.ipv4.ip_local_port_range.
const (
	firstEphemeral = 32768
	lastEphemeral  = 60999
)

// MaxBacklog is net.core.somaxconn.
const MaxBacklog = 4096

// Cred is struct ucred.
type Cred struct {
	PID      int32
	UID, GID uint32
}

// abstractName is a name of unix(7) that is in no file system, with its leading NUL.
// Each type of socket has names of its own.
type abstractName struct {
	typ  int
	name string
}

// Stack is what the sockets of a VM share: names and ports, what is on its way
// between processes, and what it all takes of the VM's memory.
type Stack struct {
	sys   *fd.System
	bytes int // charged, in whole pages
	pages int

	tcp, udp map[uint16][]*Socket // by local port, in the order they were bound
	nextPort uint16

	abstract map[abstractName]*Socket
	named    map[Key]*Socket
	nextKey  Key
	autobind uint32

	portIDs    map[uint32]*Socket // netlink
	nextPortID uint32

	inflight map[*fd.Description]int // descriptors in messages
	flying   int                     // sum of these

	outside outside
	outward outward
}

// NewStack returns a network without sockets. sys is the VM's: its memory is
// charged.
func NewStack(sys *fd.System) *Stack {
	return &Stack{sys: sys, nextPort: firstEphemeral, nextPortID: 1 << 31}
}

// charge counts bytes against the VM's memory.
func (st *Stack) charge(n int) bool {
	need := (st.bytes+n+pageSize-1)/pageSize - st.pages
	if need > 0 {
		if m := st.sys.Memory; m != nil && !m.Charge(uint64(need)) {
			return false
		}
		st.pages += need
	}
	st.bytes += n
	return true
}

func (st *Stack) uncharge(n int) {
	st.bytes -= n
	if free := st.pages - (st.bytes+pageSize-1)/pageSize; free > 0 {
		st.pages -= free
		if m := st.sys.Memory; m != nil {
			m.Release(uint64(free))
		}
	}
}

// Clone returns the copy of the network for the VM of c: with the sockets that
// tables which were cloned have open, and those that these know. It only reads st.
func (st *Stack) Clone(c *fd.CloneContext) *Stack {
	if n, ok := c.Lookup(st).(*Stack); ok {
		return n
	}
	n := &Stack{
		sys: c.System, bytes: st.bytes, pages: st.pages, nextPort: st.nextPort, nextKey: st.nextKey, autobind: st.autobind,
		nextPortID: st.nextPortID, flying: st.flying,
	}
	c.Record(st, n)
	ports := func(m map[uint16][]*Socket) map[uint16][]*Socket {
		if len(m) == 0 {
			return nil
		}
		out := make(map[uint16][]*Socket, len(m))
		for p, list := range m {
			out[p] = cloneList(c, list)
		}
		return out
	}
	n.tcp, n.udp = ports(st.tcp), ports(st.udp)
	n.abstract, n.named, n.portIDs = cloneMap(c, st.abstract), cloneMap(c, st.named), cloneMap(c, st.portIDs)
	n.outside, n.outward = st.outside.clone(n, c), st.outward.clone(n, c)
	for d, refs := range st.inflight {
		if m := c.Description(d); m != nil {
			if n.inflight == nil {
				n.inflight = map[*fd.Description]int{}
			}
			n.inflight[m] = refs
		}
	}
	return n
}

func cloneMap[K comparable](c *fd.CloneContext, m map[K]*Socket) map[K]*Socket {
	if len(m) == 0 {
		return nil
	}
	out := make(map[K]*Socket, len(m))
	for k, s := range m {
		out[k] = s.clone(c)
	}
	return out
}

func cloneList(c *fd.CloneContext, list []*Socket) []*Socket {
	if len(list) == 0 {
		return nil
	}
	out := make([]*Socket, len(list))
	for i, s := range list {
		out[i] = s.clone(c)
	}
	return out
}

// ports returns the table of a protocol.
func (st *Stack) ports(typ int) *map[uint16][]*Socket {
	if typ == unix.SOCK_STREAM {
		return &st.tcp
	}
	return &st.udp
}

// overlaps reports whether two addresses can be meant by one packet. A wildcard of
// AF_INET6 means IPv4 too unless its socket is IPv6 only.
func overlaps(a, b *Socket) bool {
	x, y := a.local.ip, b.local.ip
	wide := func(s *Socket) bool { return s.local.ip == anyIP6 && !s.flag(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) }
	switch {
	case x == y, wide(a), wide(b):
		return true
	case x.is4() != y.is4():
		return false
	}
	return x.wild() || y.wild()
}

// conflict reports whether s cannot have its local address beside the sockets that
// have the port already.
func (st *Stack) conflict(s *Socket, list []*Socket) bool {
	for _, o := range list {
		if o == s || !overlaps(s, o) {
			continue
		}
		both := func(name int) bool { return s.flag(unix.SOL_SOCKET, name) && o.flag(unix.SOL_SOCKET, name) }
		if both(unix.SO_REUSEADDR) && o.state != listening || both(unix.SO_REUSEPORT) {
			continue
		}
		return true
	}
	return false
}

// claim gives s the port of its local address, or a free one for port 0.
// EADDRINUSE when it is taken, or none is free.
func (st *Stack) claim(s *Socket) abi.Errno {
	table := st.ports(s.typ)
	if s.local.port == 0 {
		for range lastEphemeral - firstEphemeral + 1 {
			p := st.nextPort
			if st.nextPort++; st.nextPort > lastEphemeral {
				st.nextPort = firstEphemeral
			}
			if len((*table)[p]) == 0 {
				s.local.port = p
				st.occupy(s)
				return abi.OK
			}
		}
		return abi.EADDRINUSE
	}
	if st.conflict(s, (*table)[s.local.port]) {
		return abi.EADDRINUSE
	}
	st.occupy(s)
	return abi.OK
}

// occupy puts s, which is in order, among those that have its port.
func (st *Stack) occupy(s *Socket) {
	table := st.ports(s.typ)
	if *table == nil {
		*table = map[uint16][]*Socket{}
	}
	list := (*table)[s.local.port]
	s.at, s.bound = len(list), true
	(*table)[s.local.port] = append(list, s)
}

// vacate takes s off its port.
func (st *Stack) vacate(s *Socket) {
	if !s.bound {
		return
	}
	table := *st.ports(s.typ)
	list := table[s.local.port]
	last := len(list) - 1
	list[s.at] = list[last]
	list[s.at].at = s.at
	list[last] = nil
	if last == 0 {
		delete(table, s.local.port)
	} else {
		table[s.local.port] = list[:last]
	}
	s.bound, s.at, s.local.port = false, 0, 0
}

// find returns the socket that a packet from src to dst is for: the one whose
// address fits best, and of several by SO_REUSEPORT one by the source's port. Nil
// when there is none.
func (st *Stack) find(typ int, src, dst endpoint) *Socket {
	best, score := []*Socket(nil), 0
	for _, s := range (*st.ports(typ))[dst.port] {
		n := s.fit(src, dst)
		switch {
		case n == 0 || n < score:
		case n > score:
			best, score = append(best[:0], s), n
		default:
			best = append(best, s)
		}
	}
	switch {
	case len(best) == 0:
		return nil
	case best[0].flag(unix.SOL_SOCKET, unix.SO_REUSEPORT):
		return best[int(src.port)%len(best)]
	}
	return best[len(best)-1]
}

// fit says how well a packet fits a bound socket; 0 is not at all.
func (s *Socket) fit(src, dst endpoint) int {
	n := 1
	switch {
	case s.typ == unix.SOCK_STREAM && s.state != listening:
		return 0
	case s.local.ip == dst.ip:
		n += 2
	case s.local.ip == anyIP6 && (!dst.ip.is4() || !s.flag(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)):
	case s.local.ip == anyIP4 && dst.ip.is4():
		n++
	default:
		return 0
	}
	if s.typ == unix.SOCK_DGRAM && s.remote.port != 0 {
		if s.remote != src {
			return 0
		}
		n += 4
	}
	return n
}

// Listening reports whether a program of the VM waits for connections to a TCP
// port, at an address that the host connects to.
func (st *Stack) Listening(port uint16) bool { return st.dialTarget(port).port != 0 }

// dialTarget is where a connection from outside to a port goes: 127.0.0.1, or ::1
// when there only.
func (st *Stack) dialTarget(port uint16) endpoint {
	for _, ip := range []IP{loopIP4, loopIP6} {
		to := endpoint{ip, port}
		if port != 0 && st.find(unix.SOCK_STREAM, endpoint{ip: ip}, to) != nil {
			return to
		}
	}
	return endpoint{}
}

// send counts descriptors that go into a message, each with a new reference.
// ETOOMANYREFS beyond limit, those in flight already included.
func (st *Stack) send(rights []*fd.Description, limit int) abi.Errno {
	if len(rights) == 0 {
		return abi.OK
	}
	if st.flying+len(rights) > limit {
		if st.Collect(); st.flying+len(rights) > limit {
			return abi.ETOOMANYREFS
		}
	}
	if st.inflight == nil {
		st.inflight = map[*fd.Description]int{}
	}
	for _, d := range rights {
		st.inflight[d.Ref()]++
	}
	st.flying += len(rights)
	return abi.OK
}

// landed counts descriptors that have left a message. Their references are the
// caller's now.
func (st *Stack) landed(rights []*fd.Description) {
	for _, d := range rights {
		if st.inflight[d]--; st.inflight[d] == 0 {
			delete(st.inflight, d)
		}
	}
	st.flying -= len(rights)
}

// lost drops descriptors that were in messages which nobody will receive.
func (st *Stack) lost(rights []*fd.Description) {
	st.landed(rights)
	for _, d := range rights {
		d.Unref()
	}
}

// Collect frees the sockets that nothing but messages to one another holds: a
// socket can be sent over itself. Its time depends on the descriptors in flight.
//
// A socket in flight is alive when a table has it too, or when a message holds it
// that waits at a socket which is alive. The others' messages are dropped.
func (st *Stack) Collect() {
	dead := map[*fd.Description]*Socket{}
	for d, n := range st.inflight {
		if s, ok := d.File.(*Socket); ok && s.domain == unix.AF_UNIX && d.Refs() == n {
			dead[d] = s
		}
	}
	if len(dead) == 0 {
		return
	}
	// What the candidates hold of one another.
	inner := map[*fd.Description]int{}
	for _, s := range dead {
		s.eachRight(func(d *fd.Description) { inner[d]++ })
	}
	var alive []*Socket
	revive := func(d *fd.Description) {
		if s := dead[d]; s != nil {
			delete(dead, d)
			alive = append(alive, s)
		}
	}
	for d := range dead {
		if st.inflight[d] > inner[d] {
			revive(d)
		}
	}
	for len(alive) > 0 {
		s := alive[len(alive)-1]
		alive = alive[:len(alive)-1]
		s.eachRight(revive)
	}
	var rights []*fd.Description
	for _, s := range dead {
		rights = append(rights, s.takeRights()...)
	}
	st.lost(rights)
}

// eachRight calls f for every descriptor in the messages that s would receive, or
// that a connection would which it has not accepted yet.
func (s *Socket) eachRight(f func(*fd.Description)) {
	for i := range s.in.records {
		for _, d := range s.in.records[i].rights {
			f(d)
		}
	}
	for _, p := range s.pending {
		p.eachRight(f)
	}
}

// takeRights takes these descriptors out of the messages.
func (s *Socket) takeRights() []*fd.Description {
	var out []*fd.Description
	for i := range s.in.records {
		r := &s.in.records[i]
		out, r.rights = append(out, r.rights...), nil
	}
	for _, p := range s.pending {
		out = append(out, p.takeRights()...)
	}
	return out
}

// Usage is what the sockets of a VM hold; tests look at it.
type Usage struct {
	Bytes, Pages, TCPPorts, UDPPorts, Names, InFlight int
}

// Usage returns what is held now.
func (st *Stack) Usage() Usage {
	return Usage{Bytes: st.bytes, Pages: st.pages, TCPPorts: len(st.tcp), UDPPorts: len(st.udp), Names: len(st.abstract) + len(st.named), InFlight: st.flying}
}

// without returns list without s.
func without(list []*Socket, s *Socket) []*Socket {
	if i := slices.Index(list, s); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}
