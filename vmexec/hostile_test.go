// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// check says what is wrong with a result, or nothing.
type check func(r *vmexec.Result) string

// signaled wants a death by one of the signals.
func signaled(sigs ...unix.Signal) check {
	return func(r *vmexec.Result) string {
		if r.Reason == vmexec.Signaled {
			for _, s := range sigs {
				if r.Death.Signal == int(s) {
					return ""
				}
			}
		}
		return fmt.Sprintf("want death by one of %v", sigs)
	}
}

// faulted wants a page fault that could not be served at the address.
func faulted(addr uint64) check {
	return func(r *vmexec.Result) string {
		if s := signaled(unix.SIGSEGV)(r); s != "" {
			return s
		}
		if r.Death.Vector != x86.VecPageFault || r.Death.Addr != addr {
			return fmt.Sprintf("want a page fault at %#x, got vector %d at %#x", addr, r.Death.Vector, r.Death.Addr)
		}
		return ""
	}
}

func exits(status int) check {
	return func(r *vmexec.Result) string {
		if r.Reason == vmexec.Exited && r.Status == status {
			return ""
		}
		return fmt.Sprintf("want exit status %d", status)
	}
}

func ends(reason vmexec.Reason) check {
	return func(r *vmexec.Result) string {
		if r.Reason == reason {
			return ""
		}
		return "want " + reason.String()
	}
}

func deadlocks(says string) check {
	return func(r *vmexec.Result) string {
		if r.Reason == vmexec.Deadlock && strings.Contains(r.Message, says) {
			return ""
		}
		return fmt.Sprintf("want %v and %q", vmexec.Deadlock, says)
	}
}

func either(cs ...check) check {
	return func(r *vmexec.Result) string {
		var all []string
		for _, c := range cs {
			s := c(r)
			if s == "" {
				return ""
			}
			all = append(all, s)
		}
		return strings.Join(all, "; or ")
	}
}

// hostile is one program that does what it should not.
type hostile struct {
	name   string
	code   func(a *asm)
	want   check
	limits vmexec.Limits
	ptrace check // in place of want, where there is no stub of the processor
}

// escaped is the exit status of an instruction that should have been stopped.
const escaped = 77

// bytesOf assembles instructions and, should they have no effect, an exit.
func bytesOf(b ...byte) func(a *asm) {
	return func(a *asm) { a.raw(b...).exit(escaped) }
}

// The hardware answers with #GP, and with #UD for what a processor does not
// have. A nested monitor without hardware help may answer with the other one.
var stopped = signaled(unix.SIGSEGV, unix.SIGILL)

// farReturn jumps to the next instruction with another code segment.
func farReturn(cs uint64, next ...byte) func(a *asm) {
	return func(a *asm) {
		target := a.aside(func() { a.raw(next...).raw(0x0f, 0x0b) })
		a.mov(rax, cs).raw(0x50).mov(rax, target).raw(0x50).raw(0x48, 0xcb).exit(escaped)
	}
}

func iret(cs, ss uint64, flags uint64) func(a *asm) {
	return func(a *asm) {
		target := a.aside(func() { a.exit(escaped) })
		for _, v := range [...]uint64{ss, dataVA + 0x1000, flags, cs, target} {
			a.mov(rax, v).raw(0x50)
		}
		a.raw(0x48, 0xcf)
	}
}

func loadSegment(modrm byte, selector uint64) func(a *asm) {
	return func(a *asm) { a.mov(rax, selector).raw(0x8e, modrm).exit(escaped) }
}

