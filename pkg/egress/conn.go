// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/talk"
)

// piece is how many bytes are moved at once.
const piece = 32 << 10

// conn is a connection that a program asked for.
type conn struct {
	s  *session
	vm *talk.Conn
	to netip.AddrPort

	mu     sync.Mutex
	out    *net.TCPConn // nil until it is made
	ending bool

	moved atomic.Int64 // when bytes went over it the last time, in nanoseconds
}

// Connect implements talk.Outward.
func (s *session) Connect(vm *talk.Conn, to netip.AddrPort) {
	c := &conn{s: s, vm: vm, to: to}
	s.mu.Lock()
	closed, tooMany := s.closed, len(s.conns) >= MaxConns || s.opened >= MaxOpened
	if !closed && !tooMany {
		s.opened++
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	switch {
	case closed:
		_ = vm.Refuse(unix.ENETUNREACH) // its run has ended
	case tooMany:
		s.b.refused.Add(1)
		s.complain("a connection was refused", "address", to.Addr(), "port", to.Port(), "why", "one event has asked for too many")
		_ = vm.Refuse(unix.EADDRNOTAVAIL)
	default:
		s.b.running.run(func() {
			c.serve()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// serve makes the connection and moves what goes over it.
func (c *conn) serve() {
	b := c.s.b
	names, err := c.allow()
	args := []any{"name", strings.Join(names, ","), "address", c.to.Addr(), "port", c.to.Port()}
	if err != nil {
		b.refused.Add(1)
		c.s.complain("a connection was refused", append(args, "why", err.Error())...)
		_ = c.vm.Refuse(unix.ENETUNREACH) // which fails when the run has ended, here and below
		return
	}
	out, err := c.dial()
	if err != nil {
		if c.s.ctx.Err() == nil {
			b.failed.Add(1)
			c.s.complain("a connection was not made", append(args, "why", err.Error())...)
		}
		_ = c.vm.Refuse(errnoOf(err))
		return
	}
	b.connections.Add(1)
	b.open.Add(1)
	defer b.open.Add(-1)
	begin := time.Now()
	sent, received := c.move(out)
	b.options.Logger.Debug("a connection has ended", append(args, "sent", sent, "received", received, "took", time.Since(begin))...)
}

// allow decides on the connection, and returns the names that its address is known by.
// A program that a snapshot was made of may know an address from before this process:
// then the names of the list tell.
func (c *conn) allow() ([]string, error) {
	b, a := c.s.b, c.to.Addr()
	names := b.namesOf(a)
	err := b.policy.Allow(c.to, names)
	if err == nil || len(names) > 0 {
		return names, err
	}
	ctx, cancel := context.WithTimeout(c.s.ctx, LookupTimeout)
	defer cancel()
	for _, name := range b.policy.Names(c.to.Port()) {
		if _, err := b.lookup(ctx, name); err != nil {
			continue
		}
		if names = b.namesOf(a); len(names) > 0 {
			return names, b.policy.Allow(c.to, names)
		}
	}
	return nil, err
}

// dial connects to the address that was checked.
func (c *conn) dial() (*net.TCPConn, error) {
	d := net.Dialer{
		Timeout: c.s.b.options.DialTimeout,
		Control: func(_, address string, _ syscall.RawConn) error {
			// The last word before the kernel.
			to, err := netip.ParseAddrPort(address)
			if err != nil || netip.AddrPortFrom(to.Addr().Unmap(), to.Port()) != c.to {
				return fmt.Errorf("%s is not what was asked for", address)
			}
			return c.s.b.policy.Allow(c.to, c.s.b.namesOf(c.to.Addr()))
		},
	}
	conn, err := d.DialContext(c.s.ctx, "tcp", c.to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// errnoOf is what connect(2) fails with in the program.
func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &errno) && (errno == unix.ECONNREFUSED || errno == unix.ENETUNREACH || errno == unix.EHOSTUNREACH || errno == unix.ETIMEDOUT || errno == unix.ECONNRESET):
		return errno
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return unix.ETIMEDOUT
	}
	return unix.EHOSTUNREACH
}

// move moves bytes in both directions until both have ended, or one was broken off.
func (c *conn) move(out *net.TCPConn) (sent, received uint64) {
	defer func() { _ = out.Close() }()
	c.mu.Lock()
	c.out = out
	ending := c.ending
	c.mu.Unlock()
	if ending || c.vm.Opened() != nil {
		return 0, 0
	}
	c.touch()
	idle := c.watch()
	defer idle()
	var in sync.WaitGroup
	in.Go(func() { received = c.receive() })
	sent = c.send()
	in.Wait()
	_ = c.vm.Close()
	return sent, received
}

// send moves what the program writes.
func (c *conn) send() (n uint64) {
	buf := make([]byte, piece)
	for {
		k, err := c.vm.Read(buf)
		if k > 0 {
			if _, err := c.out.Write(buf[:k]); err != nil {
				c.breakOff(unix.ECONNRESET)
				return n
			}
			n += uint64(k)
			c.s.b.sent.Add(uint64(k))
			c.touch()
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			_ = c.out.CloseWrite() // the other direction finds out when it is gone
			return n
		case errors.Is(err, unix.ECONNRESET):
			_ = c.out.SetLinger(0)
			_ = c.out.Close()
			return n
		default: // the run has ended, and nobody reads any more
			_ = c.out.CloseWrite()
			_ = c.out.SetReadDeadline(time.Unix(1, 0))
			return n
		}
	}
}

// receive moves what comes for the program.
func (c *conn) receive() (n uint64) {
	buf := make([]byte, piece)
	for {
		k, err := c.out.Read(buf)
		if k > 0 {
			if _, err := c.vm.Write(buf[:k]); err != nil {
				return n // the run has ended; send does the rest
			}
			n += uint64(k)
			c.s.b.received.Add(uint64(k))
			c.touch()
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			_ = c.vm.CloseWrite()
			return n
		default:
			c.breakOff(errnoOf(err))
			return n
		}
	}
}

// breakOff ends both sides: the program is told with an error.
func (c *conn) breakOff(errno unix.Errno) {
	_ = c.vm.Refuse(errno)
	_ = c.out.SetLinger(0)
	_ = c.out.Close()
}

func (c *conn) touch() { c.moved.Store(time.Now().UnixNano()) }

// watch breaks the connection off when nothing goes over it for too long. The function
// that it returns ends that.
func (c *conn) watch() (stop func()) {
	limit := c.s.b.options.IdleTimeout
	var mu sync.Mutex
	var t *time.Timer // nil: stopped
	mu.Lock()
	defer mu.Unlock()
	t = time.AfterFunc(limit, func() {
		mu.Lock()
		defer mu.Unlock()
		rest := limit - time.Since(time.Unix(0, c.moved.Load()))
		switch {
		case t == nil:
		case rest > 0:
			t.Reset(rest)
		default:
			c.breakOff(unix.ETIMEDOUT)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		t.Stop()
		t = nil
	}
}

// end is called when the run has ended: what the program has written still goes out, for
// a while.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	if c.out != nil {
		_ = c.out.SetWriteDeadline(time.Now().Add(LingerTimeout))
		_ = c.out.SetReadDeadline(time.Unix(1, 0))
	}
}
