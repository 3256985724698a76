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

// openCalls are the calls that open files and change their size.
func openCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_OPEN, Name: "open", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return openAt(t, unix.AT_FDCWD, a[0], uint32(a[1]), a[2])
		}},
		{Nr: unix.SYS_CREAT, Name: "creat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return openAt(t, unix.AT_FDCWD, a[0], unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, a[1])
		}},
		{Nr: unix.SYS_OPENAT, Name: "openat", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return openAt(t, int32(a[0]), a[1], uint32(a[2]), a[3])
		}},
		{Nr: unix.SYS_OPENAT2, Name: "openat2", Support: Full, Fn: openat2},
		{Nr: unix.SYS_MEMFD_CREATE, Name: "memfd_create", Support: Partial, Note: "no huge pages", Fn: memfdCreate},
		{Nr: unix.SYS_TRUNCATE, Name: "truncate", Support: Full, Fn: truncate},
		{Nr: unix.SYS_FTRUNCATE, Name: "ftruncate", Support: Full, Fn: ftruncate},
		{Nr: unix.SYS_FALLOCATE, Name: "fallocate", Support: Partial, Note: "modes 0, KEEP_SIZE, PUNCH_HOLE and ZERO_RANGE", Fn: fallocate},
		{Nr: unix.SYS_FSYNC, Name: "fsync", Support: Stub, Note: "files are memory", Fn: fsync},
		{Nr: unix.SYS_FDATASYNC, Name: "fdatasync", Support: Stub, Note: "files are memory", Fn: fsync},
		{Nr: unix.SYS_SYNC, Name: "sync", Support: Stub, Note: "files are memory", Fn: func(*task.Thread, task.Args) (uint64, abi.Errno) { return 0, 0 }},
		{Nr: unix.SYS_SYNCFS, Name: "syncfs", Support: Stub, Note: "files are memory", Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			_, errno := usable(t, int32(a[0]), 0)
			return 0, errno
		}},
	}
}

// openFlags are all the flags of open(2); openat2(2) refuses others.
const openFlags = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_APPEND |
	unix.O_NONBLOCK | unix.O_SYNC | unix.O_ASYNC | unix.O_DIRECT | largefile | unix.O_DIRECTORY | unix.O_NOFOLLOW |
	unix.O_NOATIME | unix.O_CLOEXEC | unix.O_PATH | unix.O_TMPFILE

// largefile is O_LARGEFILE, which is 0 to 64-bit C libraries but not to the kernel.
const largefile = 0o100000

func openAt(t *task.Thread, dirfd int32, addr uint64, flags uint32, mode uint64) (uint64, abi.Errno) {
	return doOpen(t, dirfd, addr, int(flags&openFlags), mode, 0)
}

func doOpen(t *task.Thread, dirfd int32, addr uint64, flags int, mode uint64, fl vfs.Flag) (uint64, abi.Errno) {
	if f, ok := t.State.(*vfs.FIFO); ok {
		return openFIFO(t, f, flags)
	}
	if errno := vfs.CheckFlags(flags); errno != 0 {
		return 0, errno
	}
	base, path, errno := pathAt(t, dirfd, addr)
	if errno != 0 {
		return 0, errno
	}
	return openFrom(t, base, path, flags, mode, fl)
}

func openFrom(t *task.Thread, base vfs.Path, path string, flags int, mode uint64, fl vfs.Flag) (uint64, abi.Errno) {
	if flags&unix.O_PATH == 0 {
		flags |= largefile // as 64-bit kernels do
	}
	f, errno := t.K.FS.Open(base, path, flags, masked(t, mode&0o7777), fl)
	if errno == abi.EAGAIN {
		errno = awaitEvent(t)
	}
	if errno != 0 {
		return 0, errno
	}
	if p, ok := f.(*vfs.FIFO); ok {
		return openFIFO(t, p, flags)
	}
	return install(t, f, flags)
}

// awaitEvent waits for the event whose file a call is about, which is then made again
// from the start. A file that is not there yet blocks as one that takes long to read:
// O_NONBLOCK makes no difference. EAGAIN when there is nothing to wait for.
func awaitEvent(t *task.Thread) abi.Errno {
	q := t.K.FS.EventQueue()
	switch {
	case q == nil:
		return abi.EAGAIN
	case signalDue(t):
		return abi.ERESTARTSYS
	}
	return t.Block(task.NoDeadline, q)
}