func privileged() []hostile {
	var out []hostile
	for _, c := range []struct {
		name string
		code []byte
	}{
		{"hlt", []byte{0xf4}},
		{"cli", []byte{0xfa}},
		{"sti", []byte{0xfb}},
		{"lgdt", []byte{0x0f, 0x01, 0x14, 0x24}},
		{"lidt", []byte{0x0f, 0x01, 0x1c, 0x24}},
		{"lldt", []byte{0x31, 0xc0, 0x0f, 0x00, 0xd0}},
		{"ltr", []byte{0xb8, 0x40, 0, 0, 0, 0x0f, 0x00, 0xd8}},
		{"rdmsr", []byte{0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32}},
		{"wrmsr", []byte{0xb9, 0x82, 0, 0, 0xc0, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30}},
		{"mov_from_cr0", []byte{0x0f, 0x20, 0xc0}},
		{"mov_to_cr0", []byte{0x31, 0xc0, 0x0f, 0x22, 0xc0}},
		{"mov_to_cr3", []byte{0x31, 0xc0, 0x0f, 0x22, 0xd8}},
		{"mov_to_cr4", []byte{0x31, 0xc0, 0x0f, 0x22, 0xe0}},
		{"mov_to_dr7", []byte{0x31, 0xc0, 0x0f, 0x23, 0xf8}},
		{"clts", []byte{0x0f, 0x06}},
		{"invlpg", []byte{0x0f, 0x01, 0x3c, 0x24}},
		{"invd", []byte{0x0f, 0x08}},
		{"wbinvd", []byte{0x0f, 0x09}},
		{"swapgs", []byte{0x0f, 0x01, 0xf8}},
		{"sysretq", []byte{0x48, 0x0f, 0x07}},
		{"sysexit", []byte{0x48, 0x0f, 0x35}},
		{"sysenter", []byte{0x0f, 0x34}},
		{"xsetbv", []byte{0x31, 0xc9, 0x31, 0xd2, 0xb8, 3, 0, 0, 0, 0x0f, 0x01, 0xd1}},
		{"rdpmc", []byte{0x31, 0xc9, 0x0f, 0x33}},
		{"vmxoff", []byte{0x0f, 0x01, 0xc4}},
		{"vmrun", []byte{0x0f, 0x01, 0xd8}},
		{"in_60", []byte{0xe4, 0x60}},
		{"out_80", []byte{0xe6, 0x80}},
		{"in_dx", []byte{0x66, 0xba, 0xf8, 0x03, 0xec}},
		{"out_dx_cf9", []byte{0x66, 0xba, 0xf9, 0x0c, 0xee}},
		{"out_word_across_the_bitmap", []byte{0x66, 0xe7, 0x0f}},
		{"int_80", []byte{0xcd, 0x80}},
		{"int_20", []byte{0xcd, 0x20}},
		{"int_8", []byte{0xcd, 0x08}},
		{"int_13", []byte{0xcd, 0x0d}},
		{"int_14", []byte{0xcd, 0x0e}},
		{"int_255", []byte{0xcd, 0xff}},
		{"out_80_with_iopl_3", append((&asm{}).orFlags(0x3000).code, 0xe6, 0x80)},
		// The stubs' ports are permitted, but only an OUT of a byte means something.
		{"in_syscall_port", []byte{0xe4, x86.PortSyscall}},
		{"in_exception_port", []byte{0xe4, x86.PortException + 14}},
	} {
		out = append(out, hostile{name: c.name, code: bytesOf(c.code...), want: stopped})
	}
	for _, c := range []struct {
		name string
		code []byte
	}{{"vmcall", []byte{0x0f, 0x01, 0xc1}}, {"vmmcall", []byte{0x0f, 0x01, 0xd9}}} {
		// KVM on hardware answers a hypercall from user code with an error in rax.
		out = append(out, hostile{name: c.name, code: bytesOf(c.code...), want: either(stopped, exits(escaped))})
	}
	return append(out,
		hostile{name: "iretq_to_kernel_code", code: iret(0x10, 0x18, 2), want: stopped},
		hostile{name: "iretq_with_kernel_stack", code: iret(x86.UserCS, 0x18, 2), want: stopped},
		hostile{name: "iretq_with_iopl", code: iret(x86.UserCS, x86.UserDS, 0x3202), want: exits(escaped)}, // IOPL is left alone
		hostile{name: "far_return_to_kernel_code", code: farReturn(0x10), want: stopped},
		hostile{name: "far_return_to_kernel_code_rpl_3", code: farReturn(0x13), want: stopped},
		hostile{name: "far_return_to_null", code: farReturn(3), want: stopped},
		hostile{name: "far_return_to_task_state", code: farReturn(x86.TSSSel), want: stopped},
		hostile{name: "far_return_beyond_the_table", code: farReturn(0xfffb), want: stopped},
		// There is no 32-bit code segment on hardware; a nested monitor that shows
		// the host's runs 32-bit code, and then has to stop what it does.
		hostile{name: "far_return_to_32_bit", code: farReturn(0x23), want: stopped},
		hostile{name: "far_return_to_32_bit_hlt", code: farReturn(0x23, 0xf4), want: stopped},
		hostile{name: "far_return_to_32_bit_int_80", code: farReturn(0x23, 0xcd, 0x80), want: stopped},
		hostile{name: "far_return_to_32_bit_sysenter", code: farReturn(0x23, 0x0f, 0x34), want: stopped},
		hostile{name: "far_return_to_32_bit_syscall", code: farReturn(0x23, 0x0f, 0x05), want: stopped},
		hostile{name: "mov_ss_kernel", code: loadSegment(0xd0, 0x18), want: stopped},
		hostile{name: "mov_ss_null", code: loadSegment(0xd0, 0), want: stopped},
		hostile{name: "mov_ds_kernel", code: loadSegment(0xd8, 0x18), want: stopped},
		hostile{name: "mov_ds_kernel_code", code: loadSegment(0xd8, 0x10), want: stopped},
		hostile{name: "mov_es_task_state", code: loadSegment(0xc0, x86.TSSSel), want: stopped},
		hostile{name: "mov_fs_beyond_the_table", code: loadSegment(0xe0, 0xfff3), want: stopped},
		hostile{name: "nested_task_flag", code: func(a *asm) { a.orFlags(0x4000).call(unix.SYS_GETPID).exit(0) }, want: exits(0)},
		hostile{name: "single_step", code: func(a *asm) { a.orFlags(0x100).raw(0x90, 0x90).exit(escaped) }, want: signaled(unix.SIGTRAP)},
		hostile{name: "single_step_over_syscall", code: func(a *asm) {
			h := a.aside(func() { a.raw(0xc3) })
			a.handler(uint64(unix.SIGTRAP), h, 0).orFlags(0x100).call(unix.SYS_GETPID).exit(5)
		}, want: exits(5)},
		hostile{name: "breakpoint", code: bytesOf(0xcc), want: signaled(unix.SIGTRAP)},
		hostile{name: "icebp", code: bytesOf(0xf1), want: signaled(unix.SIGTRAP, unix.SIGILL)},
		hostile{name: "misaligned_with_ac", code: func(a *asm) { a.orFlags(0x4_0000).raw(0x8b, 0x44, 0x24, 0x01).exit(escaped) }, want: signaled(unix.SIGBUS)},
		hostile{name: "divide_by_zero", code: bytesOf(0x31, 0xc9, 0xf7, 0xf1), want: signaled(unix.SIGFPE)},
		hostile{name: "divide_overflow", code: bytesOf(0xba, 0xff, 0xff, 0, 0, 0xb9, 1, 0, 0, 0, 0xf7, 0xf1), want: signaled(unix.SIGFPE)},
		hostile{name: "undefined", code: bytesOf(0x0f, 0x0b), want: signaled(unix.SIGILL)},
		hostile{name: "lock_prefix", code: bytesOf(0xf0, 0x90), want: signaled(unix.SIGILL)},
		hostile{name: "too_long_instruction", code: bytesOf(append([]byte(strings.Repeat("\x66", 15)), 0x90)...), want: stopped},
	)
}

