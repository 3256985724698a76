// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"math"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// Dirent is one entry of a directory, as getdents64(2) gives it.
type Dirent struct {
	Ino  uint64
	Off  int64 // position after this entry
	Type uint8 // DT_*
	Name string
}

// Dir is an open directory.
type Dir interface {
	Located
	// ReadDir gives the entries from the current position on to emit, until emit
	// returns false; the entry that it refused comes again in the next call.
	ReadDir(emit func(Dirent) bool) abi.Errno
}

// dirFile is an open directory. The names are those of the moment reading began
// at position 0; ones that are removed meanwhile are left out.
type dirFile struct {
	handle
	entries []Dirent
	charged int64
	read    bool
}

func newDirFile(fs *FS, d *dentry, flags int) *dirFile {
	return &dirFile{handle: newHandle(fs, d, flags)}
}

func (*dirFile) Read(fd.Buffers, int64) (int, abi.Errno)  { return 0, abi.EISDIR }
func (*dirFile) Write(fd.Buffers, int64) (int, abi.Errno) { return 0, abi.EBADF }

// Lseek moves to a position that ReadDir gave, or to the start.
func (f *dirFile) Lseek(off int64, whence int) (int64, abi.Errno) {
	if whence == unix.SEEK_DATA || whence == unix.SEEK_HOLE {
		return 0, abi.EINVAL
	}
	return f.seek(off, whence, math.MaxInt32)
}

func (f *dirFile) ReadDir(emit func(Dirent) bool) abi.Errno {
	fs, in := f.fs, f.d.inode
	if fs.st(in).dead {
		return abi.ENOENT
	}
	if f.pos == 0 || !f.read {
		if errno := f.load(); errno != 0 {
			return errno
		}
	}
	fs.event(f.d, unix.IN_ACCESS)
	for ; f.pos < int64(len(f.entries))+2; f.pos++ {
		var e Dirent
		switch f.pos {
		case 0:
			e = Dirent{Ino: in.ino, Type: unix.DT_DIR, Name: "."}
		case 1:
			up := in.ino
			if p := fs.up(f.d); p != nil {
				up = p.inode.ino
			}
			e = Dirent{Ino: up, Type: unix.DT_DIR, Name: ".."}
		default:
			e = f.entries[f.pos-2]
			if in.dyn == nil && !fs.has(in, e.Name) {
				continue
			}
		}
		e.Off = f.pos + 1
		if !emit(e) {
			return 0
		}
	}
	return 0
}

// load takes the names of the directory.
func (f *dirFile) load() abi.Errno {
	fs := f.fs
	es, errno := fs.list(f.d)
	if errno != 0 {
		return errno
	}
	var cost int64
	for _, e := range es {
		cost += 48 + int64(len(e.Name))
	}
	if !fs.chargeMeta(cost) {
		return abi.ENOMEM
	}
	fs.releaseMeta(f.charged)
	f.entries, f.charged, f.read = es, cost, true
	return 0
}

// has reports whether a name that a listing of the directory showed is still there.
func (fs *FS) has(in *inode, name string) bool {
	e := &fs.st(in).entries
	return e.get(name) != nil || in.lower && !e.isHidden(name)
}

func (f *dirFile) Release() {
	f.fs.releaseMeta(f.charged)
	f.entries, f.charged = nil, 0
	f.handle.Release()
}
