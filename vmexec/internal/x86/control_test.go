// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package x86

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func buildControl() ([]byte, []Page) {
	mem := make([]byte, ControlSize())
	return mem, BuildControl(mem)
}

// descriptor is a segment descriptor as the SDM draws it: volume 3, section 3.4.5.
type descriptor struct {
	Base, Limit         uint64
	Type, DPL           byte
	Code, Present, L, D bool
}

func decodeDescriptor(v uint64) descriptor {
	d := descriptor{
		Base:  v>>16&0xff_ffff | v>>56<<24,
		Limit: v&0xffff | v>>48&0xf<<16,
		Type:  byte(v >> 40 & 0xf), DPL: byte(v >> 45 & 3),
		Code: v>>44&1 != 0, Present: v>>47&1 != 0, L: v>>53&1 != 0, D: v>>54&1 != 0,
	}
	if v>>55&1 != 0 {
		d.Limit = d.Limit<<12 | 0xfff
	}
	return d
}

func TestGDT(t *testing.T) {
	mem, _ := buildControl()
	entry := func(sel uint64) uint64 { return binary.LittleEndian.Uint64(mem[GDTBase-ControlVA+sel&^7:]) }
	const all = 0xffff_ffff
	want := map[uint64]descriptor{
		KernelCS:     {Limit: all, Type: 11, Code: true, Present: true, L: true},
		KernelCS + 8: {Limit: all, Type: 3, Code: true, Present: true, D: true},
		UserDS &^ 7:  {Limit: all, Type: 3, DPL: 3, Code: true, Present: true, D: true},
		UserCS &^ 7:  {Limit: all, Type: 11, DPL: 3, Code: true, Present: true, L: true},
		TSSSel:       {Base: TSSBase & all, Limit: TSSLimit, Type: 11, Present: true},
	}
	for sel := uint64(0); sel <= GDTLimit; sel += 8 {
		if sel == TSSSel+8 {
			if got := entry(sel); got != TSSBase>>32 {
				t.Errorf("upper half of the TSS descriptor: %#x", got)
			}
			continue
		}
		if d := cmp.Diff(want[sel], decodeDescriptor(entry(sel))); d != "" {
			t.Errorf("selector %#x (-want +got):\n%s", sel, d)
		}
	}
	// SYSCALL takes CS and SS from STAR, without looking at the table.
	if cs := STAR >> 32 & 0xffff; cs != KernelCS || GDTLimit != TSSSel+15 {
		t.Errorf("STAR %#x, GDT limit %#x", STAR, GDTLimit)
	}
}

func TestIDT(t *testing.T) {
	mem, pages := buildControl()
	if IDTLimit != 32*16-1 {
		t.Errorf("limit %#x", IDTLimit)
	}
	for v := range 32 {
		gate := mem[IDTBase-ControlVA+uint64(16*v):]
		lo, hi := binary.LittleEndian.Uint64(gate), binary.LittleEndian.Uint64(gate[8:])
		target := lo&0xffff | lo>>48<<16 | hi<<32
		dpl := uint64(0)
		if v == 3 || v == 4 {
			dpl = 3
		}
		// Present, 64-bit interrupt gate, first stack of the IST, kernel code.
		if got, want := lo>>16&0xffff_ffff, KernelCS|1<<16|(0x8e|dpl<<5)<<24; got != want || hi>>32 != 0 {
			t.Errorf("gate %d: %#x, want %#x", v, got, want)
		}
		if vector, ok := ExceptionStubAt(target); !ok || vector != v {
			t.Errorf("gate %d leads to %#x, which is stub %d (%v)", v, target, vector, ok)
		}
		if d := cmp.Diff([]byte{0xe6, byte(PortException + v), 0xf4}, mem[target-ControlVA:][:3]); d != "" {
			t.Errorf("stub %d (-want +got):\n%s", v, d)
		}
		if p := pages[(target-ControlVA)>>12]; p.Flags&(PTEUser|PTEWrite|PTENoExec|PTEPresent) != PTEUser|PTEPresent {
			t.Errorf("stub %d is in a page with flags %#x", v, p.Flags)
		}
	}
}

func TestExceptionStubAt(t *testing.T) {
	stubs := 0
	for rip := ControlVA; rip < ControlVA+ControlSize(); rip++ {
		if _, ok := ExceptionStubAt(rip); ok {
			stubs++
		}
	}
	if stubs != 32 {
		t.Errorf("%d addresses are stubs of exceptions, want 32", stubs)
	}
	for _, rip := range []uint64{0, ControlVA - 1, ControlVA, SyscallStubVA, SyscallStubVA - 1, TSCProbeVA, ^uint64(0)} {
		if v, ok := ExceptionStubAt(rip); ok {
			t.Errorf("%#x: %d", rip, v)
		}
	}
}

