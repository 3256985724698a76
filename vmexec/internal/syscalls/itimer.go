// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/itimer"
	"kontain.dev/eventing/vmexec/internal/task"
)

func itimerCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_ALARM, Name: "alarm", Fn: alarm, Support: Full},
		{Nr: unix.SYS_GETITIMER, Name: "getitimer", Fn: getItimer, Support: Full},
		{Nr: unix.SYS_SETITIMER, Name: "setitimer", Fn: setItimer, Support: Full},
		{Nr: unix.SYS_TIMER_CREATE, Name: "timer_create", Fn: timerCreate, Support: Full},
		{Nr: unix.SYS_TIMER_SETTIME, Name: "timer_settime", Fn: timerSettime, Support: Full},
		{Nr: unix.SYS_TIMER_GETTIME, Name: "timer_gettime", Fn: timerGettime, Support: Full},
		{Nr: unix.SYS_TIMER_GETOVERRUN, Name: "timer_getoverrun", Fn: timerGetoverrun, Support: Full},
		{Nr: unix.SYS_TIMER_DELETE, Name: "timer_delete", Fn: timerDelete, Support: Full},
	}
}

// itimerOf returns the timer that setitimer(2) names, and its signal is sent to
// the process.
func itimerOf(t *task.Thread, which int32) (*itimer.Timer, abi.Errno) {
	p := t.P
	var slot **itimer.Timer
	switch which {
	case unix.ITIMER_REAL:
		slot = &p.Timers.Real
	case unix.ITIMER_VIRTUAL:
		slot = &p.Timers.Virtual
	case unix.ITIMER_PROF:
		slot = &p.Timers.Prof
	default:
		return nil, abi.EINVAL
	}
	if *slot == nil {
		now, fire := bindTimer(p, which, nil)
		*slot = itimer.New(alarms{p.K}, now, fire)
	}
	return *slot, abi.OK
}

// bindTimer is the itimer.Bind of a process: the clock of a timer and what its
// expiry does.
func bindTimer(p *task.Process, id int32, pt *itimer.POSIX) (now func() int64, fire func(overruns int64)) {
	k := p.K
	if pt != nil {
		return func() int64 { v, _ := readClock(p, pt.Clock); return v }, func(overruns int64) { firePOSIX(p, id, pt, overruns) }
	}
	sig, now := unix.SIGALRM, k.Clock.Monotonic
	switch id {
	case itimer.Virtual:
		sig, now = unix.SIGVTALRM, func() int64 { return cpuTime(p) }
	case itimer.Prof:
		sig, now = unix.SIGPROF, func() int64 { return cpuTime(p) }
	}
	send := p.Signal
	if id != itimer.Real {
		send = p.SignalRunning
	}
	return now, func(int64) { _ = send(int(sig), task.SigInfo{Code: task.CodeKernel}) }
}

// firePOSIX sends the signal of a timer of timer_create.
func firePOSIX(p *task.Process, id int32, pt *itimer.POSIX, overruns int64) {
	if pt.Signal == 0 || !pt.Expired(overruns, timerPending(p, pt)) {
		return
	}
	info := task.SigInfo{Code: task.CodeTimer, PID: id, UID: uint32(min(overruns, 1<<31-1)), Value: pt.Value}
	if pt.Thread == 0 {
		_ = p.Signal(pt.Signal, info)
		return
	}
	if x := p.K.Thread(pt.Thread); x != nil && x.P == p {
		_ = x.Signal(pt.Signal, info)
	}
}

// CloneTimers arms the timers of a clone as those of the kernel that was frozen.
func CloneTimers(k, frozen *task.Kernel) {
	for _, from := range frozen.Processes() {
		p := k.Process(from.PID)
		p.Timers = from.Timers.Clone(alarms{k}, func(id int32, pt *itimer.POSIX) (func() int64, func(int64)) { return bindTimer(p, id, pt) })
	}
}

// alarms lets timers call back on the kernel's loop.
type alarms struct{ k *task.Kernel }

func (a alarms) Monotonic() int64 { return a.k.Clock.Monotonic() }

func (a alarms) After(deadline int64, f func()) (stop func()) { return a.k.After(deadline, f) }

// alarm is alarm(2): the one real-time timer in seconds, rounded up.
func alarm(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	tm, _ := itimerOf(t, unix.ITIMER_REAL)
	left, _ := tm.Get()
	if sec := int64(uint32(a[0])); sec == 0 {
		tm.Set(0, 0)
	} else {
		tm.Set(tm.Later(sec*nanosPerSecond), 0)
	}
	// Linux rounds to the nearest second, but never to 0 what is not 0.
	sec := (left + nanosPerSecond/2) / nanosPerSecond
	if sec == 0 && left > 0 {
		sec = 1
	}
	return uint64(sec), abi.OK
}

