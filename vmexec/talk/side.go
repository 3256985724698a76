// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxConns bounds the connections of a Side, and waiting those that a program has
// opened and nobody has accepted.
const (
	maxConns = 4096
	waiting  = 64
)

// firstDial begins the numbers of connections that are opened during an event,
// beyond those that a snapshot may hold.
const firstDial = 1<<20 + 1

// Transport takes the messages of a Side to its VM.
type Transport interface {
	// Tell sends a message; it may keep it until Flush, but not its Data.
	Tell(m Message) error
	// Flush sends what was kept. It is called before anyone waits for an answer.
	Flush() error
}

// Side is the host's side of a VM's network during one run. Its methods may be
// called from several goroutines.
type Side struct {
	transport Transport
	started   bool
	outward   Outward

	mu      sync.Mutex
	changed sync.Cond // anything below, or in a connection
	waiters int       // goroutines that wait for it
	conns   map[ID]*Conn
	accepts map[uint16][]*Conn
	nextID  ID
	over    bool
	stop    error // why it is over for the host; nil when the run has ended
}

// NewSide returns the side of a VM that t leads to. started: the program is started,
// and does not go on from a snapshot.
func NewSide(started bool, t Transport) *Side {
	s := &Side{transport: t, started: started, nextID: firstDial, outward: nowhere{}}
	if started {
		s.nextID = 1
	}
	s.changed.L = &s.mu
	return s
}

// Started says whether the program is started in this run. If not, it goes on from a
// snapshot: with the connections that were open then, and with the ports that were
// served.
func (s *Side) Started() bool { return s.started }

// Hear takes a message of the VM, whose Data it does not keep. The error says that
// the message has no place here: the VM's monitor is not to be trusted any more.
func (s *Side) Hear(m Message) error {
	if err := m.Check(); err != nil {
		return err
	}
	if m.Conn.Outward() {
		if done, err := s.hearOutward(m); done || err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conns[m.Conn]
	if m.Op == Accept {
		if c != nil || m.Conn%2 != 0 || len(s.conns) >= maxConns {
			return fmt.Errorf("a connection %d of the program to port %d", m.Conn, m.Port)
		}
		c = s.add(m.Conn, m.Port)
		c.isUp = true
		if len(s.accepts[m.Port]) >= waiting {
			return s.drop(c)
		}
		if s.accepts == nil {
			s.accepts = map[uint16][]*Conn{}
		}
		s.accepts[m.Port] = append(s.accepts[m.Port], c)
		s.changed.Broadcast()
		return nil
	}
	if c == nil && m.Conn.Outward() { // closed meanwhile
		return nil
	}
	if c == nil {
		// One of the snapshot, or of the start, that nobody has asked for yet.
		if s.started && !isStream(m.Conn) || m.Conn >= firstDial || len(s.conns) >= maxConns {
			return fmt.Errorf("a message of connection %d, which there is not", m.Conn)
		}
		c = s.add(m.Conn, m.Port)
		c.isUp = true
	}
	switch m.Op {
	case Opened:
		c.isUp = true
	case Data:
		if c.closed {
			break
		}
		most := c.window
		if isStream(m.Conn) {
			most += LastWords
		}
		if c.unread += len(m.Data); c.unread > most {
			return fmt.Errorf("connection %d has %d bytes that nobody has read, where %d are the most", m.Conn, c.unread, most)
		}
		c.in = append(c.in, m.Data...)
	case End:
		c.finish(io.EOF)
	case Taken:
		if uint64(m.N) > uint64(c.ahead-c.credit) {
			return fmt.Errorf("connection %d took %d bytes, of %d that were sent", m.Conn, m.N, c.ahead-c.credit)
		}
		c.credit += int(m.N)
	case Close:
		c.gone = true
		c.finish(fmt.Errorf("the program has broken the connection off: %w", unix.ECONNRESET))
	default:
		return fmt.Errorf("a message of kind %d from a virtual machine", m.Op)
	}
	s.changed.Broadcast()
	return nil
}

// add makes a connection. s.mu is held.
func (s *Side) add(id ID, port uint16) *Conn {
	if s.conns == nil {
		s.conns = map[ID]*Conn{}
	}
	c := &Conn{side: s, id: id, port: port, window: Window, ahead: Ahead}
	if id.Outward() {
		c.window, c.ahead = OutwardWindow, OutwardWindow
	}
	c.credit = c.ahead
	s.conns[id] = c
	return c
}

// drop closes a connection. s.mu is held.
func (s *Side) drop(c *Conn) error {
	c.closed, c.in = true, nil
	s.changed.Broadcast()
	if s.over {
		return nil
	}
	return s.tell(Message{Op: Close, Conn: c.id})
}

// Flush sends what is kept until someone waits for an answer.
func (s *Side) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport.Flush()
}

