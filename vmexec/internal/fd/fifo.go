// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import "golang.org/x/sys/unix"

// settled leaves out the opens that wait.
func (e ends) settled() ends {
	e.open -= e.waiting
	e.waiting = 0
	return e
}

// NewFIFO returns the pipe of a name made by mkfifo(3), which has no ends yet; see
// fifo(7).
func NewFIFO(sys *System) *Pipe {
	p := newPipe(sys)
	p.named = true
	return p
}

// OpenReader opens one more end to read. The flags and the inode number are those
// of the name.
func (p *Pipe) OpenReader() *PipeReader {
	r := &PipeReader{Base: Base{Flags: unix.O_RDONLY}, p: p}
	if p.writers.open == 0 {
		r.since = p.writers.ever
	}
	p.readers.open++
	p.readers.ever++
	p.readable.WakeAll()
	return r
}

// OpenWriter opens one more end to write.
func (p *Pipe) OpenWriter() *PipeWriter {
	p.writers.open++
	p.writers.ever++
	p.readable.WakeAll()
	return &PipeWriter{Base: Base{Flags: unix.O_WRONLY}, p: p}
}

// Unused reports whether no end is open.
func (p *Pipe) Unused() bool { return p.readers.open == 0 && p.writers.open == 0 }

// Readers and Writers return how many ends are open, and how many ever were.
func (p *Pipe) Readers() (open int, ever uint64) { return p.readers.open, p.readers.ever }

// Writers is Readers for the other side.
func (p *Pipe) Writers() (open int, ever uint64) { return p.writers.open, p.writers.ever }

// Waits says that the end was opened by a call that waits for the other side, or
// that it waits no longer. A clone has no such end: the call is made again there.
func (r *PipeReader) Waits(on bool) { r.p.readers.wait(on) }

// Waits is PipeReader.Waits.
func (w *PipeWriter) Waits(on bool) { w.p.writers.wait(on) }

func (e *ends) wait(on bool) {
	if on {
		e.waiting++
	} else {
		e.waiting--
	}
}

// Pipe returns what the ends share.
func (r *PipeReader) Pipe() *Pipe { return r.p }

// Pipe returns what the ends share.
func (w *PipeWriter) Pipe() *Pipe { return w.p }

// PipeEnds is a file that is the end of a pipe, or both: those that it is not are nil.
type PipeEnds interface {
	File
	Ends() (*PipeReader, *PipeWriter)
}

// Ends implements PipeEnds.
func (r *PipeReader) Ends() (*PipeReader, *PipeWriter) { return r, nil }

// Ends implements PipeEnds.
func (w *PipeWriter) Ends() (*PipeReader, *PipeWriter) { return nil, w }
