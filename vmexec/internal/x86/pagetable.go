// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package x86 holds what the processor of a VM needs to run user code without a
// guest kernel: page table entries, descriptor tables, the entry stubs, and the
// fixed part of the address space they live in.
//
// SDM is the Intel 64 and IA-32 Architectures Software Developer's Manual.
package x86

// Bits of a page table entry; SDM volume 3, section 5.5 (4-level paging).
const (
	PTEPresent  = uint64(1) << 0
	PTEWrite    = uint64(1) << 1
	PTEUser     = uint64(1) << 2
	PTEAccessed = uint64(1) << 5
	PTEDirty    = uint64(1) << 6
	PTENoExec   = uint64(1) << 63
	PTEAddr     = uint64(0x000f_ffff_ffff_f000)

	// PTEOwned marks a leaf that holds a guest page, present or not: a page of
	// a PROT_NONE mapping keeps its contents. One of the bits that processors
	// ignore.
	PTEOwned = uint64(1) << 9

	// PTETable is an entry that points to a lower table: all rights, the leaf
	// decides. Accessed and dirty are preset in every entry, or the processor
	// (KVM, where it shadows the tables) would write them and dirty the page.
	PTETable = PTEPresent | PTEWrite | PTEUser | PTEAccessed | PTEDirty
)

// Page fault error code bits; SDM volume 3, section 5.7.
const (
	FaultPresent = 1 << 0 // the page was present: a protection violation
	FaultWrite   = 1 << 1
	FaultUser    = 1 << 2
	FaultFetch   = 1 << 4
)

// Exception vectors; SDM volume 3, table 7-1.
const (
	VecDivide       = 0
	VecDebug        = 1
	VecBreakpoint   = 3
	VecOverflow     = 4
	VecBound        = 5
	VecInvalidOp    = 6
	VecNoDevice     = 7
	VecDoubleFault  = 8
	VecSegNotPres   = 11
	VecStackSegment = 12
	VecProtection   = 13
	VecPageFault    = 14
	VecFPU          = 16
	VecAlignment    = 17
	VecSIMD         = 19
)

var vectorNames = map[int]string{
	VecDivide: "#DE divide error", VecDebug: "#DB debug", VecBreakpoint: "#BP breakpoint", VecOverflow: "#OF overflow",
	VecBound: "#BR bound range", VecInvalidOp: "#UD invalid opcode", VecNoDevice: "#NM device not available",
	VecDoubleFault: "#DF double fault", VecSegNotPres: "#NP segment not present", VecStackSegment: "#SS stack fault",
	VecProtection: "#GP general protection", VecPageFault: "#PF page fault", VecFPU: "#MF x87 error",
	VecAlignment: "#AC alignment check", VecSIMD: "#XM SIMD error",
}

// VectorName returns the mnemonic and name of an exception vector, such as
// "#PF page fault".
func VectorName(v int) string {
	if s, ok := vectorNames[v]; ok {
		return s
	}
	return "reserved vector"
}

// HasErrorCode reports whether the processor pushes an error code for v.
func HasErrorCode(v int) bool {
	return v == VecDoubleFault || v >= 10 && v <= 14 || v == VecAlignment || v == 21
}
