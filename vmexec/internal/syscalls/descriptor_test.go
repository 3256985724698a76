// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

const neg1 = ^uint64(0)

func TestDup(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		f := newMemFile(unix.O_RDWR, "abcdef")
		n := g.install(f)
		buf := g.alloc(8)
		g.must(1, unix.SYS_DUP, n)
		g.must(7, unix.SYS_DUP2, n, 7)
		g.must(7, unix.SYS_DUP2, 7, 7)
		g.must(8, unix.SYS_DUP3, n, 8, unix.O_CLOEXEC)
		g.must(9, unix.SYS_FCNTL, n, unix.F_DUPFD, 7)
		g.must(10, unix.SYS_FCNTL, n, unix.F_DUPFD_CLOEXEC, 7)
		for fd, want := range map[uint64]int64{0: 0, 1: 0, 7: 0, 8: 1, 9: 0, 10: 1} {
			g.must(want, unix.SYS_FCNTL, fd, unix.F_GETFD)
		}
		g.must(2, unix.SYS_READ, 7, buf, 2)
		g.must(2, unix.SYS_READ, 10, buf, 2) // one position for all
		if f.pos != 4 {
			t.Errorf("position %d", f.pos)
		}
		g.fails(abi.EBADF, unix.SYS_DUP, 20)
		g.fails(abi.EBADF, unix.SYS_DUP2, 20, 20)
		g.fails(abi.EBADF, unix.SYS_DUP2, 20, 7)
		g.fails(abi.EBADF, unix.SYS_DUP2, n, 64)
		g.fails(abi.EBADF, unix.SYS_DUP2, n, neg1)
		g.fails(abi.EINVAL, unix.SYS_DUP3, n, n, 0)
		g.fails(abi.EINVAL, unix.SYS_DUP3, n, 3, unix.O_NONBLOCK)
		g.fails(abi.EINVAL, unix.SYS_FCNTL, n, unix.F_DUPFD, 64)
		g.fails(abi.EINVAL, unix.SYS_FCNTL, n, unix.F_DUPFD, neg1)
		g.must(0, unix.SYS_CLOSE, 7)
		g.fails(abi.EBADF, unix.SYS_CLOSE, 7)
		g.must(0, unix.SYS_CLOSE_RANGE, 9, neg1, unix.CLOSE_RANGE_CLOEXEC)
		g.must(1, unix.SYS_FCNTL, 9, unix.F_GETFD)
		g.must(0, unix.SYS_FCNTL, 9, unix.F_SETFD, 0)
		g.must(0, unix.SYS_FCNTL, 9, unix.F_GETFD)
		g.must(0, unix.SYS_CLOSE_RANGE, 1, 1<<31)
		g.fails(abi.EBADF, unix.SYS_CLOSE, 9)
		g.fails(abi.EINVAL, unix.SYS_CLOSE_RANGE, 2, 1)
		g.fails(abi.EINVAL, unix.SYS_CLOSE_RANGE, 1, 2, unix.CLOSE_RANGE_UNSHARE)
		for i := int64(1); i < 64; i++ {
			g.must(i, unix.SYS_DUP, n)
		}
		g.fails(abi.EMFILE, unix.SYS_DUP, n)
		g.fails(abi.EMFILE, unix.SYS_PIPE, buf)
		g.fails(abi.EMFILE, unix.SYS_EPOLL_CREATE1, 0)
		g.fails(abi.EMFILE, unix.SYS_FCNTL, n, unix.F_DUPFD, 63)
		g.must(0, unix.SYS_CLOSE, 5)
		g.fails(abi.EMFILE, unix.SYS_PIPE, buf) // room for one end only
		g.must(5, unix.SYS_DUP, n)
	}))
}

