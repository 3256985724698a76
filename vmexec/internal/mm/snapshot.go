// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"slices"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// undo is the value of a leaf entry before a change.
type undo struct {
	entry *uint64
	old   uint64
}

// journal is what was changed since the last reset, in order.
type journal struct {
	log    []undo
	prunes int // length at which it is pruned; 0: minPrune
}

// minPrune is the least length at which a journal is pruned.
const minPrune = 1 << 16

// add notes the present value of an entry that is about to change.
func (j *journal) add(e *uint64) {
	if len(j.log) >= max(j.prunes, minPrune) {
		j.prune()
	}
	j.log = append(j.log, undo{e, *e})
}

// prune keeps the first value of each entry, which is what counts in the end. A
// program that changes the same mappings over and over would fill the host's
// memory otherwise; so it is bounded by the page tables there are.
func (j *journal) prune() {
	seen := make(map[*uint64]bool, minPrune)
	kept := j.log[:0]
	for _, u := range j.log {
		if !seen[u.entry] {
			seen[u.entry] = true
			kept = append(kept, u)
		}
	}
	j.log, j.prunes = kept, 2*len(kept)
}

// reset empties the journal, and gives back what only an unusual event needs.
func (j *journal) reset() {
	if cap(j.log) > minPrune {
		j.log = nil
	}
	j.log, j.prunes = j.log[:0], 0
}

// Frozen is the address space of a snapshot. It is not changed any more and may
// be used by several goroutines.
type Frozen struct {
	root, brkStart, brk uint64
	vmas                []VMA
	tables              map[uint64]bool // guest physical addresses
	faults              uint64
}

// Freeze returns the state of the address space; its memory is frozen by
// guestmem. The address space is not to be used any more.
func (m *MM) Freeze() *Frozen {
	z := &Frozen{root: m.root, brkStart: m.brkStart, brk: m.brk, vmas: slices.Clone(m.vmas), tables: map[uint64]bool{}, faults: m.Faults}
	for _, gpa := range m.tables {
		z.tables[gpa] = true
	}
	return z
}

// Root returns the guest physical address of the top page table.
func (z *Frozen) Root() uint64 { return z.root }

// Clone makes an address space on a clone of the memory. translate returns the
// clone's source of a mapping for a frozen one.
func (z *Frozen) Clone(mem *guestmem.Memory, translate func(Source) Source) *MM {
	m := &MM{mem: mem, root: z.root, journal: &journal{}}
	m.restore(z, translate)
	return m
}

func (m *MM) restore(z *Frozen, translate func(Source) Source) {
	m.vmas = append(m.vmas[:0], z.vmas...)
	for i := range m.vmas {
		if src := m.vmas[i].Src; src != nil {
			m.vmas[i].Src = translate(src)
		}
	}
	m.brkStart, m.brk, m.Faults = z.brkStart, z.brk, z.faults
	m.window, m.wStart, m.wEnd = 0, 0, 0
	m.err = nil
}

// SetWipe changes whether [a,b) is empty in clones; madvise(MADV_WIPEONFORK).
// Errors: ENOMEM when a part is not mapped, EINVAL when a part is no anonymous
// memory.
func (m *MM) SetWipe(a, b uint64, on bool) abi.Errno {
	if !m.covered(a, b) || len(m.vmas)+2 > maxVMAs {
		return abi.ENOMEM
	}
	parts := m.cut(a, b)
	if len(parts) == 0 {
		return 0
	}
	var errno abi.Errno
	for i := range parts {
		if parts[i].Src != nil {
			errno = abi.EINVAL
			continue
		}
		parts[i].Wipe = on
	}
	m.insert(parts...)
	return errno
}

// Wipe empties the mappings that a fork must not inherit the contents of
// (MADV_WIPEONFORK): to its libraries a clone is a fork.
func (m *MM) Wipe() {
	for i := range m.vmas {
		if v := m.vmas[i]; v.Wipe {
			m.Discard(v.Start, v.End)
		}
	}
}

