// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

// Every program runs as one user without any capability: 0, or the one that its
// ProgramSpec names. There is nothing more to be had.
func idCalls() []Entry {
	const root = "user and groups are those that the program began with"
	return []Entry{
		{Nr: unix.SYS_GETPID, Name: "getpid", Fn: getPID, Support: Full},
		{Nr: unix.SYS_GETPPID, Name: "getppid", Fn: getPPID, Support: Full},
		{Nr: unix.SYS_GETTID, Name: "gettid", Fn: getTID, Support: Full},
		{Nr: unix.SYS_GETUID, Name: "getuid", Fn: getUID, Support: Full, Note: root},
		{Nr: unix.SYS_GETEUID, Name: "geteuid", Fn: getUID, Support: Full, Note: root},
		{Nr: unix.SYS_GETGID, Name: "getgid", Fn: getGID, Support: Full, Note: root},
		{Nr: unix.SYS_GETEGID, Name: "getegid", Fn: getGID, Support: Full, Note: root},
		{Nr: unix.SYS_GETRESUID, Name: "getresuid", Fn: getResID(getUID), Support: Full, Note: root},
		{Nr: unix.SYS_GETRESGID, Name: "getresgid", Fn: getResID(getGID), Support: Full, Note: root},
		{Nr: unix.SYS_SETUID, Name: "setuid", Fn: setID(1, false, getUID), Support: Partial, Note: root},
		{Nr: unix.SYS_SETGID, Name: "setgid", Fn: setID(1, false, getGID), Support: Partial, Note: root},
		{Nr: unix.SYS_SETREUID, Name: "setreuid", Fn: setID(2, true, getUID), Support: Partial, Note: root},
		{Nr: unix.SYS_SETREGID, Name: "setregid", Fn: setID(2, true, getGID), Support: Partial, Note: root},
		{Nr: unix.SYS_SETRESUID, Name: "setresuid", Fn: setID(3, true, getUID), Support: Partial, Note: root},
		{Nr: unix.SYS_SETRESGID, Name: "setresgid", Fn: setID(3, true, getGID), Support: Partial, Note: root},
		{Nr: unix.SYS_SETFSUID, Name: "setfsuid", Fn: getUID, Support: Partial, Note: root},
		{Nr: unix.SYS_SETFSGID, Name: "setfsgid", Fn: getGID, Support: Partial, Note: root},
		{Nr: unix.SYS_GETGROUPS, Name: "getgroups", Fn: getGroups, Support: Full, Note: root},
		{Nr: unix.SYS_SETGROUPS, Name: "setgroups", Fn: setGroups, Support: Partial, Note: "for user 0 only the empty list; the rest is EPERM"},
		{Nr: unix.SYS_GETPGRP, Name: "getpgrp", Fn: getPGRP, Support: Full},
		{Nr: unix.SYS_GETPGID, Name: "getpgid", Fn: getPGID, Support: Full},
		{Nr: unix.SYS_SETPGID, Name: "setpgid", Fn: setPGID, Support: Full},
		{Nr: unix.SYS_GETSID, Name: "getsid", Fn: getSID, Support: Full},
		{Nr: unix.SYS_SETSID, Name: "setsid", Fn: setSID, Support: Full},
		{Nr: unix.SYS_CAPGET, Name: "capget", Fn: capGet, Support: Full, Note: "all sets are empty"},
		{Nr: unix.SYS_CAPSET, Name: "capset", Fn: capSet, Support: Full, Note: "only empty sets; the rest is EPERM"},
		{Nr: unix.SYS_PERSONALITY, Name: "personality", Fn: personality, Support: Partial, Note: "PER_LINUX; of the flags only ADDR_NO_RANDOMIZE, without effect"},
	}
}

func getPID(t *task.Thread, _ task.Args) (uint64, abi.Errno)  { return uint64(t.P.PID), abi.OK }
func getPPID(t *task.Thread, _ task.Args) (uint64, abi.Errno) { return uint64(t.P.PPID()), abi.OK }
func getTID(t *task.Thread, _ task.Args) (uint64, abi.Errno)  { return uint64(t.TID), abi.OK }
func getPGRP(t *task.Thread, _ task.Args) (uint64, abi.Errno) { return uint64(t.P.PGID), abi.OK }

func getUID(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
	return uint64(t.K.FS.Cred().UID), abi.OK
}

func getGID(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
	return uint64(t.K.FS.Cred().GID), abi.OK
}

// getResID serves getresuid(2) and getresgid(2) with the id that of returns.
func getResID(of task.Handler) task.Handler {
	return func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
		id, _ := of(t, a)
		for _, addr := range a[:3] {
			if errno := t.CopyOutU32(addr, uint32(id)); errno != 0 {
				return 0, errno
			}
		}
		return 0, abi.OK
	}
}

