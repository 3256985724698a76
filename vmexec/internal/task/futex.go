// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// Futexes of a VM: fast user-space locks, futex(2).
type futexes struct {
	waiters map[futexKey][]*futexWaiter // in the order they came
	pi      map[futexKey]*piLock        // those that somebody waits for
}

// futexKey names a futex: an address space with an address in it, or memory that
// several address spaces share with a place in it.
type futexKey struct{ owner, at uint64 }

type futexWaiter struct {
	t     *Thread
	key   futexKey
	bits  uint32
	woken bool
	// vector: it is one of several that the thread waits for.
	vector bool
	// to is the lock that FUTEX_WAIT_REQUEUE_PI is to go on to, nil for other waits.
	to *piWaiter
}

// Abandon implements Abandoner: a thread that ends is not woken in another's place.
func (w *futexWaiter) Abandon() {
	if !w.woken {
		w.t.K.futexes.remove(w)
	}
}

func newFutexes() *futexes {
	return &futexes{waiters: map[futexKey][]*futexWaiter{}, pi: map[futexKey]*piLock{}}
}

// wake wakes up to n waiters. The error is EINVAL, with those before woken, when one
// waits for a lock with an owner or is to be moved to one: it cannot be woken so.
func (f *futexes) wake(key futexKey, n int, bits uint32) (count int, errno abi.Errno) {
	if f.pi[key] != nil {
		return 0, abi.EINVAL
	}
	ws := f.waiters[key]
	rest := ws[:0]
	for _, w := range ws {
		if errno == 0 && count < n && w.to != nil {
			errno = abi.EINVAL
		}
		if errno == 0 && count < n && w.bits&bits != 0 {
			count++
			w.woken = true
			w.t.Wake()
			continue
		}
		rest = append(rest, w)
	}
	f.set(key, ws, rest)
	return count, errno
}

func (f *futexes) set(key futexKey, old, rest []*futexWaiter) {
	clear(old[len(rest):])
	if len(rest) == 0 {
		delete(f.waiters, key)
		return
	}
	f.waiters[key] = rest
}

func (f *futexes) remove(w *futexWaiter) {
	ws := f.waiters[w.key]
	rest := ws[:0]
	for _, x := range ws {
		if x != w {
			rest = append(rest, x)
		}
	}
	f.set(w.key, ws, rest)
}

// requeue moves up to n waiters. The error is that of wake.
func (f *futexes) requeue(from, to futexKey, n int) (int, abi.Errno) {
	ws := f.waiters[from]
	n = max(0, min(n, len(ws)))
	if n > 0 && f.pi[from] != nil || slices.ContainsFunc(ws[:n], func(w *futexWaiter) bool { return w.to != nil }) {
		return 0, abi.EINVAL
	}
	if n == 0 || from == to { // or the map would keep every address that the program names
		return n, 0
	}
	for _, w := range ws[:n] {
		w.key = to
	}
	f.waiters[to] = append(f.waiters[to], ws[:n]...)
	rest := append([]*futexWaiter(nil), ws[n:]...)
	f.set(from, ws, rest)
	return n, 0
}

// futexKey names the futex at addr. private says that it is not used from other
// address spaces.
func (t *Thread) futexKey(addr uint64, private bool) futexKey {
	owner, at := t.P.MM.FutexKey(addr, private)
	return futexKey{owner, at}
}

// FutexWait blocks while the word at addr is want, until a wake-up whose bits
// match, or the deadline (absolute nanoseconds, NoDeadline for none).
// Errors: EAGAIN, EFAULT, EINVAL, ETIMEDOUT, EINTR.
func (t *Thread) FutexWait(addr uint64, private bool, want, bits uint32, deadline int64) abi.Errno {
	f := t.K.futexes
	if w, ok := t.State.(*futexWaiter); ok {
		switch {
		case w.woken:
			return 0
		case t.Woken() == WakeTimeout:
			f.remove(w)
			return abi.ETIMEDOUT
		case t.Woken() == WakeSignal:
			f.remove(w)
			if t.deadline != NoDeadline {
				return abi.EINTR
			}
			return abi.ERESTARTSYS
		}
		return t.Block(t.deadline)
	}
	if addr%4 != 0 || bits == 0 {
		return abi.EINVAL
	}
	v, errno := t.CopyInU32(addr)
	if errno != 0 {
		return errno
	}
	if v != want {
		return abi.EAGAIN
	}
	w := &futexWaiter{t: t, key: t.futexKey(addr, private), bits: bits}
	f.waiters[w.key] = append(f.waiters[w.key], w)
	t.State = w
	return t.Block(deadline)
}

// FutexWake wakes up to n waiters of addr whose bits match and returns how many.
// Errors: EINVAL when one of them waits for a lock with an owner.
func (t *Thread) FutexWake(addr uint64, private bool, n int, bits uint32) (int, abi.Errno) {
	return t.K.futexes.wake(t.futexKey(addr, private), n, bits)
}

// FutexRequeue moves up to n waiters of from to another futex without waking
// them, and returns how many. Errors: those of FutexWake.
func (t *Thread) FutexRequeue(from, to uint64, private bool, n int) (int, abi.Errno) {
	return t.K.futexes.requeue(t.futexKey(from, private), t.futexKey(to, private), n)
}

// robustLimit is ROBUST_LIST_LIMIT: the list is the guest's and may be a circle.
const robustLimit = 2048

// exitRobustList marks the robust mutexes that a dying thread holds, as
// get_robust_list(2) and the kernel's robust-futex-ABI document say.
func (t *Thread) exitRobustList() {
	if t.RobustList == 0 {
		return
	}
	var head [24]byte
	if t.CopyIn(t.RobustList, head[:]) != 0 {
		return
	}
	le := binary.LittleEndian
	entry, offset, pending := le.Uint64(head[:]), le.Uint64(head[8:]), le.Uint64(head[16:])
	for range robustLimit {
		if entry == t.RobustList || entry == 0 {
			break
		}
		next, errno := t.CopyInU64(entry &^ 1)
		if entry&^1 != pending&^1 {
			t.handOver(entry&^1+offset, entry&1 != 0)
		}
		if errno != 0 {
			return
		}
		entry = next
	}
	if pending != 0 {
		t.handOver(pending&^1+offset, pending&1 != 0)
	}
}

func (t *Thread) handOver(addr uint64, pi bool) {
	v, errno := t.CopyInU32(addr)
	if errno != 0 || addr%4 != 0 || int(v&futexOwner) != t.TID {
		return
	}
	// Those who wait for a lock with an owner get it when the thread has gone.
	if t.CopyOutU32(addr, v&futexWaiters|futexOwnerDied) == 0 && v&futexWaiters != 0 && !pi {
		_, _ = t.FutexWake(addr, false, 1, ^uint32(0))
	}
}

// ClockDeadline turns an absolute time of a clock into a deadline.
func (k *Kernel) ClockDeadline(clock int, abs int64) int64 {
	if clock == unix.CLOCK_REALTIME {
		abs -= k.Clock.Realtime() - k.Clock.Monotonic()
	}
	return max(abs, 1)
}
