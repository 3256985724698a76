// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// machine is one VM with its one processor.
type machine struct {
	p    *Platform
	vm   *kvm.VM
	vcpu *kvm.VCPU
	mem  *guestmem.Memory
	root uint64 // of contexts that name none

	// A kick came while an exception or a call was on its way; Run reports it next.
	kicked bool

	cur *platform.Context // whose general registers were run last
	fp  *platform.Context // whose vector state is loaded

	touch platform.Context // of Touch

	timer *threadTimer

	mu  sync.Mutex // guards tid and vcpu against a Kick during Close
	tid int        // the OS thread of the run loop; 0 before Bind and after Close
}

// Bind implements platform.Machine.
func (m *machine) Bind() error {
	if err := clearSegments(); err != nil {
		return err
	}
	tid := unix.Gettid()
	if m.timer != nil && m.tid == tid {
		return nil
	}
	t, err := newThreadTimer(tid)
	if err != nil {
		return err
	}
	if m.timer != nil {
		m.timer.delete()
	}
	m.timer = t
	m.mu.Lock()
	m.tid = tid
	m.mu.Unlock()
	return nil
}

// Close implements platform.Machine.
func (m *machine) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tid = 0
	if m.timer != nil {
		m.timer.delete()
		m.timer = nil
	}
	var errs []error
	if m.vcpu != nil {
		errs = append(errs, m.vcpu.Close())
		m.vcpu = nil
	}
	if m.vm != nil {
		errs = append(errs, m.vm.Close())
		m.vm = nil
	}
	return errors.Join(errs...)
}

// Reset implements platform.Machine. The special registers and the vector state
// are loaded with the next context; left are the registers that only code at
// privilege level 0 could have changed.
func (m *machine) Reset() error {
	m.cur, m.fp, m.kicked = nil, nil, false
	m.vcpu.ClearExitRequest()
	return m.setMSRs()
}

// Kick implements platform.Machine. The flag makes a run that has not entered
// the guest yet return at once; the signal ends one that has.
func (m *machine) Kick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tid != 0 {
		m.vcpu.RequestExit()
		_ = unix.Tgkill(os.Getpid(), m.tid, kickSignal)
	}
}

// Timer implements platform.Machine.
func (m *machine) Timer(ns, period int64) error { return m.timer.set(ns, period) }

// SaveFP implements platform.Machine.
func (m *machine) SaveFP(c *platform.Context) error {
	if m.fp != c {
		return nil
	}
	return m.vcpu.GetXSave(c.FP)
}

// LoadFP implements platform.Machine.
func (m *machine) LoadFP(c *platform.Context) {
	if m.fp == c {
		m.fp = nil
	}
}

// Forget implements platform.Machine.
func (m *machine) Forget(c *platform.Context) {
	if m.cur == c {
		m.cur = nil
	}
	if m.fp == c {
		m.fp = nil
	}
}

// DropRoot implements platform.Machine. What KVM derived from the tables is
// dropped before they are used again; see flush.
func (m *machine) DropRoot(uint64) {}

// flushSlot and flushGPA are a memslot beyond all others.
const (
	flushSlot = 1 << 14
	flushGPA  = 1 << 38
)

// flush makes KVM forget all that it derived from page tables. KVM keeps the
// shadow of a table for as long as it has room, also when no root leads there any
// more, and does not see the host write to the table. That a memslot goes away
// makes it drop everything (KVM_X86_QUIRK_SLOT_ZAP_ALL, on unless it is turned off).
func (m *machine) flush() error {
	page := m.mem.Page(x86.ControlGPA)
	if err := m.vm.SetMemory(flushSlot, flushGPA, page); err != nil {
		return err
	}
	return m.vm.DropMemory(flushSlot, flushGPA)
}

func (m *machine) load(c *platform.Context) (uint64, error) {
	if m.fp != c {
		if m.fp != nil {
			if err := m.vcpu.GetXSave(m.fp.FP); err != nil {
				return 0, err
			}
		}
		if err := m.vcpu.SetXSave(c.FP); err != nil {
			return 0, err
		}
		m.fp = c
	}
	*m.vcpu.Regs = c.Regs
	s, root := m.vcpu.Sregs, c.Root
	if root == 0 {
		root = m.root
	}
	if m.cur == c && s.CR3 == root && s.CS.Selector == x86.UserCS && s.SS.Selector == x86.UserDS && s.FS.Base == c.FSBase && s.GS.Base == c.GSBase {
		return kvm.SyncRegs, nil
	}
	// There is one way back to the program: set everything. The data segments
	// too, since the program can load selectors.
	s.CS, s.SS, s.DS, s.ES, s.FS, s.GS = userCode, userData, userData, userData, userData, userData
	s.FS.Base, s.GS.Base, s.CR3 = c.FSBase, c.GSBase, root
	m.cur = c
	return kvm.SyncRegs | kvm.SyncSregs, nil
}

// maxTries is how many kicks a thread may outlast because of an exception. Each needs
// to come before KVM has entered the guest again: one that takes more is the work of a
// guest that has found a way to have exceptions pending for ever.
const maxTries = 16