// setID serves the calls that set n user or group ids: to what of returns, which
// they are, or with keep to -1, which changes nothing. The rest is EPERM.
func setID(n int, keep bool, of task.Handler) task.Handler {
	return func(t *task.Thread, a task.Args) (uint64, abi.Errno) {
		own, _ := of(t, a)
		for _, id := range a[:n] {
			switch {
			case uint32(id) == uint32(own), keep && uint32(id) == 1<<32-1:
			case uint32(id) == 1<<32-1:
				return 0, abi.EINVAL
			default:
				return 0, abi.EPERM
			}
		}
		return 0, abi.OK
	}
}

// getGroups is getgroups(2). Errors: EFAULT, and EINVAL for a list that is too short.
func getGroups(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	groups := t.K.FS.Cred().Groups
	n := int(int32(a[0]))
	if n < 0 || n > 0 && n < len(groups) {
		return 0, abi.EINVAL
	}
	if n > 0 {
		b := make([]byte, 0, 4*len(groups))
		for _, g := range groups {
			b = binary.LittleEndian.AppendUint32(b, g)
		}
		if errno := t.CopyOut(a[1], b); errno != 0 {
			return 0, errno
		}
	}
	return uint64(len(groups)), abi.OK
}

func setGroups(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if uint32(a[0]) != 0 || t.K.FS.Cred().UID != 0 {
		return 0, abi.EPERM
	}
	return 0, abi.OK
}

// process returns the process that a call names by number, 0 for the caller's.
// Errors: ESRCH.
func process(t *task.Thread, pid uint64) (*task.Process, abi.Errno) {
	id := int(int32(pid))
	if id == 0 || t.P.Is(id) {
		return t.P, abi.OK
	}
	if p := t.K.Process(id); p != nil {
		return p, abi.OK
	}
	return nil, abi.ESRCH
}

func getPGID(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	p, errno := process(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	return uint64(p.PGID), abi.OK
}

func getSID(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	p, errno := process(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	return uint64(p.SID), abi.OK
}

// setPGID is setpgid(2). Errors: EINVAL, ESRCH for what is neither the caller nor
// a child, EACCES for a child that has executed a program, EPERM for a session
// leader, for a child in another session and for a group that does not exist.
func setPGID(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	pgid := int(int32(a[1]))
	if pgid == 0 {
		pgid = int(int32(a[0]))
	}
	if pgid < 0 {
		return 0, abi.EINVAL
	}
	p, errno := process(t, a[0])
	if errno != 0 || p != t.P && !p.IsChildOf(t.P) {
		return 0, abi.ESRCH
	}
	return 0, p.SetGroup(t.P, pgid)
}

// setSID is setsid(2). Errors: EPERM for the leader of a process group.
func setSID(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
	errno := t.P.NewSession()
	return uint64(t.P.PID), errno
}

// capWords returns how many 32-bit words each set has in the version that the
// header at addr asks for. An unknown version is answered with the preferred
// one and EINVAL; capget(2).
func capWords(t *task.Thread, addr uint64) (words int, pid int32, errno abi.Errno) {
	var h [8]byte
	if errno := t.CopyIn(addr, h[:]); errno != 0 {
		return 0, 0, errno
	}
	switch binary.LittleEndian.Uint32(h[:]) {
	case unix.LINUX_CAPABILITY_VERSION_1:
		words = 1
	case unix.LINUX_CAPABILITY_VERSION_2, unix.LINUX_CAPABILITY_VERSION_3:
		words = 2
	default:
		if errno := t.CopyOutU32(addr, unix.LINUX_CAPABILITY_VERSION_3); errno != 0 {
			return 0, 0, errno
		}
		return 0, 0, abi.EINVAL
	}
	return words, int32(binary.LittleEndian.Uint32(h[4:])), abi.OK
}

// capSetSize is the size of struct __user_cap_data_struct: one word each of the
// effective, permitted and inheritable sets.
const capSetSize = 12

func capGet(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	words, pid, errno := capWords(t, a[0])
	if errno != 0 {
		if errno == abi.EINVAL && a[1] == 0 { // asks for the version alone
			return 0, abi.OK
		}
		return 0, errno
	}
	if pid < 0 {
		return 0, abi.EINVAL
	}
	if _, errno := target(t, uint64(pid)); errno != 0 {
		return 0, errno
	}
	if a[1] == 0 {
		return 0, abi.OK
	}
	return 0, t.CopyOut(a[1], make([]byte, words*capSetSize))
}

func capSet(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	words, pid, errno := capWords(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	if pid != 0 && int(pid) != t.TID {
		return 0, abi.EPERM
	}
	b := make([]byte, words*capSetSize)
	if errno := t.CopyIn(a[1], b); errno != 0 {
		return 0, errno
	}
	for _, x := range b {
		if x != 0 {
			return 0, abi.EPERM
		}
	}
	return 0, abi.OK
}

// personality is personality(2). The way memory is laid out does not depend on
// it, so asking for the ordinary one, with or without randomisation, is fine.
func personality(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	const query, noRandomize = 0xffff_ffff, 0x0004_0000
	old := t.P.Attr.Personality
	switch v := uint32(a[0]); v {
	case query:
	case 0, noRandomize:
		t.P.Attr.Personality = v
	default:
		return 0, abi.EINVAL
	}
	return uint64(old), abi.OK
}
