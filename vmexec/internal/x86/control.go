// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package x86

import (
	"encoding/binary"

	"kontain.dev/eventing/vmexec/internal/x86/vdso"
)

// The control area is the fixed top of every address space: what the processor
// needs (supervisor pages), and what the program may read (the entry stubs, the
// clock page and the vDSO). It is the first memory of a VM: guest physical
// address ControlGPA.
const (
	ControlVA  = uint64(0x7fff_ffe0_0000)
	ControlGPA = uint64(0)

	// UserEnd is the end of the addresses a program may map: the control area
	// and all above it are out of reach.
	UserEnd = ControlVA

	offGDT   = 0x0000
	offIDT   = 0x1000
	offTSS   = 0x2000 // with the I/O permission bitmap
	offStack = 0x3000 // where the processor pushes exception frames
	offStub  = 0x4000 // exception stubs, the system call stub, the signal restorer
	offClock = 0x5000
	// What the stub notes; see AnswerEnd. The program may write it.
	offScratch = 0x6000
	offVDSO    = 0x7000

	stackTop = offStack + 0x1000

	// The hardware frame of an exception, with the error code below it.
	frameSize = 6 * 8
)

// Ports that the stubs write to. Any other port is an exception like on Linux,
// where a program has no port at all.
const (
	PortSyscall   = 0x10
	PortException = 0x20 // plus the vector, 0 to 31
	portBitmapLen = 0x100 / 8
)

// Layout of the stub page.
const (
	exceptionStub     = offStub
	exceptionStubSize = 16
	tscProbe          = offStub + 32*exceptionStubSize
	toucher           = tscProbe + 16
	answerProbe       = toucher + 48
	syscallStub       = offStub + 0x400

	// SyscallStubVA is the value of MSR_LSTAR.
	SyscallStubVA = ControlVA + syscallStub
	// TSCProbeVA is a routine that reads the time stamp counter into rdx:rax
	// and exits through PortSyscall.
	TSCProbeVA = ControlVA + tscProbe
	// ToucherVA is a routine that touches the pages of the list at rsi, 64-bit words
	// ended by 0, and exits through PortSyscall: each word is the address of a page,
	// plus 1 when it is to be written (with what is there).
	ToucherVA = ControlVA + toucher
	// AnswerProbeVA is a routine that reads from descriptor 0 and then exits through
	// PortSyscall, with RBX changed to 1.
	AnswerProbeVA = ControlVA + answerProbe
	// TouchListVA and TouchListGPA are where such a list may be put: the clock page,
	// behind what the vDSO reads. TouchListLen is how many words it takes.
	TouchListVA  = ClockVA + touchListOff
	TouchListGPA = ClockGPA + touchListOff
	TouchListLen = (4096 - touchListOff) / 8
	touchListOff = 256

	// ClockVA is the page that the vDSO reads; see vdso.Data.
	ClockVA = ControlVA + offClock
	// ClockGPA is its guest physical address.
	ClockGPA = ControlGPA + offClock
	// ScratchVA is the page that the system call stub writes.
	ScratchVA = ControlVA + offScratch
	// VDSOVA is where the vDSO is mapped (AT_SYSINFO_EHDR).
	VDSOVA = ControlVA + offVDSO
)

// Selectors in Linux's order, because SYSCALL and programs that look expect it.
const (
	KernelCS = 0x10
	UserDS   = 0x2b
	UserCS   = 0x33
	tssSel   = 0x40

	gdtLimit = 10*8 - 1
	idtLimit = 32*16 - 1
	tssSize  = 0x68
	tssLimit = tssSize + portBitmapLen // one byte of ones ends the bitmap
)

// Values for the machine's special registers.
const (
	GDTBase  = ControlVA + offGDT
	GDTLimit = gdtLimit
	IDTBase  = ControlVA + offIDT
	IDTLimit = idtLimit
	TSSBase  = ControlVA + offTSS
	TSSLimit = tssLimit
	TSSSel   = tssSel

	// STAR: SYSCALL loads CS 0x10 and SS 0x18, SYSRET CS 0x33 and SS 0x2b.
	STAR = uint64(KernelCS)<<32 | uint64(0x23)<<48
	// FMASK clears TF, IF, DF, IOPL, NT and AC on SYSCALL, as Linux does.
	FMASK = 0x47700
)

// Page is one page of the control area and the rights in its leaf entry.
type Page struct {
	VA, GPA uint64
	Flags   uint64
}

const controlSize = offVDSO + uint64(vdso.Size)

// ControlSize is the size of the control area in bytes, a multiple of 4096.
func ControlSize() uint64 { return controlSize }

// VDSOSize is the size of the vDSO in bytes, a multiple of 4096.
func VDSOSize() uint64 { return vdso.Size }

