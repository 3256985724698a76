// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

func TestEventfdCalls(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		g.must(0, unix.SYS_EVENTFD, 3)
		g.must(1, unix.SYS_EVENTFD2, 2, unix.EFD_SEMAPHORE|unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		g.fails(abi.EINVAL, unix.SYS_EVENTFD2, 0, 2)
		buf := g.alloc(8)
		g.must(8, unix.SYS_READ, 0, buf, 8)
		if !bytes.Equal(g.get(buf, 8), le(3)) {
			t.Errorf("count %v", g.get(buf, 8))
		}
		g.must(8, unix.SYS_READ, 1, buf, 8)
		g.must(8, unix.SYS_READ, 1, buf, 8)
		g.fails(abi.EAGAIN, unix.SYS_READ, 1, buf, 8)
		g.must(1, unix.SYS_FCNTL, 1, unix.F_GETFD)
		full := g.put(le(neg1 - 1))
		g.must(8, unix.SYS_WRITE, 0, full, 8)
		g.spawn(func(g *guest) { g.must(8, unix.SYS_READ, 0, g.alloc(8), 8) })
		g.must(8, unix.SYS_WRITE, 0, g.put(le(5)), 8) // waits for the read
		g.must(8, unix.SYS_READ, 0, buf, 8)
		if !bytes.Equal(g.get(buf, 8), le(5)) {
			t.Errorf("count %v", g.get(buf, 8))
		}
		g.fails(abi.EINVAL, unix.SYS_READ, 0, buf, 4)
	}))
}
