// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// eventMax is the most an eventfd counts to.
const eventMax = math.MaxUint64 - 1

// EventFD is a counter as in eventfd(2).
type EventFD struct {
	Base
	count     uint64
	semaphore bool
	q         waitq.Queue
}

// NewEventFD returns a counter that starts at count. A read of a semaphore takes
// one instead of all. flags may have O_NONBLOCK.
func NewEventFD(sys *System, count uint64, semaphore bool, flags int) *EventFD {
	return &EventFD{Base: Base{Flags: unix.O_RDWR | flags, Ino: sys.NextInode()}, count: count, semaphore: semaphore}
}

// Read gives the count as 8 bytes and resets it; EAGAIN when it is 0, EINVAL when
// dst is shorter than 8 bytes, ESPIPE for an offset.
func (e *EventFD) Read(dst Buffers, off int64) (int, abi.Errno) {
	switch {
	case off != CurrentOffset:
		return 0, abi.ESPIPE
	case dst.Len() < 8:
		return 0, abi.EINVAL
	case e.count == 0:
		return 0, abi.EAGAIN
	}
	v := e.count
	if e.semaphore {
		v = 1
	}
	e.count -= v
	dst.CopyFrom(binary.LittleEndian.AppendUint64(nil, v))
	e.q.WakeAll()
	return 8, abi.OK
}

// Write adds 8 bytes to the count; EAGAIN when it would pass 2⁶⁴-2, EINVAL for
// 2⁶⁴-1 or when src is shorter than 8 bytes, ESPIPE for an offset.
func (e *EventFD) Write(src Buffers, off int64) (int, abi.Errno) {
	var b [8]byte
	switch {
	case off != CurrentOffset:
		return 0, abi.ESPIPE
	case src.CopyTo(b[:]) < 8:
		return 0, abi.EINVAL
	}
	v := binary.LittleEndian.Uint64(b[:])
	switch {
	case v == math.MaxUint64:
		return 0, abi.EINVAL
	case v > eventMax-e.count:
		return 0, abi.EAGAIN
	}
	e.count += v
	e.q.WakeAll()
	return 8, abi.OK
}

// Readiness is readable above 0, and writable when 1 can be added.
func (e *EventFD) Readiness() Events {
	var ev Events
	if e.count > 0 {
		ev |= In
	}
	if e.count < eventMax {
		ev |= Out
	}
	return ev
}

// Queue is woken by every read and write.
func (e *EventFD) Queue() *waitq.Queue { return &e.q }

// Lseek does nothing, and succeeds, as on Linux.
func (e *EventFD) Lseek(int64, int) (int64, abi.Errno) { return 0, abi.OK }

// Name is that of Linux.
func (e *EventFD) Name() string { return "anon_inode:[eventfd]" }

// CloneFile implements Cloner.
func (e *EventFD) CloneFile(*CloneContext) File {
	return &EventFD{Base: e.Base, count: e.count, semaphore: e.semaphore}
}
