// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// statCalls are the calls that read and change what is known about a file.
func statCalls() []Entry {
	es := []Entry{
		{Nr: unix.SYS_STAT, Name: "stat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return fstatAt(t, unix.AT_FDCWD, a[0], a[1], 0)
		}},
		{Nr: unix.SYS_LSTAT, Name: "lstat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return fstatAt(t, unix.AT_FDCWD, a[0], a[1], vfs.NoFollow)
		}},
		{Nr: unix.SYS_FSTAT, Name: "fstat", Support: Full, Fn: fstat},
		{Nr: unix.SYS_NEWFSTATAT, Name: "newfstatat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			const known = unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH | unix.AT_NO_AUTOMOUNT
			if uint32(a[3])&^known != 0 {
				return 0, abi.EINVAL
			}
			return fstatAt(t, int32(a[0]), a[1], a[2], vfs.Rel(int(uint32(a[3]))))
		}},
		{Nr: unix.SYS_STATX, Name: "statx", Support: Full, Fn: statx},
		{Nr: unix.SYS_ACCESS, Name: "access", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return accessAt(t, unix.AT_FDCWD, a[0], uint32(a[1]), 0)
		}},
		{Nr: unix.SYS_FACCESSAT, Name: "faccessat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return accessAt(t, int32(a[0]), a[1], uint32(a[2]), 0)
		}},
		{Nr: unix.SYS_FACCESSAT2, Name: "faccessat2", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return accessAt(t, int32(a[0]), a[1], uint32(a[2]), uint32(a[3]))
		}},
		{Nr: unix.SYS_CHMOD, Name: "chmod", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return chmodAt(t, unix.AT_FDCWD, a[0], a[1], 0)
		}},
		{Nr: unix.SYS_FCHMODAT, Name: "fchmodat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return chmodAt(t, int32(a[0]), a[1], a[2], 0)
		}},
		{Nr: unix.SYS_FCHMODAT2, Name: "fchmodat2", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return chmodAt(t, int32(a[0]), a[1], a[2], uint32(a[3]))
		}},
		{Nr: unix.SYS_FCHMOD, Name: "fchmod", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			p, errno := usable(t, int32(a[0]), abi.EPERM)
			if errno != 0 {
				return 0, errno
			}
			return 0, t.K.FS.Chmod(p, uint32(a[1]))
		}},
		{Nr: unix.SYS_CHOWN, Name: "chown", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return chownAt(t, unix.AT_FDCWD, a[0], a[1], a[2], 0)
		}},
		{Nr: unix.SYS_LCHOWN, Name: "lchown", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return chownAt(t, unix.AT_FDCWD, a[0], a[1], a[2], unix.AT_SYMLINK_NOFOLLOW)
		}},
		{Nr: unix.SYS_FCHOWNAT, Name: "fchownat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return chownAt(t, int32(a[0]), a[1], a[2], a[3], uint32(a[4]))
		}},
		{Nr: unix.SYS_FCHOWN, Name: "fchown", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			p, errno := usable(t, int32(a[0]), abi.EPERM)
			if errno != 0 {
				return 0, errno
			}
			return 0, t.K.FS.Chown(p, uint32(a[1]), uint32(a[2]))
		}},
		{Nr: unix.SYS_UTIMENSAT, Name: "utimensat", Support: Full, Fn: utimensat},
		{Nr: unix.SYS_UTIMES, Name: "utimes", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return timesAt(t, unix.AT_FDCWD, a[0], a[1])
		}},
		{Nr: unix.SYS_FUTIMESAT, Name: "futimesat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return timesAt(t, int32(a[0]), a[1], a[2])
		}},
		{Nr: unix.SYS_UTIME, Name: "utime", Support: Full, Fn: utime},
		{Nr: unix.SYS_STATFS, Name: "statfs", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			p, errno := resolveAt(t, unix.AT_FDCWD, a[0], 0)
			if errno != 0 {
				return 0, errno
			}
			return statfs(t, p, a[1])
		}},
		{Nr: unix.SYS_FSTATFS, Name: "fstatfs", Fn: fstatfs},
	}
	return append(es, xattrs()...)
}

