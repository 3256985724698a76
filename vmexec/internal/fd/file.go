// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package fd holds open file descriptions, the descriptor table, and the files
// that have no name in a file system: standard streams, pipes, eventfd, epoll.
package fd

import (
	"io"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Buffers is guest memory as host slices, in guest order. The vCPU is stopped
// while a call is served, so the bytes do not change under the callee.
type Buffers [][]byte

// Len returns the number of bytes.
func (b Buffers) Len() int {
	n := 0
	for _, p := range b {
		n += len(p)
	}
	return n
}

// CopyTo copies guest bytes to p and returns how many: the smaller of the lengths.
func (b Buffers) CopyTo(p []byte) int {
	n := 0
	for _, s := range b {
		if n == len(p) {
			break
		}
		n += copy(p[n:], s)
	}
	return n
}

// CopyFrom copies p to the guest and returns how many bytes: the smaller of the
// lengths.
func (b Buffers) CopyFrom(p []byte) int {
	n := 0
	for _, s := range b {
		if n == len(p) {
			break
		}
		n += copy(s, p[n:])
	}
	return n
}

// Skip returns the buffers without their first n bytes. It does not change b.
func (b Buffers) Skip(n int) Buffers {
	for len(b) > 0 && n >= len(b[0]) {
		n -= len(b[0])
		b = b[1:]
	}
	if n == 0 || len(b) == 0 {
		return b
	}
	rest := make(Buffers, len(b))
	copy(rest, b)
	rest[0] = rest[0][n:]
	return rest
}

// Take returns the first n bytes of the buffers, or all when they are fewer. It
// does not change b.
func (b Buffers) Take(n int) Buffers {
	for i, s := range b {
		if n <= len(s) {
			head := make(Buffers, i+1)
			copy(head, b)
			head[i] = s[:n]
			return head
		}
		n -= len(s)
	}
	return b
}

// Events is a set of poll(2) conditions: unix.POLLIN and so on.
type Events uint32

// CurrentOffset as the offset of Read or Write means the file's own position,
// which the call advances.
const CurrentOffset = int64(-1)

// File is an open file description as in open(2): what duplicated descriptors
// share. Calls never block: a file that has nothing to give returns EAGAIN, and
// the system call layer waits on Queue when the descriptor is a blocking one.
type File interface {
	// Read fills dst from off and returns how many bytes; 0 is the end.
	Read(dst Buffers, off int64) (int, abi.Errno)
	// Write takes bytes from src to off and returns how many.
	Write(src Buffers, off int64) (int, abi.Errno)
	// Lseek sets the position as lseek(2). (The name Seek is io.Seeker's to go vet.)
	Lseek(off int64, whence int) (int64, abi.Errno)
	// Stat describes the file as fstat(2).
	Stat() (abi.Stat, abi.Errno)
	// Readiness returns the conditions that hold now, as poll(2).
	Readiness() Events
	// Queue is woken when Readiness may have changed. Nil for a file that is
	// always ready.
	Queue() *waitq.Queue
	// StatusFlags returns the access mode and the O_APPEND, O_NONBLOCK and like
	// flags of fcntl(F_GETFL); SetStatusFlags changes those that F_SETFL may.
	StatusFlags() int
	SetStatusFlags(flags int)
	// Release is called once, when the last descriptor is closed.
	Release()
}

// ReaderAt reads a file of a guest as the host's io packages do. Errors are
// unix.Errno, and io.EOF at the end.
type ReaderAt struct{ File File }

// ReadAt implements io.ReaderAt.
func (r ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		k, errno := r.File.Read(Buffers{p[n:]}, off+int64(n))
		if errno != 0 {
			return n, unix.Errno(errno)
		}
		if k == 0 {
			return n, io.EOF
		}
		n += k
	}
	return n, nil
}
