// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tableReserve returns how many pages of a clone are kept for page tables that
// come into being during its events: they outlive resets, so they must not lie
// among the pages that a reset drops. There are enough to use all memory densely
// and a thousand stacks or other mappings far apart. Unused ones cost addresses.
func tableReserve(limit uint64) uint64 { return 1024 + limit/512 }

// ErrTables means that a clone cannot be reset because its event made more page
// tables than it keeps.
var ErrTables = errors.New("the event used more page tables than a clone keeps from one event to the next")

// Image is the frozen memory of a VM at one moment. Any number of clones may
// use it at the same time.
type Image struct {
	fd    int
	off   int64  // of guest physical address 0 in fd
	bytes []byte // the whole image, read-only
	used  uint64 // pages, as the limit counts them
	limit uint64 // pages
}

var zeroPage = make([]byte, PageSize)

// Freeze copies the memory into an image. The memory itself is not changed.
func (m *Memory) Freeze() (*Image, error) {
	fd, err := unix.MemfdCreate("kontain-snapshot", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	img := &Image{fd: fd, used: m.used, limit: m.limit}
	if err := img.fill(m); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("freeze %d MiB of guest memory: %w", m.bump>>20, err)
	}
	return img, nil
}

func (img *Image) fill(m *Memory) error {
	if err := unix.Ftruncate(img.fd, int64(m.bump)); err != nil {
		return os.NewSyscallError("ftruncate", err)
	}
	there, err := m.Resident(Run{0, m.bump})
	if err != nil {
		return err
	}
	for _, p := range m.free {
		there[p/PageSize] = false
	}
	for _, p := range m.retired {
		there[p/PageSize] = false
	}
	for i := 0; i < len(there); i++ {
		gpa := uint64(i) * PageSize
		// Pages of zeros stay holes, so that the image is no larger than it must be.
		if !there[i] || bytes.Equal(m.Page(gpa), zeroPage) {
			continue
		}
		if n, err := unix.Pwrite(img.fd, m.Page(gpa), int64(gpa)); err != nil || n != PageSize {
			return fmt.Errorf("write page %d: %w", i, errors.Join(os.NewSyscallError("pwrite", err), shortWrite(n)))
		}
	}
	if _, err := unix.FcntlInt(uintptr(img.fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		return os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
	}
	img.bytes, err = unix.Mmap(img.fd, 0, int(m.bump), unix.PROT_READ, unix.MAP_SHARED)
	return os.NewSyscallError("mmap", err)
}

func shortWrite(n int) error {
	if n == PageSize {
		return nil
	}
	return fmt.Errorf("%d of %d bytes were written", n, PageSize)
}

// Size returns the length of the image in bytes, holes included.
func (img *Image) Size() uint64 { return uint64(len(img.bytes)) }

// Bytes returns n bytes of the image from gpa; they must not be written.
func (img *Image) Bytes(gpa, n uint64) []byte { return img.bytes[gpa : gpa+n : gpa+n] }

// Word returns the 64-bit word at gpa.
func (img *Image) Word(gpa uint64) uint64 { return binary.LittleEndian.Uint64(img.bytes[gpa:]) }

// Close frees the image once no clone uses it any more.
func (img *Image) Close() error {
	return errors.Join(os.NewSyscallError("munmap", unix.Munmap(img.bytes)), unix.Close(img.fd))
}

// clone is what a Memory made from an image has of its own.
type clone struct {
	img    *Image
	base   uint64 // first address after the image and the reserve for tables
	table  uint64 // first address of the reserve that was not given out
	spilt  bool   // the reserve was not enough
	dirty  []Run  // pages of the image that this clone has copies of
	usedAt uint64 // m.used at the reset
}

// Clone makes a memory that starts as the image. Its pages are shared with the
// image until they are written.
func (img *Image) Clone() (*Memory, error) { return img.cloneTo(New, (*Memory).mapImage) }

// CloneShared is Clone for platforms that need NewShared. The image is copied.
func (img *Image) CloneShared() (*Memory, error) { return img.cloneTo(NewShared, (*Memory).copyImage) }

func (img *Image) cloneTo(make func(uint64) (*Memory, error), show func(*Memory, *Image) error) (*Memory, error) {
	size := img.Size()
	base := size + tableReserve(img.limit)*PageSize
	m, err := make(base + img.limit*PageSize)
	if err != nil {
		return nil, err
	}
	m.limit, m.used, m.peak = img.limit, img.used, img.used
	if err := show(m, img); err != nil {
		_ = m.Close()
		return nil, err
	}
	if err := m.extend(base); err != nil {
		_ = m.Close()
		return nil, err
	}
	m.clone = &clone{img: img, base: base, table: size, usedAt: img.used}
	m.bump = base
	return m, nil
}

func (m *Memory) mapImage(img *Image) error {
	if err := mapFixed(m.host[:img.Size()], unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_NORESERVE, img.fd, img.off); err != nil {
		return fmt.Errorf("map a snapshot: %w", err)
	}
	return nil
}

// AllocTable gives out a page for a page table, which is never freed. In a
// clone it survives resets, of which there can be none once the reserve for such
// pages is used up.
func (m *Memory) AllocTable() (uint64, error) {
	c := m.clone
	if c == nil || c.table == c.base {
		gpa, err := m.Alloc()
		if err == nil && c != nil {
			c.spilt = true
		}
		return gpa, err
	}
	if m.used >= m.limit {
		return 0, ErrLimit
	}
	m.used++
	m.peak = max(m.peak, m.used)
	gpa := c.table
	c.table += PageSize
	c.usedAt++
	return gpa, nil
}

// ImageEnd is the end of the pages that belong to the image of a clone; 0 when
// the memory is none.
func (m *Memory) ImageEnd() uint64 {
	if m.clone == nil {
		return 0
	}
	return m.clone.img.Size()
}

// ResetStats counts what a reset did.
type ResetStats struct {
	Dirty   int // pages of the image copied back
	Dropped int // pages of the event given back to the host
}

// Reset makes the memory of a clone what its image was, except for the page
// tables: keep reports whether a page is one, and what was changed in those is
// the business of whoever edited them. The error is ErrTables, or a failure of
// the host.
//
// The page map is scanned each time. That the thread that ran the guest had no
// page fault does not mean that no page was written for the first time: KVM may
// have a kernel thread resolve a fault (asynchronous page faults).
func (m *Memory) Reset(keep func(gpa uint64) bool) (ResetStats, error) {
	c := m.clone
	var st ResetStats
	if c.spilt {
		return st, ErrTables
	}
	find := privatePages
	if m.shared != nil {
		find = m.changedPages
	}
	dirty, err := find(m.host[:c.img.Size()], c.dirty[:0])
	if err != nil {
		return st, err
	}
	c.dirty = dirty
	for _, r := range c.dirty {
		for p := r.Start; p < r.End; {
			if keep(p) {
				p += PageSize
				continue
			}
			e := p + PageSize
			for e < r.End && !keep(e) {
				e += PageSize
			}
			copy(m.host[p:e], c.img.bytes[p:e])
			st.Dirty += int((e - p) / PageSize)
			p = e
		}
	}
	if m.flushDue && m.flush != nil {
		if err := m.flush(); err != nil {
			return st, fmt.Errorf("flush page tables: %w", err)
		}
	}
	m.flushDue, m.retired = false, m.retired[:0]
	if m.bump > c.base {
		st.Dropped = int((m.bump - c.base) / PageSize)
		if m.shared != nil {
			m.shared.forget(Run{c.base, m.bump})
		}
		if err := m.drop(Run{c.base, m.bump}); err != nil {
			return st, err
		}
	}
	m.bump, m.free, m.used = c.base, m.free[:0], c.usedAt
	m.peak = m.used
	return st, nil
}

// Differences compares a clone with its image and returns the pages that differ
// and are not kept; a check for tests, which reads all of the memory.
func (m *Memory) Differences(keep func(gpa uint64) bool) []uint64 {
	var out []uint64
	for p := uint64(0); p < m.clone.img.Size(); p += PageSize {
		if !keep(p) && !bytes.Equal(m.Page(p), m.clone.img.Bytes(p, PageSize)) {
			out = append(out, p)
		}
	}
	return out
}

// dropImage takes pages of the image away from the guest: they are not used
// again before a reset brings their contents back.
func (m *Memory) dropImage(r Run, zero bool) error {
	if zero {
		clear(m.host[r.Start:r.End])
		return nil
	}
	return m.Invalidate([]Run{r})
}

// splitImage cuts a run in what belongs to the image and what does not.
func (m *Memory) splitImage(r Run) (in, out Run) {
	end := m.ImageEnd()
	in, out = r, r
	in.End = max(r.Start, min(r.End, end))
	out.Start = min(r.End, max(r.Start, end))
	return in, out
}