// What the program does with the ports and the code of the entry stubs.
func stubs() []hostile {
	gp := func(r *vmexec.Result) string {
		if s := signaled(unix.SIGSEGV)(r); s != "" {
			return s
		}
		if r.Death.Vector != x86.VecProtection {
			return fmt.Sprintf("want a protection fault, got vector %d", r.Death.Vector)
		}
		return ""
	}
	stubPage := x86.SyscallStubVA &^ (4096 - 1)
	jump := func(to uint64, prepare func(a *asm)) func(a *asm) {
		return func(a *asm) {
			back := a.aside(func() { a.exitRAX() })
			prepare(a)
			a.mov(rcx, back).mov(rbx, to).raw(0xff, 0xe3)
		}
	}
	out := []hostile{
		{name: "out_syscall_port_is_a_call", code: func(a *asm) {
			back := a.aside(func() { a.exitRAX() })
			a.mov(rcx, back).mov(rax, unix.SYS_GETPID).raw(0xe6, x86.PortSyscall).exit(escaped)
		}, want: exits(100), ptrace: gp},
		{name: "out_syscall_port_returns_nowhere", code: func(a *asm) {
			a.mov(rcx, 1<<63).mov(rax, unix.SYS_GETPID).raw(0xe6, x86.PortSyscall).exit(escaped)
		}, want: signaled(unix.SIGSEGV)},
		{name: "out_syscall_port_flags", code: func(a *asm) { // R11 becomes the flags: no privilege
			back := a.aside(func() { a.raw(0xe6, 0x80).exit(escaped) })
			a.mov(rcx, back).raw(0x49, 0xbb, 0, 0x30, 0, 0, 0, 0, 0, 0).mov(rax, unix.SYS_GETPID).raw(0xe6, x86.PortSyscall).exit(escaped)
		}, want: stopped},
		{name: "outs_syscall_port", code: func(a *asm) {
			a.mov(rsi, dataVA).mov(rdx, x86.PortSyscall).mov(rcx, 0).mov(rax, unix.SYS_GETPID).raw(0x6e).exit(escaped)
		}, want: either(stopped, exits(escaped))},
		{name: "rep_outs_syscall_port", code: func(a *asm) {
			a.mov(rsi, dataVA).mov(rdx, x86.PortSyscall).mov(rcx, 5000).mov(rax, unix.SYS_GETPID).raw(0xf3, 0x6e).exit(escaped)
		}, want: either(stopped, exits(escaped))},
		{name: "rep_ins_syscall_port", code: func(a *asm) {
			a.mov(rdi, dataVA).mov(rdx, x86.PortSyscall).mov(rcx, 5000).raw(0xf3, 0x6c).exit(escaped)
		}, want: stopped},
		{name: "ins_handled", code: func(a *asm) {
			h := a.aside(func() { a.exit(42) })
			a.handler(uint64(unix.SIGSEGV), h, 0).mov(rdi, dataVA).mov(rdx, x86.PortSyscall).raw(0x6c).exit(escaped)
		}, want: either(exits(42), exits(escaped))},
		{name: "jump_to_syscall_stub", code: jump(x86.SyscallStubVA, func(a *asm) { a.mov(rax, unix.SYS_GETPID) }), want: exits(100), ptrace: gp},
		{name: "jump_to_hlt_of_syscall_stub", code: jump(x86.SyscallStubVA+28, func(*asm) {}), want: stopped},
		{name: "jump_to_tsc_probe", code: jump(x86.TSCProbeVA, func(a *asm) {
			a.raw(0x49, 0xbb, 0x46, 2, 0, 0, 0, 0, 0, 0)
		}), want: func(r *vmexec.Result) string { // some call, usually an unknown one
			if r.Reason == vmexec.Exited || r.Reason == vmexec.Deadlock || r.Reason == vmexec.Signaled {
				return ""
			}
			return "want an end"
		}},
	}
	for _, v := range []uint64{0, 3, 8, 13, 14, 31} {
		out = append(out,
			hostile{name: fmt.Sprintf("out_exception_port_%d", v), code: bytesOf(0xe6, byte(x86.PortException+v)), want: gp},
			hostile{name: fmt.Sprintf("jump_to_exception_stub_%d", v), code: jump(stubPage+16*v, func(*asm) {}), want: gp},
		)
	}
	return out
}

// controlArea reads, writes and runs each page of the control area.
func controlArea() []hostile {
	var out []hostile
	clock := x86.ClockVA
	for va := x86.ControlVA; va < x86.ControlVA+x86.ControlSize()+0x1000; va += 0x1000 {
		at := va + 0x123
		read, write, run := faulted(at), faulted(at), faulted(at)
		switch {
		case va == x86.ControlVA+x86.ControlSize(): // beyond
		case va == clock:
			read = exits(0)
		case va == x86.ScratchVA: // it belongs to the program as much as to the stub
			read, write = exits(0), exits(escaped)
		case va > clock || va == x86.SyscallStubVA&^0xfff:
			read, run = exits(0), nil // whatever the code there does
		}
		off := va - x86.ControlVA
		out = append(out,
			hostile{name: fmt.Sprintf("read_control_%x", off), code: func(a *asm) { a.mov(rbx, at).raw(0x8a, 0x03).exit(0) }, want: read},
			hostile{name: fmt.Sprintf("write_control_%x", off), code: func(a *asm) { a.mov(rbx, at).raw(0x88, 0x03).exit(escaped) }, want: write},
		)
		if run != nil {
			out = append(out, hostile{name: fmt.Sprintf("run_control_%x", off), code: func(a *asm) { a.mov(rbx, at).raw(0xff, 0xe3) }, want: run})
		}
	}
	for _, at := range []uint64{0x7fff_ffff_f000, 0x7fff_ffff_ffff, 0x8000_0000_0000, 1 << 63, 0xffff_7fff_ffff_ffff, 0xffff_8000_0000_0000, 0xffff_ffff_8100_0000, 0xffff_ffff_ff60_0000, ^uint64(0)} {
		for name, op := range map[string][]byte{"read": {0x8a, 0x03}, "write": {0x88, 0x03}, "jump": {0xff, 0xe3}, "read_across": {0x48, 0x8b, 0x43, 0xfc}} {
			out = append(out, hostile{name: fmt.Sprintf("%s_%x", name, at), code: func(a *asm) { a.mov(rbx, at).raw(op...).exit(escaped) }, want: signaled(unix.SIGSEGV)})
		}
	}
	return out
}

