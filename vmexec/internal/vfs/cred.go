// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"slices"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// Cred is whose the processes of a guest are: their real, effective and saved ids
// are all the same, and without capabilities no call changes that; credentials(7).
// The zero value is user 0, which owns what it sees: to it modes refuse nothing but
// to execute a file without any x bit. To other users they are what they are in
// Linux; path_resolution(7).
type Cred struct {
	UID, GID uint32
	Groups   []uint32 // supplementary ones
}

// In reports whether gid is one of the groups.
func (c *Cred) In(gid uint32) bool { return c.GID == gid || slices.Contains(c.Groups, gid) }

// Cred returns whose the processes are.
func (fs *FS) Cred() *Cred { return &fs.cred }

// Bits of a mode, as a directory and as a file has them.
const (
	mayExec  = unix.X_OK
	mayWrite = unix.W_OK
	mayRead  = unix.R_OK
)

// may checks the mode of a file for all of want. EACCES. What has no place in the
// tree belongs to whoever has it open.
func (fs *FS) may(in *inode, want uint32) abi.Errno {
	if fs.cred.UID == 0 || in.anon != nil {
		return 0
	}
	s := fs.st(in)
	mode := s.mode
	switch {
	case s.uid == fs.cred.UID:
		mode >>= 6
	case fs.cred.In(s.gid):
		mode >>= 3
	}
	if mode&want != want {
		return abi.EACCES
	}
	return 0
}

// owns reports whether the attributes of a file are the guest's to change.
func (fs *FS) owns(in *inode) bool { return fs.cred.UID == 0 || fs.st(in).uid == fs.cred.UID }

// mayRemove checks whether a name can be taken out of a directory. EACCES, and EPERM
// for the name of another user's file in a directory with the sticky bit.
func (fs *FS) mayRemove(dir *inode, d *dentry) abi.Errno {
	if errno := fs.may(dir, mayWrite|mayExec); errno != 0 {
		return errno
	}
	if fs.st(dir).mode&unix.S_ISVTX != 0 && !fs.owns(d.inode) && !fs.owns(dir) {
		return abi.EPERM
	}
	return 0
}

// mayMove checks whether a name can go from one directory to another, in the place
// of over, which may be nil.
func (fs *FS) mayMove(d *dentry, from, to *inode, over *dentry) abi.Errno {
	if errno := fs.mayRemove(from, d); errno != 0 {
		return errno
	}
	if over != nil {
		if errno := fs.mayRemove(to, over); errno != 0 {
			return errno
		}
	} else if errno := fs.may(to, mayWrite|mayExec); errno != 0 {
		return errno
	}
	if from != to && d.inode.isDir() { // its ".." changes
		return fs.may(d.inode, mayWrite)
	}
	return 0
}

// mayOpen checks open(2) with flags for a file that is there.
func (fs *FS) mayOpen(in *inode, flags int) abi.Errno {
	if fs.cred.UID == 0 {
		return 0
	}
	want := uint32(mayRead)
	switch flags & unix.O_ACCMODE {
	case unix.O_WRONLY:
		want = mayWrite
	case unix.O_RDWR, unix.O_ACCMODE:
		want = mayRead | mayWrite
	}
	if flags&unix.O_TRUNC != 0 {
		want |= mayWrite
	}
	if errno := fs.may(in, want); errno != 0 {
		return errno
	}
	if flags&unix.O_NOATIME != 0 && !fs.owns(in) {
		return abi.EPERM
	}
	return 0
}

// MayEnter checks whether a directory can become the working directory; chdir(2).
func (fs *FS) MayEnter(p Path) abi.Errno { return fs.may(p.d.inode, mayExec) }

// MayRead and MayWrite check what calls ask that open nothing: inotify_add_watch(2),
// and connect(2) to a socket's name.
func (fs *FS) MayRead(p Path) abi.Errno { return fs.may(p.d.inode, mayRead) }

// MayWrite is explained at MayRead.
func (fs *FS) MayWrite(p Path) abi.Errno { return fs.may(p.d.inode, mayWrite) }

// OpenToRun opens a regular file that may be executed, and need not be readable. EACCES.
func (fs *FS) OpenToRun(p Path) (Mapper, abi.Errno) {
	if !p.IsRegular() {
		return nil, abi.EACCES
	}
	if errno := fs.Access(p, unix.X_OK); errno != 0 {
		return nil, errno
	}
	f, errno := fs.openFound(p, unix.O_RDONLY)
	if errno != 0 {
		return nil, errno
	}
	m, ok := f.(Mapper)
	if !ok {
		f.Release()
		return nil, abi.EACCES
	}
	return m, 0
}