// Limits of xattr(7), in bytes: of a name without its NUL, and of a value.
const (
	xattrNameMax = 255
	xattrSizeMax = 64 << 10
)

// xattrs: no file has an extended attribute, and none can be set, as on a file system
// without them; see xattr(7).
func xattrs() []Entry {
	type call struct {
		nr   int
		name string
		fl   vfs.Flag
		fd   bool
		do   func(t *task.Thread, a task.Args, find func() (mode uint32, errno abi.Errno)) abi.Errno
	}
	var es []Entry
	for _, c := range []call{
		{unix.SYS_GETXATTR, "getxattr", 0, false, getXattr},
		{unix.SYS_LGETXATTR, "lgetxattr", vfs.NoFollow, false, getXattr},
		{unix.SYS_FGETXATTR, "fgetxattr", 0, true, getXattr},
		{unix.SYS_SETXATTR, "setxattr", 0, false, setXattr},
		{unix.SYS_LSETXATTR, "lsetxattr", vfs.NoFollow, false, setXattr},
		{unix.SYS_FSETXATTR, "fsetxattr", 0, true, setXattr},
		{unix.SYS_REMOVEXATTR, "removexattr", 0, false, changeXattr},
		{unix.SYS_LREMOVEXATTR, "lremovexattr", vfs.NoFollow, false, changeXattr},
		{unix.SYS_FREMOVEXATTR, "fremovexattr", 0, true, changeXattr},
		{unix.SYS_LISTXATTR, "listxattr", 0, false, nil},
		{unix.SYS_LLISTXATTR, "llistxattr", vfs.NoFollow, false, nil},
		{unix.SYS_FLISTXATTR, "flistxattr", 0, true, nil},
	} {
		support := Refused
		if c.do == nil {
			support = Full // an empty list is the truth
		}
		es = append(es, Entry{Nr: c.nr, Name: c.name, Support: support, Note: "files have no extended attributes", Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			find := func() (uint32, abi.Errno) {
				if c.fd {
					f, errno := t.P.FDs.Get(int32(a[0]))
					if errno != 0 {
						return 0, errno
					}
					if f.StatusFlags()&unix.O_PATH != 0 {
						return 0, abi.EBADF
					}
					st, errno := f.Stat()
					return st.Mode, errno
				}
				p, errno := resolveAt(t, unix.AT_FDCWD, a[0], c.fl)
				if errno != 0 {
					return 0, errno
				}
				at, errno := p.Attr()
				return at.Stat.Mode, errno
			}
			if c.do != nil {
				return 0, c.do(t, a, find)
			}
			_, errno := find()
			return 0, errno
		}})
	}
	return es
}

// copyXattrName reads the name of an attribute. Errors: ERANGE for none or one that is
// too long, EFAULT.
func copyXattrName(t *task.Thread, addr uint64) (string, abi.Errno) {
	name, errno := t.CopyInString(addr, xattrNameMax+1)
	if errno == abi.ENAMETOOLONG || errno == 0 && name == "" {
		errno = abi.ERANGE
	}
	return name, errno
}

// getXattr is getxattr(2). Errors: EFAULT, ERANGE, those of find, EOPNOTSUPP, and ENODATA
// for attributes that a file of the kind cannot have, or that are for the privileged.
func getXattr(t *task.Thread, a task.Args, find func() (uint32, abi.Errno)) abi.Errno {
	name, errno := copyXattrName(t, a[1])
	if errno != 0 {
		return errno
	}
	mode, errno := find()
	switch {
	case errno != 0:
		return errno
	case reservedXattr(name, mode):
		return abi.ENODATA
	}
	return abi.EOPNOTSUPP
}