// errnos are calls with arguments that must be refused.
func errnos() []hostile {
	const (
		anon  = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
		fixed = anon | unix.MAP_FIXED
		rw    = unix.PROT_READ | unix.PROT_WRITE
		none  = ^uint64(0)
		ctl   = x86.ControlVA
		top   = uint64(1) << 63
	)
	var out []hostile
	for _, c := range []struct {
		name string
		want unix.Errno
		nr   uint64
		args []uint64
	}{
		{"mmap_control", unix.ENOMEM, unix.SYS_MMAP, []uint64{ctl, 4096, rw, fixed, none, 0}},
		{"mmap_across_control", unix.ENOMEM, unix.SYS_MMAP, []uint64{ctl - 4096, 8192, rw, fixed, none, 0}},
		{"mmap_high_half", unix.ENOMEM, unix.SYS_MMAP, []uint64{0xffff_8000_0000_0000, 4096, rw, fixed, none, 0}},
		{"mmap_last_page", unix.ENOMEM, unix.SYS_MMAP, []uint64{none &^ 0xfff, 4096, rw, fixed, none, 0}},
		{"mmap_wraps", unix.ENOMEM, unix.SYS_MMAP, []uint64{none &^ 0xfff, 8192, rw, fixed, none, 0}},
		{"mmap_null_page", unix.EPERM, unix.SYS_MMAP, []uint64{0, 4096, rw, fixed, none, 0}},
		{"mmap_too_long", unix.ENOMEM, unix.SYS_MMAP, []uint64{0, top, rw, anon, none, 0}},
		{"mmap_all", unix.ENOMEM, unix.SYS_MMAP, []uint64{0, none, rw, anon, none, 0}},
		{"mmap_all_but_a_page", unix.ENOMEM, unix.SYS_MMAP, []uint64{0, none - 4096, rw, anon, none, 0}},
		{"mmap_nothing", unix.EINVAL, unix.SYS_MMAP, []uint64{0, 0, rw, anon, none, 0}},
		{"munmap_control", unix.EINVAL, unix.SYS_MUNMAP, []uint64{ctl, 4096}},
		{"munmap_all", unix.EINVAL, unix.SYS_MUNMAP, []uint64{0, none}},
		{"munmap_across_control", unix.EINVAL, unix.SYS_MUNMAP, []uint64{ctl - 4096, 8192}},
		{"munmap_wraps", unix.EINVAL, unix.SYS_MUNMAP, []uint64{none &^ 0xfff, 8192}},
		{"mprotect_control", unix.ENOMEM, unix.SYS_MPROTECT, []uint64{ctl, 4096, rw}},
		{"mprotect_wraps", unix.ENOMEM, unix.SYS_MPROTECT, []uint64{none &^ 0xfff, 8192, rw}},
		{"mremap_control", unix.EINVAL, unix.SYS_MREMAP, []uint64{ctl, 4096, 8192, unix.MREMAP_MAYMOVE, 0}},
		{"mremap_onto_control", unix.EINVAL, unix.SYS_MREMAP, []uint64{dataVA, 4096, 4096, unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED, ctl}},
		{"mremap_across_control", unix.EINVAL, unix.SYS_MREMAP, []uint64{dataVA, 4096, 8192, unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED, ctl - 4096}},
		{"mremap_onto_null", unix.EINVAL, unix.SYS_MREMAP, []uint64{dataVA, 4096, 4096, unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED, 0}},
		{"mremap_onto_itself", unix.EINVAL, unix.SYS_MREMAP, []uint64{dataVA, 8192, 8192, unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED, dataVA + 4096}},
		{"mremap_too_long", unix.EINVAL, unix.SYS_MREMAP, []uint64{dataVA, 4096, none, unix.MREMAP_MAYMOVE, 0}},
		{"mremap_no_room", unix.ENOMEM, unix.SYS_MREMAP, []uint64{dataVA, 4096, ctl, unix.MREMAP_MAYMOVE, 0}},
		{"madvise_control", unix.ENOMEM, unix.SYS_MADVISE, []uint64{ctl, 4096, unix.MADV_DONTNEED}},
		{"madvise_wraps", unix.ENOMEM, unix.SYS_MADVISE, []uint64{none &^ 0xfff, 8192, unix.MADV_DONTNEED}},
		{"mincore_control", unix.ENOMEM, unix.SYS_MINCORE, []uint64{ctl, 4096, dataVA}},
		{"arch_prctl_fs_not_canonical", unix.EPERM, unix.SYS_ARCH_PRCTL, []uint64{0x1002, top}},
		{"arch_prctl_gs_not_canonical", unix.EPERM, unix.SYS_ARCH_PRCTL, []uint64{0x1001, 0x8000_0000_0000}},
		{"arch_prctl_fs_high_half", unix.EPERM, unix.SYS_ARCH_PRCTL, []uint64{0x1002, 0xffff_8000_0000_0000}},
		{"clone_tls_not_canonical", unix.EPERM, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SETTLS, dataVA + 0x8000, 0, 0, top}},
		{"read_into_control", unix.EFAULT, unix.SYS_READ, []uint64{0, ctl, 1}},
		{"read_into_clock", unix.EFAULT, unix.SYS_READ, []uint64{0, x86.ClockVA, 8}},
		{"getrandom_into_stub", unix.EFAULT, unix.SYS_GETRANDOM, []uint64{x86.SyscallStubVA, 8, 0}},
		{"write_from_gdt", unix.EFAULT, unix.SYS_WRITE, []uint64{1, ctl, 8}},
		{"write_from_high_half", unix.EFAULT, unix.SYS_WRITE, []uint64{1, 0xffff_8000_0000_0000, 8}},
		{"write_from_last_byte", unix.EFAULT, unix.SYS_WRITE, []uint64{1, none, 8}},
		{"uname_at_the_top", unix.EFAULT, unix.SYS_UNAME, []uint64{none - 3}},
		{"unknown_call", unix.ENOSYS, 511, nil},
		{"call_minus_one", unix.ENOSYS, none, nil},
		{"call_x32", unix.ENOSYS, 0x4000_0000 + unix.SYS_GETPID, nil},
	} {
		out = append(out, hostile{name: c.name, code: func(a *asm) { a.call(c.nr, c.args...).exitErrno() }, want: exits(int(c.want))})
	}
	return out
}

