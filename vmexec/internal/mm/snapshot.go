// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"errors"
	"fmt"
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

// Frozen is the address spaces of a snapshot. It is not changed any more and may
// be used by several goroutines.
type Frozen struct {
	spaces  []frozenSpace
	control uint64
	lastID  uint64
	holders []uint32
	tables  map[uint64]bool // guest physical addresses
}

type frozenSpace struct {
	m      *MM // for its root, number and users, which do not change
	brk    uint64
	vmas   []VMA
	faults uint64
}

// Freeze returns the state of the address spaces; their memory is frozen by
// guestmem. They are not to be used any more.
func (s *Spaces) Freeze() *Frozen {
	z := &Frozen{control: s.control, lastID: s.lastID, holders: slices.Clone(s.holders), tables: map[uint64]bool{s.control: true}}
	for _, m := range s.list {
		z.spaces = append(z.spaces, frozenSpace{m: m, brk: m.brk, vmas: slices.Clone(m.vmas), faults: m.Faults})
		for _, gpa := range m.tables {
			z.tables[gpa] = true
		}
	}
	return z
}

// Clone makes the address spaces on a clone of the memory. translate returns the
// clone's source of a mapping for a frozen one that is no Object.
func (z *Frozen) Clone(mem *guestmem.Memory, translate func(Source) Source) *Spaces {
	s := &Spaces{mem: mem, control: z.control, first: make([]*MM, len(z.spaces))}
	for i, f := range z.spaces {
		s.first[i] = &MM{s: s, mem: mem, id: f.m.id, root: f.m.root, journal: &journal{}}
	}
	s.changed = true
	s.restore(z, translate)
	return s
}

// Space returns the copy of a frozen address space in a clone of z.
func (s *Spaces) Space(z *Frozen, frozen *MM) *MM {
	for i := range z.spaces {
		if z.spaces[i].m == frozen {
			return s.first[i]
		}
	}
	return nil
}

func (s *Spaces) restore(z *Frozen, translate func(Source) Source) {
	objects := map[*Object]*Object{}
	copyOf := func(src Source) Source {
		o, ok := src.(*Object)
		if !ok {
			return translate(src)
		}
		if objects[o] == nil {
			objects[o] = o.clone(s, translate)
		}
		return objects[o]
	}
	s.list = append(s.list[:0], s.first...)
	for i, m := range s.first {
		f := &z.spaces[i]
		m.vmas = append(m.vmas[:0], f.vmas...)
		for j := range m.vmas {
			if src := m.vmas[j].Src; src != nil {
				m.vmas[j].Src = copyOf(src)
			}
		}
		m.brkStart, m.brk, m.Faults, m.users = f.m.brkStart, f.brk, f.faults, f.m.users
		m.window, m.wStart, m.wEnd = 0, 0, 0
	}
	if s.changed {
		s.holders, s.changed = append(s.holders[:0], z.holders...), false
	}
	s.lastID, s.err = z.lastID, nil
}

// SetWipe changes whether [a,b) is empty in clones and forked children;
// madvise(MADV_WIPEONFORK). Errors: ENOMEM when a part is not mapped, EINVAL when
// a part is no private anonymous memory.
func (m *MM) SetWipe(a, b uint64, on bool) abi.Errno {
	return m.advise(a, b, func(v *VMA) bool {
		if v.Src != nil {
			return false
		}
		v.Wipe = on
		return true
	})
}

// SetNoFork changes whether forked children have [a,b); madvise(MADV_DONTFORK).
// Errors: ENOMEM when a part is not mapped.
func (m *MM) SetNoFork(a, b uint64, on bool) abi.Errno {
	return m.advise(a, b, func(v *VMA) bool {
		v.NoFork = on
		return true
	})
}

