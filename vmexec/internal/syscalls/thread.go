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
	const noFork = "threads only: a clone without CLONE_VM and CLONE_THREAD is refused with ENOSYS"
	return []Entry{
		{Nr: unix.SYS_CLONE, Name: "clone", Fn: clone, Support: Partial, Note: noFork},
		{Nr: unix.SYS_CLONE3, Name: "clone3", Fn: clone3, Support: Partial, Note: noFork},
		{Nr: unix.SYS_EXIT, Name: "exit", Fn: exit},
		{Nr: unix.SYS_EXIT_GROUP, Name: "exit_group", Fn: exitGroup},
		{Nr: unix.SYS_FUTEX, Name: "futex", Fn: futex, Support: Partial, Note: "priority inheritance operations are refused with ENOSYS"},
		{Nr: unix.SYS_ARCH_PRCTL, Name: "arch_prctl", Fn: archPrctl, Support: Partial, Note: "ARCH_SET/GET_FS/GS"},
	}
}

// threadFlags are the flags of clone that a thread of the same process may
// have; what they share is one anyway.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM |
	unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID | unix.CLONE_CHILD_SETTID | unix.CLONE_DETACHED | unix.CLONE_IO

type cloneArgs struct {
	flags, parentTID, childTID, stack, tls uint64
}

func clone(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return startThread(t, cloneArgs{flags: uint64(uint32(a[0])) &^ 0xff, stack: a[1], parentTID: a[2], childTID: a[3], tls: a[4]})
}

// clone3 sizes: struct clone_args of Linux 5.3, and what is accepted at most.
const (
	cloneArgsMin   = 64
	cloneArgsKnown = 88 // with set_tid and cgroup
	cloneArgsMax   = 4096
)

func clone3(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[1] < cloneArgsMin {
		return 0, abi.EINVAL
	}
	if a[1] > cloneArgsMax {
		return 0, abi.E2BIG
	}
	b := make([]byte, a[1])
	if errno := t.CopyIn(a[0], b); errno != 0 {
		return 0, errno
	}
	le := binary.LittleEndian
	field := func(i int) uint64 { return le.Uint64(b[8*i:]) }
	for i, x := range b[cloneArgsMin:] {
		switch {
		case x == 0:
		case cloneArgsMin+i >= cloneArgsKnown:
			return 0, abi.E2BIG
		default: // set_tid and cgroup
			return 0, abi.EINVAL
		}
	}
	c := cloneArgs{flags: field(0), childTID: field(2), parentTID: field(3), stack: field(5) + field(6), tls: field(7)}
	if c.flags&0xff != 0 || c.flags&unix.CLONE_DETACHED != 0 || field(4) != 0 && c.flags&unix.CLONE_THREAD != 0 || (field(5) == 0) != (field(6) == 0) {
		return 0, abi.EINVAL
	}
	return startThread(t, c)
}

func startThread(t *task.Thread, c cloneArgs) (uint64, abi.Errno) {
	const must = unix.CLONE_VM | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	switch {
	case c.flags&unix.CLONE_SIGHAND != 0 && c.flags&unix.CLONE_VM == 0, c.flags&unix.CLONE_THREAD != 0 && c.flags&unix.CLONE_SIGHAND == 0:
		return 0, abi.EINVAL
	case c.flags&must != must:
		return 0, abi.ENOSYS
	case c.flags&^threadFlags != 0:
		return 0, abi.EINVAL
	case c.flags&unix.CLONE_SETTLS != 0 && c.tls >= x86.UserEnd:
		return 0, abi.EPERM
	}
	n, errno := t.K.NewThread(t)
	if errno != 0 {
		return 0, errno
	}
	r := &n.Ctx.Regs
	r.RAX = 0
	if c.stack != 0 {
		r.RSP = c.stack
	}
	if c.flags&unix.CLONE_SETTLS != 0 {
		n.Ctx.FSBase = c.tls
	}
	if c.flags&unix.CLONE_CHILD_CLEARTID != 0 {
		n.ClearChildTID = c.childTID
	}
	tid := uint32(n.TID)
	// As Linux, a bad address here does not undo the thread.
	if c.flags&unix.CLONE_PARENT_SETTID != 0 {
		_ = t.CopyOutU32(c.parentTID, tid)
	}
	if c.flags&unix.CLONE_CHILD_SETTID != 0 {
		_ = t.CopyOutU32(c.childTID, tid)
	}
	return uint64(tid), 0
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
	futexWaitBitset  = 9
	futexWakeBitset  = 10
	futexPrivate     = 128
	futexClockReal   = 256
	futexAllBits     = ^uint32(0)
	futexCommandMask = ^uint64(futexPrivate | futexClockReal)
)

func futex(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	addr, op, val, addr2, val3 := a[0], a[1]&0xffff_ffff, a[2], a[4], uint32(a[5])
	real := op&futexClockReal != 0
	cmd := op & futexCommandMask
	if real && cmd != futexWaitBitset && cmd != futexWait {
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
		return 0, t.FutexWait(addr, uint32(val), bits, deadline)
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
		return uint64(k.FutexWake(addr, count(val), bits)), 0
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
		woken := k.FutexWake(addr, int(int32(val)), futexAllBits)
		moved := k.FutexRequeue(addr, addr2, int(int32(a[3])))
		return uint64(woken + moved), 0
	case futexWakeOp:
		return wakeOp(t, addr, addr2, count(val), count(a[3]), val3)
	}
	return 0, abi.ENOSYS
}

// count is the number of waiters to wake: Linux wakes one for less than one.
func count(v uint64) int { return max(1, int(int32(v))) }

func wakeOp(t *task.Thread, addr, addr2 uint64, n, n2 int, op uint32) (uint64, abi.Errno) {
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
	woken := t.K.FutexWake(addr, n, ^uint32(0))
	if holds {
		woken += t.K.FutexWake(addr2, n2, ^uint32(0))
	}
	return uint64(woken), 0
}
