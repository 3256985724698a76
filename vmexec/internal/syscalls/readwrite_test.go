// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/task"
)

// ioCalls are the calls of the files in this package that work on descriptors.
func ioCalls() []Entry {
	return slices.Concat(descriptorCalls(), readwriteCalls(), pipeCalls(), pollCalls(), epollCalls(), eventfdCalls(), timerfdCalls())
}

// memFile is a regular file.
type memFile struct {
	fd.Base
	data []byte
	pos  int64
	max  int // most bytes it may have
}

func newMemFile(flags int, data string) *memFile {
	return &memFile{Base: fd.Base{Flags: flags, Mode: unix.S_IFREG | 0o644, Ino: uint64(len(data)) + 1000}, data: []byte(data), max: 1 << 30}
}

func (m *memFile) Read(dst fd.Buffers, off int64) (int, abi.Errno) {
	at := off
	if off == fd.CurrentOffset {
		at = m.pos
	}
	n := 0
	if at < int64(len(m.data)) {
		n = dst.CopyFrom(m.data[at:])
	}
	if off == fd.CurrentOffset {
		m.pos += int64(n)
	}
	return n, abi.OK
}

func (m *memFile) Write(src fd.Buffers, off int64) (int, abi.Errno) {
	at := off
	if off == fd.CurrentOffset {
		at = m.pos
	}
	n := min(src.Len(), m.max-int(at))
	if n <= 0 {
		return 0, abi.ENOSPC
	}
	if end := int(at) + n; end > len(m.data) {
		m.data = append(m.data, make([]byte, end-len(m.data))...)
	}
	src.CopyTo(m.data[at : int(at)+n])
	if off == fd.CurrentOffset {
		m.pos += int64(n)
	}
	return n, abi.OK
}

func (m *memFile) Lseek(off int64, whence int) (int64, abi.Errno) {
	switch whence {
	case unix.SEEK_CUR:
		off += m.pos
	case unix.SEEK_END:
		off += int64(len(m.data))
	}
	m.pos = off
	return off, abi.OK
}

func (m *memFile) Stat() (abi.Stat, abi.Errno) {
	st, errno := m.Base.Stat()
	st.Size = int64(len(m.data))
	return st, errno
}

// install opens a file.
func (g *guest) install(f fd.File) uint64 {
	n, errno := g.k.Init.FDs.Install(f, false, 0)
	if errno != abi.OK {
		g.t.Fatal(errno)
	}
	return uint64(n)
}

// pipe makes a pipe by the system call.
func (g *guest) pipe(flags uint64) (r, w uint64) {
	g.t.Helper()
	addr := g.alloc(8)
	g.must(0, unix.SYS_PIPE2, addr, flags)
	b := g.get(addr, 8)
	return uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
}

