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

const (
	// window is how many bytes of a connection may be on their way to the host
	// before it takes some.
	window = talk.Window
	// piece is how many go in one message at most.
	piece = 64 << 10
	// maxOutside bounds the connections between a VM and the host.
	maxOutside = 1024
)

// outside is what of a network belongs to the host: one end of connections with
// programs, and ports that it serves. All of it counts against the VM's memory but
// the bytes that the host has sent and no program has taken, at most talk.Ahead of a
// connection.
type outside struct {
	conns  map[talk.ID]*outsideConn
	ports  map[uint16]*outsidePort
	lastID talk.ID // of a connection that a program opened

	hear func(talk.Message) `snapshot:"-"` // nil while nobody listens
	post fd.Post            `snapshot:"-"`
	buf  []byte             `snapshot:"-"`
}

// outsideConn is the host's end of a connection.
type outsideConn struct {
	stack    *Stack
	id       talk.ID
	port     uint16
	accepted bool           // a program opened it
	s        *Socket        // nil: no program listens yet, or it is a pipe
	w        *fd.PipeWriter // the program's descriptor is the other end
	r        *fd.PipeReader // or of this
	out      []byte         // what the program has not taken yet
	end      bool           // nothing more comes from the host
	endTold  bool
	inEnd    bool // nothing more comes from the program
	credit   int  // bytes that may be sent to the host
	taken    int  // bytes of the host that it has not been told are taken

	entry  waitq.Entry `snapshot:"-"`
	posted bool        `snapshot:"-"`
}

// outsidePort is a port that the host serves.
type outsidePort struct {
	stack *Stack
	port  uint16
	s     *Socket

	entry  waitq.Entry `snapshot:"-"`
	posted bool        `snapshot:"-"`
}

// AddWriter makes the end of a pipe, which a program reads, a connection of that
// number.
func (st *Stack) AddWriter(id talk.ID, w *fd.PipeWriter) {
	st.addPipe(&outsideConn{stack: st, id: id, w: w})
}

// AddReader is AddWriter for a pipe that a program writes.
func (st *Stack) AddReader(id talk.ID, r *fd.PipeReader) {
	st.addPipe(&outsideConn{stack: st, id: id, r: r})
}

func (st *Stack) addPipe(c *outsideConn) {
	o := &st.outside
	if o.conns == nil {
		o.conns = map[talk.ID]*outsideConn{}
	}
	c.credit = window
	o.conns[c.id] = c
}

// Attach makes hear the one that is told what programs do on connections with the
// host, in the order it happens, beginning with what has happened already: of each
// connection that a program had opened, that it did. hear is called by the run
// loop. post hands functions to that.
func (st *Stack) Attach(hear func(talk.Message), post fd.Post) {
	o := &st.outside
	o.hear, o.post = hear, post
	for _, id := range slices.Sorted(maps.Keys(o.conns)) {
		c := o.conns[id]
		c.credit, c.taken = window, -len(c.out) // those are of another host
		if c.accepted {
			hear(talk.Message{Op: talk.Accept, Conn: c.id, Port: c.port})
		}
		c.pump()
	}
	for _, p := range o.ports {
		p.pump()
	}
}

// Detach ends what Attach began.
func (st *Stack) Detach() {
	o := &st.outside
	st.outward.detach()
	for _, c := range o.conns {
		c.entry.Remove()
		c.posted = false
	}
	for _, p := range o.ports {
		p.entry.Remove()
		p.posted = false
	}
	o.hear, o.post, o.buf = nil, nil, nil
}

// Tell takes a message of the host, which must have passed its Check. It belongs to
// the run loop.
func (st *Stack) Tell(m talk.Message) {
	o := &st.outside
	switch {
	case o.hear == nil:
		return
	case m.Conn.Outward():
		st.tellOutward(m)
		return
	case m.Op == talk.Dial, m.Op == talk.Await, m.Op == talk.Prepare:
		if o.conns[m.Conn] != nil || m.Conn%2 == 0 || len(o.conns) >= maxOutside {
			o.hear(talk.Message{Op: talk.Close, Conn: m.Conn})
			return
		}
		c := &outsideConn{stack: st, id: m.Conn, port: m.Port, credit: window}
		if m.Op == talk.Prepare {
			c.credit = 0
		}
		if o.conns == nil {
			o.conns = map[talk.ID]*outsideConn{}
		}
		o.conns[m.Conn] = c
		if c.dial(); c.s == nil && m.Op == talk.Dial {
			c.drop()
			return
		}
		c.pump()
		return
	case m.Op == talk.Listen:
		st.serve(m.Port)
		return
	}
	c := o.conns[m.Conn]
	if c == nil { // a program has closed it meanwhile
		return
	}
	switch {
	case m.Op == talk.Data && c.end:
		c.took(len(m.Data))
	case m.Op == talk.Data:
		c.out = append(c.out, m.Data...)
	case m.Op == talk.End:
		c.end = true
	case m.Op == talk.Taken:
		c.credit += int(m.N)
	case m.Op == talk.Close:
		c.end = true
		c.release()
		return
	}
	c.pump()
}

