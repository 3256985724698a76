// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loop stands in for the run loop: the test runs what was posted.
type loop struct{ ch chan func() }

func newLoop() *loop { return &loop{make(chan func(), 64)} }

func (l *loop) post(f func()) { l.ch <- f }

// run runs one posted function, and fails the test when none comes.
func (l *loop) run(t *testing.T) {
	t.Helper()
	select {
	case f := <-l.ch:
		f()
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was posted to the loop")
	}
}

type wakes int

func (w *wakes) Wake() { *w++ }

func bufs(s ...string) Buffers {
	var b Buffers
	for _, x := range s {
		b = append(b, []byte(x))
	}
	return b
}

// read reads at most n bytes as a string.
func read(f File, n int) (string, abi.Errno) {
	p := make([]byte, n)
	k, errno := f.Read(Buffers{p}, CurrentOffset)
	return string(p[:k]), errno
}

func wantRead(t *testing.T, f File, n int, want string, wantErrno abi.Errno) {
	t.Helper()
	if got, errno := read(f, n); got != want || errno != wantErrno {
		t.Fatalf("Read(%d) = %q, %v; want %q, %v", n, got, errno, want, wantErrno)
	}
}

func wantWrite(t *testing.T, f File, s string, want int, wantErrno abi.Errno) {
	t.Helper()
	if n, errno := f.Write(bufs(s), CurrentOffset); n != want || errno != wantErrno {
		t.Fatalf("Write(%d bytes) = %d, %v; want %d, %v", len(s), n, errno, want, wantErrno)
	}
}

func wantReady(t *testing.T, f File, want Events) {
	t.Helper()
	if got := f.Readiness(); got != want {
		t.Fatalf("Readiness = %#x, want %#x", got, want)
	}
}

func TestEventInput(t *testing.T) {
	e := NewEventInput([]byte("hello"))
	wantReady(t, e, In|Hup)
	if e.Available() != 5 {
		t.Errorf("Available = %d", e.Available())
	}
	wantRead(t, e, 2, "he", abi.OK)
	wantRead(t, e, 0, "", abi.OK)
	wantRead(t, e, 9, "llo", abi.OK)
	wantRead(t, e, 9, "", abi.OK)
	wantReady(t, e, Hup)
	if _, errno := e.Read(bufs("x"), 0); errno != abi.ESPIPE {
		t.Errorf("pread: %v", errno)
	}
	if st, _ := e.Stat(); st.Mode != unix.S_IFIFO|0o600 {
		t.Errorf("mode %#o", st.Mode)
	}
	if e.Queue() == nil {
		t.Error("no queue: a pipe can be in an epoll set")
	}
}

func TestCaptureOutput(t *testing.T) {
	over := 0
	c := NewCaptureOutput(5, func() { over++ })
	for _, s := range []string{"abc", "de", ""} {
		wantWrite(t, c, s, len(s), abi.OK)
	}
	if over != 0 || c.Dropped() {
		t.Error("overflow at exactly the limit")
	}
	wantWrite(t, c, "fgh", 3, abi.OK)
	wantWrite(t, c, "i", 1, abi.OK)
	if got := string(c.Bytes()); got != "abcde" || over != 1 || !c.Dropped() {
		t.Errorf("kept %q, overflow called %d times", got, over)
	}
	if _, errno := c.Write(bufs("x"), 3); errno != abi.ESPIPE {
		t.Errorf("pwrite: %v", errno)
	}
	wantReady(t, c, Out)
}

func TestCaptureTail(t *testing.T) {
	for limit := range 9 {
		c := NewCaptureTail(limit)
		var all strings.Builder
		for i := range 40 {
			p := strings.Repeat(string(rune('a'+i%26)), i%7)
			all.WriteString(p)
			if n, errno := c.Write(bufs(p[:len(p)/2], p[len(p)/2:]), CurrentOffset); n != len(p) || errno != abi.OK {
				t.Fatalf("Write = %d, %v", n, errno)
			}
			want := all.String()
			want = want[max(0, len(want)-limit):]
			if got := string(c.Bytes()); got != want {
				t.Fatalf("limit %d after %d writes: %q, want %q", limit, i+1, got, want)
			}
		}
	}
}

func TestStreamInput(t *testing.T) {
	pr, pw := io.Pipe()
	l := newLoop()
	s := NewStreamInput(pr, l.post)
	var w wakes
	s.Queue().Add(&w)
	wantRead(t, s, 10, "", abi.EAGAIN)
	wantRead(t, s, 10, "", abi.EAGAIN) // asks once only
	wantRead(t, s, 0, "", abi.OK)
	wantReady(t, s, 0)
	if _, err := pw.Write([]byte("one")); err != nil {
		t.Fatal(err)
	}
	l.run(t)
	if w != 1 {
		t.Errorf("woken %d times", w)
	}
	wantReady(t, s, In)
	wantRead(t, s, 2, "on", abi.OK)
	wantRead(t, s, 2, "e", abi.OK)
	wantReady(t, s, 0) // a poll starts the next read
	pw.Close()
	l.run(t)
	wantReady(t, s, Hup)
	wantRead(t, s, 2, "", abi.OK)
	s.Release()
}

