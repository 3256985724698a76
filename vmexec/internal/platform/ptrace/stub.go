// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/guestmem"
)

// The stub is the only thing in the tracee's address space that is not the
// guest's. It lies above all that a guest can map, and holds a loop that makes
// a list of system calls: the only ones that the tracee ever makes. The guest
// can read and run the stub, which gives it nothing: a system call made while
// the guest runs is the guest's own, whatever address it comes from.
const (
	stubVA = uint64(0x7fff_fff0_0000)

	offLoop    = 0x000 // the loop and the signal handler
	offHandler = 0x040
	offCalls   = 0x1000 // the list of calls, read-only in the tracee
	offStack   = 0x2000 // the signal stack: accessible only while a signal is delivered
	stubSize   = 0x6000
	stackSize  = stubSize - offStack

	loopVA    = stubVA + offLoop
	handlerVA = stubVA + offHandler
	callsVA   = stubVA + offCalls
	stackVA   = stubVA + offStack

	// taskSize is the end of the tracee's address space, with 4-level paging.
	taskSize = uint64(0x7fff_ffff_f000)
)

// call is one system call of the list: number and arguments.
type call [7]uint64

const (
	callSize = 7 * 8
	maxCalls = guestmem.PageSize/callSize - 1
	endCalls = ^uint64(0)
)

// stubCode is the loop, at offLoop. R15 points to the next call. It stops with
// INT3 at the end of the list, or with R15 at the call that failed.
var stubCode = []byte{
	0x49, 0x8b, 0x07, //             loop: mov rax, [r15]
	0x48, 0x85, 0xc0, //             test rax, rax
	0x78, 0x28, //                   js done
	0x49, 0x8b, 0x7f, 0x08, //       mov rdi, [r15+8]
	0x49, 0x8b, 0x77, 0x10, //       mov rsi, [r15+16]
	0x49, 0x8b, 0x57, 0x18, //       mov rdx, [r15+24]
	0x4d, 0x8b, 0x57, 0x20, //       mov r10, [r15+32]
	0x4d, 0x8b, 0x47, 0x28, //       mov r8, [r15+40]
	0x4d, 0x8b, 0x4f, 0x30, //       mov r9, [r15+48]
	0x0f, 0x05, //                   syscall
	0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, // cmp rax, -4096
	0x77, 0x06, //                   ja done
	0x49, 0x83, 0xc7, callSize, //   add r15, callSize
	0xeb, 0xd0, //                   jmp loop
	0xcc, //                         done: int3
}

// handlerCode is the signal handler, at offHandler: it makes the calls of the
// list, after the kernel has written the frame that the monitor wants.
var handlerCode = binary.LittleEndian.AppendUint64([]byte{0x49, 0xbf}, callsVA) // mov r15, calls

func init() { handlerCode = append(handlerCode, 0xeb, 0xb4) } // jmp loop

// filter returns the program of seccomp(2) that leaves the tracee the calls of
// the running monitor, and those only from the stub: what is refused is not
// there. Calls of the guest never get so far; it is a second door behind theirs.
func filter() []byte {
	const (
		load, and, equal, ret = 0x20, 0x54, 0x15, 0x06 // BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_JMP|JEQ|K, BPF_RET|K

		number, arch, ip = 0, 4, 8 // struct seccomp_data
		x86_64           = 0xc000_003e
		refuse, allow    = 0x0005_0000 | uint32(unix.ENOSYS), 0x7fff_0000
	)
	var b []byte
	add := func(code uint16, yes, no byte, k uint32) {
		b = binary.LittleEndian.AppendUint16(b, code)
		b = append(b, yes, no)
		b = binary.LittleEndian.AppendUint32(b, k)
	}
	add(load, 0, 0, arch)
	add(equal, 0, 10, x86_64)
	add(load, 0, 0, ip+4)
	add(equal, 0, 8, uint32(stubVA>>32))
	add(load, 0, 0, ip)
	add(and, 0, 0, 0xffff_f000)
	add(equal, 0, 5, uint32(stubVA&0xffff_ffff))
	add(load, 0, 0, number)
	add(equal, 4, 0, unix.SYS_MMAP)
	add(equal, 3, 0, unix.SYS_MUNMAP)
	add(equal, 2, 0, unix.SYS_MPROTECT)
	add(equal, 1, 0, unix.SYS_TGKILL)
	add(ret, 0, 0, refuse)
	add(ret, 0, 0, allow)
	return b
}

