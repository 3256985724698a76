// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

func schedCalls() []Entry {
	const one = "one processor, one policy"
	return []Entry{
		{Nr: unix.SYS_SCHED_YIELD, Name: "sched_yield", Fn: schedYield, Support: Full},
		{Nr: unix.SYS_SCHED_GETAFFINITY, Name: "sched_getaffinity", Fn: schedGetaffinity, Support: Full},
		{Nr: unix.SYS_SCHED_SETAFFINITY, Name: "sched_setaffinity", Fn: schedSetaffinity, Support: Full},
		{Nr: unix.SYS_SCHED_GETSCHEDULER, Name: "sched_getscheduler", Fn: schedGetscheduler, Support: Full},
		{Nr: unix.SYS_SCHED_SETSCHEDULER, Name: "sched_setscheduler", Fn: schedSetscheduler, Support: Partial, Note: one},
		{Nr: unix.SYS_SCHED_GETPARAM, Name: "sched_getparam", Fn: schedGetparam, Support: Full},
		{Nr: unix.SYS_SCHED_SETPARAM, Name: "sched_setparam", Fn: schedSetparam, Support: Full},
		{Nr: unix.SYS_SCHED_GETATTR, Name: "sched_getattr", Fn: schedGetattr, Support: Full},
		{Nr: unix.SYS_SCHED_GET_PRIORITY_MAX, Name: "sched_get_priority_max", Fn: schedPriorityMax, Support: Full},
		{Nr: unix.SYS_SCHED_GET_PRIORITY_MIN, Name: "sched_get_priority_min", Fn: schedPriorityMin, Support: Full},
		{Nr: unix.SYS_SCHED_RR_GET_INTERVAL, Name: "sched_rr_get_interval", Fn: schedRRInterval, Support: Full},
		{Nr: unix.SYS_GETPRIORITY, Name: "getpriority", Fn: getPriority, Support: Full},
		{Nr: unix.SYS_SETPRIORITY, Name: "setpriority", Fn: setPriority, Support: Stub, Note: "accepted within limits, without effect"},
		{Nr: unix.SYS_IOPRIO_GET, Name: "ioprio_get", Fn: ioprioGet, Support: Full},
		{Nr: unix.SYS_IOPRIO_SET, Name: "ioprio_set", Fn: ioprioSet, Support: Stub, Note: "accepted, without effect"},
		{Nr: unix.SYS_MEMBARRIER, Name: "membarrier", Fn: membarrier, Support: Full, Note: "one processor: every barrier holds already"},
		{Nr: unix.SYS_RSEQ, Name: "rseq", Fn: noSuchCall, Support: Refused, Note: "not offered; libraries do without"},
		{Nr: unix.SYS_SET_ROBUST_LIST, Name: "set_robust_list", Fn: setRobustList, Support: Full},
		{Nr: unix.SYS_GET_ROBUST_LIST, Name: "get_robust_list", Fn: getRobustList, Support: Full},
		{Nr: unix.SYS_SET_TID_ADDRESS, Name: "set_tid_address", Fn: setTIDAddress, Support: Full},
	}
}

// noSuchCall answers a call that is known and deliberately not there.
func noSuchCall(*task.Thread, task.Args) (uint64, abi.Errno) { return 0, abi.ENOSYS }

func schedYield(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
	t.Yield()
	return 0, abi.OK
}

// target returns the thread that a call names by id, 0 for the caller.
// Errors: EINVAL for a negative id, ESRCH.
func target(t *task.Thread, id uint64) (*task.Thread, abi.Errno) {
	tid := int32(id)
	if tid < 0 {
		return nil, abi.EINVAL
	}
	if tid == 0 {
		return t, abi.OK
	}
	if x := t.K.Thread(int(tid)); x != nil {
		return x, abi.OK
	}
	if p := t.K.Process(int(tid)); p != nil && len(p.Threads) > 0 {
		return p.Threads[0], abi.OK
	}
	return nil, abi.ESRCH
}

// affinityWord is the size of the machine's CPU set: one word.
const affinityWord = 8

func schedGetaffinity(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if n := uint32(a[1]); n < affinityWord || n%affinityWord != 0 {
		return 0, abi.EINVAL
	}
	if _, errno := target(t, a[0]); errno != 0 {
		return 0, abi.ESRCH // also for a negative id
	}
	return affinityWord, t.CopyOutU64(a[2], 1)
}

// schedSetaffinity accepts any set that has the one CPU. Errors: EINVAL for
// others, EFAULT, ESRCH.
func schedSetaffinity(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if _, errno := target(t, a[0]); errno != 0 {
		return 0, abi.ESRCH // also for a negative id
	}
	var set [1]byte
	if uint32(a[1]) == 0 {
		return 0, abi.EINVAL
	}
	if errno := t.CopyIn(a[2], set[:]); errno != 0 {
		return 0, errno
	}
	if set[0]&1 == 0 {
		return 0, abi.EINVAL
	}
	return 0, abi.OK
}

// Scheduling policies of sched(7). Every thread runs under SCHED_OTHER; the
// others that need no privilege are accepted and mean the same here.
const (
	schedOther = 0
	schedFIFO  = 1
	schedRR    = 2
	schedBatch = 3
	schedIdle  = 5
	// schedResetOnFork is a flag of sched_setscheduler.
	schedResetOnFork = 0x4000_0000
)

func schedGetscheduler(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	_, errno := target(t, a[0])
	return schedOther, errno
}

func schedSetscheduler(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	switch int32(a[1]) &^ schedResetOnFork {
	case schedOther, schedBatch, schedIdle:
		return schedSetparam(t, task.Args{a[0], a[2]})
	case schedFIFO, schedRR:
		return 0, abi.EPERM
	}
	return 0, abi.EINVAL
}

