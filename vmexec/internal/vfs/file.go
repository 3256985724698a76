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
	d     *dentry
	flags int
	pos   int64
}

func newHandle(d *dentry, flags int) handle {
	d.inode.hold()
	return handle{d: d, flags: flags & statusMask}
}

func (h *handle) Path() Path                  { return Path{h.d} }
func (h *handle) Stat() (abi.Stat, abi.Errno) { return h.d.inode.stat() }
func (h *handle) Queue() *waitq.Queue         { return nil }
func (h *handle) StatusFlags() int            { return h.flags }
func (h *handle) SetStatusFlags(flags int)    { h.flags = h.flags&^setMask | flags&setMask }
func (h *handle) Release()                    { h.d.inode.drop() }
func (h *handle) Readiness() fd.Events        { return fd.In | fd.Out }

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
type file struct{ handle }

func newFile(d *dentry, flags int) *file { return &file{newHandle(d, flags)} }

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
		n, errno := f.d.inode.readAt(b, pos)
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
		pos = f.d.inode.content.size // pwrite too: see its BUGS section
	}
	done := 0
	for _, b := range src {
		if len(b) == 0 {
			continue
		}
		n, errno := f.d.inode.writeAt(b, pos)
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
	return done, 0
}

// Lseek moves the position. A file counts as all data, with a hole at its end.
func (f *file) Lseek(off int64, whence int) (int64, abi.Errno) {
	return f.seek(off, whence, f.d.inode.content.size)
}

func (f *file) Truncate(size int64) abi.Errno {
	if !f.canWrite() || size < 0 {
		return abi.EINVAL
	}
	f.d.inode.truncate(size)
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
	const keep, punch, zero = unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE
	switch mode {
	case 0, keep:
		if errno := in.allocate(off, end); errno != 0 {
			return errno
		}
	case punch | keep:
		if errno := in.zero(off, end); errno != 0 {
			return errno
		}
	case zero, zero | keep:
		if errno := in.zero(off, end); errno != 0 {
			return errno
		}
	default:
		return abi.EOPNOTSUPP
	}
	if mode&keep == 0 && end > in.content.size {
		in.content.size = end
	}
	in.touch()
	return 0
}

func (f *file) MapID() MapID { return MapID{f.d.inode.dev, f.d.inode.ino} }

func (f *file) MapRead(off int64, dst []byte) (int, abi.Errno) {
	if off < 0 {
		return 0, abi.EINVAL
	}
	return f.d.inode.readAt(dst, off)
}

func (f *file) MapWrite(off int64, src []byte) abi.Errno {
	size := f.d.inode.content.size
	if off < 0 || off >= size {
		return 0
	}
	src = src[:min(int64(len(src)), size-off)]
	n, errno := f.d.inode.writeAt(src, off)
	if errno == 0 && n < len(src) {
		return abi.ENOSPC
	}
	return errno
}

func (f *file) MapSize() int64 { return f.d.inode.content.size }

func (f *file) MapHold() { f.d.inode.hold() }
func (f *file) MapDrop() { f.d.inode.drop() }

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
	text []byte
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
		if f.text, errno = f.d.inode.gen(); errno != 0 {
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
	if errno := f.d.inode.set(text); errno != 0 {
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
