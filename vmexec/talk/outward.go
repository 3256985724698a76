// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Outward is the network outside of a VM, for the programs in it. Whoever implements it
// decides what they reach: nothing but what a program asked for comes with a question,
// and the monitor of a VM that asks may have been taken over by its program.
//
// Its methods are called one after the other and must return at once; they may answer
// from within, or later from any goroutine.
type Outward interface {
	// Connect is asked for a connection. The answer is Conn.Opened or Conn.Refuse.
	Connect(c *Conn, to netip.AddrPort)
	// Resolve is asked for the addresses of a name. The answer is Query.Answer.
	Resolve(q *Query)
}

// Query is a program's question for the addresses of a name.
type Query struct {
	// Name is what was asked for, at most MaxName bytes of anything.
	Name string

	side *Side
	id   ID
}

// Response codes of an answer: RFC 1035 (4.1.1).
const (
	Success       = 0
	ServerFailure = 2
	NameError     = 3 // there is no such name
)

// Answer answers the question; of addresses those beyond MaxAddresses are left out.
// ttl is how long the answer holds.
func (q *Query) Answer(code uint16, addresses []netip.Addr, ttl time.Duration) {
	m := Message{Op: Resolved, Conn: q.id, Port: code, N: uint32(max(0, min(ttl, time.Hour)) / time.Second)}
	for _, a := range addresses[:min(len(addresses), MaxAddresses)] {
		b := a.As16()
		m.Data = append(m.Data, b[:]...)
	}
	s := q.side
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tell(m) == nil { // otherwise the run has ended, and nobody wants to know
		_ = s.transport.Flush()
	}
}

// SetOutward says who makes the connections that programs ask for; without one, or with
// nil, they reach nothing outside. It is called before the run.
func (s *Side) SetOutward(o Outward) {
	if o == nil {
		o = nowhere{}
	}
	s.outward = o
}

// nowhere is no network outside.
type nowhere struct{}

// Connect implements Outward.
func (nowhere) Connect(c *Conn, _ netip.AddrPort) { _ = c.Refuse(unix.ENETUNREACH) }

// Resolve implements Outward.
func (nowhere) Resolve(q *Query) { q.Answer(NameError, nil, 0) }

// hearOutward is Hear for what begins something outside. Other messages are not done
// with it.
func (s *Side) hearOutward(m Message) (done bool, err error) {
	switch m.Op {
	default:
		return true, fmt.Errorf("a message of kind %d from a virtual machine", m.Op)
	case Data, End, Taken, Close: // of a connection that is there, or was
		return false, nil
	case Resolve:
		s.outward.Resolve(&Query{Name: string(m.Data), side: s, id: m.Conn})
		return true, nil
	case Connect:
		s.mu.Lock()
		if s.conns[m.Conn] != nil || len(s.conns) >= maxConns {
			s.mu.Unlock()
			return true, fmt.Errorf("a connection %d to the network outside", m.Conn)
		}
		c := s.add(m.Conn, m.Port)
		s.mu.Unlock()
		s.outward.Connect(c, netip.AddrPortFrom(netip.AddrFrom16([AddressSize]byte(m.Data)).Unmap(), m.Port))
		return true, nil
	}
}

// Opened tells the program that the connection which it asked for is there.
func (c *Conn) Opened() error {
	c.side.mu.Lock()
	defer c.side.mu.Unlock()
	return c.tell(Message{Op: Opened, Conn: c.id})
}

// Refuse ends a connection to the network outside with an error: connect(2) fails with
// it or, when that has succeeded, what comes after.
func (c *Conn) Refuse(errno unix.Errno) error {
	c.side.mu.Lock()
	defer c.side.mu.Unlock()
	if c.closed {
		return nil
	}
	return c.side.dropOutward(c, errno)
}

// dropOutward ends a connection to the network outside, whose number is forgotten. s.mu
// is held.
func (s *Side) dropOutward(c *Conn, errno unix.Errno) error {
	c.closed, c.in = true, nil
	delete(s.conns, c.id)
	s.changed.Broadcast()
	if s.over || c.gone {
		return nil
	}
	return c.tell(Message{Op: Close, Conn: c.id, N: uint32(errno)})
}
