// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

// pollSet places struct pollfd in guest memory: pairs of descriptor and events.
func (g *guest) pollSet(pairs ...int) uint64 {
	var b []byte
	for i := 0; i < len(pairs); i += 2 {
		b = binary.LittleEndian.AppendUint32(b, uint32(pairs[i]))
		b = binary.LittleEndian.AppendUint32(b, uint32(pairs[i+1])|0xaaaa_0000)
	}
	return g.put(b)
}

func (g *guest) wantRevents(set uint64, want ...uint16) {
	g.t.Helper()
	for i, w := range want {
		if got := binary.LittleEndian.Uint16(g.get(set+uint64(i)*8+6, 2)); got != w {
			g.t.Errorf("revents %d = %#x, want %#x", i, got, w)
		}
	}
}

func TestPoll(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		r, w := g.pipe(0)
		buf := g.alloc(8)
		set := g.pollSet(int(r), unix.POLLIN, int(w), unix.POLLOUT|unix.POLLIN, -1, 0xff, 44, 0)
		g.must(2, unix.SYS_POLL, set, 4, 1000)
		g.wantRevents(set, 0, unix.POLLOUT, 0, unix.POLLNVAL)
		one := g.pollSet(int(r), unix.POLLIN)
		g.must(0, unix.SYS_POLL, one, 1, 0)
		g.wantRevents(one, 0)
		before := g.k.Clock.Monotonic()
		g.must(0, unix.SYS_POLL, one, 1, 20)
		if d := g.k.Clock.Monotonic() - before; d < 20e6 {
			t.Errorf("poll waited %d ns", d)
		}
		g.must(0, unix.SYS_POLL, 0, 0, 1)
		g.spawn(func(g *guest) { g.must(1, unix.SYS_WRITE, w, buf, 1) })
		g.must(1, unix.SYS_POLL, one, 1, neg1)
		g.wantRevents(one, unix.POLLIN)
		g.must(0, unix.SYS_CLOSE, w)
		g.must(1, unix.SYS_POLL, one, 1, neg1)
		g.wantRevents(one, unix.POLLIN|unix.POLLHUP)
		g.fails(abi.EINVAL, unix.SYS_POLL, one, 65, 0)
		g.fails(abi.EINVAL, unix.SYS_POLL, one, neg1, 0)
		g.fails(abi.EFAULT, unix.SYS_POLL, scriptBadAddr, 1, 0)
	}))
}

func TestPpoll(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		r, _ := g.pipe(0)
		set := g.pollSet(int(r), unix.POLLIN)
		ts := g.put(le(0, 5e6))
		g.must(0, unix.SYS_PPOLL, set, 1, ts, 0)
		if !bytes.Equal(g.get(ts, 16), le(0, 0)) {
			t.Errorf("the rest is %v", g.get(ts, 16))
		}
		for _, bad := range [][]byte{le(neg1, 0), le(0, 1e9), le(0, neg1)} {
			g.fails(abi.EINVAL, unix.SYS_PPOLL, set, 1, g.put(bad), 0)
		}
		g.fails(abi.EINVAL, unix.SYS_PPOLL, set, 1, ts, g.put(le(0)), 4)
		g.fails(abi.EFAULT, unix.SYS_PPOLL, set, 1, ts, scriptBadAddr, 8)
		// A signal that is blocked but let through by the mask ends the wait, also
		// when it came before.
		main := g.k.Init.Threads[0]
		g.handle(unix.SIGUSR1, 0)
		main.SetMask(1 << (unix.SIGUSR1 - 1))
		_ = main.Signal(int(unix.SIGUSR1), task.SigInfo{})
		ts = g.put(le(100, 0))
		g.fails(abi.EINTR, unix.SYS_PPOLL, set, 1, ts, g.put(le(0)), 8)
		if len(g.caught) != 1 || main.Mask() != 1<<(unix.SIGUSR1-1) {
			t.Errorf("signals %v, mask %#x", g.caught, main.Mask())
		}
		if left := binary.LittleEndian.Uint64(g.get(ts, 8)); left != 99 {
			t.Errorf("%d whole seconds are left of 100", left)
		}
		g.spawn(func(*guest) { _ = main.Signal(int(unix.SIGUSR1), task.SigInfo{}) })
		g.fails(abi.EINTR, unix.SYS_PPOLL, set, 1, 0, g.put(le(0)), 8)
		if len(g.caught) != 2 {
			t.Errorf("signals %v", g.caught)
		}
	}))
}

