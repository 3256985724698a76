// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"errors"
	"testing"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/guestmem"
)

// newClone makes a clone of an address space that prepare has filled.
func newClone(t *testing.T, pages uint64, prepare func(m *MM)) (*MM, *Frozen, *guestmem.Image) {
	t.Helper()
	m := newMM(t, pages)
	prepare(m)
	z := m.Spaces().Freeze()
	img, err := m.Memory().Freeze()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() })
	mem, err := img.Clone()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mem.Close() })
	return z.Clone(mem, nil).Space(z, m), z, img
}

// verifyReset resets a clone and compares it with its image.
func verifyReset(t *testing.T, m *MM, z *Frozen, img *guestmem.Image) {
	t.Helper()
	if _, err := m.Spaces().Reset(z, nil); err != nil {
		t.Fatal(err)
	}
	if d := m.Spaces().Differences(z, img); len(d) > 0 {
		t.Errorf("%d pages differ after the reset, the first at %#x", len(d), d[0])
	}
}

// A program that changes the same mappings for ever does not fill the host's
// memory with what a reset would have to undo.
func TestJournalIsBounded(t *testing.T) {
	const base, pages = 0x1_0000_0000, 1024
	m, z, img := newClone(t, 4096, func(m *MM) {
		if errno := m.Map(VMA{Start: base, End: base + pages*pageSize, Prot: Read | Write}); errno != 0 {
			t.Fatal(errno)
		}
		for va := uint64(base); va < base+pages*pageSize; va += pageSize {
			if errno := m.CopyOut(va, []byte{byte(va >> 12), 1}); errno != 0 {
				t.Fatal(errno)
			}
		}
	})
	for round := range 3 {
		for range 200 {
			for _, p := range []Prot{Read, 0, Read | Write} {
				if errno := m.Protect(base, base+pages*pageSize, p); errno != 0 {
					t.Fatal(errno)
				}
			}
		}
		if n := cap(m.journal.log); n > 4*minPrune {
			t.Errorf("round %d: room for %d entries in the journal of %d pages", round, n, pages)
		}
		// What was pruned is undone too, whatever the last state.
		if round == 1 {
			m.Unmap(base, base+pages/2*pageSize)
		}
		if errno := m.CopyOut(base+(pages-1)*pageSize, []byte("mark")); errno != 0 {
			t.Fatal(errno)
		}
		verifyReset(t, m, z, img)
	}
}

// An event may need more page tables than a clone keeps for the next event. It
// has them; only the reset is refused then.
func TestCloneManyTables(t *testing.T) {
	const base, apart, n = 0x1_0000_0000, 1 << 30, 1500
	m, z, _ := newClone(t, 16384, func(*MM) {})
	for i := range uint64(n) {
		va := base + i*apart
		if errno := m.Map(VMA{Start: va, End: va + pageSize, Prot: Read | Write}); errno != 0 {
			t.Fatal(errno)
		}
		if errno := m.CopyOut(va, []byte{1}); errno != 0 || m.Err() != nil {
			t.Fatalf("mapping %d: %v, %v", i, errno, m.Err())
		}
	}
	if _, err := m.Spaces().Reset(z, nil); !errors.Is(err, guestmem.ErrTables) {
		t.Errorf("reset: %v", err)
	}
}

// To unmap the middle of a mapping makes one more, which counts as any other.
func TestUnmapMayNotSplitForEver(t *testing.T) {
	m := newMM(t, 1024)
	const base = 0x1_0000_0000
	end := uint64(base + 4*maxVMAs*pageSize)
	if errno := m.Map(VMA{Start: base, End: end}); errno != 0 {
		t.Fatal(errno)
	}
	made := 1
	for va := uint64(base + pageSize); va < end; va += 2 * pageSize {
		if errno := m.Unmap(va, va+pageSize); errno == abi.ENOMEM {
			break
		} else if errno != 0 {
			t.Fatal(errno)
		}
		made++
	}
	if made != maxVMAs || len(m.vmas) != maxVMAs {
		t.Errorf("%d mappings were made of one, %d are there; the limit is %d", made, len(m.vmas), maxVMAs)
	}
	if errno := m.Unmap(base, base+pageSize); errno != 0 { // a whole one
		t.Error(errno)
	}
}

// failingSource cannot be read.
type failingSource struct{}

func (failingSource) MapRead(int64, []byte) (int, abi.Errno) { return 0, abi.EIO }
func (failingSource) MapSize() int64                         { return 1 << 20 }
func (failingSource) MapShare()                              {}
func (failingSource) MapDrop()                               {}

// A file that cannot be read is SIGBUS, not the end of the program's memory.
func TestUnreadableFile(t *testing.T) {
	m := newMM(t, 1024)
	const base = 0x1_0000_0000
	if errno := m.Map(VMA{Start: base, End: base + 16*pageSize, Prot: Read, Src: failingSource{}}); errno != 0 {
		t.Fatal(errno)
	}
	used := m.Memory().Used()
	if k := m.Fault(base+4*pageSize, false, false); k != FaultBus || m.Err() != nil {
		t.Errorf("fault %d, error %v", k, m.Err())
	}
	if errno := m.CopyIn(base, make([]byte, 8)); errno != abi.EFAULT {
		t.Errorf("CopyIn: %v", errno)
	}
	if err := m.Poke(base, []byte{1}); !errors.Is(err, ErrNotMapped) {
		t.Errorf("Poke: %v", err)
	}
	if err := m.Poke(base-pageSize, []byte{1}); !errors.Is(err, ErrNotMapped) {
		t.Errorf("Poke beside it: %v", err)
	}
	if m.Memory().Used() != used {
		t.Errorf("%d pages used, before %d", m.Memory().Used(), used)
	}
}