// Offsets in the signal frame from the stack pointer at rt_sigreturn.
const (
	frRSP, frRIP, frFlags, frFP = 160, 168, 176, 224
	frMask                      = 40 + 256
)

// sigreturns are frames that no kernel made.
func sigreturns() []hostile {
	const frame, fp = dataVA + 0x1000, dataVA + 0x4000
	ret := func(a *asm) { a.mov(rsp, frame).call(unix.SYS_RT_SIGRETURN) }
	with := func(f func(a *asm, next uint64)) func(a *asm) {
		return func(a *asm) {
			next := a.aside(func() { a.raw(0x66, 0x0f, 0x58, 0xc1, 0x50).exit(0) }) // addpd, push
			a.store(frame+frRIP, next).store(frame+frRSP, dataVA+0x3000)
			f(a, next)
			ret(a)
		}
	}
	// An XSAVE area of ones, reserved bits of MXCSR among them, of which the guest says
	// that it is complete.
	ones := func(size uint64) func(a *asm, next uint64) {
		return func(a *asm, _ uint64) {
			a.fill(fp, 0x2000, 0xff)
			a.store(fp+464, 0x46505853|uint64(0xffff_ffff)<<32).store(fp+480, size).store(frame+frFP, fp)
		}
	}
	segv := signaled(unix.SIGSEGV)
	// With every exception unmasked and pending an x87 or SSE instruction may trap.
	runs := either(exits(0), signaled(unix.SIGFPE))
	return []hostile{
		{name: "sigreturn_zeros", code: ret, want: faulted(0)},
		{name: "sigreturn_ones", code: func(a *asm) { a.fill(frame, 0x1000, 0xff); ret(a) }, want: segv},
		{name: "sigreturn_no_stack", code: func(a *asm) { a.mov(rsp, 8).call(unix.SYS_RT_SIGRETURN) }, want: segv},
		{name: "sigreturn_stack_at_zero", code: func(a *asm) { a.mov(rsp, 0).call(unix.SYS_RT_SIGRETURN) }, want: segv},
		{name: "sigreturn_stack_at_the_top", code: func(a *asm) { a.mov(rsp, ^uint64(0)-16).call(unix.SYS_RT_SIGRETURN) }, want: segv},
		{name: "sigreturn_stack_in_control", code: func(a *asm) { a.mov(rsp, x86.ControlVA-64).call(unix.SYS_RT_SIGRETURN) }, want: segv},
		{name: "sigreturn_plain", code: with(func(*asm, uint64) {}), want: exits(0)},
		{name: "sigreturn_rip_not_canonical", code: with(func(a *asm, _ uint64) { a.store(frame+frRIP, 1<<63) }), want: segv},
		{name: "sigreturn_rip_first_not_canonical", code: with(func(a *asm, _ uint64) { a.store(frame+frRIP, 1<<47) }), want: segv},
		{name: "sigreturn_rip_high_half", code: with(func(a *asm, _ uint64) { a.store(frame+frRIP, 0xffff_ffff_8100_0000) }), want: segv},
		{name: "sigreturn_rip_vsyscall", code: with(func(a *asm, _ uint64) { a.store(frame+frRIP, 0xffff_ffff_ff60_0000) }), want: segv},
		{name: "sigreturn_rip_last_canonical", code: with(func(a *asm, _ uint64) { a.store(frame+frRIP, 1<<47-1) }), want: segv},
		{name: "sigreturn_rip_exception_stub", code: with(func(a *asm, _ uint64) { a.store(frame+frRIP, x86.SyscallStubVA&^0xfff+16*14) }), want: segv},
		// A push to a stack that is not canonical is #SS: SIGBUS. A nested monitor
		// may emulate all instructions then, and not know them.
		{name: "sigreturn_rsp_not_canonical", code: with(func(a *asm, _ uint64) { a.store(frame+frRSP, 1<<63) }), want: signaled(unix.SIGBUS, unix.SIGILL)},
		{name: "sigreturn_rsp_high_half", code: with(func(a *asm, _ uint64) { a.store(frame+frRSP, 0xffff_8000_0000_1000) }), want: segv},
		{name: "sigreturn_flags_ones", code: with(func(a *asm, _ uint64) { a.store(frame+frFlags, ^uint64(0)) }), want: signaled(unix.SIGTRAP, unix.SIGBUS)},
		{name: "sigreturn_flags_iopl", code: with(func(a *asm, _ uint64) {
			at := a.aside(func() { a.raw(0xe6, 0x80).exit(escaped) })
			a.store(frame+frFlags, 0x3000).store(frame+frRIP, at)
		}), want: stopped},
		{name: "sigreturn_mask_ones", code: with(func(a *asm, _ uint64) { // SIGKILL is not blocked
			at := a.aside(func() { a.call(unix.SYS_KILL, 100, uint64(unix.SIGKILL)).exit(escaped) })
			a.store(frame+frMask, ^uint64(0)).store(frame+frRIP, at)
		}), want: signaled(unix.SIGKILL)},
		{name: "sigreturn_fp_misaligned", code: with(func(a *asm, _ uint64) { a.store(frame+frFP, fp+8) }), want: segv},
		{name: "sigreturn_fp_nowhere", code: with(func(a *asm, _ uint64) { a.store(frame+frFP, 0x1000_0000) }), want: segv},
		{name: "sigreturn_fp_not_canonical", code: with(func(a *asm, _ uint64) { a.store(frame+frFP, 1<<63) }), want: segv},
		{name: "sigreturn_fp_at_the_end", code: with(func(a *asm, _ uint64) { a.store(frame+frFP, dataVA+dataSize-64) }), want: segv},
		{name: "sigreturn_fp_zeros", code: with(func(a *asm, _ uint64) { a.store(frame+frFP, fp) }), want: runs},
		{name: "sigreturn_fp_ones", code: with(ones(0)), want: segv},
		{name: "sigreturn_fp_ones_576", code: with(ones(576)), want: segv},
		{name: "sigreturn_fp_ones_832", code: with(ones(832)), want: segv},
		{name: "sigreturn_fp_ones_2696", code: with(ones(2696)), want: segv},
		{name: "sigreturn_fp_ones_too_large", code: with(ones(0xffff_ffff)), want: segv},
		{name: "sigreturn_fp_bad_mxcsr", code: with(func(a *asm, _ uint64) { a.store(fp+24, ^uint64(0)).store(frame+frFP, fp) }), want: segv},
	}
}