func TestSelect(t *testing.T) {
	wantExit(t, runScript(t, ioCalls(), func(g *guest) {
		r, w := g.pipe(0)
		bits := func(fds ...uint64) []byte {
			var v uint64
			for _, fd := range fds {
				v |= 1 << fd
			}
			return le(v)
		}
		check := func(addr uint64, want []byte) {
			t.Helper()
			if got := g.get(addr, 8); !bytes.Equal(got, want) {
				t.Errorf("set %v, want %v", got, want)
			}
		}
		in, out := g.put(bits(r)), g.put(bits(w))
		g.must(1, unix.SYS_SELECT, 10, in, out, 0, 0)
		check(in, bits())
		check(out, bits(w))
		g.set(in, bits(r))
		tv := g.put(le(0, 3000))
		g.must(0, unix.SYS_SELECT, 10, in, 0, 0, tv)
		check(in, bits())
		check(tv, le(0))
		g.set(in, bits(r))
		g.set(tv, le(0, 3_000_000))
		g.spawn(func(g *guest) { g.must(1, unix.SYS_WRITE, w, in, 1) })
		g.must(1, unix.SYS_SELECT, 10, in, 0, g.put(bits(r)), tv)
		g.must(2, unix.SYS_SELECT, 10, in, out, 0, tv)
		g.must(1, unix.SYS_SELECT, 10, in, 0, 0, tv)
		check(in, bits(r))
		g.must(0, unix.SYS_SELECT, 0, 0, 0, 0, g.put(le(0, 10)))
		g.must(1, unix.SYS_SELECT, math.MaxInt32, in, 0, 0, 0)
		g.must(1, unix.SYS_PSELECT6, 10, in, 0, 0, g.put(le(0, 100)), g.put(le(0, 0)))
		g.fails(abi.EBADF, unix.SYS_SELECT, 64, g.put(bits(60)), 0, 0, 0)
		g.fails(abi.EINVAL, unix.SYS_SELECT, neg1, 0, 0, 0, 0)
		g.fails(abi.EFAULT, unix.SYS_SELECT, 10, scriptBadAddr, 0, 0, 0)
		g.fails(abi.EINVAL, unix.SYS_SELECT, 10, in, 0, 0, g.put(le(neg1, 0)))
		g.fails(abi.EINVAL, unix.SYS_PSELECT6, 10, in, 0, 0, g.put(le(0, 1e9)))
		g.fails(abi.EINVAL, unix.SYS_PSELECT6, 10, in, 0, 0, 0, g.put(le(in, 16)))
		g.fails(abi.EFAULT, unix.SYS_PSELECT6, 10, in, 0, 0, 0, scriptBadAddr)
	}))
}

func TestTimeoutOf(t *testing.T) {
	for _, tt := range []struct {
		name            string
		sec, frac, unit int64
		want            timeout
		errno           abi.Errno
	}{
		{"zero", 0, 0, 1, 0, abi.OK},
		{"nanoseconds", 2, 5, 1, 2e9 + 5, abi.OK},
		{"microseconds", 2, 5, 1000, 2e9 + 5000, abi.OK},
		{"most nanoseconds", 0, 999_999_999, 1, 999_999_999, abi.OK},
		{"too many nanoseconds", 0, 1e9, 1, 0, abi.EINVAL},
		{"too many microseconds", 0, 1e6, 1000, 0, abi.EINVAL},
		{"negative seconds", -1, 0, 1, 0, abi.EINVAL},
		{"negative nanoseconds", 0, -1, 1, 0, abi.EINVAL},
		{"centuries", math.MaxInt64, 0, 1, math.MaxInt64, abi.OK},
	} {
		if got, errno := timeoutOf(tt.sec, tt.frac, tt.unit); got != tt.want || errno != tt.errno {
			t.Errorf("%s: %d, %v; want %d, %v", tt.name, got, errno, tt.want, tt.errno)
		}
	}
}

func FuzzTimeout(f *testing.F) {
	f.Add(int64(1), int64(999_999_999))
	f.Add(int64(math.MaxInt64/second), int64(999_999_999))
	f.Add(int64(math.MaxInt64/second-1), int64(999_999_999))
	f.Fuzz(func(t *testing.T, sec, frac int64) {
		for _, unit := range []int64{1, 1000} {
			if d, errno := timeoutOf(sec, frac, unit); errno == abi.OK && d < 0 {
				t.Errorf("timeoutOf(%d, %d, %d) = %d", sec, frac, unit, d)
			}
		}
	})
}

func FuzzPollFDs(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0xff, 0xff, 2})
	f.Fuzz(func(t *testing.T, raw []byte) {
		fds := decodePollFDs(raw)
		if len(fds) != len(raw)/pollFDSize {
			t.Fatalf("%d descriptors of %d bytes", len(fds), len(raw))
		}
		for _, p := range fds {
			if p.revents != 0 {
				t.Fatal("revents comes from the program")
			}
		}
	})
}
