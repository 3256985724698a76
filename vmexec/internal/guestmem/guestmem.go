// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package guestmem is the guest physical memory of one VM: a host mapping, the
// allocator of its 4 KiB pages, and the bound on how many are in use.
package guestmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// PageSize is the size of a guest page in bytes.
const PageSize = 4096

// ErrLimit means that the VM may use no more pages.
var ErrLimit = errors.New("guest memory limit reached")

// Run is a range [Start, End) of guest physical addresses on page boundaries.
type Run struct{ Start, End uint64 }

// AddPage extends the last of runs by the page at gpa, or begins a new run.
func AddPage(runs []Run, gpa uint64) []Run {
	if n := len(runs); n > 0 && runs[n-1].End == gpa {
		runs[n-1].End += PageSize
		return runs
	}
	return append(runs, Run{gpa, gpa + PageSize})
}

// Memslots are grown in these steps: making one costs time in proportion to its
// size (77 µs for 64 MiB, 2.6 ms for 4 GiB on the development machine), so a
// small program must not pay for a large limit.
const (
	firstSlot = 32 << 20
	nextSlot  = 128 << 20
)

// maxFiles bounds the ranges that show a file. Each costs mappings of the host,
// of which a process may have 65530: a program that gives back every other page
// of a large file would use them up for all VMs. Beyond it pages are cleared
// instead, which keeps their memory.
const maxFiles = 256

// Memory is the guest physical memory of one VM. Guest physical addresses are
// offsets into one host mapping. It belongs to the VM's run loop.
type Memory struct {
	host  []byte // the whole span, reserved; touched pages only cost memory
	slots []Run  // what the platform was told of, in order
	grow  func(slot int, r Run, host []byte) error

	bump uint64   // first address never given out
	free []uint64 // pages given back; they read as zeros

	// Page tables given back that the platform may still have translations of.
	retired  []uint64
	flush    func() error // makes the platform forget them; nil: it has none
	flushDue bool         // page tables were made that a reset takes back

	files []Run  // ranges that show a file instead of anonymous memory
	clone *clone // set in a memory made from an image

	shared *shared // set when another process maps the memory too

	used, peak, limit uint64 // pages
}

// New reserves the address space for limit bytes of guest memory. Nothing is
// used before pages are allocated.
func New(limit uint64) (*Memory, error) {
	span := (limit + PageSize - 1) &^ (PageSize - 1)
	host, err := unix.Mmap(-1, 0, int(span), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d MiB of guest memory: %w", span>>20, os.NewSyscallError("mmap", err))
	}
	// Guest pages are protected one by one, so a huge page would be split at
	// once; and one touched byte must not cost 2 MiB.
	if err := unix.Madvise(host, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		_ = unix.Munmap(host)
		return nil, os.NewSyscallError("madvise(MADV_NOHUGEPAGE)", err)
	}
	// The monitor's core dump is no place for guest secrets. Old kernels or
	// sandboxes may refuse; nothing depends on it.
	_ = unix.Madvise(host, unix.MADV_DONTDUMP)
	_ = pagemap()
	return &Memory{host: host, limit: span / PageSize}, nil
}

// Close gives the memory back to the host. No page may be used afterwards.
func (m *Memory) Close() error {
	if m.host == nil {
		return nil
	}
	err := unix.Munmap(m.host)
	m.host = nil
	if m.shared != nil {
		_ = unix.Close(m.shared.fd)
	}
	return os.NewSyscallError("munmap", err)
}

// OnGrow sets the function that makes a memslot of the platform for a range
// and its host memory, and calls it for the ranges already in use.
func (m *Memory) OnGrow(grow func(slot int, r Run, host []byte) error) error {
	m.grow = grow
	for i, r := range m.slots {
		if err := grow(i, r, m.host[r.Start:r.End]); err != nil {
			return err
		}
	}
	return nil
}

// Used returns the pages in use, and Peak the most there ever were.
func (m *Memory) Used() uint64 { return m.used }

// Peak returns the most pages that were in use at once.
func (m *Memory) Peak() uint64 { return m.peak }

// Limit returns the pages that may be in use at once.
func (m *Memory) Limit() uint64 { return m.limit }

// Charge counts n pages that live elsewhere (file contents of the overlay)
// against the limit. It reports false, and counts nothing, when they do not fit.
func (m *Memory) Charge(n uint64) bool {
	if n > m.limit-m.used {
		return false
	}
	m.used += n
	m.peak = max(m.peak, m.used)
	return true
}

// Release takes back n pages of Charge.
func (m *Memory) Release(n uint64) { m.used -= min(n, m.used) }

func (m *Memory) span() uint64 { return uint64(len(m.host)) }

// extend makes sure that a memslot covers addresses below end.
func (m *Memory) extend(end uint64) error {
	have := uint64(0)
	if n := len(m.slots); n > 0 {
		have = m.slots[n-1].End
	}
	for have < end {
		step := uint64(nextSlot)
		if have == 0 {
			step = firstSlot
		}
		r := Run{have, min(have+step, m.span())}
		if m.grow != nil {
			if err := m.grow(len(m.slots), r, m.host[r.Start:r.End]); err != nil {
				return err
			}
		}
		m.slots = append(m.slots, r)
		have = r.End
	}
	return nil
}

