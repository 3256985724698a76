// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/kvm"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/platform"
	"kontain.dev/eventing/vmexec/internal/x86"
)

func TestGuestCPUID(t *testing.T) {
	ones := kvm.CPUIDEntry{EAX: 1<<32 - 1, EBX: 1<<32 - 1, ECX: 1<<32 - 1, EDX: 1<<32 - 1}
	leaf := func(function, index uint32) kvm.CPUIDEntry {
		e := ones
		e.Function, e.Index = function, index
		return e
	}
	component := func(index, size, offset uint32) kvm.CPUIDEntry {
		return kvm.CPUIDEntry{Function: 0xd, Index: index, EAX: size, EBX: offset}
	}
	in := []kvm.CPUIDEntry{
		leaf(0, 0), leaf(1, 0), leaf(7, 0), leaf(0xa, 0), leaf(0xd, 0), leaf(0xd, 1),
		component(2, 256, 576), component(5, 64, 1088), component(6, 512, 1152), component(7, 1024, 1664),
		component(9, 8, 2688), component(17, 64, 2752), component(18, 8192, 2816), component(63, 1<<31, 1<<31), component(64, 1, 1),
		leaf(0x14, 0), leaf(0x1d, 1), leaf(0x1e, 0), leaf(0x4000_0000, 0), leaf(0x4000_0001, 0), leaf(0x4fff_ffff, 0),
		leaf(0x8000_0001, 0), leaf(0x8000_0008, 0),
	}
	out, xcr0, xsave := guestCPUID(in)
	if xcr0 != usableXCR0 || xsave != 2688 {
		t.Errorf("XCR0 %#x, XSAVE area of %d bytes", xcr0, xsave)
	}
	type key struct{ function, index uint32 }
	var kept []key
	for _, e := range out {
		kept = append(kept, key{e.Function, e.Index})
	}
	want := []key{{0, 0}, {1, 0}, {7, 0}, {0xd, 0}, {0xd, 1}, {0xd, 2}, {0xd, 5}, {0xd, 6}, {0xd, 7}, {0x8000_0001, 0}, {0x8000_0008, 0}}
	if d := cmp.Diff(want, kept, cmp.AllowUnexported(key{})); d != "" {
		t.Errorf("leaves (-want +got):\n%s", d)
	}
	if e := feature(out, 0xd, 0); e.EAX != usableXCR0 || e.EDX != 0 || e.EBX != xsave || e.ECX != xsave {
		t.Errorf("leaf 0xd: %+v", e)
	}
	if e := feature(out, 1, 0); e.EBX>>16 != 1 {
		t.Errorf("leaf 1 shows %d processors and APIC id %d", e.EBX>>16&0xff, e.EBX>>24)
	}
	for _, h := range []struct {
		name            string
		function, index uint32
		reg             func(e kvm.CPUIDEntry) uint32
		bit             int
	}{
		{"MONITOR", 1, 0, ecx, 3},
		{"VMX", 1, 0, ecx, 5},
		{"x2APIC", 1, 0, ecx, 21},
		{"TSC deadline", 1, 0, ecx, 24},
		{"hypervisor", 1, 0, ecx, 31},
		{"SGX", 7, 0, ebx, 2},
		{"HLE", 7, 0, ebx, 4},
		{"RTM", 7, 0, ebx, 11},
		{"MPX", 7, 0, ebx, 14},
		{"PKU", 7, 0, ecx, 3},
		{"OSPKE", 7, 0, ecx, 4},
		{"WAITPKG", 7, 0, ecx, 5},
		{"SHSTK", 7, 0, ecx, 7},
		{"LA57", 7, 0, ecx, 16},
		{"ENQCMD", 7, 0, ecx, 29},
		{"IBT", 7, 0, edx, 20},
		{"AMX-BF16", 7, 0, edx, 22},
		{"AMX-TILE", 7, 0, edx, 24},
		{"AMX-INT8", 7, 0, edx, 25},
		{"XSAVES", 0xd, 1, eax, 3},
		{"XFD", 0xd, 1, eax, 4},
		{"SVM", 0x8000_0001, 0, ecx, 2},
	} {
		if h.reg(feature(out, h.function, h.index))>>h.bit&1 != 0 {
			t.Errorf("guests see %s", h.name)
		}
	}
	if e := feature(out, 1, 0); e.ECX>>27&1 == 0 || e.ECX>>28&1 == 0 {
		t.Error("OSXSAVE or AVX was hidden")
	}

	if out, xcr0, xsave := guestCPUID(nil); len(out) != 0 || xcr0 != 3 || xsave != 576 {
		t.Errorf("without extended state: %v, %#x, %d", out, xcr0, xsave)
	}
}

