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
		if (!t.blocked || t.restart != 0) && !t.P.stopped {
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
	if k.Clock == nil || k.futexes == nil || k.Init == nil || k.procs[k.Init.PID] != k.Init || len(k.Init.Threads) == 0 {
		return errors.New("the kernel has no process")
	}
	for pid, p := range k.procs {
		if p == nil || p.PID != pid || p.K != k || p.Place == nil || p.actions == nil || !p.zombie && (p.FDs == nil || p.MM == nil) {
			return errors.New("a process is none")
		}
		for _, t := range p.Threads {
			if t == nil || t.K != k || t.P != p || t.Ctx.FP == nil || k.threads[t.TID] != t {
				return errors.New("a thread is none")
			}
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
	PID    int // of the first process, if it is free
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
		threads: make(map[int]*Thread, len(k.threads)), procs: make(map[int]*Process, len(k.procs)), nextID: k.nextID, futexes: newFutexes(),
		bell: make(chan struct{}, 1),
	}
	n.stats.Unsupported = map[uint64]uint64{}
	c.Files.Clock, c.Files.Timers, c.Files.Memory = n.Clock, n, c.Memory
	if err := k.cloneProcesses(n, c); err != nil {
		return nil, err
	}
	n.Net = k.Net.Clone(c.Files)
	k.futexes.clone(n)
	k.futexes.clonePI(n)
	for _, p := range n.Processes() {
		for _, t := range p.Threads {
			if !t.blocked && !p.stopped {
				t.again = true
				n.enqueue(t)
			}
		}
	}
	n.stats.Threads = len(n.threads)
	return n, nil
}

// cloneProcesses gives n copies of the processes, which share what they shared.
func (k *Kernel) cloneProcesses(n *Kernel, c CloneConfig) error {
	for k.taken(c.PID) {
		c.PID = reservedPIDs + (c.PID+1)%(pidMax-reservedPIDs)
	}
	number := func(pid int) int {
		if pid == k.Init.PID {
			return c.PID
		}
		return pid
	}
	old := k.Processes()
	places, acts := map[*Place]*Place{}, map[*actions]*actions{}
	for _, o := range old {
		p := &Process{
			K: n, PID: number(o.PID), PGID: number(o.PGID), SID: number(o.SID), MM: &mm.MM{}, Place: places[o.Place], Name: o.Name,
			Program: o.Program, Rlimits: o.Rlimits, DeathSignal: o.DeathSignal, Subreaper: o.Subreaper, Executed: o.Executed, Attr: o.Attr,
			exitSignal: o.exitSignal, actions: acts[o.actions], pending: o.pending.clone(),
			stopped: o.stopped, stopSig: o.stopSig, stopNews: o.stopNews, contNews: o.contNews, vforked: o.vforked, zombie: o.zombie, status: o.status,
			cpu: o.cpu, waitedCPU: o.waitedCPU, waitedMin: o.waitedMin, faults: o.faults,
		}
		if !p.zombie {
			p.MM = c.Space(o.MM)
		}
		if c.Path != nil {
			p.Exe = c.Path(o.Exe) // the image counts it
		}
		if p.Place == nil {
			p.Place = &Place{Umask: o.Umask}
			if c.Path != nil {
				p.Cwd = c.Path(o.Cwd)
			}
			places[o.Place] = p.Place
		}
		if p.actions == nil {
			a := *o.actions
			p.actions = &a
			acts[o.actions] = p.actions
		}
		if o == k.Init {
			p.formerPID = o.PID
			n.Init = p
		}
		n.procs[p.PID] = p
		c.Files.Record(o, p)
		for _, t := range o.Threads {
			ct := t.clone(n, p, c.Spare)
			if t == k.charged {
				n.charged, n.chargedAt = ct, k.chargedAt
			}
			n.threads[ct.TID] = ct
			p.Threads = append(p.Threads, ct)
		}
	}
	tables := map[*fd.Table]*fd.Table{}
	for _, o := range old {
		p := n.procs[number(o.PID)]
		if o.parent != nil {
			p.parent = n.procs[number(o.parent.PID)]
		}
		for _, child := range o.children {
			p.children = append(p.children, n.procs[number(child.PID)])
		}
		if tables[o.FDs] == nil {
			var err error
			if tables[o.FDs], err = o.FDs.CloneInto(c.Files); err != nil {
				return err
			}
		}
		p.FDs = tables[o.FDs]
	}
	return nil
}

func (t *Thread) clone(k *Kernel, p *Process, spare *Kernel) *Thread {
	n := &Thread{
		K: k, P: p, TID: t.TID, Name: t.Name, Attr: t.Attr, Ctx: t.Ctx, RobustList: t.RobustList, ClearChildTID: t.ClearChildTID,
		mask: t.mask, savedMask: t.savedMask, restoreMask: t.restoreMask, pending: t.pending.clone(), altStack: t.altStack,
		call: t.call, deadline: t.deadline, cpu: t.cpu,
	}
	if s, ok := t.State.(Progress); ok {
		n.State = s
	}
	if p.stopped { // it may be on its way back from a call
		n.restart, n.woken = t.restart, t.woken
		n.again = t.blocked || t.woken != WakeNone
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
	for key, ws := range f.waiters {
		for _, w := range ws {
			if w.vector || w.t.deadline != NoDeadline && w.t.call.args[1]&clockReal != 0 {
				continue // made again: the wall clock has jumped
			}
			t := n.threads[w.t.TID]
			c := &futexWaiter{t: t, key: key, bits: w.bits}
			if w.to != nil {
				c.to = &piWaiter{t: t, key: w.to.key, addr: w.to.addr}
			}
			n.futexes.waiters[key] = append(n.futexes.waiters[key], c)
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
	for _, p := range k.Processes() {
		for _, t := range p.Threads {
			if t.again && !k.ended && !p.stopped {
				k.call(t)
				k.checkMemory()
			}
		}
	}
}

func (q *sigQueue) clone() sigQueue {
	return sigQueue{set: q.set, queue: append([]queuedSignal(nil), q.queue...)}
}

// ClonePages writes what a new clone must have of its own in its memory: fresh
// bytes where AT_RANDOM points, and mappings that a fork empties.
func (k *Kernel) ClonePages() error {
	for _, p := range k.Processes() {
		if p.zombie {
			continue
		}
		var b [16]byte
		if _, err := io.ReadFull(k.Rand, b[:]); err != nil {
			return err
		}
		// A program that has unmapped its first stack needs none. What a fork shares is
		// written once for all.
		p.MM.Refresh(p.Program.Random, b[:])
		p.MM.Wipe()
	}
	return k.Init.MM.Err()
}

// SnapshotTypes returns a value of each type of this package that interfaces in a
// frozen program may hold, for the snapshot on disk.
func SnapshotTypes() []any {
	return []any{(*Kernel)(nil), (*Thread)(nil), (*Pidfd)(nil), (*SignalFD)(nil), vforkWait{}}
}
