// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// StreamMode is st_mode of standard streams: to the program they look like pipes,
// so that it does not take them for a terminal and does not seek in them.
const StreamMode = unix.S_IFIFO | 0o600

// CharDeviceMode is st_mode of standard streams that shall look like a device.
const CharDeviceMode = unix.S_IFCHR | 0o620

// EventInput is a standard input whose whole content comes at once: the bytes, then
// the end, like a pipe whose writer has closed. Set Mode to CharDeviceMode before
// use to hide the pipe.
type EventInput struct {
	Base
	event   []byte // all of it
	data    []byte // what of it is not read yet
	waiting bool   // for Deliver
	asked   bool
	q       waitq.Queue
}

// NewEventInput returns an input of data, which must not change any more.
func NewEventInput(data []byte) *EventInput {
	return &EventInput{Base: Base{Flags: unix.O_RDONLY, Mode: StreamMode}, event: data, data: data}
}

// NewWaitingInput returns an input that has nothing, and does not end, before
// Deliver: a program that asks for its event waits, and can be frozen there.
func NewWaitingInput() *EventInput {
	e := NewEventInput(nil)
	e.waiting = true
	return e
}

// Asked reports whether the program has tried to read, or to find out whether it
// can, before there was an event.
func (e *EventInput) Asked() bool { return e.asked }

// Deliver gives an input of NewWaitingInput, or a copy of one, its content, which
// must not change any more. It belongs to the run loop and is called once.
func (e *EventInput) Deliver(data []byte) {
	e.event, e.data, e.waiting = data, data, false
	e.q.WakeAll()
}

// Event returns the whole content, read or not; false before Deliver, which then is
// what the program waits for.
func (e *EventInput) Event() ([]byte, bool) {
	if e.waiting {
		e.asked = true
		return nil, false
	}
	return e.event, true
}

// CloneFile implements Cloner. The copy too waits for its own Deliver.
func (e *EventInput) CloneFile(c *CloneContext) File {
	n := &EventInput{Base: e.Base, event: e.event, data: e.data, waiting: e.waiting, asked: e.asked}
	c.Record(e, n)
	return n
}

// Read gives the next bytes; 0 at the end, EAGAIN before Deliver, ESPIPE for an
// offset.
func (e *EventInput) Read(dst Buffers, off int64) (int, abi.Errno) {
	switch {
	case off != CurrentOffset:
		return 0, abi.ESPIPE
	case e.waiting && dst.Len() > 0:
		e.asked = true
		return 0, abi.EAGAIN
	}
	n := dst.CopyFrom(e.data)
	e.data = e.data[n:]
	return n, abi.OK
}

// Readiness is that of a pipe without writers; nothing before Deliver.
func (e *EventInput) Readiness() Events {
	switch {
	case e.waiting:
		e.asked = true
		return 0
	case len(e.data) > 0:
		return In | Hup
	}
	return Hup
}

// Ended reports whether the content was delivered and read to its end: every read
// gives 0 from now on.
func (e *EventInput) Ended() bool { return !e.waiting && len(e.data) == 0 }

// Queue is woken by Deliver.
func (e *EventInput) Queue() *waitq.Queue { return &e.q }

// Available returns the number of bytes left.
func (e *EventInput) Available() int { return len(e.data) }

// CaptureOutput is a standard output that is kept in memory up to a bound.
type CaptureOutput struct {
	Base
	limit    int
	overflow func() `snapshot:"-"` // called at the limit; given by CloneFile
	tail     bool   // keep the tail
	buf      []byte // a ring once limit bytes are in it
	start    int    // oldest byte of the ring
	dropped  bool
	before   []byte // what the source of a clone had kept
	q        waitq.Queue
}

// NewCaptureOutput returns an output that keeps the first limit bytes. The first
// write beyond them calls overflow, which is expected to end the program; that
// write and later ones succeed and their excess is dropped.
func NewCaptureOutput(limit int, overflow func()) *CaptureOutput {
	return &CaptureOutput{Base: Base{Flags: unix.O_WRONLY, Mode: StreamMode}, limit: limit, overflow: overflow, tail: overflow == nil}
}

// NewCaptureTail returns an output that keeps the last limit bytes.
func NewCaptureTail(limit int) *CaptureOutput { return NewCaptureOutput(limit, nil) }

// Write takes all bytes. ESPIPE for an offset.
func (c *CaptureOutput) Write(src Buffers, off int64) (int, abi.Errno) {
	if off != CurrentOffset {
		return 0, abi.ESPIPE
	}
	n := 0
	for _, p := range src {
		n += len(p)
		c.keep(p)
	}
	return n, abi.OK
}

// Room returns how many bytes can be written without more effect than that they
// are kept.
func (c *CaptureOutput) Room() int {
	if c.overflow == nil {
		return math.MaxInt
	}
	return c.limit - len(c.buf)
}

func (c *CaptureOutput) keep(p []byte) {
	k := min(len(p), c.limit-len(c.buf))
	c.buf = append(c.buf, p[:k]...)
	p = p[k:]
	if len(p) == 0 {
		return
	}
	first := !c.dropped
	c.dropped = true
	if !c.tail {
		if first && c.overflow != nil {
			c.overflow()
		}
		return
	}
	if c.limit == 0 {
		return
	}
	if len(p) >= c.limit {
		copy(c.buf, p[len(p)-c.limit:])
		c.start = 0
		return
	}
	n := copy(c.buf[c.start:], p)
	copy(c.buf, p[n:])
	c.start = (c.start + len(p)) % c.limit
}

// Bytes returns a copy of what was kept, oldest byte first.
func (c *CaptureOutput) Bytes() []byte { return slices.Concat(c.buf[c.start:], c.buf[:c.start]) }

// Before returns, of a copy, what the program had written when it was frozen: it is
// for the log and no part of any reply. It must not be changed.
func (c *CaptureOutput) Before() []byte { return c.before }

// CloneFile implements Cloner. The copy is empty and has the same limit.
func (c *CaptureOutput) CloneFile(ctx *CloneContext) File {
	n := &CaptureOutput{Base: c.Base, limit: c.limit, tail: c.tail, before: slices.Clip(c.buf)}
	if !c.tail {
		n.overflow = ctx.Overflow
	} else if len(c.buf) == c.limit { // a ring, which is written in place
		n.before = c.Bytes()
	}
	ctx.Record(c, n)
	return n
}

// Dropped reports whether more was written than is kept.
func (c *CaptureOutput) Dropped() bool { return c.dropped }

// Readiness is writable.
func (c *CaptureOutput) Readiness() Events { return Out }

// Queue returns a queue that is never woken.
func (c *CaptureOutput) Queue() *waitq.Queue { return &c.q }
