// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

// signalfdCalls are the calls of signalfd(2).
func signalfdCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_SIGNALFD, Name: "signalfd", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return signalFD(t, int32(a[0]), a[1], a[2], 0)
		}},
		{Nr: unix.SYS_SIGNALFD4, Name: "signalfd4", Support: Full, Fn: func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
			return signalFD(t, int32(a[0]), a[1], a[2], uint32(a[3]))
		}},
	}
}

func signalFD(t *task.Thread, n int32, addr, size uint64, flags uint32) (uint64, abi.Errno) {
	if size != 8 {
		return 0, abi.EINVAL
	}
	mask, errno := t.CopyInU64(addr)
	if errno != 0 {
		return 0, errno
	}
	if flags&^uint32(unix.SFD_CLOEXEC|unix.SFD_NONBLOCK) != 0 {
		return 0, abi.EINVAL
	}
	if n == -1 {
		f := t.K.NewSignalFD(t.P.FDs.System(), mask, int(flags&unix.SFD_NONBLOCK))
		fd, errno := t.P.FDs.Install(f, flags&unix.SFD_CLOEXEC != 0, 0)
		return uint64(fd), errno
	}
	f, errno := t.P.FDs.Get(n)
	if errno != 0 {
		return 0, errno
	}
	s, ok := f.(*task.SignalFD)
	if !ok {
		return 0, abi.EINVAL
	}
	s.SetMask(mask)
	return uint64(uint32(n)), 0
}