// Signal sends a signal to the first process of the VM, soon. After the run it does
// nothing.
func (s *Side) Signal(number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tell(Message{Op: Signal, N: uint32(number)}) == nil {
		_ = s.transport.Flush() // nobody may be there who waits for an answer
	}
}

// AwaitEnd waits until the run has ended, or nobody waits for it any more.
func (s *Side) AwaitEnd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.wait(func() bool { return false }) // which fails with the run
}

// tell sends a message; at once when another goroutine waits for the VM. s.mu is
// held.
func (s *Side) tell(m Message) error {
	if s.over {
		return s.ended()
	}
	if err := s.transport.Tell(m); err != nil {
		return err
	}
	if s.waiters > 0 {
		return s.transport.Flush()
	}
	return nil
}

// wait waits until done says true or the run has ended. s.mu is held.
func (s *Side) wait(done func() bool) error {
	for !done() {
		if s.over {
			return s.ended()
		}
		if err := s.transport.Flush(); err != nil {
			return err
		}
		s.waiters++
		s.changed.Wait()
		s.waiters--
	}
	return nil
}

func (s *Side) ended() error {
	if s.stop != nil {
		return s.stop
	}
	return ErrOver
}

// Over ends all connections: the run has ended, or reason is why nobody waits for it
// any more.
func (s *Side) Over(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over, s.stop = true, reason
	s.changed.Broadcast()
}

// Await waits until a program listens on a TCP port of the VM and connects to it.
// ErrOver when the run ends before, or the reason of Over.
func (s *Side) Await(port uint16) (*Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.open(Await, port)
	if err != nil {
		return nil, err
	}
	if err := s.wait(func() bool { return c.isUp || c.err != nil }); err != nil {
		return nil, err
	}
	if !c.isUp {
		return nil, c.err
	}
	return c, nil
}

// Dial connects to a TCP port of the VM. What is written reaches the program when it
// accepts; when none listens the first Read says so.
func (s *Side) Dial(port uint16) (*Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open(Dial, port)
}

func (s *Side) open(op Op, port uint16) (*Conn, error) {
	if len(s.conns) >= maxConns {
		return nil, errors.New("there are too many connections to the program")
	}
	id := s.nextID
	s.nextID += 2
	c := s.add(id, port)
	return c, s.tell(Message{Op: op, Conn: id, Port: port})
}

// prepared is the number of the connection that Prepare opens.
const prepared = firstDial - 2

// Prepare connects to a TCP port of the VM while the program is started. It is done
// once: the connection, on which the host has said nothing yet, is there in every clone,
// with what the program said on it.
func (s *Side) Prepare(port uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.add(prepared, port)
	if err := s.tell(Message{Op: Prepare, Conn: prepared, Port: port}); err != nil {
		return err
	}
	if err := s.wait(func() bool { return c.isUp || c.err != nil }); err != nil {
		return err
	}
	if !c.isUp {
		return c.err
	}
	return nil
}

// MaxStream is the highest descriptor that may be a stream.
const MaxStream = 15

// StreamID is the number of the connection that is a descriptor of the program.
func StreamID(fd int) ID { return prepared - 2*ID(MaxStream+1-fd) }

// isStream says whether a connection is there from the start of the program.
func isStream(id ID) bool { return id >= StreamID(0) && id <= StreamID(MaxStream) }

// Stream returns the host's end of a descriptor that the program was started with; see
// vmexec.ProgramSpec. Of 0 it can be written, of others it can be read.
func (s *Side) Stream(fd int) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known(StreamID(fd))
}

// known returns a connection that the program has, also when it was not heard of yet.
// s.mu is held.
func (s *Side) known(id ID) *Conn {
	c := s.conns[id]
	if c == nil {
		c = s.add(id, 0)
		c.isUp = true
	}
	return c
}

// Prepared returns the connection that was prepared. It is called once.
func (s *Side) Prepared() *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.known(prepared)
	if s.started { // in a clone that is so from the beginning
		// When the run has ended, the first Read says so.
		_ = s.tell(Message{Op: Taken, Conn: prepared, N: Window})
	}
	return c
}

// Listen serves a port of the VM's loopback interface to programs. In a clone a port
// that was served in the snapshot still is, and the connections that were open then
// are accepted anew, in the order of their numbers.
func (s *Side) Listen(port uint16) (*Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Listener{side: s, port: port}, s.tell(Message{Op: Listen, Port: port})
}

// Listener accepts the connections of a program to a port that the host serves. It
// is a net.Listener.
type Listener struct {
	side *Side
	port uint16
}

