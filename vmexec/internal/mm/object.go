// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"slices"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/guestmem"
)

// Object is memory that all of its mappings show, in one address space or in
// several: MAP_SHARED. It owns its pages, which come into being at the first
// touch; entries of page tables only borrow them.
type Object struct {
	spaces *Spaces
	id     uint64            // as the owner of futexes
	pages  map[uint64]uint64 // by number in the object: guest physical address
	size   int64             // bytes; past it there is nothing (SIGBUS)
	users  int               // address spaces
	file   File              // nil for anonymous memory
}

// File is the file that an Object shows. While a page is in the object, it is there
// that the file reads and writes it.
type File interface {
	// Source's MapShare is not called; MapDrop is, once, after the last Put.
	Source
	// Attach tells the file where its pages are.
	Attach(o *Object)
	// Take reads page n, which is in the object from then on.
	Take(n uint64, dst []byte) abi.Errno
	// Stale reports whether the file, without the object, has other bytes than page.
	Stale(n uint64, page []byte) bool
	// Put gives a page back to the file. There is memory for it: the object's.
	Put(n uint64, page []byte)
	// Punch makes the bytes of [off,end) zeros, those in the object too. Errors: those
	// of fallocate(2).
	Punch(off, end int64) abi.Errno
}

// NewFileObject makes the memory that all shared mappings of a file show. It
// belongs to the address space that maps it first.
func (s *Spaces) NewFileObject(f File) *Object {
	o := &Object{spaces: s, id: s.newID(), pages: map[uint64]uint64{}, users: 1, file: f}
	f.Attach(o)
	return o
}

// File returns the file that the object shows, nil for anonymous memory.
func (o *Object) File() File { return o.file }

// NewObject makes anonymous memory of size bytes to be the Src of a mapping. It
// belongs to the address space that maps it.
func (s *Spaces) NewObject(size uint64) *Object {
	return &Object{spaces: s, id: s.newID(), pages: map[uint64]uint64{}, size: int64(min(size, math.MaxInt64)), users: 1}
}

// MapRead implements Source: the pages are not copies.
func (o *Object) MapRead(int64, []byte) (int, abi.Errno) { return 0, abi.EIO }

// MapSize implements Source.
func (o *Object) MapSize() int64 {
	if o.file != nil {
		return o.file.MapSize()
	}
	return o.size
}

// MapShare implements Source.
func (o *Object) MapShare() { o.users++ }

// MapDrop implements Source: the last one frees the pages.
func (o *Object) MapDrop() {
	o.users--
	if o.users > 0 {
		return
	}
	// What is to be kept is copied first: its memory is what the file then takes.
	kept := map[uint64][]byte{}
	var runs []guestmem.Run
	for _, gpa := range slices.Sorted(maps.Values(o.pages)) {
		runs = guestmem.AddPage(runs, gpa)
	}
	if o.file != nil {
		for n, gpa := range o.pages {
			if p := o.spaces.mem.Page(gpa); o.file.Stale(n, p) {
				kept[n] = bytes.Clone(p)
			}
		}
		o.file.Attach(nil)
	}
	o.pages = nil
	o.spaces.fail(o.spaces.mem.Free(runs))
	if o.file != nil {
		for n, p := range kept {
			o.file.Put(n, p)
		}
		o.file.MapDrop()
	}
}

// Page returns a page that is in the object, nil for one that is not.
func (o *Object) Page(n uint64) []byte {
	if gpa, ok := o.pages[n]; ok {
		return o.spaces.mem.Page(gpa)
	}
	return nil
}

// Pages calls f with the number of each page that is in the object, in any order.
func (o *Object) Pages(f func(n uint64)) {
	for n := range o.pages {
		f(n)
	}
}

// Writable reports whether a mapping of the object may be written, or made so.
func (o *Object) Writable() bool {
	for _, m := range o.spaces.list {
		for i := range m.vmas {
			if v := &m.vmas[i]; v.Src == Source(o) && !v.ReadOnly {
				return true
			}
		}
	}
	return false
}