// dial connects to the program that listens on c.port, when one does.
func (c *outsideConn) dial() {
	st := c.stack
	to := st.dialTarget(c.port)
	if to.port == 0 {
		return
	}
	domain := unix.AF_INET6
	if to.ip.is4() {
		domain = unix.AF_INET
	}
	s, errno := st.New(domain, unix.SOCK_STREAM, 0, unix.O_NONBLOCK, Cred{})
	if errno != abi.OK {
		return
	}
	if errno = s.dial(Addr{IP: to.ip, Port: c.port}); errno != abi.OK || s.state != connected && s.state != connecting {
		s.Release()
		return
	}
	c.s = s
	if s.state == connected {
		c.up()
	}
}

// up says that the connection is there.
func (c *outsideConn) up() {
	c.s.attempt = false
	c.stack.outside.hear(talk.Message{Op: talk.Opened, Conn: c.id, Port: c.port})
}

// listened is called when a program begins to listen on a port.
func (st *Stack) listened(port uint16) {
	for _, c := range st.outside.conns {
		if c.s == nil && c.port == port {
			c.Wake()
		}
	}
}

// serve makes the host listen on a port of the loopback interface. It is told about
// no failure: a program that has the port already keeps it.
func (st *Stack) serve(port uint16) {
	o := &st.outside
	if o.ports[port] != nil {
		return
	}
	s, errno := st.New(unix.AF_INET, unix.SOCK_STREAM, 0, unix.O_NONBLOCK, Cred{})
	if errno != abi.OK {
		return
	}
	if s.Bind(Addr{Family: unix.AF_INET, IP: loopIP4, Port: port}) != abi.OK || s.Listen(maxOutside, Cred{}) != abi.OK {
		s.Release()
		return
	}
	if o.ports == nil {
		o.ports = map[uint16]*outsidePort{}
	}
	p := &outsidePort{stack: st, port: port, s: s}
	o.ports[port] = p
	p.pump()
}

// Wake has the loop look after the connection once the call that is being served is
// done.
func (c *outsideConn) Wake() {
	if post := c.stack.outside.post; post != nil && !c.posted {
		c.posted = true
		post(func() {
			c.posted = false
			if c.stack.outside.conns[c.id] == c {
				c.pump()
			}
		})
	}
}

// Wake has the loop accept what came.
func (p *outsidePort) Wake() {
	if post := p.stack.outside.post; post != nil && !p.posted {
		p.posted = true
		post(func() {
			p.posted = false
			p.pump()
		})
	}
}

func (p *outsidePort) pump() {
	o := &p.stack.outside
	if o.hear == nil {
		return
	}
	for {
		s, errno := p.s.Accept(unix.O_NONBLOCK)
		if errno != abi.OK {
			break
		}
		if len(o.conns) >= maxOutside {
			s.Release()
			continue
		}
		o.lastID += 2
		c := &outsideConn{stack: p.stack, id: o.lastID, port: p.port, accepted: true, s: s, credit: window}
		if o.conns == nil {
			o.conns = map[talk.ID]*outsideConn{}
		}
		o.conns[c.id] = c
		o.hear(talk.Message{Op: talk.Accept, Conn: c.id, Port: c.port})
		c.pump()
	}
	p.entry.Remove()
	p.s.q.Insert(&p.entry, p)
}

// pump moves what can be moved, and waits for more.
func (c *outsideConn) pump() {
	o := &c.stack.outside
	if o.hear == nil {
		return
	}
	if c.s == nil && !c.isPipe() {
		if c.dial(); c.s == nil {
			return // until a program listens
		}
	}
	if c.s != nil && c.s.attempt && c.s.state == connected {
		c.up()
	}
	if (c.s == nil || c.s.state != connecting) && !(c.send() && c.receive()) {
		c.drop()
		return
	}
	c.entry.Remove()
	if q := c.queue(); q != nil {
		q.Insert(&c.entry, c)
	}
}

func (c *outsideConn) isPipe() bool { return c.w != nil || c.r != nil }

// queue is woken when more can be moved.
func (c *outsideConn) queue() *waitq.Queue {
	switch {
	case c.s != nil:
		return &c.s.q
	case c.w != nil && !c.endTold:
		return c.w.Queue()
	case c.r != nil && !c.inEnd:
		return c.r.Queue()
	}
	return nil
}

