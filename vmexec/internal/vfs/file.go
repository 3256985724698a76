// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"math"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// handle is what every open file of the tree has.
type handle struct {
	fs    *FS
	d     *dentry
	flags int
	pos   int64

	lockID uint64 // see OpenOwner; 0 when it never had a lock
}

func newHandle(fs *FS, d *dentry, flags int) handle {
	fs.hold(d.inode)
	return handle{fs: fs, d: d, flags: flags & statusMask}
}

func (h *handle) Path() Path                  { return Path{h.fs, h.d} }
func (h *handle) Stat() (abi.Stat, abi.Errno) { return h.fs.stat(h.d.inode) }
func (h *handle) Queue() *waitq.Queue         { return nil }
func (h *handle) StatusFlags() int            { return h.flags }
func (h *handle) SetStatusFlags(flags int)    { h.flags = h.flags&^setMask | flags&setMask }
func (h *handle) Readiness() fd.Events        { return fd.In | fd.Out }

// Release gives up the file and the locks that belong to the open file.
func (h *handle) Release() {
	if h.lockID != 0 {
		h.fs.dropLocks(h.d.inode, LockOwner{Open: h.lockID})
	}
	if len(h.fs.watches) != 0 && h.flags&unix.O_PATH == 0 {
		if h.canWrite() {
			h.fs.event(h.d, unix.IN_CLOSE_WRITE)
		} else {
			h.fs.event(h.d, unix.IN_CLOSE_NOWRITE)
		}
	}
	h.fs.drop(h.d.inode)
}

func (h *handle) id() MapID   { return MapID{h.d.inode.dev, h.d.inode.ino} }
func (h *handle) size() int64 { return h.fs.st(h.d.inode).content.size }

func (h *handle) canRead() bool {
	return h.flags&unix.O_ACCMODE == unix.O_RDONLY || h.flags&unix.O_ACCMODE == unix.O_RDWR
}

func (h *handle) canWrite() bool {
	return h.flags&unix.O_ACCMODE == unix.O_WRONLY || h.flags&unix.O_ACCMODE == unix.O_RDWR
}

// at turns the offset of a Read or Write into a position.
func (h *handle) at(off int64) (int64, abi.Errno) {
	if off == fd.CurrentOffset {
		return h.pos, 0
	}
	if off < 0 {
		return 0, abi.EINVAL
	}
	return off, 0
}

// moved advances the position after a call at the current offset.
func (h *handle) moved(off, pos int64) {
	if off == fd.CurrentOffset {
		h.pos = pos
	}
}

// seek moves the position within a file of the given size.
func (h *handle) seek(off int64, whence int, size int64) (int64, abi.Errno) {
	base := int64(0)
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		base = h.pos
	case unix.SEEK_END:
		base = size
	case unix.SEEK_DATA, unix.SEEK_HOLE:
		if off < 0 || off >= size {
			return 0, abi.ENXIO
		}
		if whence == unix.SEEK_HOLE {
			off = size
		}
	default:
		return 0, abi.EINVAL
	}
	if off > 0 && base > math.MaxInt64-off {
		return 0, abi.EOVERFLOW
	}
	if base+off < 0 {
		return 0, abi.EINVAL
	}
	h.pos = base + off
	return h.pos, 0
}

// Mapper is a file that mmap(2) can map.
type Mapper interface {
	Located
	// MapID identifies the file: the same for every open file of it.
	MapID() MapID
	// MapRead copies the file's bytes from off and returns how many there were
	// before its end. It also works after Release, while MapHold is in effect.
	MapRead(off int64, dst []byte) (int, abi.Errno)
	// MapWrite stores bytes of a shared mapping; those past the end of the file
	// are dropped.
	MapWrite(off int64, src []byte) abi.Errno
	// MapSize is the size of the file in bytes now.
	MapSize() int64
	// MapHold keeps the contents of a removed file until MapDrop, as a mapping does.
	MapHold()
	MapDrop()
}

// MapID identifies a file within a VM.
type MapID struct{ Dev, Ino uint64 }

// Truncater is a file that ftruncate(2) and fallocate(2) work on.
type Truncater interface {
	Located
	// Truncate sets the size. EINVAL when the file is not open for writing.
	Truncate(size int64) abi.Errno
	// Fallocate does as fallocate(2), with the modes 0, KEEP_SIZE, PUNCH_HOLE and
	// ZERO_RANGE.
	Fallocate(mode uint32, off, length int64) abi.Errno
}

// file is an open regular file.
type file struct {
	handle
	writer bool // it is counted in inodeState.writers
}

