// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package mm is the virtual memory of one guest process: its mappings and the
// 4 KiB page tables that carry them out. The tables live in guest memory and are
// edited by the host while the processor is stopped, so a fault of the guest
// always has its exact address and kind.
//
// Adding a right is a write to the entry. Taking one away, or changing the
// page, also needs the platform to drop what it derived from the old entry:
// guestmem does that through the host mapping of the page.
package mm

import (
	"fmt"
	"slices"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// The layout of the address space.
const (
	MinVA    = 0x1_0000         // the lowest address that can be mapped, as vm.mmap_min_addr
	PIEBase  = 0x5555_5555_4000 // where position independent programs are loaded
	StackTop = 0x7fff_ff00_0000
	MmapTop  = 0x7fff_f000_0000 // mappings without an address go downwards from here

	// maxVMAs bounds the mappings of a process, as vm.max_map_count.
	maxVMAs = 65530

	// eager is the largest mapping whose first pages are given at once: what is
	// larger is often a reservation.
	eager = tableSpan
	// The window around a fault that gets pages, and host memory behind them,
	// begins small and grows while faults follow each other through memory: a
	// page that the host prepares in advance costs a fraction of one that the
	// guest's touch makes it prepare, but one that is never used is lost.
	firstWindow = 16 * pageSize
	lastWindow  = tableSpan
)

// MM is the address space of one process, or of several that share it. It
// belongs to the VM's run loop. The zero value is that of a process that has ended:
// nothing is mapped, and nothing may be.
type MM struct {
	s     *Spaces
	mem   *guestmem.Memory
	id    uint64 // as the owner of futexes
	users int    // processes
	root  uint64 // guest physical address of the top table
	vmas  []VMA  `snapshot:"-"` // a frozenSpace has them

	brkStart, brk uint64

	window       uint64         // size of the last fault's window
	wStart, wEnd uint64         // and where it was
	fresh        []guestmem.Run `snapshot:"-"` // pages that the last populate gave

	tables    []uint64 `snapshot:"-"` // in Frozen. Guest physical addresses of the page tables that are its own
	temporary bool     // the tables are freed with it
	journal   *journal `snapshot:"-"` // what Reset undoes; nil when it is not of a snapshot

	touched byte // keeps the reads of at alive

	// Faults counts the faults that were served by mapping pages.
	Faults uint64
}

// Root returns the guest physical address of the top page table (CR3).
func (m *MM) Root() uint64 { return m.root }

// Memory returns the guest memory behind the address space.
func (m *MM) Memory() *guestmem.Memory { return m.mem }

// Spaces returns what the address space shares with the VM's others.
func (m *MM) Spaces() *Spaces { return m.s }

// Control returns the control area.
func (m *MM) Control() []byte { return m.mem.Bytes(x86.ControlGPA, x86.ControlSize()) }

// Err is Spaces.Err.
func (m *MM) Err() error { return m.s.err }

func (m *MM) fail(err error) { m.s.fail(err) }

func (m *MM) noMemory() error { return m.s.noMemory() }

func (m *MM) alloc() (uint64, bool) { return m.s.alloc(m.mem.Alloc) }

// reclaim is the part of Spaces.reclaim in one address space. It reports false
// when the host failed.
func (m *MM) reclaim() bool {
	var freed []guestmem.Run
	for i := range m.vmas {
		v := &m.vmas[i]
		if v.Src != nil {
			continue
		}
		type page struct {
			gpa uint64
			e   *uint64
		}
		var pages []page
		m.each(v.Start, v.End, func(_ uint64, e *uint64) { pages = append(pages, page{*e & x86.PTEAddr, e}) })
		for len(pages) > 0 {
			n := 1
			for n < len(pages) && pages[n].gpa == pages[n-1].gpa+pageSize {
				n++
			}
			res, err := m.mem.Resident(guestmem.Run{Start: pages[0].gpa, End: pages[n-1].gpa + pageSize})
			if err != nil {
				m.fail(err)
				return false
			}
			for j, there := range res {
				if !there {
					m.set(pages[j].e, 0)
					// A translation of a page that others hold stays: it reads zeros
					// until somebody writes, and that is a fault.
					if m.s.release(pages[j].gpa) {
						freed = guestmem.AddPage(freed, pages[j].gpa)
					}
				}
			}
			pages = pages[n:]
		}
	}
	m.fail(m.mem.Free(freed))
	return m.s.err == nil
}

// populate gives pages to the part [a,b) of v that has none. It reports false
// when there was no memory for the page at must; the others are a service. It ends at
// the first page that the file cannot give, as at the end of the file.
func (m *MM) populate(v *VMA, a, b, must uint64) bool {
	m.fresh = m.fresh[:0]
	flags, shared := leafFlags(v.Prot), v.Shared()
	limit := b
	if v.Src != nil {
		// Pages wholly past the end of the file do not exist (SIGBUS).
		size := (uint64(max(v.Src.MapSize(), 0)) + pageSize - 1) &^ (pageSize - 1)
		if size <= v.Off {
			return true
		}
		limit = min(b, v.Start+(size-v.Off))
	}
	for va := a; va < limit; {
		end := min(limit, (va+tableSpan)&^(tableSpan-1))
		t := m.table(va, true)
		if t == nil {
			return false
		}
		for ; va < end; va += pageSize {
			e := &t[va>>12&511]
			if *e != 0 {
				continue
			}
			var gpa uint64
			var ok bool
			if shared != nil {
				var errno abi.Errno
				if gpa, ok, errno = shared.page(m, (v.Off+(va-v.Start))/pageSize); errno != 0 {
					return true
				}
			} else {
				gpa, ok = m.alloc()
			}
			if !ok {
				// alloc may have reclaimed entries of this very table, but
				// never the one that must be there.
				return m.leaf(must)&x86.PTEOwned != 0
			}
			if v.Src != nil && shared == nil {
				if _, errno := v.Src.MapRead(int64(v.Off+(va-v.Start)), m.mem.Page(gpa)); errno != 0 {
					m.fail(m.mem.Free([]guestmem.Run{{Start: gpa, End: gpa + pageSize}}))
					return true
				}
			}
			m.set(e, gpa|flags)
			m.fresh = guestmem.AddPage(m.fresh, gpa)
		}
	}
	return true
}

// FaultKind is what a page fault of the guest comes to.
type FaultKind uint8

const (
	// FaultServed: the page is there now; run the instruction again.
	FaultServed FaultKind = iota
	// FaultUnmapped: nothing is mapped there (SEGV_MAPERR).
	FaultUnmapped
	// FaultAccess: the mapping does not permit the access (SEGV_ACCERR).
	FaultAccess
	// FaultBus: past the end of the mapped file, or it cannot be read (BUS_ADRERR).
	FaultBus
	// FaultMemory: the VM has no memory left; see Err.
	FaultMemory
)

// Fault serves a page fault of user code at va.
func (m *MM) Fault(va uint64, write, exec bool) FaultKind {
	v := m.find(va)
	switch {
	case v == nil:
		return FaultUnmapped
	case v.Prot == 0, write && v.Prot&Write == 0, exec && v.Prot&Exec == 0:
		return FaultAccess
	}
	page := va &^ (pageSize - 1)
	if m.leaf(page)&x86.PTEOwned == 0 {
		// The page itself first: when memory is short, only it counts.
		if !m.populate(v, page, page+pageSize, page) {
			m.fail(guestmem.ErrLimit)
			return FaultMemory
		}
		if m.leaf(page)&x86.PTEOwned == 0 {
			return FaultBus
		}
		if m.plenty() {
			m.faultAround(v, page)
		} else {
			// An instruction may need several pages that are not there: reclaim
			// must not take this one for the next before it was run again.
			m.touched ^= m.mem.Page(m.leaf(page) & x86.PTEAddr)[0]
		}
		m.Faults++
	}
	if write && m.leaf(page)&x86.PTEWrite == 0 {
		if !m.own(v, page) {
			m.fail(guestmem.ErrLimit)
			return FaultMemory
		}
		m.Faults++
	}
	return FaultServed
}

// own makes the page at va, which is there, the address space's alone and as
// its mapping says. It reports false when there was no memory.
func (m *MM) own(v *VMA, va uint64) bool {
	e := &m.table(va, false)[va>>12&511]
	if gpa := *e & x86.PTEAddr; v.Shared() == nil && m.s.held(gpa) {
		now, ok := m.alloc()
		if !ok {
			return false
		}
		if *e&x86.PTEOwned != 0 { // or it was reclaimed: zeros
			copy(m.mem.Page(now), m.mem.Page(gpa))
			if m.s.release(gpa) { // reclaimed everywhere else
				m.fail(m.mem.Free([]guestmem.Run{{Start: gpa, End: gpa + pageSize}}))
			}
		}
		m.set(e, now|leafFlags(v.Prot))
		return m.stale(gpa)
	}
	m.set(e, *e&x86.PTEAddr|leafFlags(v.Prot))
	return true
}

// stale makes the platform forget how it maps a page.
func (m *MM) stale(gpa uint64) bool {
	m.fail(m.mem.Invalidate([]guestmem.Run{{Start: gpa, End: gpa + pageSize}}))
	return m.s.err == nil
}

// faultAround gives pages to the window around a fault.
func (m *MM) faultAround(v *VMA, page uint64) {
	if page == m.wEnd || page+pageSize == m.wStart {
		m.window = min(4*m.window, lastWindow)
	} else {
		m.window = firstWindow
	}
	m.wStart = max(v.Start, page&^(m.window-1))
	m.wEnd = min(v.End, page&^(m.window-1)+m.window)
	m.prefault(m.fresh)
	m.populate(v, m.wStart, m.wEnd, page)
	m.prefault(m.fresh)
}

func (m *MM) prefault(runs []guestmem.Run) {
	for _, r := range runs {
		m.mem.Prefault(r)
	}
}

// Prepare gives pages and host memory to the mapped range [a,b), which lies in
// one mapping, if there is plenty.
func (m *MM) Prepare(a, b uint64) {
	if v := m.find(a); v != nil && m.plenty() {
		m.populate(v, a, min(b, v.End), a)
		m.prefault(m.fresh)
	}
}

// plenty reports whether memory may be spent on what is not asked for yet.
func (m *MM) plenty() bool { return m.mem.Used() < m.mem.Limit()/2 }

// Unmap removes every mapping in [a,b) and frees the pages. Errors: ENOMEM when
// that would make two mappings of one and there are as many as there may be.
func (m *MM) Unmap(a, b uint64) abi.Errno {
	if v := m.find(a); v != nil && v.Start < a && b < v.End && len(m.vmas) >= maxVMAs {
		return abi.ENOMEM
	}
	gone := m.cut(a, b)
	if len(gone) == 0 {
		return 0
	}
	defer m.drop(gone)
	var runs, stale []guestmem.Run
	for i := range gone {
		private := gone[i].Shared() == nil
		m.each(gone[i].Start, gone[i].End, func(_ uint64, e *uint64) { m.clear(e, private, &runs, &stale) })
	}
	m.fail(m.mem.Invalidate(stale))
	m.fail(m.mem.Free(runs))
	return 0
}

// clear empties an entry, and adds its page to those to be freed, or, when it is
// still used elsewhere, to those that the platform maps no longer so.
func (m *MM) clear(e *uint64, private bool, free, stale *[]guestmem.Run) {
	gpa := *e & x86.PTEAddr
	m.set(e, 0)
	if private && m.s.release(gpa) {
		*free = guestmem.AddPage(*free, gpa)
	} else {
		*stale = guestmem.AddPage(*stale, gpa)
	}
}

// Map makes a mapping in place of whatever was there. A small one gets its first
// pages at once: an exit costs more than they do. Errors: ENOMEM when there are too
// many, or the range is not the program's; the source is dropped then, unless
// another mapping uses it.
func (m *MM) Map(v VMA) abi.Errno {
	if len(m.vmas) >= maxVMAs || v.Start < MinVA || v.End > x86.UserEnd {
		m.drop([]VMA{v})
		return abi.ENOMEM
	}
	_ = m.Unmap(v.Start, v.End) // there is room for one more
	m.insert(v)
	if v.Prot != 0 && v.End-v.Start <= eager && m.plenty() {
		w := m.find(v.Start)
		m.window, m.wStart, m.wEnd = firstWindow, v.Start, min(v.End, v.Start+firstWindow)
		m.populate(w, m.wStart, m.wEnd, v.Start)
		m.prefault(m.fresh)
	}
	return 0
}

// MapPages makes a mapping whose pages are the n adjoining ones at gpa, which
// the address space owns from then on.
func (m *MM) MapPages(v VMA, gpa uint64) error {
	if v.Start < MinVA || v.End > x86.UserEnd || m.Unmap(v.Start, v.End) != 0 {
		return fmt.Errorf("a mapping of %#x to %#x cannot be made", v.Start, v.End)
	}
	m.insert(v)
	flags := leafFlags(v.Prot)
	for va := v.Start; va < v.End; va += pageSize {
		t := m.table(va, true)
		if t == nil {
			return m.noMemory()
		}
		m.set(&t[va>>12&511], gpa|flags)
		gpa += pageSize
	}
	return nil
}

// Protect changes the rights of [a,b), as mprotect(2). Errors: ENOMEM when a
// part is not mapped, EACCES when one must not be written; what lies before it is
// done.
func (m *MM) Protect(a, b uint64, p Prot) (errno abi.Errno) {
	if len(m.vmas)+2 > maxVMAs {
		return abi.ENOMEM
	}
	if gap := m.gap(a, b); gap < b {
		b, errno = gap, abi.ENOMEM
	}
	if p&Write != 0 {
		for i := m.search(a); i < len(m.vmas) && m.vmas[i].Start < b; i++ {
			if v := &m.vmas[i]; v.ReadOnly {
				b, errno = max(a, v.Start), abi.EACCES
			}
		}
	}
	parts := m.cut(a, b)
	if len(parts) == 0 {
		return errno
	}
	for i := range parts {
		parts[i].Prot = p
	}
	m.insert(parts...)
	flags := leafFlags(p)
	var stale []guestmem.Run
	for i := range parts {
		private := parts[i].Shared() == nil
		m.each(parts[i].Start, parts[i].End, func(_ uint64, e *uint64) {
			old, now := *e, flags
			if private && m.s.held(old&x86.PTEAddr) {
				now &^= x86.PTEWrite
			}
			m.set(e, old&x86.PTEAddr|now)
			if loses(old, *e) {
				stale = guestmem.AddPage(stale, old&x86.PTEAddr)
			}
		})
	}
	m.fail(m.mem.Invalidate(stale))
	return errno
}

// Discard drops the contents of [a,b), as madvise(MADV_DONTNEED): anonymous
// memory reads as zeros and file mappings as the file; shared memory keeps them.
// Errors: ENOMEM when a part is not mapped (the rest is done).
func (m *MM) Discard(a, b uint64) abi.Errno {
	for i := m.search(a); i < len(m.vmas) && m.vmas[i].Start < b; i++ {
		v := &m.vmas[i]
		private := v.Shared() == nil
		var zero, gone, stale []guestmem.Run
		m.each(max(a, v.Start), min(b, v.End), func(_ uint64, e *uint64) {
			if gpa := *e & x86.PTEAddr; v.Src == nil && !m.s.held(gpa) {
				zero = guestmem.AddPage(zero, gpa)
				return
			}
			m.clear(e, private, &gone, &stale)
		})
		m.fail(m.mem.Zero(zero))
		m.fail(m.mem.Invalidate(stale))
		m.fail(m.mem.Free(gone))
	}
	if !m.covered(a, b) {
		return abi.ENOMEM
	}
	return 0
}

// Remap moves or resizes a mapping, as mremap(2) does. dst is 0 when the
// mapping may go anywhere. Errors: EFAULT, EINVAL, ENOMEM.
func (m *MM) Remap(old, oldLen, newLen, dst uint64, mayMove bool) (uint64, abi.Errno) {
	v := m.find(old)
	if v == nil || v.End < old+oldLen {
		return 0, abi.EFAULT
	}
	if dst == 0 {
		switch {
		case newLen <= oldLen:
			return old, m.Unmap(old+newLen, old+oldLen)
		case v.End == old+oldLen && old+newLen <= x86.UserEnd && !m.overlaps(old+oldLen, old+newLen):
			ext := *v
			ext.Off += oldLen + (old - v.Start)
			ext.Start, ext.End = old+oldLen, old+newLen
			return old, m.Map(ext)
		case !mayMove:
			return 0, abi.ENOMEM
		}
		if dst = m.hole(newLen); dst == 0 {
			return 0, abi.ENOMEM
		}
	} else {
		if errno := m.Unmap(dst, dst+newLen); errno != 0 {
			return 0, errno
		}
		if newLen < oldLen {
			if errno := m.Unmap(old+newLen, old+oldLen); errno != 0 {
				return 0, errno
			}
			oldLen = newLen
		}
		if v = m.find(old); v == nil {
			return 0, abi.EFAULT
		}
	}
	if len(m.vmas)+2 > maxVMAs {
		return 0, abi.ENOMEM
	}
	moved := *v
	moved.Off += old - v.Start
	moved.Start, moved.End = dst, dst+newLen
	m.cut(old, old+oldLen)
	m.insert(moved)
	var stale []guestmem.Run
	m.each(old, old+oldLen, func(va uint64, e *uint64) {
		t := m.table(dst+(va-old), true)
		if t == nil {
			m.fail(guestmem.ErrLimit) // the page cannot be kept
			return
		}
		m.set(&t[(dst+(va-old))>>12&511], *e)
		if *e&x86.PTEPresent != 0 {
			stale = guestmem.AddPage(stale, *e&x86.PTEAddr)
		}
		m.set(e, 0)
	})
	m.fail(m.mem.Invalidate(stale))
	return dst, 0
}

// Duplicate makes a second mapping, of n bytes, of the shared memory at va, as
// mremap(2) with an old size of 0. dst is 0 when it may be anywhere. Errors: EFAULT,
// EINVAL for private memory, ENOMEM, also when it may not be elsewhere.
func (m *MM) Duplicate(va, n, dst uint64, mayMove bool) (uint64, abi.Errno) {
	if dst != 0 {
		if errno := m.Unmap(dst, dst+n); errno != 0 {
			return 0, errno
		}
	}
	v := m.find(va)
	switch {
	case v == nil:
		return 0, abi.EFAULT
	case v.Shared() == nil:
		return 0, abi.EINVAL
	case !mayMove:
		return 0, abi.ENOMEM
	case dst == 0:
		if dst = m.hole(n); dst == 0 {
			return 0, abi.ENOMEM
		}
	}
	second := *v
	second.Off += va - v.Start
	second.Start, second.End = dst, dst+n
	return dst, m.Map(second)
}

// FindHole returns an address for a new mapping of n bytes: hint when it is
// free, otherwise the highest hole; 0 when the address space is full.
func (m *MM) FindHole(hint, n uint64) uint64 {
	hint &^= pageSize - 1
	if hint >= MinVA && hint+n > hint && hint+n <= x86.UserEnd && !m.overlaps(hint, hint+n) {
		return hint
	}
	return m.hole(n)
}

// Overlaps reports whether anything is mapped in [a,b).
func (m *MM) Overlaps(a, b uint64) bool { return m.overlaps(a, b) }

// Covered reports whether every address of [a,b) is mapped.
func (m *MM) Covered(a, b uint64) bool { return m.covered(a, b) }

// HasFile reports whether a part of [a,b) is anything but private anonymous memory.
func (m *MM) HasFile(a, b uint64) bool {
	for i := m.search(a); i < len(m.vmas) && m.vmas[i].Start < b; i++ {
		if m.vmas[i].Src != nil {
			return true
		}
	}
	return false
}

// Maps reports whether a mapping of the address space shows src.
func (m *MM) Maps(src Source) bool {
	return slices.ContainsFunc(m.vmas, func(v VMA) bool { return v.Src == src })
}

// Populate gives every page of [a,b) as a read or a write of it would;
// madvise(MADV_POPULATE_READ). Errors: ENOMEM when a part is not mapped, EINVAL when
// its rights do not permit the access, EFAULT when a file has no such page.
func (m *MM) Populate(a, b uint64, write bool) abi.Errno {
	for va := a; va < b; va += pageSize {
		e := m.leaf(va)
		if e&x86.PTEPresent != 0 && (!write || e&x86.PTEWrite != 0) {
			continue
		}
		switch m.Fault(va, write, false) {
		case FaultServed:
		case FaultUnmapped:
			return abi.ENOMEM
		case FaultAccess:
			return abi.EINVAL
		case FaultBus:
			return abi.EFAULT
		case FaultMemory:
			return abi.ENOMEM
		}
	}
	return 0
}

// Resident reports for each page of [a,b) whether it holds a page.
func (m *MM) Resident(a, b uint64) []bool {
	out := make([]bool, (b-a)/pageSize)
	m.each(a, b, func(va uint64, _ *uint64) { out[(va-a)/pageSize] = true })
	return out
}

// SetBrkStart places the heap.
func (m *MM) SetBrkStart(va uint64) { m.brkStart, m.brk = va, va }

// Brk moves the end of the heap, as brk(2), and returns where it is.
func (m *MM) Brk(end uint64) uint64 {
	if end < m.brkStart || end > MmapTop {
		return m.brk
	}
	old, now := roundUp(m.brk), roundUp(end)
	switch {
	case now > old:
		if m.overlaps(old, now) {
			return m.brk
		}
		if m.Map(VMA{Start: old, End: now, Prot: Read | Write, Name: "[heap]"}) != 0 {
			return m.brk
		}
	case now < old:
		if m.Unmap(now, old) != 0 {
			return m.brk
		}
	}
	m.brk = end
	return m.brk
}

func roundUp(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }
