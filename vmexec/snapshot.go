// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/syscalls"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
	"kontain.dev/eventing/vmexec/talk"
)

// Snapshot is a program frozen where it waits for its event: a memory image and
// the state of its threads and files. Any number of VMs can be cloned from it,
// also at the same time.
type Snapshot struct {
	program  *Program
	limits   Limits
	platform Kind // it was made on
	fromDisk bool
	image    *guestmem.Image
	spaces   *mm.Frozen
	kernel   *task.Kernel
	fs       *vfs.Frozen
	stdin    *fd.EventInput
	stdout   *fd.CaptureOutput
	stderr   *fd.CaptureOutput

	// The pages that an event uses, learned from the first one: clones have them
	// prepared before their event comes.
	learning atomic.Bool              `snapshot:"-"`
	used     atomic.Pointer[[]uint64] `snapshot:"-"`

	// Took is how long the program ran up to its wait point; Stdout and Stderr are
	// what it wrote meanwhile, which is no part of any event's output.
	Took           time.Duration
	Stdout, Stderr []byte
}

// NoWaitError says that a program ended before it waited for an event, so there
// is nothing to snapshot.
type NoWaitError struct {
	Result *Result
	// Asked: one thread did ask for the event, but others went on running. Talked: Talk
	// found the program ready, but it went on running.
	Asked, Talked bool
	// Talk is what Talk said.
	Talk error
}

func (e *NoWaitError) Error() string {
	s := "the program ended before it read its event, from stdin or " + EventFolder + "/event"
	switch {
	case e.Talk != nil:
		s = "the program was not ready for events: " + e.Talk.Error()
	case e.Talked:
		s = "the program was ready for events, but not all of its threads came to rest"
	case e.Asked:
		s = "the program asked for its event, but other threads of it did not come to rest"
	}
	if e.Result.Message != "" {
		s += ": " + e.Result.Message
	}
	return s
}

// Unwrap returns the error of Wait.Talk.
func (e *NoWaitError) Unwrap() error { return e.Talk }

// Wait says when a program that is started waits for an event. The zero value: when
// it reads or polls stdin.
type Wait struct {
	// Talk talks with the program and returns when that is ready; the error is why it
	// never will be.
	Talk func(context.Context, *talk.Side) error
	// Outward makes the connections to the network outside, as in IO.
	Outward talk.Outward
	// Line does the same for one who talks from another process.
	Line *Line
}

// NewSnapshot runs the program in a machine of its own until it waits for its
// event: a read or poll of stdin, the opening of the event file, or as w says. Limits apply to that run, and Memory, Output,
// Threads and Files to the clones too. The error is a *NoWaitError when the
// program ended first, and a *ProgramError when it cannot be run at all.
func (h *Host) NewSnapshot(ctx context.Context, p *Program, l Limits, w Wait) (*Snapshot, error) {
	vm, err := h.NewVM(p, l)
	if err != nil {
		return nil, err
	}
	defer func() { _ = vm.Close() }()
	r, err := vm.runToWaitOf(ctx, w)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{
		program: p, limits: vm.limits, platform: h.kind, kernel: vm.kernel, stdin: vm.stdin, stdout: vm.stdout, stderr: vm.stderr,
		Took: r.Stats.Run, Stdout: r.Stdout, Stderr: r.Stderr,
	}
	if err := vm.kernel.Freeze(); err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", p.spec.Path, err)
	}
	s.spaces = vm.spaces.Freeze()
	if s.image, err = vm.mem.Freeze(); err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", p.spec.Path, err)
	}
	s.fs = vm.fs.Freeze()
	vm.fs = nil // it is the snapshot's now
	return s, nil
}

// runToWaitOf runs the program until it waits. The error is a *NoWaitError when it
// does not.
func (vm *VM) runToWaitOf(ctx context.Context, w Wait) (*Result, error) {
	var talked error
	if w.Talk != nil || w.Outward != nil {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var f func(context.Context, *talk.Side) bool
		if w.Talk != nil {
			f = func(ctx context.Context, s *talk.Side) bool {
				if talked = w.Talk(ctx, s); talked != nil {
					cancel()
				}
				return talked == nil
			}
		}
		c := converse(ctx, true, w.Outward, f)
		c.begin()
		r, err := vm.runToWait(ctx, c.line)
		c.end()
		if talked != nil && err == nil && r.Reason == Canceled {
			r.Message = ""
		}
		return vm.waited(r, err, talked)
	}
	r, err := vm.runToWait(ctx, w.Line)
	return vm.waited(r, err, nil)
}

func (vm *VM) waited(r *Result, err, talked error) (*Result, error) {
	if err == nil && r.Reason != waiting {
		err = &NoWaitError{Result: r, Asked: vm.stdin.Asked(), Talked: vm.ready, Talk: talked}
	}
	return r, err
}