// newFile opens a file. Preconditions: one to be written to is not run.
func newFile(fs *FS, d *dentry, flags int) *file {
	f := &file{handle: newHandle(fs, d, flags)}
	if f.canWrite() {
		f.writer = true
		fs.addWriters(d.inode, 1)
	}
	return f
}

// Release gives up the file.
func (f *file) Release() {
	if f.writer {
		f.writer = false
		f.fs.addWriters(f.d.inode, -1)
	}
	f.handle.Release()
}

// Read reads as read(2) or pread(2).
func (f *file) Read(dst fd.Buffers, off int64) (int, abi.Errno) {
	if !f.canRead() {
		return 0, abi.EBADF
	}
	pos, errno := f.at(off)
	if errno != 0 {
		return 0, errno
	}
	done := 0
	for _, b := range dst {
		n, errno := f.fs.readAt(f.d.inode, b, pos)
		if errno != 0 && done == 0 {
			return 0, errno
		}
		done += n
		pos += int64(n)
		if n < len(b) {
			break
		}
	}
	f.moved(off, pos)
	if done > 0 {
		f.fs.event(f.d, unix.IN_ACCESS)
	}
	return done, 0
}

// Write writes as write(2) or pwrite(2).
func (f *file) Write(src fd.Buffers, off int64) (int, abi.Errno) {
	if !f.canWrite() {
		return 0, abi.EBADF
	}
	pos, errno := f.at(off)
	if errno != 0 {
		return 0, errno
	}
	if f.flags&unix.O_APPEND != 0 {
		pos = f.size() // pwrite too: see its BUGS section
	}
	if s := f.fs.st(f.d.inode); s.seals != 0 && src.Len() > 0 {
		if s.seals&sealWrites != 0 {
			return 0, abi.EPERM
		}
		// As in Linux: page by page, and the one that would reach beyond is refused.
		if size := f.size(); s.seals&unix.F_SEAL_GROW != 0 && int64(src.Len()) > size-pos {
			room := size&^(pageSize-1) - pos
			if room <= 0 {
				return 0, abi.EPERM
			}
			src = src.Take(int(room))
		}
	}
	done := 0
	for _, b := range src {
		if len(b) == 0 {
			continue
		}
		n, errno := f.fs.writeAt(f.d.inode, b, pos)
		if errno != 0 && done == 0 {
			return 0, errno
		}
		done += n
		pos += int64(n)
		if n < len(b) {
			break
		}
	}
	f.moved(off, pos)
	if done > 0 {
		f.fs.event(f.d, unix.IN_MODIFY)
	}
	return done, 0
}

// Lseek moves the position. For SEEK_DATA and SEEK_HOLE, what the lower root has and what
// was written or allocated counts as data, page by page.
func (f *file) Lseek(off int64, whence int) (int64, abi.Errno) {
	size := f.size()
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return f.seek(off, whence, size)
	}
	if off < 0 || off >= size {
		return 0, abi.ENXIO
	}
	at := f.fs.extent(f.d.inode, off, whence == unix.SEEK_DATA)
	if whence == unix.SEEK_DATA && at >= size {
		return 0, abi.ENXIO
	}
	f.pos = min(at, size)
	return f.pos, 0
}

func (f *file) Truncate(size int64) abi.Errno {
	if !f.canWrite() || size < 0 {
		return abi.EINVAL
	}
	if errno := f.fs.sealedSize(f.d.inode, size); errno != 0 {
		return errno
	}
	f.fs.truncate(f.d.inode, size)
	f.fs.event(f.d, unix.IN_MODIFY)
	return 0
}

func (f *file) Fallocate(mode uint32, off, length int64) abi.Errno {
	in := f.d.inode
	switch {
	case off < 0 || length <= 0:
		return abi.EINVAL
	case !f.canWrite():
		return abi.EBADF
	case off > math.MaxInt64-length:
		return abi.EFBIG
	}
	end := off + length
	if end > f.size() && mode&unix.FALLOC_FL_PUNCH_HOLE == 0 { // as in Linux, also when the size is kept
		if errno := f.fs.sealed(in, unix.F_SEAL_GROW); errno != 0 {
			return errno
		}
	}
	if mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		if errno := f.SealedWrite(); errno != 0 {
			return errno
		}
	}
	const keep, punch, zero = unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE
	switch mode {
	case 0, keep:
		if errno := f.fs.allocate(in, off, end); errno != 0 {
			return errno
		}
	case punch | keep:
		return f.PunchHole(off, end)
	case zero, zero | keep:
		if errno := f.fs.zero(in, off, end); errno != 0 {
			return errno
		}
	default:
		return abi.EOPNOTSUPP
	}
	if c := &f.fs.mut(in).content; mode&keep == 0 && end > c.size {
		f.fs.clearTail(in, end)
		c.size = end
	}
	f.fs.touch(in)
	f.fs.event(f.d, unix.IN_MODIFY)
	return 0
}