// Reset undoes everything since the clone was made: mappings, page tables and
// memory.
func (m *MM) Reset(z *Frozen, translate func(Source) Source) (guestmem.ResetStats, error) {
	end := m.mem.ImageEnd()
	var stale []guestmem.Run
	log := m.journal.log
	for i := len(log) - 1; i >= 0; i-- {
		u := log[i]
		// What lies beyond the image is dropped as a whole, translations included.
		if gpa := *u.entry & x86.PTEAddr; loses(*u.entry, u.old) && gpa < end {
			stale = guestmem.AddPage(stale, gpa)
		}
		*u.entry = u.old
	}
	m.journal.reset()
	if err := m.mem.Invalidate(stale); err != nil {
		return guestmem.ResetStats{}, err
	}
	st, err := m.mem.Reset(z.kept)
	m.restore(z, translate)
	return st, err
}

// kept reports whether a page of the image is not restored from it: the page
// tables, whose leaf entries are undone one by one, and the clock page, which is
// written anew for each run.
func (z *Frozen) kept(gpa uint64) bool { return gpa == x86.ClockGPA || z.tables[gpa] }

// Differences returns the guest physical addresses of the pages in which the
// memory of a clone that was reset differs from its snapshot, page tables
// included: a check for tests. A table may have entries for lower tables that
// came into being later; they are empty then.
func (m *MM) Differences(z *Frozen, img *guestmem.Image) []uint64 {
	out := m.mem.Differences(z.kept)
	for gpa := range z.tables {
		for i, e := range m.mem.Words(gpa) {
			old := img.Word(gpa + uint64(8*i))
			// Whether the processor has used a page is no state of the program.
			const marks = x86.PTEAccessed | x86.PTEDirty
			if e|marks != old|marks && (old != 0 || e&x86.PTEOwned != 0 || !m.emptyTable(e&x86.PTEAddr)) {
				out = append(out, gpa)
				break
			}
		}
	}
	return out
}

// emptyTable reports whether a page table, with those below it, has no leaf.
func (m *MM) emptyTable(gpa uint64) bool {
	for _, e := range m.mem.Words(gpa) {
		if e != 0 && (e&x86.PTEOwned != 0 || !m.emptyTable(e&x86.PTEAddr)) {
			return false
		}
	}
	return true
}

// Wiped reports whether the page at gpa belongs to a mapping that Wipe empties.
func (m *MM) Wiped(gpa uint64) bool {
	found := false
	for i := range m.vmas {
		if v := &m.vmas[i]; v.Wipe {
			m.each(v.Start, v.End, func(_ uint64, e *uint64) { found = found || *e&x86.PTEAddr == gpa })
		}
	}
	return found
}

// Watch begins to learn which pages of its image a clone uses: the processor
// marks the entries of pages that it uses. It is called before the clone runs.
func (m *MM) Watch() {
	for i := range m.vmas {
		m.each(m.vmas[i].Start, m.vmas[i].End, func(_ uint64, e *uint64) { *e &^= x86.PTEAccessed | x86.PTEDirty })
	}
}

// Watched ends Watch and returns the pages that were used, by virtual address
// with bit 0 set for those that were written; only pages of the image that are
// where they were at first.
func (m *MM) Watched() []uint64 {
	const marks = x86.PTEAccessed | x86.PTEDirty
	moved := map[*uint64]bool{}
	for i := range m.journal.log {
		u := &m.journal.log[i]
		moved[u.entry] = true
		if u.old&x86.PTEOwned != 0 {
			u.old |= marks
		}
	}
	end := m.mem.ImageEnd()
	var used []uint64
	for i := range m.vmas {
		m.each(m.vmas[i].Start, m.vmas[i].End, func(va uint64, e *uint64) {
			if *e&x86.PTEAccessed != 0 && *e&x86.PTEPresent != 0 && *e&x86.PTEAddr < end && !moved[e] {
				if *e&x86.PTEDirty != 0 {
					va |= 1
				}
				used = append(used, va)
			}
			*e |= marks
		})
	}
	return used
}

// Break gives the clone copies of its own of the pages that are written, before
// they are.
func (m *MM) Break(pages []uint64) {
	var runs []guestmem.Run
	for _, va := range pages {
		if e := m.leaf(va &^ 1); va&1 != 0 && e&x86.PTEPresent != 0 {
			runs = guestmem.AddPage(runs, e&x86.PTEAddr)
		}
	}
	m.prefault(runs)
}
