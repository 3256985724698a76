// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// inotifyCalls are the calls of inotify(7), and what stands beside it.
func inotifyCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_INOTIFY_INIT, Name: "inotify_init", Fn: func(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
			return inotifyInit(t, 0)
		}, Support: Full},
		{Nr: unix.SYS_INOTIFY_INIT1, Name: "inotify_init1", Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return inotifyInit(t, uint32(a[0]))
		}, Support: Full},
		{Nr: unix.SYS_INOTIFY_ADD_WATCH, Name: "inotify_add_watch", Fn: inotifyAddWatch, Support: Full},
		{Nr: unix.SYS_INOTIFY_RM_WATCH, Name: "inotify_rm_watch", Fn: inotifyRmWatch, Support: Full},
		{Nr: unix.SYS_FANOTIFY_INIT, Name: "fanotify_init", Fn: noPermission, Support: Refused, Note: "always EPERM"},
		{Nr: unix.SYS_FANOTIFY_MARK, Name: "fanotify_mark", Fn: noDescriptor, Support: Refused, Note: "always EBADF: there is no such descriptor"},
	}
}

// noDescriptor serves the calls on a kind of descriptor that there is none of.
func noDescriptor(*task.Thread, task.Args) (uint64, abi.Errno) { return 0, abi.EBADF }

func inotifyInit(t *task.Thread, flags uint32) (uint64, abi.Errno) {
	if flags&^uint32(unix.IN_CLOEXEC|unix.IN_NONBLOCK) != 0 {
		return 0, abi.EINVAL
	}
	n := t.K.FS.NewInotify(t.P.FDs.System(), int(flags&unix.IN_NONBLOCK))
	fd, errno := t.P.FDs.Install(n, flags&unix.IN_CLOEXEC != 0, 0)
	return uint64(fd), errno
}

// inotifyOf returns the instance of a descriptor: EBADF when it is not open, EINVAL
// when it is something else.
func inotifyOf(t *task.Thread, arg uint64) (*vfs.Inotify, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(arg))
	if errno != 0 {
		return nil, errno
	}
	if n, ok := f.(*vfs.Inotify); ok {
		return n, 0
	}
	return nil, abi.EINVAL
}

func inotifyAddWatch(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	const known = unix.IN_ALL_EVENTS | unix.IN_UNMOUNT | unix.IN_Q_OVERFLOW | unix.IN_IGNORED | unix.IN_ONLYDIR |
		unix.IN_DONT_FOLLOW | unix.IN_EXCL_UNLINK | unix.IN_MASK_CREATE | unix.IN_MASK_ADD | unix.IN_ISDIR | unix.IN_ONESHOT
	mask := uint32(a[2])
	if mask&known == 0 || mask&^known != 0 {
		return 0, abi.EINVAL
	}
	if f, errno := t.P.FDs.Get(int32(a[0])); errno != 0 || f.StatusFlags()&unix.O_PATH != 0 {
		return 0, abi.EBADF
	}
	if mask&unix.IN_MASK_ADD != 0 && mask&unix.IN_MASK_CREATE != 0 {
		return 0, abi.EINVAL
	}
	n, errno := inotifyOf(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	var fl vfs.Flag
	if mask&unix.IN_DONT_FOLLOW != 0 {
		fl |= vfs.NoFollow
	}
	if mask&unix.IN_ONLYDIR != 0 {
		fl |= vfs.Directory
	}
	p, errno := resolveAt(t, unix.AT_FDCWD, a[1], fl)
	if errno != 0 {
		return 0, errno
	}
	if errno := t.K.FS.MayRead(p); errno != 0 {
		return 0, errno
	}
	wd, errno := n.Watch(p, mask)
	return uint64(uint32(wd)), errno
}

func inotifyRmWatch(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	n, errno := inotifyOf(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	return 0, n.Unwatch(int32(a[1]))
}