// Accept waits for a connection. ErrOver when the run has ended, or the reason of
// Over.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptConn()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptConn is Accept.
func (l *Listener) AcceptConn() (*Conn, error) {
	s := l.side
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.wait(func() bool { return len(s.accepts[l.port]) > 0 }); err != nil {
		return nil, err
	}
	c := s.accepts[l.port][0]
	s.accepts[l.port] = s.accepts[l.port][1:]
	return c, nil
}

// PutBack makes a connection that was accepted the next one to be accepted, as the
// connections that are open in a snapshot are in its clones.
func (l *Listener) PutBack(c *Conn) {
	s := l.side
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepts == nil {
		s.accepts = map[uint16][]*Conn{}
	}
	s.accepts[l.port] = append([]*Conn{c}, s.accepts[l.port]...)
	s.changed.Broadcast()
}

// Close does nothing: the port is served until the run ends.
func (l *Listener) Close() error { return nil }

// Addr returns the address that programs connect to.
func (l *Listener) Addr() net.Addr { return addr(l.port) }

// addr is an address in a VM.
type addr uint16

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return "127.0.0.1:" + strconv.Itoa(int(a)) }

// Conn is a connection to a program of a VM. It is a net.Conn; one goroutine may
// read while another writes.
type Conn struct {
	side *Side
	id   ID
	port uint16

	// The side's mutex guards what follows.
	isUp   bool
	in     []byte // not read yet
	unread int    // what the VM was not told that it is taken
	window int    // the most that unread may be
	credit int    // bytes that may be sent
	ahead  int    // the most that credit may be
	err    error  // at the end of in
	closed bool
	gone   bool // the program has broken it off
}

// ID returns the number that the connection has in clones too.
func (c *Conn) ID() ID { return c.id }

func (c *Conn) finish(err error) {
	if c.err == nil {
		c.err = err
	}
}

// Read waits for bytes of the program. io.EOF at their end, ErrOver or the reason of
// Side.Over when the run has ended, and an error that wraps ECONNRESET when the
// program broke the connection off, or does not listen.
func (c *Conn) Read(p []byte) (int, error) {
	s := c.side
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.wait(func() bool { return len(c.in) > 0 || c.err != nil || c.closed || len(p) == 0 }); err != nil {
		return 0, err
	}
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case len(c.in) == 0 && len(p) > 0:
		return 0, c.err
	}
	n := copy(p, c.in)
	if c.in = c.in[n:]; len(c.in) == 0 {
		c.in = nil
	}
	if taken := c.unread - len(c.in); taken >= c.window/2 && c.err == nil && !s.over {
		c.unread -= taken
		return n, c.tell(Message{Op: Taken, Conn: c.id, N: uint32(taken)})
	}
	return n, nil
}

// Write gives bytes to the program. It waits when the program has too many that it has
// not taken, not until it has taken them all. What a program that has broken the
// connection off is given is lost.
func (c *Conn) Write(p []byte) (int, error) {
	s := c.side
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for len(p) > 0 {
		if err := s.wait(func() bool { return c.credit > 0 || c.closed || c.gone }); err != nil {
			return n, err
		}
		switch {
		case c.closed:
			return n, net.ErrClosed
		case c.gone:
			return n + len(p), nil
		}
		part := p[:min(len(p), c.credit, MaxData)]
		if err := c.tell(Message{Op: Data, Conn: c.id, Data: part}); err != nil {
			return n, err
		}
		c.credit -= len(part)
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// tell sends a message about the connection. Where it leads outside, nobody who waits
// for the program may be there to send it on its way. s.mu is held.
func (c *Conn) tell(m Message) error {
	err := c.side.tell(m)
	if err == nil && c.id.Outward() {
		err = c.side.transport.Flush()
	}
	return err
}

// CloseWrite tells the program that no more comes.
func (c *Conn) CloseWrite() error {
	c.side.mu.Lock()
	defer c.side.mu.Unlock()
	return c.tell(Message{Op: End, Conn: c.id})
}

// Close ends the connection; calls that wait fail.
func (c *Conn) Close() error {
	c.side.mu.Lock()
	defer c.side.mu.Unlock()
	switch {
	case c.closed:
		return nil
	case c.id.Outward():
		return c.side.dropOutward(c, 0)
	}
	return c.side.drop(c)
}

// LocalAddr returns an address that says little: the host's end has none.
func (c *Conn) LocalAddr() net.Addr { return addr(0) }

// RemoteAddr returns the port of the VM.
func (c *Conn) RemoteAddr() net.Addr { return addr(c.port) }

// SetDeadline does nothing: the run has a time limit.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
