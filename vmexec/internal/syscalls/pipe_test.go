// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

func TestPipeCalls(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		addr := g.alloc(8)
		g.must(0, unix.SYS_PIPE, addr)
		if got := g.get(addr, 8); !bytes.Equal(got, []byte{0, 0, 0, 0, 1, 0, 0, 0}) {
			t.Errorf("descriptors %v", got)
		}
		r, w := g.pipe(unix.O_CLOEXEC | unix.O_NONBLOCK)
		g.must(unix.O_NONBLOCK, unix.SYS_FCNTL, r, unix.F_GETFL)
		g.must(1, unix.SYS_FCNTL, w, unix.F_GETFD)
		g.fails(abi.EINVAL, unix.SYS_PIPE2, addr, unix.O_DIRECT)
		g.fails(abi.EFAULT, unix.SYS_PIPE2, scriptBadAddr, 0)
		r, _ = g.pipe(0) // the failures left nothing open
		g.must(4, unix.SYS_DUP2, r, r)
	}))
}

func TestSpliceAndTee(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		in := newMemFile(unix.O_RDONLY, "0123456789")
		out := newMemFile(unix.O_RDWR, "")
		i, o := g.install(in), g.install(out)
		r1, w1 := g.pipe(0)
		r2, w2 := g.pipe(0)
		buf := g.alloc(64)
		g.must(4, unix.SYS_SPLICE, i, 0, w1, 0, 4, 0)
		off := g.put(le(8))
		g.must(2, unix.SYS_SPLICE, i, off, w1, 0, 100, unix.SPLICE_F_MOVE)
		g.must(0, unix.SYS_SPLICE, i, off, w1, 0, 100, 0) // the end
		if in.pos != 4 || !bytes.Equal(g.get(off, 8), le(10)) {
			t.Errorf("position %d, offset %v", in.pos, g.get(off, 8))
		}
		g.must(5, unix.SYS_TEE, r1, w2, 5, 0)
		g.must(3, unix.SYS_SPLICE, r1, 0, w2, 0, 3, 0)
		g.must(8, unix.SYS_READ, r2, buf, 64)
		if got := string(g.get(buf, 8)); got != "01238012" {
			t.Errorf("the second pipe had %q", got)
		}
		g.must(2, unix.SYS_SPLICE, r1, 0, o, g.put(le(3)), 2, 0)
		g.must(1, unix.SYS_SPLICE, r1, 0, o, 0, 9, 0)
		if got := string(out.data); got != "9\x00\x0038" {
			t.Errorf("the file has %q", got)
		}
		g.must(0, unix.SYS_SPLICE, 99, 0, 99, 0, 0, 0)
		g.must(0, unix.SYS_TEE, 99, 99, 0, 0)
		g.fails(abi.EAGAIN, unix.SYS_SPLICE, r1, 0, w2, 0, 1, unix.SPLICE_F_NONBLOCK)
		g.fails(abi.EAGAIN, unix.SYS_TEE, r1, w2, 1, unix.SPLICE_F_NONBLOCK)
		g.fails(abi.EINVAL, unix.SYS_SPLICE, i, 0, o, 0, 1, 0)
		g.fails(abi.EINVAL, unix.SYS_SPLICE, r1, 0, w1, 0, 1, 0)
		g.fails(abi.EINVAL, unix.SYS_SPLICE, r1, 0, w2, 0, 1, 64)
		g.fails(abi.EINVAL, unix.SYS_TEE, i, w1, 1, 0)
		g.fails(abi.ESPIPE, unix.SYS_SPLICE, r1, off, w2, 0, 1, 0)
		g.fails(abi.ESPIPE, unix.SYS_SPLICE, i, 0, w2, off, 1, 0)
		g.fails(abi.EBADF, unix.SYS_SPLICE, w1, 0, w2, 0, 1, 0)
		g.fails(abi.EINVAL, unix.SYS_SPLICE, i, g.put(le(1<<63)), w1, 0, 1, 0)
		g.spawn(func(g *guest) { g.must(3, unix.SYS_WRITE, w1, buf, 3) })
		g.must(3, unix.SYS_SPLICE, r1, 0, w2, 0, 9, 0) // waits for the other thread
		g.must(0, unix.SYS_CLOSE, w1)
		g.must(0, unix.SYS_SPLICE, r1, 0, w2, 0, 9, 0)
		g.must(0, unix.SYS_CLOSE, r2)
		g.handle(unix.SIGPIPE, 0)
		g.fails(abi.EPIPE, unix.SYS_SPLICE, i, g.put(le(0)), w2, 0, 1, 0)
		if len(g.caught) != 1 {
			t.Errorf("signals %v", g.caught)
		}
	}))
}
