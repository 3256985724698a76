// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Send sends what there is room for, or one message. When it returns EAGAIN wait is
// the queue that tells of room. What was sent before counts also when there is an
// error: n and errno may both be set.
// Errors: those of sendmsg(2). Of EPIPE the caller makes SIGPIPE; see Signals.
func (s *Socket) Send(src fd.Buffers, m *Message) (n int, wait *waitq.Queue, errno abi.Errno) {
	switch {
	case s.tcp():
		n, errno = s.sendTCP(src)
	case s.udp():
		n, errno = s.sendUDP(src, m)
	case s.unix() && s.stream():
		return s.sendStream(src, m)
	case s.unix():
		return s.sendMessage(src, m)
	default:
		n, errno = s.sendNetlink(src, m.To)
	}
	return n, &s.q, errno
}

func (s *Socket) sendTCP(src fd.Buffers) (int, abi.Errno) {
	switch {
	case s.state == connecting:
		return 0, abi.EAGAIN
	case s.err != abi.OK:
		return 0, s.takeErr()
	case s.wrShut || s.state != connected && s.state != closed || s.peer == nil:
		return 0, abi.EPIPE
	}
	p, n := s.peer, src.Len()
	if n == 0 {
		return 0, abi.OK
	}
	if p.released { // the data goes out, as far as it is sent at once, and the answer is that nobody is there
		n = min(n, max(s.window(), 1))
		s.reset(abi.EPIPE)
		return n, abi.OK
	}
	if p.rdShut && p.ended { // it neither reads nor writes: the same answer
		p.reset(abi.ECONNRESET)
		s.reset(abi.ECONNRESET)
		return n, abi.OK
	}
	n = min(n, s.window()-p.in.n)
	if n <= 0 {
		return 0, abi.EAGAIN
	}
	if !p.in.grow(p.in.n + n) {
		return 0, abi.ENOBUFS
	}
	p.in.put(src.Take(n))
	p.wake(fd.In)
	return n, abi.OK
}

// Received is what Recv gives beside the bytes.
type Received struct {
	N     int  // bytes that were copied
	Full  int  // bytes of the message, of which the rest is lost; N for a stream
	Named bool // From is set
	From  Addr
	// Of datagrams of AF_INET and AF_INET6: where it was sent to, and the hop limit and
	// the class of its header.
	To          IP
	Hops, Class uint8
	HasCred     bool
	Cred        Cred
	// Rights are the descriptors that came along, each with a reference that is the
	// caller's.
	Rights []*fd.Description
}

// Waiting returns how many bytes a Recv gives at the most, from the off-th on of a
// stream.
func (s *Socket) Waiting(off int) int {
	if s.stream() {
		return max(0, s.in.n-off)
	}
	if len(s.in.records) > 0 {
		return s.in.records[0].n
	}
	return 0
}

// Recv takes bytes or one message out of the buffer. With peek they stay there, and
// a stream is read from the off-th byte on. EAGAIN when there is nothing yet; no
// bytes and no error at the end. Errors: those of recvmsg(2).
func (s *Socket) Recv(dst fd.Buffers, peek bool, off int) (Received, abi.Errno) {
	if s.stream() {
		if s.in.n > off && dst.Len() > 0 {
			if s.tcp() {
				return s.recvTCP(dst, peek, off), abi.OK
			}
			return s.recvStream(dst, peek, off), abi.OK
		}
		return Received{}, s.nothing(dst.Len() == 0 && s.in.n > off)
	}
	if s.typ == unix.SOCK_SEQPACKET && s.state != connected {
		return Received{}, abi.ENOTCONN
	}
	if len(s.in.records) > 0 && s.err == abi.OK {
		return s.recvMessage(dst, peek), abi.OK
	}
	return Received{}, s.nothing(false)
}

// nothing says why there is nothing to receive.
func (s *Socket) nothing(empty bool) abi.Errno {
	switch {
	case s.state == listening && s.tcp():
		return abi.ENOTCONN
	case s.unix() && s.stream() && s.state != connected:
		return abi.EINVAL
	case empty, s.finished:
		return abi.OK
	case s.err != abi.OK:
		return s.takeErr()
	case s.rdShut && s.connects():
		return abi.OK
	case s.tcp() && (s.state == idle || s.state == closed):
		return abi.ENOTCONN
	}
	return abi.EAGAIN
}

// took makes room known to the other end.
func (s *Socket) took(n int) {
	p := s.peer
	full := s.tcp() && p != nil && !p.sendable()
	s.in.discard(n)
	if full && p.sendable() {
		p.wake(fd.Out)
	}
}

