// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// Where the hand-made programs lie.
const (
	codeVA = 0x40_1000
	dataVA = 0x600_0000
	// dataSize is the read-write segment: zeros.
	dataSize = 64 << 10
)

// Registers by their encoding.
const (
	rax = iota
	rcx
	rdx
	rbx
	rsp
	rbp
	rsi
	rdi
	r8
	r9
	r10
)

// asm assembles a program: a few instructions by name, the rest as bytes.
type asm struct{ code []byte }

func (a *asm) raw(b ...byte) *asm {
	a.code = append(a.code, b...)
	return a
}

// mov is 'movabs $v, %reg'.
func (a *asm) mov(reg int, v uint64) *asm {
	a.raw(0x48|byte(reg>>3), 0xb8|byte(reg&7))
	a.code = binary.LittleEndian.AppendUint64(a.code, v)
	return a
}

// store writes v to the address; it changes rax and rbx.
func (a *asm) store(addr, v uint64) *asm {
	return a.mov(rax, v).mov(rbx, addr).raw(0x48, 0x89, 0x03)
}

// text writes a text with the NUL at its end to the address.
func (a *asm) text(addr uint64, s string) *asm {
	b := append([]byte(s), make([]byte, 8-len(s)%8)...)
	for i := 0; i < len(b); i += 8 {
		a.store(addr+uint64(i), binary.LittleEndian.Uint64(b[i:]))
	}
	return a
}

// fill writes n bytes of b to the address.
func (a *asm) fill(addr, n uint64, b byte) *asm {
	return a.mov(rdi, addr).mov(rcx, n).mov(rax, uint64(b)).raw(0xf3, 0xaa)
}

// call is a system call with constant arguments.
func (a *asm) call(nr uint64, args ...uint64) *asm {
	for i, v := range args {
		a.mov([...]int{rdi, rsi, rdx, r10, r8, r9}[i], v)
	}
	return a.mov(rax, nr).raw(0x0f, 0x05)
}

// exit ends the program with a status; exitRAX with the low byte of rax and
// exitErrno with that of its negative.
func (a *asm) exit(status uint64) *asm { return a.call(unix.SYS_EXIT_GROUP, status) }

func (a *asm) exitRAX() *asm {
	return a.raw(0x48, 0x89, 0xc7).mov(rax, unix.SYS_EXIT_GROUP).raw(0x0f, 0x05)
}

func (a *asm) exitErrno() *asm { return a.raw(0x48, 0xf7, 0xd8).exitRAX() }

// aside assembles a routine that is jumped over, and returns its address.
func (a *asm) aside(f func()) uint64 {
	at := len(a.code)
	a.raw(0xe9, 0, 0, 0, 0)
	f()
	binary.LittleEndian.PutUint32(a.code[at+1:], uint32(len(a.code)-at-5))
	return codeVA + uint64(at) + 5
}

// loop repeats what f assembles for ever.
func (a *asm) loop(f func()) *asm {
	at := len(a.code)
	f()
	a.raw(0xe9)
	a.code = binary.LittleEndian.AppendUint32(a.code, uint32(at-len(a.code)-4))
	return a
}

// orFlags sets bits of RFLAGS with POPF.
func (a *asm) orFlags(bits uint32) *asm {
	a.raw(0x9c, 0x81, 0x0c, 0x24)
	a.code = binary.LittleEndian.AppendUint32(a.code, bits)
	return a.raw(0x9d)
}

// handler installs a signal handler; flags are those of sigaction(2).
func (a *asm) handler(sig, addr, flags uint64) *asm {
	const restorer = 0x0400_0000
	back := a.aside(func() { a.mov(rax, unix.SYS_RT_SIGRETURN).raw(0x0f, 0x05) })
	const at = dataVA + 0x100
	for i, v := range [...]uint64{addr, flags | restorer | 4, back, 0} {
		a.store(at+8*uint64(i), v)
	}
	return a.call(unix.SYS_RT_SIGACTION, sig, at, 0, 8)
}

// elf returns a static program: the code and a read-write segment of zeros.
func (a *asm) elf() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0x1000, 0x1000+len(a.code))
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)  // ET_EXEC
	le.PutUint16(b[18:], 62) // EM_X86_64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], codeVA)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 2)
	for i, s := range [...]struct{ flags, off, va, file, mem uint64 }{
		{5, 0x1000, codeVA, uint64(len(a.code)), uint64(len(a.code))},
		{6, 0, dataVA, 0, dataSize},
	} {
		p := b[64+56*i:]
		le.PutUint32(p, 1)
		le.PutUint32(p[4:], uint32(s.flags))
		for j, v := range [...]uint64{s.off, s.va, s.va, s.file, s.mem, 0x1000} {
			le.PutUint64(p[8+8*j:], v)
		}
	}
	return append(b, a.code...)
}

// program returns the assembled program, ready to run.
func program(t testing.TB, args []string, f func(a *asm)) *vmexec.Program {
	t.Helper()
	a := &asm{}
	f(a)
	return programOf(t, a.elf(), args)
}

func programOf(t testing.TB, elf []byte, args []string) *vmexec.Program {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, elf, 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := vmexec.ProgramRoot(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: file, Args: args})
	if err != nil {
		_ = root.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), root.Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// onEach runs a test on every platform.
func onEach(t *testing.T, f func(t *testing.T, h *vmexec.Host)) {
	for _, kind := range []vmexec.Kind{vmexec.KVM, vmexec.Ptrace} {
		t.Run(string(kind), func(t *testing.T) { f(t, openHost(t, kind)) })
	}
}

// openHost opens a platform, or skips the test where there is none, unless
// VMEXEC_REQUIRE_KVM=1 or VMEXEC_REQUIRE_PTRACE=1 demands it.
func openHost(t testing.TB, kind vmexec.Kind) *vmexec.Host {
	t.Helper()
	h, err := vmexec.Open(kind)
	var u *vmexec.UnavailableError
	if errors.As(err, &u) && os.Getenv("VMEXEC_REQUIRE_"+strings.ToUpper(string(kind))) == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// run runs the program once. A failure of the monitor ends the test.
func run(ctx context.Context, t testing.TB, h *vmexec.Host, p *vmexec.Program, l vmexec.Limits, io vmexec.IO) *vmexec.Result {
	t.Helper()
	vm, err := h.NewVM(p, l)
	if err != nil {
		t.Fatal(err)
	}
	r, err := vm.Run(ctx, io)
	if err != nil {
		t.Errorf("the monitor failed: %v", err)
		r = &vmexec.Result{}
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	return r
}
