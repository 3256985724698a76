// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"strconv"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// tmpfile is __O_TMPFILE, O_TMPFILE without O_DIRECTORY.
const tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY

// statusMask is what fcntl(F_GETFL) shows of the flags of open(2).
const statusMask = unix.O_ACCMODE | unix.O_APPEND | unix.O_NONBLOCK | unix.O_DSYNC | unix.O_SYNC | unix.O_ASYNC |
	unix.O_DIRECT | unix.O_NOATIME | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_PATH | tmpfile | largefile

// largefile is O_LARGEFILE of the kernel, which is 0 to 64-bit C libraries.
const largefile = 0o100000

// setMask is what fcntl(F_SETFL) may change.
const setMask = unix.O_APPEND | unix.O_NONBLOCK | unix.O_ASYNC | unix.O_DIRECT | unix.O_NOATIME

// Located is a file that has a place in the tree: every file that Open returns,
// unless a magic link led to one without.
type Located interface {
	fd.File
	// Path is where the file was opened.
	Path() Path
}

// Open opens a file as open(2) with the flags of openat(2) and of resolution.
// The mode of a new file has been masked by the umask; EmptyPath is not for
// Open. The O_CLOEXEC flag is the descriptor table's. It is EAGAIN for the event file
// while there is no event.
func (fs *FS) Open(base Path, path string, flags int, mode uint32, fl Flag) (fd.File, abi.Errno) {
	if flags&unix.O_PATH != 0 {
		flags &= unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	}
	if flags&unix.O_DIRECTORY != 0 {
		fl |= Directory
	}
	if flags&unix.O_NOFOLLOW != 0 {
		fl |= NoFollow
	}
	if errno := CheckFlags(flags); errno != 0 {
		return nil, errno
	}
	if flags&tmpfile != 0 {
		return fs.openTemp(base, path, flags, mode, fl)
	}
	if flags&unix.O_CREAT == 0 {
		p, errno := fs.Resolve(base, path, fl)
		if errno != 0 {
			return nil, errno
		}
		return fs.openPath(p, flags)
	}
	if flags&unix.O_EXCL != 0 {
		fl |= NoFollow
	}
	l, errno := fs.walk(base, path, fl|creating)
	switch {
	case errno != 0:
		return nil, errno
	case l.d != nil && flags&unix.O_EXCL != 0:
		return nil, abi.EEXIST
	case l.d != nil && l.d.inode.isDir():
		return nil, abi.EISDIR
	case l.d != nil:
		return fs.openPath(Path{fs, l.d}, flags)
	case l.parent.inode.dyn != nil:
		return nil, abi.ENOENT
	}
	if errno := fs.writable(l.parent.inode); errno != 0 {
		return nil, errno
	}
	if errno := fs.may(l.parent.inode, mayWrite|mayExec); errno != 0 {
		return nil, errno
	}
	d, errno := fs.create(l, unix.S_IFREG|mode&permMask)
	if errno != 0 {
		return nil, errno
	}
	fs.event(d, unix.IN_OPEN)
	return newFile(fs, d, flags&^unix.O_TRUNC), 0
}

// OpenAt opens a file that was resolved, as Open without O_CREAT does.
func (fs *FS) OpenAt(p Path, flags int) (fd.File, abi.Errno) { return fs.openPath(p, flags) }

// openTemp makes a file without a name in the directory that path leads to.
func (fs *FS) openTemp(base Path, path string, flags int, mode uint32, fl Flag) (fd.File, abi.Errno) {
	p, errno := fs.Resolve(base, path, fl|Directory)
	if errno != 0 {
		return nil, errno
	}
	if p.d.inode.dyn != nil {
		return nil, abi.EOPNOTSUPP
	}
	if errno := fs.may(p.d.inode, mayWrite|mayExec); errno != 0 {
		return nil, errno
	}
	if fs.st(p.d.inode).dead {
		return nil, abi.ENOENT
	}
	if !fs.chargeMeta(metaCost) {
		return nil, abi.ENOSPC
	}
	in := fs.newInode(p.d.inode.sb, unix.S_IFREG|mode&permMask)
	in.first.meta, in.first.nlink, in.noLink = metaCost, 0, flags&unix.O_EXCL != 0
	in.first.linkable = true
	fs.inherit(in, p.d.inode)
	return newFile(fs, fs.newDentry(nil, "#"+strconv.FormatUint(in.ino, 10), in), flags), 0
}

