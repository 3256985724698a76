// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// dirCalls are the calls that list directories.
func dirCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_GETDENTS, Name: "getdents", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return getdents(t, a, appendDirent)
		}},
		{Nr: unix.SYS_GETDENTS64, Name: "getdents64", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return getdents(t, a, appendDirent64)
		}},
	}
}

// maxDents bounds what one call builds, whatever the guest's buffer holds.
const maxDents = 64 << 10

func getdents(t *task.Thread, a task.Args, encode func([]byte, vfs.Dirent) []byte) (uint64, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	if f.StatusFlags()&unix.O_PATH != 0 {
		return 0, abi.EBADF
	}
	dir, ok := f.(vfs.Dir)
	if !ok {
		return 0, abi.ENOTDIR
	}
	start, errno := dir.Lseek(0, unix.SEEK_CUR)
	if errno != 0 {
		return 0, errno
	}
	room := int(min(uint32(a[2]), maxDents))
	var out []byte
	full := false
	errno = dir.ReadDir(func(e vfs.Dirent) bool {
		next := encode(out, e)
		if full = len(next) > room; full {
			return false
		}
		out = next
		return true
	})
	switch {
	case errno != 0:
		return 0, errno
	case full && len(out) == 0:
		return 0, abi.EINVAL
	}
	if errno := t.CopyOut(a[1], out); errno != 0 {
		dir.Lseek(start, unix.SEEK_SET) // nothing was given
		return 0, errno
	}
	return uint64(len(out)), 0
}

// appendDirent64 adds a struct linux_dirent64; see getdents(2).
func appendDirent64(b []byte, e vfs.Dirent) []byte {
	size := (19 + len(e.Name) + 1 + 7) &^ 7
	b, d := grow(b, size)
	binary.LittleEndian.PutUint64(d, e.Ino)
	binary.LittleEndian.PutUint64(d[8:], uint64(e.Off))
	binary.LittleEndian.PutUint16(d[16:], uint16(size))
	d[18] = e.Type
	copy(d[19:], e.Name)
	return b
}

// appendDirent adds a struct linux_dirent, which has the type in its last byte.
func appendDirent(b []byte, e vfs.Dirent) []byte {
	size := (18 + len(e.Name) + 2 + 7) &^ 7
	b, d := grow(b, size)
	binary.LittleEndian.PutUint64(d, e.Ino)
	binary.LittleEndian.PutUint64(d[8:], uint64(e.Off))
	binary.LittleEndian.PutUint16(d[16:], uint16(size))
	copy(d[18:], e.Name)
	d[size-1] = e.Type
	return b
}

// grow adds n zero bytes and returns them too.
func grow(b []byte, n int) (all, added []byte) {
	all = append(b, make([]byte, n)...)
	return all, all[len(b):]
}
