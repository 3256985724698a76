// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
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
}

// NewObject makes anonymous memory of size bytes to be the Src of a mapping. It
// belongs to the address space that maps it.
func (s *Spaces) NewObject(size uint64) *Object {
	return &Object{spaces: s, id: s.newID(), pages: map[uint64]uint64{}, size: int64(min(size, math.MaxInt64)), users: 1}
}

// MapRead implements Source: the pages are not copies.
func (o *Object) MapRead(int64, []byte) (int, abi.Errno) { return 0, abi.EIO }

// MapSize implements Source.
func (o *Object) MapSize() int64 { return o.size }

// MapShare implements Source.
func (o *Object) MapShare() { o.users++ }

// MapDrop implements Source: the last one frees the pages.
func (o *Object) MapDrop() {
	o.users--
	if o.users > 0 {
		return
	}
	var runs []guestmem.Run
	for _, gpa := range slices.Sorted(maps.Values(o.pages)) {
		runs = guestmem.AddPage(runs, gpa)
	}
	o.pages = nil
	o.spaces.fail(o.spaces.mem.Free(runs))
}

// page returns the page with a number, which m gets if there is none.
func (o *Object) page(m *MM, n uint64) (uint64, bool) {
	if gpa, ok := o.pages[n]; ok {
		return gpa, true
	}
	gpa, ok := m.alloc()
	if ok {
		o.pages[n] = gpa
	}
	return gpa, ok
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

// clone returns a copy for a clone of the address spaces.
func (o *Object) clone(s *Spaces) *Object {
	return &Object{spaces: s, id: o.id, pages: maps.Clone(o.pages), size: o.size, users: o.users}
}
