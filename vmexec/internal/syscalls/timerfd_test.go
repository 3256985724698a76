// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

func TestTimerfdCalls(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		g.must(0, unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, 0)
		g.must(1, unix.SYS_TIMERFD_CREATE, unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
		g.fails(abi.EPERM, unix.SYS_TIMERFD_CREATE, unix.CLOCK_BOOTTIME_ALARM, 0)
		g.fails(abi.EINVAL, unix.SYS_TIMERFD_CREATE, unix.CLOCK_THREAD_CPUTIME_ID, 0)
		g.fails(abi.EINVAL, unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, 1)
		buf, old := g.alloc(8), g.alloc(32)
		before := g.k.Clock.Monotonic()
		g.must(0, unix.SYS_TIMERFD_SETTIME, 0, 0, g.put(le(0, 0, 0, 3e6)), 0)
		g.must(8, unix.SYS_READ, 0, buf, 8) // waits
		if d := g.k.Clock.Monotonic() - before; d < 3e6 || !bytes.Equal(g.get(buf, 8), le(1)) {
			t.Errorf("%v expirations after %d ns", g.get(buf, 8), d)
		}
		g.must(0, unix.SYS_TIMERFD_SETTIME, 1, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, g.put(le(1<<40, 0, 1, 0)), 0)
		g.must(8, unix.SYS_READ, 1, buf, 8)
		g.fails(abi.EAGAIN, unix.SYS_READ, 1, buf, 8)
		g.must(0, unix.SYS_TIMERFD_GETTIME, 1, old)
		if b := g.get(old, 32); binary.LittleEndian.Uint64(b) == 0 || binary.LittleEndian.Uint64(b[16:]) == 0 {
			t.Errorf("setting %v", b)
		}
		g.must(0, unix.SYS_TIMERFD_SETTIME, 0, 0, g.put(le(7, 8, 100, 0)), old)
		if !bytes.Equal(g.get(old, 32), le(0, 0, 0, 0)) {
			t.Errorf("old setting %v", g.get(old, 32))
		}
		g.must(0, unix.SYS_TIMERFD_SETTIME, 0, 0, g.put(le(0, 0, 0, 0)), old)
		if b := g.get(old, 32); !bytes.Equal(b[:24], le(7, 8, 99)) {
			t.Errorf("old setting %v", b)
		}
		set := g.put(le(0, 0, 1, 0))
		r, _ := g.pipe(0)
		g.fails(abi.EINVAL, unix.SYS_TIMERFD_SETTIME, 0, 4, set, 0)
		g.fails(abi.EINVAL, unix.SYS_TIMERFD_SETTIME, r, 0, set, 0)
		g.fails(abi.EINVAL, unix.SYS_TIMERFD_GETTIME, r, old)
		g.fails(abi.EBADF, unix.SYS_TIMERFD_GETTIME, 40, old)
		g.fails(abi.EINVAL, unix.SYS_TIMERFD_SETTIME, 0, 0, g.put(le(0, 0, 0, 1e9)), 0)
		g.fails(abi.EINVAL, unix.SYS_TIMERFD_SETTIME, 0, 0, g.put(le(neg1, 0, 0, 0)), 0)
		g.fails(abi.EFAULT, unix.SYS_TIMERFD_SETTIME, 0, 0, scriptBadAddr, 0)
	}))
}

func FuzzTimerSetting(f *testing.F) {
	f.Add(le(1, 2, 3, 4))
	f.Add(le(1<<62, 999_999_999, neg1>>1, 0))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) != timerSpecSize {
			return
		}
		if s, errno := decodeSetting((*[timerSpecSize]byte)(raw)); errno == abi.OK && (s.Value < 0 || s.Interval < 0) {
			t.Errorf("%v gives %+v", raw, s)
		}
	})
}