// Run implements platform.Machine.
func (m *machine) Run(c *platform.Context) (platform.Exit, error) {
	if m.kicked {
		m.kicked = false
		return platform.Exit{Kind: platform.ExitKick}, nil
	}
	load, err := m.load(c)
	if err != nil {
		return platform.Exit{}, err
	}
	errno := m.vcpu.Run(load)
	for tries := 0; errno == unix.EINTR; tries++ {
		m.vcpu.ClearExitRequest()
		// An exception that KVM has yet to deliver belongs to this thread: go on
		// until its stub has exited, or another thread would get it.
		pending, err := m.vcpu.ExceptionPending()
		if err != nil {
			return platform.Exit{}, err
		}
		if !pending || tries == maxTries {
			break
		}
		m.kicked = true
		errno = m.vcpu.Run(0)
	}
	c.Regs = *m.vcpu.Regs
	s := m.vcpu.Sregs
	c.FSBase, c.GSBase = s.FS.Base, s.GS.Base
	switch errno {
	case 0:
	case unix.EINTR:
		// A kick between the entry into a stub and its end: finish that here, or
		// a thread switch would lose the frame.
		switch m.interrupted(c, c.Regs.RIP) {
		case x86.StubBegun, x86.StubTries:
			m.kicked = true
			return m.syscall(c), nil
		case x86.StubDone:
			m.resume(c)
		case x86.StubNone:
			if vector, ok := x86.ExceptionStubAt(c.Regs.RIP); ok && s.CS.Selector&3 == 0 {
				m.kicked = true
				return m.exception(c, vector)
			}
		}
		return platform.Exit{Kind: platform.ExitKick}, nil
	default:
		return m.fatal(fmt.Sprintf("KVM_RUN: %v (%v) at %#x", errno, m.vcpu.ExitReason(), c.Regs.RIP)), nil
	}
	if m.vcpu.ExitReason() != kvm.ExitIO {
		return m.fatal(fmt.Sprintf("KVM exit %v at %#x", m.vcpu.ExitReason(), c.Regs.RIP)), nil
	}
	port := int(m.vcpu.IOPort())
	switch {
	case !m.vcpu.IOOut():
	case port == x86.PortSyscall:
		return m.syscall(c), nil
	case port >= x86.PortException && port < x86.PortException+32 && s.CS.Selector&3 == 0:
		return m.exception(c, port-x86.PortException)
	}
	// The program itself used a port that the stubs use: on Linux it has none.
	return platform.Exit{Kind: platform.ExitException, Vector: x86.VecProtection}, nil
}

// Touch implements platform.Toucher.
func (m *machine) Touch(pages []uint64) error {
	list := m.mem.Bytes(x86.TouchListGPA, 8*x86.TouchListLen)
	defer clear(list)
	defer m.Forget(&m.touch)
	if m.touch.FP == nil {
		m.touch.FP = new([kvm.XSaveSize]byte)
		m.fp = &m.touch // whatever state is loaded will do
	}
	for len(pages) > 0 {
		n := min(len(pages), x86.TouchListLen-1)
		for i, va := range pages[:n] {
			binary.LittleEndian.PutUint64(list[8*i:], va)
		}
		clear(list[8*n : 8*n+8])
		pages = pages[n:]
		m.touch.Regs = kvm.Regs{RIP: x86.ToucherVA, RSI: x86.TouchListVA, RFLAGS: 2}
		for {
			exit, err := m.Run(&m.touch)
			if err != nil {
				return err
			}
			if exit.Kind == platform.ExitSyscall {
				break
			}
			if exit.Kind != platform.ExitKick {
				return nil
			}
		}
	}
	return nil
}

// userFlags are the RFLAGS bits that a program may set: status flags, TF, DF,
// AC and ID, as Linux restores them; IF always reads as set.
const userFlags = 0x24_0dd5

func (m *machine) syscall(c *platform.Context) platform.Exit {
	m.resume(c)
	return platform.Exit{Kind: platform.ExitSyscall}
}

// resume has c go on after a system call. The instruction pointer at the exit is
// the stub's and not to be relied on.
func (m *machine) resume(c *platform.Context) {
	c.Regs.RIP = c.Regs.RCX
	c.Regs.RFLAGS = c.Regs.R11&userFlags | 0x202
}

func (m *machine) control() []byte { return m.mem.Bytes(x86.ControlGPA, x86.ControlSize()) }

// interrupted undoes or completes what the system call stub had begun when it was
// stopped at rip; see x86.Interrupted.
func (m *machine) interrupted(c *platform.Context, rip uint64) x86.StubStage {
	r := x86.StubRegs{RAX: c.Regs.RAX, RCX: c.Regs.RCX, RDX: c.Regs.RDX, RSI: c.Regs.RSI, RDI: c.Regs.RDI}
	stage := x86.Interrupted(m.control(), rip, &r)
	c.Regs.RAX, c.Regs.RCX, c.Regs.RSI, c.Regs.RDI = r.RAX, r.RCX, r.RSI, r.RDI
	return stage
}

func (m *machine) exception(c *platform.Context, vector int) (platform.Exit, error) {
	if vector == x86.VecBreakpoint {
		if err := m.vcpu.ForgetException(); err != nil {
			return platform.Exit{}, err
		}
	}
	f := x86.ReadFrame(m.control(), vector)
	c.Regs.RSP = f.RSP
	if fault := vector == x86.VecPageFault || vector == x86.VecProtection; fault && x86.StubMayFault(f.RIP) {
		// The program's pointers are bad, or its memory is not there yet: that is
		// for the call itself to find.
		m.interrupted(c, f.RIP)
		return m.syscall(c), nil
	}
	c.Regs.RIP = f.RIP
	c.Regs.RFLAGS = f.RFLAGS&(userFlags|1<<16) | 0x202
	return platform.Exit{Kind: platform.ExitException, Vector: vector, ErrorCode: f.ErrorCode, Addr: m.vcpu.Sregs.CR2}, nil
}

// fatal finishes an exit after which the processor cannot go on: one more run
// that must not enter the guest lets KVM complete what it had begun.
func (m *machine) fatal(detail string) platform.Exit {
	m.vcpu.RequestExit()
	_ = m.vcpu.Run(0)
	m.vcpu.ClearExitRequest()
	return platform.Exit{Kind: platform.ExitFatal, Detail: detail}
}