func TestFcntl(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		n := g.install(newMemFile(unix.O_RDONLY, "abc"))
		p := g.install(newMemFile(unix.O_RDONLY|unix.O_PATH, ""))
		_, w := g.pipe(0)
		g.must(unix.O_WRONLY, unix.SYS_FCNTL, w, unix.F_GETFL)
		g.must(0, unix.SYS_FCNTL, w, unix.F_SETFL, unix.O_NONBLOCK|unix.O_RDWR|unix.O_CREAT)
		g.must(unix.O_WRONLY|unix.O_NONBLOCK, unix.SYS_FCNTL, w, unix.F_GETFL)
		g.must(65536, unix.SYS_FCNTL, w, unix.F_GETPIPE_SZ)
		g.must(8192, unix.SYS_FCNTL, w, unix.F_SETPIPE_SZ, 5000)
		g.fails(abi.EPERM, unix.SYS_FCNTL, w, unix.F_SETPIPE_SZ, 1<<30)
		g.fails(abi.EBADF, unix.SYS_FCNTL, n, unix.F_GETPIPE_SZ)
		g.fails(abi.EPERM, unix.SYS_FCNTL, n, unix.F_ADD_SEALS, 1)
		g.fails(abi.EINVAL, unix.SYS_FCNTL, n, 9999)
		g.fails(abi.EBADF, unix.SYS_FCNTL, 50, unix.F_GETFD)
		g.fails(abi.EBADF, unix.SYS_FCNTL, p, unix.F_SETFL, 0)
		g.must(unix.O_PATH, unix.SYS_FCNTL, p, unix.F_GETFL)

		lock := func(kind, whence uint16, start, length int64) uint64 {
			b := binary.LittleEndian.AppendUint16(nil, kind)
			b = binary.LittleEndian.AppendUint16(b, whence)
			b = append(b, 0, 0, 0, 0)
			return g.put(append(b, le(uint64(start), uint64(length), 0)...))
		}
		for _, tt := range []struct {
			cmd  uint64
			addr uint64
			want abi.Errno
		}{
			{unix.F_SETLK, lock(unix.F_RDLCK, 0, 0, 10), abi.OK},
			{unix.F_SETLKW, lock(unix.F_UNLCK, 1, 0, 0), abi.OK},
			{unix.F_SETLK, lock(unix.F_WRLCK, 0, 0, 10), abi.EBADF},
			{unix.F_SETLK, lock(unix.F_RDLCK, 2, -3, 3), abi.OK},
			{unix.F_SETLK, lock(unix.F_RDLCK, 2, -4, 3), abi.EINVAL},
			{unix.F_SETLK, lock(unix.F_RDLCK, 0, 5, -6), abi.EINVAL},
			{unix.F_SETLK, lock(unix.F_RDLCK, 0, 5, -5), abi.OK},
			{unix.F_SETLK, lock(unix.F_RDLCK, 0, math.MaxInt64, 2), abi.EOVERFLOW},
			{unix.F_SETLK, lock(unix.F_RDLCK, 2, math.MaxInt64, 1), abi.EOVERFLOW},
			{unix.F_SETLK, lock(7, 0, 0, 1), abi.EINVAL},
			{unix.F_SETLK, lock(unix.F_RDLCK, 9, 0, 1), abi.EINVAL},
			{unix.F_SETLK, scriptBadAddr, abi.EFAULT},
			{unix.F_GETLK, lock(unix.F_UNLCK, 0, 0, 1), abi.EINVAL},
			{unix.F_OFD_SETLK, lock(unix.F_RDLCK, 0, 0, 1), abi.OK}, // always granted: it has no place in the tree
		} {
			g.fails(tt.want, unix.SYS_FCNTL, n, tt.cmd, tt.addr)
		}
		l := lock(unix.F_WRLCK, 0, 0, 1)
		g.must(0, unix.SYS_FCNTL, n, unix.F_GETLK, l)
		if got := binary.LittleEndian.Uint16(g.get(l, 2)); got != unix.F_UNLCK {
			t.Errorf("F_GETLK found a lock of type %d", got)
		}
	}))
}

func TestIoctl(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		f := newMemFile(unix.O_RDONLY, "abcdef")
		f.pos = 2
		n := g.install(f)
		in := g.install(fd.NewEventInput([]byte("xyz")))
		e := g.install(fd.NewEpoll(g.k.Init.FDs.System()))
		out := g.put(le(neg1))
		count := func(fd uint64, want uint32) {
			t.Helper()
			g.must(0, unix.SYS_IOCTL, fd, fioNread, out)
			if got := binary.LittleEndian.Uint32(g.get(out, 4)); got != want {
				t.Errorf("FIONREAD gives %d, want %d", got, want)
			}
		}
		count(n, 4)
		count(in, 3)
		f.pos = 100
		count(n, 0)
		g.fails(abi.ENOTTY, unix.SYS_IOCTL, e, fioNread, out)
		g.fails(abi.EFAULT, unix.SYS_IOCTL, n, fioNread, scriptBadAddr)
		for _, fd := range []uint64{n, in} {
			g.fails(abi.ENOTTY, unix.SYS_IOCTL, fd, unix.TCGETS, out)
			g.fails(abi.ENOTTY, unix.SYS_IOCTL, fd, unix.TIOCGWINSZ, out)
		}
		g.must(0, unix.SYS_IOCTL, in, fioNbio, g.put(le(1)))
		g.must(unix.O_NONBLOCK, unix.SYS_FCNTL, in, unix.F_GETFL)
		g.must(0, unix.SYS_IOCTL, in, fioNbio, g.put(le(0)))
		g.must(0, unix.SYS_FCNTL, in, unix.F_GETFL)
		g.must(0, unix.SYS_IOCTL, in, fioClex)
		g.must(1, unix.SYS_FCNTL, in, unix.F_GETFD)
		g.must(0, unix.SYS_IOCTL, in, fioNclex)
		g.must(0, unix.SYS_FCNTL, in, unix.F_GETFD)
		g.fails(abi.EFAULT, unix.SYS_IOCTL, in, fioNbio, scriptBadAddr)
		g.fails(abi.EBADF, unix.SYS_IOCTL, 40, fioClex)
	}))
}

func FuzzFlock(f *testing.F) {
	f.Add(make([]byte, 32), int64(0))
	f.Add(append([]byte{1, 0, 2, 0, 0, 0, 0, 0}, le(1<<63, 1<<63, 0)...), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, raw []byte, pos int64) {
		if len(raw) < 32 || pos < 0 {
			return
		}
		m := newMemFile(unix.O_RDWR, "abc")
		m.pos = pos
		l := decodeFlock((*[32]byte)(raw))
		if start, end, errno := l.bounds(m); errno == abi.OK && (start < 0 || end < start) {
			t.Errorf("%+v is from %d to %d", l, start, end)
		}
		b := [flockSize]byte(raw)
		l.encode(&b)
		if got := decodeFlock(&b); got != l || b != [flockSize]byte(raw) {
			t.Errorf("encoded %+v, decoded %+v", l, got)
		}
	})
}
