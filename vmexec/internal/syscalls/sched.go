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
	const one = "policies are kept, without effect; real-time ones are refused"
	return []Entry{
		{Nr: unix.SYS_SCHED_YIELD, Name: "sched_yield", Fn: schedYield, Support: Full},
		{Nr: unix.SYS_SCHED_GETAFFINITY, Name: "sched_getaffinity", Fn: schedGetaffinity, Support: Full},
		{Nr: unix.SYS_SCHED_SETAFFINITY, Name: "sched_setaffinity", Fn: schedSetaffinity, Support: Full},
		{Nr: unix.SYS_SCHED_GETSCHEDULER, Name: "sched_getscheduler", Fn: schedGetscheduler, Support: Full},
		{Nr: unix.SYS_SCHED_SETSCHEDULER, Name: "sched_setscheduler", Fn: schedSetscheduler, Support: Partial, Note: one},
		{Nr: unix.SYS_SCHED_SETATTR, Name: "sched_setattr", Fn: schedSetattr, Support: Partial, Note: one},
		{Nr: unix.SYS_SCHED_GETPARAM, Name: "sched_getparam", Fn: schedGetparam, Support: Full},
		{Nr: unix.SYS_SCHED_SETPARAM, Name: "sched_setparam", Fn: schedSetparam, Support: Full},
		{Nr: unix.SYS_SCHED_GETATTR, Name: "sched_getattr", Fn: schedGetattr, Support: Full},
		{Nr: unix.SYS_SCHED_GET_PRIORITY_MAX, Name: "sched_get_priority_max", Fn: schedPriorityMax, Support: Full},
		{Nr: unix.SYS_SCHED_GET_PRIORITY_MIN, Name: "sched_get_priority_min", Fn: schedPriorityMin, Support: Full},
		{Nr: unix.SYS_SCHED_RR_GET_INTERVAL, Name: "sched_rr_get_interval", Fn: schedRRInterval, Support: Full},
		{Nr: unix.SYS_GETPRIORITY, Name: "getpriority", Fn: getPriority, Support: Full},
		{Nr: unix.SYS_SETPRIORITY, Name: "setpriority", Fn: setPriority, Support: Partial, Note: "kept, without effect"},
		{Nr: unix.SYS_IOPRIO_GET, Name: "ioprio_get", Fn: ioprioGet, Support: Full},
		{Nr: unix.SYS_IOPRIO_SET, Name: "ioprio_set", Fn: ioprioSet, Support: Partial, Note: "kept, without effect"},
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

// Scheduling policies of sched(7). Those that need no privilege are accepted and mean
// the same here.
const (
	schedOther = 0
	schedFIFO  = 1
	schedRR    = 2
	schedBatch = 3
	schedIdle  = 5
	// schedDeadline is refused: it needs privileges.
	schedDeadline = 6
	maxRealtime   = 99

	minNice, maxNice = -20, 19
	// schedResetOnFork is a flag of sched_setscheduler.
	schedResetOnFork = 0x4000_0000
)

func schedGetscheduler(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	x, errno := target(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	return uint64(x.Attr.Policy), abi.OK
}

func schedSetscheduler(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	policy := int32(a[1])
	if policy < 0 {
		return 0, abi.EINVAL
	}
	return setPolicy(t, a[0], policy, a[2])
}

// schedSetparam takes the only priority there is without privileges: 0.
func schedSetparam(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return setPolicy(t, a[0], -1, a[1])
}

// setPolicy sets the policy, unless that is -1, with the struct sched_param at addr.
func setPolicy(t *task.Thread, id uint64, policy int32, addr uint64) (uint64, abi.Errno) {
	if addr == 0 || int32(id) < 0 {
		return 0, abi.EINVAL
	}
	prio, errno := t.CopyInU32(addr)
	if errno != 0 {
		return 0, errno
	}
	x, errno := target(t, id)
	if errno != 0 {
		return 0, errno
	}
	if policy == -1 {
		policy = x.Attr.Policy
	}
	if errno := mayRun(t, x, policy, int32(prio), x.Attr.Nice); errno != 0 {
		return 0, errno
	}
	x.Attr.Policy = policy
	return 0, abi.OK
}

// mayRun says whether a thread may get a policy, with a priority and a nice value:
// without privileges, and within RLIMIT_NICE. Errors: EINVAL, EPERM.
func mayRun(t, x *task.Thread, policy, prio, nice int32) abi.Errno {
	now := x.Attr.Policy
	switch policy &^ schedResetOnFork {
	case schedOther, schedBatch, schedIdle:
		if prio != 0 {
			return abi.EINVAL
		}
	case schedFIFO, schedRR:
		if prio < 1 || prio > maxRealtime {
			return abi.EINVAL
		}
		return abi.EPERM
	case schedDeadline: // sched_setscheduler has nowhere to put the times
		return abi.EINVAL
	default:
		return abi.EINVAL
	}
	leavesIdle := now&^schedResetOnFork == schedIdle && policy&^schedResetOnFork != schedIdle
	if leavesIdle && !mayBeNice(t, x.Attr.Nice) || nice < x.Attr.Nice && !mayBeNice(t, nice) ||
		now&schedResetOnFork != 0 && policy&schedResetOnFork == 0 {
		return abi.EPERM
	}
	return abi.OK
}

// mayBeNice reports whether RLIMIT_NICE lets a program have the nice value.
func mayBeNice(t *task.Thread, nice int32) bool {
	return uint64(20-nice) <= t.P.Rlimits[unix.RLIMIT_NICE].Cur
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

// Members of struct sched_attr, version 0, and its flags; sched_setattr(2).
const (
	schedAttrSize   = 48
	schedAttrPolicy = 4
	schedAttrFlags  = 8
	schedAttrNice   = 16
	schedAttrPrio   = 20

	schedFlagReset  = 1 << 0
	schedFlagsKnown = 0x7f
	schedFlagKeep   = 0x18 // KEEP_POLICY, KEEP_PARAMS
)

func schedGetattr(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[1] == 0 || uint32(a[2]) < schedAttrSize || uint32(a[2]) > pageSize || uint32(a[3]) != 0 {
		return 0, abi.EINVAL
	}
	x, errno := target(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	le := binary.LittleEndian
	b := make([]byte, schedAttrSize)
	le.PutUint32(b, schedAttrSize)
	le.PutUint32(b[schedAttrPolicy:], uint32(x.Attr.Policy&^schedResetOnFork))
	if x.Attr.Policy&schedResetOnFork != 0 {
		le.PutUint64(b[schedAttrFlags:], schedFlagReset)
	}
	le.PutUint32(b[schedAttrNice:], uint32(x.Attr.Nice))
	return 0, t.CopyOut(a[1], b)
}

// decodeSchedAttr reads struct sched_attr. Errors: EINVAL.
func decodeSchedAttr(b []byte) (policy, nice, prio int32, keep bool, errno abi.Errno) {
	le := binary.LittleEndian
	flags := le.Uint64(b[schedAttrFlags:])
	policy = int32(le.Uint32(b[schedAttrPolicy:]))
	nice = min(max(int32(le.Uint32(b[schedAttrNice:])), minNice), maxNice)
	prio = int32(le.Uint32(b[schedAttrPrio:]))
	if policy < 0 || flags&^schedFlagsKnown != 0 || policy&schedResetOnFork != 0 {
		return 0, 0, 0, false, abi.EINVAL
	}
	if flags&schedFlagReset != 0 {
		policy |= schedResetOnFork
	}
	return policy, nice, prio, flags&schedFlagKeep != 0, abi.OK
}

// schedSetattr is sched_setattr(2). Errors: EINVAL, EFAULT, E2BIG, ESRCH, EPERM.
func schedSetattr(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[1] == 0 || int32(a[0]) < 0 || uint32(a[2]) != 0 {
		return 0, abi.EINVAL
	}
	size, errno := t.CopyInU32(a[1])
	if errno != 0 {
		return 0, errno
	}
	if size == 0 {
		size = schedAttrSize
	}
	if size < schedAttrSize || size > pageSize {
		if errno := t.CopyOutU32(a[1], schedAttrSize); errno != 0 {
			return 0, errno
		}
		return 0, abi.E2BIG
	}
	b := make([]byte, size)
	if errno := t.CopyIn(a[1], b); errno != 0 {
		return 0, errno
	}
	for _, x := range b[schedAttrSize:] {
		if x != 0 {
			return 0, abi.E2BIG
		}
	}
	policy, nice, prio, keep, errno := decodeSchedAttr(b)
	if errno != 0 {
		return 0, errno
	}
	x, errno := target(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	if keep {
		return 0, abi.OK
	}
	if errno := mayRun(t, x, policy, prio, nice); errno != 0 {
		return 0, errno
	}
	x.Attr.Policy, x.Attr.Nice = policy, nice
	return 0, abi.OK
}

func schedPriorityMax(_ *task.Thread, a task.Args) (uint64, abi.Errno) { return priorityBound(a, 99) }

func schedPriorityMin(_ *task.Thread, a task.Args) (uint64, abi.Errno) { return priorityBound(a, 1) }

func priorityBound(a task.Args, realtime uint64) (uint64, abi.Errno) {
	switch int32(a[0]) {
	case schedFIFO, schedRR:
		return realtime, abi.OK
	case schedOther, schedBatch, schedIdle, schedDeadline:
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

// threadsOf returns the threads that getpriority(2) means: one, or those of a group or a
// user. Errors: EINVAL, ESRCH.
func threadsOf(t *task.Thread, which, who uint64) ([]*task.Thread, abi.Errno) {
	id := int(int32(who))
	var procs []*task.Process
	switch int32(which) {
	case unix.PRIO_PROCESS:
		x, errno := target(t, who)
		if errno != 0 {
			return nil, abi.ESRCH
		}
		return []*task.Thread{x}, abi.OK
	case unix.PRIO_PGRP:
		if id == 0 {
			id = t.P.PGID
		}
		procs = t.K.Group(id)
	case unix.PRIO_USER: // 0 is both the caller's user and root, who the caller is
		if id == 0 {
			procs = t.K.Processes()
		}
	default:
		return nil, abi.EINVAL
	}
	var all []*task.Thread
	for _, p := range procs {
		all = append(all, p.Threads...)
	}
	if len(all) == 0 {
		return nil, abi.ESRCH
	}
	return all, abi.OK
}

// getPriority returns 20 less the least nice value.
func getPriority(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	all, errno := threadsOf(t, a[0], a[1])
	if errno != 0 {
		return 0, errno
	}
	nice := int32(maxNice)
	for _, x := range all {
		nice = min(nice, x.Attr.Nice)
	}
	return uint64(20 - nice), abi.OK
}

// setPriority lets a program give way but not push ahead. Errors: EINVAL, ESRCH, EACCES.
func setPriority(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	all, errno := threadsOf(t, a[0], a[1])
	if errno != 0 {
		return 0, errno
	}
	nice := min(max(int32(a[2]), minNice), maxNice)
	for _, x := range all {
		if nice < x.Attr.Nice && !mayBeNice(t, nice) {
			return 0, abi.EACCES
		}
		x.Attr.Nice = nice
	}
	return 0, abi.OK
}

// ioprioDefault is what a thread has that never set one: best effort, level 4.
const ioprioDefault = 2<<13 | 4

// ioprioTarget finds the threads that ioprio_set(2) means: its numbers begin with 1.
func ioprioTarget(t *task.Thread, which, who uint64) ([]*task.Thread, abi.Errno) {
	if w := int32(which); w < 1 || w > 3 {
		return nil, abi.EINVAL
	}
	return threadsOf(t, which-1, who)
}

func ioprioGet(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	all, errno := ioprioTarget(t, a[0], a[1])
	if errno != 0 {
		return 0, errno
	}
	best := uint32(1<<32 - 1)
	for _, x := range all {
		v := x.Attr.IOPriority
		if v == 0 {
			v = ioprioDefault
		}
		best = min(best, v)
	}
	return uint64(best), abi.OK
}

func ioprioSet(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	v := uint32(a[2])
	switch class := v >> 13; {
	case class > 3, class == 0 && v&7 != 0, v>>16 != 0:
		return 0, abi.EINVAL
	case class == 1: // real time
		return 0, abi.EPERM
	}
	all, errno := ioprioTarget(t, a[0], a[1])
	for _, x := range all {
		x.Attr.IOPriority = v
	}
	return 0, errno
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
func membarrier(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	cmd, flags := uint32(a[0]), uint32(a[1])
	registered := &t.P.Attr.Barriers
	switch {
	case flags != 0:
		return 0, abi.EINVAL
	case cmd == membarrierQuery:
		return membarrierAll, abi.OK
	case cmd&^membarrierAll != 0 || cmd&(cmd-1) != 0:
		return 0, abi.EINVAL
	case cmd == membarrierPrivate || cmd == membarrierSyncCore: // each needs its own
		if *registered&(cmd<<1) == 0 {
			return 0, abi.EPERM
		}
	default:
		*registered |= cmd
	}
	return 0, abi.OK
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
