// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"slices"
	"sort"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// Prot is a set of access rights: unix.PROT_READ, PROT_WRITE and PROT_EXEC.
type Prot uint8

// Access rights, with the values of mmap(2).
const (
	Read  Prot = 1
	Write Prot = 2
	Exec  Prot = 4
)

// Source gives the contents of a private file mapping, or is an Object.
type Source interface {
	// MapRead fills dst from the file offset and returns how many bytes the file
	// had; the rest of a page reads as zeros.
	MapRead(off int64, dst []byte) (int, abi.Errno)
	// MapSize is the size of the file in bytes now.
	MapSize() int64
	// MapShare is called when one more address space uses the source: a fork.
	MapShare()
	// MapDrop is called when an address space has no mapping of the source any
	// more: once, and once more for each MapShare.
	MapDrop()
}

// VMA is one mapping: a range of virtual addresses with the same rights and
// the same source.
type VMA struct {
	Start, End uint64
	Prot       Prot
	Name       string // shown in /proc/self/maps: the program's path, "[stack]", "[heap]" or nothing
	Src        Source // nil: anonymous memory
	Off        uint64 // file offset of Start, when Src is set
	Stack      bool   // MAP_GROWSDOWN or the main stack
	Wipe       bool   // MADV_WIPEONFORK
	NoFork     bool   // MADV_DONTFORK
	ReadOnly   bool   // shared, of a file that is not open for writing
}

// Shared returns the memory that the mapping shows in common with others, nil
// when it is private.
func (v *VMA) Shared() *Object {
	o, _ := v.Src.(*Object)
	return o
}

func (v *VMA) follows(p *VMA) bool {
	return p.End == v.Start && p.Prot == v.Prot && p.Name == v.Name && p.Src == v.Src && p.Stack == v.Stack && p.Wipe == v.Wipe && p.NoFork == v.NoFork && p.ReadOnly == v.ReadOnly &&
		(v.Src == nil || p.Off+(p.End-p.Start) == v.Off)
}

// search returns the index of the first mapping that ends after va.
func (m *MM) search(va uint64) int {
	return sort.Search(len(m.vmas), func(i int) bool { return m.vmas[i].End > va })
}

// find returns the mapping that holds va, or nil.
func (m *MM) find(va uint64) *VMA {
	if i := m.search(va); i < len(m.vmas) && m.vmas[i].Start <= va {
		return &m.vmas[i]
	}
	return nil
}

// cut removes [a,b) from the list and returns what was there.
func (m *MM) cut(a, b uint64) []VMA {
	if a >= b { // an empty range in a mapping must not split it
		return nil
	}
	i := m.search(a)
	j := i
	var old, keep []VMA
	for ; j < len(m.vmas) && m.vmas[j].Start < b; j++ {
		o := m.vmas[j]
		if o.Start < a {
			left := o
			left.End = a
			keep = append(keep, left)
			o.Off += a - o.Start
			o.Start = a
		}
		if o.End > b {
			right := o
			right.Off += b - o.Start
			right.Start = b
			keep = append(keep, right)
			o.End = b
		}
		old = append(old, o)
	}
	m.vmas = slices.Replace(m.vmas, i, j, keep...)
	return old
}

// drop ends the use of the sources of removed mappings.
func (m *MM) drop(gone []VMA) {
	unused := map[Source]bool{}
	for _, v := range gone {
		if v.Src != nil {
			unused[v.Src] = true
		}
	}
	for i := 0; i < len(m.vmas) && len(unused) > 0; i++ {
		if src := m.vmas[i].Src; src != nil {
			delete(unused, src)
		}
	}
	for src := range unused {
		src.MapDrop()
	}
}

// insert adds mappings that follow each other where none is, and joins all that
// can be joined. It goes through the list once however many there are: a
// program may have tens of thousands.
func (m *MM) insert(vs ...VMA) {
	i := sort.Search(len(m.vmas), func(i int) bool { return m.vmas[i].Start >= vs[0].Start })
	m.vmas = slices.Insert(m.vmas, i, vs...)
	end := min(i+len(vs)+1, len(m.vmas))
	last := max(i-1, 0)
	for j := last + 1; j < end; j++ {
		if m.vmas[j].follows(&m.vmas[last]) {
			m.vmas[last].End = m.vmas[j].End
			continue
		}
		last++
		m.vmas[last] = m.vmas[j]
	}
	m.vmas = slices.Delete(m.vmas, last+1, end)
}

// gap returns the first address of [a,b) that is not mapped; b when all are.
func (m *MM) gap(a, b uint64) uint64 {
	for i := m.search(a); a < b; i++ {
		if i >= len(m.vmas) || m.vmas[i].Start > a {
			return a
		}
		a = m.vmas[i].End
	}
	return b
}

// covered reports whether every address of [a,b) is mapped.
func (m *MM) covered(a, b uint64) bool { return m.gap(a, b) == b }

// overlaps reports whether anything is mapped in [a,b).
func (m *MM) overlaps(a, b uint64) bool {
	i := m.search(a)
	return i < len(m.vmas) && m.vmas[i].Start < b
}

// hole returns the highest free range of n bytes below the mmap area's top, or
// 0 when there is none.
func (m *MM) hole(n uint64) uint64 {
	top := uint64(MmapTop)
	for i := m.search(top-1) - 1; ; i-- {
		end := uint64(MinVA)
		if i+1 < len(m.vmas) && m.vmas[i+1].Start < top {
			// a mapping that straddles the top
			top = m.vmas[i+1].Start
		}
		if i >= 0 {
			end = m.vmas[i].End
		}
		if top > end && top-end >= n {
			return top - n
		}
		if i < 0 {
			return 0
		}
		top = m.vmas[i].Start
	}
}

// VMAs calls f for each mapping in the order of addresses.
func (m *MM) VMAs(f func(v *VMA)) {
	for i := range m.vmas {
		f(&m.vmas[i])
	}
}
