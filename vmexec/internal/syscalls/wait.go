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

func waitCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_WAIT4, Name: "wait4", Fn: wait4, Support: Full, Note: "of the usage: processor time, all of it user time, and page faults"},
		{Nr: unix.SYS_WAITID, Name: "waitid", Fn: waitid, Support: Full, Note: "as wait4"},
		{Nr: unix.SYS_PIDFD_OPEN, Name: "pidfd_open", Fn: pidfdOpen, Support: Full},
		{Nr: unix.SYS_PIDFD_SEND_SIGNAL, Name: "pidfd_send_signal", Fn: pidfdSendSignal, Support: Full},
		{Nr: unix.SYS_PIDFD_GETFD, Name: "pidfd_getfd", Fn: pidfdGetfd, Support: Full},
	}
}

// Of waitid(2) and wait4(2).
const (
	waitPIDFD     = 3 // P_PIDFD
	waitNoThread  = unix.WNOTHREAD
	waitFlags     = unix.WNOHANG | unix.WUNTRACED | unix.WCONTINUED | waitNoThread | unix.WCLONE | unix.WALL
	waitidFlags   = unix.WNOHANG | unix.WNOWAIT | unix.WEXITED | unix.WSTOPPED | unix.WCONTINUED | waitNoThread | unix.WCLONE | unix.WALL
	waitidChanges = unix.WEXITED | unix.WSTOPPED | unix.WCONTINUED
)

// awaitChild waits for a change of a child. It is none, without an error, when there is
// none yet and WNOHANG is set. Errors: ECHILD, EBLOCK, ERESTARTSYS.
func awaitChild(t *task.Thread, w task.WaitFor, options uint64) (task.Waited, abi.Errno) {
	w.Clone, w.All = options&unix.WCLONE != 0, options&unix.WALL != 0
	r, ok, errno := t.P.Wait(w)
	switch {
	case errno != 0 || ok || options&unix.WNOHANG != 0:
		return r, errno
	case t.Woken() == task.WakeSignal:
		return r, abi.ERESTARTSYS
	}
	return r, t.Block(task.NoDeadline, t.P.ChildNews())
}

func wait4(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	options := uint64(uint32(a[2]))
	if options&^waitFlags != 0 {
		return 0, abi.EINVAL
	}
	w := task.WaitFor{Exited: true, Stopped: options&unix.WUNTRACED != 0, Continued: options&unix.WCONTINUED != 0}
	switch pid := int(int32(a[0])); {
	case pid == -1<<31:
		return 0, abi.ESRCH
	case pid > 0:
		w.PID = pid
	case pid == 0:
		w.PGID = t.P.PGID
	case pid < -1:
		if w.PGID = -pid; t.K.Init.Is(w.PGID) {
			w.PGID = t.K.Init.PID
		}
	}
	r, errno := awaitChild(t, w, options)
	if errno != 0 {
		return 0, errno
	}
	// As Linux, a bad address loses the child.
	if a[1] != 0 && r.PID != 0 {
		if errno := t.CopyOutU32(a[1], r.Status); errno != 0 {
			return 0, errno
		}
	}
	if a[3] != 0 && r.PID != 0 {
		if errno := t.CopyOut(a[3], usage(r)); errno != 0 {
			return 0, errno
		}
	}
	return uint64(r.PID), 0
}

// usage is struct rusage of a child.
func usage(r task.Waited) []byte {
	u := abi.Rusage{User: r.CPU, MinorFaults: int64(r.Faults)}
	return u.Encode()
}