// Alloc gives out one page that reads as zeros. The error is ErrLimit when the
// VM has no page left.
func (m *Memory) Alloc() (uint64, error) {
	if m.used >= m.limit {
		return 0, ErrLimit
	}
	var gpa uint64
	if n := len(m.free); n > 0 {
		gpa = m.free[n-1]
		m.free = m.free[:n-1]
	} else if len(m.retired) > 0 && m.bump+PageSize > m.span() {
		if err := m.reuseTables(); err != nil {
			return 0, err
		}
		return m.Alloc()
	} else {
		if m.bump+PageSize > m.span() {
			return 0, ErrLimit
		}
		if err := m.extend(m.bump + PageSize); err != nil {
			return 0, err
		}
		gpa = m.bump
		m.bump += PageSize
	}
	m.used++
	m.peak = max(m.peak, m.used)
	return gpa, nil
}

// AllocRun gives out n adjoining pages that read as zeros.
func (m *Memory) AllocRun(n uint64) (uint64, error) {
	if n > m.limit-m.used || m.bump+n*PageSize > m.span() {
		return 0, ErrLimit
	}
	if err := m.extend(m.bump + n*PageSize); err != nil {
		return 0, err
	}
	gpa := m.bump
	m.bump += n * PageSize
	m.used += n
	m.peak = max(m.peak, m.used)
	return gpa, nil
}

// MapFile gives out n adjoining pages that show the file fd from off,
// privately: writes stay in this VM. The file must not shrink while the VM
// lives (callers pass a sealed memfd). Bytes past its end read as zeros up to
// the end of the last page.
func (m *Memory) MapFile(fd int, off int64, n uint64) (uint64, error) {
	gpa, err := m.AllocRun(n)
	if err != nil {
		return 0, err
	}
	show := m.showFile
	if m.shared != nil {
		show = m.copyFile
	}
	if err := show(Run{gpa, gpa + n*PageSize}, fd, off); err != nil {
		m.used -= n
		for p := gpa; p < gpa+n*PageSize; p += PageSize {
			m.free = append(m.free, p)
		}
		return 0, fmt.Errorf("map a program file: %w", err)
	}
	return gpa, nil
}

func (m *Memory) showFile(r Run, fd int, off int64) error {
	if err := mapFixed(m.host[r.Start:r.End], unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_NORESERVE, fd, off); err != nil {
		return err
	}
	m.files = append(m.files, r)
	return nil
}

// Free takes pages back. Their contents are dropped, and mappings of them that
// the platform still holds are dropped too.
func (m *Memory) Free(runs []Run) error {
	for _, r := range runs {
		in, r := m.splitImage(r)
		if in.Start < in.End {
			if err := m.dropImage(in, false); err != nil {
				return err
			}
			m.used -= (in.End - in.Start) / PageSize
		}
		if r.Start == r.End {
			continue
		}
		if m.shared != nil {
			m.shared.forget(r)
		}
		if err := m.drop(r); err != nil {
			return err
		}
		// Backwards, so that the next allocations go upwards and adjoin.
		for p := r.End; p > r.Start; p -= PageSize {
			m.free = append(m.free, p-PageSize)
		}
		m.used -= (r.End - r.Start) / PageSize
	}
	return nil
}

// maxRetired is how many page tables wait for a flush, which costs some 100 µs
// and makes the guest's next touch of every page dearer.
const maxRetired = 1024

// OnFlush sets the function that makes the platform forget all that it derived
// from page tables; nil for a platform that derives nothing from tables that
// FreeTables takes back.
func (m *Memory) OnFlush(flush func() error) { m.flush = flush }

// AllocTemporaryTable gives out a page for a table of an address space that will
// be given back as a whole: by FreeTables, or in a clone by the next Reset.
func (m *Memory) AllocTemporaryTable() (uint64, error) {
	gpa, err := m.Alloc()
	m.flushDue = m.flushDue || err == nil && m.clone != nil
	return gpa, err
}

// FreeTables takes back the page tables of an address space that is not used any
// more. A virtual machine may have translations of a table that name pages which
// others still use, and find those again when the page becomes a table once
// more; so it is reused only after a flush.
func (m *Memory) FreeTables(tables []uint64) error {
	slices.Sort(tables)
	var runs []Run
	for _, gpa := range tables {
		runs = AddPage(runs, gpa)
	}
	if m.flush == nil {
		return m.Free(runs)
	}
	for _, r := range runs {
		if err := m.drop(r); err != nil {
			return err
		}
		m.used -= (r.End - r.Start) / PageSize
	}
	m.retired = append(m.retired, tables...)
	if len(m.retired) >= maxRetired {
		return m.reuseTables()
	}
	return nil
}

