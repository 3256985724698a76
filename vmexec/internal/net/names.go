// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"encoding/binary"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/talk"
)

// The name server of programs that may reach the network outside. It speaks what their
// libraries do (RFC 1035), and asks the host for addresses; of other records there are
// none.
var nameServer = endpoint{mapped(127, 0, 0, 53), 53}

// ResolvConf is /etc/resolv.conf of such programs: resolv.conf(5).
const ResolvConf = "nameserver 127.0.0.53\n"

const (
	// maxQueries bounds the questions of a VM that have no answer yet.
	maxQueries = 64
	// maxQuestion is the longest message with a question: that of EDNS (RFC 6891).
	maxQuestion = 4096
	// maxAnswers is how many addresses fit into a message without EDNS.
	maxAnswers = 8
)

// query is a question that the host was asked.
type query struct {
	socket *Socket      // that it came from in a datagram
	stream *outwardConn // or on a connection
	id     uint16
	asked  dnsmessage.Question
}

// namesAt reports whether the name server is there.
func (st *Stack) namesAt(to endpoint) bool {
	return to == nameServer && st.outward.on && st.outside.hear != nil
}

// askDatagram takes a question in a datagram from s. Like any that is lost it has no
// answer when there are too many.
func (st *Stack) askDatagram(s *Socket, src fd.Buffers) {
	if src.Len() > maxQuestion || len(st.outward.queries) >= maxQueries {
		return
	}
	b := make([]byte, src.Len())
	src.CopyTo(b)
	st.ask(b, query{socket: s})
}

// reachNames connects the socket with the name server.
func (s *Socket) reachNames() {
	c := s.stack.newOutward(s)
	if c == nil {
		return
	}
	c.names = true
	c.join(c.s, s)
	c.pump()
}

// question takes bytes of questions on a connection, each behind its length in two
// bytes. None are the end. False: the connection is broken off.
func (c *outwardConn) question(b []byte) bool {
	if len(b) == 0 {
		c.inEnd = true
		c.end = c.asked == 0
		c.gone = c.end
		c.send()
		return true
	}
	c.in = append(c.in, b...)
	for len(c.in) >= 2 {
		n := int(binary.BigEndian.Uint16(c.in))
		if n > maxQuestion || c.asked >= maxQueries || len(c.out) > talk.OutwardWindow {
			return false
		}
		if len(c.in) < 2+n {
			break
		}
		c.asked++
		c.stack.ask(c.in[2:2+n:2+n], query{stream: c})
		c.in = c.in[2+n:]
	}
	if len(c.in) == 0 {
		c.in = nil
	}
	return true
}

// ask answers a question, or asks the host. What is no question has no answer.
func (st *Stack) ask(b []byte, q query) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.Response {
		return
	}
	q.id = h.ID
	if h.OpCode != 0 {
		st.answer(q, dnsmessage.RCodeNotImplemented, 0, nil)
		return
	}
	if q.asked, err = p.Question(); err != nil {
		st.answer(q, dnsmessage.RCodeFormatError, 0, nil)
		return
	}
	name := strings.ToLower(strings.TrimSuffix(q.asked.Name.String(), "."))
	t := q.asked.Type
	switch {
	case t != dnsmessage.TypeA && t != dnsmessage.TypeAAAA || q.asked.Class != dnsmessage.ClassINET:
		st.answer(q, dnsmessage.RCodeSuccess, 0, nil)
		return
	case name == "" || len(name) > talk.MaxName:
		st.answer(q, dnsmessage.RCodeNameError, 0, nil)
		return
	case len(st.outward.queries) >= maxQueries:
		st.answer(q, dnsmessage.RCodeServerFailure, 0, nil)
		return
	}
	o := &st.outward
	if o.queries == nil {
		o.queries, o.lastQuery = map[talk.ID]query{}, talk.FirstOutward
	}
	if o.lastQuery++; !o.lastQuery.Outward() {
		o.lastQuery = talk.FirstOutward
	}
	o.queries[o.lastQuery] = q
	st.outside.hear(talk.Message{Op: talk.Resolve, Conn: o.lastQuery, Data: []byte(name)})
}

// resolved passes the host's answer on.
func (st *Stack) resolved(m talk.Message) {
	q, ok := st.outward.queries[m.Conn]
	if !ok {
		return
	}
	delete(st.outward.queries, m.Conn)
	var all []IP
	for b := m.Data; len(b) >= len(IP{}); b = b[len(IP{}):] {
		if ip := IP(b[:len(IP{})]); ip.is4() == (q.asked.Type == dnsmessage.TypeA) && len(all) < maxAnswers {
			all = append(all, ip)
		}
	}
	st.answer(q, dnsmessage.RCode(m.Port), time.Duration(m.N)*time.Second, all)
}

// answer sends the answer to where the question came from.
func (st *Stack) answer(q query, code dnsmessage.RCode, ttl time.Duration, addresses []IP) {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.id, Response: true, RecursionDesired: true, RecursionAvailable: true, RCode: code}}
	if q.asked.Name.Length > 0 {
		m.Questions = []dnsmessage.Question{q.asked}
	}
	for _, ip := range addresses {
		r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.asked.Name, Class: dnsmessage.ClassINET, TTL: uint32(ttl / time.Second)}}
		if ip.is4() {
			r.Body = &dnsmessage.AResource{A: [4]byte(ip[12:])}
		} else {
			r.Body = &dnsmessage.AAAAResource{AAAA: ip}
		}
		m.Answers = append(m.Answers, r)
	}
	b, err := m.Pack()
	if err != nil { // a name that was read but cannot be written is none
		return
	}
	c := q.stream
	switch {
	case c == nil:
		st.deliver(q.socket, b)
		return
	case st.outward.conns[c.id] != c:
		return
	}
	c.asked--
	c.out = append(binary.BigEndian.AppendUint16(c.out, uint16(len(b))), b...)
	if c.inEnd && c.asked == 0 {
		c.end, c.gone = true, true
	}
	c.Wake()
}

// deliver gives a socket a datagram of the name server.
func (st *Stack) deliver(s *Socket, b []byte) {
	switch {
	case s.released || !s.bound || s.rdShut, s.remote.port != 0 && s.remote != nameServer:
		return
	case s.in.cost+len(b) > int(s.opts.rcvBuf) || !s.in.grow(s.in.n+len(b)):
		return
	}
	to := s.local.ip
	if to.wild() {
		to = loopIP4
	}
	const hops = 64
	if s.in.add(record{n: len(b), from: Addr{Family: unix.AF_INET, IP: nameServer.ip, Port: nameServer.port}, to: to, header: header{hops: hops}}) {
		s.in.put(fd.Buffers{b})
		s.wake(fd.In)
	}
}
