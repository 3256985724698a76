// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"io"
	"math"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// content is the data of a regular file: the pages that the overlay has, over
// what is still valid of the lower file, over zeros.
type content struct {
	size      int64
	lowerSize int64 // bytes before this that no page covers are the lower file's
	pages     map[int64]*[pageSize]byte
}

func (c *content) blocks() int64 {
	return (min(c.lowerSize, c.size)+511)/512 + int64(len(c.pages))*(pageSize/512)
}

// readAt reads up to the end of the file.
func (in *inode) readAt(dst []byte, off int64) (int, abi.Errno) {
	c := &in.content
	if off >= c.size {
		return 0, 0
	}
	dst = dst[:min(int64(len(dst)), c.size-off)]
	done := 0
	for done < len(dst) {
		pos := off + int64(done)
		rest := dst[done:]
		idx, in0 := pos/pageSize, int(pos%pageSize)
		if pg := c.pages[idx]; pg != nil {
			done += copy(rest, pg[in0:])
			continue
		}
		// As far as the next page of the overlay: one read of the lower file.
		n := min(len(rest), pageSize-in0)
		if len(c.pages) == 0 {
			n = len(rest)
		} else {
			for i := idx + 1; n < len(rest) && c.pages[i] == nil; i++ {
				n = min(n+pageSize, len(rest))
			}
		}
		if errno := in.readLower(rest[:n], pos); errno != 0 {
			if done > 0 {
				return done, 0
			}
			return 0, errno
		}
		done += n
	}
	return done, 0
}

// readLower fills dst with what lies under the overlay's pages.
func (in *inode) readLower(dst []byte, off int64) abi.Errno {
	n := int64(0)
	if off < in.content.lowerSize {
		n = min(int64(len(dst)), in.content.lowerSize-off)
		f, errno := in.fs.open.get(in)
		if errno != 0 {
			return errno
		}
		m, err := f.ReadAt(dst[:n], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return abi.EIO
		}
		n = int64(m) // a host file that shrank reads as zeros
	}
	clear(dst[n:])
	return 0
}

// page returns a page to be changed. With fill it has the file's bytes,
// otherwise the caller overwrites all of it.
func (in *inode) page(idx int64, fill bool) (*[pageSize]byte, abi.Errno) {
	c := &in.content
	if pg := c.pages[idx]; pg != nil {
		return pg, 0
	}
	if errno := in.fs.charge(1); errno != 0 {
		return nil, errno
	}
	pg := new([pageSize]byte)
	if fill && idx*pageSize < c.lowerSize {
		if errno := in.readLower(pg[:], idx*pageSize); errno != 0 {
			in.fs.release(1)
			return nil, errno
		}
	}
	if c.pages == nil {
		c.pages = map[int64]*[pageSize]byte{}
	}
	c.pages[idx] = pg
	return pg, 0
}

// writeAt writes and grows the file. A short count means that the budget is used up.
func (in *inode) writeAt(src []byte, off int64) (int, abi.Errno) {
	c := &in.content
	if off > math.MaxInt64-int64(len(src)) {
		if off == math.MaxInt64 {
			return 0, abi.EFBIG
		}
		src = src[:math.MaxInt64-off]
	}
	done := 0
	for done < len(src) {
		pos := off + int64(done)
		in0 := int(pos % pageSize)
		n := min(len(src)-done, pageSize-in0)
		pg, errno := in.page(pos/pageSize, n < pageSize)
		if errno != 0 {
			if done > 0 {
				break
			}
			return 0, errno
		}
		copy(pg[in0:], src[done:done+n])
		done += n
		c.size = max(c.size, pos+int64(n))
	}
	if done > 0 {
		in.touch()
	}
	return done, 0
}

// truncate sets the size. The bytes a growing file gains are zeros.
func (in *inode) truncate(size int64) {
	c := &in.content
	if size < c.size {
		in.dropPages((size+pageSize-1)/pageSize, math.MaxInt64/pageSize+1)
		if pg := c.pages[size/pageSize]; pg != nil {
			clear(pg[size%pageSize:])
		}
		c.lowerSize = min(c.lowerSize, size)
	}
	c.size = size
	in.touch()
}

