// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"slices"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/guestmem"
	"kontain.dev/eventing/vmexec/internal/x86"
)

const (
	pageSize  = guestmem.PageSize
	tablePage = 512 // entries of a page table
)

// tlb is a translation lookaside buffer in software: the host mappings of the
// tracee are derived from the guest's page tables one fault at a time, and
// dropped when guestmem says that pages were taken away.
type tlb struct {
	mem   *guestmem.Memory
	root  uint64
	where []uint64 // by guest page: virtual address with rights, 0 when not mapped
	// others are the further addresses of pages that are mapped at several.
	others map[uint64][]uint64
	queue  []call // for the tracee to make before the guest goes on
}

const (
	// maxQueue is the most calls that wait; beyond it everything is unmapped, and
	// comes back one fault at a time.
	maxQueue = 8 * maxCalls
	// around is how many pages on each side of a fault are looked at too, and
	// maxRuns how many mappings one fault may make.
	around  = 32
	maxRuns = 16
)

// rights returns what a leaf entry permits to user code, as PROT_ bits; 0 for
// nothing.
func rights(e uint64) uint64 {
	const user = x86.PTEPresent | x86.PTEUser
	if e&user != user {
		return 0
	}
	r := uint64(unix.PROT_READ)
	if e&x86.PTEWrite != 0 {
		r |= unix.PROT_WRITE
	}
	if e&x86.PTENoExec == 0 {
		r |= unix.PROT_EXEC
	}
	return r
}

// table returns the leaf table for va, nil when there is none.
func (t *tlb) table(va uint64) *[tablePage]uint64 {
	if va >= stubVA {
		return nil
	}
	words := t.mem.Words(t.root)
	for shift := 39; shift >= 21; shift -= 9 {
		e := words[va>>shift&511]
		if e&x86.PTEPresent == 0 {
			return nil
		}
		words = t.mem.Words(e & x86.PTEAddr)
	}
	return words
}

// leaf returns the leaf entry of va, 0 when there is none.
func (t *tlb) leaf(va uint64) uint64 {
	if words := t.table(va); words != nil {
		return words[va>>12&511]
	}
	return 0
}

// mapped reports whether the tracee has the page of va as the entry says.
func (t *tlb) mapped(va, e uint64) bool {
	n := e & x86.PTEAddr / pageSize
	if n >= uint64(len(t.where)) {
		return false
	}
	want := va | rights(e)
	return t.where[n] == want || len(t.others) > 0 && slices.Contains(t.others[n], want)
}

// note says where a guest page is mapped from now on, with rights.
func (t *tlb) note(n, where uint64) {
	switch old := t.where[n]; {
	case old == 0 || old&^(pageSize-1) == where&^(pageSize-1):
		t.where[n] = where
	default: // of memory that is shared, or at an address that it has left
		if t.others == nil {
			t.others = map[uint64][]uint64{}
		}
		same := func(w uint64) bool { return w&^(pageSize-1) == where&^(pageSize-1) }
		t.others[n] = append(slices.DeleteFunc(t.others[n], same), where)
	}
}

// fill queues what makes the page at va accessible, and some of its neighbours.
// It reports false when the entry permits nothing more than what is mapped.
func (t *tlb) fill(va uint64) bool {
	va &^= pageSize - 1
	words := t.table(va)
	if words == nil {
		return false
	}
	i := int(va >> 12 & 511)
	if rights(words[i]) == 0 || t.mapped(va, words[i]) {
		return false
	}
	base := va - uint64(i)*pageSize
	lo, hi := t.extent(words, base, i)
	t.mapRun(base, words, lo, hi)
	runs := 1
	for j := max(0, i-around); j < min(tablePage, i+around) && runs < maxRuns; j++ {
		if j >= lo && j < hi || rights(words[j]) == 0 || t.mapped(base+uint64(j)*pageSize, words[j]) {
			continue
		}
		k := j + 1
		for k < tablePage && (k <= lo || k > hi) && t.joins(words, base, j, k) {
			k++
		}
		t.mapRun(base, words, j, k)
		runs++
		j = k - 1
	}
	return true
}

// extent returns the largest run around entry i that one mapping can serve.
func (t *tlb) extent(words *[tablePage]uint64, base uint64, i int) (lo, hi int) {
	lo, hi = i, i+1
	for lo > 0 && t.joins(words, base, i, lo-1) {
		lo--
	}
	for hi < tablePage && t.joins(words, base, i, hi) {
		hi++
	}
	return lo, hi
}

// joins reports whether entry j continues the run of entry i and is not mapped.
func (t *tlb) joins(words *[tablePage]uint64, base uint64, i, j int) bool {
	return rights(words[j]) == rights(words[i]) &&
		words[j]&x86.PTEAddr == words[i]&x86.PTEAddr+uint64(j-i)*pageSize &&
		!t.mapped(base+uint64(j)*pageSize, words[j])
}

// mapRun queues the mapping of entries [lo,hi) of the table at base.
func (t *tlb) mapRun(base uint64, words *[tablePage]uint64, lo, hi int) {
	va, gpa, r := base+uint64(lo)*pageSize, words[lo]&x86.PTEAddr, rights(words[lo])
	n := uint64(hi - lo)
	if need := gpa/pageSize + n; need > uint64(len(t.where)) {
		t.where = append(t.where, make([]uint64, need-uint64(len(t.where)))...)
	}
	for k := range n {
		t.note(gpa/pageSize+k, va+k*pageSize|r)
	}
	t.queue = append(t.queue, call{unix.SYS_MMAP, va, n * pageSize, r, unix.MAP_SHARED | unix.MAP_FIXED, memoryFD, gpa})
}

// forget queues the end of the mappings of guest pages.
func (t *tlb) forget(r guestmem.Run) {
	var va, end uint64
	for n := r.Start / pageSize; n < min(r.End/pageSize, uint64(len(t.where))); n++ {
		w := t.where[n]
		if w == 0 {
			continue
		}
		t.where[n] = 0
		if len(t.others) > 0 {
			for _, o := range t.others[n] {
				o &^= pageSize - 1
				t.unmap(o, o+pageSize)
			}
			delete(t.others, n)
		}
		w &^= pageSize - 1
		if w != end {
			t.unmap(va, end)
			va = w
		}
		end = w + pageSize
	}
	t.unmap(va, end)
	if len(t.queue) > maxQueue {
		t.forgetAll()
	}
}

func (t *tlb) unmap(va, end uint64) {
	if va < end {
		t.queue = append(t.queue, call{unix.SYS_MUNMAP, va, end - va})
	}
}

// forgetAll queues the end of every mapping in place of what was queued.
func (t *tlb) forgetAll() {
	clear(t.where)
	clear(t.others)
	t.queue = append(t.queue[:0], call{unix.SYS_MUNMAP, 0, stubVA})
}
