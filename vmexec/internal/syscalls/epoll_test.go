// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/task"
)

func (g *guest) epollEvent(events uint32, data uint64) uint64 {
	return g.put(appendEpollEvent(nil, fd.EpollEvent{Events: events, Data: data}))
}

func TestEpollCalls(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		r, w := g.pipe(0)
		buf, out := g.alloc(8), g.alloc(12*8)
		ep := uint64(g.call(unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC))
		g.must(1, unix.SYS_FCNTL, ep, unix.F_GETFD)
		g.must(int64(ep)+1, unix.SYS_EPOLL_CREATE, 1)
		reg := g.install(newMemFile(unix.O_RDWR, ""))
		ev := g.epollEvent(unix.EPOLLIN, 0x1122334455667788)
		const add, mod, del = unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_MOD, unix.EPOLL_CTL_DEL
		g.must(0, unix.SYS_EPOLL_CTL, ep, add, r, ev)
		g.must(0, unix.SYS_EPOLL_WAIT, ep, out, 8, 0)
		g.must(0, unix.SYS_EPOLL_WAIT, ep, out, 8, 5)
		g.spawn(func(g *guest) { g.must(1, unix.SYS_WRITE, w, buf, 1) })
		g.must(1, unix.SYS_EPOLL_WAIT, ep, out, 8, neg1)
		want := appendEpollEvent(nil, fd.EpollEvent{Events: unix.EPOLLIN, Data: 0x1122334455667788})
		if got := g.get(out, 12); !bytes.Equal(got, want) {
			t.Errorf("event %v, want %v", got, want)
		}
		g.must(1, unix.SYS_EPOLL_PWAIT, ep, out, 1, neg1, 0, 0)
		g.must(1, unix.SYS_EPOLL_PWAIT2, ep, out, 1, g.put(le(0, 1000)), g.put(le(0)), 8)
		g.fails(abi.EFAULT, unix.SYS_EPOLL_WAIT, ep, scriptBadAddr, 1, 0)
		g.must(0, unix.SYS_EPOLL_CTL, ep, mod, r, g.epollEvent(unix.EPOLLIN|unix.EPOLLET, 7))
		g.must(1, unix.SYS_EPOLL_WAIT, ep, out, 8, 0)
		g.must(0, unix.SYS_EPOLL_WAIT, ep, out, 8, 0)
		for _, tt := range []struct {
			ep, op, fd, ev uint64
			want           abi.Errno
		}{
			{ep, add, r, ev, abi.EEXIST},
			{ep, add, reg, ev, abi.EPERM},
			{ep, add, 40, ev, abi.EBADF},
			{40, add, r, ev, abi.EBADF},
			{w, add, r, ev, abi.EINVAL},
			{ep, add, ep, ev, abi.EINVAL},
			{ep, 9, r, ev, abi.EINVAL},
			{ep, add, w, scriptBadAddr, abi.EFAULT},
			{ep, mod, w, ev, abi.ENOENT},
			{ep, del, w, 0, abi.ENOENT},
			{ep, del, r, 0, abi.OK},
			{ep, add, ep + 1, ev, abi.OK},
			{ep + 1, add, ep, ev, abi.ELOOP},
		} {
			g.fails(tt.want, unix.SYS_EPOLL_CTL, tt.ep, tt.op, tt.fd, tt.ev)
		}
		g.fails(abi.EINVAL, unix.SYS_EPOLL_CREATE, 0)
		g.fails(abi.EINVAL, unix.SYS_EPOLL_CREATE1, 1)
		g.fails(abi.EINVAL, unix.SYS_EPOLL_WAIT, ep, out, 0, 0)
		g.fails(abi.EINVAL, unix.SYS_EPOLL_WAIT, ep, out, neg1, 0)
		g.fails(abi.EINVAL, unix.SYS_EPOLL_WAIT, r, out, 1, 0)
		g.fails(abi.EBADF, unix.SYS_EPOLL_WAIT, 40, out, 1, 0)
		g.fails(abi.EINVAL, unix.SYS_EPOLL_PWAIT, ep, out, 1, 0, out, 7)
		g.fails(abi.EINVAL, unix.SYS_EPOLL_PWAIT2, ep, out, 1, g.put(le(0, 1e9)))
		main := g.k.Init.Threads[0]
		g.handle(unix.SIGUSR1, 0x1000_0000) // SA_RESTART makes no difference
		g.spawn(func(*guest) { _ = main.Signal(int(unix.SIGUSR1), task.SigInfo{}) })
		g.fails(abi.EINTR, unix.SYS_EPOLL_WAIT, ep, out, 1, neg1)
	}))
}

func FuzzEpollEvent(f *testing.F) {
	f.Add(make([]byte, epollEventSize))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) != epollEventSize {
			return
		}
		if got := appendEpollEvent(nil, decodeEpollEvent((*[epollEventSize]byte)(raw))); !bytes.Equal(got, raw) {
			t.Errorf("%v came back as %v", raw, got)
		}
	})
}
