// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Post hands a function to the run loop, which calls it soon on its own
// goroutine; it may be called from any goroutine. After the end of the loop it
// drops the function.
type Post func(func())

// streamChunk bounds what is read ahead of the program, and what the program may
// write ahead of the host's writer: the capacity of a Linux pipe.
const streamChunk = 64 << 10

// StreamInput is a standard input read from a host reader as the program asks for
// it, at most one chunk of 64 KiB ahead. A goroutine exists only while a read is
// under way.
type StreamInput struct {
	Base
	r        io.Reader
	post     Post
	q        waitq.Queue
	buf      []byte // storage for the reader
	data     []byte // unread part of buf
	reading  bool   // the goroutine has buf
	ended    bool
	err      error // why the input ended; nil for io.EOF
	released bool
}

// NewStreamInput returns an input of r. Nothing is read before the program reads
// or polls. When the program has closed its last descriptor while a read is under
// way and r is an io.Closer, r is closed, so that the read does not outlive the
// VM; otherwise the goroutine ends when r returns.
func NewStreamInput(r io.Reader, post Post) *StreamInput {
	return &StreamInput{Base: Base{Flags: unix.O_RDONLY, Mode: StreamMode}, r: r, post: post}
}

// Read gives what was read from the host; EAGAIN when nothing is there yet, 0 at
// the end, EIO when the reader failed (see Err), ESPIPE for an offset.
func (s *StreamInput) Read(dst Buffers, off int64) (int, abi.Errno) {
	if off != CurrentOffset {
		return 0, abi.ESPIPE
	}
	if len(s.data) > 0 {
		n := dst.CopyFrom(s.data)
		s.data = s.data[n:]
		return n, abi.OK
	}
	switch {
	case s.err != nil:
		return 0, abi.EIO
	case s.ended || dst.Len() == 0:
		return 0, abi.OK
	}
	s.ask()
	return 0, abi.EAGAIN
}

// ask starts the reader unless it runs, has given data or has ended.
func (s *StreamInput) ask() {
	if s.reading || s.ended || s.released || len(s.data) > 0 {
		return
	}
	if s.buf == nil {
		s.buf = make([]byte, streamChunk)
	}
	s.reading = true
	go func() {
		n, err := readSome(s.r, s.buf)
		s.post(func() { s.deliver(n, err) })
	}()
}

// readSome reads once, and again when a reader gives neither data nor an error,
// which io.Reader discourages but allows.
func readSome(r io.Reader, p []byte) (int, error) {
	for range 100 {
		if n, err := r.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

func (s *StreamInput) deliver(n int, err error) {
	s.reading = false
	s.data = s.buf[:n]
	if err != nil {
		s.ended = true
		if !errors.Is(err, io.EOF) {
			s.err = err
		}
	}
	s.q.WakeAll()
}

// Err returns the failure of the reader that ended the input, or nil.
func (s *StreamInput) Err() error { return s.err }

// Readiness tells of data and of the end. Asking starts a read, so that a program
// that polls before it reads gets its input.
func (s *StreamInput) Readiness() Events {
	s.ask()
	var ev Events
	if len(s.data) > 0 {
		ev |= In
	}
	if s.ended {
		ev |= Hup
		if s.err != nil {
			ev |= Err
		}
	}
	return ev
}

// Queue is woken when data came or the input ended.
func (s *StreamInput) Queue() *waitq.Queue { return &s.q }

// Available returns the number of bytes that were read ahead.
func (s *StreamInput) Available() int { return len(s.data) }

// Release ends a read that is under way; see NewStreamInput.
func (s *StreamInput) Release() {
	s.released = true
	if c, ok := s.r.(io.Closer); ok && s.reading {
		// The input is gone for the program either way.
		_ = c.Close()
	}
	s.q.WakeAll()
}

// StreamOutput is a standard output to a host writer. Writes of the program go to
// a buffer of 64 KiB, which a goroutine drains; it exists only while there is
// something to drain. A full buffer holds the program back.
type StreamOutput struct {
	Base
	w    io.Writer
	post Post
	q    waitq.Queue

	mu       sync.Mutex // guards what follows: shared with the goroutine
	buf      []byte     // not taken by the goroutine yet
	spare    []byte     // storage of the chunk that was written last
	inFlight int        // bytes the goroutine is writing
	held     bool       // the program found the buffer full
	idle     chan struct{}
	err      error
}

// NewStreamOutput returns an output to w, which is used by one goroutine at a time.
func NewStreamOutput(w io.Writer, post Post) *StreamOutput {
	return &StreamOutput{Base: Base{Flags: unix.O_WRONLY, Mode: StreamMode}, w: w, post: post}
}

// room is what the program may write now. As in a pipe, less than PIPE_BUF counts
// as none for readiness, but not for large writes.
func (s *StreamOutput) room() int { return streamChunk - len(s.buf) - s.inFlight }

// Write takes what fits into the buffer, and up to PIPE_BUF bytes either whole or
// not at all. EAGAIN when the buffer is full, EPIPE after the writer failed (see
// Flush), ESPIPE for an offset.
func (s *StreamOutput) Write(src Buffers, off int64) (int, abi.Errno) {
	if off != CurrentOffset {
		return 0, abi.ESPIPE
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, abi.EPIPE
	}
	n := src.Len()
	if n == 0 {
		return 0, abi.OK
	}
	room := s.room()
	if room == 0 || n <= pipeBuf && n > room {
		s.held = true
		return 0, abi.EAGAIN
	}
	n = min(n, room)
	for _, p := range src.Take(n) {
		s.buf = append(s.buf, p...)
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
		go s.drain()
	}
	return n, abi.OK
}

// drain writes until the buffer is empty or the writer fails.
func (s *StreamOutput) drain() {
	s.mu.Lock()
	for len(s.buf) > 0 && s.err == nil {
		chunk := s.buf
		s.buf, s.inFlight = s.spare[:0], len(chunk)
		s.mu.Unlock()
		n, err := s.w.Write(chunk)
		if err == nil && n < len(chunk) {
			err = io.ErrShortWrite
		}
		s.mu.Lock()
		s.spare, s.inFlight = chunk, 0
		if err != nil && s.err == nil {
			s.err = err
			s.buf = nil
		}
		if s.held || s.err != nil {
			s.held = false
			s.mu.Unlock() // post may wait for the loop, which may be about to write
			s.post(s.q.WakeAll)
			s.mu.Lock()
		}
	}
	close(s.idle)
	s.idle = nil
	s.mu.Unlock()
}

// Flush waits until everything the program wrote is with the writer. It returns
// the writer's failure, or the context's: then the rest is given up, later writes
// fail with EPIPE and the goroutine ends when its present write returns.
func (s *StreamOutput) Flush(ctx context.Context) error {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
			s.mu.Lock()
			if s.err == nil && s.idle != nil {
				s.err = ctx.Err()
				s.buf = nil
			}
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Readiness tells whether PIPE_BUF bytes can be written, and whether the writer
// has failed.
func (s *StreamOutput) Readiness() Events {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return Out | Err
	case s.room() >= pipeBuf:
		return Out
	}
	s.held = true
	return 0
}

// Queue is woken when there is room again and when the writer has failed.
func (s *StreamOutput) Queue() *waitq.Queue { return &s.q }