func waitid(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	options := uint64(uint32(a[3]))
	if options&^waitidFlags != 0 || options&waitidChanges == 0 {
		return 0, abi.EINVAL
	}
	w := task.WaitFor{Exited: options&unix.WEXITED != 0, Stopped: options&unix.WSTOPPED != 0, Continued: options&unix.WCONTINUED != 0, Keep: options&unix.WNOWAIT != 0}
	id := int(int32(a[1]))
	switch int32(a[0]) {
	case unix.P_ALL:
	case unix.P_PID:
		if id <= 0 {
			return 0, abi.EINVAL
		}
		w.PID = id
	case unix.P_PGID:
		if id < 0 {
			return 0, abi.EINVAL
		}
		if w.PGID = id; id == 0 {
			w.PGID = t.P.PGID
		}
		if t.K.Init.Is(w.PGID) {
			w.PGID = t.K.Init.PID
		}
	case waitPIDFD:
		if id < 0 {
			return 0, abi.EINVAL
		}
		f, errno := pidfd(t, a[1])
		if errno != 0 {
			return 0, errno
		}
		w.Process = f.Process()
		if f.StatusFlags()&unix.O_NONBLOCK != 0 && t.Woken() == task.WakeNone {
			if _, ok, errno := t.P.Wait(task.WaitFor{Process: w.Process, Exited: w.Exited, Stopped: w.Stopped, Continued: w.Continued, Keep: true, All: true}); errno == 0 && !ok {
				if options&unix.WNOHANG == 0 {
					return 0, abi.EAGAIN
				}
			}
		}
	default:
		return 0, abi.EINVAL
	}
	r, errno := awaitChild(t, w, options)
	if errno != 0 {
		return 0, errno
	}
	if a[4] != 0 && r.PID != 0 {
		if errno := t.CopyOut(a[4], usage(r)); errno != 0 {
			return 0, errno
		}
	}
	if a[2] == 0 {
		return 0, 0
	}
	// The fields that tell of the child, and no others, are written.
	b := make([]byte, 28)
	if r.PID != 0 {
		le := binary.LittleEndian
		le.PutUint32(b, uint32(unix.SIGCHLD))
		le.PutUint32(b[8:], uint32(r.Code))
		le.PutUint32(b[16:], uint32(r.PID))
		le.PutUint32(b[24:], uint32(r.Value))
	}
	if errno := t.CopyOut(a[2], b[:12]); errno != 0 {
		return 0, errno
	}
	return 0, t.CopyOut(a[2]+16, b[16:])
}

// pidfd returns the file of a descriptor that stands for a process. Errors: EBADF.
func pidfd(t *task.Thread, n uint64) (*task.Pidfd, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(n))
	if errno != 0 {
		return nil, errno
	}
	if p, ok := f.(*task.Pidfd); ok {
		return p, abi.OK
	}
	return nil, abi.EBADF
}

// installPidfd opens a descriptor for a process; flags may have O_NONBLOCK.
func installPidfd(t *task.Thread, p *task.Process, flags int) (int32, abi.Errno) {
	return t.P.FDs.Install(task.NewPidfd(p, flags, t.P.FDs.System().NextInode()), true, 0)
}

// pidfdOpen is pidfd_open(2). Errors: EINVAL, ESRCH, EMFILE.
func pidfdOpen(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	pid, flags := int(int32(a[0])), uint32(a[1])
	if flags&^unix.PIDFD_NONBLOCK != 0 || pid <= 0 {
		return 0, abi.EINVAL
	}
	p := t.K.Process(pid)
	if p == nil {
		if t.K.Thread(pid) != nil { // PIDFD_THREAD is not there
			return 0, abi.EINVAL
		}
		return 0, abi.ESRCH
	}
	n, errno := installPidfd(t, p, int(flags))
	return uint64(n), errno
}

// signalled returns the process that a descriptor stands for, which may be gone. For
// signals an open folder of /proc does, too. Errors: EBADF, ESRCH.
func signalled(t *task.Thread, n uint64) (*task.Process, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(n))
	if errno != 0 {
		return nil, errno
	}
	if pid, ok := vfs.ProcessFolder(f); ok {
		p := t.K.Process(pid)
		if p == nil {
			return nil, abi.ESRCH
		}
		return p, abi.OK
	}
	pf, errno := pidfd(t, n)
	if errno != 0 {
		return nil, errno
	}
	return pf.Process(), abi.OK
}

// pidfdSendSignal is pidfd_send_signal(2). Errors: EBADF, EINVAL, EFAULT, EPERM, ESRCH.
func pidfdSendSignal(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	sig, info := int(int32(a[1])), userInfo(t, task.CodeUser)
	if uint32(a[3]) != 0 {
		return 0, abi.EINVAL
	}
	p, errno := signalled(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	if a[2] != 0 {
		var b [task.SigInfoSize]byte
		if errno := t.CopyIn(a[2], b[:]); errno != 0 {
			return 0, errno
		}
		info = task.DecodeSigInfo(b[:])
		if int32(binary.LittleEndian.Uint32(b[:])) != int32(sig) {
			return 0, abi.EINVAL
		}
		if p != t.P && claimsKernel(info) {
			return 0, abi.EPERM
		}
	}
	if p.Gone() {
		return 0, abi.ESRCH
	}
	return sendAll([]*task.Process{p}, sig, info)
}

// pidfdGetfd is pidfd_getfd(2). Errors: EBADF, EINVAL, ESRCH, EMFILE.
func pidfdGetfd(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if uint32(a[2]) != 0 {
		return 0, abi.EINVAL
	}
	f, errno := pidfd(t, a[0])
	if errno != 0 {
		return 0, errno
	}
	if f.Process().Zombie() {
		return 0, abi.ESRCH
	}
	d, errno := f.Process().FDs.Description(int32(a[1]))
	if errno != 0 {
		return 0, errno
	}
	n, errno := t.P.FDs.InstallDescription(d, true, 0)
	return uint64(n), errno
}
