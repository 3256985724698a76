// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/task"
)

// eventfdCalls are the calls of eventfd(2).
func eventfdCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_EVENTFD, Name: "eventfd", Fn: sysEventfd, Support: Full},
		{Nr: unix.SYS_EVENTFD2, Name: "eventfd2", Fn: sysEventfd2, Support: Full},
	}
}

func sysEventfd(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return makeEventfd(t, uint32(a[0]), 0)
}

func sysEventfd2(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return makeEventfd(t, uint32(a[0]), uint32(a[1]))
}

func makeEventfd(t *task.Thread, count, flags uint32) (uint64, abi.Errno) {
	if flags&^uint32(unix.EFD_SEMAPHORE|unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) != 0 {
		return 0, abi.EINVAL
	}
	f := fd.NewEventFD(t.P.FDs.System(), uint64(count), flags&unix.EFD_SEMAPHORE != 0, int(flags&unix.EFD_NONBLOCK))
	n, errno := t.P.FDs.Install(f, flags&unix.EFD_CLOEXEC != 0, 0)
	return uint64(n), errno
}
