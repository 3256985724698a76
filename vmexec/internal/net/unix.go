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

// bindAbstract gives the socket an abstract name, or one of the kernel's choice
// when the address has none.
func (s *Socket) bindAbstract(a Addr) abi.Errno {
	switch {
	case a.Family != unix.AF_UNIX:
		return abi.EINVAL
	case a.Path == "":
		return s.autobind()
	case a.Path[0] != 0: // BindPath's
		return abi.EINVAL
	case s.name != "":
		return abi.EINVAL
	case s.stack.abstract[abstractName{s.typ, a.Path}] != nil:
		return abi.EADDRINUSE
	}
	s.takeName(a.Path)
	return abi.OK
}

// autobind gives the socket an abstract name of five hexadecimal digits, unless it
// has a name. ENOSPC when all are taken.
func (s *Socket) autobind() abi.Errno {
	if s.name != "" {
		return abi.OK
	}
	for range 1 << 20 {
		s.stack.autobind = (s.stack.autobind + 1) & (1<<20 - 1)
		name := fmt.Sprintf("\x00%05x", s.stack.autobind)
		if s.stack.abstract[abstractName{s.typ, name}] == nil {
			s.takeName(name)
			return abi.OK
		}
	}
	return abi.ENOSPC
}

func (s *Socket) takeName(name string) {
	if s.stack.abstract == nil {
		s.stack.abstract = map[abstractName]*Socket{}
	}
	s.stack.abstract[abstractName{s.typ, name}], s.name = s, name
}

// BindPath gives the socket a name in the file system. place makes the file, which
// is to hold the key. EINVAL when the socket has a name; place's errors, with EEXIST
// as EADDRINUSE.
func (s *Socket) BindPath(path string, place func(Key) abi.Errno) abi.Errno {
	if s.name != "" {
		return abi.EINVAL
	}
	key := s.stack.nextKey + 1
	if errno := place(key); errno != abi.OK {
		if errno == abi.EEXIST {
			errno = abi.EADDRINUSE
		}
		return errno
	}
	if s.stack.named == nil {
		s.stack.named = map[Key]*Socket{}
	}
	s.stack.nextKey, s.key, s.name = key, key, path
	s.stack.named[key] = s
	return abi.OK
}

// lookup returns the socket that a unix address leads to. ECONNREFUSED when it is
// nobody's, EPROTOTYPE when it is one of another type.
func (s *Socket) lookup(a Addr) (*Socket, abi.Errno) {
	var o *Socket
	switch {
	case a.Family != unix.AF_UNIX || a.Path == "":
		return nil, abi.EINVAL
	case a.Path[0] == 0:
		o = s.stack.abstract[abstractName{s.typ, a.Path}]
	default:
		o = s.stack.named[a.Key]
	}
	switch {
	case o == nil:
		return nil, abi.ECONNREFUSED
	case o.typ != s.typ:
		return nil, abi.EPROTOTYPE
	}
	return o, abi.OK
}

// connectUnix is connect(2) of a stream or seqpacket socket: it is done as soon as
// the listener has room for it.
func (s *Socket) connectUnix(a Addr, nonblock bool, cred Cred) (*waitq.Queue, abi.Errno) {
	l, errno := s.lookup(a)
	if errno != abi.OK {
		return nil, errno
	}
	if s.flag(unix.SOL_SOCKET, unix.SO_PASSCRED) {
		if errno := s.autobind(); errno != abi.OK {
			return nil, errno
		}
	}
	switch {
	case l.state != listening || l.rdShut:
		return nil, abi.ECONNREFUSED
	case l.full() && nonblock:
		return nil, abi.EAGAIN
	case l.full():
		return &l.q, abi.EAGAIN
	case s.state == connected:
		return nil, abi.EISCONN
	case s.state != idle:
		return nil, abi.EINVAL
	}
	e, errno := s.stack.make(l.domain, l.typ, l.proto, 0, l.creds)
	if errno != abi.OK {
		return nil, errno
	}
	e.name, e.opts = l.name, l.opts.clone()
	e.state, s.state, e.peer, s.peer = connected, connected, s, e
	e.peerCreds, s.peerCreds = cred, l.creds
	l.pending = append(l.pending, e)
	l.wake(fd.In)
	s.wake(0)
	return nil, abi.OK
}

// connectDatagram chooses whom a unix datagram socket talks to; AF_UNSPEC nobody.
func (s *Socket) connectDatagram(a Addr) abi.Errno {
	if a.Family == unix.AF_UNSPEC {
		s.leave()
		return abi.OK
	}
	o, errno := s.lookup(a)
	if errno != abi.OK {
		return errno
	}
	if o.peer != nil && o.peer != s {
		return abi.EPERM
	}
	if s.flag(unix.SOL_SOCKET, unix.SO_PASSCRED) {
		if errno := s.autobind(); errno != abi.OK {
			return errno
		}
	}
	s.leave()
	s.peer, s.state = o, connected
	o.clients = append(o.clients, s)
	s.wake(fd.Out)
	return abi.OK
}

// leave ends what connectDatagram began.
func (s *Socket) leave() {
	if s.peer == nil {
		return
	}
	s.peer.clients = without(s.peer.clients, s)
	s.peer, s.state = nil, idle
	s.wake(fd.Out)
}