func (m *Memory) reuseTables() error {
	if err := m.flush(); err != nil {
		return fmt.Errorf("flush page tables: %w", err)
	}
	m.free = append(m.free, m.retired...)
	m.retired = m.retired[:0]
	return nil
}

// Zero makes pages read as zeros again, giving their memory back to the host.
func (m *Memory) Zero(runs []Run) error {
	for _, r := range runs {
		in, r := m.splitImage(r)
		if in.Start < in.End {
			if err := m.dropImage(in, true); err != nil {
				return err
			}
		}
		if r.Start == r.End {
			continue
		}
		if err := m.drop(r); err != nil {
			return err
		}
	}
	return nil
}

func (m *Memory) drop(r Run) error {
	if m.shared != nil {
		return m.shared.punch(r)
	}
	for i := 0; i < len(m.files); i++ {
		f := m.files[i]
		s, e := max(f.Start, r.Start), min(f.End, r.End)
		if s >= e {
			continue
		}
		if f.Start < s && e < f.End && len(m.files) >= maxFiles {
			clear(m.host[s:e]) // all of r
			return nil
		}
		if err := mapFixed(m.host[s:e], unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, -1, 0); err != nil {
			return fmt.Errorf("drop file pages: %w", err)
		}
		rest := m.files[:i:i]
		if f.Start < s {
			rest = append(rest, Run{f.Start, s})
		}
		if e < f.End {
			rest = append(rest, Run{e, f.End})
		}
		grown := len(rest) - i
		m.files = append(rest, m.files[i+1:]...)
		i += grown - 1
	}
	return os.NewSyscallError("madvise(MADV_DONTNEED)", unix.Madvise(m.host[r.Start:r.End], unix.MADV_DONTNEED))
}

// Page returns the page at gpa.
func (m *Memory) Page(gpa uint64) []byte { return m.host[gpa : gpa+PageSize : gpa+PageSize] }

// Prefault makes the host give memory to pages before the guest touches them:
// in the guest a first touch costs several times more (22 µs against 3 µs a
// page on the development machine). It is a service that may do nothing.
func (m *Memory) Prefault(r Run) {
	// MADV_POPULATE_WRITE, Linux 5.14. EINVAL before; ENOMEM and EFAULT mean that
	// the host has no memory now, which the guest's own touch will find out.
	_ = unix.Madvise(m.host[r.Start:r.End], unix.MADV_POPULATE_WRITE)
}

// Bytes returns n bytes from gpa.
func (m *Memory) Bytes(gpa, n uint64) []byte { return m.host[gpa : gpa+n : gpa+n] }

// Invalidate makes the platform forget how it maps the runs, without changing
// their contents: the host protection is taken away and given back, so that
// KVM's MMU notifier drops its own entries.
func (m *Memory) Invalidate(runs []Run) error {
	for _, r := range runs {
		if m.shared != nil {
			m.shared.forget(r)
			continue
		}
		b := m.host[r.Start:r.End]
		if err := unix.Mprotect(b, unix.PROT_NONE); err != nil {
			return os.NewSyscallError("mprotect", err)
		}
		if err := unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return os.NewSyscallError("mprotect", err)
		}
	}
	return nil
}

// Resident reports, for each page of r, whether it may hold anything but zeros:
// the host has memory for it, in place or swapped out, or it shows a file.
func (m *Memory) Resident(r Run) ([]bool, error) {
	out := make([]bool, (r.End-r.Start)/PageSize)
	if m.shared != nil {
		return out, m.shared.resident(r, out)
	}
	f := pagemap()
	if f == nil {
		for i := range out {
			out[i] = true
		}
		return out, nil
	}
	// mincore(2) will not do: it does not tell swapped-out pages from untouched ones.
	var buf [512 * pagemapEntry]byte
	for i := 0; i < len(out); {
		b := buf[:min(len(buf), (len(out)-i)*pagemapEntry)]
		page := (m.address() + r.Start) / PageSize
		if _, err := f.ReadAt(b, int64(page+uint64(i))*pagemapEntry); err != nil {
			return nil, err
		}
		for ; len(b) > 0; b = b[pagemapEntry:] {
			const swapped, present = 1 << 62, 1 << 63
			out[i] = binary.LittleEndian.Uint64(b)&(swapped|present) != 0
			i++
		}
	}
	for _, f := range m.files {
		for p := max(f.Start, r.Start); p < min(f.End, r.End); p += PageSize {
			out[(p-r.Start)/PageSize] = true
		}
	}
	return out, nil
}

// pagemapEntry is the size of an entry of /proc/self/pagemap in bytes; proc_pid_pagemap(5).
const pagemapEntry = 8

// Prepare opens what this package reads of /proc, for processes that cannot open
// files later.
func Prepare() { _ = pagemap() }

// pagemap is /proc/self/pagemap, or nil where there is none: every page counts as
// used then. It is opened with the first memory, before a jail may hide it.
var pagemap = sync.OnceValue(func() *os.File {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil
	}
	return f
})