// The processor looks a port up in the bitmap that the TSS names, two bytes at a
// time, within the limit; SDM volume 1, section 19.5.2.
func TestTSS(t *testing.T) {
	mem, pages := buildControl()
	tss := mem[TSSBase-ControlVA:]
	le := binary.LittleEndian
	if rsp0 := le.Uint64(tss[4:]); rsp0 != ControlVA+stackTop || rsp0%16 != 0 {
		t.Errorf("RSP0 %#x", rsp0)
	}
	if p := pages[stackTop/4096-1]; p.Flags&PTEUser != 0 || p.Flags&PTEWrite == 0 {
		t.Errorf("the exception stack has flags %#x", p.Flags)
	}
	for i := 36; i < 92; i += 8 {
		want := uint64(0)
		if i == 36 {
			want = ControlVA + stackTop
		}
		if ist := le.Uint64(tss[i:]); ist != want {
			t.Errorf("IST at %d: %#x, want %#x", i, ist, want)
		}
	}
	bitmap := uint64(le.Uint16(tss[0x66:]))
	permitted := func(port, width uint64) bool {
		at := bitmap + port/8
		if at+1 > TSSLimit {
			return false
		}
		return le.Uint16(tss[at:])>>(port%8)&(1<<width-1) == 0
	}
	stub := func(p uint64) bool { return p == PortSyscall || p >= PortException && p < PortException+32 }
	for port := range uint64(0x1_0000) {
		for _, width := range []uint64{1, 2, 4} {
			want := true
			for p := port; p < port+width; p++ {
				want = want && stub(p)
			}
			if permitted(port, width) != want {
				t.Errorf("port %#x, %d bytes: permitted %v", port, width, !want)
			}
		}
	}
}

func TestPages(t *testing.T) {
	mem, pages := buildControl()
	if uint64(len(pages)) != ControlSize()/4096 || uint64(len(mem)) != VDSOVA-ControlVA+VDSOSize() {
		t.Fatalf("%d pages, %#x bytes", len(pages), len(mem))
	}
	type rights struct{ Present, Write, User, Exec bool }
	supervisor, data, code := rights{Present: true, Write: true}, rights{Present: true, User: true}, rights{Present: true, User: true, Exec: true}
	want := []rights{supervisor, {Present: true}, supervisor, supervisor, code, data, {Present: true, Write: true, User: true}}
	for i, p := range pages {
		w := code // the vDSO
		if i < len(want) {
			w = want[i]
		}
		got := rights{p.Flags&PTEPresent != 0, p.Flags&PTEWrite != 0, p.Flags&PTEUser != 0, p.Flags&PTENoExec == 0}
		if got != w {
			t.Errorf("page %d: %+v, want %+v", i, got, w)
		}
		if p.VA != ControlVA+uint64(i)*4096 || p.GPA != ControlGPA+uint64(i)*4096 || p.Flags&(PTEAccessed|PTEDirty) != PTEAccessed|PTEDirty || p.Flags&(PTEAddr|PTEOwned) != 0 {
			t.Errorf("page %d: %+v", i, p)
		}
	}
}

func TestReadFrame(t *testing.T) {
	mem, _ := buildControl()
	le := binary.LittleEndian
	// With an error code the frame has six words, the lowest of which is the code.
	for i, v := range []uint64{6, 5, 4, 3, 2, 1} {
		le.PutUint64(mem[stackTop-48+8*i:], v)
	}
	for v, code := range map[int]uint64{VecPageFault: 6, VecProtection: 6, VecDoubleFault: 6, VecAlignment: 6, VecDivide: 0, VecInvalidOp: 0, VecBreakpoint: 0} {
		want := Frame{ErrorCode: code, RIP: 5, CS: 4, RFLAGS: 3, RSP: 2}
		if d := cmp.Diff(want, ReadFrame(mem, v)); d != "" {
			t.Errorf("vector %d (-want +got):\n%s", v, d)
		}
	}
}

func TestHasErrorCode(t *testing.T) {
	with := map[int]bool{8: true, 10: true, 11: true, 12: true, 13: true, 14: true, 17: true, 21: true}
	for v := range 32 {
		if HasErrorCode(v) != with[v] {
			t.Errorf("vector %d: %v", v, !with[v])
		}
	}
}
