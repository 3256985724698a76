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

	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/internal/mm"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// dynELF returns a position-independent program that ends with status 7: its code
// at codeAt, and a segment that begins with the same bytes at each address of more.
// Addresses are relative to where it is loaded. With interp it names that dynamic
// linker.
func dynELF(codeAt uint64, interp string, more ...uint64) []byte {
	code := (&asm{}).exit(7).code
	le := binary.LittleEndian
	b := make([]byte, 0x1000, 0x2000)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 3)  // ET_DYN
	le.PutUint16(b[18:], 62) // EM_X86_64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], codeAt)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	n := 0
	header := func(kind, flags uint32, off, va, size uint64) {
		p := b[64+56*n:]
		le.PutUint32(p, kind)
		le.PutUint32(p[4:], flags)
		for j, v := range [...]uint64{off, va, va, size, size, 0x1000} {
			le.PutUint64(p[8+8*j:], v)
		}
		n++
	}
	if interp != "" {
		at := uint64(0x800)
		copy(b[at:], interp)
		header(3, 4, at, 0, uint64(len(interp))+1)
	}
	for _, va := range append([]uint64{codeAt}, more...) {
		header(1, 5, 0x1000, va, uint64(len(code)))
	}
	le.PutUint16(b[56:], uint16(n))
	return append(b, code...)
}

// A position-independent program may be linked at any address, but it lies where
// programs do: a segment must not come to replace the monitor's own pages in the
// guest, which run at privilege level 0.
func TestProgramPlace(t *testing.T) { onEach(t, testProgramPlace) }

func testProgramPlace(t *testing.T, h *vmexec.Host) {
	const page = 0x1000
	for _, c := range []struct {
		name   string
		elf    []byte
		refuse bool
	}{
		{"at_zero", dynELF(page, ""), false},
		{"linked_high", dynELF(0x7000_0000_0000, ""), false},
		{"linked_highest", dynELF(0x7ffd_0000_0000, ""), false},
		{"over_the_stub", dynELF(page, "", x86.ControlVA-mm.PIEBase), true},
		{"over_all_control_pages", dynELF(page, "", x86.ControlVA-mm.PIEBase, x86.ControlVA-mm.PIEBase+page, x86.ControlVA-mm.PIEBase+2*page), true},
		{"over_the_stack", dynELF(page, "", mm.StackTop-mm.PIEBase-page), true},
		{"beyond_user_memory", dynELF(page, "", 0x7ff0_0000_0000), true},
	} {
		t.Run(c.name, func(t *testing.T) { checkPlace(t, h, programOf(t, c.elf, nil), c.refuse) })
	}
	// The same for what a program names as its dynamic linker.
	for _, c := range []struct {
		name   string
		linker []byte
		refuse bool
	}{
		{"linker_at_zero", dynELF(page, ""), false},
		{"linker_linked_high", dynELF(0x7000_0000_0000, ""), false},
		{"linker_of_the_whole_space", dynELF(page, "", 0x7ff0_0000_0000), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, b := range map[string][]byte{"program": dynELF(page, "/linker"), "linker": c.linker} {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			root, err := vmexec.DirRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: "/program"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := errors.Join(p.Close(), root.Close()); err != nil {
					t.Error(err)
				}
			})
			checkPlace(t, h, p, c.refuse)
		})
	}
}

func checkPlace(t *testing.T, h *vmexec.Host, p *vmexec.Program, refuse bool) {
	t.Helper()
	if !refuse {
		if r := run(context.Background(), t, h, p, vmexec.Limits{}, vmexec.IO{}); r.Reason != vmexec.Exited || r.Status != 7 {
			t.Errorf("%s, status %d: %s", r.Reason, r.Status, r.Message)
		}
		return
	}
	vm, err := h.NewVM(p, vmexec.Limits{})
	if err == nil {
		_ = vm.Close()
	}
	var pe *vmexec.ProgramError
	if !errors.As(err, &pe) || !strings.Contains(err.Error(), "address space") {
		t.Errorf("%v; want a ProgramError about the address space", err)
	}
}
