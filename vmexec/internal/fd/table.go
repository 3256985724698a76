// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"kontain.dev/eventing/vmexec/internal/abi"
)

// System is what all descriptor tables of one VM share: the inode numbers of files
// that are on no file system, and the limits on what the host holds for pipes and
// epoll sets.
type System struct {
	// Memory is charged for what pipes hold; nil: nothing is. Set it before the
	// first pipe is made.
	Memory Accountant

	inode         uint64
	tables        uint64 // last number of a table
	pipeBytes     int    // sum of the capacities of all pipes
	watches       int    // descriptors in epoll sets
	nestedWatches int    // of those, epoll descriptors
}

// Accountant counts pages of 4 KiB against a VM's limit; guestmem.Memory is one.
type Accountant interface {
	// Charge counts pages. It reports false, and counts nothing, beyond the limit.
	Charge(pages uint64) bool
	// Release takes pages back.
	Release(pages uint64)
}

// NextInode returns an inode number that no other file of System.NextInode has.
func (s *System) NextInode() uint64 {
	s.inode++
	return s.inode
}

// Description counts the descriptors that share one open file. It calls the
// file's Release when the last is gone.
type Description struct {
	File
	refs  int
	items *epollItem // the first of those that watch it, linked by descNext
}

// NewDescription wraps a file with a count of one.
func NewDescription(f File) *Description { return &Description{File: f, refs: 1} }

// Ref counts one more holder.
func (d *Description) Ref() *Description {
	d.refs++
	return d
}

// Refs returns the number of holders.
func (d *Description) Refs() int { return d.refs }

// Unref drops one holder. The last one takes the file out of all epoll sets and
// releases it.
func (d *Description) Unref() {
	d.refs--
	if d.refs != 0 {
		return
	}
	for d.items != nil {
		d.items.ep.remove(d.items)
	}
	d.File.Release()
}

// Descriptor is one entry of a table.
type Descriptor struct {
	FD      int32
	File    File
	Cloexec bool
}

type slot struct {
	desc    *Description // nil: free
	cloexec bool
}

// Table maps descriptors of a process to open file descriptions.
type Table struct {
	sys   *System
	num   uint64
	slots []slot
	limit int
	free  int // no slot below it is free
}

// NewTable returns an empty table for descriptors from 0 up to limit-1.
func NewTable(limit int) *Table { return &Table{sys: &System{tables: 1}, num: 1, limit: limit} }

// Number returns a number that no other table of the VM ever has; a table that
// CloneInto makes has that of its source. It is what locks of a process go by.
func (t *Table) Number() uint64 { return t.num }

// ProcessCloser is a file that is told when a process has closed a descriptor of it,
// even though others may be open.
type ProcessCloser interface{ ClosedBy(table uint64) }

// unref drops a descriptor's description.
func (t *Table) unref(d *Description) {
	if c, ok := d.File.(ProcessCloser); ok {
		c.ClosedBy(t.num)
	}
	d.Unref()
}

// System returns what this table shares with its clones.
func (t *Table) System() *System { return t.sys }

// Limit returns the number of descriptors the table may hold (RLIMIT_NOFILE).
func (t *Table) Limit() int { return t.limit }

// SetLimit changes Limit. Descriptors that are open above it stay open.
func (t *Table) SetLimit(n int) { t.limit = n }

func (t *Table) slot(fd int32) *slot {
	if fd < 0 || int(fd) >= len(t.slots) || t.slots[fd].desc == nil {
		return nil
	}
	return &t.slots[fd]
}

// Get returns the file of a descriptor, or EBADF.
func (t *Table) Get(fd int32) (File, abi.Errno) {
	if s := t.slot(fd); s != nil {
		return s.desc.File, abi.OK
	}
	return nil, abi.EBADF
}

// Description returns the open file description of a descriptor, or EBADF. The
// caller gets no reference of its own.
func (t *Table) Description(fd int32) (*Description, abi.Errno) {
	if s := t.slot(fd); s != nil {
		return s.desc, abi.OK
	}
	return nil, abi.EBADF
}

// Install opens a new description of f at the lowest free descriptor that is at
// least min. f must not be in a table yet: InstallDescription shares one. When it
// fails (EMFILE: no descriptor below the limit is free) f is not released.
func (t *Table) Install(f File, cloexec bool, min int32) (int32, abi.Errno) {
	return t.install(NewDescription(f), cloexec, min)
}

