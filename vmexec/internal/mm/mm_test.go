// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"errors"
	"testing"
	"time"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/x86"
)

func newMM(t *testing.T, pages uint64) *MM {
	t.Helper()
	mem, err := guestmem.New(pages * pageSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mem.Close() })
	m, err := New(mem)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The control area is in every address space and belongs to none of its mappings.
func TestControlArea(t *testing.T) {
	m := newMM(t, 1024)
	for va := x86.ControlVA; va < x86.ControlVA+x86.ControlSize(); va += pageSize {
		if errno := m.CopyIn(va, make([]byte, 1)); errno != abi.EFAULT {
			t.Errorf("CopyIn at %#x: %v", va, errno)
		}
		if errno := m.CopyOut(va, make([]byte, 1)); errno != abi.EFAULT {
			t.Errorf("CopyOut at %#x: %v", va, errno)
		}
		if k := m.Fault(va, false, false); k != FaultUnmapped {
			t.Errorf("Fault at %#x: %d", va, k)
		}
	}
	for _, va := range []uint64{0, x86.UserEnd - 1, 1 << 47, 1 << 63, ^uint64(0), ^uint64(0) - pageSize} {
		if b, errno := m.Buffers(va, 1<<40, true); errno != abi.EFAULT || b != nil {
			t.Errorf("Buffers at %#x: %v, %v", va, b, errno)
		}
		if _, errno := m.Physical(va); errno != abi.EFAULT {
			t.Errorf("Physical at %#x: %v", va, errno)
		}
		if _, errno := m.CopyInString(va, 100); errno != abi.EFAULT {
			t.Errorf("CopyInString at %#x: %v", va, errno)
		}
	}
}

func TestFindHole(t *testing.T) {
	m := newMM(t, 1024)
	all := uint64(MmapTop - MinVA)
	for _, c := range []struct {
		name          string
		hint, n, want uint64
	}{
		{"none", 0, pageSize, MmapTop - pageSize},
		{"hint", 0x1234_5678, pageSize, 0x1234_5000},
		{"hint too low", pageSize, pageSize, MmapTop - pageSize},
		{"hint in the control area", x86.ControlVA, pageSize, MmapTop - pageSize},
		{"hint that reaches it", x86.ControlVA - pageSize, 2 * pageSize, MmapTop - 2*pageSize},
		{"hint that wraps", ^uint64(0), pageSize, MmapTop - pageSize},
		{"all", 0, all, MinVA},
		{"more than all", 0, all + pageSize, 0},
		{"much more", 0, 1 << 63, 0},
		{"most", 0, ^uint64(0) &^ 0xfff, 0},
	} {
		if got := m.FindHole(c.hint, c.n); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
	// One that straddles the top, one below with a gap between.
	for _, v := range []VMA{{Start: MmapTop - pageSize, End: MmapTop + pageSize}, {Start: MmapTop - 4*pageSize, End: MmapTop - 3*pageSize}} {
		if errno := m.Map(v); errno != 0 {
			t.Fatal(errno)
		}
	}
	if got := m.FindHole(0, 2*pageSize); got != MmapTop-3*pageSize {
		t.Errorf("the gap: %#x", got)
	}
	if got := m.FindHole(0, 3*pageSize); got != MmapTop-7*pageSize {
		t.Errorf("below: %#x", got)
	}
}

// A program may have tens of thousands of mappings; what it does to all of them
// at once must not hold up the monitor for long.
func TestManyMappings(t *testing.T) {
	m := newMM(t, 1<<14)
	const base = 0x1_0000_0000
	var sources []*fakeSource
	for i := range uint64(maxVMAs) {
		s := &fakeSource{t: t}
		sources = append(sources, s)
		if errno := m.Map(VMA{Start: base + i*pageSize, End: base + (i+1)*pageSize, Src: s}); errno != 0 {
			t.Fatalf("mapping %d: %v", i, errno)
		}
	}
	extra := &fakeSource{t: t}
	if errno := m.Map(VMA{Start: MinVA, End: MinVA + pageSize, Src: extra}); errno != abi.ENOMEM || !extra.dropped {
		t.Errorf("one mapping too many: %v, dropped %v", errno, extra.dropped)
	}
	if errno := m.Protect(base, base+pageSize, Read); errno != abi.ENOMEM {
		t.Errorf("mprotect that may split: %v", errno)
	}
	m.Unmap(base, base+16*pageSize)
	start := time.Now()
	if errno := m.Protect(base+16*pageSize, base+maxVMAs*pageSize, Read); errno != 0 {
		t.Errorf("mprotect: %v", errno)
	}
	m.Unmap(base, base+maxVMAs/2*pageSize)
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("mprotect and munmap of all took %v", d)
	}
	for i, s := range sources {
		if s.dropped != (i < maxVMAs/2) {
			t.Fatalf("source %d: dropped %v", i, s.dropped)
		}
	}
}

// Pages that were given for faults are not taken back before the instruction
// that needs them all has run.
func TestFaultsKeepTheirPages(t *testing.T) {
	m := newMM(t, 64)
	const base = 0x1_0000_0000
	if errno := m.Map(VMA{Start: base, End: base + 512*pageSize, Prot: Read | Write}); errno != 0 {
		t.Fatal(errno)
	}
	served := uint64(0)
	for ; m.Fault(base+served*pageSize, true, false) == FaultServed; served++ {
		for i := range served {
			if m.leaf(base+i*pageSize)&x86.PTEPresent == 0 && i > m.mem.Limit()/2 {
				t.Fatalf("page %d was taken for page %d", i, served)
			}
		}
	}
	if !errors.Is(m.Err(), guestmem.ErrLimit) || served < 20 {
		t.Errorf("%d faults served, then %v", served, m.Err())
	}
}

// What was mapped ahead and has no host memory behind it does not count as what
// a program needs.
func TestReclaim(t *testing.T) {
	m := newMM(t, 512)
	const base = 0x1_0000_0000
	n := uint64(0)
	for ; m.mem.Used() < m.mem.Limit()-8; n++ { // pages that are never touched
		if errno := m.Map(VMA{Start: base + 2*n*pageSize, End: base + (2*n+1)*pageSize, Prot: Read | Write}); errno != 0 {
			t.Fatal(errno)
		}
		v := m.find(base + 2*n*pageSize)
		if !m.populate(v, v.Start, v.End, v.Start) {
			t.Fatal(m.Err())
		}
	}
	const data = 0x2_0000_0000
	if errno := m.Map(VMA{Start: data, End: data + 400*pageSize, Prot: Read | Write}); errno != 0 {
		t.Fatal(errno)
	}
	bufs, errno := m.Buffers(data, 200*pageSize, true)
	if errno != 0 || m.Err() != nil {
		t.Fatalf("%v, %v", errno, m.Err())
	}
	seen := map[*byte]bool{}
	total := 0
	for _, b := range bufs {
		total += len(b)
		for i := 0; i < len(b); i += pageSize {
			if seen[&b[i]] {
				t.Fatal("a page was handed out twice")
			}
			seen[&b[i]] = true
		}
	}
	if total != 200*pageSize {
		t.Errorf("%d bytes", total)
	}
}
