// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

const testMS = uint64(time.Millisecond)

// sleep sleeps until a signal comes or ms milliseconds have passed.
func (g *guest) sleep(ms uint64) int64 {
	return g.call(unix.SYS_NANOSLEEP, g.put(words(ms/1000, ms%1000*testMS)), 0)
}

func TestAlarm(t *testing.T) {
	runScript(t, append(timeCalls(), itimerCalls()...), func(g *guest) {
		g.handle(unix.SIGALRM, 0)
		g.must(0, unix.SYS_ALARM, 100)
		g.must(100, unix.SYS_ALARM, 0)
		g.must(0, unix.SYS_ALARM, 1<<32) // the upper half is not part of the argument
		g.must(0, unix.SYS_ALARM, math.MaxUint32)
		g.must(math.MaxUint32, unix.SYS_ALARM, 0)

		// Interval 20 ms, first after 5 ms.
		buf := g.alloc(32)
		g.must(0, unix.SYS_SETITIMER, unix.ITIMER_REAL, g.put(words(0, 20_000, 0, 5_000)), 0)
		for range 3 {
			g.must(-int64(abi.EINTR), unix.SYS_NANOSLEEP, g.put(words(5, 0)), 0)
		}
		g.must(0, unix.SYS_GETITIMER, unix.ITIMER_REAL, buf)
		if g.word(buf+8) != 20_000 || g.word(buf+24) == 0 || g.word(buf+24) > 20_000 {
			g.t.Errorf("getitimer: interval %d, value %d", g.word(buf+8), g.word(buf+24))
		}
		g.must(0, unix.SYS_SETITIMER, unix.ITIMER_REAL, 0, buf) // a null pointer stops it
		if g.word(buf+8) != 20_000 {
			g.t.Errorf("old interval %d", g.word(buf+8))
		}
		g.must(0, unix.SYS_ALARM, 0)
		if d := cmp.Diff([]int{14, 14, 14}, g.caught); d != "" {
			g.t.Error(d)
		}
		g.fails(abi.EINVAL, unix.SYS_SETITIMER, 3, buf, 0)
		g.fails(abi.EINVAL, unix.SYS_GETITIMER, arg(-1), buf)
		g.fails(abi.EINVAL, unix.SYS_SETITIMER, 0, g.put(words(0, 0, 0, 1_000_000)), 0)
		g.fails(abi.EINVAL, unix.SYS_SETITIMER, 0, g.put(words(math.MaxUint64, 0, 0, 1)), 0)
		g.fails(abi.EFAULT, unix.SYS_SETITIMER, 0, scriptBadAddr, 0)
	})
}

// TestProfTimer: a timer on CPU time does not expire while the program sleeps.
func TestProfTimer(t *testing.T) {
	runScript(t, append(timeCalls(), itimerCalls()...), func(g *guest) {
		g.handle(unix.SIGPROF, 0)
		g.must(0, unix.SYS_SETITIMER, unix.ITIMER_PROF, g.put(words(0, 0, 30, 0)), 0)
		g.must(0, unix.SYS_SETITIMER, unix.ITIMER_VIRTUAL, g.put(words(0, 0, 30, 0)), 0)
		if r := g.sleep(20); r != 0 || len(g.caught) != 0 {
			g.t.Errorf("sleep: %d, signals %v", r, g.caught)
		}
	})
}