// PunchHole implements Sharer.
func (f *file) PunchHole(off, end int64) abi.Errno {
	if errno := f.SealedWrite(); errno != 0 {
		return errno
	}
	if errno := f.fs.zero(f.d.inode, off, end); errno != 0 {
		return errno
	}
	f.fs.touch(f.d.inode)
	f.fs.event(f.d, unix.IN_MODIFY)
	return 0
}

func (f *file) MapID() MapID { return f.id() }

func (f *file) MapRead(off int64, dst []byte) (int, abi.Errno) {
	if off < 0 {
		return 0, abi.EINVAL
	}
	return f.fs.readAt(f.d.inode, dst, off)
}

func (f *file) MapWrite(off int64, src []byte) abi.Errno {
	size := f.size()
	if off < 0 || off >= size {
		return 0
	}
	src = src[:min(int64(len(src)), size-off)]
	n, errno := f.fs.writeAt(f.d.inode, src, off)
	if errno == 0 && n < len(src) {
		return abi.ENOSPC
	}
	return errno
}

func (f *file) MapSize() int64 { return f.size() }

func (f *file) MapHold() { f.fs.hold(f.d.inode) }
func (f *file) MapDrop() { f.fs.drop(f.d.inode) }

// pathFile is a file opened with O_PATH: it only names a place.
type pathFile struct{ handle }

func (*pathFile) Read(fd.Buffers, int64) (int, abi.Errno)  { return 0, abi.EBADF }
func (*pathFile) Write(fd.Buffers, int64) (int, abi.Errno) { return 0, abi.EBADF }
func (*pathFile) Lseek(int64, int) (int64, abi.Errno)      { return 0, abi.EBADF }
func (*pathFile) Readiness() fd.Events                     { return unix.POLLNVAL }
func (*pathFile) SetStatusFlags(int)                       {}

// textFile is an open file of /proc or /sys. Its text is that of the moment it
// was opened, or of the last time it was read from the start.
type textFile struct {
	handle
	text    []byte
	charged int64 // bytes of text, against the budget
}

// load takes the text as it is now. Errors: those of the file, and ENOMEM when
// the text does not fit in the budget: a program may hold many such files open.
func (f *textFile) load() abi.Errno {
	text, errno := f.d.inode.gen(f.fs)
	if errno != 0 {
		return errno
	}
	if !f.fs.chargeMeta(int64(len(text))) {
		return abi.ENOMEM
	}
	f.fs.releaseMeta(f.charged)
	f.text, f.charged = text, int64(len(text))
	return 0
}

// Release gives the text back.
func (f *textFile) Release() {
	f.fs.releaseMeta(f.charged)
	f.text, f.charged = nil, 0
	f.handle.Release()
}

func (f *textFile) Read(dst fd.Buffers, off int64) (int, abi.Errno) {
	if !f.canRead() {
		return 0, abi.EBADF
	}
	pos, errno := f.at(off)
	if errno != 0 {
		return 0, errno
	}
	if pos == 0 {
		if errno := f.load(); errno != 0 {
			return 0, errno
		}
	}
	done := 0
	for _, b := range dst {
		if pos >= int64(len(f.text)) {
			break
		}
		n := copy(b, f.text[pos:])
		done += n
		pos += int64(n)
	}
	f.moved(off, pos)
	return done, 0
}

func (f *textFile) Write(src fd.Buffers, off int64) (int, abi.Errno) {
	if !f.canWrite() || f.d.inode.set == nil {
		return 0, abi.EBADF
	}
	var text []byte
	for _, b := range src {
		if len(text)+len(b) > pageSize {
			return 0, abi.EINVAL
		}
		text = append(text, b...)
	}
	if errno := f.d.inode.set(f.fs, text); errno != 0 {
		return 0, errno
	}
	return len(text), 0
}

func (f *textFile) Lseek(off int64, whence int) (int64, abi.Errno) {
	if whence == unix.SEEK_END || whence == unix.SEEK_DATA || whence == unix.SEEK_HOLE {
		return 0, abi.EINVAL
	}
	return f.seek(off, whence, 0)
}
