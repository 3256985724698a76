// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// Futexes of a VM: fast user-space locks, futex(2). A futex is named by its
// virtual address: all threads share one address space.
type futexes struct {
	waiters map[uint64][]*futexWaiter // by address, in the order they came
}

type futexWaiter struct {
	t     *Thread
	addr  uint64
	bits  uint32
	woken bool
}

func newFutexes() *futexes { return &futexes{waiters: map[uint64][]*futexWaiter{}} }

func (f *futexes) wake(addr uint64, n int, bits uint32) int {
	ws := f.waiters[addr]
	rest := ws[:0]
	count := 0
	for _, w := range ws {
		if count < n && w.bits&bits != 0 {
			count++
			w.woken = true
			w.t.Wake()
			continue
		}
		rest = append(rest, w)
	}
	f.set(addr, ws, rest)
	return count
}

func (f *futexes) set(addr uint64, old, rest []*futexWaiter) {
	clear(old[len(rest):])
	if len(rest) == 0 {
		delete(f.waiters, addr)
		return
	}
	f.waiters[addr] = rest
}

func (f *futexes) remove(w *futexWaiter) {
	ws := f.waiters[w.addr]
	rest := ws[:0]
	for _, x := range ws {
		if x != w {
			rest = append(rest, x)
		}
	}
	f.set(w.addr, ws, rest)
}

func (f *futexes) requeue(from, to uint64, n int) int {
	ws := f.waiters[from]
	if from == to {
		return min(n, len(ws))
	}
	n = max(0, min(n, len(ws)))
	if n == 0 { // or the map would keep every address that the program names
		return 0
	}
	for _, w := range ws[:n] {
		w.addr = to
	}
	f.waiters[to] = append(f.waiters[to], ws[:n]...)
	rest := append([]*futexWaiter(nil), ws[n:]...)
	f.set(from, ws, rest)
	return n
}

// FutexWait blocks while the word at addr is want, until a wake-up whose bits
// match, or the deadline (absolute nanoseconds, NoDeadline for none).
// Errors: EAGAIN, EFAULT, EINVAL, ETIMEDOUT, EINTR.
func (t *Thread) FutexWait(addr uint64, want, bits uint32, deadline int64) abi.Errno {
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
	w := &futexWaiter{t: t, addr: addr, bits: bits}
	f.waiters[addr] = append(f.waiters[addr], w)
	t.State = w
	return t.Block(deadline)
}

// FutexWake wakes up to n waiters of addr whose bits match and returns how many.
func (k *Kernel) FutexWake(addr uint64, n int, bits uint32) int { return k.futexes.wake(addr, n, bits) }

// FutexRequeue moves up to n waiters of from to another futex without waking
// them, and returns how many.
func (k *Kernel) FutexRequeue(from, to uint64, n int) int { return k.futexes.requeue(from, to, n) }

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
			t.handOver(entry&^1 + offset)
		}
		if errno != 0 {
			return
		}
		entry = next
	}
	if pending != 0 {
		t.handOver(pending&^1 + offset)
	}
}

func (t *Thread) handOver(addr uint64) {
	const ownerMask, ownerDied, waiters = 0x3fff_ffff, 0x4000_0000, 0x8000_0000
	v, errno := t.CopyInU32(addr)
	if errno != 0 || addr%4 != 0 || int(v&ownerMask) != t.TID {
		return
	}
	if t.CopyOutU32(addr, v&waiters|ownerDied) == 0 && v&waiters != 0 {
		t.K.futexes.wake(addr, 1, ^uint32(0))
	}
}

// ClockDeadline turns an absolute time of a clock into a deadline.
func (k *Kernel) ClockDeadline(clock int, abs int64) int64 {
	if clock == unix.CLOCK_REALTIME {
		abs -= k.Clock.Realtime() - k.Clock.Monotonic()
	}
	return max(abs, 1)
}