// BuildControl writes the control area into mem, which reads as zeros, and
// returns its pages for the page tables.
func BuildControl(mem []byte) []Page {
	le := binary.LittleEndian
	gdt := mem[offGDT:]
	for i, d := range [...]uint64{
		KernelCS / 8:      0x00af_9b00_0000_ffff, // 64-bit code, DPL 0
		KernelCS/8 + 1:    0x00cf_9300_0000_ffff, // data, DPL 0
		(UserDS &^ 7) / 8: 0x00cf_f300_0000_ffff, // data, DPL 3
		(UserCS &^ 7) / 8: 0x00af_fb00_0000_ffff, // 64-bit code, DPL 3; no 32-bit code exists
	} {
		le.PutUint64(gdt[8*i:], d)
	}
	base, limit := TSSBase, uint64(tssLimit)
	le.PutUint64(gdt[tssSel:], limit&0xffff|base&0xff_ffff<<16|0x8b<<40|limit>>16&0xf<<48|base>>24&0xff<<56)
	le.PutUint64(gdt[tssSel+8:], base>>32)

	tss := mem[offTSS:]
	// Every exception has the stack of the interrupt stack table: one inside of
	// the system call stub, at level 0, would have the program's otherwise.
	le.PutUint64(tss[4:], ControlVA+stackTop)    // RSP0
	le.PutUint64(tss[0x24:], ControlVA+stackTop) // IST1
	le.PutUint16(tss[0x66:], tssSize)            // the I/O bitmap follows the TSS
	// A clear bit permits a port: those of the stubs only. The stubs run at
	// privilege level 0, but a run that a kick cut short between entry and OUT
	// is resumed at level 3. An OUT of the program itself grants nothing more.
	bitmap := tss[tssSize : tssSize+portBitmapLen+1]
	for i := range bitmap {
		bitmap[i] = 0xff
	}
	bitmap[PortSyscall/8] &^= 1 << (PortSyscall % 8)
	for v := range 32 {
		p := PortException + v
		bitmap[p/8] &^= 1 << (p % 8)
	}

	for v := range 32 {
		stub := uint64(ControlVA + exceptionStub + uint64(v)*exceptionStubSize)
		dpl := uint64(0)
		if v == VecBreakpoint || v == VecOverflow {
			dpl = 3 // INT3 and INTO may be executed by the program
		}
		le.PutUint64(mem[offIDT+16*v:], stub&0xffff|KernelCS<<16|1<<32|(0x8e|dpl<<5)<<40|stub>>16&0xffff<<48)
		le.PutUint64(mem[offIDT+16*v+8:], stub>>32)
		// out imm8, al; hlt (never reached: the monitor always sets RIP)
		copy(mem[exceptionStub+exceptionStubSize*v:], []byte{0xe6, byte(PortException + v), 0xf4})
	}
	// The stub must not touch the program's stack: below it is the red zone.
	copy(mem[syscallStub:], answerStub[:])
	// lfence; rdtsc; out imm8, al
	copy(mem[tscProbe:], []byte{0x0f, 0xae, 0xe8, 0x0f, 0x31, 0xe6, PortSyscall, 0xf4})
	copy(mem[toucher:], []byte{
		0x48, 0x8b, 0x06, // next: mov rax, [rsi]
		0x48, 0x85, 0xc0, // test rax, rax
		0x74, 0x13, // jz done
		0xa8, 0x01, // test al, 1
		0x74, 0x07, // jz read
		0xf0, 0x80, 0x48, 0xff, 0x00, // lock or byte [rax-1], 0
		0xeb, 0x02, // jmp step
		0x8a, 0x00, // read: mov al, [rax]
		0x48, 0x83, 0xc6, 0x08, // step: add rsi, 8
		0xeb, 0xe5, // jmp next
		0xe6, PortSyscall, 0xf4, // done: out imm8, al; hlt
	})
	copy(mem[answerProbe:], []byte{
		0x31, 0xff, // xor edi, edi
		0x31, 0xf6, // xor esi, esi
		0x31, 0xd2, // xor edx, edx
		0x31, 0xc0, // xor eax, eax
		0x0f, 0x05, // syscall
		0xbb, 1, 0, 0, 0, // mov ebx, 1
		0xe6, PortSyscall, 0xf4, // out imm8, al; hlt
	})
	copy(mem[offVDSO:], vdso.Image(ClockVA))

	pages := make([]Page, 0, controlSize/4096)
	for off := uint64(0); off < controlSize; off += 4096 {
		p := Page{VA: ControlVA + off, GPA: ControlGPA + off, Flags: PTEPresent | PTEAccessed | PTEDirty}
		switch {
		case off == offTSS, off == offStack, off == offGDT:
			p.Flags |= PTEWrite | PTENoExec // the processor writes frames and busy bits
		case off == offIDT:
			p.Flags |= PTENoExec
		case off == offClock:
			p.Flags |= PTEUser | PTENoExec
		case off == offScratch:
			p.Flags |= PTEUser | PTEWrite | PTENoExec
		default: // stubs and vDSO: read and run
			p.Flags |= PTEUser
		}
		pages = append(pages, p)
	}
	return pages
}

// Frame is what the processor pushed for an exception.
type Frame struct {
	ErrorCode, RIP, CS, RFLAGS, RSP uint64
}

// ReadFrame returns the frame of the exception v from the control area.
func ReadFrame(control []byte, v int) Frame {
	le := binary.LittleEndian
	b := control[stackTop-frameSize : stackTop]
	f := Frame{RIP: le.Uint64(b[8:]), CS: le.Uint64(b[16:]), RFLAGS: le.Uint64(b[24:]), RSP: le.Uint64(b[32:])}
	if HasErrorCode(v) {
		f.ErrorCode = le.Uint64(b)
	}
	return f
}

// ExceptionStubAt tells which exception's stub an instruction pointer at privilege
// level 0 is in before its OUT.
func ExceptionStubAt(rip uint64) (vector int, ok bool) {
	off := rip - ControlVA
	if off >= exceptionStub && off < exceptionStub+32*exceptionStubSize && off%exceptionStubSize == 0 {
		return int((off - exceptionStub) / exceptionStubSize), true
	}
	return 0, false
}
