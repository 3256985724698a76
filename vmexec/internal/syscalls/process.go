// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/x86"
)

func processCalls() []Entry {
	const namespaces = "flags for namespaces are EPERM, as they are without a capability"
	return []Entry{
		{Nr: unix.SYS_CLONE, Name: "clone", Fn: clone, Support: Partial, Note: namespaces},
		{Nr: unix.SYS_CLONE3, Name: "clone3", Fn: clone3, Support: Partial, Note: namespaces},
		{Nr: unix.SYS_FORK, Name: "fork", Fn: fork, Support: Full},
		{Nr: unix.SYS_VFORK, Name: "vfork", Fn: vfork, Support: Full},
	}
}

const (
	cloneClearSigHand = 0x1_0000_0000 // CLONE_CLEAR_SIGHAND, of clone3
	cloneIntoCgroup   = 0x2_0000_0000 // CLONE_INTO_CGROUP
	cloneNewTime      = 0x80          // CLONE_NEWTIME, of clone3

	cloneNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
		unix.CLONE_NEWPID | unix.CLONE_NEWNET | cloneNewTime
	// cloneFlags are those that are served, or make no difference here: System V
	// semaphores and I/O contexts are not there, and nobody traces.
	cloneFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM |
		unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID | unix.CLONE_CHILD_SETTID | unix.CLONE_DETACHED | unix.CLONE_IO |
		unix.CLONE_VFORK | unix.CLONE_PARENT | unix.CLONE_PTRACE | unix.CLONE_UNTRACED | unix.CLONE_PIDFD | cloneClearSigHand
)

type cloneArgs struct {
	flags, parentTID, childTID, stack, tls, pidfd uint64
	exitSignal                                    int
}

func clone(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	// The upper half of the flags is not looked at. A pidfd goes where the thread id
	// does.
	return startTask(t, cloneArgs{
		flags: uint64(uint32(a[0])) &^ 0xff, exitSignal: int(a[0] & 0xff), stack: a[1], parentTID: a[2], childTID: a[3], tls: a[4], pidfd: a[2],
	})
}

func fork(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
	return startTask(t, cloneArgs{exitSignal: int(unix.SIGCHLD)})
}

func vfork(t *task.Thread, _ task.Args) (uint64, abi.Errno) {
	return startTask(t, cloneArgs{flags: unix.CLONE_VM | unix.CLONE_VFORK, exitSignal: int(unix.SIGCHLD)})
}

// clone3 sizes: struct clone_args of Linux 5.3, and what is accepted at most.
const (
	cloneArgsMin   = 64
	cloneArgsKnown = 88 // with set_tid and cgroup
	cloneArgsMax   = 4096
)

func clone3(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if a[1] < cloneArgsMin {
		return 0, abi.EINVAL
	}
	if a[1] > cloneArgsMax {
		return 0, abi.E2BIG
	}
	b := make([]byte, a[1])
	if errno := t.CopyIn(a[0], b); errno != 0 {
		return 0, errno
	}
	le := binary.LittleEndian
	field := func(i int) uint64 { return le.Uint64(b[8*i:]) }
	for i, x := range b[cloneArgsMin:] {
		switch {
		case x == 0:
		case cloneArgsMin+i >= cloneArgsKnown:
			return 0, abi.E2BIG
		default: // set_tid and cgroup
			return 0, abi.EINVAL
		}
	}
	c := cloneArgs{
		flags: field(0), pidfd: field(1), childTID: field(2), parentTID: field(3), exitSignal: int(field(4)),
		stack: field(5) + field(6), tls: field(7),
	}
	const csignal = 0xff &^ cloneNewTime
	switch {
	case c.flags&csignal != 0, c.flags&unix.CLONE_DETACHED != 0, c.flags&(cloneClearSigHand|unix.CLONE_SIGHAND) == cloneClearSigHand|unix.CLONE_SIGHAND,
		field(4)&^csignal != 0, c.exitSignal != 0 && (c.flags&(unix.CLONE_THREAD|unix.CLONE_PARENT) != 0 || !task.ValidSignal(c.exitSignal)),
		(field(5) == 0) != (field(6) == 0), field(6) > x86.UserEnd || field(5) > x86.UserEnd-field(6):
		return 0, abi.EINVAL
	}
	return startTask(t, c)
}