// write gives bytes to the program.
func (c *outsideConn) write(b []byte) (int, abi.Errno) {
	switch {
	case c.w != nil:
		return c.w.Write(fd.Buffers{b}, fd.CurrentOffset)
	case c.r != nil:
		return 0, abi.EPIPE
	}
	n, _, errno := c.s.Send(fd.Buffers{b}, &Message{})
	return n, errno
}

// read takes bytes of the program; 0 at their end.
func (c *outsideConn) read(b []byte) (int, abi.Errno) {
	switch {
	case c.r != nil:
		return c.r.Read(fd.Buffers{b}, fd.CurrentOffset)
	case c.w != nil:
		return 0, abi.EAGAIN
	}
	r, errno := c.s.Recv(fd.Buffers{b}, false, 0)
	return r.N, errno
}

// closeWrite tells the program that no more comes.
func (c *outsideConn) closeWrite() {
	switch {
	case c.w != nil:
		c.w.Release()
	case c.s != nil:
		c.s.Shutdown(unix.SHUT_WR)
	}
}

// release closes the host's end.
func (c *outsideConn) release() {
	c.entry.Remove()
	switch {
	case c.s != nil:
		c.s.Release()
	case c.w != nil && !c.endTold:
		c.w.Release()
	case c.r != nil:
		c.r.Release()
	}
	delete(c.stack.outside.conns, c.id)
}

// took counts bytes of the host that are taken, and tells it when they are many.
func (c *outsideConn) took(n int) {
	if c.taken += n; c.taken >= talk.Ahead/2 {
		c.stack.outside.hear(talk.Message{Op: talk.Taken, Conn: c.id, N: uint32(c.taken)})
		c.taken = 0
	}
}

// send gives the program what it takes. False: the connection is broken.
func (c *outsideConn) send() bool {
	for len(c.out) > 0 {
		n, errno := c.write(c.out)
		c.out = c.out[n:]
		c.took(n)
		switch errno {
		case abi.OK:
		case abi.EAGAIN:
			return true
		default:
			// It reads no more; what it has written can still be had.
			c.took(len(c.out))
			c.out, c.end = nil, true
		}
	}
	c.out = nil
	if c.end && !c.endTold {
		c.endTold = true
		c.closeWrite()
	}
	return true
}

// receive gives the host what the program has written. False: the connection is
// broken.
func (c *outsideConn) receive() bool {
	o := &c.stack.outside
	for !c.inEnd && c.credit > 0 {
		if o.buf == nil {
			o.buf = make([]byte, piece)
		}
		n, errno := c.read(o.buf[:min(piece, c.credit)])
		switch {
		case errno == abi.EAGAIN:
			return true
		case errno != abi.OK:
			return false
		case n == 0:
			c.inEnd = true
			o.hear(talk.Message{Op: talk.End, Conn: c.id})
		default:
			c.credit -= n
			o.hear(talk.Message{Op: talk.Data, Conn: c.id, Data: o.buf[:n]})
		}
	}
	return true
}

// LastWords gives the host what programs that have ended had written to pipes of its, also
// beyond what it has room for: at most talk.LastWords bytes of each. It is not told that
// no more comes: the machine has ended, which says more.
func (st *Stack) LastWords() {
	o := &st.outside
	for _, id := range slices.Sorted(maps.Keys(o.conns)) {
		c := o.conns[id]
		if c.r == nil || c.inEnd {
			continue
		}
		b := make([]byte, piece)
		for n, errno := c.read(b); n > 0 && errno == abi.OK; n, errno = c.read(b) {
			o.hear(talk.Message{Op: talk.Data, Conn: id, Data: b[:n]})
		}
	}
}

// drop ends a connection that is broken.
func (c *outsideConn) drop() {
	c.release()
	c.stack.outside.hear(talk.Message{Op: talk.Close, Conn: c.id})
}

// clone returns the copy of what is outside, for a network that is a copy.
func (o *outside) clone(n *Stack, c *fd.CloneContext) outside {
	out := outside{lastID: o.lastID}
	if len(o.conns) > 0 {
		out.conns = make(map[talk.ID]*outsideConn, len(o.conns))
	}
	for id, e := range o.conns {
		x := &outsideConn{
			stack: n, id: e.id, port: e.port, accepted: e.accepted, s: e.s.clone(c), out: slices.Clone(e.out), end: e.end, endTold: e.endTold, inEnd: e.inEnd,
		}
		if e.w != nil {
			x.w, _ = e.w.CloneFile(c).(*fd.PipeWriter)
		}
		if e.r != nil {
			x.r, _ = e.r.CloneFile(c).(*fd.PipeReader)
		}
		out.conns[id] = x
	}
	if len(o.ports) > 0 {
		out.ports = make(map[uint16]*outsidePort, len(o.ports))
	}
	for port, p := range o.ports {
		out.ports[port] = &outsidePort{stack: n, port: port, s: p.s.clone(c)}
	}
	return out
}