// InstallDescription is Install for a description that is in use: it takes a
// reference of its own.
func (t *Table) InstallDescription(d *Description, cloexec bool, min int32) (int32, abi.Errno) {
	fd, errno := t.install(d, cloexec, min)
	if errno == abi.OK {
		d.Ref()
	}
	return fd, errno
}

func (t *Table) install(d *Description, cloexec bool, min int32) (int32, abi.Errno) {
	i := max(int(min), t.free)
	for i < len(t.slots) && t.slots[i].desc != nil {
		i++
	}
	if i >= t.limit {
		return 0, abi.EMFILE
	}
	if int(min) <= t.free {
		t.free = i + 1
	}
	t.put(i, slot{desc: d, cloexec: cloexec})
	return int32(i), abi.OK
}

// HasRoom reports whether a descriptor is free for Install.
func (t *Table) HasRoom() bool {
	for i := t.free; i < t.limit; i++ {
		if i >= len(t.slots) || t.slots[i].desc == nil {
			return true
		}
	}
	return false
}

func (t *Table) put(i int, s slot) {
	if i >= len(t.slots) {
		t.slots = append(t.slots, make([]slot, i+1-len(t.slots))...)
	}
	t.slots[i] = s
}

// InstallAt makes fd refer to the description d, as dup2(2): what was open there
// is closed first. EBADF when fd is negative or not below the limit.
func (t *Table) InstallAt(d *Description, cloexec bool, fd int32) abi.Errno {
	if fd < 0 || int(fd) >= t.limit {
		return abi.EBADF
	}
	d.Ref() // before the close: it may be the same description
	if s := t.slot(fd); s != nil {
		t.unref(s.desc)
	}
	t.put(int(fd), slot{desc: d, cloexec: cloexec})
	return abi.OK
}

// Close frees a descriptor, and releases the file when it was the last one.
// EBADF when it is not open.
func (t *Table) Close(fd int32) abi.Errno {
	s := t.slot(fd)
	if s == nil {
		return abi.EBADF
	}
	d := s.desc
	*s = slot{}
	t.free = min(t.free, int(fd))
	t.unref(d)
	return abi.OK
}

// Cloexec returns the FD_CLOEXEC flag, or EBADF.
func (t *Table) Cloexec(fd int32) (bool, abi.Errno) {
	s := t.slot(fd)
	if s == nil {
		return false, abi.EBADF
	}
	return s.cloexec, abi.OK
}

// SetCloexec sets the FD_CLOEXEC flag. EBADF when fd is not open.
func (t *Table) SetCloexec(fd int32, on bool) abi.Errno {
	s := t.slot(fd)
	if s == nil {
		return abi.EBADF
	}
	s.cloexec = on
	return abi.OK
}

// List returns the open descriptors in ascending order.
func (t *Table) List() []Descriptor {
	var l []Descriptor
	for i, s := range t.slots {
		if s.desc != nil {
			l = append(l, Descriptor{FD: int32(i), File: s.desc.File, Cloexec: s.cloexec})
		}
	}
	return l
}

// Clone returns a copy of the table that shares the descriptions, as fork(2).
func (t *Table) Clone() *Table {
	t.sys.tables++
	c := &Table{sys: t.sys, num: t.sys.tables, slots: make([]slot, len(t.slots)), limit: t.limit, free: t.free}
	copy(c.slots, t.slots)
	for _, s := range c.slots {
		if s.desc != nil {
			s.desc.Ref()
		}
	}
	return c
}

// CloseExec closes the descriptors that have FD_CLOEXEC, as execve(2).
func (t *Table) CloseExec() {
	for i, s := range t.slots {
		if s.desc != nil && s.cloexec {
			t.Close(int32(i))
		}
	}
}

// CloseRange closes the open descriptors from first to last.
func (t *Table) CloseRange(first, last uint32) {
	for i := int(first); i < len(t.slots) && i <= int(last); i++ {
		if t.slots[i].desc != nil {
			t.Close(int32(i))
		}
	}
}

// SetCloexecRange sets FD_CLOEXEC on the open descriptors from first to last.
func (t *Table) SetCloexecRange(first, last uint32) {
	for i := int(first); i < len(t.slots) && i <= int(last); i++ {
		if t.slots[i].desc != nil {
			t.slots[i].cloexec = true
		}
	}
}

// CloseAll closes every descriptor.
func (t *Table) CloseAll() { t.CloseRange(0, ^uint32(0)) }