// closeUnix tells the other end, and gives the name up.
func (s *Socket) closeUnix() {
	switch {
	case s.name == "":
	case s.name[0] == 0 && s.stack.abstract[abstractName{s.typ, s.name}] == s:
		delete(s.stack.abstract, abstractName{s.typ, s.name})
	case s.key != 0:
		delete(s.stack.named, s.key)
	}
	if s.typ == unix.SOCK_DGRAM {
		s.leave()
		for _, c := range s.clients {
			c.wake(fd.Out)
		}
		s.clients = nil
		return
	}
	if p := s.peer; p != nil && !p.released {
		p.rdShut, p.wrShut = true, true
		if s.in.n > 0 {
			p.err = abi.ECONNRESET
		}
		p.wake(0)
	}
	s.peer = nil
}

// Message is what is sent beside the bytes.
type Message struct {
	To     *Addr             // where to; nil: where the socket is connected to
	Rights []*fd.Description // descriptors that go along; a reference is taken
	Cred   Cred              // of the sender
	Limit  int               // of descriptors in flight
	Header Header            // of a datagram of AF_INET or AF_INET6
}

// peerOf returns who gets a message of a unix datagram or seqpacket socket.
func (s *Socket) peerOf(to *Addr) (*Socket, abi.Errno) {
	if to != nil {
		if s.typ == unix.SOCK_DGRAM {
			return s.lookup(*to)
		}
		// A seqpacket socket ignores the address.
	}
	p := s.peer
	switch {
	case p == nil:
		return nil, abi.ENOTCONN
	case p.released && s.typ == unix.SOCK_DGRAM:
		s.peer, s.state = nil, idle
		return nil, abi.ECONNREFUSED
	}
	return p, abi.OK
}

// sendMessage sends one message of a unix datagram or seqpacket socket.
func (s *Socket) sendMessage(src fd.Buffers, m *Message) (int, *waitq.Queue, abi.Errno) {
	n := src.Len()
	if s.typ == unix.SOCK_SEQPACKET {
		if errno := s.takeErr(); errno != abi.OK {
			return 0, nil, errno
		}
		if s.state != connected {
			return 0, nil, abi.ENOTCONN
		}
	}
	if m.To == nil && s.peer == nil {
		return 0, nil, abi.ENOTCONN
	}
	if s.flag(unix.SOL_SOCKET, unix.SO_PASSCRED) {
		if errno := s.autobind(); errno != abi.OK {
			return 0, nil, errno
		}
	}
	if n > int(s.opts.sndBuf)-32 {
		return 0, nil, abi.EMSGSIZE
	}
	switch {
	case s.err != abi.OK:
		return 0, nil, s.takeErr()
	case s.wrShut:
		return 0, nil, abi.EPIPE
	case s.sent >= int(s.opts.sndBuf):
		return 0, &s.q, abi.EAGAIN
	}
	p, errno := s.peerOf(m.To)
	switch {
	case errno != abi.OK:
		return 0, nil, errno
	case p.peer != nil && p.peer != s:
		return 0, nil, abi.EPERM
	case p.rdShut:
		return 0, nil, abi.EPIPE
	case p.peer != s && p.crowded():
		return 0, &p.q, abi.EAGAIN
	}
	if errno := s.deliver(p, src, m, m.Rights); errno != abi.OK {
		return 0, nil, errno
	}
	return n, nil, abi.OK
}

// deliver puts a record into the buffer of p.
func (s *Socket) deliver(p *Socket, src fd.Buffers, m *Message, rights []*fd.Description) abi.Errno {
	n := src.Len()
	if !p.in.grow(p.in.n + n) {
		return abi.ENOBUFS
	}
	if errno := s.stack.send(rights, m.Limit); errno != abi.OK {
		return errno
	}
	r := record{n: n, from: Addr{Path: s.name}, cred: m.Cred, rights: append([]*fd.Description(nil), rights...), sender: s, cost: n + recordCost}
	if !p.in.add(r) {
		s.stack.lost(rights)
		return abi.ENOBUFS
	}
	p.in.put(src)
	p.wake(fd.In)
	return abi.OK
}

// maxPiece is the most bytes of a unix stream in one record, as on Linux about: a
// long write is read before it is whole.
const maxPiece = 32 << 10

// sendStream sends what there is room for on a unix stream. The descriptors go with
// the first byte.
func (s *Socket) sendStream(src fd.Buffers, m *Message) (int, *waitq.Queue, abi.Errno) {
	switch {
	case m.To != nil && s.state == connected:
		return 0, nil, abi.EISCONN
	case m.To != nil:
		return 0, nil, abi.EOPNOTSUPP
	case s.peer == nil:
		return 0, nil, abi.ENOTCONN
	case s.wrShut:
		return 0, nil, abi.EPIPE
	}
	total, done, rights := src.Len(), 0, m.Rights
	for done < total {
		p := s.peer
		if p.released || p.rdShut {
			return done, nil, abi.EPIPE
		}
		room := int(s.opts.sndBuf) - s.sent
		if room <= 0 {
			return done, &s.q, abi.EAGAIN
		}
		piece := src.Skip(done).Take(min(maxPiece, max(int(s.opts.sndBuf)/2-64, 1)))
		if errno := s.deliver(p, piece, m, rights); errno != abi.OK {
			return done, nil, errno
		}
		done += piece.Len()
		rights = nil
	}
	return done, nil, abi.OK
}
