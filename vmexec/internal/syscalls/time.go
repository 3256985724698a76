// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/itimer"
	"kontain.dev/eventing/vmexec/internal/loader"
	"kontain.dev/eventing/vmexec/internal/task"
)

func timeCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_CLOCK_GETTIME, Name: "clock_gettime", Fn: clockGettime, Support: Full},
		{Nr: unix.SYS_CLOCK_GETRES, Name: "clock_getres", Fn: clockGetres, Support: Full},
		{Nr: unix.SYS_CLOCK_SETTIME, Name: "clock_settime", Fn: clockSettime, Support: Refused, Note: "always EPERM, where the arguments are right"},
		{Nr: unix.SYS_CLOCK_ADJTIME, Name: "clock_adjtime", Fn: clockAdjtime, Support: Partial, Note: "reading; changes are EPERM"},
		{Nr: unix.SYS_ADJTIMEX, Name: "adjtimex", Fn: adjtimex, Support: Partial, Note: "reading; changes are EPERM"},
		{Nr: unix.SYS_CLOCK_NANOSLEEP, Name: "clock_nanosleep", Fn: clockNanosleep, Support: Full},
		{Nr: unix.SYS_NANOSLEEP, Name: "nanosleep", Fn: nanosleep, Support: Full},
		{Nr: unix.SYS_GETTIMEOFDAY, Name: "gettimeofday", Fn: getTimeOfDay, Support: Full},
		{Nr: unix.SYS_SETTIMEOFDAY, Name: "settimeofday", Fn: setTimeOfDay, Support: Refused, Note: "always EPERM, where the arguments are right"},
		{Nr: unix.SYS_TIME, Name: "time", Fn: getTime, Support: Full},
		{Nr: unix.SYS_TIMES, Name: "times", Fn: times, Support: Partial, Note: "all CPU time is user time"},
		{Nr: unix.SYS_GETRUSAGE, Name: "getrusage", Fn: getRusage, Support: Partial, Note: "all CPU time is user time"},
	}
}

// noPermission refuses what a program without capabilities may not do.
func noPermission(*task.Thread, task.Args) (uint64, abi.Errno) { return 0, abi.EPERM }

const nanosPerSecond = 1_000_000_000

// Clock ids of negative value name the CPU time of a process or thread, as
// clock_getcpuclockid(3) makes them: the complement of the id shifted left by
// 3, a bit for threads, and two bits for the kind.
const (
	cpuClockThread   = 4
	cpuClockSched    = 2
	cpuClockKindMask = 3
	cpuClockKindFD   = 3 // a clock that is a file, which guests do not have
)

// ownClock turns the clock of the calling thread's processor time into one that names
// the thread, so that it means the same whoever reads it.
func ownClock(t *task.Thread, id int32) int32 {
	if id == unix.CLOCK_THREAD_CPUTIME_ID || id < 0 && id&cpuClockKindMask != cpuClockKindFD && id>>3 == -1 && id&cpuClockThread != 0 {
		return ^int32(t.TID)<<3 | cpuClockThread | cpuClockSched
	}
	return id
}

// cpuTime returns the CPU time that a process has used so far, in nanoseconds.
func cpuTime(p *task.Process) int64 { return max(0, p.CPUTime()) }

// readClock returns the time of a clock in nanoseconds; clock_gettime(2).
// The caller's own thread is named by ownClock. Errors: EINVAL for an unknown clock.
func readClock(p *task.Process, id int32) (int64, abi.Errno) {
	k := p.K
	switch id {
	case unix.CLOCK_REALTIME, unix.CLOCK_REALTIME_COARSE, unix.CLOCK_REALTIME_ALARM, unix.CLOCK_TAI:
		return max(0, k.Clock.Realtime()), abi.OK
	case unix.CLOCK_MONOTONIC, unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		return k.Clock.Monotonic(), abi.OK
	case unix.CLOCK_PROCESS_CPUTIME_ID:
		return cpuTime(p), abi.OK
	}
	if id >= 0 || id&cpuClockKindMask == cpuClockKindFD {
		return 0, abi.EINVAL
	}
	who := int(^(id >> 3))
	switch x := k.Thread(who); {
	case who == 0:
	case id&cpuClockThread != 0 && x != nil && x.P == p:
		return max(0, x.CPUTime()), abi.OK
	case id&cpuClockThread == 0 && k.Process(who) != nil:
		p = k.Process(who)
	default:
		return 0, abi.EINVAL
	}
	return cpuTime(p), abi.OK
}

// thread returns the thread of t's process with the id, or nil.
func thread(t *task.Thread, tid int) *task.Thread {
	for _, x := range t.P.Threads {
		if x.TID == tid {
			return x
		}
	}
	return nil
}

func clockGettime(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	now, errno := readClock(t.P, ownClock(t, int32(a[0])))
	if errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOut(a[1], abi.AppendTimespec(nil, now))
}

// clockGetres answers as the vDSO does: every clock counts in nanoseconds.
func clockGetres(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if _, errno := readClock(t.P, ownClock(t, int32(a[0]))); errno != 0 {
		return 0, errno
	}
	if a[1] == 0 {
		return 0, abi.OK
	}
	return 0, t.CopyOut(a[1], abi.AppendTimespec(nil, 1))
}

func copyInTime(t *task.Thread, addr uint64) (int64, abi.Errno) {
	var b [abi.TimespecSize]byte
	if errno := t.CopyIn(addr, b[:]); errno != 0 {
		return 0, errno
	}
	return abi.DecodeTimespec(b[:])
}

func nanosleep(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return sleepFor(t, a[0], a[1])
}