func getItimer(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	tm, errno := itimerOf(t, int32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOut(a[1], encodeItimerval(tm))
}

func encodeItimerval(tm *itimer.Timer) []byte {
	left, interval := tm.Get()
	if left > 0 {
		left = max(left, 1000) // what is armed must not read as disarmed
	}
	return abi.AppendTimeval(abi.AppendTimeval(nil, interval), left)
}

func setItimer(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	tm, errno := itimerOf(t, int32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	var interval, value int64
	if a[1] != 0 { // Linux takes a null pointer as zeros
		var b [abi.ItimerSize]byte
		if errno := t.CopyIn(a[1], b[:]); errno != 0 {
			return 0, errno
		}
		if interval, errno = abi.DecodeTimeval(b[:]); errno != 0 {
			return 0, errno
		}
		if value, errno = abi.DecodeTimeval(b[abi.TimespecSize:]); errno != 0 {
			return 0, errno
		}
	}
	old := encodeItimerval(tm)
	if value == 0 {
		tm.Set(0, 0)
	} else {
		tm.Set(tm.Later(value), interval)
	}
	if a[2] != 0 {
		return 0, t.CopyOut(a[2], old)
	}
	return 0, abi.OK
}

// timerCreate is timer_create(2). Errors: EINVAL, EFAULT, EAGAIN.
func timerCreate(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	p, k, clock := t.P, t.K, ownClock(t, int32(a[0]))
	if _, errno := readClock(p, clock); errno != 0 {
		return 0, errno
	}
	switch clock {
	case unix.CLOCK_REALTIME_COARSE, unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_MONOTONIC_RAW,
		unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM: // as on a machine without a clock that can wake it
		return 0, abi.ENOTSUP
	}
	ev := abi.Sigevent{Signal: int32(unix.SIGALRM)}
	if a[1] != 0 {
		var b [abi.SigeventSize]byte
		if errno := t.CopyIn(a[1], b[:]); errno != 0 {
			return 0, errno
		}
		ev = abi.DecodeSigevent(b[:])
	}
	pt := &itimer.POSIX{Clock: clock, Signal: int(ev.Signal), Value: ev.Value}
	switch ev.Notify {
	case abi.SIGEV_NONE:
		pt.Signal = 0
	case abi.SIGEV_SIGNAL, abi.SIGEV_SIGNAL | abi.SIGEV_THREAD_ID:
		if !task.ValidSignal(pt.Signal) {
			return 0, abi.EINVAL
		}
		if ev.Notify&abi.SIGEV_THREAD_ID != 0 {
			if pt.Thread = int(ev.Thread); thread(t, pt.Thread) == nil {
				return 0, abi.EINVAL
			}
		}
	default:
		return 0, abi.EINVAL
	}
	id, ok := p.Timers.Add(pt)
	if !ok {
		return 0, abi.EAGAIN
	}
	now, fire := bindTimer(p, id, pt)
	pt.Timer = itimer.New(alarms{k}, now, fire)
	switch clock {
	case unix.CLOCK_REALTIME, unix.CLOCK_REALTIME_ALARM, unix.CLOCK_TAI:
		pt.Wall = true
	}
	if a[1] == 0 {
		pt.Value = uint64(id)
	}
	if errno := t.CopyOutU32(a[2], uint32(id)); errno != 0 {
		p.Timers.Delete(id)
		return 0, errno
	}
	return 0, abi.OK
}

// timerPending reports whether the timer's signal waits because it is blocked.
func timerPending(p *task.Process, pt *itimer.POSIX) bool {
	for _, x := range p.Threads {
		if (pt.Thread == 0 || pt.Thread == x.TID) && pt.Signal != 0 && x.Pending()>>(pt.Signal-1)&1 != 0 {
			return true
		}
	}
	return false
}

// posixTimer returns the timer with an id. Errors: EINVAL when there is none.
func posixTimer(t *task.Thread, id uint64) (*itimer.POSIX, abi.Errno) {
	if pt := t.P.Timers.POSIX(int32(id)); pt != nil {
		return pt, abi.OK
	}
	return nil, abi.EINVAL
}

func timerSettime(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[2] == 0 {
		return 0, abi.EINVAL
	}
	var b [abi.ItimerSize]byte
	if errno := t.CopyIn(a[2], b[:]); errno != 0 {
		return 0, errno
	}
	interval, errno := abi.DecodeTimespec(b[:])
	if errno != 0 {
		return 0, errno
	}
	value, errno := abi.DecodeTimespec(b[abi.TimespecSize:])
	if errno != 0 {
		return 0, errno
	}
	pt, errno := posixTimer(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	old := encodeItimerspec(pt)
	switch {
	case value == 0:
		pt.Rearm(0, 0)
	case a[1]&unix.TIMER_ABSTIME != 0:
		pt.Rearm(value, interval)
	default:
		pt.RearmAfter(value, interval)
	}
	if a[3] != 0 {
		return 0, t.CopyOut(a[3], old)
	}
	return 0, abi.OK
}

func encodeItimerspec(pt *itimer.POSIX) []byte {
	left, interval := pt.Get()
	return abi.AppendTimespec(abi.AppendTimespec(nil, interval), left)
}

func timerGettime(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	pt, errno := posixTimer(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOut(a[1], encodeItimerspec(pt))
}

func timerGetoverrun(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	pt, errno := posixTimer(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	return uint64(pt.Overruns(timerPending(t.P, pt))), abi.OK
}

func timerDelete(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if _, errno := posixTimer(t, a[0]); errno != 0 {
		return 0, errno
	}
	t.P.Timers.Delete(int32(a[0]))
	return 0, abi.OK
}
