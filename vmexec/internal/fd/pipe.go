// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"fmt"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Sizes of pipes in bytes; see pipe(7).
const (
	pipeBuf         = 4096     // PIPE_BUF: writes up to it are not split
	pipeDefault     = 64 << 10 // capacity of a new pipe
	pipeMax         = 1 << 20  // most that F_SETPIPE_SZ gives (pipe-max-size)
	pipeSystemLimit = 64 << 20 // sum of all capacities (pipe-user-pages-soft)
	pipeScarce      = 2 * 4096 // capacity of a new pipe beyond that sum
)

// Pipe is what all ends of a pipe share: a ring that grows up to the capacity.
type Pipe struct {
	sys              *System
	buf              []byte
	start, n         int // oldest byte, bytes held
	capacity         int
	pages            int // charged for buf, which may be smaller in a clone
	readable         waitq.Queue
	writable         waitq.Queue
	readers, writers ends
	named            bool // of mkfifo(3): one queue wakes all ends
}

// ends counts the open ends of one side.
type ends struct {
	open    int
	waiting int    // of those, opens that wait for the other side
	ever    uint64 // how many there were
}

// PipeReader is the end of a pipe that is read.
type PipeReader struct {
	Base
	p *Pipe
	// since is how many writers there had been when this end was opened without any:
	// that they are gone is no hang-up.
	since uint64
}

// PipeWriter is the end of a pipe that is written.
type PipeWriter struct {
	Base
	p *Pipe
}

// NewPipe returns the ends of a pipe(7) of 64 KiB; flags may have O_NONBLOCK. Its
// memory grows with what is in it. When the capacities of a VM's pipes reach
// 64 MiB a new pipe has 8 KiB.
func NewPipe(sys *System, flags int) (*PipeReader, *PipeWriter) {
	p := newPipe(sys)
	p.readers, p.writers = ends{open: 1, ever: 1}, ends{open: 1, ever: 1}
	b := Base{Flags: flags, Ino: sys.NextInode(), Mode: unix.S_IFIFO | 0o600}
	r, w := &PipeReader{Base: b, p: p}, &PipeWriter{Base: b, p: p}
	r.Flags |= unix.O_RDONLY
	w.Flags |= unix.O_WRONLY
	return r, w
}

func newPipe(sys *System) *Pipe {
	p := &Pipe{sys: sys, capacity: pipeDefault}
	if sys.pipeBytes+p.capacity > pipeSystemLimit {
		p.capacity = pipeScarce
	}
	sys.pipeBytes += p.capacity
	return p
}

// clone returns the copy that all ends share. An empty ring is not copied: most
// pipes of a program that waits are empty. Opens that wait are made again.
func (p *Pipe) clone(c *CloneContext) *Pipe {
	if n, ok := c.Lookup(p).(*Pipe); ok {
		return n
	}
	n := &Pipe{sys: c.System, n: p.n, capacity: p.capacity, pages: p.pages, readers: p.readers.settled(), writers: p.writers.settled(), named: p.named}
	if p.n > 0 {
		size := pipeBuf
		for size < p.n {
			size *= 2
		}
		n.buf = make([]byte, size)
		p.peek(p.n).CopyTo(n.buf)
	}
	c.Record(p, n)
	return n
}

// grow makes the ring hold n bytes, n ≤ capacity, unless the VM has no memory left.
func (p *Pipe) grow(n int) bool {
	if n <= len(p.buf) {
		return true
	}
	size := max(len(p.buf), pipeBuf)
	for size < n {
		size *= 2
	}
	if more := size/pipeBuf - p.pages; more > 0 {
		if m := p.sys.Memory; m != nil && !m.Charge(uint64(more)) {
			return false
		}
		p.pages += more
	}
	buf := make([]byte, size)
	p.peek(p.n).CopyTo(buf)
	p.buf, p.start = buf, 0
	return true
}

func (p *Pipe) room() int { return max(0, p.capacity-p.n) }

// peek returns the oldest n bytes, or all when they are fewer.
func (p *Pipe) peek(n int) Buffers {
	n = min(n, p.n)
	if n == 0 {
		return nil
	}
	end := p.start + n
	if end <= len(p.buf) {
		return Buffers{p.buf[p.start:end]}
	}
	return Buffers{p.buf[p.start:], p.buf[:end-len(p.buf)]}
}

func (p *Pipe) discard(n int) {
	if n == 0 {
		return
	}
	full := p.room() < pipeBuf
	p.n -= n
	p.start = (p.start + n) % len(p.buf)
	if p.n == 0 {
		p.start = 0
	}
	if full && p.room() >= pipeBuf {
		p.wakeWriters()
	}
}

// put appends src, for which grow has made room.
func (p *Pipe) put(src Buffers) {
	for _, s := range src {
		for len(s) > 0 {
			at := (p.start + p.n) % len(p.buf)
			end := len(p.buf)
			if at < p.start {
				end = p.start
			}
			k := copy(p.buf[at:end], s)
			s = s[k:]
			p.n += k
		}
	}
	p.readable.WakeAll()
}

func (p *Pipe) wakeWriters() { p.writeQueue().WakeAll() }

func (p *Pipe) writeQueue() *waitq.Queue {
	if p.named {
		return &p.readable
	}
	return &p.writable
}

func (p *Pipe) release() {
	if p.Unused() {
		p.sys.pipeBytes -= p.capacity
		if m := p.sys.Memory; m != nil {
			m.Release(uint64(p.pages))
		}
		p.buf, p.n, p.start, p.pages = nil, 0, 0, 0
	}
	p.readable.WakeAll()
	p.wakeWriters()
}