// Truncate drops the pages from number n on: they are no longer in any mapping.
func (o *Object) Truncate(n uint64) {
	var gone []uint64
	for i, gpa := range o.pages {
		if i >= n {
			gone = append(gone, gpa)
			delete(o.pages, i)
		}
	}
	if len(gone) == 0 {
		return
	}
	for _, m := range o.spaces.list {
		for i := range m.vmas {
			v := &m.vmas[i]
			if v.Src != Source(o) {
				continue
			}
			from := v.Start
			if first := n * pageSize; first > v.Off {
				from = min(v.End, v.Start+(first-v.Off))
			}
			m.each(from, v.End, func(_ uint64, e *uint64) { m.set(e, 0) })
		}
	}
	slices.Sort(gone)
	var runs []guestmem.Run
	for _, gpa := range gone {
		runs = guestmem.AddPage(runs, gpa)
	}
	o.spaces.fail(o.spaces.mem.Free(runs))
}

// page returns the page with a number, which m gets if there is none. It is false
// when there is no memory for it. The error is the file's.
func (o *Object) page(m *MM, n uint64) (uint64, bool, abi.Errno) {
	if gpa, ok := o.pages[n]; ok {
		return gpa, true, 0
	}
	gpa, ok := m.alloc()
	if !ok {
		return 0, false, 0
	}
	if o.file != nil {
		if errno := o.file.Take(n, m.mem.Page(gpa)); errno != 0 {
			m.fail(m.mem.Free([]guestmem.Run{{Start: gpa, End: gpa + pageSize}}))
			return 0, true, errno
		}
	}
	o.pages[n] = gpa
	return gpa, true, 0
}

// remove gives back the pages of [a,b), bytes of the object, in which all of
// its mappings read zeros from then on; MADV_REMOVE.
func (o *Object) remove(a, b uint64) {
	var gone []uint64
	if n := (b - a) / pageSize; n < uint64(len(o.pages)) {
		for i := a / pageSize; i < b/pageSize; i++ {
			if gpa, ok := o.pages[i]; ok {
				gone = append(gone, gpa)
			}
		}
	} else {
		for i, gpa := range o.pages {
			if i >= a/pageSize && i < b/pageSize {
				gone = append(gone, gpa)
			}
		}
	}
	slices.SortFunc(gone, cmp.Compare[uint64])
	var runs []guestmem.Run
	for _, gpa := range gone {
		runs = guestmem.AddPage(runs, gpa)
	}
	o.spaces.fail(o.spaces.mem.Zero(runs))
}

// Remove gives back what shared mappings hold in [a,b), which reads as zeros from
// then on; madvise(MADV_REMOVE). Errors: EINVAL for private mappings, EACCES for
// those that cannot be made to write, ENOMEM when a part is not mapped, and those of
// File.Punch.
func (m *MM) Remove(a, b uint64) abi.Errno {
	for i := m.search(a); i < len(m.vmas) && m.vmas[i].Start < b; i++ {
		v := &m.vmas[i]
		o := v.Shared()
		switch {
		case o == nil:
			return abi.EINVAL
		case v.ReadOnly:
			return abi.EACCES
		}
		s, e := max(a, v.Start), min(b, v.End)
		s, e = v.Off+(s-v.Start), v.Off+(e-v.Start)
		if o.file == nil {
			o.remove(s, e)
		} else if errno := o.file.Punch(int64(s), int64(e)); errno != 0 {
			return errno
		}
	}
	if !m.covered(a, b) {
		return abi.ENOMEM
	}
	return 0
}

// clone returns a copy for a clone of the address spaces. The copy of the file is
// translate's.
func (o *Object) clone(s *Spaces, translate func(Source) Source) *Object {
	n := &Object{spaces: s, id: o.id, pages: maps.Clone(o.pages), size: o.size, users: o.users}
	if o.file != nil {
		if f, ok := translate(o.file).(File); ok {
			n.file = f
			f.Attach(n)
		}
	}
	return n
}