// check refuses what does not go together. Errors: EINVAL, EPERM.
func (c *cloneArgs) check(t *task.Thread) abi.Errno {
	has := func(flags uint64) bool { return c.flags&flags == flags }
	switch {
	case has(unix.CLONE_NEWNS | unix.CLONE_FS), has(unix.CLONE_NEWUSER | unix.CLONE_FS),
		c.flags&unix.CLONE_THREAD != 0 && !has(unix.CLONE_SIGHAND),
		c.flags&unix.CLONE_SIGHAND != 0 && !has(unix.CLONE_VM),
		c.flags&unix.CLONE_THREAD != 0 && c.flags&(unix.CLONE_NEWUSER|unix.CLONE_NEWPID) != 0,
		c.flags&unix.CLONE_PIDFD != 0 && c.flags&(unix.CLONE_DETACHED|unix.CLONE_THREAD) != 0,
		// The first process is everybody's reaper.
		c.flags&unix.CLONE_PARENT != 0 && t.P == t.K.Init,
		c.flags&^(cloneFlags|cloneNamespaces) != 0:
		return abi.EINVAL
	case c.flags&cloneNamespaces != 0:
		return abi.EPERM
	case has(unix.CLONE_PIDFD|unix.CLONE_PARENT_SETTID) && c.pidfd == c.parentTID:
		return abi.EINVAL
	case c.flags&unix.CLONE_SETTLS != 0 && c.tls >= x86.UserEnd:
		return abi.EPERM
	}
	return 0
}

// startTask makes a thread or a process.
func startTask(t *task.Thread, c cloneArgs) (uint64, abi.Errno) {
	if pid, errno, ok := t.VforkWait(nil); ok {
		return pid, errno
	}
	if errno := c.check(t); errno != 0 {
		return 0, errno
	}
	var n *task.Thread
	var errno abi.Errno
	if c.flags&unix.CLONE_THREAD != 0 {
		n, errno = t.K.NewThread(t)
	} else {
		n, errno = t.K.NewProcess(t, task.CloneSpec{
			VM: c.flags&unix.CLONE_VM != 0, Files: c.flags&unix.CLONE_FILES != 0, FS: c.flags&unix.CLONE_FS != 0,
			SigHand: c.flags&unix.CLONE_SIGHAND != 0, ClearSigHand: c.flags&cloneClearSigHand != 0,
			Sibling: c.flags&unix.CLONE_PARENT != 0, ExitSignal: c.exitSignal, Vfork: c.flags&unix.CLONE_VFORK != 0,
		})
	}
	if errno != 0 {
		return 0, errno
	}
	if c.flags&unix.CLONE_PIDFD != 0 {
		// Only the maker's: the child's table was copied before.
		pidfd, errno := installPidfd(t, n.P, 0)
		if errno == 0 {
			if errno = t.CopyOutU32(c.pidfd, uint32(pidfd)); errno != 0 {
				_ = t.P.FDs.Close(pidfd)
			}
		}
		if errno != 0 {
			n.P.Abandon()
			return 0, errno
		}
	}
	r := &n.Ctx.Regs
	r.RAX = 0
	if c.stack != 0 {
		r.RSP = c.stack
	}
	if c.flags&unix.CLONE_SETTLS != 0 {
		n.Ctx.FSBase = c.tls
	}
	if c.flags&unix.CLONE_CHILD_CLEARTID != 0 {
		n.ClearChildTID = c.childTID
	}
	tid := uint32(n.TID)
	// As Linux, a bad address here does not undo the thread.
	if c.flags&unix.CLONE_PARENT_SETTID != 0 {
		_ = t.CopyOutU32(c.parentTID, tid)
	}
	if c.flags&unix.CLONE_CHILD_SETTID != 0 {
		_ = n.CopyOutU32(c.childTID, tid)
	}
	if c.flags&unix.CLONE_VFORK != 0 && c.flags&unix.CLONE_THREAD == 0 {
		pid, errno, _ := t.VforkWait(n.P)
		return pid, errno
	}
	return uint64(tid), 0
}