// setXattr is setxattr(2). Errors: EINVAL, E2BIG and those of changeXattr.
func setXattr(t *task.Thread, a task.Args, find func() (uint32, abi.Errno)) abi.Errno {
	if a[4]&0xffff_ffff&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0 {
		return abi.EINVAL
	}
	if _, errno := copyXattrName(t, a[1]); errno != 0 {
		return errno
	}
	if a[3] > xattrSizeMax {
		return abi.E2BIG
	}
	if errno := t.CopyIn(a[2], make([]byte, a[3])); errno != 0 {
		return errno
	}
	return changeXattr(t, a, find)
}

// changeXattr is removexattr(2), and the part of setxattr(2) that looks at the file.
// Errors: EFAULT, ERANGE, those of find, EOPNOTSUPP, and EPERM where getXattr has ENODATA.
func changeXattr(t *task.Thread, a task.Args, find func() (uint32, abi.Errno)) abi.Errno {
	name, errno := copyXattrName(t, a[1])
	if errno != 0 {
		return errno
	}
	mode, errno := find()
	switch {
	case errno != 0:
		return errno
	case reservedXattr(name, mode):
		return abi.EPERM
	}
	return abi.EOPNOTSUPP
}

// reservedXattr reports whether a file of the mode cannot have an attribute of a
// program without privileges by that name.
func reservedXattr(name string, mode uint32) bool {
	if strings.HasPrefix(name, "user.") {
		return mode&unix.S_IFMT != unix.S_IFREG && mode&unix.S_IFMT != unix.S_IFDIR
	}
	return strings.HasPrefix(name, "trusted.")
}

// attrAt describes the file of a path argument, or with AT_EMPTY_PATH any open file.
// It waits for the event, as attrOf does.
func attrAt(t *task.Thread, dirfd int32, addr uint64, fl vfs.Flag) (vfs.Attr, abi.Errno) {
	if fl&vfs.EmptyPath != 0 && dirfd != unix.AT_FDCWD {
		path, errno := "", abi.OK
		if addr != 0 { // a null pointer counts as the empty path since Linux 6.11
			path, errno = copyPath(t, addr)
		}
		if errno != 0 {
			return vfs.Attr{}, errno
		}
		if path == "" {
			return attrOf(t, dirfd)
		}
	}
	p, errno := resolveAt(t, dirfd, addr, fl)
	if errno != 0 {
		return vfs.Attr{}, errno
	}
	return attr(t, p)
}

// attr describes a file. That of the event has no size before there is one.
func attr(t *task.Thread, p vfs.Path) (vfs.Attr, abi.Errno) {
	if p.Awaits() {
		return vfs.Attr{}, awaitEvent(t)
	}
	return p.Attr()
}

// attrOf describes an open file.
func attrOf(t *task.Thread, n int32) (vfs.Attr, abi.Errno) {
	f, errno := t.P.FDs.Get(n)
	if errno != 0 {
		return vfs.Attr{}, errno
	}
	if l, ok := f.(vfs.Located); ok {
		return attr(t, l.Path())
	}
	st, errno := f.Stat()
	return vfs.Attr{Stat: st}, errno
}

func fstatAt(t *task.Thread, dirfd int32, addr, buf uint64, fl vfs.Flag) (uint64, abi.Errno) {
	at, errno := attrAt(t, dirfd, addr, fl)
	if errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOut(buf, abi.EncodeStat(&at.Stat)[:])
}