func (p *Pipe) setSize(n int) (int, abi.Errno) {
	if n < 0 {
		return 0, abi.EINVAL
	}
	if n > pipeMax {
		return 0, abi.EPERM
	}
	size := pipeBuf
	for size < n {
		size *= 2
	}
	if size < p.n {
		return 0, abi.EBUSY
	}
	if size > p.capacity && p.sys.pipeBytes+size-p.capacity > pipeSystemLimit {
		return 0, abi.EPERM
	}
	p.sys.pipeBytes += size - p.capacity
	p.capacity = size
	if p.room() >= pipeBuf {
		p.wakeWriters()
	}
	return size, abi.OK
}

// Read gives what is in the pipe; EAGAIN when it is empty, 0 when it is empty and
// the other end closed, ESPIPE for an offset.
func (r *PipeReader) Read(dst Buffers, off int64) (int, abi.Errno) {
	if off != CurrentOffset {
		return 0, abi.ESPIPE
	}
	want := dst.Len()
	if r.p.n == 0 && r.p.writers.open > 0 && want > 0 {
		return 0, abi.EAGAIN
	}
	n := 0
	for _, s := range r.p.peek(want) {
		n += dst.Skip(n).CopyFrom(s)
	}
	r.p.discard(n)
	return n, abi.OK
}

// Peek returns up to n bytes that the next Read would give. They are valid until
// the next call of a method of the pipe.
func (r *PipeReader) Peek(n int) Buffers { return r.p.peek(n) }

// Discard takes n bytes, which Peek returned, out of the pipe.
func (r *PipeReader) Discard(n int) { r.p.discard(n) }

// Ended reports whether the pipe is empty and no writer is left.
func (r *PipeReader) Ended() bool { return r.p.n == 0 && r.p.writers.open == 0 }

// Readiness is as in poll(2) of a pipe.
func (r *PipeReader) Readiness() Events {
	var ev Events
	if r.p.n > 0 {
		ev |= In
	}
	if r.p.writers.open == 0 && r.p.writers.ever != r.since {
		ev |= Hup
	}
	return ev
}

// Queue is woken when data came or the other end closed.
func (r *PipeReader) Queue() *waitq.Queue { return &r.p.readable }

// Available returns the number of bytes in the pipe.
func (r *PipeReader) Available() int { return r.p.n }

// Name is "pipe:[inode]".
func (r *PipeReader) Name() string { return fmt.Sprintf("pipe:[%d]", r.Ino) }

// PipeSize returns the capacity in bytes.
func (r *PipeReader) PipeSize() int { return r.p.capacity }

// SetPipeSize sets the capacity to n rounded up to a power of two of pages, and
// returns it. EPERM beyond 1 MiB or the limit of the VM, EBUSY when more than that
// is in the pipe.
func (r *PipeReader) SetPipeSize(n int) (int, abi.Errno) { return r.p.setSize(n) }

// SamePipe reports whether w is the other end.
func (r *PipeReader) SamePipe(w *PipeWriter) bool { return r.p == w.p }

// CloneFile implements Cloner.
func (r *PipeReader) CloneFile(c *CloneContext) File {
	return &PipeReader{Base: r.Base, p: r.p.clone(c), since: r.since}
}

// Release closes the end: the writer gets EPIPE from now on.
func (r *PipeReader) Release() {
	r.p.readers.open--
	r.p.release()
}

// Write takes what fits, and up to PIPE_BUF bytes either whole or not at all.
// EAGAIN when there is no room, EPIPE when the other end closed, ENOMEM when the VM
// has no memory left, ESPIPE for an offset.
func (w *PipeWriter) Write(src Buffers, off int64) (int, abi.Errno) {
	if off != CurrentOffset {
		return 0, abi.ESPIPE
	}
	n := src.Len()
	switch room := w.p.room(); {
	case n == 0:
		return 0, abi.OK
	case w.p.readers.open == 0:
		return 0, abi.EPIPE
	case room == 0 || n <= pipeBuf && n > room:
		return 0, abi.EAGAIN
	default:
		n = min(n, room)
	}
	if !w.p.grow(w.p.n + n) {
		return 0, abi.ENOMEM
	}
	w.p.put(src.Take(n))
	return n, abi.OK
}

// Room returns the number of bytes that can be written, and whether anybody is
// left to read them.
func (w *PipeWriter) Room() (n int, readers bool) { return w.p.room(), w.p.readers.open > 0 }

// Readiness is as in poll(2) of a pipe: writable when PIPE_BUF bytes fit.
func (w *PipeWriter) Readiness() Events {
	var ev Events
	if w.p.room() >= pipeBuf {
		ev |= Out
	}
	if w.p.readers.open == 0 {
		ev |= Err
	}
	return ev
}

// Queue is woken when there is room again or the other end closed.
func (w *PipeWriter) Queue() *waitq.Queue { return w.p.writeQueue() }

// Available returns the number of bytes in the pipe.
func (w *PipeWriter) Available() int { return w.p.n }

// Name is "pipe:[inode]".
func (w *PipeWriter) Name() string { return fmt.Sprintf("pipe:[%d]", w.Ino) }

// PipeSize returns the capacity in bytes.
func (w *PipeWriter) PipeSize() int { return w.p.capacity }

// SetPipeSize is PipeReader.SetPipeSize.
func (w *PipeWriter) SetPipeSize(n int) (int, abi.Errno) { return w.p.setSize(n) }

// CloneFile implements Cloner.
func (w *PipeWriter) CloneFile(c *CloneContext) File {
	return &PipeWriter{Base: w.Base, p: w.p.clone(c)}
}

// Release closes the end: the reader gets what is left and then the end of file.
func (w *PipeWriter) Release() {
	w.p.writers.open--
	w.p.release()
}
