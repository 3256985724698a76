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
// what is still valid of the lower file, over zeros. In a clone, the pages of the
// image lie under its own.
type content struct {
	size      int64
	lowerSize int64 // bytes before this that no page covers are the lower file's
	own       map[int64]*[pageSize]byte
	n         int64    // pages there are
	base      *content // of an image, without a base of its own; nil for none
	baseEnd   int64    // pages of base from here on do not count
}

// over makes c, a copy of the image's b, a change of b.
func (c *content) over(b *content) {
	if b.own != nil {
		c.own, c.base, c.baseEnd = nil, b, math.MaxInt64
	}
}

// under returns the page of the image, whether or not it was replaced.
func (c *content) under(idx int64) *[pageSize]byte {
	if c.base == nil || idx >= c.baseEnd {
		return nil
	}
	return c.base.own[idx]
}

// get returns a page to be read; nil where there is none.
func (c *content) get(idx int64) *[pageSize]byte {
	if pg, ok := c.own[idx]; ok { // nil: the image's page is gone
		return pg
	}
	return c.under(idx)
}

// each calls f with the index of every page, in any order. f may drop that page.
func (c *content) each(f func(idx int64)) {
	if c.base != nil {
		for i := range c.base.own {
			if _, changed := c.own[i]; !changed && i < c.baseEnd {
				f(i)
			}
		}
	}
	for i, pg := range c.own {
		if pg != nil {
			f(i)
		}
	}
}

func (c *content) put(idx int64, pg *[pageSize]byte) {
	if c.own == nil {
		c.own = map[int64]*[pageSize]byte{}
	}
	c.own[idx] = pg
}

// drop removes a page, if there is one.
func (c *content) drop(idx int64) {
	if c.get(idx) == nil {
		return
	}
	c.n--
	if c.under(idx) != nil {
		c.put(idx, nil)
	} else {
		delete(c.own, idx)
	}
}

// flatten makes c stand without its base.
func (c *content) flatten() {
	if c.base == nil {
		return
	}
	own := make(map[int64]*[pageSize]byte, c.n)
	c.each(func(i int64) { own[i] = c.get(i) })
	c.own, c.base, c.baseEnd = own, nil, 0
}

// blocksOf is what a file of size bytes without holes takes, in units of 512 bytes.
func blocksOf(size int64) int64 { return (size + pageSize - 1) / pageSize * (pageSize / 512) }

// blocks is st_blocks of a file over one of the lower root, which may be none.
func (c *content) blocks(lower *LowerStat) int64 {
	n := c.n * (pageSize / 512)
	if size := min(c.lowerSize, c.size); size == lower.Size {
		return n + lower.Blocks
	} else if size > 0 {
		return n + blocksOf(size)
	}
	return n
}

// readAt reads up to the end of the file.
func (fs *FS) readAt(in *inode, dst []byte, off int64) (int, abi.Errno) {
	c := &fs.st(in).content
	if off >= c.size {
		return 0, 0
	}
	dst = dst[:min(int64(len(dst)), c.size-off)]
	shared := fs.shared[in]
	done := 0
	for done < len(dst) {
		pos := off + int64(done)
		rest := dst[done:]
		idx, in0 := pos/pageSize, int(pos%pageSize)
		pg := c.get(idx)
		if p := sharedPage(shared, idx); p != nil {
			pg = p
		}
		if pg != nil {
			done += copy(rest, pg[in0:])
			continue
		}
		// As far as the next page of the overlay: one read of the lower file.
		n := min(len(rest), pageSize-in0)
		switch {
		case shared != nil:
		case c.n == 0:
			n = len(rest)
		default:
			for i := idx + 1; n < len(rest) && c.get(i) == nil; i++ {
				n = min(n+pageSize, len(rest))
			}
		}
		if errno := fs.readLower(in, c.lowerSize, rest[:n], pos); errno != 0 {
			if done > 0 {
				return done, 0
			}
			return 0, errno
		}
		done += n
	}
	return done, 0
}