// openFIFO waits for the other side of a named pipe.
func openFIFO(t *task.Thread, f *vfs.FIFO, flags int) (uint64, abi.Errno) {
	switch {
	case f.Opened():
		t.State = nil
		return install(t, f, flags)
	case signalDue(t):
		t.State = nil
		f.Release()
		return 0, abi.ERESTARTSYS
	}
	t.State = f
	return 0, t.Block(task.NoDeadline, f.Queue())
}

// sizeOpenHow is OPEN_HOW_SIZE_VER0; see openat2(2).
const sizeOpenHow = 24

// decodeOpenHow decodes and checks a struct open_how of at least sizeOpenHow bytes.
func decodeOpenHow(raw []byte) (flags int, mode uint64, fl vfs.Flag, errno abi.Errno) {
	for _, b := range raw[sizeOpenHow:] {
		if b != 0 {
			return 0, 0, 0, abi.E2BIG
		}
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(raw[8*i:]) }
	mode = word(1)
	fl, ok := resolveFlags(word(2))
	creates := word(0)&(unix.O_CREAT|unix.O_TMPFILE&^unix.O_DIRECTORY) != 0
	switch {
	case !ok, word(0)&^openFlags != 0, mode&^0o7777 != 0, mode != 0 && !creates:
		return 0, 0, 0, abi.EINVAL
	case word(0)&unix.O_PATH != 0 && word(0)&^(unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC) != 0:
		return 0, 0, 0, abi.EINVAL
	}
	return int(word(0)), mode, fl, 0
}

func openat2(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	size := a[3]
	switch {
	case size < sizeOpenHow:
		return 0, abi.EINVAL
	case size > 4096:
		return 0, abi.E2BIG
	}
	raw := make([]byte, size)
	if errno := t.CopyIn(a[2], raw); errno != 0 {
		return 0, errno
	}
	flags, mode, fl, errno := decodeOpenHow(raw)
	if errno != 0 {
		return 0, errno
	}
	// An absolute path starts at the base too under RESOLVE_IN_ROOT.
	if f, ok := t.State.(*vfs.FIFO); ok {
		return openFIFO(t, f, flags)
	}
	if fl&(vfs.InRoot|vfs.Beneath) != 0 {
		path, errno := copyPath(t, a[1])
		if errno != 0 {
			return 0, errno
		}
		base, errno := baseOf(t, int32(a[0]), "")
		if errno != 0 {
			return 0, errno
		}
		return openFrom(t, base, path, flags, mode, fl)
	}
	return doOpen(t, int32(a[0]), a[1], flags, mode, fl)
}

// resolveCached is RESOLVE_CACHED of openat2(2).
const resolveCached = 0x20

// resolveFlags translates RESOLVE_*. RESOLVE_CACHED needs nothing: no
// resolution waits.
func resolveFlags(r uint64) (vfs.Flag, bool) {
	var fl vfs.Flag
	for _, v := range []struct {
		bit uint64
		fl  vfs.Flag
	}{
		{unix.RESOLVE_NO_XDEV, vfs.NoXDev},
		{unix.RESOLVE_NO_MAGICLINKS, vfs.NoMagicLinks},
		{unix.RESOLVE_NO_SYMLINKS, vfs.NoSymlinks},
		{unix.RESOLVE_BENEATH, vfs.Beneath},
		{unix.RESOLVE_IN_ROOT, vfs.InRoot},
		{resolveCached, 0},
	} {
		if r&v.bit != 0 {
			fl |= v.fl
			r &^= v.bit
		}
	}
	return fl, r == 0 && fl&(vfs.Beneath|vfs.InRoot) != vfs.Beneath|vfs.InRoot
}

// sealExec is F_SEAL_EXEC, which golang.org/x/sys/unix does not have; see fcntl.h of
// Linux.
const sealExec = 0x20

