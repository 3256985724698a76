// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

func limitCalls() []Entry {
	const kept = "kept and given back; RLIMIT_NOFILE has effect, and the VM's own limits hold whatever is set"
	return []Entry{
		{Nr: unix.SYS_GETRLIMIT, Name: "getrlimit", Fn: getRlimit, Support: Full},
		{Nr: unix.SYS_SETRLIMIT, Name: "setrlimit", Fn: setRlimit, Support: Partial, Note: kept},
		{Nr: unix.SYS_PRLIMIT64, Name: "prlimit64", Fn: prlimit, Support: Partial, Note: kept},
	}
}

// rlimit returns the process's limit of a resource. Errors: EINVAL.
func rlimit(t *task.Thread, resource uint64) (*unix.Rlimit, abi.Errno) {
	r := uint32(resource)
	if r >= uint32(len(t.P.Rlimits)) {
		return nil, abi.EINVAL
	}
	return &t.P.Rlimits[r], abi.OK
}

func getRlimit(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	r, errno := rlimit(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOut(a[1], abi.AppendRlimit(nil, *r))
}

func setRlimit(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return prlimit(t, task.Args{0, a[0], a[1], 0})
}

// prlimit is prlimit(2): all processes are one user's. Errors: EINVAL, EFAULT, EPERM
// for a raise of the hard limit, ESRCH.
func prlimit(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	x, errno := target(t, a[0])
	if errno != 0 {
		return 0, abi.ESRCH // also for a negative id
	}
	r, errno := rlimit(x, a[1])
	if errno != 0 {
		return 0, errno
	}
	old := *r
	if a[2] != 0 {
		var b [abi.RlimitSize]byte
		if errno := t.CopyIn(a[2], b[:]); errno != 0 {
			return 0, errno
		}
		set := abi.DecodeRlimit(b[:])
		switch {
		case set.Cur > set.Max:
			return 0, abi.EINVAL
		case set.Max > r.Max:
			return 0, abi.EPERM
		}
		*r = set
		if uint32(a[1]) == unix.RLIMIT_NOFILE {
			x.P.FDs.SetLimit(int(set.Cur))
		}
	}
	if a[3] != 0 {
		return 0, t.CopyOut(a[3], abi.AppendRlimit(nil, old))
	}
	return 0, abi.OK
}
