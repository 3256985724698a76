// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"errors"
	"fmt"
	"io"

	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// A snapshot is taken when the loop is quiet: no thread runs, so every thread is
// parked in a system call. In a clone those calls are made again from scratch,
// with the deadlines they had; so a snapshot holds no wait queues, no timers of
// calls and none of their scratch state.

// settleNS is how long the threads of a program are given to go to sleep for
// long, once it waits for its event; quietNS is 'for long'.
const (
	settleNS = int64(200_000_000)
	quietNS  = int64(20_000_000)
)

// atWaitPoint reports whether the run is to be paused here: the program waits
// for its event and nothing else is about to happen.
func (k *Kernel) atWaitPoint() bool {
	if k.WaitPoint == nil || !k.WaitPoint() {
		return false
	}
	now := k.Clock.Monotonic()
	if k.waitingSince == 0 {
		k.waitingSince = now
	}
	return len(k.timers) == 0 || k.timers[0].deadline-now > quietNS || now-k.waitingSince > settleNS
}

// Freeze makes the kernel the template of clones. It must have been paused at
// its wait point, and is not run again. The error says what cannot be frozen.
func (k *Kernel) Freeze() error {
	if !k.ended || k.outcome.Ending != Waiting {
		return errors.New("freeze a kernel that does not wait")
	}
	for _, t := range k.threads {
		if !t.blocked || t.restart != 0 {
			return fmt.Errorf("thread %d is not parked in a call", t.TID)
		}
		if err := k.machine.SaveFP(&t.Ctx); err != nil {
			return err
		}
		for _, e := range t.entries {
			e.Remove()
		}
		t.entries = nil
		if _, ok := t.State.(Progress); !ok {
			t.State = nil
		}
	}
	k.frozenAt = k.Clock.Monotonic()
	return nil
}

// Restore gives a frozen kernel that was read from disk what is not written there.
// The error says what of it makes no sense.
func (k *Kernel) Restore(table *Table, features platform.Features) error {
	p := k.Init
	if k.Clock == nil || k.futexes == nil || p == nil || p.K != k || p.FDs == nil || p.MM == nil || len(p.Threads) == 0 {
		return errors.New("the kernel has no process")
	}
	for _, t := range p.Threads {
		if t == nil || t.K != k || t.P != p || t.Ctx.FP == nil || k.threads[t.TID] != t {
			return errors.New("a thread is none")
		}
	}
	for _, ws := range k.futexes.waiters {
		for _, w := range ws {
			if w == nil || w.t == nil || k.threads[w.t.TID] != w.t {
				return errors.New("a futex has a waiter that is no thread")
			}
		}
	}
	k.table, k.features = table, features
	k.Clock.data.Enabled, k.Clock.data.Mult = features.ClockOK, features.TSCMult
	return nil
}

// CloneConfig is what a clone has of its own.
type CloneConfig struct {
	PID    int
	Memory *guestmem.Memory
	// Space returns the copy of an address space.
	Space   func(*mm.MM) *mm.MM
	Machine platform.Machine
	FS      *vfs.FS
	Rand    io.Reader
	Limits  Limits
	// Files carries the descriptors over; its Timers and Clock are set here.
	Files *fd.CloneContext
	// Path translates a working directory.
	Path func(vfs.Path) vfs.Path
	// Spare is an earlier clone that will not run again; its storage is used.
	Spare *Kernel
}