func fstat(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	at, errno := attrOf(t, int32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOut(a[1], abi.EncodeStat(&at.Stat)[:])
}

// appendU64 appends 64-bit values.
func appendU64(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// appendU32 appends 32-bit values.
func appendU32(b []byte, vs ...uint32) []byte {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func statx(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	const known = unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH | unix.AT_NO_AUTOMOUNT | statxSyncType
	flags, mask := uint32(a[2]), uint32(a[3])
	if flags&^known != 0 || flags&statxSyncType == statxSyncType || mask&unix.STATX__RESERVED != 0 {
		return 0, abi.EINVAL
	}
	at, errno := attrAt(t, int32(a[0]), a[1], vfs.Rel(int(flags)))
	if errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOut(a[4], encodeStatx(&at))
}

// encodeStatx lays out struct statx (include/uapi/linux/stat.h).
func encodeStatx(at *vfs.Attr) []byte {
	st := &at.Stat
	mask, attrs := uint32(unix.STATX_BASIC_STATS), uint64(0)
	if at.Btime != 0 {
		mask |= unix.STATX_BTIME
	}
	if at.MntID != 0 {
		mask |= unix.STATX_MNT_ID
	}
	if at.Mount {
		attrs |= unix.STATX_ATTR_MOUNT_ROOT
	}
	b := appendU32(make([]byte, 0, 256), mask, uint32(st.Blksize))
	b = appendU64(b, attrs)
	b = appendU32(b, uint32(st.Nlink), st.Uid, st.Gid, st.Mode&0xffff)
	b = appendU64(b, st.Ino, uint64(st.Size), uint64(st.Blocks), unix.STATX_ATTR_MOUNT_ROOT)
	for _, ts := range []unix.Timespec{st.Atim, unix.NsecToTimespec(at.Btime), st.Ctim, st.Mtim} {
		b = appendU64(b, uint64(ts.Sec))
		b = appendU32(b, uint32(ts.Nsec), 0)
	}
	b = appendU32(b, unix.Major(st.Rdev), unix.Minor(st.Rdev), unix.Major(st.Dev), unix.Minor(st.Dev))
	b = appendU64(b, at.MntID)
	return b[:256]
}

func accessAt(t *task.Thread, dirfd int32, addr uint64, mode, flags uint32) (uint64, abi.Errno) {
	const known = unix.AT_EACCESS | unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH
	if mode&^7 != 0 || flags&^known != 0 {
		return 0, abi.EINVAL
	}
	p, errno := resolveAt(t, dirfd, addr, vfs.Rel(int(flags)))
	if errno != 0 {
		return 0, errno
	}
	return 0, t.K.FS.Access(p, mode)
}

func chmodAt(t *task.Thread, dirfd int32, addr, mode uint64, flags uint32) (uint64, abi.Errno) {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, abi.EINVAL
	}
	p, errno := resolveAt(t, dirfd, addr, vfs.Rel(int(flags)))
	if errno != 0 {
		return 0, errno
	}
	return 0, t.K.FS.Chmod(p, uint32(mode))
}

func chownAt(t *task.Thread, dirfd int32, addr, uid, gid uint64, flags uint32) (uint64, abi.Errno) {
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, abi.EINVAL
	}
	p, errno := resolveAt(t, dirfd, addr, vfs.Rel(int(flags)))
	if errno != 0 {
		return 0, errno
	}
	return 0, t.K.FS.Chown(p, uint32(uid), uint32(gid))
}

// fileTime makes nanoseconds of what the guest gave, within what they can hold.
func fileTime(sec, nsec int64) int64 {
	const most = math.MaxInt64/1_000_000_000 - 1
	return max(min(sec, most), -most)*1_000_000_000 + nsec
}

// decodeUtime decodes a struct timespec of utimensat(2), UTIME_NOW and UTIME_OMIT
// included.
func decodeUtime(b []byte) (int64, abi.Errno) {
	sec, nsec := int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))
	switch {
	case nsec == unix.UTIME_NOW:
		return vfs.TimeNow, 0
	case nsec == unix.UTIME_OMIT:
		return vfs.TimeOmit, 0
	case nsec < 0 || nsec >= 1e9:
		return 0, abi.EINVAL
	}
	return fileTime(sec, nsec), 0
}