// stub is the monitor's view of a tracee's stub pages.
type stub struct {
	fd  int
	mem []byte
}

func newStub() (*stub, error) {
	fd, err := unix.MemfdCreate("kontain-stub", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	s := &stub{fd: fd}
	if err := unix.Ftruncate(fd, stubSize); err != nil {
		s.close()
		return nil, os.NewSyscallError("ftruncate", err)
	}
	if s.mem, err = unix.Mmap(fd, 0, stubSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		s.close()
		return nil, os.NewSyscallError("mmap", err)
	}
	_ = unix.Madvise(s.mem, unix.MADV_DONTDUMP)
	copy(s.mem[offLoop:], stubCode)
	copy(s.mem[offHandler:], handlerCode)
	return s, nil
}

func (s *stub) close() {
	if s.mem != nil {
		_ = unix.Munmap(s.mem)
		s.mem = nil
	}
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

// setCalls writes the list, of at most maxCalls calls.
func (s *stub) setCalls(list []call) {
	b := s.mem[offCalls:offStack]
	for _, c := range list {
		for _, v := range c {
			binary.LittleEndian.PutUint64(b, v)
			b = b[8:]
		}
	}
	binary.LittleEndian.PutUint64(b, endCalls)
}

// clearCalls empties the list: the guest can read it, and what it says is
// nothing for the next event to see.
func (s *stub) clearCalls(n int) { clear(s.mem[offCalls : offCalls+n*callSize+8]) }

// frame is what a signal frame says of the exception.
type frame struct {
	err, trap, cr2 uint64
}

// The signal frame of x86-64 Linux: a return address, ucontext_t whose
// mcontext begins at 40; arch/x86/include/uapi/asm/sigcontext.h.
const (
	frameContext = 8 + 40
	frameErr     = frameContext + 19*8
	frameTrap    = frameContext + 20*8
	frameCR2     = frameContext + 22*8
	frameEnd     = frameContext + 32*8
)

// readFrame reads the signal frame at sp and clears the signal stack.
func (s *stub) readFrame(sp uint64) (frame, error) {
	if sp < stackVA || sp > stubVA+stubSize-frameEnd {
		return frame{}, fmt.Errorf("signal frame at %#x is not on the signal stack", sp)
	}
	b := s.mem[sp-stubVA:]
	le := binary.LittleEndian
	f := frame{err: le.Uint64(b[frameErr:]), trap: le.Uint64(b[frameTrap:]), cr2: le.Uint64(b[frameCR2:])}
	clear(s.mem[offStack:])
	return f, nil
}

// The program that becomes the tracee: one page of an ELF file at loaderVA that
// can make one system call at a time, until the stub is mapped.
const (
	loaderVA    = uint64(0x40_0000)
	loaderEntry = loaderVA + 64 + 56
)

// newLoader makes the file. The caller owns the descriptor.
func newLoader() (int, error) {
	le := binary.LittleEndian
	b := make([]byte, 0, 128)
	b = append(b, 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint16(b, 2)  // ET_EXEC
	b = le.AppendUint16(b, 62) // EM_X86_64
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, loaderEntry)
	b = le.AppendUint64(b, 64) // program headers
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	text := []byte{0x0f, 0x05, 0xcc} // syscall; int3
	b = le.AppendUint32(b, 1)        // PT_LOAD
	b = le.AppendUint32(b, 5)        // read, execute
	size := uint64(64 + 56 + len(text))
	for _, v := range []uint64{0, loaderVA, loaderVA, size, size, guestmem.PageSize} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, text...)

	// MFD_EXEC is Linux 6.3; before, every memfd can be executed.
	fd, err := unix.MemfdCreate("kontain-guest", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("kontain-guest", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	if _, err = unix.Write(fd, b); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("write the loader: %w", err)
	}
	return fd, nil
}
