// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/waitq"
	"kontain.dev/eventing/vmexec/talk"
)

// maxOutward bounds the connections of a VM to the network outside. The host has a
// bound of its own, which is lower.
const maxOutward = 256

// outward is the way of programs to the network outside: connections that they ask the
// host for, and a name server. Nothing of it is in a clone but the sockets, whose
// connections are broken off there: the other side talks with the program that was
// frozen.
type outward struct {
	on       bool // programs may ask
	loopback bool // also for what nobody listens on in the loopback interface
	conns    map[talk.ID]*outwardConn
	lastID   talk.ID `snapshot:"-"`

	queries   map[talk.ID]query `snapshot:"-"`
	lastQuery talk.ID           `snapshot:"-"`
}

// outwardConn is the host's end of a connection to the network outside.
type outwardConn struct {
	stack *Stack
	id    talk.ID
	// s is the host's end. Until the connection is there it is a listener that no
	// program knows of, and the program's socket waits in its queue.
	s     *Socket
	up    bool
	names bool // it leads to the name server

	out     []byte `snapshot:"-"` // what the program has not taken yet
	in      []byte `snapshot:"-"` // of a question to the name server that is not whole yet
	asked   int    `snapshot:"-"` // questions to the name server that have no answer yet
	end     bool   `snapshot:"-"` // nothing more comes from the host
	endTold bool   `snapshot:"-"`
	inEnd   bool   `snapshot:"-"` // nothing more comes from the program
	broken  bool   `snapshot:"-"` // the program takes nothing any more
	gone    bool   `snapshot:"-"` // for the host it is closed
	credit  int    `snapshot:"-"` // bytes that may be sent to the host
	taken   int    `snapshot:"-"` // bytes of the host that it has not been told are taken

	entry  waitq.Entry `snapshot:"-"`
	posted bool        `snapshot:"-"`
}

// SetOutward lets programs ask the host for connections to the network outside. With
// loopback they also ask for those to the loopback interface that no program of the VM
// listens for.
func (st *Stack) SetOutward(loopback bool) { st.outward.on, st.outward.loopback = true, loopback }

// Outward reports whether programs may ask for the network outside.
func (st *Stack) Outward() bool { return st.outward.on }

// OutwardBusy reports whether a program waits for something outside.
func (st *Stack) OutwardBusy() bool {
	if len(st.outward.queries) > 0 {
		return true
	}
	for _, c := range st.outward.conns {
		if !c.up {
			return true
		}
	}
	return false
}

// Sever breaks off all connections to the network outside. It belongs to the run loop of
// a clone, before its program goes on.
func (st *Stack) Sever() {
	for _, id := range slices.Sorted(maps.Keys(st.outward.conns)) {
		st.outward.conns[id].sever(abi.ECONNRESET)
	}
}

// leadsOut reports whether the host is asked for a connection to an address that is not
// the VM's.
func (s *Socket) leadsOut(ip IP) bool {
	switch {
	case !s.stack.outward.on || s.stack.outside.hear == nil || ip.wild() || ip.local():
		return false
	case s.domain == unix.AF_INET6 && ip.is4() && s.flag(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY):
		return false
	}
	return !s.bound || s.local.ip.wild() || s.local.ip.is4() == ip.is4()
}

// leadsToLoopback is leadsOut for an address of the VM that nobody listens on.
func (st *Stack) leadsToLoopback(to endpoint) bool {
	return st.outward.loopback && st.outside.hear != nil && !st.namesAt(to)
}

// reach asks the host for a connection.
func (s *Socket) reach(to endpoint) {
	c := s.stack.newOutward(s)
	if c == nil {
		return
	}
	l := c.s
	l.state, l.backlog = listening, -1
	s.state, s.peer = connecting, l
	l.knocking = []*Socket{s}
	s.stack.outside.hear(talk.Message{Op: talk.Connect, Conn: c.id, Port: to.port, Data: to.ip[:]})
	c.pump()
}

// newOutward makes the host's end of what s connects to, or refuses s.
func (st *Stack) newOutward(s *Socket) *outwardConn {
	o := &st.outward
	if len(o.conns) >= maxOutward {
		s.refused(abi.EADDRNOTAVAIL)
		return nil
	}
	e, errno := st.make(s.domain, s.typ, s.proto, 0, Cred{})
	if errno != abi.OK {
		s.refused(errno)
		return nil
	}
	if o.lastID < talk.FirstOutward {
		o.lastID = talk.FirstOutward
	}
	o.lastID++
	if o.conns == nil {
		o.conns = map[talk.ID]*outwardConn{}
	}
	c := &outwardConn{stack: st, id: o.lastID, s: e, credit: talk.OutwardWindow}
	o.conns[c.id] = c
	return c
}

// join connects the host's end e with the program's socket s. It is on no port: no
// program could have it otherwise.
func (c *outwardConn) join(e, s *Socket) {
	e.opts = s.opts.clone()
	e.local, e.remote = s.remote, s.local
	e.state, s.state, e.peer, s.peer = connected, connected, s, e
	e.opts.established()
	s.opts.established()
	if s.wrShut { // see enter
		s.finish()
	}
	c.s, c.up = e, true
	s.wake(0)
}

