// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

func infoCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_UNAME, Name: "uname", Fn: uname, Support: Full},
		{Nr: unix.SYS_SYSINFO, Name: "sysinfo", Fn: sysinfo, Support: Partial, Note: "no load averages"},
		{Nr: unix.SYS_GETCPU, Name: "getcpu", Fn: getCPU, Support: Full},
		{Nr: unix.SYS_SYSLOG, Name: "syslog", Fn: noPermission, Support: Refused, Note: "always EPERM"},
		{Nr: unix.SYS_SETHOSTNAME, Name: "sethostname", Fn: noPermission, Support: Refused, Note: "always EPERM"},
		{Nr: unix.SYS_VHANGUP, Name: "vhangup", Fn: noPermission, Support: Refused, Note: "always EPERM"},
		{Nr: unix.SYS_SETDOMAINNAME, Name: "setdomainname", Fn: noPermission, Support: Refused, Note: "always EPERM"},
	}
}

// Kernel is what uname(2) says, and /proc files that repeat it. The release is
// one that has every call that libraries take for granted from its number on.
var Kernel = abi.Utsname{
	Sysname:    "Linux",
	Nodename:   "kontain",
	Release:    task.Release,
	Version:    task.Version,
	Machine:    "x86_64",
	Domainname: "(none)",
}

func uname(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return 0, t.CopyOut(a[0], Kernel.Encode())
}

func sysinfo(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	total, used := t.K.Memory.Limit(), t.K.Memory.Used()
	s := abi.Sysinfo{
		Uptime:   (t.K.Clock.Monotonic() - t.K.Clock.Boot()) / nanosPerSecond,
		TotalRAM: total * pageSize,
		FreeRAM:  (total - min(used, total)) * pageSize,
		Procs:    uint16(min(len(t.P.Threads), 1<<16-1)),
	}
	return 0, t.CopyOut(a[0], s.Encode())
}

// getCPU is getcpu(2): there is one CPU and one node, both number 0.
func getCPU(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	for _, addr := range a[:2] {
		if addr == 0 {
			continue
		}
		if errno := t.CopyOutU32(addr, 0); errno != 0 {
			return 0, errno
		}
	}
	return 0, abi.OK
}