func signalsAndStacks() []hostile {
	const segv = uint64(unix.SIGSEGV)
	const noDefer, onStack = 0x4000_0000, 0x0800_0000
	null := func(a *asm) { a.raw(0x31, 0xdb, 0x8a, 0x03).exit(escaped) }
	recurse := func(a *asm) { a.raw(0xe8, 0xfb, 0xff, 0xff, 0xff) }
	altStack := func(a *asm, addr, size uint64) {
		a.store(dataVA+0x200, addr).store(dataVA+0x208, 0).store(dataVA+0x210, size).call(unix.SYS_SIGALTSTACK, dataVA+0x200, 0)
	}
	dead := signaled(unix.SIGSEGV)
	return []hostile{
		{name: "handler_not_canonical", code: func(a *asm) { a.handler(segv, 1<<63, 0); null(a) }, want: dead},
		{name: "handler_not_canonical_no_defer", code: func(a *asm) { a.handler(segv, 1<<63, noDefer); null(a) }, want: dead},
		{name: "handler_not_mapped_no_defer", code: func(a *asm) { a.handler(segv, 0x1000, noDefer); null(a) }, want: dead},
		{name: "handler_in_control", code: func(a *asm) { a.handler(segv, x86.ControlVA, noDefer); null(a) }, want: dead},
		{name: "handler_faults", code: func(a *asm) {
			h := a.aside(func() { null(a) })
			a.handler(segv, h, noDefer)
			null(a)
		}, want: dead},
		{name: "restorer_not_canonical", code: func(a *asm) {
			h := a.aside(func() { a.raw(0xc3) })
			a.handler(segv, h, 0).store(dataVA+0x110, 1<<63).call(unix.SYS_RT_SIGACTION, segv, dataVA+0x100, 0, 8)
			null(a)
		}, want: dead},
		{name: "stack_overflow", code: recurse, want: dead},
		{name: "stack_overflow_handler_without_stack", code: func(a *asm) {
			h := a.aside(func() { a.exit(escaped) })
			a.handler(segv, h, 0)
			recurse(a)
		}, want: dead},
		{name: "stack_overflow_on_alternative_stack", code: func(a *asm) {
			h := a.aside(func() { a.exit(42) })
			a.handler(segv, h, onStack)
			altStack(a, dataVA+0x4000, 0x4000)
			recurse(a)
		}, want: exits(42)},
		{name: "alternative_stack_overflows", code: func(a *asm) {
			h := a.aside(func() { null(a) })
			a.handler(segv, h, onStack|noDefer)
			altStack(a, dataVA+0x4000, 0x8000)
			null(a)
		}, want: dead},
		{name: "alternative_stack_too_small", code: func(a *asm) {
			h := a.aside(func() { a.exit(escaped) })
			a.handler(segv, h, onStack)
			altStack(a, dataVA+0x4000, 2048)
			null(a)
		}, want: either(dead, exits(escaped))}, // it is large enough without wide vectors
		{name: "alternative_stack_at_zero", code: func(a *asm) {
			h := a.aside(func() { a.exit(escaped) })
			a.handler(segv, h, onStack)
			altStack(a, 0, 2048)
			null(a)
		}, want: dead},
		{name: "alternative_stack_wraps", code: func(a *asm) {
			h := a.aside(func() { a.exit(escaped) })
			a.handler(segv, h, onStack)
			altStack(a, dataVA, ^uint64(0)-16)
			null(a)
		}, want: exits(escaped)}, // the thread is on it already, wherever it is
		{name: "alternative_stack_in_control", code: func(a *asm) {
			h := a.aside(func() { a.exit(escaped) })
			a.handler(segv, h, onStack)
			altStack(a, x86.ControlVA, x86.ControlSize())
			null(a)
		}, want: dead},
		{name: "stack_pointer_at_zero", code: func(a *asm) {
			h := a.aside(func() { a.exit(escaped) })
			a.handler(segv, h, 0).mov(rsp, 0)
			null(a)
		}, want: dead},
		{name: "stack_pointer_small", code: func(a *asm) {
			h := a.aside(func() { a.exit(escaped) })
			a.handler(segv, h, 0).mov(rsp, 0x300)
			null(a)
		}, want: dead},
		{name: "stack_pointer_at_the_top", code: func(a *asm) {
			h := a.aside(func() { a.exit(escaped) })
			a.handler(segv, h, 0).mov(rsp, ^uint64(0))
			null(a)
		}, want: dead},
		{name: "stack_pointer_in_control", code: func(a *asm) {
			h := a.aside(func() { a.exit(escaped) })
			a.handler(segv, h, 0).mov(rsp, x86.ControlVA+0x4000)
			null(a)
		}, want: dead},
		{name: "fault_with_a_full_queue", code: func(a *asm) {
			h := a.aside(func() { a.exit(42) })
			a.handler(segv, h, 0)
			a.store(dataVA+0x300, ^uint64(0)&^(1<<(segv-1))).call(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, dataVA+0x300, 0, 8)
			a.store(dataVA+0x408, ^uint64(0)) // si_code SI_QUEUE
			a.mov(rbp, 1100)
			at := len(a.code)
			a.call(unix.SYS_RT_TGSIGQUEUEINFO, 100, 100, 40, dataVA+0x400)
			a.raw(0x48, 0xff, 0xcd, 0x0f, 0x85) // dec rbp; jnz
			d := uint32(at - len(a.code) - 4)
			a.raw(byte(d), byte(d>>8), byte(d>>16), byte(d>>24))
			null(a)
		}, want: exits(42), limits: vmexec.Limits{Wall: 10 * time.Second}},
		{name: "wrfsbase_not_canonical", code: func(a *asm) {
			a.mov(rax, 1<<63).raw(0xf3, 0x48, 0x0f, 0xae, 0xd0).call(unix.SYS_GETPID).exit(escaped)
		}, want: stopped},
		{name: "wrgsbase_high_half", code: func(a *asm) { // canonical, so permitted; it points nowhere
			a.mov(rax, 0xffff_8000_0000_0000).raw(0xf3, 0x48, 0x0f, 0xae, 0xd8).call(unix.SYS_SCHED_YIELD)
			a.raw(0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0).exit(escaped)
		}, want: stopped},
		{name: "robust_list_circle", code: func(a *asm) {
			a.store(dataVA, dataVA+8).store(dataVA+8, dataVA+8).store(dataVA+16, 1<<63)
			a.call(unix.SYS_SET_ROBUST_LIST, dataVA, 24).call(unix.SYS_EXIT, 3)
		}, want: exits(3)},
		{name: "robust_list_nowhere", code: func(a *asm) {
			a.call(unix.SYS_SET_ROBUST_LIST, ^uint64(0)-8, 24).call(unix.SYS_EXIT, 3)
		}, want: exits(3)},
	}
}