func TestStreamInputNotAskedNotRead(t *testing.T) {
	r := strings.NewReader("data")
	s := NewStreamInput(r, newLoop().post)
	if r.Len() != 4 {
		t.Error("read before the program asked")
	}
	s.Release()
	wantReady(t, s, 0)
}

func TestStreamInputFailure(t *testing.T) {
	boom := errors.New("boom")
	l := newLoop()
	s := NewStreamInput(io.MultiReader(strings.NewReader("x"), iotestErr{boom}), l.post)
	wantRead(t, s, 1, "", abi.EAGAIN)
	l.run(t)
	wantRead(t, s, 1, "x", abi.OK)
	wantRead(t, s, 1, "", abi.EAGAIN)
	l.run(t)
	wantReady(t, s, Hup|Err)
	wantRead(t, s, 1, "", abi.EIO)
	wantRead(t, s, 1, "", abi.EIO)
	if !errors.Is(s.Err(), boom) {
		t.Errorf("Err = %v", s.Err())
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

// silent is a reader that gives nothing, for ever.
type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

func TestStreamInputNoProgress(t *testing.T) {
	l := newLoop()
	s := NewStreamInput(silent{}, l.post)
	wantReady(t, s, 0)
	l.run(t)
	wantRead(t, s, 1, "", abi.EIO)
	if !errors.Is(s.Err(), io.ErrNoProgress) {
		t.Errorf("Err = %v", s.Err())
	}
}

// The reader's goroutine ends when the program closes its input: goleak checks.
func TestStreamInputReleaseUnblocks(t *testing.T) {
	pr, pw := io.Pipe()
	l := newLoop()
	s := NewStreamInput(pr, l.post)
	wantRead(t, s, 1, "", abi.EAGAIN)
	s.Release()
	l.run(t)
	if _, err := pw.Write([]byte("x")); err == nil {
		t.Error("the reader is still open")
	}
}

// gate is a writer that waits to be let through.
type gate struct {
	open chan struct{}
	buf  bytes.Buffer
	err  error
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	if g.err != nil {
		return 0, g.err
	}
	return g.buf.Write(p)
}

func TestStreamOutput(t *testing.T) {
	var out bytes.Buffer
	s := NewStreamOutput(&out, newLoop().post)
	if err := s.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range 200 {
		p := strings.Repeat("x", i)
		want.WriteString(p)
		wantWrite(t, s, p, len(p), abi.OK)
	}
	if err := s.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if out.String() != want.String() {
		t.Errorf("%d bytes arrived, want %d", out.Len(), want.Len())
	}
	if _, errno := s.Write(bufs("x"), 1); errno != abi.ESPIPE {
		t.Errorf("pwrite: %v", errno)
	}
}

func TestStreamOutputHoldsBack(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	l := newLoop()
	s := NewStreamOutput(g, l.post)
	var w wakes
	s.Queue().Add(&w)
	big := strings.Repeat("b", streamChunk+10)
	wantWrite(t, s, big, streamChunk, abi.OK)
	wantWrite(t, s, big, 0, abi.EAGAIN)
	wantWrite(t, s, "", 0, abi.OK)
	wantReady(t, s, 0)
	close(g.open)
	l.run(t)
	if w != 1 {
		t.Errorf("woken %d times", w)
	}
	if err := s.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantReady(t, s, Out)
	wantWrite(t, s, strings.Repeat("c", streamChunk-5), streamChunk-5, abi.OK)
	if err := s.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if g.buf.Len() != 2*streamChunk-5 {
		t.Errorf("%d bytes arrived", g.buf.Len())
	}
}

func TestStreamOutputSmallWritesStayWhole(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	l := newLoop()
	s := NewStreamOutput(g, l.post)
	wantWrite(t, s, strings.Repeat("a", streamChunk-100), streamChunk-100, abi.OK)
	wantWrite(t, s, strings.Repeat("b", 101), 0, abi.EAGAIN)
	wantWrite(t, s, strings.Repeat("c", 100), 100, abi.OK)
	close(g.open)
	if err := s.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := g.buf.String()[streamChunk-101:]; got != "a"+strings.Repeat("c", 100) {
		t.Errorf("the end is %q", got)
	}
}

func TestStreamOutputFailure(t *testing.T) {
	g := &gate{open: make(chan struct{}), err: io.ErrClosedPipe}
	close(g.open)
	l := newLoop()
	s := NewStreamOutput(g, l.post)
	wantWrite(t, s, "x", 1, abi.OK)
	l.run(t) // waiters are told even when none was held back
	if err := s.Flush(context.Background()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Flush = %v", err)
	}
	wantReady(t, s, Out|Err)
	wantWrite(t, s, "x", 0, abi.EPIPE)
}

func TestStreamOutputFlushGivesUp(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	s := NewStreamOutput(g, newLoop().post)
	wantWrite(t, s, "x", 1, abi.OK)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush = %v", err)
	}
	wantWrite(t, s, "y", 0, abi.EPIPE)
	close(g.open)
	if err := s.Flush(context.Background()); !errors.Is(err, context.Canceled) {
		t.Errorf("second Flush = %v", err)
	}
}
