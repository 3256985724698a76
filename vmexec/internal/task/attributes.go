// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

// ThreadAttributes are what a thread sets and reads back, without effect on how it runs:
// there is one processor, one node and one class of threads. Those that a thread
// starts have the same.
type ThreadAttributes struct {
	Policy      int32 // sched_setscheduler(2), with SCHED_RESET_ON_FORK
	Nice        int32
	IOPriority  uint32 // ioprio_set(2); 0: never set
	TimerSlack  uint64 // nanoseconds; 0: the default
	MemoryMode  int32  // set_mempolicy(2)
	MemoryNodes uint64
}

// ProcessAttributes are those of a process. The children it makes have the same.
type ProcessAttributes struct {
	Dumpable    uint32 // PR_SET_DUMPABLE
	KeepCaps    bool   // PR_SET_KEEPCAPS
	NoHuge      bool   // PR_SET_THP_DISABLE
	Barriers    uint32 // membarrier(2): the commands it has registered for
	Personality uint32
}