// dropPages frees the overlay's pages first to end-1.
func (in *inode) dropPages(first, end int64) {
	c := &in.content
	n := int64(len(c.pages))
	if end-first < n {
		for i := first; i < end; i++ {
			delete(c.pages, i)
		}
	} else {
		for i := range c.pages {
			if i >= first && i < end {
				delete(c.pages, i)
			}
		}
	}
	in.fs.release(n - int64(len(c.pages)))
}

// zero makes a range inside the file read as zeros.
func (in *inode) zero(off, end int64) abi.Errno {
	c := &in.content
	end = min(end, c.size)
	if off >= end {
		return 0
	}
	// Where the lower file ends inside the range, its end moves down instead.
	if end >= c.lowerSize {
		c.lowerSize = min(c.lowerSize, off)
	}
	for off < end && off%pageSize != 0 || off < end && end-off < pageSize {
		n := min(end-off, pageSize-off%pageSize)
		if errno := in.zeroPart(off, n); errno != 0 {
			return errno
		}
		off += n
	}
	if off >= end {
		return 0
	}
	if n := end % pageSize; n != 0 {
		if errno := in.zeroPart(end-n, n); errno != 0 {
			return errno
		}
		end -= n
	}
	for i := off / pageSize; i < end/pageSize && i*pageSize < c.lowerSize; i++ {
		pg, errno := in.page(i, false)
		if errno != 0 {
			return errno
		}
		clear(pg[:])
		off += pageSize
	}
	in.dropPages(off/pageSize, end/pageSize)
	return 0
}

// zeroPart zeros bytes inside one page.
func (in *inode) zeroPart(off, n int64) abi.Errno {
	c := &in.content
	idx := off / pageSize
	if c.pages[idx] == nil && off >= c.lowerSize {
		return 0
	}
	pg, errno := in.page(idx, true)
	if errno != 0 {
		return errno
	}
	clear(pg[off%pageSize : off%pageSize+n])
	return 0
}

// allocate reserves the pages of a range, or none of them.
func (in *inode) allocate(off, end int64) abi.Errno {
	c := &in.content
	first, last := off/pageSize, (end-1)/pageSize
	missing := last - first + 1
	if missing < int64(len(c.pages)) {
		for i := first; i <= last; i++ {
			if c.pages[i] != nil {
				missing--
			}
		}
	} else {
		for i := range c.pages {
			if i >= first && i <= last {
				missing--
			}
		}
	}
	// Asking once for all refuses a huge range before any of it is allocated.
	if errno := in.fs.charge(missing); errno != 0 {
		return errno
	}
	in.fs.release(missing)
	for i := first; i <= last; i++ {
		if _, errno := in.page(i, true); errno != 0 {
			return errno
		}
	}
	return 0
}

func (c *content) free(in *inode) {
	in.fs.release(int64(len(c.pages)))
	*c = content{}
}

// lowerCache keeps a few files of the lower root open, so that a guest with many
// open files does not use up the host's descriptors.
type lowerCache struct {
	slots [32]struct {
		in   *inode
		f    LowerFile
		used uint64
	}
	clock uint64
}

// get returns the lower file of in, valid until the next get.
func (l *lowerCache) get(in *inode) (LowerFile, abi.Errno) {
	l.clock++
	oldest := &l.slots[0]
	for i := range l.slots {
		s := &l.slots[i]
		if s.in == in {
			s.used = l.clock
			return s.f, 0
		}
		if s.used < oldest.used {
			oldest = s
		}
	}
	f, errno := in.fs.lower.Open(in.lowerPath, in.lowerStat)
	if errno != 0 {
		return nil, errno
	}
	if oldest.f != nil {
		_ = oldest.f.Close()
	}
	oldest.in, oldest.f, oldest.used = in, f, l.clock
	return f, 0
}

func (l *lowerCache) close(in *inode) {
	for i := range l.slots {
		if s := &l.slots[i]; s.in == in {
			_ = s.f.Close()
			s.in, s.f, s.used = nil, nil, 0
		}
	}
}

func (l *lowerCache) closeAll() {
	for i := range l.slots {
		if s := &l.slots[i]; s.in != nil {
			_ = s.f.Close()
			s.in, s.f, s.used = nil, nil, 0
		}
	}
}
