// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package net

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// ErrRefused says that no program of the VM listens on the port, or that its queue is
// full.
var ErrRefused = errors.New("no program listens on the port")

// Dial connects to a TCP port of the VM from outside, without any socket of the
// host: the other end is the VM's socket that a program accepts, and to it the
// connection comes from 127.0.0.1 or ::1. The socket belongs to the run loop, and
// counts against the VM's memory. ErrRefused, or an error that wraps the errno of
// connect(2).
func (st *Stack) Dial(port uint16) (*Socket, error) {
	to := st.dialTarget(port)
	if to.port == 0 {
		return nil, ErrRefused
	}
	domain := unix.AF_INET6
	if to.ip.is4() {
		domain = unix.AF_INET
	}
	s, errno := st.New(domain, unix.SOCK_STREAM, 0, unix.O_NONBLOCK, Cred{})
	if errno == abi.OK {
		errno = s.dial(Addr{IP: to.ip, Port: port})
	}
	switch {
	case errno != abi.OK:
	case s.state == connected:
		s.attempt = false
		return s, nil
	case s.state == connecting:
		errno = abi.ECONNREFUSED
	default:
		errno = s.takeErr()
	}
	if s != nil {
		s.Release()
	}
	if errno == abi.ECONNREFUSED {
		return nil, ErrRefused
	}
	return nil, fmt.Errorf("connect to port %d of the VM: %w", port, unix.Errno(errno))
}

// Conn is a connection to a program of a VM for goroutines of the host. Each call
// is done by the run loop; it waits while the program has nothing to give or takes
// nothing. One goroutine may read while another writes.
type Conn struct {
	s    *Socket
	post fd.Post
	ends <-chan struct{}

	once sync.Once
}

// NewConn makes a connection of a socket of Dial. post hands functions to the run
// loop of its VM, and ends is closed when the loop has ended: every call fails then
// with io.ErrClosedPipe. Call it on the run loop.
func NewConn(s *Socket, post fd.Post, ends <-chan struct{}) *Conn {
	return &Conn{s: s, post: post, ends: ends}
}

// hostWaiter is a call of a Conn that waits on the socket's queue.
type hostWaiter struct {
	s   *Socket
	try func() bool // makes the call; false: it has to wait
}

// Wake makes the call again.
func (w *hostWaiter) Wake() {
	if !w.try() {
		w.s.q.Add(w)
	}
}

// WakeFor is Wake: what happened may concern the call.
func (w *hostWaiter) WakeFor(uint32) { w.Wake() }

type result struct {
	n   int
	err error
}

// do makes a call on the loop, again and again until it is done.
func (c *Conn) do(call func() (n int, err error, again bool)) (int, error) {
	done := make(chan result, 1)
	w := &hostWaiter{s: c.s}
	over := false
	w.try = func() bool {
		if over {
			return true
		}
		n, err, again := call()
		if c.s.released && again {
			err, again = io.ErrClosedPipe, false
		}
		if again {
			return false
		}
		over = true
		done <- result{n, err}
		return true
	}
	c.post(w.Wake)
	select {
	case r := <-done:
		return r.n, r.err
	case <-c.ends:
		select { // the call may have been the last thing that the loop did
		case r := <-done:
			return r.n, r.err
		default:
			return 0, io.ErrClosedPipe
		}
	}
}

// Read waits for bytes of the program. io.EOF at their end; an error that wraps
// ECONNRESET when the program broke the connection off.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	// The loop may still be about to copy when the call has been given up.
	buf := make([]byte, min(len(p), maxPiece))
	n, err := c.do(func() (int, error, bool) {
		r, errno := c.s.Recv(fd.Buffers{buf}, false, 0)
		switch {
		case errno == abi.EAGAIN:
			return 0, nil, true
		case errno != abi.OK:
			return 0, fmt.Errorf("read from the VM: %w", unix.Errno(errno)), false
		case r.N == 0:
			return 0, io.EOF, false
		}
		return r.N, nil, false
	})
	return copy(p, buf[:n]), err
}

// Write gives the program all bytes, and waits while it takes none. An error that
// wraps EPIPE or ECONNRESET when it has closed the connection.
func (c *Conn) Write(p []byte) (int, error) {
	rest := append([]byte(nil), p...) // see Read
	total := 0
	if len(p) == 0 {
		return 0, nil
	}
	return c.do(func() (int, error, bool) {
		n, _, errno := c.s.Send(fd.Buffers{rest}, &Message{})
		rest, total = rest[n:], total+n
		switch {
		case errno == abi.EAGAIN, errno == abi.OK && len(rest) > 0:
			return 0, nil, true
		case errno != abi.OK:
			return total, fmt.Errorf("write to the VM: %w", unix.Errno(errno)), false
		}
		return total, nil, false
	})
}

// CloseWrite tells the program that no more comes.
func (c *Conn) CloseWrite() error {
	_, err := c.do(func() (int, error, bool) {
		if errno := c.s.Shutdown(unix.SHUT_WR); errno != abi.OK {
			return 0, fmt.Errorf("close a connection to the VM: %w", unix.Errno(errno)), false
		}
		return 0, nil, false
	})
	return err
}

// Close ends the connection; calls that wait fail. It does not wait for the loop.
func (c *Conn) Close() error {
	c.once.Do(func() { c.post(c.s.Release) })
	return nil
}