func memfdCreate(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	const maxName = 250 // MFD_NAME_MAX_LEN with its NUL
	if uint32(a[1])&^(unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL|unix.MFD_EXEC) != 0 {
		return 0, abi.EINVAL
	}
	if both := uint32(unix.MFD_NOEXEC_SEAL | unix.MFD_EXEC); uint32(a[1])&both == both {
		return 0, abi.EINVAL
	}
	name, errno := t.CopyInString(a[0], maxName)
	if errno == abi.ENAMETOOLONG {
		errno = abi.EINVAL
	}
	if errno != 0 {
		return 0, errno
	}
	mode, seals := uint32(0o777), uint32(unix.F_SEAL_SEAL)
	if a[1]&unix.MFD_ALLOW_SEALING != 0 {
		seals = 0
	}
	if a[1]&unix.MFD_NOEXEC_SEAL != 0 {
		mode, seals = 0o666, sealExec
	}
	f, errno := t.K.FS.Memfd(name, mode, seals)
	if errno != 0 {
		return 0, errno
	}
	flags := 0
	if a[1]&unix.MFD_CLOEXEC != 0 {
		flags = unix.O_CLOEXEC
	}
	return install(t, f, flags)
}

func truncate(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if int64(a[1]) < 0 {
		return 0, abi.EINVAL
	}
	p, errno := resolveAt(t, unix.AT_FDCWD, a[0], 0)
	if errno != 0 {
		return 0, errno
	}
	if p.Awaits() {
		return 0, awaitEvent(t)
	}
	return 0, t.K.FS.Truncate(p, int64(a[1]))
}

// truncater returns a file that can change its size, or the errno for others.
func truncater(t *task.Thread, n int32, none abi.Errno) (vfs.Truncater, abi.Errno) {
	f, errno := t.P.FDs.Get(n)
	if errno != 0 {
		return nil, errno
	}
	if f.StatusFlags()&unix.O_PATH != 0 {
		return nil, abi.EBADF
	}
	if tr, ok := f.(vfs.Truncater); ok {
		return tr, 0
	}
	return nil, none
}

func ftruncate(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if int64(a[1]) < 0 {
		return 0, abi.EINVAL
	}
	f, errno := truncater(t, int32(a[0]), abi.EINVAL)
	if errno != 0 {
		return 0, errno
	}
	return 0, f.Truncate(int64(a[1]))
}

// fallocateFlags are the flags of fallocate(2) that Linux knows.
const fallocateFlags = unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_COLLAPSE_RANGE |
	unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_INSERT_RANGE | unix.FALLOC_FL_UNSHARE_RANGE

// fallocateMode checks a mode. Errors: EOPNOTSUPP, EINVAL.
func fallocateMode(mode uint32) abi.Errno {
	const keep, punch, zero = unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE
	alone := func(flag, with uint32) bool { return mode&flag == 0 || mode&^(flag|with) == 0 }
	switch {
	case mode&^uint32(fallocateFlags) != 0, mode&punch != 0 && (mode&zero != 0 || mode&keep == 0):
		return abi.EOPNOTSUPP
	case !alone(unix.FALLOC_FL_COLLAPSE_RANGE, 0), !alone(unix.FALLOC_FL_INSERT_RANGE, 0), !alone(unix.FALLOC_FL_UNSHARE_RANGE, keep):
		return abi.EINVAL
	}
	return abi.OK
}

func fallocate(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	f, errno := openFor(t, a[0], noMode)
	if errno != 0 {
		return 0, errno
	}
	if int64(a[2]) < 0 || int64(a[3]) <= 0 {
		return 0, abi.EINVAL
	}
	if errno := fallocateMode(uint32(a[1])); errno != 0 {
		return 0, errno
	}
	if f.StatusFlags()&unix.O_ACCMODE == unix.O_RDONLY {
		return 0, abi.EBADF
	}
	if tr, ok := f.(vfs.Truncater); ok {
		return 0, tr.Fallocate(uint32(a[1]), int64(a[2]), int64(a[3]))
	}
	if st, errno := f.Stat(); errno == 0 && st.Mode&unix.S_IFMT == unix.S_IFIFO {
		return 0, abi.ESPIPE
	}
	return 0, abi.ENODEV
}

// fsync only checks its argument.
func fsync(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	_, errno := usable(t, int32(a[0]), abi.EINVAL)
	return 0, errno
}
