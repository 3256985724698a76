// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/x86"
)

func threadCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_EXIT, Name: "exit", Fn: exit},
		{Nr: unix.SYS_EXIT_GROUP, Name: "exit_group", Fn: exitGroup},
		{Nr: unix.SYS_FUTEX, Name: "futex", Fn: futex, Support: Partial, Note: "there is one priority, which all inherit"},
		{Nr: unix.SYS_FUTEX_WAITV, Name: "futex_waitv", Fn: futexWaitv, Support: Full},
		{Nr: unix.SYS_ARCH_PRCTL, Name: "arch_prctl", Fn: archPrctl, Support: Partial, Note: "ARCH_SET/GET_FS/GS"},
	}
}

func exit(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	t.Exit(int(a[0]))
	return 0, abi.ENORETURN
}

func exitGroup(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	t.P.ExitGroup(int(a[0]))
	return 0, abi.ENORETURN
}

func archPrctl(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	const setGS, setFS, getFS, getGS = 0x1001, 0x1002, 0x1003, 0x1004
	switch option := int32(a[0]); option {
	case setFS, setGS:
		// A base that is not canonical would fail the entry into the guest.
		if a[1] >= x86.UserEnd {
			return 0, abi.EPERM
		}
		if option == setFS {
			t.Ctx.FSBase = a[1]
		} else {
			t.Ctx.GSBase = a[1]
		}
		return 0, 0
	case getFS:
		return 0, t.CopyOutU64(a[1], t.Ctx.FSBase)
	case getGS:
		return 0, t.CopyOutU64(a[1], t.Ctx.GSBase)
	}
	return 0, abi.EINVAL
}

// Operations of futex(2).
const (
	futexWait        = 0
	futexWake        = 1
	futexRequeue     = 3
	futexCmpRequeue  = 4
	futexWakeOp      = 5
	futexLockPI      = 6
	futexUnlockPI    = 7
	futexTrylockPI   = 8
	futexWaitBitset  = 9
	futexWakeBitset  = 10
	futexWaitPI      = 11 // FUTEX_WAIT_REQUEUE_PI
	futexRequeuePI   = 12 // FUTEX_CMP_REQUEUE_PI
	futexLockPI2     = 13
	futexPrivate     = 128
	futexClockReal   = 256
	futexAllBits     = ^uint32(0)
	futexCommandMask = ^uint64(futexPrivate | futexClockReal)
)

func futex(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	addr, op, val, addr2, val3 := a[0], a[1]&0xffff_ffff, a[2], a[4], uint32(a[5])
	real, private := op&futexClockReal != 0, op&futexPrivate != 0
	cmd := op & futexCommandMask
	if real && cmd != futexWaitBitset && cmd != futexLockPI2 && cmd != futexWaitPI {
		return 0, abi.ENOSYS
	}
	k := t.K
	switch cmd {
	case futexWait, futexWaitBitset:
		bits := futexAllBits
		if cmd == futexWaitBitset {
			bits = val3
		}
		deadline := task.NoDeadline
		if a[3] != 0 && t.Woken() == task.WakeNone {
			ns, errno := timespec(t, a[3])
			if errno != 0 {
				return 0, errno
			}
			switch {
			case cmd == futexWait:
				deadline = t.Deadline(ns)
			case real:
				deadline = k.ClockDeadline(unix.CLOCK_REALTIME, ns)
			default:
				deadline = k.ClockDeadline(unix.CLOCK_MONOTONIC, ns)
			}
		}
		return 0, t.FutexWait(addr, private, uint32(val), bits, deadline)
	case futexWake, futexWakeBitset:
		bits := futexAllBits
		if cmd == futexWakeBitset {
			bits = val3
		}
		if addr%4 != 0 || bits == 0 {
			return 0, abi.EINVAL
		}
		if addr >= userEnd {
			return 0, abi.EFAULT
		}
		woken, errno := t.FutexWake(addr, private, count(val), bits)
		return uint64(woken), errno
	case futexRequeue, futexCmpRequeue:
		if addr%4 != 0 || addr2%4 != 0 || int32(val) < 0 || int32(a[3]) < 0 {
			return 0, abi.EINVAL
		}
		if addr >= userEnd || addr2 >= userEnd {
			return 0, abi.EFAULT
		}
		if cmd == futexCmpRequeue {
			v, errno := t.CopyInU32(addr)
			if errno != 0 {
				return 0, errno
			}
			if v != val3 {
				return 0, abi.EAGAIN
			}
		}
		woken, errno := t.FutexWake(addr, private, int(int32(val)), futexAllBits)
		if errno != 0 {
			return 0, errno
		}
		moved, errno := t.FutexRequeue(addr, addr2, private, int(int32(a[3])))
		return uint64(woken + moved), errno
	case futexWaitPI:
		deadline, errno := futexDeadline(t, a[3], real)
		if errno != 0 {
			return 0, errno
		}
		return 0, t.FutexWaitRequeuePI(addr, addr2, private, uint32(val), deadline)
	case futexRequeuePI:
		if int32(val) != 1 || int32(a[3]) < 0 {
			return 0, abi.EINVAL
		}
		n, errno := t.FutexCmpRequeuePI(addr, addr2, private, int(int32(a[3])), val3)
		return uint64(n), errno
	case futexLockPI, futexLockPI2:
		deadline, errno := futexDeadline(t, a[3], real || cmd == futexLockPI) // which has always meant the wall clock
		if errno != 0 {
			return 0, errno
		}
		return 0, t.FutexLockPI(addr, private, false, deadline)
	case futexTrylockPI:
		return 0, t.FutexLockPI(addr, private, true, task.NoDeadline)
	case futexUnlockPI:
		return 0, t.FutexUnlockPI(addr, private)
	case futexWakeOp:
		return wakeOp(t, addr, addr2, private, count(val), count(a[3]), val3)
	}
	return 0, abi.ENOSYS
}

