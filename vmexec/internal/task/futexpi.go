// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"slices"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// Bits of the word of a futex that has an owner; the rest is its thread.
const (
	futexOwner     = 0x3fff_ffff
	futexOwnerDied = 0x4000_0000
	futexWaiters   = 0x8000_0000
)

// piLock is a lock of FUTEX_LOCK_PI that threads wait for. All threads have one
// priority, so there is none to inherit: what is left is who owns it and who is next.
type piLock struct {
	owner   *Thread
	waiters []*piWaiter // in the order they came
}

// piWaiter is the State of FUTEX_LOCK_PI.
type piWaiter struct {
	t    *Thread
	key  futexKey
	addr uint64
	got  bool // the lock was handed over
}

// Abandon implements Abandoner.
func (w *piWaiter) Abandon() {
	if w.got { // and will never know
		w.t.K.futexes.passOn(w.key, futexOwnerDied)
		return
	}
	w.t.K.futexes.removePI(w)
}

func (f *futexes) removePI(w *piWaiter) {
	l := f.pi[w.key]
	if l == nil {
		return
	}
	l.waiters = slices.DeleteFunc(l.waiters, func(x *piWaiter) bool { return x == w })
	if len(l.waiters) == 0 {
		delete(f.pi, w.key)
	}
}

// passOn gives the lock to the thread that waited longest, with the bits in its word,
// and reports whether there was one.
func (f *futexes) passOn(key futexKey, bits uint32) bool {
	l := f.pi[key]
	if l == nil {
		return false
	}
	w := l.waiters[0]
	f.removePI(w)
	l.owner, w.got = w.t, true
	// As Linux, a word that cannot be written does not keep the waiter from going on.
	_ = w.t.CopyOutU32(w.addr, uint32(w.t.TID)|futexWaiters|bits)
	w.t.Wake()
	return true
}

// leavePI hands over what a thread that ends owns.
func (f *futexes) leavePI(t *Thread) {
	for key, l := range f.pi {
		if l.owner == t {
			f.passOn(key, futexOwnerDied)
		}
	}
}

// FutexLockPI takes the lock at addr, waiting for its owner up to the deadline (absolute
// nanoseconds, NoDeadline for none) unless try is set. Errors: EINVAL, EFAULT, EDEADLK
// for the owner itself, ESRCH when there is no such owner, EAGAIN for try, ETIMEDOUT.
func (t *Thread) FutexLockPI(addr uint64, private, try bool, deadline int64) abi.Errno {
	f := t.K.futexes
	if w, ok := t.State.(*piWaiter); ok {
		switch {
		case w.got:
			return 0
		case t.Woken() == WakeTimeout:
			f.removePI(w)
			return abi.ETIMEDOUT
		case t.Woken() == WakeSignal:
			f.removePI(w)
			return abi.ERESTARTNOINTR
		}
		return t.Block(t.deadline)
	}
	if addr%4 != 0 {
		return abi.EINVAL
	}
	v, errno := t.CopyInU32(addr)
	if errno != 0 {
		return errno
	}
	owner := int(v & futexOwner)
	if owner == t.TID {
		return abi.EDEADLK
	}
	key := t.futexKey(addr, private)
	l := f.pi[key]
	if owner == 0 && l == nil {
		return t.CopyOutU32(addr, v&futexOwnerDied|uint32(t.TID))
	}
	if l == nil {
		x := t.K.Thread(owner)
		if x == nil {
			return abi.ESRCH
		}
		l = &piLock{owner: x}
	}
	if errno := t.CopyOutU32(addr, v|futexWaiters); errno != 0 {
		return errno
	}
	if try {
		return abi.EAGAIN
	}
	w := &piWaiter{t: t, key: key, addr: addr}
	l.waiters = append(l.waiters, w)
	f.pi[key] = l
	t.State = w
	return t.Block(deadline)
}

// FutexUnlockPI lets go of the lock at addr, which the longest waiter gets. Errors:
// EINVAL, EFAULT, EPERM when the thread does not own it.
func (t *Thread) FutexUnlockPI(addr uint64, private bool) abi.Errno {
	v, errno := t.CopyInU32(addr)
	switch {
	case errno != 0:
		return errno
	case int(v&futexOwner) != t.TID:
		return abi.EPERM
	case addr%4 != 0:
		return abi.EINVAL
	}
	if t.K.futexes.passOn(t.futexKey(addr, private), 0) {
		return 0
	}
	return t.CopyOutU32(addr, 0)
}

// clonePI parks the copies of those who wait for locks, in the same order.
func (f *futexes) clonePI(n *Kernel) {
	for key, l := range f.pi {
		c := &piLock{owner: n.threads[l.owner.TID]}
		for _, w := range l.waiters {
			t := n.threads[w.t.TID]
			x := &piWaiter{t: t, key: key, addr: w.addr}
			c.waiters = append(c.waiters, x)
			t.State = x
			t.Block(w.t.deadline)
		}
		n.futexes.pi[key] = c
	}
}

// futexVector is the State of futex_waitv: a waiter for each of its futexes.
type futexVector []*futexWaiter

// Abandon implements Abandoner.
func (v futexVector) Abandon() {
	for _, w := range v {
		if !w.woken {
			w.t.K.futexes.remove(w)
		}
	}
}

// VectorFutex is one futex of FutexWaitAny.
type VectorFutex struct {
	Addr    uint64
	Want    uint32
	Private bool
}

// FutexWaitAny blocks until one of the futexes is woken, each of which must have the
// word it wants, or the deadline; futex_waitv(2). It returns the index of the one. list
// is nil when the call is made again. Errors: EAGAIN, EFAULT, ETIMEDOUT, EINTR.
func (t *Thread) FutexWaitAny(list []VectorFutex, deadline int64) (int, abi.Errno) {
	if v, ok := t.State.(futexVector); ok {
		if at := slices.IndexFunc(v, func(w *futexWaiter) bool { return w.woken }); at >= 0 {
			v.Abandon()
			return at, 0
		}
		if t.Woken() == WakeTimeout {
			v.Abandon()
			return 0, abi.ETIMEDOUT
		}
		if t.Woken() == WakeSignal {
			v.Abandon()
			return 0, abi.EINTR
		}
		return 0, t.Block(t.deadline)
	}
	for _, x := range list {
		switch v, errno := t.CopyInU32(x.Addr); {
		case errno != 0:
			return 0, errno
		case v != x.Want:
			return 0, abi.EAGAIN
		}
	}
	f := t.K.futexes
	v := make(futexVector, len(list))
	for i, x := range list {
		v[i] = &futexWaiter{t: t, key: t.futexKey(x.Addr, x.Private), bits: ^uint32(0), vector: true}
		f.waiters[v[i].key] = append(f.waiters[v[i].key], v[i])
	}
	t.State = v
	return 0, t.Block(deadline)
}