func le(words ...uint64) []byte {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func wantExit(t *testing.T, o task.Outcome) {
	t.Helper()
	if o.Ending != task.Exited || o.Status != 0 {
		t.Errorf("the script ended as %+v", o)
	}
}

func TestReadWriteFile(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		f := newMemFile(unix.O_RDWR, "hello, world")
		n := g.install(f)
		buf := g.alloc(64)
		g.must(5, unix.SYS_READ, n, buf, 5)
		g.must(7, unix.SYS_READ, n, buf+5, 50)
		g.must(0, unix.SYS_READ, n, buf, 50)
		if got := string(g.get(buf, 12)); got != "hello, world" {
			t.Errorf("read %q", got)
		}
		g.must(3, unix.SYS_PREAD64, n, buf, 3, 7)
		g.must(2, unix.SYS_PWRITE64, n, g.put([]byte("HE")), 2, 0)
		iov := g.put(le(g.put([]byte("ab")), 2, 0, 0, g.put([]byte("cde")), 3))
		g.must(5, unix.SYS_PWRITEV, n, iov, 3, 7)
		g.must(5, unix.SYS_PWRITEV2, n, iov, 3, ^uint64(0), 0, unix.RWF_DSYNC)
		g.must(0, unix.SYS_LSEEK, n, 0, unix.SEEK_SET)
		g.must(5, unix.SYS_READV, n, iov, 3)
		g.must(5, unix.SYS_PREADV, n, iov, 3, 1)
		g.must(5, unix.SYS_WRITEV, n, iov, 3)
		if got := string(f.data); got != "HElloEllo,deabcde" {
			t.Errorf("the file has %q", got)
		}
		f.max = 20
		g.must(8, unix.SYS_PWRITE64, n, buf, 30, 12)
		g.fails(abi.ENOSPC, unix.SYS_PWRITE64, n, buf, 30, 20)
		const neg = ^uint64(0)
		for _, nr := range []uint64{unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PREADV, unix.SYS_PWRITEV} {
			g.fails(abi.EINVAL, nr, n, iov, 1, neg)
			g.fails(abi.EBADF, nr, 9, iov, 1, 0)
			g.fails(abi.EFAULT, nr, n, scriptBadAddr, 1, 0)
		}
		g.fails(abi.EINVAL, unix.SYS_PREADV2, n, iov, 1, neg-1)
		g.fails(abi.EOPNOTSUPP, unix.SYS_PREADV2, n, iov, 1, 0, 0, unix.RWF_APPEND)
		g.fails(abi.EINVAL, unix.SYS_READV, n, iov, 1025)
		g.fails(abi.EINVAL, unix.SYS_READV, n, iov, 1<<63)
		g.fails(abi.EINVAL, unix.SYS_LSEEK, n, 0, 5)
		g.fails(abi.EBADF, unix.SYS_READ, neg, buf, 1)
		g.fails(abi.EFAULT, unix.SYS_READ, n, scriptBadAddr, 1)
		g.fails(abi.EFAULT, unix.SYS_WRITE, n, 1<<63, 1)
		g.fails(abi.EFAULT, unix.SYS_READ, n, buf, neg>>1)
		g.fails(abi.EFAULT, unix.SYS_WRITE, n, buf, 1<<47)
		w := g.install(newMemFile(unix.O_WRONLY, ""))
		r := g.install(newMemFile(unix.O_RDONLY, ""))
		p := g.install(newMemFile(unix.O_PATH, ""))
		g.fails(abi.EBADF, unix.SYS_READ, w, buf, 1)
		g.fails(abi.EBADF, unix.SYS_WRITE, r, buf, 1)
		g.fails(abi.EBADF, unix.SYS_READ, p, buf, 1)
		g.must(0, unix.SYS_READAHEAD, r, 0, 100)
		g.must(0, unix.SYS_FADVISE64, r, 0, 100, unix.FADV_DONTNEED)
		g.fails(abi.EINVAL, unix.SYS_FADVISE64, r, 0, 100, 6)
		pr, _ := g.pipe(0)
		g.fails(abi.EINVAL, unix.SYS_READAHEAD, pr, 0, 1)
		g.fails(abi.ESPIPE, unix.SYS_FADVISE64, pr, 0, 1, 0)
		g.fails(abi.ESPIPE, unix.SYS_PREAD64, pr, buf, 1, 0)
		g.fails(abi.ESPIPE, unix.SYS_LSEEK, pr, 0, 0)
	}))
}