// futexDeadline reads the absolute timeout at addr, 0 for none, the first time that the
// call is made. Errors: EFAULT, EINVAL.
func futexDeadline(t *task.Thread, addr uint64, wall bool) (int64, abi.Errno) {
	if addr == 0 || t.Woken() != task.WakeNone {
		return task.NoDeadline, 0
	}
	ns, errno := timespec(t, addr)
	if errno != 0 {
		return 0, errno
	}
	clock := unix.CLOCK_MONOTONIC
	if wall {
		clock = unix.CLOCK_REALTIME
	}
	return t.K.ClockDeadline(clock, ns), 0
}

// count is the number of waiters to wake: Linux wakes one for less than one.
func count(v uint64) int { return max(1, int(int32(v))) }

func wakeOp(t *task.Thread, addr, addr2 uint64, private bool, n, n2 int, op uint32) (uint64, abi.Errno) {
	if addr%4 != 0 || addr2%4 != 0 {
		return 0, abi.EINVAL
	}
	old, errno := t.CopyInU32(addr2)
	if errno != 0 {
		return 0, errno
	}
	arg := uint32(int32(op<<8) >> 20)
	cmpArg := int32(op<<20) >> 20
	if op&(8<<28) != 0 {
		arg = 1 << (arg & 31)
	}
	var now uint32
	switch op >> 28 & 7 {
	case 0:
		now = arg
	case 1:
		now = old + arg
	case 2:
		now = old | arg
	case 3:
		now = old &^ arg
	case 4:
		now = old ^ arg
	default:
		return 0, abi.ENOSYS
	}
	if errno := t.CopyOutU32(addr2, now); errno != 0 {
		return 0, errno
	}
	var holds bool
	switch o := int32(old); op >> 24 & 15 {
	case 0:
		holds = o == cmpArg
	case 1:
		holds = o != cmpArg
	case 2:
		holds = o < cmpArg
	case 3:
		holds = o <= cmpArg
	case 4:
		holds = o > cmpArg
	case 5:
		holds = o >= cmpArg
	default:
		return 0, abi.ENOSYS
	}
	woken, errno := t.FutexWake(addr, private, n, ^uint32(0))
	if holds && errno == 0 {
		var more int
		more, errno = t.FutexWake(addr2, private, n2, ^uint32(0))
		woken += more
	}
	return uint64(woken), errno
}

// Limits and flags of futex_waitv(2).
const (
	maxWaitv     = 128
	waitvSize    = 24 // struct futex_waitv
	waitvFlag32  = 2
	waitvPrivate = 128
)

// futexWaitv is futex_waitv(2). Errors: EINVAL, EFAULT, EAGAIN, ETIMEDOUT, EINTR.
func futexWaitv(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if t.Woken() != task.WakeNone {
		at, errno := t.FutexWaitAny(nil, 0)
		return uint64(at), errno
	}
	n, clock := uint32(a[1]), int32(a[4])
	if a[2]&0xffff_ffff != 0 || n == 0 || n > maxWaitv || a[0] == 0 {
		return 0, abi.EINVAL
	}
	deadline := task.NoDeadline
	if a[3] != 0 {
		if clock != unix.CLOCK_MONOTONIC && clock != unix.CLOCK_REALTIME {
			return 0, abi.EINVAL
		}
		ns, errno := timespec(t, a[3])
		if errno != 0 {
			return 0, errno
		}
		deadline = t.K.ClockDeadline(int(clock), ns)
	}
	raw := make([]byte, n*waitvSize)
	if errno := t.CopyIn(a[0], raw); errno != 0 {
		return 0, errno
	}
	list, errno := decodeWaitv(raw)
	if errno != 0 {
		return 0, errno
	}
	at, errno := t.FutexWaitAny(list, deadline)
	return uint64(at), errno
}

// decodeWaitv reads an array of struct futex_waitv. Errors: EINVAL.
func decodeWaitv(raw []byte) ([]task.VectorFutex, abi.Errno) {
	le := binary.LittleEndian
	list := make([]task.VectorFutex, 0, len(raw)/waitvSize)
	for ; len(raw) >= waitvSize; raw = raw[waitvSize:] {
		val, addr, flags := le.Uint64(raw), le.Uint64(raw[8:]), le.Uint32(raw[16:])
		if flags&^uint32(waitvFlag32|waitvPrivate) != 0 || flags&waitvFlag32 == 0 || le.Uint32(raw[20:]) != 0 ||
			val>>32 != 0 || addr%4 != 0 {
			return nil, abi.EINVAL
		}
		list = append(list, task.VectorFutex{Addr: addr, Want: uint32(val), Private: flags&waitvPrivate != 0})
	}
	return list, 0
}
