// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// The signal frame of x86-64 Linux (struct rt_sigframe, arch/x86/include/asm/sigframe.h):
// the restorer's address, ucontext, siginfo; above it the XSAVE area.
const (
	frameUC    = 8
	ucStack    = frameUC + 16
	ucContext  = frameUC + 40
	ucMask     = ucContext + 256
	frameInfo  = ucMask + 8
	frameSize  = frameInfo + 128
	mcSegments = ucContext + 18*8
	mcErr      = ucContext + 19*8
	mcTrap     = ucContext + 20*8
	mcCR2      = ucContext + 22*8
	mcFP       = ucContext + 23*8

	// uc_flags: the frame has an XSAVE area, and SS is to be restored.
	ucFlags = 1 | 2 | 4

	redZone = 128

	// In the XSAVE area: struct _fpx_sw_bytes at the end of the legacy part, and
	// a second magic number behind the area.
	fpSoftware = 464
	fpMagic1   = 0x46505853
	fpMagic2   = 0x46505845
	fpLegacy   = 512
	fpHeader   = 512 // XSTATE_BV
	fpMXCSR    = 24
	mxcsrMask  = 0xffff

	saRestart   = 0x1000_0000
	saNoDefer   = 0x4000_0000
	saResetHand = 0x8000_0000
	saOnStack   = 0x0800_0000
	saRestorer  = 0x0400_0000
	// SIGCHLD only: not for stops, and no zombies.
	saNoChildStop = 1
	saNoChildWait = 2
	// saExposeTags is SA_EXPOSE_TAGBITS: there are none.
	saExposeTags = 0x800
	flagTF       = 1 << 8
	flagDF       = 1 << 10
	flagRF       = 1 << 16
	userFlags    = 0x24_0dd5
)

// SignalFrameSize is the most stack a signal takes, in bytes: AT_MINSIGSTKSZ.
func (k *Kernel) SignalFrameSize() uint64 {
	return frameSize + uint64(k.features.XSaveSize) + 4 + 64 + 16 + redZone
}

func (t *Thread) mcontext() [18]*uint64 {
	r := &t.Ctx.Regs
	return [18]*uint64{
		&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15, &r.RDI, &r.RSI, &r.RBP, &r.RBX,
		&r.RDX, &r.RAX, &r.RCX, &r.RSP, &r.RIP, &r.RFLAGS,
	}
}

// pushFrame makes the thread run the handler of a. It reports false when the
// program died because there is no room for the frame.
func (t *Thread) pushFrame(sig int, info SigInfo, a SigAction) bool {
	k, r := t.K, &t.Ctx.Regs
	if err := k.machine.SaveFP(&t.Ctx); err != nil {
		k.fail(err)
		return false
	}
	alt := t.altStack // as it was set, SS_ONSTACK and all
	sp := r.RSP - redZone
	onAlt := t.altStack.Size != 0 && t.onAltStack(r.RSP)
	if a.Flags&saOnStack != 0 && t.altStack.Size != 0 && !onAlt {
		sp = t.altStack.Addr + t.altStack.Size
		onAlt = true
	}
	xsave := uint64(k.features.XSaveSize)
	fp := (sp - xsave - 4) &^ 63
	base := (fp-frameSize)&^15 - 8
	if onAlt && t.altStack.Size != 0 && (base < t.altStack.Addr || base > sp) {
		t.P.die(t.death(int(unix.SIGSEGV), SigInfo{}))
		return false
	}

	le := binary.LittleEndian
	area := make([]byte, xsave+4)
	copy(area, t.Ctx.FP[:xsave])
	clear(area[fpSoftware:fpLegacy])
	le.PutUint32(area[fpSoftware:], fpMagic1)
	le.PutUint32(area[fpSoftware+4:], uint32(xsave)+4)
	le.PutUint64(area[fpSoftware+8:], k.features.XCR0)
	le.PutUint32(area[fpSoftware+16:], uint32(xsave))
	le.PutUint32(area[xsave:], fpMagic2)

	b := make([]byte, frameSize)
	le.PutUint64(b, a.Restorer)
	le.PutUint64(b[frameUC:], ucFlags)
	le.PutUint64(b[ucStack:], alt.Addr)
	le.PutUint32(b[ucStack+8:], alt.Flags)
	le.PutUint64(b[ucStack+16:], alt.Size)
	for i, v := range t.mcontext() {
		le.PutUint64(b[ucContext+8*i:], *v)
	}
	le.PutUint16(b[mcSegments:], x86.UserCS)
	le.PutUint16(b[mcSegments+6:], x86.UserDS)
	if info.fault {
		le.PutUint64(b[mcErr:], info.errorCode)
		le.PutUint64(b[mcTrap:], uint64(info.vector))
		if info.vector == x86.VecPageFault {
			le.PutUint64(b[mcCR2:], info.Addr)
		}
	}
	le.PutUint64(b[mcFP:], fp)
	mask := t.mask
	if t.restoreMask {
		mask, t.restoreMask = t.savedMask, false
	}
	le.PutUint64(b[ucMask:], mask)
	EncodeSigInfo(b[frameInfo:], sig, info)

	if t.CopyOut(fp, area) != 0 || t.CopyOut(base, b) != 0 {
		// The stack is at its end: only the default action is left.
		d := t.death(int(unix.SIGSEGV), info)
		if d.Vector < 0 {
			d.Addr = base
		}
		t.P.die(d)
		return false
	}
	t.mask |= a.Mask
	if a.Flags&saNoDefer == 0 {
		t.mask |= bit(sig)
	}
	t.mask &^= unmaskable
	if a.Flags&saResetHand != 0 {
		t.P.actions[sig].Handler = sigDefault
	}
	if t.altStack.Flags&ssAutoDisarm != 0 && onAlt {
		t.altStack = AltStack{Flags: ssDisable}
	}
	r.RSP, r.RIP = base, a.Handler
	r.RDI, r.RSI, r.RDX, r.RAX = uint64(sig), base+frameInfo, base+frameUC, 0
	r.RFLAGS &^= flagTF | flagDF | flagRF
	return true
}