func utimensat(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	atime, mtime := int64(vfs.TimeNow), int64(vfs.TimeNow)
	if a[2] != 0 {
		var raw [32]byte
		if errno := t.CopyIn(a[2], raw[:]); errno != 0 {
			return 0, errno
		}
		var errno [2]abi.Errno
		atime, errno[0] = decodeUtime(raw[:16])
		mtime, errno[1] = decodeUtime(raw[16:])
		if errno[0] != 0 || errno[1] != 0 {
			return 0, abi.EINVAL
		}
		if atime == vfs.TimeOmit && mtime == vfs.TimeOmit {
			return 0, 0
		}
	}
	flags := uint32(a[3])
	var p vfs.Path
	var errno abi.Errno
	switch {
	case flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0:
		return 0, abi.EINVAL
	case a[1] == 0 && int32(a[0]) != unix.AT_FDCWD: // futimens(3)
		if flags != 0 {
			return 0, abi.EINVAL
		}
		p, errno = usable(t, int32(a[0]), abi.EPERM)
	default:
		p, errno = resolveAt(t, int32(a[0]), a[1], vfs.Rel(int(flags)))
	}
	if errno != 0 {
		return 0, errno
	}
	return 0, t.K.FS.Utimes(p, atime, mtime)
}

// timesAt serves the calls with two struct timeval.
func timesAt(t *task.Thread, dirfd int32, addr, times uint64) (uint64, abi.Errno) {
	atime, mtime := int64(vfs.TimeNow), int64(vfs.TimeNow)
	if times != 0 {
		var raw [32]byte
		if errno := t.CopyIn(times, raw[:]); errno != 0 {
			return 0, errno
		}
		for i, to := range []*int64{&atime, &mtime} {
			sec, usec := int64(binary.LittleEndian.Uint64(raw[16*i:])), int64(binary.LittleEndian.Uint64(raw[16*i+8:]))
			if usec < 0 || usec >= 1e6 {
				return 0, abi.EINVAL
			}
			*to = fileTime(sec, usec*1000)
		}
	}
	p, errno := resolveAt(t, dirfd, addr, 0)
	if errno != 0 {
		return 0, errno
	}
	return 0, t.K.FS.Utimes(p, atime, mtime)
}

func utime(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	atime, mtime := int64(vfs.TimeNow), int64(vfs.TimeNow)
	if a[1] != 0 {
		var raw [16]byte
		if errno := t.CopyIn(a[1], raw[:]); errno != 0 {
			return 0, errno
		}
		atime = fileTime(int64(binary.LittleEndian.Uint64(raw[:])), 0)
		mtime = fileTime(int64(binary.LittleEndian.Uint64(raw[8:])), 0)
	}
	p, errno := resolveAt(t, unix.AT_FDCWD, a[0], 0)
	if errno != 0 {
		return 0, errno
	}
	return 0, t.K.FS.Utimes(p, atime, mtime)
}

// statfs gives struct statfs (include/uapi/asm-generic/statfs.h).
// fstatfs is fstatfs(2). Errors: EBADF, EFAULT.
func fstatfs(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	if l, ok := f.(vfs.Located); ok {
		return statfs(t, l.Path(), a[1])
	}
	file, errno := f.Stat()
	if errno != 0 {
		return 0, errno
	}
	return 0, copyOutStatfs(t, a[1], vfs.StatfsNameless(file.Mode))
}

func statfs(t *task.Thread, p vfs.Path, buf uint64) (uint64, abi.Errno) {
	st, errno := t.K.FS.Statfs(p)
	if errno != 0 {
		return 0, errno
	}
	return 0, copyOutStatfs(t, buf, st)
}

func copyOutStatfs(t *task.Thread, buf uint64, st unix.Statfs_t) abi.Errno {
	b := appendU64(make([]byte, 0, 120), uint64(st.Type), uint64(st.Bsize), st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree)
	b = appendU32(b, uint32(st.Fsid.Val[0]), uint32(st.Fsid.Val[1]))
	b = appendU64(b, uint64(st.Namelen), uint64(st.Frsize), uint64(st.Flags), 0, 0, 0, 0)
	return t.CopyOut(buf, b)
}

// statxSyncType is AT_STATX_SYNC_TYPE of statx(2): how fresh the answer must be.
const statxSyncType = 0x6000