// schedSetparam takes the only priority there is under SCHED_OTHER: 0.
func schedSetparam(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[1] == 0 {
		return 0, abi.EINVAL
	}
	if _, errno := target(t, a[0]); errno != 0 {
		return 0, errno
	}
	prio, errno := t.CopyInU32(a[1])
	if errno == 0 && prio != 0 {
		errno = abi.EINVAL
	}
	return 0, errno
}

func schedGetparam(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[1] == 0 {
		return 0, abi.EINVAL
	}
	if _, errno := target(t, a[0]); errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOutU32(a[1], 0)
}

// schedGetattr fills struct sched_attr, version 0; sched_setattr(2).
func schedGetattr(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	const size = 48
	if a[1] == 0 || uint32(a[2]) < size || uint32(a[2]) > pageSize || uint32(a[3]) != 0 {
		return 0, abi.EINVAL
	}
	if _, errno := target(t, a[0]); errno != 0 {
		return 0, errno
	}
	b := make([]byte, size) // SCHED_OTHER, nice 0
	binary.LittleEndian.PutUint32(b, size)
	return 0, t.CopyOut(a[1], b)
}

func schedPriorityMax(_ *task.Thread, a task.Args) (uint64, abi.Errno) { return priorityBound(a, 99) }

func schedPriorityMin(_ *task.Thread, a task.Args) (uint64, abi.Errno) { return priorityBound(a, 1) }

func priorityBound(a task.Args, realtime uint64) (uint64, abi.Errno) {
	switch int32(a[0]) {
	case schedFIFO, schedRR:
		return realtime, abi.OK
	case schedOther, schedBatch, schedIdle:
		return 0, abi.OK
	}
	return 0, abi.EINVAL
}

// schedRRInterval tells the length of a slice: 5 ms.
func schedRRInterval(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if _, errno := target(t, a[0]); errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOut(a[1], abi.AppendTimespec(nil, 5_000_000))
}

// niceTarget checks the process, group or user of getpriority(2).
func niceTarget(t *task.Thread, which, who uint64) abi.Errno {
	id := int(int32(who))
	known := id == 0
	switch int32(which) {
	case unix.PRIO_PROCESS:
		known = known || t.K.Process(id) != nil || t.K.Thread(id) != nil
	case unix.PRIO_PGRP:
		known = known || len(t.K.Group(id)) > 0
	case unix.PRIO_USER: // 0 is both the caller's user and root, who the caller is
	default:
		return abi.EINVAL
	}
	if !known {
		return abi.ESRCH
	}
	return abi.OK
}

// getPriority returns 20 less the nice value, which is always 0.
func getPriority(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return 20, niceTarget(t, a[0], a[1])
}

// setPriority lets a program give way but not push ahead.
func setPriority(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if errno := niceTarget(t, a[0], a[1]); errno != 0 {
		return 0, errno
	}
	if int32(a[2]) < 0 {
		return 0, abi.EACCES
	}
	return 0, abi.OK
}

// ioprioGet returns class best-effort, level 4; ioprio_set(2).
func ioprioGet(_ *task.Thread, a task.Args) (uint64, abi.Errno) {
	if which := int32(a[0]); which < 1 || which > 3 {
		return 0, abi.EINVAL
	}
	return 2<<13 | 4, abi.OK
}

func ioprioSet(_ *task.Thread, a task.Args) (uint64, abi.Errno) {
	class := uint32(a[2]) >> 13
	if which := int32(a[0]); which < 1 || which > 3 || class > 3 {
		return 0, abi.EINVAL
	}
	if class == 1 { // real time
		return 0, abi.EPERM
	}
	return 0, abi.OK
}

// Commands of membarrier(2).
const (
	membarrierQuery            = 0
	membarrierGlobal           = 1 << 0
	membarrierGlobalExpedited  = 1 << 1
	membarrierRegisterGlobal   = 1 << 2
	membarrierPrivate          = 1 << 3
	membarrierRegisterPrivate  = 1 << 4
	membarrierSyncCore         = 1 << 5
	membarrierRegisterSyncCore = 1 << 6
	membarrierAll              = membarrierGlobal | membarrierGlobalExpedited | membarrierRegisterGlobal |
		membarrierPrivate | membarrierRegisterPrivate | membarrierSyncCore | membarrierRegisterSyncCore
)

// membarrier needs to do nothing: threads share one processor, and the way from
// one to another goes through the monitor, which serialises.
func membarrier(_ *task.Thread, a task.Args) (uint64, abi.Errno) {
	cmd, flags := uint32(a[0]), uint32(a[1])
	switch {
	case flags != 0:
		return 0, abi.EINVAL
	case cmd == membarrierQuery:
		return membarrierAll, abi.OK
	case cmd&^membarrierAll == 0 && cmd&(cmd-1) == 0:
		return 0, abi.OK
	}
	return 0, abi.EINVAL
}

// robustHeadSize is the size of struct robust_list_head.
const robustHeadSize = 24

func setRobustList(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[1] != robustHeadSize {
		return 0, abi.EINVAL
	}
	t.RobustList = a[0]
	return 0, abi.OK
}

func getRobustList(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	x, errno := target(t, a[0])
	if errno != 0 {
		return 0, abi.ESRCH
	}
	if errno := t.CopyOutU64(a[2], robustHeadSize); errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOutU64(a[1], x.RobustList)
}

func setTIDAddress(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	t.ClearChildTID = a[0]
	return uint64(t.TID), abi.OK
}