// Clone makes a kernel that goes on where the frozen one stopped, in a new
// process number and with fresh clocks.
func (k *Kernel) Clone(c CloneConfig) (*Kernel, error) {
	n := &Kernel{
		Clock: k.Clock.resume(k.frozenAt), Limits: c.Limits, Rand: c.Rand, Memory: c.Memory, FS: c.FS,
		cpuBefore: k.cpuBefore,
		table:     k.table, machine: c.Machine, features: k.features, external: false,
		threads: make(map[int]*Thread, len(k.threads)), nextID: k.nextID, futexes: newFutexes(),
		bell: make(chan struct{}, 1),
	}
	n.stats.Unsupported = map[uint64]uint64{}
	old := k.Init
	p := &Process{
		K: n, PID: c.PID, PPID: old.PPID, PGID: c.PID, SID: c.PID, MM: c.Space(old.MM), Umask: old.Umask, Name: old.Name, Exe: old.Exe,
		Args: old.Args, Env: old.Env, Auxv: old.Auxv, Rlimits: old.Rlimits, formerPID: old.PID,
		actions: old.actions, pending: old.pending.clone(), stopped: old.stopped,
	}
	n.Init = p
	if c.Path != nil {
		p.Cwd = c.Path(old.Cwd)
	}
	c.Files.Clock, c.Files.Timers, c.Files.Memory = n.Clock, n, c.Memory
	var err error
	if p.FDs, err = old.FDs.CloneInto(c.Files); err != nil {
		return nil, err
	}
	for _, t := range old.Threads {
		ct := t.clone(n, p, c.Spare)
		n.threads[ct.TID] = ct
		p.Threads = append(p.Threads, ct)
	}
	k.futexes.clone(n)
	for _, t := range p.Threads {
		if !t.blocked {
			t.again = true
			n.enqueue(t)
		}
	}
	n.stats.Threads = len(n.threads)
	return n, nil
}

func (t *Thread) clone(k *Kernel, p *Process, spare *Kernel) *Thread {
	n := &Thread{
		K: k, P: p, TID: t.TID, Name: t.Name, Ctx: t.Ctx, RobustList: t.RobustList, ClearChildTID: t.ClearChildTID,
		mask: t.mask, savedMask: t.savedMask, restoreMask: t.restoreMask, pending: t.pending.clone(), altStack: t.altStack,
		call: t.call, deadline: t.deadline,
	}
	if s, ok := t.State.(Progress); ok {
		n.State = s
	}
	if spare != nil && spare.threads[t.TID] != nil {
		n.Ctx.FP = spare.threads[t.TID].Ctx.FP
	} else {
		n.Ctx.FP = new([kvm.XSaveSize]byte)
	}
	*n.Ctx.FP = *t.Ctx.FP
	return n
}

// clone parks the waiters' copies again, on the futex that they have come to and in
// the same order: made again, a call would look at the word, which may have changed
// since, and at the address before a requeue.
func (f *futexes) clone(n *Kernel) {
	const clockReal = 256 // FUTEX_CLOCK_REALTIME
	for addr, ws := range f.waiters {
		for _, w := range ws {
			if w.t.deadline != NoDeadline && w.t.call.args[1]&clockReal != 0 {
				continue // made again: the wall clock has jumped
			}
			t := n.threads[w.t.TID]
			c := &futexWaiter{t: t, addr: addr, bits: w.bits}
			n.futexes.waiters[addr] = append(n.futexes.waiters[addr], c)
			t.State = c
			t.Block(w.t.deadline)
		}
	}
}

// Progress is the State of a call that has done a part of its work: the call that
// is made again in a clone goes on from there. It must not change.
type Progress interface{ Progress() }

// resume makes the calls again in which the threads of a clone were parked, before
// the program goes on: so that what the first thread does finds the others waiting.
func (k *Kernel) resume() {
	for _, t := range k.Init.Threads {
		if t.again && !k.ended {
			k.call(t)
			k.checkMemory(t)
		}
	}
}

func (q *sigQueue) clone() sigQueue {
	return sigQueue{set: q.set, queue: append([]queuedSignal(nil), q.queue...)}
}

// ClonePages writes what a new clone must have of its own in its memory: fresh
// bytes where AT_RANDOM points. rnd is the address.
func (k *Kernel) ClonePages(rnd uint64) error {
	var b [16]byte
	if _, err := io.ReadFull(k.Rand, b[:]); err != nil {
		return err
	}
	if rnd != 0 {
		// A program that has unmapped its first stack needs none.
		if err := k.Init.MM.Poke(rnd, b[:]); err != nil && !errors.Is(err, mm.ErrNotMapped) {
			return err
		}
	}
	k.Init.MM.Wipe()
	return k.Init.MM.Err()
}

// SnapshotTypes returns a value of each type of this package that interfaces in a
// frozen program may hold, for the snapshot on disk.
func SnapshotTypes() []any { return []any{(*Kernel)(nil), (*Thread)(nil)} }
