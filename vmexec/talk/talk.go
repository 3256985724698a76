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
	// Opened: the host is connected to a program.
	Opened
	// Data: bytes, in either direction.
	Data
	// End: no more bytes come in this direction.
	End
	// Taken: the host has taken N bytes of what the program sent, which may send as
	// many more.
	Taken
	// Close: the connection is gone: closed by the host, or broken off by the
	// program (ECONNRESET).
	Close
	lastOp
)

// Message is what one side of a VM's network tells the other.
type Message struct {
	Op   Op
	Conn ID
	Port uint16
	N    uint32 // of Taken
	Data []byte // of Data
}

const (
	// MaxData is the most bytes of Data in a Message.
	MaxData = 1 << 20
	// Window is how many bytes a program may send on a connection before the host
	// has taken some.
	Window = 256 << 10
)

// Check says what of a message makes no sense, whoever sent it.
func (m *Message) Check() error {
	switch {
	case m.Op == 0 || m.Op >= lastOp:
		return fmt.Errorf("a message of kind %d", m.Op)
	case len(m.Data) > MaxData:
		return fmt.Errorf("a message with %d bytes of data, where %d are the most", len(m.Data), MaxData)
	case m.Op != Data && len(m.Data) > 0:
		return fmt.Errorf("a message of kind %d with %d bytes of data", m.Op, len(m.Data))
	}
	return nil
}

// ErrOver says that the run of the VM has ended.
var ErrOver = errors.New("the virtual machine has ended")