// limited are programs that do not end by themselves, or want too much.
func limited() []hostile {
	const spinTime = 150 * time.Millisecond
	wall, cpu := vmexec.Limits{Wall: spinTime}, vmexec.Limits{CPU: spinTime, Wall: 20 * time.Second}
	spin := func(a *asm) { a.raw(0xeb, 0xfe) }
	calls := func(a *asm) { a.loop(func() { a.call(unix.SYS_GETPID) }) }
	// Nearly all of the time passes in the monitor.
	heavy := func(a *asm) {
		a.call(unix.SYS_MMAP, 0x1000_0000, 16<<20, 3, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
		a.loop(func() { a.call(unix.SYS_GETRANDOM, 0x1000_0000, 16<<20, 0) })
	}
	faults := func(a *asm) {
		a.loop(func() {
			a.call(unix.SYS_MADVISE, dataVA, 4096, unix.MADV_DONTNEED).store(dataVA, 1)
			a.call(unix.SYS_MPROTECT, dataVA, 4096, 1).call(unix.SYS_MPROTECT, dataVA, 4096, 3)
		})
	}
	storm := func(a *asm) {
		h := a.aside(func() { a.raw(0xc3) })
		a.handler(uint64(unix.SIGUSR1), h, 0).loop(func() { a.call(unix.SYS_KILL, 100, uint64(unix.SIGUSR1)) })
	}
	touch := func(a *asm) {
		a.call(unix.SYS_MMAP, 0x1000_0000, 1<<30, 3, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
		a.mov(rbx, 0x1000_0000).loop(func() { a.raw(0xc6, 0x03, 0x01, 0x48, 0x81, 0xc3, 0, 0x10, 0, 0) })
	}
	scatter := func(a *asm) { // a page table for each page
		a.call(unix.SYS_MMAP, 0x10_0000_0000, 1<<44, 3, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
		a.mov(rbx, 0x10_0000_0000).loop(func() { a.raw(0xc6, 0x03, 0x01, 0x48, 0x81, 0xc3, 0, 0, 0x20, 0) })
	}
	mem := vmexec.Limits{Memory: 16 << 20, Wall: 20 * time.Second}
	threads := func(a *asm) {
		const flags = unix.CLONE_VM | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_FS | unix.CLONE_FILES
		at := len(a.code)
		a.call(unix.SYS_CLONE, flags, dataVA+0x8000, 0, 0, 0)
		a.raw(0x48, 0x85, 0xc0, 0x0f, 0x8f) // test rax, rax; jg again
		d := uint32(at - len(a.code) - 4)
		a.raw(byte(d), byte(d>>8), byte(d>>16), byte(d>>24))
		a.raw(0x75, 17) // jnz to the nop
		a.raw(0x48, 0x31, 0xff).mov(rax, unix.SYS_PAUSE).raw(0x0f, 0x05, 0xeb, 0xfe)
		a.raw(0x90).exitErrno()
	}
	return []hostile{
		{name: "spin_wall", code: spin, want: ends(vmexec.WallLimit), limits: wall},
		{name: "spin_cpu", code: spin, want: ends(vmexec.CPULimit), limits: cpu},
		{name: "calls_wall", code: calls, want: ends(vmexec.WallLimit), limits: wall},
		{name: "calls_cpu", code: calls, want: ends(vmexec.CPULimit), limits: cpu},
		{name: "heavy_calls_wall", code: heavy, want: ends(vmexec.WallLimit), limits: wall},
		{name: "heavy_calls_cpu", code: heavy, want: ends(vmexec.CPULimit), limits: cpu},
		{name: "faults_wall", code: faults, want: ends(vmexec.WallLimit), limits: wall},
		{name: "signals_wall", code: storm, want: ends(vmexec.WallLimit), limits: wall},
		{name: "sleep_wall", code: func(a *asm) {
			a.store(dataVA, 3600).store(dataVA+8, 0).call(unix.SYS_NANOSLEEP, dataVA, 0).exit(escaped)
		}, want: ends(vmexec.WallLimit), limits: wall},
		{name: "stopped_deadlock", code: func(a *asm) { a.call(unix.SYS_KILL, 100, uint64(unix.SIGSTOP)).exit(escaped) }, want: deadlocks("(thread 100 is stopped by a signal)"), limits: cpu},
		{name: "touch_everything", code: touch, want: ends(vmexec.MemoryLimit), limits: mem},
		{name: "touch_scattered", code: scatter, want: ends(vmexec.MemoryLimit), limits: mem},
		{name: "signal_frame_over_the_limit", code: func(a *asm) { // an endless stack
			a.call(unix.SYS_MMAP, 0x10_0000_0000, 1<<40, 3, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
			a.handler(uint64(unix.SIGSEGV), 1<<63, 0x4000_0000).mov(rsp, 0x10_0000_0000+1<<40).raw(0x31, 0xdb, 0x8a, 0x03)
		}, want: ends(vmexec.MemoryLimit), limits: mem},
		{name: "output", code: func(a *asm) { a.loop(func() { a.call(unix.SYS_WRITE, 1, codeVA, 64) }) }, want: ends(vmexec.OutputLimit), limits: vmexec.Limits{Output: 4096}},
		{name: "pause_deadlock", code: func(a *asm) { a.call(unix.SYS_PAUSE).exit(escaped) }, want: deadlocks("(thread 100 in pause)")},
		{name: "futex_deadlock", code: func(a *asm) { a.call(unix.SYS_FUTEX, dataVA, 0, 0, 0, 0, 0).exit(escaped) }, want: deadlocks("(thread 100 in futex)")},
		{name: "threads_deadlock", code: func(a *asm) {
			for range 5 {
				thread(a, func() { a.call(unix.SYS_PAUSE).exit(escaped) })
			}
			a.call(unix.SYS_FUTEX, dataVA, 0, 0, 0, 0, 0).exit(escaped)
		}, want: deadlocks("(thread 100 in futex, thread 101 in pause, thread 102 in pause, thread 103 in pause, 2 more)")},
		{name: "threads", code: threads, limits: vmexec.Limits{Wall: 60 * time.Second}, want: func(r *vmexec.Result) string {
			if s := exits(int(unix.EAGAIN))(r); s != "" {
				return s
			}
			if r.Stats.Threads != vmexec.DefaultThreads {
				return fmt.Sprintf("want %d threads, got %d", vmexec.DefaultThreads, r.Stats.Threads)
			}
			return ""
		}},
	}
}

// TestHostile runs programs that try what only a kernel may, hand over garbage,
// or want more than they may have. Whatever they do, the monitor goes on and
// says how they ended.
func TestHostile(t *testing.T) { onEach(t, testHostile) }

func testHostile(t *testing.T, h *vmexec.Host) {
	for _, group := range [][]hostile{privileged(), stubs(), controlArea(), errnos(), sigreturns(), signalsAndStacks(), limited()} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				if c.limits.Wall == 0 {
					c.limits.Wall = 20 * time.Second
				}
				if h.Kind() == vmexec.Ptrace && c.ptrace != nil {
					c.want = c.ptrace
				}
				start := time.Now()
				r := run(context.Background(), t, h, program(t, nil, c.code), c.limits, vmexec.IO{})
				if s := c.want(r); s != "" {
					t.Errorf("%s; got %s, status %d, death %+v, %s, after %v", s, r.Reason, r.Status, r.Death, r.Message, time.Since(start))
				}
				if d := r.Stats.Run; r.Reason == vmexec.WallLimit && d > c.limits.Wall+3*time.Second {
					t.Errorf("the wall-clock limit of %v came after %v", c.limits.Wall, d)
				}
			})
		}
	}
}

