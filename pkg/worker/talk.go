// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/worker/wire"
	"kontain.dev/eventing/vmexec/talk"
)

// conversation is what is said to the program of a worker during one event, or
// during its start. Its Transport methods are called under the lock of the Side.
type conversation struct {
	p     *Process
	side  *talk.Side
	buf   []byte
	begin func() error // has the program run, behind the first messages; nil once that is done
	ended chan struct{}
	stop  func() bool
}

// keep is how much is kept until someone waits for an answer.
const keep = 64 << 10

// converse starts f, which talks with the program; nil if nobody does. begin is called
// once, after the first messages of f. o is the network outside; with stays it is there
// until the conversation is ended, and otherwise as long as f talks.
func (p *Process) converse(ctx context.Context, started bool, begin func() error, o talk.Outward, stays bool, f func(context.Context, *talk.Side)) *conversation {
	c := &conversation{p: p, begin: begin, ended: make(chan struct{})}
	c.side = talk.NewSide(started, c)
	c.side.SetOutward(o)
	if f == nil {
		f = func(_ context.Context, s *talk.Side) { s.AwaitEnd() }
	}
	c.stop = context.AfterFunc(ctx, func() { c.side.Over(context.Cause(ctx)) })
	go func() {
		defer close(c.ended)
		f(ctx, c.side)
		if stays {
			_ = c.side.Flush()
			_ = p.send(wire.KindDone, nil)
			c.side.AwaitEnd()
			return
		}
		// Nobody else tells the worker any more. One that is gone has said why, to
		// the one who reads.
		c.side.Over(nil)
		_ = c.Flush()
		_ = p.send(wire.KindDone, nil)
	}()
	return c
}

// Tell implements talk.Transport.
func (c *conversation) Tell(m talk.Message) error {
	c.buf = wire.AppendTalk(c.buf, m)
	if len(c.buf) < keep {
		return nil
	}
	return c.Flush()
}

// Flush implements talk.Transport.
func (c *conversation) Flush() error {
	begin := c.begin
	c.begin = nil
	if len(c.buf) > 0 {
		_, err := c.p.sock.Write(c.buf)
		c.buf = c.buf[:0]
		if err != nil && !isEnd(err) {
			return err
		}
	}
	if begin == nil {
		return nil
	}
	if err := begin(); err != nil && !isEnd(err) {
		return err
	}
	return nil
}

// hear passes on the contents of a frame.
func (c *conversation) hear(b []byte) error {
	m, err := wire.DecodeTalk(b)
	if err != nil {
		return err
	}
	if err := c.side.Hear(m); err != nil {
		return &wire.Error{Reason: err.Error()}
	}
	return nil
}

// end ends the talk, and waits for it. reason is why nobody waits for the program any
// more; nil when its run has ended.
func (c *conversation) end(reason error) {
	c.stop()
	c.side.Over(reason)
	<-c.ended
}

// descriptorReader reads a socket, and keeps the descriptors that come with the bytes.
type descriptorReader struct {
	p   *Process
	fds []int
}

func (r *descriptorReader) Read(b []byte) (int, error) {
	raw, err := r.p.sock.SyscallConn()
	if err != nil {
		return 0, err
	}
	oob := make([]byte, unix.CmsgSpace(2*4))
	var n, oobn int
	var recvErr error
	if err := raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, recvErr = unix.Recvmsg(int(fd), b, oob, unix.MSG_CMSG_CLOEXEC)
		return !errors.Is(recvErr, unix.EAGAIN)
	}); err != nil {
		return 0, err
	}
	r.fds = append(r.fds, descriptorsOf(oob[:max(0, oobn)])...)
	switch {
	case recvErr != nil:
		return 0, recvErr
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}