// SigInfoSize is the size of siginfo_t in bytes.
const SigInfoSize = 128

// EncodeSigInfo writes siginfo_t to b, which reads as zeros.
func EncodeSigInfo(b []byte, sig int, info SigInfo) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(sig))
	le.PutUint32(b[4:], uint32(info.Errno))
	le.PutUint32(b[8:], uint32(info.Code))
	if info.fault || info.Addr != 0 {
		le.PutUint64(b[16:], info.Addr)
		return
	}
	le.PutUint32(b[16:], uint32(info.PID))
	le.PutUint32(b[20:], info.UID)
	le.PutUint64(b[24:], info.Value)
	if info.UTime != 0 {
		le.PutUint64(b[32:], uint64(info.UTime))
	}
}

// DecodeSigInfo reads what rt_sigqueueinfo(2) may be given.
func DecodeSigInfo(b []byte) SigInfo {
	le := binary.LittleEndian
	return SigInfo{sent: true, Errno: int32(le.Uint32(b[4:])), Code: int32(le.Uint32(b[8:])), PID: int32(le.Uint32(b[16:])), UID: le.Uint32(b[20:]), Value: le.Uint64(b[24:])}
}

// SigReturn restores what the frame at the stack pointer says; rt_sigreturn(2).
// The frame is the guest's own and hostile. The handler returns ENORETURN.
func (t *Thread) SigReturn() {
	// The handler's return popped the restorer's address.
	base := t.Ctx.Regs.RSP - frameUC
	var b [frameSize]byte
	if t.CopyIn(base+frameUC, b[frameUC:]) != 0 {
		t.fault(int(unix.SIGSEGV), SigInfo{Code: CodeKernel, Addr: base, vector: x86.VecProtection})
		return
	}
	le := binary.LittleEndian
	if !t.restoreFP(le.Uint64(b[mcFP:])) {
		t.fault(int(unix.SIGSEGV), SigInfo{Code: CodeKernel, Addr: le.Uint64(b[mcFP:]), vector: x86.VecProtection})
		return
	}
	for i, v := range t.mcontext() {
		*v = le.Uint64(b[ucContext+8*i:])
	}
	r := &t.Ctx.Regs
	r.RFLAGS = r.RFLAGS&userFlags | 0x202
	t.SetMask(le.Uint64(b[ucMask:]))
	// As Linux, a bad stack here is ignored.
	_ = t.SetAltStack(AltStack{Addr: le.Uint64(b[ucStack:]), Flags: le.Uint32(b[ucStack+8:]), Size: le.Uint64(b[ucStack+16:])})
}

// restoreFP loads the vector state of a frame. When it reports false the state is the
// initial one.
func (t *Thread) restoreFP(addr uint64) bool {
	area := t.Ctx.FP
	t.K.machine.LoadFP(&t.Ctx)
	if addr == 0 { // no state: the initial one
		initFP(area)
		return true
	}
	if !t.readFP(addr) {
		initFP(area)
		return false
	}
	return true
}

func (t *Thread) readFP(addr uint64) bool {
	if addr%64 != 0 {
		return false
	}
	var legacy [fpLegacy]byte
	if t.CopyIn(addr, legacy[:]) != 0 {
		return false
	}
	le := binary.LittleEndian
	area := t.Ctx.FP
	clear(area[:])
	n := uint64(fpLegacy)
	size := uint64(le.Uint32(legacy[fpSoftware+16:]))
	if le.Uint32(legacy[fpSoftware:]) == fpMagic1 && size > fpLegacy+64 && size <= uint64(t.K.features.XSaveSize) {
		n = size
	}
	if t.CopyIn(addr, area[:n]) != 0 {
		return false
	}
	return checkFP(area, n > fpLegacy, t.K.features.XCR0)
}

// checkFP makes the XSAVE area that a guest wrote one that the processor accepts, or
// reports that the processor would refuse it (SDM volume 1, section 13.8): a component
// that there is not, the compacted form, a reserved bit of MXCSR.
func checkFP(area *[kvm.XSaveSize]byte, extended bool, xcr0 uint64) bool {
	le := binary.LittleEndian
	clear(area[fpSoftware:fpLegacy])
	if le.Uint32(area[fpMXCSR:])&^mxcsrMask != 0 {
		return false
	}
	features := uint64(3) // x87 and SSE
	if extended {
		features = le.Uint64(area[fpHeader:])
		if features&^xcr0 != 0 || le.Uint64(area[fpHeader+8:]) != 0 || le.Uint64(area[fpHeader+16:]) != 0 {
			return false
		}
	}
	clear(area[fpHeader : fpHeader+64])
	le.PutUint64(area[fpHeader:], features)
	return true
}

// initFP is the state of a processor after FNINIT with SSE exceptions masked.
func initFP(area *[kvm.XSaveSize]byte) {
	clear(area[:])
	binary.LittleEndian.PutUint16(area[:], 0x37f)
	binary.LittleEndian.PutUint32(area[fpMXCSR:], 0x1f80)
	binary.LittleEndian.PutUint64(area[fpHeader:], 0)
}
