// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"bytes"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// SharedPages are the pages of a file that its shared mappings show. While a page is
// there, reads and writes of the file go to it.
type SharedPages interface {
	// Page returns a page by its number in the file; nil when it is not there. It is
	// valid until the next call of a method.
	Page(n uint64) []byte
	// Pages calls f with the number of every page there is.
	Pages(f func(n uint64))
	// Writable reports whether a mapping could be made to write.
	Writable() bool
	// Truncate takes the pages from number n on out of all mappings.
	Truncate(n uint64)
}

// Sharer is a file that can be mapped shared.
type Sharer interface {
	Mapper
	// Shared returns the pages that mappings of the file show, nil when it has none.
	Shared() SharedPages
	// Share says where they are; nil ends it.
	Share(p SharedPages)
	// TakePage reads a page for the mappings, which have it from then on.
	TakePage(n uint64, dst []byte) abi.Errno
	// StalePage reports whether the file has other bytes than page, which is full.
	StalePage(n uint64, page []byte) bool
	// PutPage gives a page back. The memory that it took is free by now; where there
	// is none all the same, it is lost.
	PutPage(n uint64, page []byte)
	// Written marks a change of the contents through a mapping.
	Written()
	// PunchHole makes a range zeros, as fallocate(2) with FALLOC_FL_PUNCH_HOLE, however
	// the file was opened. Errors: EPERM for a sealed one.
	PunchHole(off, end int64) abi.Errno
}

var _ Sharer = (*file)(nil)

func (f *file) Shared() SharedPages { return f.fs.shared[f.d.inode] }

func (f *file) Share(p SharedPages) {
	if p == nil {
		delete(f.fs.shared, f.d.inode)
		return
	}
	if f.fs.shared == nil {
		f.fs.shared = map[*inode]SharedPages{}
	}
	f.fs.shared[f.d.inode] = p
}

func (f *file) TakePage(n uint64, dst []byte) abi.Errno {
	m, errno := f.fs.readAt(f.d.inode, dst, int64(n)*pageSize)
	if errno != 0 {
		return errno
	}
	clear(dst[m:])
	// Its memory is the mapping's from now on.
	if c := &f.fs.st(f.d.inode).content; c.get(int64(n)) != nil {
		f.fs.dropPages(&f.fs.mut(f.d.inode).content, int64(n), int64(n)+1)
	}
	return 0
}

func (f *file) StalePage(n uint64, page []byte) bool {
	if s := f.fs.st(f.d.inode); s.nlink == 0 && s.holds+f.fs.holds[f.d.inode] == 1 {
		return false // nobody will see it
	}
	size := f.size() - int64(n)*pageSize
	if size <= 0 {
		return false
	}
	page = page[:min(size, pageSize)]
	have := make([]byte, len(page))
	c := f.fs.st(f.d.inode).content
	errno := f.fs.readLower(f.d.inode, c.lowerSize, have, int64(n)*pageSize)
	return errno != 0 || !bytes.Equal(have, page)
}

func (f *file) PutPage(n uint64, page []byte) {
	size := f.size() - int64(n)*pageSize
	if size <= 0 {
		return
	}
	if pg, errno := f.fs.page(f.d.inode, int64(n), false); errno == 0 {
		copy(pg[:], page)
		clear(pg[min(size, pageSize):])
	}
}

func (f *file) Written() { f.fs.touch(f.d.inode) }

// sharedPage returns a page that mappings show, nil for none.
func sharedPage(p SharedPages, idx int64) *[pageSize]byte {
	if p == nil {
		return nil
	}
	if b := p.Page(uint64(idx)); b != nil {
		return (*[pageSize]byte)(b)
	}
	return nil
}

// sharedBlocks counts, in units of 512 bytes, the pages that mappings have and that
// neither the overlay nor the lower file counts.
func (fs *FS) sharedBlocks(in *inode, c *content) int64 {
	p := fs.shared[in]
	if p == nil {
		return 0
	}
	n := int64(0)
	p.Pages(func(idx uint64) {
		if int64(idx)*pageSize >= c.lowerSize {
			n += pageSize / 512
		}
	})
	return n
}