// readLower fills dst with what lies under the overlay's pages: the lower file up
// to size, and zeros.
func (fs *FS) readLower(in *inode, size int64, dst []byte, off int64) abi.Errno {
	n := int64(0)
	if off < size {
		n = min(int64(len(dst)), size-off)
		f, errno := fs.open.get(fs.lower, in)
		if errno != 0 {
			return errno
		}
		fs.opened.note(in)
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
func (fs *FS) page(in *inode, idx int64, fill bool) (*[pageSize]byte, abi.Errno) {
	if pg := sharedPage(fs.shared[in], idx); pg != nil {
		return pg, 0
	}
	c := &fs.mut(in).content
	if pg := c.own[idx]; pg != nil {
		return pg, 0
	}
	if old := c.get(idx); old != nil { // charged with the image
		pg := new([pageSize]byte)
		if fill {
			*pg = *old
		}
		c.put(idx, pg)
		return pg, 0
	}
	if errno := fs.charge(1); errno != 0 {
		return nil, errno
	}
	pg := new([pageSize]byte)
	if fill && idx*pageSize < c.lowerSize {
		if errno := fs.readLower(in, c.lowerSize, pg[:], idx*pageSize); errno != 0 {
			fs.release(1)
			return nil, errno
		}
	}
	c.put(idx, pg)
	c.n++
	return pg, 0
}

// writeAt writes and grows the file. A short count means that the budget is used up.
func (fs *FS) writeAt(in *inode, src []byte, off int64) (int, abi.Errno) {
	if off > math.MaxInt64-int64(len(src)) {
		if off == math.MaxInt64 {
			return 0, abi.EFBIG
		}
		src = src[:math.MaxInt64-off]
	}
	fs.clearTail(in, off)
	done := 0
	for done < len(src) {
		pos := off + int64(done)
		in0 := int(pos % pageSize)
		n := min(len(src)-done, pageSize-in0)
		pg, errno := fs.page(in, pos/pageSize, n < pageSize)
		if errno != 0 {
			if done > 0 {
				break
			}
			return 0, errno
		}
		copy(pg[in0:], src[done:done+n])
		done += n
		c := &fs.mut(in).content
		c.size = max(c.size, pos+int64(n))
	}
	if done > 0 {
		fs.touch(in)
	}
	return done, 0
}

// clearTail forgets what mappings wrote past the end of a file that is about to reach
// to end at least.
func (fs *FS) clearTail(in *inode, end int64) {
	size := fs.st(in).content.size
	if rest := size % pageSize; rest != 0 && end > size {
		if pg := sharedPage(fs.shared[in], size/pageSize); pg != nil {
			clear(pg[rest:min(rest+end-size, pageSize)])
		}
	}
}

// truncate sets the size. The bytes a growing file gains are zeros.
func (fs *FS) truncate(in *inode, size int64) {
	c := &fs.mut(in).content
	if size < c.size {
		fs.dropPages(c, (size+pageSize-1)/pageSize, math.MaxInt64/pageSize+1)
		shared := fs.shared[in]
		if shared != nil {
			shared.Truncate(uint64(size+pageSize-1) / pageSize)
		}
		if c.get(size/pageSize) != nil || size%pageSize != 0 && sharedPage(shared, size/pageSize) != nil {
			pg, _ := fs.page(in, size/pageSize, true) // it is there, so nothing fails
			clear(pg[size%pageSize:])
		}
		c.lowerSize = min(c.lowerSize, size)
	}
	fs.clearTail(in, size)
	c.size = size
	fs.touch(in)
}

// dropPages frees the overlay's pages first to end-1.
func (fs *FS) dropPages(c *content, first, end int64) {
	n := c.n
	switch {
	case n == 0:
		return
	case first == 0 && end > math.MaxInt64/pageSize:
		c.own, c.base, c.n = nil, nil, 0
	case end-first < n:
		for i := first; i < end; i++ {
			c.drop(i)
		}
	default:
		if c.base != nil && end > math.MaxInt64/pageSize && first < c.baseEnd {
			for i := range c.base.own {
				if _, changed := c.own[i]; !changed && i >= first && i < c.baseEnd {
					c.n--
				}
			}
			c.baseEnd = first
		}
		c.each(func(i int64) {
			if i >= first && i < end {
				c.drop(i)
			}
		})
	}
	fs.release(n - c.n)
}

// zero makes a range read as zeros: in the file, and in mappings also past its end.
func (fs *FS) zero(in *inode, off, end int64) abi.Errno {
	c := &fs.mut(in).content
	if p := fs.shared[in]; p != nil {
		p.Pages(func(n uint64) {
			at := int64(n) * pageSize
			if a, b := max(off, at), min(end, at+pageSize); a < b {
				clear(p.Page(n)[a-at : b-at])
			}
		})
	}
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
		if errno := fs.zeroPart(in, off, n); errno != 0 {
			return errno
		}
		off += n
	}
	if off >= end {
		return 0
	}
	if n := end % pageSize; n != 0 {
		if errno := fs.zeroPart(in, end-n, n); errno != 0 {
			return errno
		}
		end -= n
	}
	for i := off / pageSize; i < end/pageSize && i*pageSize < c.lowerSize; i++ {
		if sharedPage(fs.shared[in], i) != nil {
			off += pageSize
			continue
		}
		pg, errno := fs.page(in, i, false)
		if errno != 0 {
			return errno
		}
		clear(pg[:])
		off += pageSize
	}
	fs.dropPages(c, off/pageSize, end/pageSize)
	return 0
}

// extent returns the first offset from off on that is data, or that is none. It is past
// the end of the file when there is none.
func (fs *FS) extent(in *inode, off int64, data bool) int64 {
	c := &fs.st(in).content
	shared := fs.shared[in]
	first := off / pageSize
	there := func(idx int64) bool {
		if idx*pageSize < c.lowerSize || c.get(idx) != nil {
			return true
		}
		// A mapping has pages beside those that were written.
		pg := sharedPage(shared, idx)
		return pg != nil && *pg != [pageSize]byte{}
	}
	if there(first) == data {
		return off
	}
	if !data { // data goes on for some pages, each of which takes memory, or is the lower file's
		idx := max(first+1, min(c.lowerSize, c.size)/pageSize)
		for there(idx) {
			idx++
		}
		return idx * pageSize
	}
	// A hole can be long: the pages are looked at, not the hole.
	next := int64(math.MaxInt64 / pageSize)
	found := func(idx int64) {
		if idx > first && idx < next && there(idx) {
			next = idx
		}
	}
	c.each(found)
	if shared != nil {
		shared.Pages(func(n uint64) { found(int64(n)) })
	}
	return next * pageSize
}

// zeroPart zeros bytes inside one page.
func (fs *FS) zeroPart(in *inode, off, n int64) abi.Errno {
	c := &fs.mut(in).content
	idx := off / pageSize
	if c.get(idx) == nil && off >= c.lowerSize || sharedPage(fs.shared[in], idx) != nil {
		return 0
	}
	pg, errno := fs.page(in, idx, true)
	if errno != 0 {
		return errno
	}
	clear(pg[off%pageSize : off%pageSize+n])
	return 0
}

// allocate reserves the pages of a range, or none of them.
func (fs *FS) allocate(in *inode, off, end int64) abi.Errno {
	c := &fs.st(in).content
	first, last := off/pageSize, (end-1)/pageSize
	missing := last - first + 1
	shared := fs.shared[in]
	if shared != nil {
		shared.Pages(func(n uint64) {
			if i := int64(n); i >= first && i <= last {
				missing--
			}
		})
	}
	if missing < c.n {
		for i := first; i <= last; i++ {
			if c.get(i) != nil {
				missing--
			}
		}
	} else {
		c.each(func(i int64) {
			if i >= first && i <= last {
				missing--
			}
		})
	}
	// Asking once for all refuses a huge range before any of it is allocated.
	if errno := fs.charge(missing); errno != 0 {
		return errno
	}
	fs.release(missing)
	for i := first; i <= last; i++ {
		if fs.st(in).content.get(i) != nil || sharedPage(shared, i) != nil {
			continue
		}
		if _, errno := fs.page(in, i, true); errno != 0 {
			return errno
		}
	}
	return 0
}

// lowerCache keeps a few files of the lower root open, so that a guest with many
// open files does not use up the host's descriptors.
type lowerCache struct {
	slots []lowerSlot // made at the first use
	clock uint64
}

type lowerSlot struct {
	in   *inode
	f    LowerFile
	used uint64
}

// lowerOpen is the most files of the lower root that an FS keeps open.
const lowerOpen = 32

// get returns the lower file of in, valid until the next get.
func (l *lowerCache) get(lower Lower, in *inode) (LowerFile, abi.Errno) {
	if l.slots == nil {
		l.slots = make([]lowerSlot, lowerOpen)
	}
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
	f, errno := lower.Open(in.lowerPath, in.lowerStat)
	if errno != 0 {
		return nil, errno
	}
	if oldest.f != nil {
		_ = oldest.f.Close()
	}
	oldest.in, oldest.f, oldest.used = in, f, l.clock
	return f, 0
}

// closeIf closes the files that f is true for.
func (l *lowerCache) closeIf(f func(in *inode) bool) {
	for i := range l.slots {
		if s := &l.slots[i]; s.in != nil && f(s.in) {
			_ = s.f.Close()
			*s = lowerSlot{}
		}
	}
}

func (l *lowerCache) close(in *inode) { l.closeIf(func(x *inode) bool { return x == in }) }

// closeOwn closes the files that were first seen in a layer.
func (l *lowerCache) closeOwn(own *layer) { l.closeIf(func(in *inode) bool { return in.owner == own }) }

func (l *lowerCache) closeAll() { l.closeIf(func(*inode) bool { return true }) }
