// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"cmp"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// pathCalls are the calls that make, remove and move names, and the working directory.
func pathCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_MKDIR, Name: "mkdir", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return mkdirAt(t, unix.AT_FDCWD, a[0], a[1])
		}},
		{Nr: unix.SYS_MKDIRAT, Name: "mkdirat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return mkdirAt(t, int32(a[0]), a[1], a[2])
		}},
		{Nr: unix.SYS_MKNOD, Name: "mknod", Support: Partial, Note: "regular files, named pipes and sockets; devices are EPERM", Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return mknodAt(t, unix.AT_FDCWD, a[0], a[1])
		}},
		{Nr: unix.SYS_MKNODAT, Name: "mknodat", Support: Partial, Note: "regular files, named pipes and sockets; devices are EPERM", Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return mknodAt(t, int32(a[0]), a[1], a[2])
		}},
		{Nr: unix.SYS_RMDIR, Name: "rmdir", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return unlinkAt(t, unix.AT_FDCWD, a[0], unix.AT_REMOVEDIR)
		}},
		{Nr: unix.SYS_UNLINK, Name: "unlink", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return unlinkAt(t, unix.AT_FDCWD, a[0], 0)
		}},
		{Nr: unix.SYS_UNLINKAT, Name: "unlinkat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return unlinkAt(t, int32(a[0]), a[1], uint32(a[2]))
		}},
		{Nr: unix.SYS_RENAME, Name: "rename", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return renameAt(t, unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], 0)
		}},
		{Nr: unix.SYS_RENAMEAT, Name: "renameat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return renameAt(t, int32(a[0]), a[1], int32(a[2]), a[3], 0)
		}},
		{Nr: unix.SYS_RENAMEAT2, Name: "renameat2", Support: Partial, Note: "no RENAME_WHITEOUT", Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return renameAt(t, int32(a[0]), a[1], int32(a[2]), a[3], uint32(a[4]))
		}},
		{Nr: unix.SYS_LINK, Name: "link", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return linkAt(t, unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], 0)
		}},
		{Nr: unix.SYS_LINKAT, Name: "linkat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return linkAt(t, int32(a[0]), a[1], int32(a[2]), a[3], uint32(a[4]))
		}},
		{Nr: unix.SYS_SYMLINK, Name: "symlink", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return symlinkAt(t, a[0], unix.AT_FDCWD, a[1])
		}},
		{Nr: unix.SYS_SYMLINKAT, Name: "symlinkat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return symlinkAt(t, a[0], int32(a[1]), a[2])
		}},
		{Nr: unix.SYS_READLINK, Name: "readlink", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return readlinkAt(t, unix.AT_FDCWD, a[0], a[1], int32(a[2]))
		}},
		{Nr: unix.SYS_READLINKAT, Name: "readlinkat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return readlinkAt(t, int32(a[0]), a[1], a[2], int32(a[3]))
		}},
		{Nr: unix.SYS_GETCWD, Name: "getcwd", Support: Full, Fn: getcwd},
		{Nr: unix.SYS_CHDIR, Name: "chdir", Support: Full, Fn: chdir},
		{Nr: unix.SYS_FCHDIR, Name: "fchdir", Support: Full, Fn: fchdir},
		{Nr: unix.SYS_UMASK, Name: "umask", Support: Full, Fn: umask},
		{Nr: unix.SYS_CHROOT, Name: "chroot", Support: Refused, Note: "EPERM: the tree is what it is", Fn: notPermitted},
		{Nr: unix.SYS_MOUNT, Name: "mount", Support: Refused, Note: "EPERM: the tree is what it is", Fn: notPermitted},
		{Nr: unix.SYS_UMOUNT2, Name: "umount2", Support: Refused, Note: "EPERM: the tree is what it is", Fn: notPermitted},
		{Nr: unix.SYS_PIVOT_ROOT, Name: "pivot_root", Support: Refused, Note: "EPERM: the tree is what it is", Fn: notPermitted},
	}
}

func notPermitted(*task.Thread, task.Args) (uint64, abi.Errno) { return 0, abi.EPERM }

// copyPath reads a path name of the guest.
func copyPath(t *task.Thread, addr uint64) (string, abi.Errno) {
	return t.CopyInString(addr, vfs.PathMax)
}

