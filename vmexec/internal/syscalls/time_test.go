// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// words returns little-endian words as bytes.
func words(ws ...uint64) []byte {
	var b []byte
	for _, w := range ws {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// word reads a word of guest memory.
func (g *guest) word(addr uint64) uint64 { return binary.LittleEndian.Uint64(g.get(addr, 8)) }

// nanos reads a struct timespec.
func (g *guest) nanos(addr uint64) int64 {
	return int64(g.word(addr))*nanosPerSecond + int64(g.word(addr+8))
}

// arg is a signed argument.
func arg(v int) uint64 { return uint64(v) }

func TestClocks(t *testing.T) {
	runScript(t, timeCalls(), func(g *guest) {
		buf := g.alloc(64)
		const year2020 = 1577836800
		for name, tc := range map[string]struct {
			clock  int32
			lo, hi int64 // seconds
			errno  abi.Errno
		}{
			"realtime":            {unix.CLOCK_REALTIME, year2020, math.MaxInt64, 0},
			"realtime coarse":     {unix.CLOCK_REALTIME_COARSE, year2020, math.MaxInt64, 0},
			"tai":                 {unix.CLOCK_TAI, year2020, math.MaxInt64, 0},
			"monotonic":           {unix.CLOCK_MONOTONIC, 0, year2020, 0},
			"monotonic raw":       {unix.CLOCK_MONOTONIC_RAW, 0, year2020, 0},
			"boottime":            {unix.CLOCK_BOOTTIME, 0, year2020, 0},
			"process CPU":         {unix.CLOCK_PROCESS_CPUTIME_ID, 0, 3600, 0},
			"thread CPU":          {unix.CLOCK_THREAD_CPUTIME_ID, 0, 3600, 0},
			"own process by id":   {^int32(100)<<3 | 2, 0, 3600, 0},
			"own process as 0":    {-6, 0, 3600, 0},
			"own thread by id":    {^int32(100)<<3 | 6, 0, 3600, 0},
			"other process by id": {^int32(7)<<3 | 2, 0, 0, abi.EINVAL},
			"a file's clock":      {^int32(0)<<3 | 3, 0, 0, abi.EINVAL},
			"10":                  {10, 0, 0, abi.EINVAL},
			"huge":                {math.MaxInt32, 0, 0, abi.EINVAL},
		} {
			g.set(buf, words(math.MaxUint64, math.MaxUint64))
			g.must(-int64(tc.errno), unix.SYS_CLOCK_GETTIME, uint64(uint32(tc.clock)), buf)
			g.must(-int64(tc.errno), unix.SYS_CLOCK_GETRES, uint64(uint32(tc.clock)), buf+16)
			if tc.errno != 0 {
				continue
			}
			if sec := int64(g.word(buf)); sec < tc.lo || sec > tc.hi || g.word(buf+8) >= nanosPerSecond {
				g.t.Errorf("%s: %d s", name, sec)
			}
			if ns := g.nanos(buf + 16); ns != 1 {
				g.t.Errorf("%s: resolution %d", name, ns)
			}
		}
		g.must(0, unix.SYS_CLOCK_GETRES, unix.CLOCK_MONOTONIC, 0)
		g.fails(abi.EFAULT, unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, scriptBadAddr)

		now := time.Now().Unix()
		if v := g.call(unix.SYS_TIME, buf); v < now || int64(g.word(buf)) != v {
			g.t.Errorf("time: %d, %d", v, g.word(buf))
		}
		g.must(0, unix.SYS_GETTIMEOFDAY, buf, buf+16)
		if sec := int64(g.word(buf)); sec < now || g.word(buf+8) >= 1e6 || g.word(buf+16) != 0 {
			g.t.Errorf("gettimeofday: %d", sec)
		}
		g.must(0, unix.SYS_GETTIMEOFDAY, 0, 0)
		g.fails(abi.EFAULT, unix.SYS_GETTIMEOFDAY, scriptBadAddr, 0)
		if v := g.call(unix.SYS_TIMES, buf); v <= 0 {
			g.t.Errorf("times: %d", v)
		}
		g.set(buf, words(1, 1))
		g.fails(abi.EPERM, unix.SYS_CLOCK_SETTIME, unix.CLOCK_REALTIME, buf)
		g.fails(abi.EINVAL, unix.SYS_CLOCK_SETTIME, unix.CLOCK_MONOTONIC, buf)
		g.fails(abi.EPERM, unix.SYS_SETTIMEOFDAY, buf, 0)
		timex := g.alloc(timexSize)
		g.must(timeError, unix.SYS_ADJTIMEX, timex)
		g.must(timeError, unix.SYS_CLOCK_ADJTIME, unix.CLOCK_REALTIME, timex)
		g.fails(abi.ENOTSUP, unix.SYS_CLOCK_ADJTIME, unix.CLOCK_MONOTONIC, timex)
		g.set(timex, words(1))
		g.fails(abi.EPERM, unix.SYS_ADJTIMEX, timex)
		g.fails(abi.EFAULT, unix.SYS_ADJTIMEX, scriptBadAddr)

		usage := g.alloc(144)
		for who, errno := range map[int]abi.Errno{0: 0, 1: 0, -1: 0, 2: abi.EINVAL, -2: abi.EINVAL} {
			g.must(-int64(errno), unix.SYS_GETRUSAGE, arg(who), usage)
		}
		g.must(0, unix.SYS_GETRUSAGE, 0, usage)
		if kib := g.word(usage + 32); kib == 0 || kib > 16<<10 {
			g.t.Errorf("ru_maxrss %d KiB", kib)
		}
	})
}

func TestSleep(t *testing.T) {
	const ms = uint64(time.Millisecond)
	runScript(t, timeCalls(), func(g *guest) {
		for _, bad := range [][]byte{words(math.MaxUint64, 0), words(0, 1_000_000_000), words(0, math.MaxUint64)} {
			g.fails(abi.EINVAL, unix.SYS_NANOSLEEP, g.put(bad), 0)
			g.fails(abi.EINVAL, unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, g.put(bad), 0)
		}
		g.fails(abi.EFAULT, unix.SYS_NANOSLEEP, scriptBadAddr, 0)
		g.must(0, unix.SYS_NANOSLEEP, g.put(words(0, 0)), 0)
		took := func(want time.Duration, nr uint64, args ...uint64) {
			g.t.Helper()
			start := time.Now()
			g.must(0, nr, args...)
			if d := time.Since(start); d < want || d > want+2*time.Second {
				g.t.Errorf("slept %v, want %v", d, want)
			}
		}
		ts := g.put(words(0, 10*ms))
		took(10*time.Millisecond, unix.SYS_NANOSLEEP, ts, 0)
		took(10*time.Millisecond, unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_REALTIME, 0, ts, 0)
		for _, clock := range []uint64{unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME} {
			g.must(0, unix.SYS_CLOCK_GETTIME, clock, ts)
			until := uint64(g.nanos(ts)) + 10*ms
			g.set(ts, words(until/nanosPerSecond, until%nanosPerSecond))
			took(9*time.Millisecond, unix.SYS_CLOCK_NANOSLEEP, clock, unix.TIMER_ABSTIME, ts, 0)
			took(0, unix.SYS_CLOCK_NANOSLEEP, clock, unix.TIMER_ABSTIME, ts, 0) // has passed
		}
		g.fails(abi.ENOTSUP, unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_THREAD_CPUTIME_ID, 0, ts, 0)
		g.fails(abi.ENOTSUP, unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_PROCESS_CPUTIME_ID, 0, ts, 0)
		g.fails(abi.ENOTSUP, unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC_RAW, 0, ts, 0)
		g.fails(abi.EINVAL, unix.SYS_CLOCK_NANOSLEEP, 99, 0, ts, 0)
	})
}

// TestSleepInterrupted: a signal ends a sleep with EINTR, and the rest of a
// relative one is told.
func TestSleepInterrupted(t *testing.T) {
	runScript(t, timeCalls(), func(g *guest) {
		const saRestart = 0x1000_0000 // has no effect on sleeps
		g.handle(unix.SIGUSR1, saRestart)
		soon := func() {
			g.k.After(g.k.Clock.Monotonic()+int64(5*time.Millisecond), func() {
				g.k.Init.Signal(int(unix.SIGUSR1), userInfo(g.k.Init.Threads[0], 0))
			})
		}
		ts, rem := g.put(words(9, 0)), g.put(words(0, 0))
		soon()
		g.fails(abi.EINTR, unix.SYS_NANOSLEEP, ts, rem)
		if left := g.nanos(rem); left <= 7*nanosPerSecond || left >= 9*nanosPerSecond {
			g.t.Errorf("%d ns left", left)
		}
		soon()
		g.fails(abi.EFAULT, unix.SYS_NANOSLEEP, ts, scriptBadAddr)
		g.set(ts, words(1<<40, 0))
		g.set(rem, words(0, 0))
		soon()
		g.fails(abi.EINTR, unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_REALTIME, unix.TIMER_ABSTIME, ts, rem)
		if g.nanos(rem) != 0 {
			g.t.Error("an absolute sleep has told a rest")
		}
		soon()
		g.set(ts, words(math.MaxInt64, 0)) // longer than the clock goes
		g.fails(abi.EINTR, unix.SYS_NANOSLEEP, ts, 0)
		if len(g.caught) != 4 {
			g.t.Errorf("handlers ran for %v", g.caught)
		}
	})
}
