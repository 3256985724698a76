// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"math"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// descriptorCalls are the calls on descriptors themselves.
func descriptorCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_CLOSE, Name: "close", Fn: sysClose, Support: Full},
		{Nr: unix.SYS_CLOSE_RANGE, Name: "close_range", Fn: sysCloseRange, Support: Partial, Note: "CLOSE_RANGE_UNSHARE is EINVAL"},
		{Nr: unix.SYS_DUP, Name: "dup", Fn: sysDup, Support: Full},
		{Nr: unix.SYS_DUP2, Name: "dup2", Fn: sysDup2, Support: Full},
		{Nr: unix.SYS_DUP3, Name: "dup3", Fn: sysDup3, Support: Full},
		{Nr: unix.SYS_FCNTL, Name: "fcntl", Fn: sysFcntl, Support: Partial, Note: "no leases, notification or owners (EINVAL)"},
		{Nr: unix.SYS_IOCTL, Name: "ioctl", Fn: sysIoctl, Support: Partial, Note: "FIOCLEX, FIONCLEX, FIONBIO, FIONREAD; of sockets SIOCOUTQ, SIOCGIFCONF and the questions about an interface; the rest is ENOTTY: there are no terminals"},
	}
}

func sysClose(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return 0, t.P.FDs.Close(int32(a[0]))
}

func sysCloseRange(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	first, last, flags := uint32(a[0]), uint32(a[1]), uint32(a[2])
	if first > last || flags&^uint32(unix.CLOSE_RANGE_CLOEXEC) != 0 {
		return 0, abi.EINVAL
	}
	if flags != 0 {
		t.P.FDs.SetCloexecRange(first, last)
	} else {
		t.P.FDs.CloseRange(first, last)
	}
	return 0, abi.OK
}

func dupFrom(t *task.Thread, old uint64, cloexec bool, lowest int32) (uint64, abi.Errno) {
	d, errno := t.P.FDs.Description(int32(old))
	if errno != abi.OK {
		return 0, errno
	}
	n, errno := t.P.FDs.InstallDescription(d, cloexec, lowest)
	return uint64(n), errno
}

func dupTo(t *task.Thread, old, fd uint64, cloexec bool) (uint64, abi.Errno) {
	d, errno := t.P.FDs.Description(int32(old))
	if errno != abi.OK {
		return 0, errno
	}
	return uint64(uint32(fd)), t.P.FDs.InstallAt(d, cloexec, int32(fd))
}

func sysDup(t *task.Thread, a task.Args) (uint64, abi.Errno) { return dupFrom(t, a[0], false, 0) }

func sysDup2(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if int32(a[0]) == int32(a[1]) {
		_, errno := t.P.FDs.Get(int32(a[0]))
		return uint64(uint32(a[1])), errno
	}
	return dupTo(t, a[0], a[1], false)
}

func sysDup3(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	flags := uint32(a[2])
	if flags&^uint32(unix.O_CLOEXEC) != 0 || int32(a[0]) == int32(a[1]) {
		return 0, abi.EINVAL
	}
	return dupTo(t, a[0], a[1], flags != 0)
}

// pipeSizer is implemented by both ends of a pipe.
type pipeSizer interface {
	PipeSize() int
	SetPipeSize(n int) (int, abi.Errno)
}

func sysFcntl(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	fds, n, cmd, arg := t.P.FDs, int32(a[0]), int32(a[1]), a[2]
	f, errno := fds.Get(n)
	if errno != abi.OK {
		return 0, errno
	}
	if f.StatusFlags()&unix.O_PATH != 0 {
		switch cmd {
		case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL:
		default:
			return 0, abi.EBADF
		}
	}
	switch cmd {
	case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
		if int32(arg) < 0 || int(int32(arg)) >= fds.Limit() {
			return 0, abi.EINVAL
		}
		return dupFrom(t, a[0], cmd == unix.F_DUPFD_CLOEXEC, int32(arg))
	case unix.F_GETFD:
		on, errno := fds.Cloexec(n)
		if on {
			return unix.FD_CLOEXEC, errno
		}
		return 0, errno
	case unix.F_SETFD:
		return 0, fds.SetCloexec(n, arg&unix.FD_CLOEXEC != 0)
	case unix.F_GETFL:
		return uint64(f.StatusFlags()), abi.OK
	case unix.F_SETFL:
		f.SetStatusFlags(int(uint32(arg)))
		return 0, abi.OK
	case unix.F_GETPIPE_SZ, unix.F_SETPIPE_SZ:
		p, ok := f.(pipeSizer)
		if !ok {
			return 0, abi.EBADF
		}
		if cmd == unix.F_GETPIPE_SZ {
			return uint64(p.PipeSize()), abi.OK
		}
		size, errno := p.SetPipeSize(int(int32(arg)))
		return uint64(size), errno
	case unix.F_ADD_SEALS, unix.F_GET_SEALS:
		s, ok := f.(vfs.Sealer)
		switch {
		case !ok && cmd == unix.F_ADD_SEALS && f.StatusFlags()&unix.O_ACCMODE == unix.O_RDONLY:
			return 0, abi.EPERM
		case !ok:
			return 0, abi.EINVAL
		}
		if cmd == unix.F_ADD_SEALS {
			return 0, s.AddSeals(uint32(arg))
		}
		seals, errno := s.Seals()
		return uint64(seals), errno
	case unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW:
		return 0, recordLock(t, f, cmd, arg)
	}
	return 0, abi.EINVAL
}

func sysIoctl(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(a[0]))
	if errno != abi.OK {
		return 0, errno
	}
	if f.StatusFlags()&unix.O_PATH != 0 {
		return 0, abi.EBADF
	}
	if s, ok := f.(*net.Socket); ok {
		if errno, known := socketIoctl(t, s, uint32(a[1]), a[2]); known {
			return 0, errno
		}
	}
	switch cmd, arg := uint32(a[1]), a[2]; cmd {
	case fioClex, fioNclex:
		return 0, t.P.FDs.SetCloexec(int32(a[0]), cmd == fioClex)
	case fioNbio:
		on, errno := t.CopyInU32(arg)
		if errno != abi.OK {
			return 0, errno
		}
		flags := f.StatusFlags() &^ unix.O_NONBLOCK
		if on != 0 {
			flags |= unix.O_NONBLOCK
		}
		f.SetStatusFlags(flags)
		return 0, abi.OK
	case fioNread:
		n, errno := unread(f)
		if errno != abi.OK {
			return 0, errno
		}
		return 0, t.CopyOutU32(arg, uint32(min(n, math.MaxInt32)))
	}
	return 0, abi.ENOTTY
}

// ioctl(2) commands that golang.org/x/sys/unix does not have; see
// include/uapi/asm-generic/ioctls.h of Linux.
const (
	fioNclex = 0x5450
	fioClex  = 0x5451
	fioNread = 0x541b
	fioNbio  = 0x5421
)

// unread returns how many bytes can be read at once.
func unread(f fd.File) (int64, abi.Errno) {
	if s, ok := f.(fd.Sizer); ok {
		return int64(s.Available()), abi.OK
	}
	st, errno := f.Stat()
	if errno != abi.OK || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, abi.ENOTTY
	}
	pos, errno := f.Lseek(0, unix.SEEK_CUR)
	if errno != abi.OK {
		return 0, errno
	}
	return max(0, st.Size-pos), abi.OK
}
