// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package kvm is a thin layer over the ioctls of /dev/kvm that this monitor
// uses, with their structures in the kernel's layout. It decides nothing.
//
// Source: https://docs.kernel.org/virt/kvm/api.html and include/uapi/linux/kvm.h.
package kvm

import "strconv"

// Regs is struct kvm_regs.
type Regs struct {
	RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RIP, RFLAGS                            uint64
}

// Segment is struct kvm_segment.
type Segment struct {
	Base                            uint64
	Limit                           uint32
	Selector                        uint16
	Type, Present, DPL, DB          uint8
	S, L, G, AVL, Unusable, _unused uint8
}

// DTable is struct kvm_dtable: the base and limit of the GDT or IDT.
type DTable struct {
	Base  uint64
	Limit uint16
	_     [3]uint16
}

// Sregs is struct kvm_sregs.
type Sregs struct {
	CS, DS, ES, FS, GS, SS, TR, LDT Segment
	GDT, IDT                        DTable
	CR0, CR2, CR3, CR4, CR8         uint64
	EFER, APICBase                  uint64
	InterruptBitmap                 [4]uint64
}

// CPUIDEntry is struct kvm_cpuid_entry2.
type CPUIDEntry struct {
	Function, Index, Flags uint32
	EAX, EBX, ECX, EDX     uint32
	_                      [3]uint32
}

// MSR is struct kvm_msr_entry.
type MSR struct {
	Index uint32
	_     uint32
	Value uint64
}

// XSaveSize is the size of struct kvm_xsave in bytes: the standard
// (not compacted) XSAVE format.
const XSaveSize = 4096

// ExitReason is the exit_reason of struct kvm_run.
type ExitReason uint32

// Exit reasons that this monitor tells apart.
const (
	ExitIO            ExitReason = 2
	ExitDebug         ExitReason = 4
	ExitHLT           ExitReason = 5
	ExitMMIO          ExitReason = 6
	ExitShutdown      ExitReason = 8
	ExitFailEntry     ExitReason = 9
	ExitIntr          ExitReason = 10
	ExitInternalError ExitReason = 17
	ExitMemoryFault   ExitReason = 39
)

var exitNames = map[ExitReason]string{
	ExitIO: "IO", ExitDebug: "DEBUG", ExitHLT: "HLT", ExitMMIO: "MMIO", ExitShutdown: "SHUTDOWN (triple fault)",
	ExitFailEntry: "FAIL_ENTRY", ExitIntr: "INTR", ExitInternalError: "INTERNAL_ERROR", ExitMemoryFault: "MEMORY_FAULT",
}

// String returns the kernel's name of the reason.
func (r ExitReason) String() string {
	if s, ok := exitNames[r]; ok {
		return s
	}
	return "exit reason " + strconv.Itoa(int(r))
}

// Capabilities asked for with CheckExtension.
const (
	CapUserMemory    = 3
	CapNrMemslots    = 10
	CapXSave         = 55
	CapXCRs          = 56
	CapGetTSCKHz     = 61
	CapSyncRegs      = 74
	CapImmediateExit = 136
	CapXSave2        = 208
)

// Bits of kvm_valid_regs and kvm_dirty_regs.
const (
	SyncRegs  = 1
	SyncSregs = 2
)

// APIVersion is the only version of the interface there is.
const APIVersion = 12
