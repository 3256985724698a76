// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/x86"
)

// Requests and register sets of ptrace(2) that package unix does not name.
const (
	ptraceSysemu = 31
	ntPRStatus   = 1
	ntX86XState  = 0x202
)

// userRegs is struct user_regs_struct.
type userRegs struct {
	R15, R14, R13, R12, RBP, RBX, R11, R10 uint64
	R9, R8, RAX, RCX, RDX, RSI, RDI        uint64
	OrigRAX, RIP, CS, RFLAGS, RSP, SS      uint64
	FSBase, GSBase, DS, ES, FS, GS         uint64
}

const (
	allRegs = int(unsafe.Sizeof(userRegs{}))
	// generalRegs are the registers up to SS: without the bases and the data
	// segments, which seldom change.
	generalRegs = int(unsafe.Offsetof(userRegs{}.FSBase))
)

// sigInfo is the part of siginfo_t that a fault fills in; sigaction(2).
type sigInfo struct {
	Signo, Errno, Code int32
	_                  int32
	Addr               uint64
	_                  [104]byte
}

var _ [128]byte = [unsafe.Sizeof(sigInfo{})]byte{}

// ptrace calls ptrace(2). No request made here blocks, so the scheduler is not told.
func ptrace(request, pid int, addr, data uintptr) unix.Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), addr, data, 0, 0)
	return e
}

// getRegs reads the registers. The kernel shows a tracee that got itself into
// 32-bit code in another structure, and takes its registers in that one; so such
// a tracee is put back to 64-bit code. CS in r still tells what it was.
func getRegs(pid int, r *userRegs) unix.Errno {
	v := unix.Iovec{Base: (*byte)(unsafe.Pointer(r)), Len: uint64(allRegs)}
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETREGSET, uintptr(pid), ntPRStatus, uintptr(unsafe.Pointer(&v)), 0, 0)
	if e != 0 || v.Len == uint64(allRegs) {
		return e
	}
	if e := ptraceRegs(unix.PTRACE_GETREGS, pid, r); e != 0 {
		return e
	}
	back := *r
	back.CS, back.SS, back.OrigRAX = x86.UserCS, x86.UserDS, noSyscall
	return ptraceRegs(unix.PTRACE_SETREGS, pid, &back)
}

func ptraceRegs(request, pid int, r *userRegs) unix.Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), 0, uintptr(unsafe.Pointer(r)), 0, 0)
	return e
}

// setRegs writes the first n bytes of the registers.
func setRegs(pid int, r *userRegs, n int) unix.Errno {
	v := unix.Iovec{Base: (*byte)(unsafe.Pointer(r)), Len: uint64(n)}
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SETREGSET, uintptr(pid), ntPRStatus, uintptr(unsafe.Pointer(&v)), 0, 0)
	return e
}

// getXState reads the XSAVE area and returns how large the kernel's is.
func getXState(pid int, b []byte) (int, unix.Errno) {
	v := unix.Iovec{Base: unsafe.SliceData(b), Len: uint64(len(b))}
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETREGSET, uintptr(pid), ntX86XState, uintptr(unsafe.Pointer(&v)), 0, 0)
	return int(v.Len), e
}

// setXState writes the XSAVE area; b must be as large as the kernel's.
func setXState(pid int, b []byte) unix.Errno {
	v := unix.Iovec{Base: unsafe.SliceData(b), Len: uint64(len(b))}
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SETREGSET, uintptr(pid), ntX86XState, uintptr(unsafe.Pointer(&v)), 0, 0)
	return e
}

func getSigInfo(pid int, s *sigInfo) unix.Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GETSIGINFO, uintptr(pid), 0, uintptr(unsafe.Pointer(s)), 0, 0)
	return e
}

// cpuClock returns the processor time of a process in nanoseconds; clock ids of
// processes are described in clock_getcpuclockid(3).
func cpuClock(pid int) (int64, error) {
	const sched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return ts.Nano(), nil
}