// tellOutward is Tell for the network outside.
func (st *Stack) tellOutward(m talk.Message) {
	if m.Op == talk.Resolved {
		st.resolved(m)
		return
	}
	c := st.outward.conns[m.Conn]
	if c == nil || c.names { // a program has closed it meanwhile
		return
	}
	switch m.Op { //nolint:exhaustive // the host says no others
	case talk.Opened:
		c.opened()
	case talk.Data:
		if c.end || c.broken {
			c.took(len(m.Data))
		} else {
			c.out = append(c.out, m.Data...)
		}
	case talk.End:
		c.end = true
	case talk.Taken:
		c.credit += int(m.N)
	case talk.Close:
		if m.N != 0 || !c.up {
			errno := abi.Errno(m.N)
			if errno == abi.OK {
				errno = abi.ECONNREFUSED
			}
			c.sever(errno)
			return
		}
		c.end, c.gone = true, true
	}
	c.pump()
}

// opened ends the wait for the connection.
func (c *outwardConn) opened() {
	l := c.s
	if c.up || len(l.knocking) == 0 {
		return
	}
	s := l.knocking[0]
	e, errno := c.stack.make(s.domain, s.typ, s.proto, 0, Cred{})
	if errno != abi.OK {
		c.sever(errno)
		c.stack.outside.hear(talk.Message{Op: talk.Close, Conn: c.id})
		return
	}
	l.knocking = nil
	c.entry.Remove()
	l.Release()
	c.join(e, s)
}

// sever ends the connection for the program, with an error.
func (c *outwardConn) sever(errno abi.Errno) {
	if c.up {
		if p := c.s.peer; p != nil {
			p.reset(errno)
		}
	} else {
		knocking := c.s.knocking
		c.s.knocking = nil
		for _, s := range knocking {
			s.refused(errno)
		}
	}
	c.release()
}

// release closes the host's end.
func (c *outwardConn) release() {
	c.entry.Remove()
	c.s.Release()
	delete(c.stack.outward.conns, c.id)
}

// Wake has the loop look after the connection once the call that is being served is
// done.
func (c *outwardConn) Wake() {
	if post := c.stack.outside.post; post != nil && !c.posted {
		c.posted = true
		post(func() {
			c.posted = false
			if c.stack.outward.conns[c.id] == c {
				c.pump()
			}
		})
	}
}

// pump moves what can be moved, and waits for more.
func (c *outwardConn) pump() {
	o := &c.stack.outside
	if o.hear == nil {
		return
	}
	switch {
	case !c.up && len(c.s.knocking) > 0:
	case !c.up: // the program has given up
		c.drop()
		return
	default:
		c.send()
		if !c.receive() || c.broken && c.inEnd {
			c.drop()
			return
		}
		if c.gone && len(c.out) == 0 {
			c.release()
			return
		}
	}
	c.entry.Remove()
	c.s.q.Insert(&c.entry, c)
}

// drop ends a connection that the program has broken off.
func (c *outwardConn) drop() {
	c.release()
	if !c.gone && !c.names {
		c.stack.outside.hear(talk.Message{Op: talk.Close, Conn: c.id})
	}
}

// took counts bytes of the host that are taken, and tells it when they are many.
func (c *outwardConn) took(n int) {
	if c.taken += n; c.taken >= talk.OutwardWindow/2 && !c.gone && !c.names {
		c.stack.outside.hear(talk.Message{Op: talk.Taken, Conn: c.id, N: uint32(c.taken)})
		c.taken = 0
	}
}

// send gives the program what it takes.
func (c *outwardConn) send() {
	for len(c.out) > 0 {
		n, _, errno := c.s.Send(fd.Buffers{c.out}, &Message{})
		c.out = c.out[n:]
		c.took(n)
		if errno == abi.EAGAIN {
			return
		}
		if errno != abi.OK {
			// It reads no more; what it has written can still be had.
			c.broken = true
			c.took(len(c.out))
			c.out = nil
		}
	}
	c.out = nil
	if c.end && !c.endTold {
		c.endTold = true
		c.s.Shutdown(unix.SHUT_WR)
	}
}

// receive gives the host what the program has written. False: the program has broken
// the connection off.
func (c *outwardConn) receive() bool {
	o := &c.stack.outside
	for !c.inEnd && c.credit > 0 {
		if o.buf == nil {
			o.buf = make([]byte, piece)
		}
		r, errno := c.s.Recv(fd.Buffers{o.buf[:min(piece, c.credit)]}, false, 0)
		switch {
		case errno == abi.EAGAIN:
			return true
		case errno != abi.OK:
			return false
		case c.names:
			if !c.question(o.buf[:r.N]) {
				return false
			}
		case r.N == 0:
			c.inEnd = true
			o.hear(talk.Message{Op: talk.End, Conn: c.id})
		default:
			c.credit -= r.N
			o.hear(talk.Message{Op: talk.Data, Conn: c.id, Data: o.buf[:r.N]})
		}
	}
	return true
}

// detach ends what is under way when nobody listens any more: what programs have
// written until now is still on its way.
func (o *outward) detach() {
	for _, id := range slices.Sorted(maps.Keys(o.conns)) {
		o.conns[id].pump()
	}
	for _, c := range o.conns {
		c.entry.Remove()
		c.posted = false
	}
	o.queries = nil
}

// clone returns the copy of what leads outward, for a network that is a copy.
func (o *outward) clone(n *Stack, c *fd.CloneContext) outward {
	out := outward{on: o.on, loopback: o.loopback}
	if len(o.conns) > 0 {
		out.conns = make(map[talk.ID]*outwardConn, len(o.conns))
	}
	for id, e := range o.conns {
		out.conns[id] = &outwardConn{stack: n, id: id, s: e.s.clone(c), up: e.up, names: e.names}
	}
	return out
}