func TestPOSIXTimers(t *testing.T) {
	sigevent := func(value uint64, sig, notify, tid uint64) []byte {
		return append(words(value, notify<<32|sig, tid), make([]byte, 40)...)
	}
	runScript(t, append(timeCalls(), itimerCalls()...), func(g *guest) {
		g.handle(unix.SIGUSR1, 0)
		g.handle(unix.SIGALRM, 0)
		id := g.alloc(8)
		create := func(clock uint64, ev []byte) uint64 {
			g.t.Helper()
			addr := uint64(0)
			if ev != nil {
				addr = g.put(ev)
			}
			g.must(0, unix.SYS_TIMER_CREATE, clock, addr, id)
			return g.word(id) & math.MaxUint32
		}
		a := create(unix.CLOCK_MONOTONIC, sigevent(77, uint64(unix.SIGUSR1), abi.SIGEV_SIGNAL, 0))
		b := create(unix.CLOCK_REALTIME, nil)
		c := create(unix.CLOCK_BOOTTIME, sigevent(0, uint64(unix.SIGUSR1), abi.SIGEV_THREAD_ID, 100))
		d := create(unix.CLOCK_THREAD_CPUTIME_ID, sigevent(0, 0, abi.SIGEV_NONE, 0))
		if a == b || b == c || c == d {
			g.t.Errorf("ids %d %d %d %d", a, b, c, d)
		}

		old := g.put(words(9, 9, 9, 9))
		once := g.put(words(0, 0, 0, 5*testMS))
		g.must(0, unix.SYS_TIMER_SETTIME, a, 0, once, old)
		if g.nanos(old) != 0 || g.nanos(old+16) != 0 {
			g.t.Error("a new timer was armed")
		}
		g.must(-int64(abi.EINTR), unix.SYS_NANOSLEEP, g.put(words(5, 0)), 0)
		g.must(0, unix.SYS_TIMER_GETTIME, a, old)
		if g.nanos(old+16) != 0 {
			g.t.Errorf("%d ns left after the end", g.nanos(old+16))
		}
		g.must(0, unix.SYS_TIMER_GETOVERRUN, a)

		// A blocked signal is sent once and stands for the expiries until it is let in.
		g.must(0, unix.SYS_TIMER_SETTIME, a, 0, g.put(words(0, testMS, 0, testMS)), 0)
		g.k.Init.Threads[0].SetMask(1 << (unix.SIGUSR1 - 1))
		g.must(0, unix.SYS_NANOSLEEP, g.put(words(0, 20*testMS)), 0)
		g.k.Init.Threads[0].SetMask(0)
		g.call(unix.SYS_TIMER_GETTIME, a, old) // the handler runs on the way back
		if n := g.call(unix.SYS_TIMER_GETOVERRUN, a); n < 3 || n > 100 {
			g.t.Errorf("%d overruns in 20 intervals", n)
		}
		g.must(0, unix.SYS_TIMER_SETTIME, a, 0, g.put(words(0, 0, 0, 0)), 0)
		g.caught = g.caught[:1]
		// An absolute time that has passed expires at once.
		g.must(0, unix.SYS_TIMER_SETTIME, b, unix.TIMER_ABSTIME, g.put(words(0, 0, 1, 0)), 0)
		g.must(-int64(abi.EINTR), unix.SYS_NANOSLEEP, g.put(words(5, 0)), 0)
		g.must(0, unix.SYS_TIMER_SETTIME, c, 0, once, 0)
		g.must(-int64(abi.EINTR), unix.SYS_NANOSLEEP, g.put(words(5, 0)), 0)
		g.must(0, unix.SYS_TIMER_SETTIME, d, 0, once, 0)
		g.must(0, unix.SYS_TIMER_GETTIME, d, old)
		if ns := g.nanos(old + 16); ns <= 0 || ns > int64(5*testMS) {
			g.t.Errorf("CPU timer: %d ns left", ns)
		}
		if r := cmp.Diff([]int{10, 14, 10}, g.caught); r != "" {
			g.t.Error(r)
		}

		g.must(0, unix.SYS_TIMER_SETTIME, a, 0, once, 0)
		g.must(0, unix.SYS_TIMER_DELETE, a)
		g.must(0, unix.SYS_NANOSLEEP, g.put(words(0, 20*testMS)), 0) // undisturbed
		for _, nr := range []uint64{unix.SYS_TIMER_DELETE, unix.SYS_TIMER_GETTIME, unix.SYS_TIMER_GETOVERRUN} {
			g.fails(abi.EINVAL, nr, a, old)
			g.fails(abi.EINVAL, nr, arg(-1), old)
		}
		g.fails(abi.EINVAL, unix.SYS_TIMER_SETTIME, a, 0, once, 0)
		g.fails(abi.EINVAL, unix.SYS_TIMER_SETTIME, b, 0, 0, 0)
		g.fails(abi.EINVAL, unix.SYS_TIMER_SETTIME, b, 0, g.put(words(0, 0, 0, 1_000_000_000)), 0)
		g.fails(abi.EFAULT, unix.SYS_TIMER_SETTIME, b, 0, scriptBadAddr, 0)

		for name, ev := range map[string][]byte{
			"signal 0":       sigevent(0, 0, abi.SIGEV_SIGNAL, 0),
			"signal 65":      sigevent(0, 65, abi.SIGEV_SIGNAL, 0),
			"unknown way":    sigevent(0, 10, 2, 0),
			"unknown thread": sigevent(0, 10, abi.SIGEV_THREAD_ID, 7),
		} {
			if r := g.call(unix.SYS_TIMER_CREATE, 1, g.put(ev), id); r != -int64(abi.EINVAL) {
				g.t.Errorf("%s: %s", name, result(r))
			}
		}
		g.fails(abi.EINVAL, unix.SYS_TIMER_CREATE, 42, 0, id)
		g.fails(abi.EFAULT, unix.SYS_TIMER_CREATE, 1, scriptBadAddr, id)
		for range 2000 { // a timer whose id cannot be told does not stay
			g.fails(abi.EFAULT, unix.SYS_TIMER_CREATE, 1, 0, scriptBadAddr)
		}
		n := 0
		for g.call(unix.SYS_TIMER_CREATE, 1, 0, id) == 0 {
			n++
		}
		if n != 1021 { // itimer.MaxPOSIX less b, c and d
			g.t.Errorf("%d timers more", n)
		}
		g.fails(abi.EAGAIN, unix.SYS_TIMER_CREATE, 1, 0, id)
	})
}