func eax(e kvm.CPUIDEntry) uint32 { return e.EAX }
func ebx(e kvm.CPUIDEntry) uint32 { return e.EBX }
func ecx(e kvm.CPUIDEntry) uint32 { return e.ECX }
func edx(e kvm.CPUIDEntry) uint32 { return e.EDX }

const (
	codeVA = 0x40_0000
	dataVA = 0x50_0000
)

// newMachine makes a machine with code at codeVA and a page to write at dataVA, bound to this thread until the
// end of the test.
func newMachine(t *testing.T, code ...byte) (*machine, *platform.Context) {
	t.Helper()
	p, err := Open()
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) && os.Getenv("VMEXEC_REQUIRE_KVM") == "" {
		t.Skipf("KVM is not available: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	mem, err := guestmem.New(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mem.Close() })
	space, err := mm.New(mem)
	if err != nil {
		t.Fatal(err)
	}
	if errno := space.Map(mm.VMA{Start: codeVA, End: codeVA + 4096, Prot: mm.Read | mm.Exec}); errno != 0 {
		t.Fatal(errno)
	}
	if err := space.Poke(codeVA, code); err != nil {
		t.Fatal(err)
	}
	if errno := space.Map(mm.VMA{Start: dataVA, End: dataVA + 4096, Prot: mm.Read | mm.Write}); errno != 0 {
		t.Fatal(errno)
	}
	if err := space.Poke(dataVA, []byte("data")); err != nil {
		t.Fatal(err)
	}
	m, err := p.NewMachine(mem, space.Root())
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := m.Bind(); err != nil {
		t.Fatal(err)
	}
	c := &platform.Context{FP: new([kvm.XSaveSize]byte)}
	c.Regs.RIP, c.Regs.RFLAGS = codeVA, 0x202
	return m.(*machine), c
}

// A nested monitor may let a guest run although a register was never set, and
// hardware would not: what is relied on is asked back.
func TestMachineRegisters(t *testing.T) {
	m, c := newMachine(t, 0x0f, 0x05) // syscall
	check := func(when string) {
		t.Helper()
		if err := m.vcpu.GetSregs(); err != nil {
			t.Fatal(err)
		}
		s := *m.vcpu.Sregs
		const cr0 = cr0PE | cr0MP | cr0ET | cr0NE | cr0WP | cr0AM | cr0PG
		if s.CR0&cr0 != cr0 || s.CR0&^cr0 != 0 {
			t.Errorf("%s: CR0 %#x, want %#x", when, s.CR0, uint64(cr0))
		}
		cr4 := uint64(cr4PAE | cr4OSFXSR | cr4OSXMM | cr4XSAVE)
		if m.p.fsgsbase {
			cr4 |= cr4FSGS
		}
		if s.CR4 != cr4 {
			t.Errorf("%s: CR4 %#x, want %#x", when, s.CR4, cr4)
		}
		if efer := uint64(eferSCE | eferLME | eferLMA | eferNX); s.EFER != efer {
			t.Errorf("%s: EFER %#x, want %#x", when, s.EFER, efer)
		}
		if s.GDT != (kvm.DTable{Base: x86.GDTBase, Limit: x86.GDTLimit}) || s.IDT != (kvm.DTable{Base: x86.IDTBase, Limit: x86.IDTLimit}) {
			t.Errorf("%s: GDT %+v, IDT %+v", when, s.GDT, s.IDT)
		}
		if s.TR.Base != x86.TSSBase || s.TR.Limit != x86.TSSLimit || s.TR.Selector != x86.TSSSel || s.LDT.Unusable == 0 && s.LDT.Limit > 0 && s.LDT.Present != 0 {
			t.Errorf("%s: TR %+v, LDT %+v", when, s.TR, s.LDT)
		}
	}
	check("after making it")
	s := m.vcpu.Sregs
	if s.CS != userCode || s.SS.Selector != x86.UserDS || s.SS.DPL != 3 {
		t.Errorf("CS %+v, SS %+v", s.CS, s.SS)
	}
	if xcr0 := m.p.features.XCR0; xcr0&3 != 3 || xcr0&^usableXCR0 != 0 {
		t.Errorf("XCR0 %#x", xcr0)
	}
	c.Regs.RAX, c.FSBase, c.GSBase = 4711, 0x1234_5678, 0x7fff_ffff_f000
	exit, err := m.Run(c)
	for err == nil && exit.Kind == platform.ExitKick {
		exit, err = m.Run(c)
	}
	if err != nil || exit.Kind != platform.ExitSyscall || c.Regs.RAX != 4711 || c.Regs.RIP != codeVA+2 {
		t.Fatalf("%+v, %v, registers %+v", exit, err, c.Regs)
	}
	if c.FSBase != 0x1234_5678 || c.GSBase != 0x7fff_ffff_f000 {
		t.Errorf("FS base %#x, GS base %#x", c.FSBase, c.GSBase)
	}
	check("after a run")
}

// A kick from another goroutine ends a run whenever it comes.
func TestKick(t *testing.T) {
	m, c := newMachine(t, 0xeb, 0xfe) // jmp to itself
	if err := m.Timer(int64(30*time.Second), int64(time.Second)); err != nil {
		t.Fatal(err) // a lost kick fails the test rather than hang it
	}
	for i := range 200 {
		kicked := make(chan struct{})
		start := time.Now()
		go func() {
			time.Sleep(time.Duration(i%20) * 20 * time.Microsecond)
			m.Kick()
			close(kicked)
		}()
		exit, err := m.Run(c)
		if err != nil || exit.Kind != platform.ExitKick || c.Regs.RIP != codeVA {
			t.Fatalf("kick %d: %+v, %v at %#x", i, exit, err, c.Regs.RIP)
		}
		<-kicked
		if d := time.Since(start); d > 10*time.Second {
			t.Fatalf("kick %d was lost", i)
		}
	}
}

func TestTimer(t *testing.T) {
	m, c := newMachine(t, 0xeb, 0xfe)
	if err := m.Timer(int64(2*time.Millisecond), int64(2*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if exit, err := m.Run(c); err != nil || exit.Kind != platform.ExitKick {
			t.Fatalf("%+v, %v", exit, err)
		}
	}
}

func TestKickAfterClose(t *testing.T) {
	m, _ := newMachine(t, 0xf4)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m.Kick()
}

// An exception names its vector, its address and the instruction.
func TestExceptions(t *testing.T) {
	for _, c := range []struct {
		name   string
		code   []byte
		vector int
		addr   uint64
		rip    uint64
	}{
		{"undefined", []byte{0x0f, 0x0b}, x86.VecInvalidOp, 0, codeVA},
		{"divide", []byte{0x31, 0xc9, 0xf7, 0xf1}, x86.VecDivide, 0, codeVA + 2},
		{"breakpoint", []byte{0xcc}, x86.VecBreakpoint, 0, codeVA + 1},
		{"page", []byte{0x8a, 0x04, 0x25, 0x34, 0x12, 0, 0}, x86.VecPageFault, 0x1234, codeVA},
		{"supervisor page", []byte{0x48, 0xa1, 0, 0, 0xe0, 0xff, 0xff, 0x7f, 0, 0}, x86.VecPageFault, x86.ControlVA, codeVA},
		{"privileged", []byte{0xfa}, x86.VecProtection, 0, codeVA},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, ctx := newMachine(t, c.code...)
			ctx.Regs.RSP = 0x7000
			exit, err := m.Run(ctx)
			for err == nil && exit.Kind == platform.ExitKick {
				exit, err = m.Run(ctx)
			}
			if err != nil || exit.Kind != platform.ExitException || exit.Vector != c.vector || ctx.Regs.RIP != c.rip || ctx.Regs.RSP != 0x7000 {
				t.Fatalf("%+v, %v at %#x, stack %#x", exit, err, ctx.Regs.RIP, ctx.Regs.RSP)
			}
			if c.vector == x86.VecPageFault && (exit.Addr != c.addr || exit.ErrorCode&x86.FaultUser == 0) {
				t.Errorf("%+v", exit)
			}
		})
	}
}
