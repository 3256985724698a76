// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

func TestScheduling(t *testing.T) {
	runScript(t, schedCalls(), func(g *guest) {
		buf := g.put(words(^uint64(0), ^uint64(0), 0, 0, 0, 0, 0, 0))
		g.must(0, unix.SYS_SCHED_YIELD)

		g.must(8, unix.SYS_SCHED_GETAFFINITY, 0, 128, buf)
		if g.word(buf) != 1 || g.word(buf+8) != ^uint64(0) {
			g.t.Errorf("affinity %#x %#x", g.word(buf), g.word(buf+8))
		}
		g.must(8, unix.SYS_SCHED_GETAFFINITY, 100, 8, buf)
		g.fails(abi.EINVAL, unix.SYS_SCHED_GETAFFINITY, 0, 4, buf)
		g.fails(abi.EINVAL, unix.SYS_SCHED_GETAFFINITY, 0, 12, buf)
		g.fails(abi.ESRCH, unix.SYS_SCHED_GETAFFINITY, 1, 8, buf)
		g.fails(abi.ESRCH, unix.SYS_SCHED_GETAFFINITY, arg(-1), 8, buf)
		g.fails(abi.ESRCH, unix.SYS_SCHED_SETAFFINITY, arg(-1), 8, buf)
		g.fails(abi.EFAULT, unix.SYS_SCHED_GETAFFINITY, 0, 8, scriptBadAddr)
		g.must(0, unix.SYS_SCHED_SETAFFINITY, 0, 8, g.put(words(3)))
		g.fails(abi.EINVAL, unix.SYS_SCHED_SETAFFINITY, 0, 8, g.put(words(2)))
		g.fails(abi.EINVAL, unix.SYS_SCHED_SETAFFINITY, 0, 0, buf)

		zero, one := g.put(words(0)), g.put(words(1))
		g.must(0, unix.SYS_SCHED_GETSCHEDULER, 0)
		g.must(0, unix.SYS_SCHED_SETSCHEDULER, 0, schedBatch, zero)
		g.fails(abi.EPERM, unix.SYS_SCHED_SETSCHEDULER, 0, schedFIFO, one)
		g.fails(abi.EINVAL, unix.SYS_SCHED_SETSCHEDULER, 0, schedOther, one)
		g.fails(abi.EINVAL, unix.SYS_SCHED_SETSCHEDULER, 0, 42, zero)
		g.must(0, unix.SYS_SCHED_GETPARAM, 0, buf)
		g.fails(abi.EINVAL, unix.SYS_SCHED_GETPARAM, 0, 0)
		g.must(0, unix.SYS_SCHED_SETPARAM, 0, zero)
		g.must(99, unix.SYS_SCHED_GET_PRIORITY_MAX, schedRR)
		g.must(1, unix.SYS_SCHED_GET_PRIORITY_MIN, schedFIFO)
		g.must(0, unix.SYS_SCHED_GET_PRIORITY_MAX, schedOther)
		g.fails(abi.EINVAL, unix.SYS_SCHED_GET_PRIORITY_MAX, 9)
		g.must(0, unix.SYS_SCHED_RR_GET_INTERVAL, 0, buf)
		g.must(0, unix.SYS_SCHED_GETATTR, 0, buf, 64, 0)
		if g.word(buf) != 48|schedBatch<<32 {
			g.t.Errorf("sched_attr begins with %#x", g.word(buf))
		}
		g.fails(abi.EINVAL, unix.SYS_SCHED_GETATTR, 0, buf, 47, 0)

		g.must(20, unix.SYS_GETPRIORITY, unix.PRIO_PROCESS, 0)
		g.must(20, unix.SYS_GETPRIORITY, unix.PRIO_PGRP, 100)
		g.fails(abi.ESRCH, unix.SYS_GETPRIORITY, unix.PRIO_PROCESS, 1)
		g.fails(abi.EINVAL, unix.SYS_GETPRIORITY, 3, 0)
		g.must(0, unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, 5)
		g.fails(abi.EACCES, unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, arg(-5))
		g.must(2<<13|4, unix.SYS_IOPRIO_GET, 1, 0)
		g.must(0, unix.SYS_IOPRIO_SET, 1, 0, 3<<13)
		g.fails(abi.EPERM, unix.SYS_IOPRIO_SET, 1, 0, 1<<13)
		g.fails(abi.EINVAL, unix.SYS_IOPRIO_SET, 4, 0, 0)

		g.must(membarrierAll, unix.SYS_MEMBARRIER, 0, 0)
		g.must(0, unix.SYS_MEMBARRIER, membarrierRegisterPrivate, 0)
		g.must(0, unix.SYS_MEMBARRIER, membarrierPrivate, 0)
		g.fails(abi.EINVAL, unix.SYS_MEMBARRIER, membarrierPrivate|membarrierGlobal, 0)
		g.fails(abi.EINVAL, unix.SYS_MEMBARRIER, 1<<7, 0)
		g.fails(abi.EINVAL, unix.SYS_MEMBARRIER, membarrierPrivate, 1)
		g.fails(abi.ENOSYS, unix.SYS_RSEQ, buf, 32, 0, 0)
	})
}

func TestThreadPointers(t *testing.T) {
	runScript(t, schedCalls(), func(g *guest) {
		head, buf := g.put(words(0, 0, 0)), g.alloc(16)
		g.set(head, words(head, 0, 0)) // an empty list
		g.must(0, unix.SYS_SET_ROBUST_LIST, head, 24)
		g.fails(abi.EINVAL, unix.SYS_SET_ROBUST_LIST, head, 23)
		g.must(0, unix.SYS_GET_ROBUST_LIST, 0, buf, buf+8)
		if g.word(buf) != head || g.word(buf+8) != 24 {
			g.t.Errorf("robust list %#x, %d", g.word(buf), g.word(buf+8))
		}
		g.fails(abi.ESRCH, unix.SYS_GET_ROBUST_LIST, 5, buf, buf+8)
		g.fails(abi.EFAULT, unix.SYS_GET_ROBUST_LIST, 0, scriptBadAddr, buf)
		g.must(100, unix.SYS_SET_TID_ADDRESS, buf)
		if a := g.k.Init.Threads[0].ClearChildTID; a != buf {
			g.t.Errorf("clear_child_tid %#x", a)
		}
	})
}
