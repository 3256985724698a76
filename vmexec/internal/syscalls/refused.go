// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

// refusedCalls are the calls about files and kernel interfaces that there are not.
// The errors are those after which libraries do without.
func refusedCalls() []Entry {
	fail := func(errno abi.Errno) task.Handler {
		return func(*task.Thread, task.Args) (uint64, abi.Errno) { return 0, errno }
	}
	type call struct {
		nr   int
		name string
	}
	var es []Entry
	add := func(errno abi.Errno, note string, calls []call) {
		for _, c := range calls {
			es = append(es, Entry{Nr: c.nr, Name: c.name, Fn: fail(errno), Support: Refused, Note: note})
		}
	}
	add(abi.ENOSYS, "ENOSYS, as a Linux built without it", []call{
		{unix.SYS_IO_URING_SETUP, "io_uring_setup"},
		{unix.SYS_IO_URING_ENTER, "io_uring_enter"},
		{unix.SYS_IO_URING_REGISTER, "io_uring_register"},
		{unix.SYS_QUOTACTL, "quotactl"},
		{unix.SYS_QUOTACTL_FD, "quotactl_fd"},
		{unix.SYS_IO_SETUP, "io_setup"},
		{unix.SYS_IO_DESTROY, "io_destroy"},
		{unix.SYS_IO_GETEVENTS, "io_getevents"},
		{unix.SYS_IO_SUBMIT, "io_submit"},
		{unix.SYS_IO_CANCEL, "io_cancel"},
		{unix.SYS_IO_PGETEVENTS, "io_pgetevents"},
	})
	add(abi.EPERM, "always EPERM", []call{
		{unix.SYS_USERFAULTFD, "userfaultfd"},
		{unix.SYS_BPF, "bpf"},
		{unix.SYS_PERF_EVENT_OPEN, "perf_event_open"},
		{unix.SYS_OPEN_BY_HANDLE_AT, "open_by_handle_at"},
		{unix.SYS_SWAPON, "swapon"},
		{unix.SYS_SWAPOFF, "swapoff"},
		{unix.SYS_OPEN_TREE, "open_tree"},
		{unix.SYS_MOVE_MOUNT, "move_mount"},
		{unix.SYS_FSOPEN, "fsopen"},
		{unix.SYS_FSCONFIG, "fsconfig"},
		{unix.SYS_FSMOUNT, "fsmount"},
		{unix.SYS_FSPICK, "fspick"},
		{unix.SYS_MOUNT_SETATTR, "mount_setattr"},
	})
	add(abi.EOPNOTSUPP, "EOPNOTSUPP, as a file system that gives no handles", []call{{unix.SYS_NAME_TO_HANDLE_AT, "name_to_handle_at"}})
	return es
}
