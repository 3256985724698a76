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

// piWaiter is the State of FUTEX_LOCK_PI, and of FUTEX_WAIT_REQUEUE_PI once that waits
// for the lock.
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
	w := &piWaiter{t: t, key: t.futexKey(addr, private), addr: addr}
	if errno := f.queuePI(w, try, 0); errno != 0 || w.got {
		return errno
	}
	t.State = w
	return t.Block(deadline)
}

// FutexWaitRequeuePI blocks while the word at addr is want until FutexCmpRequeuePI gives
// the thread the lock at to, or moves it to those who wait for that, and then until it
// has the lock; or up to the deadline (absolute nanoseconds, NoDeadline for none).
// Errors: EINVAL, EFAULT, EAGAIN for another word, or for a signal while it waits for
// the lock, ETIMEDOUT.
func (t *Thread) FutexWaitRequeuePI(addr, to uint64, private bool, want uint32, deadline int64) abi.Errno {
	f := t.K.futexes
	switch w := t.State.(type) {
	case *piWaiter:
		switch {
		case w.got:
			return 0
		case t.Woken() == WakeTimeout:
			f.removePI(w)
			return abi.ETIMEDOUT
		case t.Woken() == WakeSignal: // it cannot be made again: it would wait at addr
			f.removePI(w)
			return abi.EAGAIN
		}
		return t.Block(t.deadline)
	case *futexWaiter:
		switch t.Woken() {
		case WakeTimeout:
			f.remove(w)
			return abi.ETIMEDOUT
		case WakeSignal:
			f.remove(w)
			return abi.ERESTARTNOINTR
		case WakeNone, WakeEvent:
		}
		return t.Block(t.deadline)
	}
	if addr == to || addr%4 != 0 || to%4 != 0 {
		return abi.EINVAL
	}
	v, errno := t.CopyInU32(addr)
	if errno != 0 {
		return errno
	}
	key, target := t.futexKey(addr, private), t.futexKey(to, private)
	switch {
	case v != want:
		return abi.EAGAIN
	case key == target: // one page at two addresses
		return abi.EINVAL
	}
	w := &futexWaiter{t: t, key: key, bits: ^uint32(0), to: &piWaiter{t: t, key: target, addr: to}}
	f.waiters[key] = append(f.waiters[key], w)
	t.State = w
	return t.Block(deadline)
}

// FutexCmpRequeuePI has the first of those who wait at from, in FutexWaitRequeuePI, get
// the lock at to, if that is free, and up to n others wait for it; unless the word at
// from is not want. It returns how many they are. Errors: EINVAL, also when one waits
// otherwise or for another lock, EFAULT, EAGAIN, EDEADLK when one owns the lock, ESRCH
// when its owner does not exist.
func (t *Thread) FutexCmpRequeuePI(from, to uint64, private bool, n int, want uint32) (count int, errno abi.Errno) {
	if from == to || from%4 != 0 || to%4 != 0 || n < 0 {
		return 0, abi.EINVAL
	}
	source, target := t.futexKey(from, private), t.futexKey(to, private)
	if source == target {
		return 0, abi.EINVAL
	}
	v, errno := t.CopyInU32(from)
	if errno != 0 {
		return 0, errno
	}
	if v != want {
		return 0, abi.EAGAIN
	}
	if _, errno := t.CopyInU32(to); errno != 0 {
		return 0, errno
	}
	f := t.K.futexes
	if f.pi[source] != nil {
		return 0, abi.EINVAL
	}
	for ; count <= n && len(f.waiters[source]) > 0; count++ {
		w := f.waiters[source][0]
		if w.to == nil || w.to.key != target {
			return count, abi.EINVAL
		}
		// That the first one gets a lock with the bit set has those who are moved to it
		// woken by the kernel.
		bits := uint32(0)
		if count == 0 && n > 0 {
			bits = futexWaiters
		}
		errno := f.queuePI(w.to, false, bits)
		if errno != 0 {
			return count, errno
		}
		f.remove(w)
		w.t.State = w.to
		if w.to.got {
			w.t.Wake()
		}
	}
	return count, 0
}

// queuePI gives w the lock if it is free, with the bits in its word, and has it wait for
// it otherwise unless try is set. Errors: EFAULT, EDEADLK for the owner itself, ESRCH
// when there is no such owner, EAGAIN for try.
func (f *futexes) queuePI(w *piWaiter, try bool, bits uint32) abi.Errno {
	t := w.t
	v, errno := t.CopyInU32(w.addr)
	if errno != 0 {
		return errno
	}
	owner := int(v & futexOwner)
	if owner == t.TID {
		return abi.EDEADLK
	}
	l := f.pi[w.key]
	if owner == 0 && l == nil {
		w.got = true
		return t.CopyOutU32(w.addr, v&futexOwnerDied|uint32(t.TID)|bits)
	}
	if l == nil {
		x := t.K.Thread(owner)
		if x == nil {
			return abi.ESRCH
		}
		l = &piLock{owner: x}
	}
	if errno := t.CopyOutU32(w.addr, v|futexWaiters); errno != 0 {
		return errno
	}
	if try {
		return abi.EAGAIN
	}
	l.waiters = append(l.waiters, w)
	f.pi[w.key] = l
	return 0
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
