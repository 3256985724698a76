// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"errors"
	"fmt"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// Spaces is what the address spaces of a VM have in common: the memory, and who
// holds which page of it.
type Spaces struct {
	mem     *guestmem.Memory
	control uint64 // guest physical address of the control area's leaf table
	list    []*MM  // those that are in use
	first   []*MM  // in a clone: those of the snapshot
	lastID  uint64 // of address spaces and objects

	// holders counts, by guest page, the entries beyond the first that hold a
	// page: after a fork, until one of the two writes. It ends where no page is
	// held more than once, so that a VM that never forks has none.
	holders []uint32
	changed bool // holders is not what it was at the snapshot

	gone func(root uint64) // tells the platform of an address space that ended
	err  error             // a failure of the host, or guestmem.ErrLimit
}

// NewSpaces takes the control area of a new memory.
func NewSpaces(mem *guestmem.Memory) (*Spaces, error) {
	gpa, err := mem.AllocRun(x86.ControlSize() / pageSize)
	if err != nil {
		return nil, err
	}
	if gpa != x86.ControlGPA {
		return nil, fmt.Errorf("control area at guest physical %#x, want %#x", gpa, x86.ControlGPA)
	}
	s := &Spaces{mem: mem}
	if s.control, err = mem.Alloc(); err != nil {
		return nil, err
	}
	t := mem.Words(s.control)
	for _, p := range x86.BuildControl(mem.Bytes(gpa, x86.ControlSize())) {
		t[p.VA>>12&511] = p.GPA | p.Flags
	}
	return s, nil
}

// New makes a memory's first address space.
func New(mem *guestmem.Memory) (*MM, error) {
	s, err := NewSpaces(mem)
	if err != nil {
		return nil, err
	}
	return s.New()
}

// New makes an address space that holds only the control area. The error is
// guestmem.ErrLimit when there is no memory for it.
func (s *Spaces) New() (*MM, error) {
	m := &MM{s: s, mem: s.mem, id: s.newID(), users: 1, temporary: true}
	var ok bool
	if m.root, ok = m.allocTable(); !ok {
		return nil, s.noMemory()
	}
	s.list = append(s.list, m)
	// The leaf table of the control area is the same for all.
	dir := m.directory(x86.ControlVA, true)
	if dir == nil {
		m.Release()
		return nil, s.noMemory()
	}
	dir[x86.ControlVA>>21&511] = s.control | x86.PTETable
	return m, nil
}

// newID numbers address spaces and objects, from 1.
func (s *Spaces) newID() uint64 {
	s.lastID++
	return s.lastID
}

// OnEnd sets the function that is told the root of each address space that ended.
func (s *Spaces) OnEnd(gone func(root uint64)) { s.gone = gone }

// Memory returns the guest memory behind the address spaces.
func (s *Spaces) Memory() *guestmem.Memory { return s.mem }

// Err returns the failure that an address space met, if any: guestmem.ErrLimit
// when the VM needed more memory than it may have, otherwise a failure of the
// host. The VM must not go on after either.
func (s *Spaces) Err() error { return s.err }

// Faults counts the faults that were served in the address spaces there are.
func (s *Spaces) Faults() uint64 {
	n := uint64(0)
	for _, m := range s.list {
		n += m.Faults
	}
	return n
}

func (s *Spaces) fail(err error) {
	if err != nil && s.err == nil {
		s.err = err
	}
}

// noMemory is the error when a page could not be given out.
func (s *Spaces) noMemory() error {
	if s.err != nil {
		return s.err
	}
	return guestmem.ErrLimit
}

// alloc gives out a page, if need be one that the guest was given but has
// never touched.
func (s *Spaces) alloc(get func() (uint64, error)) (uint64, bool) {
	gpa, err := get()
	if errors.Is(err, guestmem.ErrLimit) && s.reclaim() {
		gpa, err = get()
	}
	if err != nil && !errors.Is(err, guestmem.ErrLimit) {
		s.fail(err)
	}
	return gpa, err == nil
}

// reclaim takes back the anonymous pages that were mapped ahead and never
// touched, and reports whether there were any. It makes the limit count what
// programs use and not what was mapped for them in advance.
func (s *Spaces) reclaim() bool {
	before := s.mem.Used()
	for _, m := range s.list {
		if !m.reclaim() {
			return false
		}
	}
	return s.mem.Used() < before
}

// hold counts one more entry that holds a page.
func (s *Spaces) hold(gpa uint64) {
	i := gpa / pageSize
	if need := i + 1; need > uint64(len(s.holders)) {
		s.holders = append(s.holders, make([]uint32, need-uint64(len(s.holders)))...)
	}
	s.holders[i]++
	s.changed = true
}