func TestCopyCalls(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		text := string(bytes.Repeat([]byte("0123456789"), 20000))
		in := newMemFile(unix.O_RDONLY, text)
		out := newMemFile(unix.O_RDWR, "")
		i, o := g.install(in), g.install(out)
		g.must(200000, unix.SYS_SENDFILE, o, i, 0, 1<<40)
		if string(out.data) != text || in.pos != 200000 {
			t.Errorf("sendfile copied %d bytes, position %d", len(out.data), in.pos)
		}
		off := g.put(le(5))
		g.must(10, unix.SYS_SENDFILE, o, i, off, 10)
		if got := binary.LittleEndian.Uint64(g.get(off, 8)); got != 15 || string(out.data[200000:]) != "5678901234" || in.pos != 200000 {
			t.Errorf("offset %d, position %d, copied %q", got, in.pos, out.data[200000:])
		}
		r, w := g.pipe(0)
		g.must(65536, unix.SYS_SENDFILE, w, i, g.put(le(0)), 100000)
		g.fails(abi.EINVAL, unix.SYS_SENDFILE, o, r, 0, 1)
		g.fails(abi.EINVAL, unix.SYS_SENDFILE, o, i, g.put(le(1<<63)), 1)
		g.fails(abi.EFAULT, unix.SYS_SENDFILE, o, i, scriptBadAddr, 1)

		from, to := g.put(le(0)), g.put(le(200005))
		g.must(20, unix.SYS_COPY_FILE_RANGE, i, from, o, to, 20)
		if got := string(out.data[200005:]); got != "01234567890123456789" {
			t.Errorf("copy_file_range gave %q", got)
		}
		if d := cmp.Diff(le(20), g.get(from, 8)); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(le(200025), g.get(to, 8)); d != "" {
			t.Error(d)
		}
		g.fails(abi.EINVAL, unix.SYS_COPY_FILE_RANGE, o, g.put(le(0)), o, g.put(le(10)), 20)
		g.must(10, unix.SYS_COPY_FILE_RANGE, o, g.put(le(0)), o, g.put(le(10)), 10)
		g.fails(abi.EINVAL, unix.SYS_COPY_FILE_RANGE, i, 0, o, 0, 20, 1)
		g.fails(abi.EINVAL, unix.SYS_COPY_FILE_RANGE, r, 0, o, 0, 20)
		out.Flags |= unix.O_APPEND
		g.fails(abi.EBADF, unix.SYS_COPY_FILE_RANGE, i, 0, o, 0, 20)
		g.fails(abi.EINVAL, unix.SYS_SENDFILE, o, i, 0, 20)
	}))
}

// A blocking write waits until everything is in the pipe, a read until there is
// something.
func TestBlockingPipe(t *testing.T) {
	const total = 200_000
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		r, w := g.pipe(0)
		src := make([]byte, total)
		for i := range src {
			src[i] = byte(i * 7)
		}
		from, to := g.put(src), g.alloc(total)
		g.spawn(func(g *guest) {
			got := uint64(0)
			for got < total {
				n := g.call(unix.SYS_READ, r, to+got, 10_000)
				if n <= 0 {
					t.Errorf("read = %s", result(n))
					return
				}
				got += uint64(n)
			}
			g.must(0, unix.SYS_READ, r, to, 1) // waits for the close
			if !bytes.Equal(g.get(to, total), src) {
				t.Error("the bytes differ")
			}
		})
		g.must(total, unix.SYS_WRITE, w, from, total)
		g.must(0, unix.SYS_CLOSE, w)
	}))
}

func TestBrokenPipeSignals(t *testing.T) {
	out := runScript(t, ioCalls(), func(g *guest) {
		r, w := g.pipe(0)
		g.must(0, unix.SYS_CLOSE, r)
		g.handle(unix.SIGPIPE, 0)
		g.fails(abi.EPIPE, unix.SYS_WRITE, w, g.put([]byte("x")), 1)
		if d := cmp.Diff([]int{int(unix.SIGPIPE)}, g.caught); d != "" {
			t.Errorf("signals (-want +got):\n%s", d)
		}
		g.k.Init.SetAction(int(unix.SIGPIPE), task.SigAction{})
		g.call(unix.SYS_WRITE, w, g.put([]byte("x")), 1)
		t.Error("the program lives")
	})
	if out.Ending != task.Signaled || out.Death.Signal != int(unix.SIGPIPE) {
		t.Errorf("ended as %+v", out)
	}
}

func TestInterruptedReadAndWrite(t *testing.T) {
	const restart = 0x1000_0000
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		r, w := g.pipe(0)
		main := g.k.Init.Threads[0]
		buf := g.alloc(100_000)
		g.handle(unix.SIGUSR1, 0)
		g.handle(unix.SIGUSR2, restart)
		kick := func(sig unix.Signal, then func(*guest)) {
			g.spawn(func(h *guest) {
				_ = main.Signal(int(sig), task.SigInfo{})
				if then != nil {
					then(h)
				}
			})
		}
		kick(unix.SIGUSR1, nil)
		g.fails(abi.EINTR, unix.SYS_READ, r, buf, 10)
		kick(unix.SIGUSR2, func(h *guest) { h.must(3, unix.SYS_WRITE, w, buf, 3) })
		g.must(3, unix.SYS_READ, r, buf, 10)
		kick(unix.SIGUSR2, nil)
		g.must(65536, unix.SYS_WRITE, w, buf, 100_000) // what was done so far
		kick(unix.SIGUSR1, nil)
		g.fails(abi.EINTR, unix.SYS_WRITE, w, buf, 1)
		if d := cmp.Diff([]int{10, 12, 12, 10}, g.caught); d != "" {
			t.Errorf("signals (-want +got):\n%s", d)
		}
	}))
}

func TestNonBlocking(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		r, w := g.pipe(unix.O_NONBLOCK)
		buf := g.alloc(100_000)
		g.fails(abi.EAGAIN, unix.SYS_READ, r, buf, 1)
		g.must(65536, unix.SYS_WRITE, w, buf, 100_000)
		g.fails(abi.EAGAIN, unix.SYS_WRITE, w, buf, 1)
		r, _ = g.pipe(0)
		g.fails(abi.EAGAIN, unix.SYS_PREADV2, r, g.put(le(buf, 1)), 1, ^uint64(0), 0, unix.RWF_NOWAIT)
	}))
}

// A buffer may be far longer than what there is to read: only what is filled, and
// little more, becomes memory of the program.
func TestReadIntoHugeBuffer(t *testing.T) {
	const huge = 64 << 20 // more than the program may have
	out := runScript(t, slices.Concat(ioCalls(), memoryCalls()), func(g *guest) {
		text := bytes.Repeat([]byte("0123456789abcdef"), readChunk/8) // two chunks
		buf := uint64(g.call(unix.SYS_MMAP, 0, huge, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0))
		used := func() uint64 { return g.k.Memory.Used() }
		before := used()

		r, w := g.pipe(0)
		g.must(5, unix.SYS_WRITE, w, g.put([]byte("hello")), 5)
		g.must(5, unix.SYS_READ, r, buf, huge)
		g.must(5, unix.SYS_WRITE, w, g.put([]byte("vecto")), 5)
		g.must(5, unix.SYS_READV, r, g.put(le(buf+8, 2, buf+huge/2, huge/2)), 2)
		if got := string(g.get(buf+8, 2)) + string(g.get(buf+huge/2, 3)); got != "vecto" {
			t.Errorf("readv: %q", got)
		}
		if n := used() - before; n > 64 {
			t.Errorf("reading 5 bytes of a pipe took %d pages", n)
		}
		if got := g.get(buf, 5); string(got) != "hello" {
			t.Errorf("read %q", got)
		}

		file, errno := g.k.Init.FDs.Install(newMemFile(unix.O_RDONLY, string(text)+"end"), false, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		want := int64(len(text) + 3)
		g.must(want, unix.SYS_READ, uint64(file), buf, huge)
		g.must(0, unix.SYS_READ, uint64(file), buf, huge)
		if got := g.get(buf, int(want)); string(got) != string(text)+"end" {
			t.Error("the file was not read as it is")
		}
		g.must(want-7, unix.SYS_PREAD64, uint64(file), buf, huge, 7)
		if got := g.get(buf, int(want-7)); string(got) != string(text)[7:]+"end" {
			t.Error("the file was not read as it is from an offset")
		}
		if n := used() - before; n > 1024 { // some are mapped around a fault
			t.Errorf("reading %d bytes took %d pages", want, n)
		}

		// What ends in the middle counts as far as it goes, unless it is beyond what a
		// program can have at all.
		short := uint64(readChunk) + 2*pageSize
		g.must(0, unix.SYS_MUNMAP, buf+short, huge-short)
		g.must(int64(short), unix.SYS_PREAD64, uint64(file), buf, huge, 0)
		g.fails(abi.EFAULT, unix.SYS_PREAD64, uint64(file), buf+short, huge, 0)
		g.fails(abi.EFAULT, unix.SYS_PREAD64, uint64(file), buf, ^uint64(0), 0)
	})
	if out.Ending != task.Exited {
		t.Errorf("ended: %+v", out)
	}
}