func (s *Socket) recvTCP(dst fd.Buffers, peek bool, off int) Received {
	n := min(dst.Len(), s.in.n-off)
	s.in.copyTo(dst, off, n)
	if !peek {
		s.took(n)
	}
	return Received{N: n, Full: n}
}

// Drop discards up to n bytes of a TCP stream, as recv(2) with MSG_TRUNC does.
func (s *Socket) Drop(n int) (int, abi.Errno) {
	if s.in.n == 0 || n == 0 {
		return 0, s.nothing(n == 0)
	}
	n = min(n, s.in.n)
	s.took(n)
	return n, abi.OK
}

// recvStream reads a unix stream across the pieces that it was sent in, up to one
// that descriptors came with, or of another sender when that is to be told.
func (s *Socket) recvStream(dst fd.Buffers, peek bool, off int) Received {
	var out Received
	want := dst.Len()
	pass := s.flag(unix.SOL_SOCKET, unix.SO_PASSCRED)
	skip, at := off, 0
	for i := 0; i < len(s.in.records) && out.N < want; {
		r := &s.in.records[i]
		if skip >= r.n {
			skip -= r.n
			at += r.n
			i++
			continue
		}
		if pass && out.HasCred && out.Cred != r.cred {
			break
		}
		out.Cred, out.HasCred = r.cred, true
		if s.peer != nil {
			out.From = r.from
		}
		n := min(want-out.N, r.n-skip)
		s.in.copyTo(dst.Skip(out.N), at+skip, n)
		out.N += n
		rights := r.rights
		if peek {
			out.Rights = append(out.Rights, s.lend(rights)...)
			at += r.n
			skip = 0
			i++
		} else {
			r.rights = nil
			s.stack.landed(rights)
			out.Rights = append(out.Rights, rights...)
			s.in.discard(n)
			s.in.took(n, n == r.n)
		}
		if len(rights) > 0 {
			break
		}
	}
	out.Full = out.N
	out.Named, out.From.Family = out.From.Path != "", unix.AF_UNIX
	return out
}

// lend takes references to descriptors that stay in their message.
func (s *Socket) lend(rights []*fd.Description) []*fd.Description {
	out := make([]*fd.Description, len(rights))
	for i, d := range rights {
		out[i] = d.Ref()
	}
	return out
}

// recvMessage takes the oldest message; what dst has no room for is lost.
func (s *Socket) recvMessage(dst fd.Buffers, peek bool) Received {
	r := s.in.records[0]
	n := min(dst.Len(), r.n)
	out := Received{N: n, Full: r.n, From: r.from, To: r.to, Hops: r.header.hops, Class: r.header.class, Cred: r.cred, HasCred: s.unix()}
	switch {
	case s.unix():
		out.From.Family, out.Named = unix.AF_UNIX, r.from.Path != "" && s.typ == unix.SOCK_DGRAM
	case s.inet():
		out.From.Family, out.Named = uint16(s.domain), true
	default:
		out.From.Family, out.Named = unix.AF_NETLINK, true
	}
	s.in.copyTo(dst, 0, n)
	if peek {
		out.Rights = s.lend(r.rights)
		return out
	}
	out.Rights = r.rights
	s.stack.landed(r.rights)
	was := s.crowded()
	s.in.records[0].rights = nil
	s.in.discard(r.n)
	s.in.took(0, true)
	if was && !s.crowded() {
		s.wake(fd.Out) // those who wait to send to it
		for _, c := range s.clients {
			c.wake(fd.Out)
		}
	}
	return out
}

// Read is Recv for read(2). ESPIPE for an offset.
func (s *Socket) Read(dst fd.Buffers, off int64) (int, abi.Errno) {
	if off != fd.CurrentOffset {
		return 0, abi.ESPIPE
	}
	r, errno := s.Recv(dst, false, 0)
	for _, d := range r.Rights {
		d.Unref()
	}
	return r.N, errno
}

// Write is Send for those who do not wait, such as sendfile(2). ESPIPE for an offset.
func (s *Socket) Write(src fd.Buffers, off int64) (int, abi.Errno) {
	if off != fd.CurrentOffset {
		return 0, abi.ESPIPE
	}
	n, _, errno := s.Send(src, &Message{Cred: s.creds})
	if n > 0 && (errno == abi.EAGAIN || errno == abi.EPIPE) {
		errno = abi.OK
	}
	return n, errno
}
