// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package talk is what the host's side of a VM's network is spoken to with. A
// program in a VM may serve a TCP port of the VM, or connect to one that the host
// serves there; no socket of the host is part of that. Whoever talks with the
// program has a Side, whose connections are net.Conn; between the Side and the VM
// go Messages, also from one process to another.
package talk

import (
	"errors"
	"fmt"
)

// ID names a connection of one VM. Those that the host opens have odd numbers of
// its choice, those that a program opens have even ones. A connection that is open
// in a snapshot has its number in every clone.
type ID uint32

// FirstOutward begins the numbers of connections that a program asks for to the network
// outside, which are no part of a snapshot.
const FirstOutward ID = 1 << 31

// Outward reports whether the number is that of a connection to the network outside.
func (id ID) Outward() bool { return id >= FirstOutward }

// Op says what a Message is about.
type Op uint8

const (
	// Dial: the host connects to Port. Opened or Close is what becomes of it.
	Dial Op = iota + 1
	// Await: the same, as soon as a program listens there.
	Await
	// Prepare: the same, for a connection that is for later: what the program says on it
	// stays with the VM, and so in its snapshot.
	Prepare
	// Listen: the host serves Port.
	Listen
	// Accept: a program has connected to Port, which the host serves.
	Accept
	// Opened: the host is connected to a program, or has made the connection that a
	// program asked for.
	Opened
	// Data: bytes, in either direction.
	Data
	// End: no more bytes come in this direction.
	End
	// Taken: N bytes of what was sent in the other direction have been taken, and as
	// many more may be sent.
	Taken
	// Close: the connection is gone: closed by the host, or broken off by the
	// program (ECONNRESET). From the host, about a connection to the network outside,
	// N is the error number that the program is told, or 0: then it gets what is still
	// on its way first.
	Close
	// Connect: a program wants a connection to Port at the address in Data, 16 bytes,
	// outside of its VM. Opened or Close is what becomes of it.
	Connect
	// Resolve: a program asks for the addresses of the name in Data. Conn is a number
	// for the answer.
	Resolve
	// Resolved: the answer. Port is a response code of RFC 1035 (4.1.1), N for how many
	// seconds it holds, Data the addresses, of 16 bytes each.
	Resolved
	// Signal: the host sends the signal N to the first process of the VM. It is about no
	// connection.
	Signal
	lastOp
)

// Message is what one side of a VM's network tells the other.
type Message struct {
	Op   Op
	Conn ID
	Port uint16
	N    uint32 // of Taken, Close, Resolved and Signal
	Data []byte // of Data, Connect, Resolve and Resolved
}

const (
	// MaxData is the most bytes of Data in a Message.
	MaxData = 1 << 20
	// Window is how many bytes a program may send on a connection before the host
	// has taken some.
	Window = 256 << 10
	// Ahead is how many bytes the host may send on a connection before the program has
	// taken some.
	Ahead = 1 << 20
	// OutwardWindow is either of them on a connection to the network outside, of which
	// a program may have many.
	OutwardWindow = 64 << 10

	// LastWords is how many bytes more may come of a stream when the program has ended:
	// the most that a pipe holds.
	LastWords = 1 << 20

	// MaxName is the most bytes of a name in Resolve.
	MaxName = 253
	// MaxAddresses is the most addresses in Resolved.
	MaxAddresses = 16
	// AddressSize is how many bytes an address has in Connect and Resolved: that of an
	// IPv6 address, also for IPv4 in its mapped form.
	AddressSize = 16
)

// maxSignal is the highest signal number; signal(7).
const maxSignal = 64

// Check says what of a message makes no sense, whoever sent it.
func (m *Message) Check() error {
	if m.Op == 0 || m.Op >= lastOp {
		return fmt.Errorf("a message of kind %d", m.Op)
	}
	n := len(m.Data)
	switch m.Op {
	case Data:
		if n > MaxData {
			return fmt.Errorf("a message with %d bytes of data, where %d are the most", n, MaxData)
		}
		return nil
	case Connect:
		if n != AddressSize {
			return fmt.Errorf("a connection to an address of %d bytes", n)
		}
	case Resolve:
		if n == 0 || n > MaxName {
			return fmt.Errorf("a name of %d bytes", n)
		}
	case Resolved:
		if n%AddressSize != 0 || n > MaxAddresses*AddressSize {
			return fmt.Errorf("addresses of %d bytes", n)
		}
	case Signal:
		if m.Conn != 0 || m.N < 1 || m.N > maxSignal || n > 0 {
			return fmt.Errorf("signal %d for connection %d with %d bytes of data", m.N, m.Conn, n)
		}
	default:
		if n > 0 {
			return fmt.Errorf("a message of kind %d with %d bytes of data", m.Op, n)
		}
	}
	if outward := m.Op == Connect || m.Op == Resolve || m.Op == Resolved; outward != (outward && m.Conn.Outward()) {
		return fmt.Errorf("a message of kind %d with number %d", m.Op, m.Conn)
	}
	return nil
}

// ErrOver says that the run of the VM has ended.
var ErrOver = errors.New("the virtual machine has ended")