// advise changes the mappings of [a,b). The error is EINVAL when set refuses one,
// ENOMEM when a part is not mapped.
func (m *MM) advise(a, b uint64, set func(v *VMA) bool) abi.Errno {
	if !m.covered(a, b) || len(m.vmas)+2 > maxVMAs {
		return abi.ENOMEM
	}
	parts := m.cut(a, b)
	if len(parts) == 0 {
		return 0
	}
	var errno abi.Errno
	for i := range parts {
		if !set(&parts[i]) {
			errno = abi.EINVAL
		}
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
// memory. Address spaces that came later are gone with their memory.
func (s *Spaces) Reset(z *Frozen, translate func(Source) Source) (guestmem.ResetStats, error) {
	if s.gone != nil {
		for _, m := range s.list {
			if m.temporary {
				s.gone(m.root)
			}
		}
	}
	end := s.mem.ImageEnd()
	var stale []guestmem.Run
	for _, m := range s.first {
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
	}
	if err := s.mem.Invalidate(stale); err != nil {
		return guestmem.ResetStats{}, err
	}
	st, err := s.mem.Reset(z.kept)
	s.restore(z, translate)
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
func (s *Spaces) Differences(z *Frozen, img *guestmem.Image) []uint64 {
	out := s.mem.Differences(z.kept)
	for gpa := range z.tables {
		for i, e := range s.mem.Words(gpa) {
			old := img.Word(gpa + uint64(8*i))
			// Whether the processor has used a page is no state of the program.
			const marks = x86.PTEAccessed | x86.PTEDirty
			if e|marks != old|marks && (old != 0 || e&x86.PTEOwned != 0 || !s.emptyTable(e&x86.PTEAddr)) {
				out = append(out, gpa)
				break
			}
		}
	}
	return out
}

// emptyTable reports whether a page table, with those below it, has no leaf.
func (s *Spaces) emptyTable(gpa uint64) bool {
	for _, e := range s.mem.Words(gpa) {
		if e != 0 && (e&x86.PTEOwned != 0 || !s.emptyTable(e&x86.PTEAddr)) {
			return false
		}
	}
	return true
}

// Wiped reports whether the page at gpa belongs to a mapping that Wipe empties.
func (s *Spaces) Wiped(gpa uint64) bool {
	found := false
	for _, m := range s.list {
		for i := range m.vmas {
			if v := &m.vmas[i]; v.Wipe {
				m.each(v.Start, v.End, func(_ uint64, e *uint64) { found = found || *e&x86.PTEAddr == gpa })
			}
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
// they are. With a group of more than 1 also of what lies beside pages that are
// used: where several of a group of that many pages are, those from the first of the
// group to the first that is not there.
func (m *MM) Break(pages []uint64, group uint64) {
	var runs []guestmem.Run
	for i := 0; i < len(pages); {
		first := pages[i] &^ 1
		if group > 1 {
			first -= first % (group * pageSize)
		}
		n := 1
		for i+n < len(pages) && pages[i+n] < first+group*pageSize {
			n++
		}
		own := first // end of what all of the group's pages get
		for own < first+group*pageSize && n > 1 && m.present(own) {
			own += pageSize
		}
		for va := first; va < own; va += pageSize {
			runs = guestmem.AddPage(runs, m.leaf(va)&x86.PTEAddr)
		}
		for _, va := range pages[i : i+n] {
			if va&1 != 0 && va >= own && m.present(va&^1) {
				runs = guestmem.AddPage(runs, m.leaf(va&^1)&x86.PTEAddr)
			}
		}
		i += n
	}
	m.prefault(runs)
}

// present reports whether the page at va is one of the clone's image.
func (m *MM) present(va uint64) bool {
	e := m.leaf(va)
	return e&x86.PTEPresent != 0 && e&x86.PTEAddr < m.mem.ImageEnd()
}

// SnapshotTypes returns a value of each type of this package that interfaces in a
// frozen program may hold, for the snapshot on disk.
func SnapshotTypes() []any { return []any{(*Object)(nil)} }

// Check looks whether address spaces that were read from disk fit their memory: it
// has all pages that they tell of. The error says what does not.
func (z *Frozen) Check(img *guestmem.Image) error {
	size := img.Size()
	holds := func(gpa uint64) bool { return gpa%pageSize == 0 && gpa < size }
	if size < x86.ControlSize() || !holds(z.control) || len(z.spaces) == 0 || uint64(len(z.holders)) > size/pageSize {
		return errors.New("there is no control area, or no address space")
	}
	for gpa := range z.tables {
		if !holds(gpa) {
			return fmt.Errorf("a page table at %#x is outside the memory", gpa)
		}
	}
	seen := map[uint64]bool{}
	for _, f := range z.spaces {
		if f.m == nil || !z.tables[f.m.root] {
			return errors.New("an address space has no page table")
		}
		if err := z.checkTable(img, f.m.root, tableLevels, seen); err != nil {
			return err
		}
		last := uint64(0)
		for i := range f.vmas {
			v := &f.vmas[i]
			if v.Start < last || v.End <= v.Start || v.End > userTop || (v.Start|v.End|v.Off)%pageSize != 0 {
				return fmt.Errorf("the mapping from %#x to %#x makes no sense", v.Start, v.End)
			}
			last = v.End
			if o, ok := v.Src.(*Object); ok {
				for _, gpa := range o.pages {
					if !holds(gpa) {
						return fmt.Errorf("a shared page at %#x is outside the memory", gpa)
					}
				}
			}
		}
	}
	return nil
}

// tableLevels is how many page tables lie over each other, and userTop the end of
// the addresses that they tell of for programs.
const (
	tableLevels = 4
	userTop     = uint64(1) << 47
)

// checkTable checks a table and those below it, each once on a level.
func (z *Frozen) checkTable(img *guestmem.Image, table uint64, level int, seen map[uint64]bool) error {
	id := table | uint64(level)
	if seen[id] {
		return nil
	}
	seen[id] = true
	for i := uint64(0); i < 512; i++ {
		e := img.Word(table + 8*i)
		gpa := e & x86.PTEAddr
		switch {
		case e == 0:
		case gpa >= img.Size():
			return fmt.Errorf("the page table at %#x leads outside the memory", table)
		case level == 1:
		case !z.tables[gpa]:
			return fmt.Errorf("the page table at %#x leads to one that is unknown", table)
		default:
			if err := z.checkTable(img, gpa, level-1, seen); err != nil {
				return err
			}
		}
	}
	return nil
}
