// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/task"
)

// timerfdCalls are the calls of timerfd_create(2).
func timerfdCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_TIMERFD_CREATE, Name: "timerfd_create", Fn: sysTimerfdCreate, Support: Partial, Note: "the alarm clocks are EPERM; CLOCK_BOOTTIME is CLOCK_MONOTONIC: a VM does not sleep"},
		{Nr: unix.SYS_TIMERFD_SETTIME, Name: "timerfd_settime", Fn: sysTimerfdSettime, Support: Partial, Note: "TFD_TIMER_CANCEL_ON_SET changes nothing: a program cannot set the clock"},
		{Nr: unix.SYS_TIMERFD_GETTIME, Name: "timerfd_gettime", Fn: sysTimerfdGettime, Support: Full},
	}
}

func sysTimerfdCreate(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	flags := uint32(a[1])
	if flags&^uint32(unix.TFD_CLOEXEC|unix.TFD_NONBLOCK) != 0 {
		return 0, abi.EINVAL
	}
	switch int32(a[0]) {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME:
	case unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM:
		return 0, abi.EPERM
	default:
		return 0, abi.EINVAL
	}
	f := fd.NewTimerFD(t.P.FDs.System(), t.K.Clock, t.K, int32(a[0]) == unix.CLOCK_REALTIME, int(flags&unix.TFD_NONBLOCK))
	n, errno := t.P.FDs.Install(f, flags&unix.TFD_CLOEXEC != 0, 0)
	return uint64(n), errno
}

// timerOf returns the timer of a descriptor: EBADF when it is not open, EINVAL when
// it is something else.
func timerOf(t *task.Thread, arg uint64) (*fd.TimerFD, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(arg))
	if errno != abi.OK {
		return nil, errno
	}
	tf, ok := f.(*fd.TimerFD)
	if !ok {
		return nil, abi.EINVAL
	}
	return tf, abi.OK
}

// timerSpecSize is the size of struct itimerspec: the interval and the value.
const timerSpecSize = 32

func decodeSetting(b *[timerSpecSize]byte) (fd.Setting, abi.Errno) {
	at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8*i:])) }
	interval, errno := timeoutOf(at(0), at(1), 1)
	if errno != abi.OK {
		return fd.Setting{}, errno
	}
	value, errno := timeoutOf(at(2), at(3), 1)
	return fd.Setting{Value: int64(value), Interval: int64(interval)}, errno
}

func copyOutSetting(t *task.Thread, addr uint64, s fd.Setting) abi.Errno {
	var b [timerSpecSize]byte
	for i, v := range [4]int64{s.Interval / second, s.Interval % second, s.Value / second, s.Value % second} {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(v))
	}
	return t.CopyOut(addr, b[:])
}

func sysTimerfdSettime(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	var raw [timerSpecSize]byte
	if errno := t.CopyIn(a[2], raw[:]); errno != abi.OK {
		return 0, errno
	}
	s, errno := decodeSetting(&raw)
	if errno != abi.OK {
		return 0, errno
	}
	flags := uint32(a[1])
	if flags&^uint32(unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET) != 0 {
		return 0, abi.EINVAL
	}
	tf, errno := timerOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	old := tf.Set(s, flags&unix.TFD_TIMER_ABSTIME != 0)
	if a[3] == 0 {
		return 0, abi.OK
	}
	return 0, copyOutSetting(t, a[3], old)
}

func sysTimerfdGettime(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	tf, errno := timerOf(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	return 0, copyOutSetting(t, a[1], tf.Get())
}