// held reports whether other entries hold the page too.
func (s *Spaces) held(gpa uint64) bool {
	i := gpa / pageSize
	return i < uint64(len(s.holders)) && s.holders[i] > 0
}

// release takes an entry's hold of a page away, and reports whether it was the
// only one: then the page is to be freed.
func (s *Spaces) release(gpa uint64) bool {
	if !s.held(gpa) {
		return true
	}
	s.holders[gpa/pageSize]--
	s.changed = true
	return false
}

// Fork makes a copy of the address space, as fork(2): private pages are shared
// until one of the two writes. Errors: ENOMEM.
func (m *MM) Fork() (*MM, abi.Errno) {
	c, err := m.s.New()
	if err != nil {
		return nil, abi.ENOMEM
	}
	c.brkStart, c.brk = m.brkStart, m.brk
	shared := map[Source]bool{}
	var stale []guestmem.Run
	short := false
	for i := range m.vmas {
		v := m.vmas[i]
		if v.NoFork {
			continue
		}
		if v.Src != nil && !shared[v.Src] {
			shared[v.Src] = true
			v.Src.MapShare()
		}
		c.vmas = append(c.vmas, v)
		if !v.Wipe && !short {
			stale, short = m.forkPages(c, &v, stale)
		}
	}
	m.fail(m.mem.Invalidate(stale))
	if short {
		c.Release()
		return nil, abi.ENOMEM
	}
	return c, 0
}

// forkPages makes c hold the pages of a mapping. It adds the pages that can no
// longer be written to stale, and reports whether memory was short.
func (m *MM) forkPages(c *MM, v *VMA, stale []guestmem.Run) ([]guestmem.Run, bool) {
	private := v.Shared() == nil
	var table *[512]uint64
	at, short := uint64(1), false // the table's first address
	m.each(v.Start, v.End, func(va uint64, e *uint64) {
		if short {
			return
		}
		if base := va &^ (tableSpan - 1); base != at {
			at = base
			if table = c.table(va, true); table == nil {
				short = true
				return
			}
			if *e&x86.PTEOwned == 0 { // reclaimed for the table
				return
			}
		}
		if private {
			gpa := *e & x86.PTEAddr
			m.s.hold(gpa)
			if *e&x86.PTEWrite != 0 {
				m.set(e, *e&^x86.PTEWrite)
				stale = guestmem.AddPage(stale, gpa)
			}
		}
		table[va>>12&511] = *e
	})
	return stale, short
}

// Hold counts one more user of the address space: a process that shares it.
func (m *MM) Hold() { m.users++ }

// Users counts the processes that use the address space.
func (m *MM) Users() int { return m.users }

// Release ends a use of the address space. The last one frees all of it.
func (m *MM) Release() {
	m.users--
	if m.users > 0 {
		return
	}
	s := m.s
	for i, x := range s.list {
		if x == m {
			s.list = append(s.list[:i:i], s.list[i+1:]...)
			break
		}
	}
	gone := m.vmas
	m.vmas = nil
	var runs, stale []guestmem.Run
	for i := range gone {
		v := &gone[i]
		private := v.Shared() == nil
		m.each(v.Start, v.End, func(_ uint64, e *uint64) {
			gpa := *e & x86.PTEAddr
			m.set(e, 0)
			switch {
			case private && s.release(gpa):
				runs = guestmem.AddPage(runs, gpa)
			case !m.temporary:
				// The tables come back with the next reset.
				stale = guestmem.AddPage(stale, gpa)
			}
		})
	}
	m.fail(m.mem.Invalidate(stale))
	m.fail(m.mem.Free(runs))
	m.drop(gone)
	if s.gone != nil {
		s.gone(m.root)
	}
	if m.temporary {
		m.fail(m.mem.FreeTables(m.tables))
		m.tables = nil
	}
}

// Pages counts the pages that the address space holds.
func (m *MM) Pages() uint64 {
	n := uint64(0)
	for i := range m.vmas {
		m.each(m.vmas[i].Start, m.vmas[i].End, func(uint64, *uint64) { n++ })
	}
	return n
}

// FutexKey returns what names a futex at va: private ones, and those in memory
// of its own, belong to the address space, the others to the memory that they
// lie in.
func (m *MM) FutexKey(va uint64, private bool) (owner, at uint64) {
	if !private {
		if v := m.find(va); v != nil {
			if o := v.Shared(); o != nil {
				return o.id, v.Off + (va - v.Start)
			}
		}
	}
	return m.id, va
}