// Size returns the length of the memory image in bytes.
func (s *Snapshot) Size() uint64 { return s.image.Size() }

// Learned reports whether it is known which pages an event uses, so that clones
// have them prepared: from the first event of a clone, or from the file.
func (s *Snapshot) Learned() bool { return s.used.Load() != nil }

// Close frees the snapshot. Every VM cloned from it must be closed before.
func (s *Snapshot) Close() error { return s.image.Close() }

// pids numbers the processes of clones: to its libraries a clone is a fork, and
// those that look see another process number.
var pids atomic.Uint64

const firstClonePID, clonePIDs = 1000, 31000

func nextPID() int { return firstClonePID + int(pids.Add(1)%clonePIDs) }

// generations counts clones and resets: /run/kontain/generation.
var generations atomic.Uint64

// A snapshot on disk has clones in several processes: they do not begin with the
// same numbers.
func init() {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it does not fail: see crypto/rand
	start := binary.LittleEndian.Uint64(b[:]) >> 2
	pids.Store(start)
	generations.Store(start)
}

// Clone makes a VM that goes on where the snapshot was taken. l.Wall and l.CPU
// are those of the event; the other limits are the snapshot's.
func (h *Host) Clone(s *Snapshot, l Limits) (*VM, error) { return h.cloneFor(s, l, false) }

// CloneOnce makes a VM as Clone does, that runs one event only. It may take more
// of the host's memory to be ready sooner; to reset it is possible, and slow.
func (h *Host) CloneOnce(s *Snapshot, l Limits) (*VM, error) { return h.cloneFor(s, l, true) }

func (h *Host) cloneFor(s *Snapshot, l Limits, once bool) (*VM, error) {
	start := time.Now()
	vm := &VM{program: s.program, limits: s.limits, snapshot: s}
	vm.limits.Wall, vm.limits.CPU = l.Wall, l.CPU
	if err := vm.cloneChecked(h, once); err != nil {
		_ = vm.Close()
		return nil, fmt.Errorf("clone %s: %w", s.program.spec.Path, err)
	}
	vm.create = time.Since(start)
	return vm, nil
}

// cloneChecked is clone for a snapshot of any origin: what a file says was not made
// by accident, and only its owner can have written it, but wrong it may still be.
func (vm *VM) cloneChecked(h *Host, once bool) (err error) {
	if vm.snapshot.fromDisk {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("the snapshot from disk makes no sense: %v", r)
			}
		}()
	}
	return vm.clone(h, once)
}

func (vm *VM) clone(h *Host, once bool) error {
	s := vm.snapshot
	var err error
	cloneMemory := s.image.Clone
	if h.p.Features().SharedMemory {
		cloneMemory = s.image.CloneShared
	}
	if vm.mem, err = cloneMemory(); err != nil {
		return err
	}
	vm.fs = s.fs.Clone(vfs.CloneConfig{
		Budget: budget{vm.mem}, Now: func() int64 { return vm.kernel.Clock.Realtime() }, Rand: rand.Reader, Proc: procOf{vm},
		Generation: func() uint64 { return vm.generation },
	})
	vm.spaces = s.spaces.Clone(vm.mem, vm.translator())
	if err := vm.makeMachine(h, s.kernel.Init.MM.Root()); err != nil {
		return err
	}
	if err := vm.revive(nil); err != nil {
		return err
	}
	group := uint64(0)
	if once {
		group = h.p.Features().FaultGroup
	}
	return vm.prepare(group)
}

// prepare brings the pages that an event uses into a new clone, or, in the first
// one, begins to learn which they are. group is how many pages may come together.
func (vm *VM) prepare(group uint64) error {
	toucher, ok := vm.machine.(platform.Toucher)
	if !ok {
		return nil
	}
	s := vm.snapshot
	if used := s.used.Load(); used != nil {
		vm.kernel.Init.MM.Break(*used, group)
		return toucher.Touch(*used)
	}
	if s.learning.CompareAndSwap(false, true) {
		vm.learns = true
		vm.kernel.Init.MM.Watch()
	}
	return nil
}

// learned ends what prepare began.
func (vm *VM) learned(ok bool) {
	vm.learns = false
	used := vm.space(vm.snapshot.kernel.Init.MM).Watched()
	if !ok { // an event that failed says little of others
		vm.snapshot.learning.Store(false)
		return
	}
	vm.snapshot.used.Store(&used)
}

// revive gives the machine a fresh copy of the snapshot's kernel.
func (vm *VM) revive(spare *task.Kernel) error {
	s := vm.snapshot
	vm.generation = generations.Add(1)
	files := &fd.CloneContext{Owner: vm.fs, Overflow: vm.overflow}
	k, err := s.kernel.Clone(task.CloneConfig{
		PID: nextPID(), Memory: vm.mem, Space: vm.space, Machine: vm.machine, FS: vm.fs, Rand: rand.Reader, Files: files, Path: vm.fs.ClonePath, Spare: spare,
		Limits: task.Limits{Threads: vm.limits.Threads, Files: vm.limits.Files, Wall: vm.limits.Wall, CPU: vm.limits.CPU},
	})
	if err != nil {
		return err
	}
	vm.kernel = k
	syscalls.CloneTimers(k, s.kernel)
	vm.stdin, _ = files.File(s.stdin).(*fd.EventInput)
	vm.stdout, _ = files.File(s.stdout).(*fd.CaptureOutput)
	vm.stderr, _ = files.File(s.stderr).(*fd.CaptureOutput)
	vm.fs.SetEvent(vm.stdin)
	return k.ClonePages()
}

// space returns the clone's copy of an address space of the snapshot.
func (vm *VM) space(frozen *mm.MM) *mm.MM { return vm.spaces.Space(vm.snapshot.spaces, frozen) }

// translator returns what finds the clone's file for a file mapping of the
// snapshot; pieces of one mapping have one file.
func (vm *VM) translator() func(mm.Source) mm.Source {
	made := map[mm.Source]mm.Source{}
	return func(old mm.Source) mm.Source {
		if made[old] == nil {
			made[old] = syscalls.CloneSource(old, vm.fs)
		}
		return made[old]
	}
}

// Reset makes a VM that was cloned, and has run, what it was before its run. It
// is an error after a run that did not end by the program's own exit: what is
// left of a program that crashed, or that a limit stopped, is not used again.
func (vm *VM) Reset() error {
	if vm.snapshot == nil || !vm.again {
		return errors.New("vmexec: only a clone whose program has exited can be reset")
	}
	vm.again = false
	start := time.Now()
	vm.fs.Reset()
	st, err := vm.spaces.Reset(vm.snapshot.spaces, vm.translator())
	if err != nil {
		return fmt.Errorf("reset %s: %w", vm.program.spec.Path, err)
	}
	if err := vm.machine.Reset(); err != nil {
		return fmt.Errorf("reset %s: %w", vm.program.spec.Path, err)
	}
	if err := vm.revive(vm.kernel); err != nil {
		return fmt.Errorf("reset %s: %w", vm.program.spec.Path, err)
	}
	vm.ran, vm.create, vm.load = false, 0, 0
	vm.dirty, vm.reset = st.Dirty, time.Since(start)
	return nil
}

// procOf gives the facts behind /proc of whatever kernel the machine has now.
type procOf struct{ vm *VM }

func (p procOf) Self() (pid, tid int)        { return p.vm.kernel.ProcInfo().Self() }
func (p procOf) PIDs() []int                 { return p.vm.kernel.ProcInfo().PIDs() }
func (p procOf) Process(pid int) vfs.Process { return p.vm.kernel.ProcInfo().Process(pid) }
func (p procOf) System() vfs.System          { return p.vm.kernel.ProcInfo().System() }
func (p procOf) NetFiles() []string          { return net.ProcFiles }
func (p procOf) NetFile(name string) []byte  { return p.vm.kernel.Net.Proc(name) }

// Verify compares the memory of a clone that has not run since it was made or
// reset with its snapshot, byte for byte, page tables included. It reads all of
// the memory: a check for tests. What differs by design does not count: the
// random bytes of the process, and mappings that a fork empties.
func (vm *VM) Verify() error {
	if vm.snapshot == nil || vm.ran {
		return errors.New("vmexec: only a clone that has not run can be verified")
	}
	own := map[uint64]bool{} // the guest physical addresses of random bytes
	for _, p := range vm.kernel.Processes() {
		if p.Zombie() {
			continue
		}
		if gpa, errno := p.MM.Physical(p.Program.Random); errno == 0 {
			own[gpa] = true
		}
	}
	var differ []uint64
	for _, page := range vm.spaces.Differences(vm.snapshot.spaces, vm.snapshot.image) {
		now := bytes.Clone(vm.mem.Page(page))
		for gpa := range own {
			if gpa&^(pageSize-1) == page {
				copy(now[gpa%pageSize:], vm.snapshot.image.Bytes(gpa, min(16, pageSize-gpa%pageSize)))
			}
		}
		if !bytes.Equal(now, vm.snapshot.image.Bytes(page, pageSize)) && !vm.spaces.Wiped(page) {
			differ = append(differ, page)
		}
	}
	if len(differ) > 0 {
		return fmt.Errorf("verify: %d pages differ from the snapshot, the first at guest physical %#x", len(differ), differ[0])
	}
	return nil
}