// place returns the place of an open file, or its errno where it has none.
func place(t *task.Thread, n int32, none abi.Errno) (vfs.Path, abi.Errno) {
	f, errno := t.P.FDs.Get(n)
	if errno != 0 {
		return vfs.Path{}, errno
	}
	if l, ok := f.(vfs.Located); ok {
		return l.Path(), 0
	}
	return vfs.Path{}, none
}

// usable is place for the calls that an O_PATH descriptor is not good enough for.
func usable(t *task.Thread, n int32, none abi.Errno) (vfs.Path, abi.Errno) {
	f, errno := t.P.FDs.Get(n)
	if errno != 0 {
		return vfs.Path{}, errno
	}
	if f.StatusFlags()&unix.O_PATH != 0 {
		return vfs.Path{}, abi.EBADF
	}
	return place(t, n, none)
}

// baseOf returns where a path relative to dirfd starts.
func baseOf(t *task.Thread, dirfd int32, path string) (vfs.Path, abi.Errno) {
	switch {
	case path != "" && path[0] == '/':
		return t.K.FS.Root(), 0
	case dirfd == unix.AT_FDCWD:
		return t.P.Cwd, 0
	}
	return place(t, dirfd, abi.ENOTDIR)
}

// pathAt reads a path name that must not be empty, and finds where it starts.
func pathAt(t *task.Thread, dirfd int32, addr uint64) (vfs.Path, string, abi.Errno) {
	path, errno := copyPath(t, addr)
	if errno != 0 {
		return vfs.Path{}, "", errno
	}
	if path == "" {
		return vfs.Path{}, "", abi.ENOENT
	}
	base, errno := baseOf(t, dirfd, path)
	return base, path, errno
}

// resolveAt finds the file of a path argument.
func resolveAt(t *task.Thread, dirfd int32, addr uint64, fl vfs.Flag) (vfs.Path, abi.Errno) {
	path, errno := copyPath(t, addr)
	if errno != 0 {
		return vfs.Path{}, errno
	}
	if path == "" && fl&vfs.EmptyPath == 0 {
		return vfs.Path{}, abi.ENOENT
	}
	base, errno := baseOf(t, dirfd, path)
	if errno != 0 {
		return vfs.Path{}, errno
	}
	return t.K.FS.Resolve(base, path, fl)
}

// masked applies the umask to the mode of a new file.
func masked(t *task.Thread, mode uint64) uint32 { return uint32(mode) &^ (t.P.Umask & 0o777) }

func mkdirAt(t *task.Thread, dirfd int32, addr, mode uint64) (uint64, abi.Errno) {
	base, path, errno := pathAt(t, dirfd, addr)
	if errno != 0 {
		return 0, errno
	}
	return 0, t.K.FS.Mkdir(base, path, masked(t, mode))
}

func mknodAt(t *task.Thread, dirfd int32, addr, mode uint64) (uint64, abi.Errno) {
	switch mode & unix.S_IFMT {
	case 0, unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK:
	case unix.S_IFDIR:
		return 0, abi.EPERM
	default:
		return 0, abi.EINVAL
	}
	base, path, errno := pathAt(t, dirfd, addr)
	if errno != 0 {
		return 0, errno
	}
	return 0, t.K.FS.Mknod(base, path, masked(t, mode))
}

func unlinkAt(t *task.Thread, dirfd int32, addr uint64, flags uint32) (uint64, abi.Errno) {
	if flags&^unix.AT_REMOVEDIR != 0 {
		return 0, abi.EINVAL
	}
	base, path, errno := pathAt(t, dirfd, addr)
	if errno != 0 {
		return 0, errno
	}
	if flags&unix.AT_REMOVEDIR != 0 {
		return 0, t.K.FS.Rmdir(base, path)
	}
	return 0, t.K.FS.Unlink(base, path)
}

