// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// si_code values of faults; sigaction(2).
const (
	segvMapErr = 1
	segvAccErr = 2
	busAdrErr  = 2
	busAdrAln  = 1
	fpeIntDiv  = 1
	fpeFltInv  = 7
	illIllOpn  = 2
	trapTrace  = 2
)

// exception turns an exception of the program into what Linux makes of it: a
// page mapped, or a signal.
func (t *Thread) exception(e platform.Exit) {
	t.K.stats.Exceptions[e.Vector&31]++
	info := SigInfo{Code: CodeKernel, vector: e.Vector, errorCode: e.ErrorCode}
	sig := unix.SIGSEGV
	switch e.Vector {
	case x86.VecPageFault:
		info.Addr = e.Addr
		switch t.P.MM.Fault(e.Addr, e.ErrorCode&x86.FaultWrite != 0, e.ErrorCode&x86.FaultFetch != 0) {
		case mm.FaultServed:
			return
		case mm.FaultUnmapped:
			info.Code = segvMapErr
		case mm.FaultAccess:
			info.Code = segvAccErr
		case mm.FaultBus:
			sig, info.Code = unix.SIGBUS, busAdrErr
		case mm.FaultMemory:
			return // the loop sees the memory's error
		}
	case x86.VecDivide:
		sig, info.Code, info.Addr = unix.SIGFPE, fpeIntDiv, t.Ctx.Regs.RIP
	case x86.VecFPU, x86.VecSIMD:
		sig, info.Code, info.Addr = unix.SIGFPE, t.floatCode(e.Vector), t.Ctx.Regs.RIP
	case x86.VecInvalidOp:
		sig, info.Code, info.Addr = unix.SIGILL, illIllOpn, t.Ctx.Regs.RIP
	case x86.VecBreakpoint:
		sig = unix.SIGTRAP // SI_KERNEL, as Linux has it for INT3
	case x86.VecDebug:
		sig, info.Code, info.Addr = unix.SIGTRAP, trapTrace, t.Ctx.Regs.RIP
	case x86.VecAlignment:
		sig, info.Code = unix.SIGBUS, busAdrAln
	case x86.VecStackSegment, x86.VecSegNotPres:
		sig = unix.SIGBUS // SI_KERNEL; a stack address that is not canonical
	}
	t.fault(int(sig), info)
}

// floatCode tells from the state which floating point error it was; Linux's
// fpu__exception_code.
func (t *Thread) floatCode(vector int) int32 {
	if err := t.K.machine.SaveFP(&t.Ctx); err != nil {
		t.K.fail(err)
		return fpeFltInv
	}
	fp := t.Ctx.FP
	flags := uint16(fp[2]) &^ uint16(fp[0])
	if vector == x86.VecSIMD {
		mxcsr := uint16(fp[fpMXCSR]) | uint16(fp[fpMXCSR+1])<<8
		flags = mxcsr &^ (mxcsr >> 7)
	}
	for _, c := range [...]struct {
		bit  uint16
		code int32
	}{{1, 7}, {4, 3}, {8, 4}, {2 | 16, 5}, {32, 6}} { // invalid, divide, overflow, underflow, inexact
		if flags&c.bit != 0 {
			return c.code
		}
	}
	return 0
}
