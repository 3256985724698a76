// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package platform is the boundary between the guest kernel and the mechanism
// that runs guest instructions.
package platform

import (
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/kvm"
)

// Context is the processor state of one guest thread.
type Context struct {
	Regs           kvm.Regs
	FSBase, GSBase uint64
	// Root is the guest physical address of the top page table (CR3); 0 for the
	// one that the machine was made with.
	Root uint64
	// FP is the vector and floating point state in the standard XSAVE format.
	// While the thread's state is loaded in a Machine, FP is stale; see SaveFP.
	FP *[kvm.XSaveSize]byte
}

// ExitKind says why a Machine stopped.
type ExitKind uint8

const (
	// ExitSyscall: the program made a system call. RIP is the address after
	// it, RFLAGS as they were; RAX holds the number.
	ExitSyscall ExitKind = iota
	// ExitException: the program caused a processor exception.
	ExitException
	// ExitKick: Kick, the timer or a stray signal ended the run. Nothing happened
	// in the guest.
	ExitKick
	// ExitFatal: the processor state is beyond repair (triple fault, emulation
	// failure); the VM cannot go on. Exit.Detail says what it was.
	ExitFatal
)

// Exit is one stop of a Machine.
type Exit struct {
	Kind      ExitKind
	Vector    int    // ExitException: the exception vector
	ErrorCode uint64 // ExitException: as pushed by the processor
	Addr      uint64 // ExitException with a page fault: the address (CR2)
	Detail    string // ExitFatal
}

// Machine runs the threads of one VM, one at a time. All methods but Kick
// belong to the goroutine of the VM's run loop, which is locked to its thread
// from Bind on.
type Machine interface {
	// Bind prepares the calling OS thread to run the machine. It is called before
	// each series of runs; the thread may be another one each time.
	Bind() error
	// Run loads c if another context is loaded, runs it to the next exit and
	// leaves its registers in c. An error means that the machine is broken.
	Run(c *Context) (Exit, error)
	// SaveFP makes c.FP current.
	SaveFP(c *Context) error
	// LoadFP tells the machine that c.FP was changed.
	LoadFP(c *Context)
	// Forget tells the machine that c will never run again.
	Forget(c *Context)
	// DropRoot tells the machine that no context with that root will run again
	// before the guest's memory is reset.
	DropRoot(root uint64)
	// Reset forgets every context: nothing that they left in the processor is
	// seen by those that run from now on.
	Reset() error
	// Timer makes Run stop with ExitKick once after ns nanoseconds, and then
	// every period nanoseconds; ns of 0 stops the timer. A kick may be lost when
	// it falls between two runs, so the period should not be 0.
	Timer(ns, period int64) error
	// Kick makes the current or the next Run stop with ExitKick. It may be
	// called from any goroutine until Close.
	Kick()
	// Close frees the machine.
	Close() error
}

// Features is what a platform's processor offers to guests.
type Features struct {
	XCR0      uint64 // extended state components
	XSaveSize uint32 // bytes of the XSAVE area for XCR0, standard format
	HWCAP     uint64 // AT_HWCAP: CPUID.1:EDX
	HWCAP2    uint64 // AT_HWCAP2
	CPUID     string // digest of the CPUID leaves that tell features, as the program sees them
	ClockOK   bool   // the time stamp counter can carry the vDSO clocks
	TSCMult   uint64 // nanoseconds per tick, 32.32 fixed point
	// Answers: the system call stub can answer calls inside the guest; see
	// x86.AnswerEnd.
	Answers bool
	// FaultGroup is how many neighbours (with an aligned address) a page that is
	// touched for the first time may bring along, if the host has memory for all of
	// them that is the machine's own. At most 1: none.
	FaultGroup uint64
	// SharedMemory: machines need memory of guestmem.NewShared.
	SharedMemory bool
}

// Platform makes machines. Its methods may be called from several goroutines.
type Platform interface {
	// Features returns what guests see.
	Features() Features
	// NewMachine makes a machine on mem, whose page tables begin at root.
	NewMachine(mem *guestmem.Memory, root uint64) (Machine, error)
	// Close frees the platform; its machines must be closed before.
	Close() error
}