func renameAt(t *task.Thread, oldfd int32, oldAddr uint64, newfd int32, newAddr uint64, flags uint32) (uint64, abi.Errno) {
	const known, exclusive = unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE | unix.RENAME_WHITEOUT, unix.RENAME_NOREPLACE | unix.RENAME_WHITEOUT
	if flags&^known != 0 || flags&exclusive != 0 && flags&unix.RENAME_EXCHANGE != 0 {
		return 0, abi.EINVAL
	}
	oldBase, oldPath, errno := pathAt(t, oldfd, oldAddr)
	if errno != 0 {
		return 0, errno
	}
	newBase, newPath, errno := pathAt(t, newfd, newAddr)
	if errno != 0 { // what is wrong with the way to the old name comes first, as on Linux
		return 0, cmp.Or(t.K.FS.CheckParent(oldBase, oldPath), errno)
	}
	return 0, t.K.FS.Rename(oldBase, oldPath, newBase, newPath, uint(flags))
}

func linkAt(t *task.Thread, oldfd int32, oldAddr uint64, newfd int32, newAddr uint64, flags uint32) (uint64, abi.Errno) {
	if flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, abi.EINVAL
	}
	fl := vfs.NoFollow
	if flags&unix.AT_SYMLINK_FOLLOW != 0 {
		fl = 0
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		fl |= vfs.EmptyPath
	}
	old, errno := resolveAt(t, oldfd, oldAddr, fl)
	if errno != 0 {
		return 0, errno
	}
	base, path, errno := pathAt(t, newfd, newAddr)
	if errno != 0 {
		return 0, errno
	}
	return 0, t.K.FS.Link(old, base, path)
}

func symlinkAt(t *task.Thread, target uint64, dirfd int32, addr uint64) (uint64, abi.Errno) {
	to, errno := copyPath(t, target)
	if errno != 0 {
		return 0, errno
	}
	base, path, errno := pathAt(t, dirfd, addr)
	if errno != 0 {
		return 0, errno
	}
	return 0, t.K.FS.Symlink(to, base, path)
}

func readlinkAt(t *task.Thread, dirfd int32, addr, buf uint64, size int32) (uint64, abi.Errno) {
	if size <= 0 {
		return 0, abi.EINVAL
	}
	path, errno := copyPath(t, addr)
	if errno != 0 {
		return 0, errno
	}
	base, errno := baseOf(t, dirfd, path)
	if errno != 0 {
		return 0, errno
	}
	p, errno := t.K.FS.Resolve(base, path, vfs.NoFollow|vfs.EmptyPath)
	if errno != 0 {
		return 0, errno
	}
	to, errno := t.K.FS.Readlink(p)
	if errno != 0 {
		if path == "" {
			errno = abi.ENOENT
		}
		return 0, errno
	}
	to = to[:min(len(to), int(size))]
	return uint64(len(to)), t.CopyOut(buf, []byte(to))
}

// getcwd returns the path's length with its NUL, as getcwd(2) of the kernel does.
func getcwd(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if t.P.Cwd.Deleted() {
		return 0, abi.ENOENT
	}
	s := append([]byte(t.P.Cwd.String()), 0)
	switch {
	case len(s) > vfs.PathMax:
		return 0, abi.ENAMETOOLONG
	case uint64(len(s)) > a[1]:
		return 0, abi.ERANGE
	}
	return uint64(len(s)), t.CopyOut(a[0], s)
}

func chdir(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	p, errno := resolveAt(t, unix.AT_FDCWD, a[0], vfs.Directory)
	if errno == 0 {
		errno = t.K.FS.MayEnter(p)
	}
	if errno == 0 {
		t.P.Cwd = p
	}
	return 0, errno
}

func fchdir(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	p, errno := place(t, int32(a[0]), abi.ENOTDIR)
	if errno != 0 {
		return 0, errno
	}
	if !p.IsDir() {
		return 0, abi.ENOTDIR
	}
	if errno := t.K.FS.MayEnter(p); errno != 0 {
		return 0, errno
	}
	t.P.Cwd = p
	return 0, 0
}

func umask(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	old := t.P.Umask
	t.P.Umask = uint32(a[0]) & 0o777
	return uint64(old), 0
}

// install puts a newly opened file into the table.
func install(t *task.Thread, f fd.File, flags int) (uint64, abi.Errno) {
	cloexec := flags&unix.O_CLOEXEC != 0
	if e, ok := f.(vfs.Existing); ok {
		n, errno := t.P.FDs.InstallDescription(e.Description, cloexec, 0)
		return uint64(n), errno
	}
	n, errno := t.P.FDs.Install(f, cloexec, 0)
	if errno != 0 {
		f.Release()
		return 0, errno
	}
	return uint64(n), 0
}