// clockNanosleep is clock_nanosleep(2). Unknown flags are ignored, as Linux does.
func clockNanosleep(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	id := int32(a[0])
	switch id {
	case unix.CLOCK_REALTIME, unix.CLOCK_TAI, unix.CLOCK_REALTIME_ALARM,
		unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
	case unix.CLOCK_THREAD_CPUTIME_ID:
		return 0, abi.ENOTSUP
	default:
		own := ownClock(t, id)
		if _, errno := readClock(t.P, own); errno != 0 {
			return 0, errno
		}
		if id != unix.CLOCK_PROCESS_CPUTIME_ID && id >= 0 {
			return 0, abi.ENOTSUP
		}
		if own == ownClock(t, unix.CLOCK_THREAD_CPUTIME_ID) { // it would never end
			return 0, abi.EINVAL
		}
		return sleepCPU(t, id, a)
	}
	if a[1]&unix.TIMER_ABSTIME == 0 {
		return sleepFor(t, a[2], a[3])
	}
	if t.Woken() == task.WakeSignal {
		return 0, abi.ERESTARTNOHAND
	}
	until, errno := copyInTime(t, a[2])
	if errno != 0 {
		return 0, errno
	}
	// The clock is read again at each wake-up, so that setting it moves the end.
	now, _ := readClock(t.P, id)
	if until <= now {
		return 0, abi.OK
	}
	return 0, t.Block(itimer.Add(t.K.Clock.Monotonic(), until-now))
}

// cpuSleep is the State of a sleep on a clock of processor time: when it ends.
type cpuSleep int64

// Progress implements task.Progress.
func (cpuSleep) Progress() {}

// cpuSleepLook is how often a sleep on a clock of processor time looks at it at most.
const cpuSleepLook = 1_000_000

// sleepCPU sleeps until a process or another thread has used so much processor time.
func sleepCPU(t *task.Thread, id int32, a task.Args) (uint64, abi.Errno) {
	now, _ := readClock(t.P, id)
	end, again := t.State.(cpuSleep)
	if !again {
		d, errno := copyInTime(t, a[2])
		if errno != 0 {
			return 0, errno
		}
		if a[1]&unix.TIMER_ABSTIME == 0 {
			d = itimer.Add(now, d)
		}
		end = cpuSleep(d)
		t.State = end
	}
	left := int64(end) - now
	switch {
	case left <= 0:
		return 0, abi.OK
	case t.Woken() != task.WakeSignal:
		return 0, t.Block(itimer.Add(t.K.Clock.Monotonic(), max(left, cpuSleepLook)))
	case a[1]&unix.TIMER_ABSTIME != 0:
		return 0, abi.ERESTARTNOHAND
	}
	if a[3] != 0 {
		if errno := t.CopyOut(a[3], abi.AppendTimespec(nil, left)); errno != 0 {
			return 0, errno
		}
	}
	return 0, abi.EINTR
}

// sleepFor sleeps for the time at req; when a signal ends it the rest goes to
// rem, unless that is 0.
func sleepFor(t *task.Thread, req, rem uint64) (uint64, abi.Errno) {
	if t.Woken() == task.WakeNone {
		d, errno := copyInTime(t, req)
		if errno != 0 {
			return 0, errno
		}
		if d == 0 {
			t.Yield()
			return 0, abi.OK
		}
		end := t.Deadline(min(d, 1<<61)) // never none; in a clone that of the first time
		t.State = end
		return 0, t.Block(end)
	}
	end, _ := t.State.(int64)
	left := end - t.K.Clock.Monotonic()
	switch {
	case left <= 0 || t.Woken() == task.WakeTimeout:
		return 0, abi.OK
	case t.Woken() != task.WakeSignal:
		return 0, t.Block(end)
	}
	if rem != 0 {
		if errno := t.CopyOut(rem, abi.AppendTimespec(nil, left)); errno != 0 {
			return 0, errno
		}
	}
	return 0, abi.EINTR
}

func getTimeOfDay(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[0] != 0 {
		if errno := t.CopyOut(a[0], abi.AppendTimeval(nil, max(0, t.K.Clock.Realtime()))); errno != 0 {
			return 0, errno
		}
	}
	if a[1] != 0 { // struct timezone: always UTC
		return 0, t.CopyOutU64(a[1], 0)
	}
	return 0, abi.OK
}

func getTime(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	now := uint64(max(0, t.K.Clock.Realtime()) / nanosPerSecond)
	if a[0] != 0 {
		if errno := t.CopyOutU64(a[0], now); errno != 0 {
			return 0, errno
		}
	}
	return now, abi.OK
}

func times(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	const tick = nanosPerSecond / loader.ClockTicks
	if a[0] != 0 {
		var b [32]byte // struct tms: user, system, and those of children
		binary.LittleEndian.PutUint64(b[:], uint64(cpuTime(t.P)/tick))
		binary.LittleEndian.PutUint64(b[16:], uint64(t.P.WaitedCPU()/tick))
		if errno := t.CopyOut(a[0], b[:]); errno != 0 {
			return 0, errno
		}
	}
	return uint64(t.K.Clock.Monotonic() / tick), abi.OK
}

func getRusage(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	var r abi.Rusage
	switch int32(a[0]) {
	case unix.RUSAGE_SELF, unix.RUSAGE_THREAD:
		r.User = cpuTime(t.P)
		if int32(a[0]) == unix.RUSAGE_THREAD {
			r.User = max(0, t.CPUTime())
		}
		r.MinorFaults = int64(t.P.Faults())
		r.MaxRSS = int64(t.K.Memory.Peak() * pageSize / 1024)
	case unix.RUSAGE_CHILDREN:
		r.User = t.P.WaitedCPU()
		r.MinorFaults = int64(t.P.WaitedFaults())
	default:
		return 0, abi.EINVAL
	}
	return 0, t.CopyOut(a[1], r.Encode())
}