// Memfd makes a file without a name for memfd_create(2), open for reading and
// writing, with the seals given. It cannot be given a name.
func (fs *FS) Memfd(name string, mode, seals uint32) (fd.File, abi.Errno) {
	cost := metaCost + int64(len(name))
	if !fs.chargeMeta(cost) {
		return nil, abi.ENOMEM
	}
	in := fs.newInode(fs.memSuper, unix.S_IFREG|mode&permMask)
	in.first.meta, in.first.nlink, in.noLink = cost, 0, true
	in.memfd, in.first.seals = true, seals
	f := newFile(fs, fs.newDentry(nil, "memfd:"+name, in), unix.O_RDWR|largefile)
	// As in Linux, where programs run what they have just written so.
	f.writer = false
	fs.addWriters(in, -1)
	return f, 0
}

// CheckFlags returns EINVAL for flags of open(2) that do not go together. Linux looks for
// them before it looks at the path.
func CheckFlags(flags int) abi.Errno {
	switch {
	case flags&unix.O_PATH != 0:
	case flags&tmpfile != 0:
		if flags&unix.O_TMPFILE != unix.O_TMPFILE || flags&unix.O_CREAT != 0 || flags&unix.O_ACCMODE == unix.O_RDONLY {
			return abi.EINVAL
		}
	case flags&unix.O_CREAT != 0 && flags&unix.O_DIRECTORY != 0:
		return abi.EINVAL
	}
	return 0
}

// openPath opens a resolved file, as open(2) with no O_CREAT.
func (fs *FS) openPath(p Path, flags int) (fd.File, abi.Errno) {
	if flags&unix.O_PATH == 0 && !p.d.inode.isLink() && (!p.d.inode.isDir() || flags&(unix.O_ACCMODE|unix.O_TRUNC) == 0) {
		if errno := fs.mayOpen(p.d.inode, flags); errno != 0 {
			return nil, errno
		}
	}
	f, errno := fs.openFound(p, flags)
	if errno == 0 && flags&unix.O_PATH == 0 && p.d.inode.anon == nil {
		fs.event(p.d, unix.IN_OPEN)
		if flags&unix.O_TRUNC != 0 && p.d.inode.isReg() {
			fs.event(p.d, unix.IN_MODIFY)
		}
	}
	return f, errno
}

func (fs *FS) openFound(p Path, flags int) (fd.File, abi.Errno) {
	in := p.d.inode
	if flags&unix.O_PATH != 0 {
		return &pathFile{newHandle(fs, p.d, flags)}, 0
	}
	write := flags&unix.O_ACCMODE != unix.O_RDONLY
	if in.anon != nil && in.kind != unix.S_IFSOCK {
		return reopen(in.anon, flags)
	}
	switch in.kind {
	case unix.S_IFLNK:
		return nil, abi.ELOOP
	case unix.S_IFDIR:
		if write || flags&unix.O_TRUNC != 0 {
			return nil, abi.EISDIR
		}
		return newDirFile(fs, p.d, flags), 0
	case unix.S_IFCHR:
		return fs.openDevice(p.d, flags)
	case unix.S_IFIFO:
		return fs.openFIFO(p.d, flags)
	case unix.S_IFREG:
	default: // a socket
		return nil, abi.ENXIO
	}
	if in.gen != nil {
		if write && in.set == nil {
			return nil, abi.EACCES
		}
		f := &textFile{handle: newHandle(fs, p.d, flags)}
		if errno := f.load(); errno != 0 {
			f.Release()
			return nil, errno
		}
		return f, 0
	}
	if errno := fs.deliver(in); errno != 0 {
		return nil, errno
	}
	if write || flags&unix.O_TRUNC != 0 {
		if errno := fs.notRun(in); errno != 0 {
			return nil, errno
		}
	}
	if flags&unix.O_TRUNC != 0 {
		if errno := fs.sealedSize(in, 0); errno != 0 {
			return nil, errno
		}
		fs.truncate(in, 0)
	}
	return newFile(fs, p.d, flags), 0
}