// TestHostileCancel ends programs from outside.
func TestHostileCancel(t *testing.T) { onEach(t, testHostileCancel) }

func testHostileCancel(t *testing.T, h *vmexec.Host) {
	for _, c := range []struct {
		name string
		code func(a *asm)
	}{
		{"spin", func(a *asm) { a.raw(0xeb, 0xfe) }},
		{"idle", func(a *asm) { a.store(dataVA, 3600).call(unix.SYS_NANOSLEEP, dataVA, 0).exit(escaped) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			r := run(ctx, t, h, program(t, nil, c.code), vmexec.Limits{Wall: 20 * time.Second}, vmexec.IO{})
			if s := ends(vmexec.Canceled)(r); s != "" {
				t.Errorf("%s; got %s", s, r.Message)
			}
		})
	}
}

// TestProgramTooLarge tells an operator what to do about a program that does
// not fit.
func TestProgramTooLarge(t *testing.T) { onEach(t, testProgramTooLarge) }

func testProgramTooLarge(t *testing.T, h *vmexec.Host) {
	big := &asm{}
	big.exit(0)
	big.code = append(big.code, make([]byte, 8<<20)...)
	small := &asm{}
	small.exit(0)
	for _, c := range []struct {
		name string
		elf  []byte
		args []string
		want string
	}{
		{"file", big.elf(), nil, "memory limit of 4 MiB"},
		{"arguments", small.elf(), []string{"p", strings.Repeat("x", 3<<20)}, "argument"},
		{"many_arguments", small.elf(), make([]string, 1<<20), "argument"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := h.NewVM(programOf(t, c.elf, c.args), vmexec.Limits{Memory: vmexec.MinMemory})
			var pe *vmexec.ProgramError
			if !errors.As(err, &pe) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want a ProgramError with %q", err, c.want)
			}
		})
	}
}
