// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Args are the six argument registers of a system call: rdi, rsi, rdx, r10, r8, r9.
type Args [6]uint64

// Handler serves one system call. It never blocks the host thread: a call that
// must wait does 'return 0, t.Block(...)' and is made again, with the same
// arguments, when the wait is over; Thread.Woken then says why.
type Handler func(t *Thread, a Args) (uint64, abi.Errno)

// Wake says why a blocked call is made again.
type Wake uint8

const (
	// WakeNone: this is the first time the call is made.
	WakeNone Wake = iota
	// WakeEvent: one of the queues was woken.
	WakeEvent
	// WakeTimeout: the deadline passed.
	WakeTimeout
	// WakeSignal: a signal waits to be delivered. The call gives up with EINTR,
	// ERESTARTSYS or ERESTARTNOHAND, or returns what was done so far.
	WakeSignal
)

// NoDeadline as a deadline waits without end.
const NoDeadline = int64(0)

// Thread is one guest thread.
type Thread struct {
	K    *Kernel
	P    *Process
	TID  int
	Name string // at most 15 bytes
	Attr ThreadAttributes

	// Ctx is the processor state while the thread is not running.
	Ctx platform.Context

	// RobustList is the head given to set_robust_list(2), 0 for none.
	RobustList uint64
	// ClearChildTID is zeroed and woken as a futex when the thread ends; see
	// set_tid_address(2).
	ClearChildTID uint64
	// State is a handler's scratch from the first call to the last; nil on the
	// first.
	State any

	cpu             int64 // processor time up to when it was last charged
	mask, savedMask uint64
	waitSet         uint64 // signals that end a sigtimedwait
	restoreMask     bool
	pending         sigQueue
	altStack        AltStack
	restart         abi.Errno // ERESTART*: the last call waits for what delivery decides

	call struct {
		nr   uint64
		args Args
	}
	blocked  bool // parked in call
	again    bool // call is to be made again: it was parked when the snapshot was taken
	queued   bool // on the run queue
	dead     bool
	woken    Wake
	deadline int64
	timed    *timer         `snapshot:"-"` // of the call, which is made again
	entries  []*waitq.Entry `snapshot:"-"` // likewise
}

// Abandoner is the State of a call that holds something: Abandon gives it up when
// the thread ends while the call waits.
type Abandoner interface{ Abandon() }

// Woken says why the call is made again; WakeNone the first time.
func (t *Thread) Woken() Wake { return t.woken }

// Deadline returns the deadline of a wait: rel nanoseconds from the first time
// the call was made, NoDeadline when rel is negative.
func (t *Thread) Deadline(rel int64) int64 {
	switch {
	case t.woken != WakeNone || t.again:
		return t.deadline
	case rel < 0:
		return NoDeadline
	}
	now := t.K.Clock.Monotonic()
	if rel > 1<<62-now { // centuries
		return NoDeadline
	}
	return now + rel
}

// Block parks the thread until a queue is woken, the deadline (absolute,
// Clock.Monotonic nanoseconds; NoDeadline for none) passes or a signal is to be
// delivered. It returns EBLOCK for the handler to return.
func (t *Thread) Block(deadline int64, qs ...*waitq.Queue) abi.Errno {
	t.deadline = deadline
	t.blocked = true
	for _, q := range qs {
		if q != nil {
			t.entries = append(t.entries, q.Add(t))
		}
	}
	if deadline != NoDeadline {
		t.timed = t.K.after(deadline, func() { t.wake(WakeTimeout) })
	}
	return abi.EBLOCK
}

// Wake implements waitq.Waiter.
func (t *Thread) Wake() { t.wake(WakeEvent) }

func (t *Thread) wake(why Wake) {
	if !t.blocked {
		return
	}
	t.unpark()
	t.woken = why
	t.K.enqueue(t)
}

func (t *Thread) unpark() {
	t.blocked = false
	for _, e := range t.entries {
		e.Remove()
	}
	t.entries = t.entries[:0]
	if t.timed != nil {
		t.K.cancel(t.timed)
		t.timed = nil
	}
}

// Yield lets the other threads that can run go first; see sched_yield(2).
func (t *Thread) Yield() { t.K.yield = true }

// NewThread starts a thread of the process of parent, as clone(2) with
// CLONE_VM and CLONE_THREAD: registers, vector state and signal mask are the
// parent's; the caller changes what the flags say. Errors: EAGAIN at the limit.
func (k *Kernel) NewThread(parent *Thread) (*Thread, abi.Errno) {
	if !k.roomFor(parent.P) {
		return nil, abi.EAGAIN
	}
	if err := k.machine.SaveFP(&parent.Ctx); err != nil {
		k.fail(err)
		return nil, abi.ENOMEM
	}
	t := k.newThread(parent.P, k.newID())
	t.inherit(parent)
	k.enqueue(t)
	return t, 0
}

// Exit ends the thread, and the process with it when it is the last one. The
// handler returns ENORETURN.
func (t *Thread) Exit(status int) {
	p := t.P
	if len(p.Threads) == 1 && p != p.K.Init {
		p.end(exitStatus(status))
		return
	}
	t.leave()
	t.drop()
	if len(p.Threads) == 0 {
		p.K.exit(status)
	}
}

// leave tells those who share the memory that the thread uses it no more.
func (t *Thread) leave() {
	t.exitRobustList()
	p := t.P
	if t.ClearChildTID != 0 && (len(p.Threads) > 1 || p.MM.Users() > 1) {
		if p.MM.CopyOutU32(t.ClearChildTID, 0) == 0 {
			_, _ = t.FutexWake(t.ClearChildTID, false, 1, ^uint32(0))
		}
	}
}

// drop removes the thread from everything that knows it.
func (t *Thread) drop() {
	t.dead = true
	t.unpark()
	if s, ok := t.State.(Abandoner); ok {
		s.Abandon()
		t.State = nil
	}
	t.K.futexes.leavePI(t)
	if t.K.charged == t {
		t.K.charge(nil)
	}
	if t.K.tracer != nil {
		t.K.tracer.Gone(t)
	}
	t.K.machine.Forget(&t.Ctx)
	delete(t.K.threads, t.TID)
	for i, x := range t.P.Threads {
		if x == t {
			t.P.Threads = append(t.P.Threads[:i:i], t.P.Threads[i+1:]...)
			break
		}
	}
}
