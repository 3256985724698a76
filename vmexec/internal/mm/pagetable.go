// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/x86"
)

const (
	pageSize  = guestmem.PageSize
	tableSpan = 512 * pageSize // what one leaf table maps: 2 MiB
)

// leafFlags returns the bits of a leaf entry for rights. Without any right the
// entry is not present and only keeps the page.
func leafFlags(p Prot) uint64 {
	f := x86.PTEOwned | x86.PTEAccessed | x86.PTEDirty
	if p != 0 {
		f |= x86.PTEPresent | x86.PTEUser
	}
	if p&Write != 0 {
		f |= x86.PTEWrite
	}
	if p&Exec == 0 {
		f |= x86.PTENoExec
	}
	return f
}

// loses reports whether a change of a leaf from old to new takes rights away or
// changes the page, so that a stale translation must be dropped. A translation
// that lacks rights is refreshed by the fault it causes.
func loses(old, now uint64) bool {
	switch {
	case old&x86.PTEPresent == 0:
		return false
	case now&x86.PTEPresent == 0, now&x86.PTEAddr != old&x86.PTEAddr:
		return true
	}
	return old&x86.PTEWrite != 0 && now&x86.PTEWrite == 0 || old&x86.PTENoExec == 0 && now&x86.PTENoExec != 0
}

// table returns the leaf table for va. It is nil when there is none and it was
// not to be made, or when the VM has no memory for it.
func (m *MM) table(va uint64, make bool) *[512]uint64 {
	return m.lower(m.directory(va, make), va>>21&511, make)
}

// directory returns the table of the leaf tables for va, as table does.
func (m *MM) directory(va uint64, make bool) *[512]uint64 {
	t := m.lower(m.mem.Words(m.root), va>>39&511, make)
	return m.lower(t, va>>30&511, make)
}

// lower returns the table that entry i of t, which may be nil, points to.
func (m *MM) lower(t *[512]uint64, i uint64, make bool) *[512]uint64 {
	if t == nil {
		return nil
	}
	if t[i] == 0 {
		if !make {
			return nil
		}
		gpa, ok := m.allocTable()
		if !ok {
			return nil
		}
		t[i] = gpa | x86.PTETable
	}
	return m.mem.Words(t[i] & x86.PTEAddr)
}

func (m *MM) allocTable() (uint64, bool) {
	get := m.mem.AllocTable
	if m.temporary {
		get = m.mem.AllocTemporaryTable
	}
	gpa, ok := m.s.alloc(get)
	if ok {
		m.tables = append(m.tables, gpa)
	}
	return gpa, ok
}

// set changes a leaf entry. Entries of higher levels are only ever added.
func (m *MM) set(e *uint64, v uint64) {
	if m.journal != nil {
		m.journal.add(e)
	}
	*e = v
}

// leaf returns the leaf entry of va, 0 when there is none.
func (m *MM) leaf(va uint64) uint64 {
	if va >= x86.UserEnd {
		return 0
	}
	if t := m.table(va, false); t != nil {
		return t[va>>12&511]
	}
	return 0
}

// each calls f for every leaf entry of [a,b) that holds a page.
func (m *MM) each(a, b uint64, f func(va uint64, e *uint64)) {
	for va := a; va < b; {
		end := min(b, (va+tableSpan)&^(tableSpan-1))
		t := m.table(va, false)
		if t == nil {
			// Skip what a missing table of any level maps: a reservation of
			// terabytes must not be walked page by page.
			va = min(b, m.skip(va))
			continue
		}
		for ; va < end; va += pageSize {
			if e := &t[va>>12&511]; *e&x86.PTEOwned != 0 {
				f(va, e)
			}
		}
	}
}

// skip returns the end of the largest aligned range at va without tables.
func (m *MM) skip(va uint64) uint64 {
	t := m.mem.Words(m.root)
	for shift := 39; shift >= 21; shift -= 9 {
		e := t[va>>shift&511]
		if e == 0 {
			return (va>>shift + 1) << shift
		}
		t = m.mem.Words(e & x86.PTEAddr)
	}
	return va + pageSize
}
